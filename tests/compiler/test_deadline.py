"""Time limits: searches end with what they have, or say in which phase the time ran out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

import wsec
from compiler.deadline import NEVER, Deadline
from compiler.ir.core import Op
from compiler.ir.passes import PassContext, PassManager, parse_pipeline
from compiler.pipelines import PHASES
from compiler.resources import ResourceStore
from compiler.size.goal import OPTIMIZE
from compiler.size.quick import quickest
from compiler.size.sizing import Sizer
from runtime import target as targets
from runtime.errors import LimitError
from tests.random_gpt import Shape, random_gpt

MINI = targets.load("mini-32x32")
WIDE = Shape(layers=1, heads=2, head_dim=4, hidden=160, vocab=200, positions=20)


class Hurried(Deadline):
    """Every share of the time is over, but not yet all of it."""

    def left(self, share: float = 1.0) -> float:
        return 1.0 if share == 1.0 else -1.0


def lowered(pipeline: str) -> tuple[Op, ResourceStore]:
    module, resources = random_gpt(WIDE, 0)
    if pipeline:
        PassManager(parse_pipeline(pipeline)).run(module, PassContext(resources, MINI))
    return module, resources


def sizer() -> Sizer:
    module, _ = lowered(PHASES["flow"])
    return Sizer([op for op in module.body.ops if op.dialect == "flow"], MINI)


def test_a_deadline_passes_share_by_share(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    deadline = Deadline(8.0)
    assert (deadline.left(), deadline.left(0.25), deadline.passed(0.25)) == (8.0, 2.0, False)
    now[0] = 102.5
    assert deadline.passed(0.25) and not deadline.passed(0.5)
    deadline.check("size", "nothing")
    now[0] = 108.0
    with pytest.raises(LimitError, match="time limit of 8 s has passed in phase size: nothing") as caught:
        deadline.check("size", "nothing")
    assert (caught.value.code, caught.value.exit_code, caught.value.where) == ("time-limit", 4, "size")
    assert NEVER.left() == math.inf and not NEVER.passed(0.0)


@pytest.mark.parametrize("search", [Sizer.best, quickest], ids=OPTIMIZE)
def test_sizing_ends_with_the_best_so_far(search: Any) -> None:
    hurried, calm = search(sizer(), 1024, Hurried()), search(sizer(), 1024)
    assert hurried is not None and calm is not None
    assert hurried.interval > calm.interval or hurried.cores != calm.cores  # it did end early
    assert all(fit.shape.holds for fit in hurried.fits.values()) and hurried.cores <= 1024


@pytest.mark.parametrize("search", [Sizer.best, quickest], ids=OPTIMIZE)
def test_sizing_without_a_result_says_so(search: Any) -> None:
    with pytest.raises(LimitError, match="in phase size"):
        search(sizer(), 1024, Deadline(1e-9))


def test_routing_ends_when_the_time_is_over() -> None:
    module, resources = lowered(f"{PHASES['flow']},size,place")
    routed = []

    class Short(Deadline):
        """Passes after three nets: lanes are routed net by net."""

        def left(self, share: float = 1.0) -> float:
            routed.append(1)
            return 4 - len(routed)

    with pytest.raises(LimitError, match=r"in phase route: [1-9]\d* of \d+ channels have a route"):
        PassManager(parse_pipeline("route")).run(module, PassContext(resources, MINI, deadline=Short(1.0)))
    assert len(routed) == 4  # asked before each net: three were routed


def test_the_option_reaches_all_phases(gpt: Path) -> None:
    with pytest.raises(LimitError, match=r"the time limit of 1e-06 s has passed in phase size"):
        wsec.compile(gpt, target="mini-32x32", time_limit=1e-6)
    assert wsec.compile(gpt, target="mini-32x32", time_limit=300.0).blocks
