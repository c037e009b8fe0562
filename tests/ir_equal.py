"""Equality of modules for tests, with a message that says where they differ."""

from __future__ import annotations

from compiler.ir.compare import compare
from compiler.ir.core import Op


def assert_same_ir(got: Op, wanted: Op, *, locations: bool = True) -> None:
    """Same ops, attributes, types and data flow, whatever values are called; tells the first differences if not."""
    found = compare(wanted, got, locations=locations)
    shown = "\n".join(difference.text() for difference in found.differences[:3])
    assert found.same, f"{len(found.differences)} differences (- wanted, + got), first of all\n{shown}"
