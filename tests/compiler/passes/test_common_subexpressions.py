from __future__ import annotations

import numpy as np

from compiler.dialects import graph
from compiler.passes.common_subexpressions import CommonSubexpressions
from compiler.passes.dead_code import DeadCode
from tests.compiler.graph_builder import GraphBuilder, random_inputs


def test_equal_ops_become_one_with_both_locations() -> None:
    b = GraphBuilder()
    x = b.input("x", (2, 3))
    first, second = (b.unary("exp", b.binary("add", x, b.constant(1.0))) for _ in range(2))
    b.output(b.binary("mul", first, second))
    locations = {name for value in (first, second) if value.op for name in value.op.loc.names}
    inputs = random_inputs(np.random.default_rng(0), x=(2, 3))
    before = b.run(**inputs)["y"]
    b.apply(CommonSubexpressions())
    assert b.histogram() == {"add": 1, "exp": 1, "mul": 1}
    assert first.op is not None
    assert set(first.op.loc.names) == locations
    assert np.array_equal(b.run(**inputs)["y"], before)


def test_attributes_and_types_tell_ops_apart() -> None:
    b = GraphBuilder()
    x = b.input("x", (2, 4))
    b.output(b.unary("exp", x), "exp")
    b.output(b.unary("tanh", x), "tanh")
    b.output(b.reshape(x, 4, 2), "4x2")
    b.output(b.reshape(x, 8), "8")
    b.output(b.binary("sub", b.unary("abs", x), x), "ab")
    b.output(b.binary("sub", x, b.unary("abs", x)), "ba")
    b.apply(CommonSubexpressions())
    assert b.histogram() == {"abs": 1, "exp": 1, "reshape": 2, "sub": 2, "tanh": 1}


def test_inputs_of_one_type_stay_two() -> None:
    b = GraphBuilder()
    x, y = b.input("x", (2,)), b.input("y", (2,))
    b.output(b.binary("sub", x, y))
    b.apply(CommonSubexpressions())
    assert b.run(x=np.array([1, 2], np.float32), y=np.array([0, 5], np.float32))["y"].tolist() == [1, -3]


def test_dead_code_goes_and_inputs_stay() -> None:
    b = GraphBuilder()
    x = b.input("x", (2,))
    b.input("unused", (2,))
    b.unary("exp", b.binary("add", x, b.constant(7.0)))
    b.output(b.unary("neg", x))
    b.apply(DeadCode())
    assert [op.name for op in b.module.body.ops] == [
        graph.input_def.name,
        graph.input_def.name,
        graph.unary_def.name,
        graph.output_def.name,
    ]
