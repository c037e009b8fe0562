"""Sizes for tests that take seconds."""

from __future__ import annotations

from typing import Any

# A GPT-2 of 30 thousand parameters.
TINY = {"layers": 2, "width": 32, "heads": 4, "vocab": 67, "ctx": 24}
# A small grid, and a placer that gives up early: what is tested with it does not depend on short wires.
SMALL: dict[str, Any] = {"target": "mini-32x32", "deterministic_limit": 0.3}
