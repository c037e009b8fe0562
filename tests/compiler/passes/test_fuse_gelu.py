from __future__ import annotations

from collections.abc import Callable
from math import pi, sqrt

import numpy as np
import pytest

from compiler.ir.core import Value
from compiler.passes.dead_code import DeadCode
from compiler.passes.fuse_gelu import FuseGelu
from tests.compiler.graph_builder import GraphBuilder, random_inputs

Formula = Callable[[GraphBuilder, Value], Value]


def erf_of(b: GraphBuilder, x: Value) -> Value:
    return b.unary("erf", b.binary("div", x, sqrt(2)))


def erf_product_last(b: GraphBuilder, x: Value) -> Value:
    return b.binary("mul", b.binary("mul", x, b.binary("add", erf_of(b, x), 1.0)), 0.5)


def erf_half_first(b: GraphBuilder, x: Value) -> Value:
    return b.binary("mul", b.binary("mul", x, 0.5), b.binary("add", b.constant(1.0), erf_of(b, x)))


def erf_half_on_the_right(b: GraphBuilder, x: Value) -> Value:
    half = b.binary("mul", b.binary("add", erf_of(b, x), 1.0), 0.5)
    return b.binary("mul", half, x)


def erf_of_product(b: GraphBuilder, x: Value) -> Value:
    t = b.unary("erf", b.binary("mul", b.constant(0.7071067811865476), x))
    return b.binary("div", b.binary("mul", x, b.binary("add", t, 1.0)), 2.0)


def erf_distributed(b: GraphBuilder, x: Value) -> Value:
    half = b.binary("mul", x, 0.5)
    return b.binary("add", half, b.binary("mul", half, erf_of(b, x)))


def tanh_pow(b: GraphBuilder, x: Value) -> Value:
    cube = b.binary("mul", b.binary("pow", x, 3.0), 0.044715)
    t = b.unary("tanh", b.binary("mul", b.binary("add", x, cube), sqrt(2 / pi)))
    return b.binary("mul", b.binary("mul", x, 0.5), b.binary("add", t, 1.0))


def tanh_products(b: GraphBuilder, x: Value) -> Value:
    cube = b.binary("mul", b.constant(0.044715), b.binary("mul", b.binary("mul", x, x), x))
    t = b.unary("tanh", b.binary("mul", b.constant(0.7978845608), b.binary("add", cube, x)))
    return b.binary("mul", b.binary("mul", b.constant(0.5), x), b.binary("add", b.constant(1.0), t))


def tanh_factored(b: GraphBuilder, x: Value) -> Value:
    square = b.binary("add", b.binary("mul", b.binary("mul", x, x), 0.044715), 1.0)
    t = b.unary("tanh", b.binary("mul", b.binary("mul", x, sqrt(2 / pi)), square))
    return b.binary("mul", x, b.binary("mul", b.binary("add", t, 1.0), 0.5))


FORMULAS = [
    (erf_product_last, "gelu_erf"),
    (erf_half_first, "gelu_erf"),
    (erf_half_on_the_right, "gelu_erf"),
    (erf_of_product, "gelu_erf"),
    (erf_distributed, "gelu_erf"),
    (tanh_pow, "gelu_tanh"),
    (tanh_products, "gelu_tanh"),
    (tanh_factored, "gelu_tanh"),
]


@pytest.mark.parametrize(("formula", "fused"), FORMULAS)
def test_every_spelling_fuses(formula: Formula, fused: str) -> None:
    b = GraphBuilder()
    # x is itself the sum of a bias, and its readers may not be mistaken for part of the formula.
    x = b.binary("add", b.input("x", ("batch", "seq", 6)), b.constant(np.arange(6)))
    b.output(b.binary("mul", formula(b, x), x))
    inputs = random_inputs(np.random.default_rng(0), x=(2, 3, 6))
    before = b.run(**inputs)["y"]
    b.apply(FuseGelu(), DeadCode())
    assert b.histogram() == {"add": 1, fused: 1, "mul": 1}
    np.testing.assert_allclose(b.run(**inputs)["y"], before, rtol=1e-5, atol=1e-6)


