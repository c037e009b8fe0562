from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from compiler.ir.core import Op, Value
from compiler.passes.dead_code import DeadCode
from compiler.passes.fuse_layer_norm import FuseLayerNorm
from tests.compiler.graph_builder import GraphBuilder, random_inputs

WIDTH = 6
Quotient = Callable[[GraphBuilder, Value, Value], Value]


def square_by_pow(b: GraphBuilder, d: Value) -> Value:
    return b.binary("pow", d, 2.0)


def square_by_mul(b: GraphBuilder, d: Value) -> Value:
    return b.binary("mul", d, d)


def by_division(b: GraphBuilder, d: Value, variance: Value) -> Value:
    return b.binary("div", d, b.unary("sqrt", variance))


def by_reciprocal(b: GraphBuilder, d: Value, variance: Value) -> Value:
    return b.binary("mul", b.unary("reciprocal", b.unary("sqrt", variance)), d)


def by_one_over(b: GraphBuilder, d: Value, variance: Value) -> Value:
    return b.binary("mul", d, b.binary("div", b.constant(1.0), b.unary("sqrt", variance)))


def by_power(b: GraphBuilder, d: Value, variance: Value) -> Value:
    return b.binary("mul", d, b.binary("pow", variance, -0.5))


def by_half_power(b: GraphBuilder, d: Value, variance: Value) -> Value:
    return b.binary("div", d, b.binary("pow", variance, 0.5))


def normalised(
    b: GraphBuilder,
    x: Value,
    square: Callable[[GraphBuilder, Value], Value] = square_by_pow,
    quotient: Quotient = by_division,
    epsilon: float = 1e-3,
) -> Value:
    d = b.binary("sub", x, b.reduce("mean", x))
    return quotient(b, d, b.binary("add", b.reduce("mean", square(b, d)), epsilon))


def vector(b: GraphBuilder, seed: int) -> Value:
    return b.constant(np.random.default_rng(seed).standard_normal(WIDTH))


def fused(b: GraphBuilder) -> Op:
    return next(op for op in b.module.body.ops if op.name == "graph.layer_norm")


def check(b: GraphBuilder, expected: dict[str, int], rtol: float = 1e-5) -> None:
    inputs = random_inputs(np.random.default_rng(0), x=(2, 3, WIDTH))
    before = b.run(**inputs)
    b.apply(FuseLayerNorm(), DeadCode())
    assert b.histogram() == expected
    after = b.run(**inputs)
    for name in before:
        np.testing.assert_allclose(after[name], before[name], rtol=rtol, atol=1e-6)


@pytest.mark.parametrize("square", [square_by_pow, square_by_mul])
@pytest.mark.parametrize("quotient", [by_division, by_reciprocal, by_one_over, by_power, by_half_power])
def test_every_spelling_fuses(square: Callable[[GraphBuilder, Value], Value], quotient: Quotient) -> None:
    b = GraphBuilder()
    x = b.binary("add", b.input("x", ("batch", "seq", WIDTH)), vector(b, 1))
    scaled = b.binary("mul", normalised(b, x, square, quotient), vector(b, 2))
    b.output(b.binary("add", scaled, vector(b, 3)))
    check(b, {"add": 1, "layer_norm": 1})
    assert fused(b).attrs["epsilon"] == pytest.approx(1e-3)


@pytest.mark.parametrize("has_scale", [False, True])
@pytest.mark.parametrize("has_bias", [False, True])
def test_scale_and_bias_are_optional_and_commute(has_scale: bool, has_bias: bool) -> None:
    b = GraphBuilder()
    y = normalised(b, b.input("x", ("batch", "seq", WIDTH)))
    y = b.binary("mul", vector(b, 1), y) if has_scale else y
    y = b.binary("add", vector(b, 2), y) if has_bias else y
    b.output(b.unary("relu", y))
    check(b, {"layer_norm": 1, "relu": 1})


