"""A miscompile for tests: a pass that folds wrongly, entered in the pipeline by tests alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest

from compiler import pipelines
from compiler.ir.core import Op
from compiler.ir.passes import PASSES, Pass, PassContext, register


@dataclass(frozen=True)
class WrongFold(Pass):
    """Turns a sum of two streams into their difference."""

    name: ClassVar[str] = "wrong-fold"
    summary: ClassVar[str] = "a miscompile for tests"

    which: int = 1

    def run(self, module: Op, ctx: PassContext) -> None:
        sums = [
            op
            for op in module.body.find("graph.binary")
            if op.attrs["fn"] == "add" and len({operand.type for operand in op.operands}) == 1
        ]
        for op in sums[self.which : self.which + 1]:
            op.attrs["fn"] = "sub"


def plant(monkeypatch: pytest.MonkeyPatch, which: int = 1) -> None:
    """Put the pass behind those of phase canonical, for one test."""
    if WrongFold.name not in PASSES:
        register(WrongFold)
    text = f"{pipelines.PHASES['canonical']},wrong-fold{{which={which}}}"
    monkeypatch.setitem(pipelines.PHASES, "canonical", text)
