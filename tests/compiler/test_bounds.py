"""Derived bounds hold for real roundings, and are within sight of them."""

from __future__ import annotations

import numpy as np
import pytest

from compiler import bounds, graph_bounds
from compiler.bounds import Rounding
from compiler.dialects import graph
from compiler.graph_interpreter import Frame
from tests.random_gpt import Builder

rng = np.random.default_rng(4)


@pytest.mark.parametrize("n", [3, 96, 1088])
@pytest.mark.parametrize("half", [False, True])
def test_products(n: int, half: bool) -> None:
    """Summed in order, one rounding after each operation, the worst case the bound is for."""
    x, w = rng.standard_normal((40, n)), rng.standard_normal((n, 30))
    kind = np.float16 if half else np.float32
    xs, ws = x.astype(kind).astype(np.float32), w.astype(kind).astype(np.float32)
    y = np.zeros((40, 30), np.float32)
    for k in range(n):
        y += xs[:, k : k + 1] * ws[k]
    exact = (x if half else xs.astype(np.float64)) @ (w if half else ws.astype(np.float64))
    rounding = Rounding(half=half)
    bound = bounds.product(n, rounding) * (np.abs(x) @ np.abs(w))
    share = (np.abs(y - exact) / bound).max()
    assert 0.003 < share < 1


@pytest.mark.parametrize("mean", [0.0, 30.0])
def test_layer_norm(mean: float) -> None:
    x = (rng.standard_normal((20, 200)) + mean).astype(np.float32)
    scale, bias = rng.standard_normal((2, 200)).astype(np.float32)

    def norm(kind: type) -> np.ndarray:  # type: ignore[type-arg]
        values = x.astype(kind)
        centred = values - values.sum(axis=-1, keepdims=True) / kind(200)
        variance = (centred * centred).sum(axis=-1, keepdims=True) / kind(200)
        return np.asarray(centred / np.sqrt(variance + kind(1e-5)) * scale.astype(kind) + bias.astype(kind))

    exact = norm(np.float64)
    bound = bounds.layer_norm(x.astype(np.float64), np.zeros(x.shape), exact, scale, bias, 1e-5, Rounding())
    assert 1e-4 < (np.abs(norm(np.float32) - exact) / bound).max() < 1


def softmax_attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, scale: float) -> np.ndarray:  # type: ignore[type-arg]
    scores = np.where(np.tri(len(q), dtype=bool), q @ k.T * q.dtype.type(scale), -np.inf)
    p = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(p @ v / p.sum(axis=-1, keepdims=True))


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("size", [0.3, 3.0])
def test_attention(half: bool, size: float) -> None:
    q, k, v = (size * rng.standard_normal((3, 25, 32))).astype(np.float32)
    exact = softmax_attention(*(a.astype(np.float64) for a in (q, k, v)), scale=0.2)
    kind = np.float16 if half else np.float32
    got = softmax_attention(*(a.astype(kind).astype(np.float32) for a in (q, k, v)), scale=0.2)
    zero = np.zeros(q.shape)
    bound = bounds.attention((q, k, v), (zero, zero, zero), 0.2, True, 1, Rounding(half=half, storage=half))
    assert 1e-3 < (np.abs(got - exact) / bound).max() < 1


def test_errors_of_operands_are_carried_through() -> None:
    """Operands moved by as much as they may be wrong move the result by less than its bound, and not by nothing."""
    q, k, v = rng.standard_normal((3, 25, 32))
    e = 1e-3 * np.abs(rng.standard_normal((3, 25, 32)))
    moved = [a + e_ * rng.choice([-1, 1], a.shape) for a, e_ in zip((q, k, v), e, strict=True)]
    bound = bounds.attention((q, k, v), (e[0], e[1], e[2]), 0.2, True, 1, Rounding())
    change = np.abs(softmax_attention(*moved, scale=0.2) - softmax_attention(q, k, v, 0.2))
    assert 0.01 < (change / bound).max() < 1
    x, y = rng.standard_normal((2, 9, 50))
    ones = np.ones(50)
    normed = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    near = x + 1e-3 * y
    other = (near - near.mean(-1, keepdims=True)) / np.sqrt(near.var(-1, keepdims=True) + 1e-5)
    bound = bounds.layer_norm(x, 1e-3 * np.abs(y), normed, ones, 0 * ones, 1e-5, Rounding())
    assert 0.01 < (np.abs(other - normed) / bound).max() < 1


@pytest.mark.parametrize("fn", sorted(bounds.SLOPES))
def test_no_function_is_steeper_than_its_slope(fn: str) -> None:
    from compiler.graph_interpreter import UNARY

    x = np.linspace(-6, 6, 20001)
    slopes = np.abs(np.diff(UNARY[fn](x).astype(np.float64)) / np.diff(x))
    assert 0.99 * bounds.SLOPES[fn] < slopes.max() < bounds.SLOPES[fn] + 1e-3


def test_what_has_no_formula_has_no_bound() -> None:
    x, e = np.ones(3), np.full(3, 1e-6)
    assert np.isinf(bounds.unary("exp", x, x, e, Rounding())).all()
    assert np.isinf(bounds.binary("div", x, x, x, (e, e), Rounding())).all()
    assert (bounds.unary("exp", x, x, 0 * e, Rounding()) < 1e-6).all()


def test_an_op_without_a_formula_has_no_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than one of zero: a new op is told as not compared until it has one."""
    b = Builder(1)
    x = b.op(graph.input_def, shape=(2, 3), name="x")
    soft = b.op(graph.softmax_def, x, shape=(2, 3))
    frame, values, zero = Frame(b.resources, {}), np.ones((2, 3), np.float32), np.zeros((2, 3))
    assert soft.op is not None
    assert x.op is not None
    arguments = (soft.op, [values], [zero], values, frame)
    assert np.isfinite(graph_bounds.bound(*arguments)).all()
    monkeypatch.delitem(graph_bounds.FUNCTIONS, "softmax")
    assert np.isinf(graph_bounds.bound(*arguments)).all()
    assert not graph_bounds.bound(x.op, [], [], values, frame).any()
