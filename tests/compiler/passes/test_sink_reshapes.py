from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from compiler.dialects import graph
from compiler.ir.core import Value
from compiler.passes.dead_code import DeadCode
from compiler.passes.simplify import Simplify
from compiler.passes.sink_reshapes import SinkReshapes
from tests.compiler.graph_builder import GraphBuilder, random_inputs

Body = Callable[[GraphBuilder, Value], Value]


def run(b: GraphBuilder, expected: dict[str, int], **shapes: tuple[int, ...]) -> None:
    """The reshapes must end where `expected` says; matmuls may add in another order."""
    inputs = [random_inputs(np.random.default_rng(seed), **shapes) for seed in range(3)]
    before = [b.run(**feed) for feed in inputs]
    b.apply(SinkReshapes(), Simplify(), DeadCode())
    assert b.histogram() == expected
    for feed, reference in zip(inputs, before, strict=True):
        for name, array in b.run(**feed).items():
            np.testing.assert_allclose(array, reference[name], rtol=1e-5, atol=1e-6)


def norm(b: GraphBuilder, x: Value) -> Value:
    vectors = (b.constant(np.arange(4) + seed) for seed in (1.0, 2.0))
    return b.op(graph.layer_norm_def, x, *vectors, shape=graph.tensor_type(x).shape, epsilon=1e-5)


def masked_rows(b: GraphBuilder, x: Value) -> Value:
    """One operand [rows, 4], the other [rows, 1]."""
    return b.binary("mul", x, b.reduce("mean", x))


# Bodies on x [batch*seq, 4], all of which leave the rows alone.
BODIES: dict[str, tuple[Body, dict[str, int]]] = {
    "linear": (lambda b, x: b.matmul(x, b.constant(np.eye(4, 5))), {"matmul": 1}),
    "transposed linear": (lambda b, x: b.matmul(x, b.constant(np.eye(5, 4)), transpose_b=True), {"matmul": 1}),
    "bias": (lambda b, x: b.binary("add", x, b.constant(np.arange(4))), {"add": 1}),
    "scalar": (lambda b, x: b.binary("mul", x, 2.0), {"mul": 1}),
    "unary": (lambda b, x: b.unary("tanh", x), {"tanh": 1}),
    "residual": (lambda b, x: b.binary("add", x, b.unary("tanh", x)), {"add": 1, "tanh": 1}),
    "layer norm": (norm, {"layer_norm": 1}),
    "softmax": (lambda b, x: b.softmax(x), {"softmax": 1}),
    "reduction": (masked_rows, {"mean": 1, "mul": 1}),
    "slice": (lambda b, x: b.slice(x, 1, 1, 3), {"slice": 1}),
    "cast": (lambda b, x: b.cast(b.cast(x, "f16"), "f32"), {"cast": 2}),
}


@pytest.mark.parametrize("name", BODIES)
def test_rows_are_kept_apart(name: str) -> None:
    body, expected = BODIES[name]
    b = GraphBuilder()
    x = b.input("x", ("batch", "seq", 4))
    y = body(b, b.reshape(x, "batch*seq", 4))
    b.output(b.reshape(y, "batch", "seq", graph.tensor_type(y).shape[-1]))
    run(b, expected, x=(2, 3, 4))


def test_look_up() -> None:
    b = GraphBuilder()
    ids = b.reshape(b.input("ids", ("batch", "seq"), "i64"), "batch*seq")
    table = b.constant(np.arange(15.0).reshape(5, 3))
    rows = b.op(graph.gather_def, table, ids, shape=("batch*seq", 3))
    b.output(b.reshape(rows, "batch", "seq", 3))
    feed = {"ids": np.random.default_rng(0).integers(0, 5, (2, 4))}
    before = b.run(**feed)["y"]
    b.apply(SinkReshapes(), Simplify(), DeadCode())
    assert b.histogram() == {"gather": 1}
    assert np.array_equal(b.run(**feed)["y"], before)


def test_heads_merged_into_the_batch() -> None:
    """Batch and heads as one axis around a product and a transpose, as some exporters write attention."""
    b = GraphBuilder()
    x, y = (b.input(name, ("batch", 3, "seq", 4)) for name in "xy")
    merged_x, merged_y = (b.reshape(value, "3*batch", "seq", 4) for value in (x, y))
    product = b.matmul(merged_x, b.transpose(merged_y, 0, 2, 1))
    b.output(b.reshape(product, "batch", 3, "seq", "seq"))
    run(b, {"matmul": 1, "transpose": 1}, x=(2, 3, 5, 4), y=(2, 3, 5, 4))


def test_a_reader_that_needs_the_merged_form_keeps_it() -> None:
    b = GraphBuilder()
    x = b.reshape(b.input("x", ("batch", "seq", 4)), "batch*seq", 4)
    b.output(b.reshape(b.unary("tanh", x), "batch", "seq", 4), "apart")
    b.output(x, "merged")
    run(b, {"reshape": 1, "tanh": 1}, x=(2, 3, 4))


# Bodies that mix rows, or whose other operand counts on them being merged.
MIXING: dict[str, Body] = {
    "transpose": lambda b, x: b.transpose(x, 1, 0),
    "row slice": lambda b, x: b.slice(x, 0, 1, 3),
    "constant rows": lambda b, x: b.binary("add", x, b.constant(np.arange(24.0).reshape(6, 4))),
    "left operand": lambda b, x: b.matmul(b.constant(np.ones((2, 6))), x),
}


@pytest.mark.parametrize("name", MIXING)
def test_what_mixes_rows_is_left_alone(name: str) -> None:
    b = GraphBuilder()
    x = b.reshape(b.input("x", (2, 3, 4)), 6, 4)
    b.output(MIXING[name](b, x))
    before = b.histogram()
    b.apply(SinkReshapes(), DeadCode())
    assert b.histogram() == before


def test_a_reshape_that_changes_the_last_axis_is_left_alone() -> None:
    b = GraphBuilder()
    x = b.reshape(b.input("x", ("batch", 3, 4)), "batch", 12)
    b.output(b.matmul(x, b.constant(np.ones((12, 2)))))
    run(b, {"matmul": 1, "reshape": 1}, x=(2, 3, 4))


def test_a_vector_made_by_merging_is_no_row_axis() -> None:
    """[3, 4] -> [12] added to every row of [12, 12]: the sizes alone would allow to unmerge both."""
    b = GraphBuilder()
    x = b.reshape(b.input("x", (3, 4, 12)), 12, 12)
    shift = b.reshape(b.input("shift", (3, 4)), 12)
    b.output(b.reshape(b.binary("add", x, shift), 3, 4, 12))
    run(b, {"add": 1, "reshape": 1}, x=(3, 4, 12), shift=(3, 4))
