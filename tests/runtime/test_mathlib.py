"""The scalar library against float64 mathematics, and fp16 conversion against numpy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import njit

from runtime import mathlib

rng = np.random.default_rng(0)
INF = np.float32(np.inf)


def apply(fn: Any, x: np.ndarray[Any, Any], dtype: Any = np.float32) -> np.ndarray[Any, Any]:
    @njit(error_model="numpy")  # type: ignore[untyped-decorator]
    def loop(source: Any, result: Any) -> None:
        for i in range(len(source)):
            result[i] = fn(source[i])

    result = np.zeros(len(x), dtype)
    loop(x, result)
    return result


def ulps(got: np.ndarray[Any, Any], want: np.ndarray[Any, Any]) -> float:
    spacing = np.spacing(np.maximum(np.abs(want).astype(np.float32), np.float32(2.0**-126))).astype(np.float64)
    return float(np.max(np.abs(got.astype(np.float64) - want) / spacing))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


CASES: list[tuple[Any, Callable[[float], float], tuple[float, float], float]] = [
    (mathlib.exp, math.exp, (-87, 88.7), 1.5),
    (mathlib.exp, math.exp, (-103, -87), 1.0),
    (mathlib.exp, math.exp, (-1, 1), 1.5),
    (mathlib.log, math.log, (1e-30, 10), 1.5),
    (mathlib.log, math.log, (0.5, 2), 1.5),
    (mathlib.log, math.log, (1, 3e38), 1.5),
    (mathlib.sqrt, math.sqrt, (0, 1e6), 0.5),
    (mathlib.rsqrt, lambda x: 1 / math.sqrt(x), (1e-6, 1e6), 1.5),
    (mathlib.reciprocal, lambda x: 1 / x, (1e-3, 1e6), 0.5),
    (mathlib.tanh, math.tanh, (-10, 10), 2.5),
    (mathlib.tanh, math.tanh, (-0.7, 0.7), 2.5),
    (mathlib.sigmoid, sigmoid, (-80, 20), 3.0),
    (mathlib.erf, math.erf, (-4.5, 4.5), 2.0),
    (mathlib.erf, math.erf, (-1, 1), 2.0),
]


@pytest.mark.parametrize(("fn", "truth", "span", "limit"), CASES)
def test_accuracy(fn: Any, truth: Callable[[float], float], span: tuple[float, float], limit: float) -> None:
    x = rng.uniform(*span, 100_000).astype(np.float32)
    want = np.array([truth(float(value)) for value in x])
    assert ulps(apply(fn, x), want) <= limit


@pytest.mark.parametrize("fn", [mathlib.gelu_erf, mathlib.gelu_tanh])
def test_gelu(fn: Any) -> None:
    x = rng.uniform(-12, 12, 200_000).astype(np.float32)
    x64 = x.astype(np.float64)
    if fn is mathlib.gelu_erf:
        want = np.array([v / 2 * math.erfc(-v / math.sqrt(2)) for v in x64])
    else:
        want = x64 / (1 + np.exp(-2 * math.sqrt(2 / math.pi) * (x64 + 0.044715 * x64**3)))
    error = np.abs(apply(fn, x) - want)
    assert np.all(error <= 1.5e-7 * np.abs(x64))


SPECIAL = [
    (mathlib.exp, [-INF, INF, -1e30, 1e30, 0.0], [0, INF, 0, INF, 1]),
    (mathlib.log, [0.0, INF, 1.0], [-INF, INF, 0]),
    (mathlib.tanh, [-INF, INF, 0.0, 1e30], [-1, 1, 0, 1]),
    (mathlib.sigmoid, [-INF, INF, 0.0], [0, 1, 0.5]),
    (mathlib.erf, [-INF, INF, 0.0, 1e30], [-1, 1, 0, 1]),
    (mathlib.gelu_erf, [-INF, INF, 0.0, -1e30, 1e30], [0, INF, 0, 0, np.float32(1e30)]),
    (mathlib.gelu_tanh, [-INF, INF, 0.0, -1e30, 1e30], [0, INF, 0, 0, np.float32(1e30)]),
    (mathlib.relu, [-INF, INF, -0.5, 0.5], [0, INF, 0, 0.5]),
    (mathlib.absolute, [-INF, -0.0], [INF, 0]),
]


@pytest.mark.parametrize(("fn", "x", "want"), SPECIAL)
def test_extremes(fn: Any, x: list[float], want: list[float]) -> None:
    assert apply(fn, np.array(x, np.float32)).tolist() == [float(w) for w in want]
    assert np.isnan(apply(fn, np.array([np.nan], np.float32)))[0]


def test_log_and_sqrt_of_negatives_are_nan() -> None:
    assert np.isnan(apply(mathlib.log, np.array([-1.0], np.float32)))[0]
    assert np.isnan(apply(mathlib.sqrt, np.array([-1.0], np.float32)))[0]


def test_log_of_subnormals() -> None:
    x = np.array([1, 77, 4_000_000], np.int32).view(np.float32)
    assert ulps(apply(mathlib.log, x), np.log(x.astype(np.float64))) <= 1


def test_every_f16_widens_exactly() -> None:
    halves = np.arange(65536, dtype=np.uint16)
    want = halves.view(np.float16).astype(np.float32)
    got = apply(mathlib.widen, halves)
    number = ~np.isnan(want)
    assert np.array_equal(got.view(np.int32)[number], want.view(np.int32)[number])
    assert np.isnan(got[~number]).all()


def narrowing_inputs() -> np.ndarray[Any, Any]:
    anything = rng.integers(0, 1 << 32, 500_000, dtype=np.uint64).astype(np.uint32).view(np.float32)
    near = rng.uniform(-70000, 70000, 100_000).astype(np.float32)
    tiny = rng.uniform(-1e-4, 1e-4, 100_000).astype(np.float32)
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float64)
    ties = ((halves[1:] + halves[:-1]) / 2).astype(np.float32)
    edges = np.array([65504, 65519.996, 65520, 65536, np.inf, -np.inf, 0.0, -0.0, 2.0**-25], np.float32)
    return np.concatenate([anything, near, tiny, ties, -ties, edges])


def test_narrowing_rounds_to_nearest_even_as_numpy() -> None:
    x = narrowing_inputs()
    with np.errstate(over="ignore", under="ignore"):
        want = x.astype(np.float16)
    got = apply(mathlib.narrow, x, np.uint16)
    number = ~np.isnan(want)
    assert np.array_equal(got[number], want.view(np.uint16)[number])
    assert np.isnan(got[~number].view(np.float16)).all()


def test_loops_over_widen_use_vector_instructions() -> None:
    @njit(error_model="numpy")  # type: ignore[untyped-decorator]
    def loop(dst: Any, scale: Any, src: Any) -> None:
        for i in range(len(src)):
            dst[i] += scale * mathlib.widen(src[i])

    loop(np.zeros(8, np.float32), np.float32(1), np.zeros(8, np.uint16))
    code = next(iter(loop.inspect_llvm().values()))
    assert "x float>" in code
    assert "llvm.fma" not in code
