"""What passes found, kept in the module itself, so that it survives a stop and a resume from text.

The `report` attribute of a module maps a pass to a few numbers and words. No wall-clock times: same input, same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping

from compiler.ir.core import Attr, Op
from runtime.errors import InputError


def note(module: Op, section: str, facts: Mapping[str, Attr]) -> None:
    """Enter a pass's facts; a second call for the same section replaces them."""
    module.attrs["report"] = {**report(module), section: dict(facts)}


def report(module: Op) -> dict[str, Attr]:
    """All facts noted so far, by section."""
    found = module.attrs.get("report", {})
    assert isinstance(found, Mapping)
    return dict(found)


def interval_cycles(module: Op) -> int:
    """The pipeline's interval as the size pass found it. Raises InputError if it is not noted."""
    section = report(module).get("size")
    value = section.get("interval_cycles") if isinstance(section, Mapping) else None
    if not isinstance(value, int):
        raise out_of_order("the module's report says nothing of its interval", "size")
    return value


def out_of_order(message: str, first: str) -> InputError:
    """The error for a module that has not gone through the pass `first`; people run passes one by one."""
    return InputError(
        message, code="pass-order", hint=f"run the pass {first} first, or `wsec compile` for all in order"
    )


def optimised_for(module: Op) -> str:
    """What the size pass chose sizes for."""
    section = report(module).get("size")
    return str(section.get("optimised_for", "throughput")) if isinstance(section, Mapping) else "throughput"
