from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from compiler.dialects import graph
from compiler.ir.core import Value
from compiler.passes.dead_code import DeadCode
from compiler.passes.fuse_gelu import FuseGelu
from compiler.passes.fuse_layer_norm import FuseLayerNorm
from compiler.passes.simplify import Simplify
from tests.compiler.graph_builder import GraphBuilder, random_inputs

Graph = Callable[[GraphBuilder, Value], Value]


def weight_times(b: GraphBuilder, x: Value, *, transpose_b: bool) -> Value:
    """x times a transposed weight; integers, so that the order of additions does not show."""
    weight = b.constant(np.arange(16.0).reshape(4, 4))
    return b.matmul(b.unary("sigmoid", b.binary("mul", x, 1e30)), b.transpose(weight, 1, 0), transpose_b=transpose_b)


# Graph of x [batch, 4], and the ops that are left of it.
ROWS: dict[str, tuple[Graph, dict[str, int]]] = {
    "x + 0": (lambda b, x: b.binary("add", x, 0.0), {}),
    "0 + x": (lambda b, x: b.binary("add", b.constant(0.0), x), {}),
    "x - 0": (lambda b, x: b.binary("sub", x, 0.0), {}),
    "x * 1": (lambda b, x: b.binary("mul", x, b.constant(np.ones(4))), {}),
    "1 * x": (lambda b, x: b.binary("mul", b.constant([[1.0]]), x), {}),
    "x / 1": (lambda b, x: b.binary("div", x, 1.0), {}),
    "x ** 1": (lambda b, x: b.binary("pow", x, 1.0), {}),
    "0 - x": (lambda b, x: b.binary("sub", b.constant(0.0), x), {"sub": 1}),
    "1 / x": (lambda b, x: b.binary("div", b.constant(1.0), x), {"div": 1}),
    "1 ** x": (lambda b, x: b.binary("pow", b.constant(1.0), x), {"pow": 1}),
    "x * [1, 2, 1, 1]": (lambda b, x: b.binary("mul", x, b.constant([1, 2, 1, 1])), {"mul": 1}),
    "x + 0 that broadcasts": (lambda b, x: b.binary("add", x, b.constant(np.zeros((3, 1, 1)))), {"add": 1}),
    "x + zeros": (lambda b, x: b.binary("add", x, b.shape_value("zeros", ("batch", 4), "f32")), {}),
    "zeros + x": (lambda b, x: b.binary("add", b.shape_value("zeros", ("batch", 4), "f32"), x), {}),
    "where all true": (
        lambda b, x: b.where(b.shape_value("all_true", ("batch", 4), "bool"), x, b.constant(-1.0)), {}
    ),
    "where causal": (
        lambda b, x: b.where(b.shape_value("causal", (4, 4), "bool"), b.reshape(x, "batch", 1, 4), b.constant(-1.0)),
        {"reshape": 1, "shape_value": 1, "where": 1},
    ),
    "reshape to itself": (lambda b, x: b.reshape(x, "batch", 4), {}),
    "reshape of reshape": (lambda b, x: b.reshape(b.reshape(x, "batch", 2, 2), "batch", 1, 4), {"reshape": 1}),
    "there and back": (lambda b, x: b.reshape(b.reshape(x, "batch", 2, 2), "batch", 4), {}),
    "transpose twice": (lambda b, x: b.transpose(b.transpose(x, 1, 0), 1, 0), {}),
    "two transposes": (
        lambda b, x: b.transpose(b.transpose(b.reshape(x, "batch", 2, 2), 2, 0, 1), 0, 2, 1),
        {"reshape": 1, "transpose": 1},
    ),
    "expand to itself": (lambda b, x: b.op(graph.expand_def, x, shape=("batch", 4)), {}),
    "cast to itself": (lambda b, x: b.cast(x, "f32"), {}),
    "narrowing and back": (lambda b, x: b.cast(b.cast(x, "f16"), "f32"), {"cast": 2}),
    "widening and back": (
        lambda b, x: b.cast(b.cast(b.cast(b.cast(x, "f16"), "f32"), "f16"), "f32"), {"cast": 2}
    ),
    "whole slice": (lambda b, x: b.slice(x, 1, 0, 4), {}),
    "part slice": (lambda b, x: b.slice(x, 1, 1, 4), {"slice": 1}),
    "x @ transpose(w)": (partial(weight_times, transpose_b=False), {"matmul": 1, "mul": 1, "sigmoid": 1}),
    "x @ transpose(transpose(w))": (partial(weight_times, transpose_b=True), {"matmul": 1, "mul": 1, "sigmoid": 1}),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_row(name: str) -> None:
    build, expected = ROWS[name]
    b = GraphBuilder()
    b.output(build(b, b.input("x", ("batch", 4))))
    inputs = [random_inputs(np.random.default_rng(seed), x=(3, 4)) for seed in range(3)]
    before = [b.run(**feed)["y"] for feed in inputs]
    b.apply(Simplify(), DeadCode())
    assert b.histogram() == expected
    for feed, reference in zip(inputs, before, strict=True):
        assert np.array_equal(b.run(**feed)["y"], reference)


def test_the_other_transpose_b_is_chosen() -> None:
    b = GraphBuilder()
    weight = b.constant(np.arange(12.0).reshape(4, 3))
    x = b.input("x", ("batch", 3))
    b.output(b.matmul(x, b.transpose(weight, 1, 0)))
    b.apply(Simplify(), DeadCode())
    matmul = b.module.body.find("graph.matmul")[0]
    assert matmul.attrs["transpose_b"] is True
    assert matmul.operands[1] is weight


def test_an_empty_constant_is_no_number() -> None:
    b = GraphBuilder()
    b.output(b.binary("add", b.input("x", (0, 4)), b.constant(np.zeros((0, 4)))))
    b.apply(Simplify(), FuseGelu(), FuseLayerNorm())
    assert b.histogram() == {"add": 1}


def test_constants_come_second() -> None:
    b = GraphBuilder()
    x, c = b.input("x", ("batch", 4)), b.constant(np.arange(4))
    for fn in ("add", "mul", "max", "min", "sub"):
        b.output(b.binary(fn, c, x), fn)
    inputs = random_inputs(np.random.default_rng(0), x=(3, 4))
    before = b.run(**inputs)
    b.apply(Simplify())
    second = {op.attrs["fn"] for op in b.module.body.find("graph.binary") if op.operands[1] is c}
    assert second == {"add", "mul", "max", "min"}
    after = b.run(**inputs)
    assert all(np.array_equal(after[fn], before[fn]) for fn in before)
