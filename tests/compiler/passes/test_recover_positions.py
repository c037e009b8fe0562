from __future__ import annotations

import numpy as np
import pytest

from compiler.passes.dead_code import DeadCode
from compiler.passes.recover_positions import RecoverPositions
from tests.compiler.graph_builder import GraphBuilder, random_inputs


@pytest.mark.parametrize("shape", [(5, 3), (1, 5, 3)])
@pytest.mark.parametrize("constant_first", [False, True])
def test_rows_added_to_a_sequence_are_looked_up(shape: tuple[int, ...], constant_first: bool) -> None:
    b = GraphBuilder()
    x, rows = b.input("x", (2, 5, 3)), b.constant(np.random.default_rng(0).standard_normal(shape))
    b.output(b.binary("add", rows, x) if constant_first else b.binary("add", x, rows))
    inputs = random_inputs(np.random.default_rng(1), x=(2, 5, 3))
    before = b.run(**inputs)["y"]
    b.apply(RecoverPositions(), DeadCode())
    assert b.histogram() == {"add": 1, "gather": 1, "shape_value": 1}
    assert b.module.body.find("graph.shape_value")[0].attrs["kind"] == "positions"
    assert np.array_equal(b.run(**inputs)["y"], before)


@pytest.mark.parametrize("shape", [(3,), (1, 3), (2, 1, 3), (2, 5, 3), (5, 1)])
def test_other_constants_stay(shape: tuple[int, ...]) -> None:
    b = GraphBuilder()
    b.output(b.binary("add", b.input("x", (2, 5, 3)), b.constant(np.ones(shape))))
    b.apply(RecoverPositions(), DeadCode())
    assert b.histogram() == {"add": 1}
