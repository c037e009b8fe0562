from __future__ import annotations

import numpy as np
import pytest

from compiler.passes.dead_code import DeadCode
from compiler.passes.fuse_softmax import FuseSoftmax
from tests.compiler.graph_builder import GraphBuilder, random_inputs


@pytest.mark.parametrize("stable", [False, True])
def test_fuses(stable: bool) -> None:
    b = GraphBuilder()
    x = b.input("x", ("batch", 5))
    e = b.unary("exp", b.binary("sub", x, b.reduce("max", x)) if stable else x)
    b.output(b.binary("div", e, b.reduce("sum", e)))
    inputs = random_inputs(np.random.default_rng(0), x=(3, 5))
    before = b.run(**inputs)["y"]
    b.apply(FuseSoftmax(), DeadCode())
    assert b.histogram() == {"softmax": 1}
    np.testing.assert_allclose(b.run(**inputs)["y"], before, rtol=1e-6)


def test_a_quotient_by_another_sum_stays() -> None:
    b = GraphBuilder()
    x = b.input("x", ("batch", 5))
    e = b.unary("exp", x)
    b.output(b.binary("div", e, b.reduce("sum", x)))
    before = b.histogram()
    b.apply(FuseSoftmax(), DeadCode())
    assert b.histogram() == before


def test_a_shift_that_is_not_the_maximum_stays_outside() -> None:
    b = GraphBuilder()
    x = b.input("x", ("batch", 5))
    e = b.unary("exp", b.binary("sub", x, b.reduce("mean", x)))
    b.output(b.binary("div", e, b.reduce("sum", e)))
    b.apply(FuseSoftmax(), DeadCode())
    assert b.histogram() == {"mean": 1, "softmax": 1, "sub": 1}