def test_the_location_names_every_op_of_the_formula() -> None:
    b = GraphBuilder()
    x = b.input("x", (4,))
    b.output(erf_product_last(b, x))
    formula = [op for op in b.module.body.ops if op.name in ("graph.unary", "graph.binary")]
    b.apply(FuseGelu())
    fused = next(op for op in b.module.body.ops if op.attrs.get("fn") == "gelu_erf")
    assert set(fused.loc.names) == {name for op in formula for name in op.loc.names}


@pytest.mark.parametrize(
    "formula",
    [
        lambda b, x: b.binary("mul", b.binary("mul", x, b.binary("add", erf_of(b, x), 1.0)), 0.51),
        lambda b, x: b.binary("mul", b.binary("mul", x, b.binary("add", erf_of(b, x), 2.0)), 0.5),
        lambda b, x: b.binary("mul", b.binary("mul", x, b.binary("sub", erf_of(b, x), 1.0)), 0.5),
        lambda b, x: b.binary(
            "mul", b.binary("mul", x, b.binary("add", b.unary("erf", b.binary("mul", x, 0.707)), 1.0)), 0.5
        ),
        lambda b, x: b.binary(
            "mul", b.binary("mul", x, b.binary("add", b.unary("tanh", b.binary("mul", x, sqrt(0.5))), 1.0)), 0.5
        ),
        lambda b, x: b.binary(
            "mul", b.binary("mul", b.unary("neg", x), b.binary("add", erf_of(b, x), 1.0)), 0.5
        ),
        # A formula of two different values.
        lambda b, x: b.binary(
            "mul", b.binary("mul", b.unary("exp", x), b.binary("add", erf_of(b, x), 1.0)), 0.5
        ),
    ],
)  # fmt: skip
def test_what_is_not_quite_gelu_stays(formula: Formula) -> None:
    b = GraphBuilder()
    b.output(formula(b, b.input("x", (2, 6))))
    before = b.histogram()
    b.apply(FuseGelu(), DeadCode())
    assert b.histogram() == before


def test_a_shared_intermediate_survives() -> None:
    b = GraphBuilder()
    x = b.input("x", (2, 6))
    t = erf_of(b, x)
    b.output(b.binary("mul", b.binary("mul", x, b.binary("add", t, 1.0)), 0.5), "gelu")
    b.output(t, "erf")
    inputs = random_inputs(np.random.default_rng(1), x=(2, 6))
    before = b.run(**inputs)
    b.apply(FuseGelu(), DeadCode())
    assert b.histogram() == {"div": 1, "erf": 1, "gelu_erf": 1}
    after = b.run(**inputs)
    assert np.array_equal(after["erf"], before["erf"])
    np.testing.assert_allclose(after["gelu"], before["gelu"], rtol=1e-5, atol=1e-6)


def test_fp16_around_fp32_arithmetic() -> None:
    b = GraphBuilder()
    x = b.input("x", (2, 6), "f16")
    b.output(b.cast(erf_product_last(b, b.cast(x, "f32")), "f16"))
    inputs = {"x": np.random.default_rng(2).standard_normal((2, 6)).astype(np.float16)}
    before = b.run(**inputs)["y"]
    b.apply(FuseGelu(), DeadCode())
    assert b.histogram() == {"gelu_erf": 1}
    assert np.array_equal(b.run(**inputs)["y"], before)


def test_fp16_constants_are_rounded() -> None:
    b = GraphBuilder()
    x = b.input("x", (2, 6), "f16")

    def half(value: float) -> Value:
        return b.constant(value, "float16")

    cube = b.binary("mul", b.binary("mul", b.binary("mul", x, x), x), half(0.044715))
    t = b.unary("tanh", b.binary("mul", b.binary("add", x, cube), half(sqrt(2 / pi))))
    b.output(b.binary("mul", b.binary("mul", x, half(0.5)), b.binary("add", t, half(1.0))))
    b.apply(FuseGelu(), DeadCode())
    assert b.histogram() == {"gelu_tanh": 1}