def test_two_biases_are_not_one() -> None:
    b = GraphBuilder()
    y = b.binary("add", normalised(b, b.input("x", ("batch", "seq", WIDTH))), vector(b, 1))
    b.output(b.binary("add", y, vector(b, 2)))
    check(b, {"add": 1, "layer_norm": 1})


def test_a_scale_after_the_bias_is_not_the_scale() -> None:
    b = GraphBuilder()
    y = b.binary("add", normalised(b, b.input("x", ("batch", "seq", WIDTH))), vector(b, 1))
    b.output(b.binary("mul", y, vector(b, 2)))
    check(b, {"layer_norm": 1, "mul": 1})


def test_a_shared_intermediate_survives() -> None:
    b = GraphBuilder()
    bare = normalised(b, b.input("x", ("batch", "seq", WIDTH)))
    b.output(b.binary("mul", bare, vector(b, 1)), "scaled")
    b.output(bare, "bare")
    check(b, {"layer_norm": 1, "mul": 1})


def test_the_location_names_every_op_of_the_formula() -> None:
    b = GraphBuilder()
    b.output(b.binary("mul", normalised(b, b.input("x", (2, 3, WIDTH))), vector(b, 1)))
    formula = [op for op in b.module.body.ops if op.name in ("graph.unary", "graph.binary", "graph.reduce")]
    b.apply(FuseLayerNorm())
    assert set(fused(b).loc.names) == {name for op in formula for name in op.loc.names}


def test_fp16_around_fp32_arithmetic() -> None:
    b = GraphBuilder()
    x = b.input("x", ("batch", "seq", WIDTH), "f16")
    y = b.cast(normalised(b, b.cast(x, "f32")), "f16")
    scale = b.constant(np.arange(WIDTH), "float16")
    b.output(b.binary("add", b.binary("mul", y, scale), scale))
    inputs = {"x": np.random.default_rng(4).standard_normal((2, 3, WIDTH)).astype(np.float16)}
    before = b.run(**inputs)["y"]
    b.apply(FuseLayerNorm(), DeadCode())
    assert b.histogram() == {"layer_norm": 1}
    # One rounding instead of three.
    np.testing.assert_allclose(b.run(**inputs)["y"], before, rtol=4e-3, atol=4e-3)


def other_mean(b: GraphBuilder, x: Value) -> Value:
    d = b.binary("sub", x, b.reduce("mean", b.unary("abs", x)))
    return by_division(b, d, b.binary("add", b.reduce("mean", square_by_mul(b, d)), 1e-5))


def sum_of_squares(b: GraphBuilder, x: Value) -> Value:
    d = b.binary("sub", x, b.reduce("mean", x))
    return by_division(b, d, b.binary("add", b.reduce("sum", square_by_mul(b, d)), 1e-5))


def cube(b: GraphBuilder, x: Value) -> Value:
    return normalised(b, x, lambda b, d: b.binary("pow", d, 3.0))


def variance_without_root(b: GraphBuilder, x: Value) -> Value:
    return normalised(b, x, quotient=lambda b, d, variance: b.binary("div", d, variance))


def times_root(b: GraphBuilder, x: Value) -> Value:
    return normalised(b, x, quotient=lambda b, d, variance: b.binary("mul", d, b.unary("sqrt", variance)))


def root_over_deviation(b: GraphBuilder, x: Value) -> Value:
    return normalised(b, x, quotient=lambda b, d, variance: b.binary("div", b.unary("sqrt", variance), d))


@pytest.mark.parametrize(
    "formula", [other_mean, sum_of_squares, cube, variance_without_root, times_root, root_over_deviation]
)
def test_what_is_not_quite_layer_norm_stays(formula: Callable[[GraphBuilder, Value], Value]) -> None:
    b = GraphBuilder()
    b.output(formula(b, b.input("x", (2, 3, WIDTH))))
    before = b.histogram()
    b.apply(FuseLayerNorm(), DeadCode())
    assert b.histogram() == before
