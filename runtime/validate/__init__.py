"""The independent validator: is this image legal, and can it ever deadlock?

It looks only at the image's tables and shares no code with what made them (placer, router, kernels) nor with what runs
them (interpreter). One file per rule: `placement`, `programs`, `memory`, `contents`, `routes`, `rates`, `deadlock`.
"""

from runtime.validate.report import Report, Violation
from runtime.validate.validator import validate

__all__ = ["Report", "Violation", "validate"]
