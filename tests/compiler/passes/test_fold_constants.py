from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.dialects import graph
from compiler.dialects.graph import tensor_type
from compiler.ir.core import Value
from compiler.passes.common_subexpressions import CommonSubexpressions
from compiler.passes.dead_code import DeadCode
from compiler.passes.fold_constants import FoldConstants
from compiler.passes.patterns import SMALL
from compiler.passes.simplify import Simplify
from tests.compiler.graph_builder import GraphBuilder

UNARY = ("abs", "neg", "exp", "relu", "tanh", "sigmoid", "gelu_erf", "gelu_tanh")
BINARY = ("add", "sub", "mul", "div", "max", "min")
SHAPES = ((), (1,), (4,), (1, 4), (3, 1), (3, 4), (1, 1, 4), (1, 3, 4))
NUMBERS = st.sampled_from([0.0, 1.0, -1.0, 0.5, 3.0])


@st.composite
def elementwise(draw: st.DrawFn) -> GraphBuilder:
    """A few elementwise ops on an input [n, 4] and constants of all shapes that broadcast with it."""
    b = GraphBuilder()
    values = [b.input("x", (3, 4))]
    for shape in draw(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=4)):
        elements = draw(st.lists(NUMBERS, min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
        values.append(b.constant(np.reshape(elements, shape)))
    for fn in draw(st.lists(st.sampled_from(UNARY + BINARY), min_size=1, max_size=8)):
        operands = [draw(st.sampled_from(values)) for _ in range(1 if fn in UNARY else 2)]
        values.append(b.unary(fn, *operands) if fn in UNARY else b.binary(fn, *operands))
    for index, value in enumerate(values[-3:]):
        b.output(value, f"y{index}")
    return b


@settings(max_examples=80, deadline=None)
@given(b=elementwise(), seed=st.integers(0, 2**32 - 1))
def test_random_elementwise_graphs_keep_their_values(b: GraphBuilder, seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal((3, 4)).astype(np.float32)
    before = b.run(x=x)
    b.apply(FoldConstants(), Simplify(), CommonSubexpressions(), DeadCode())
    after = b.run(x=x)
    for name, reference in before.items():
        assert after[name].shape == reference.shape
        assert np.array_equal(after[name], reference, equal_nan=True)


@settings(max_examples=80, deadline=None)
@given(b=elementwise())
def test_what_depends_on_constants_only_is_gone(b: GraphBuilder) -> None:
    b.apply(FoldConstants(), DeadCode())
    for op in b.module.body.ops:
        makers = {value.op.name for value in op.operands if value.op}
        assert op.name == "graph.output" or makers != {"graph.constant"}


def test_leading_unit_axes_of_a_constant_go() -> None:
    b = GraphBuilder()
    x = b.input("x", (2, 3, 4))
    b.output(b.binary("add", x, b.constant(np.arange(4).reshape(1, 1, 4))), "vector")
    b.output(b.binary("mul", x, b.constant([[2.0]])), "scalar")
    b.output(b.binary("mul", b.constant(np.arange(12).reshape(1, 3, 4)), x), "rows")
    b.output(b.binary("mul", b.input("z", (4,)), b.constant(np.ones((1, 4)))), "widened")
    b.apply(FoldConstants(), DeadCode())
    shapes = [constant_shape(op.operands) for op in b.module.body.find("graph.binary")]
    assert shapes == [(4,), (), (3, 4), (1, 4)]


def constant_shape(operands: tuple[Value, ...]) -> tuple[int | str, ...]:
    return next(tensor_type(value).shape for value in operands if graph.constant_def.matches(value.op))


def test_large_results_and_weights_are_left_alone() -> None:
    b = GraphBuilder()
    weight = b.constant(np.ones((SMALL // 4, 8)))
    b.output(b.transpose(weight, 1, 0), "weight")
    b.output(b.slice(weight, 0, 0, 1), "part of a weight")
    b.output(b.op(graph.expand_def, b.constant(1.0), shape=(SMALL + 1,)), "large result")
    before = b.histogram()
    b.apply(FoldConstants(), DeadCode())
    assert b.histogram() == before


def test_a_transposed_weight_is_not_copied() -> None:
    b = GraphBuilder()
    transposed = b.transpose(b.constant(np.arange(6).reshape(2, 3)), 1, 0)
    b.output(b.matmul(b.input("x", ("n", 3)), transposed))
    b.apply(FoldConstants(), DeadCode())
    assert b.histogram() == {"matmul": 1, "transpose": 1}


def test_shape_values_and_symbolic_results_are_left_alone() -> None:
    b = GraphBuilder()
    b.input("x", ("n", 4))
    b.output(b.shape_value("causal", (4, 4), "bool"), "causal")
    b.output(b.op(graph.expand_def, b.constant(1.0), shape=("n", 4)), "ones")
    b.apply(FoldConstants(), DeadCode())
    assert b.histogram() == {"expand": 1, "shape_value": 1}
