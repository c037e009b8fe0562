"""What fp32 makes of a computation lies within the bound that `Near` gives, and not far below it."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.running_error import Near

F = np.float32


@pytest.mark.parametrize("seed", range(6))
def test_fp32_is_within_the_bound_and_the_bound_is_near(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = (rng.standard_normal((40, 16)).astype(F) for _ in range(2))
    a, b = Near.exact(x), Near.exact(y)
    third = Near.constant(1 / 3)
    sums = F(0) * x[:, :1]
    for i in range(x.shape[1]):
        sums = sums + x[:, i : i + 1]
    product = F(0) * (x[:, :1] @ y[:1])[:, : y.shape[1]]
    for k in range(x.shape[1]):
        product = product + x[:, k : k + 1] * y[:16][k : k + 1]
    small = np.abs(y) + F(0.5)
    cases = [
        ((x + y) * y, (a + b) * b),
        ((x - y) * F(1 / 3), (a - b) * third),
        (np.maximum(x, y) + y, a.maximum(b) + b),
        (sums, a.sum()),
        (product, a @ Near.exact(y[:16])),
        (np.exp(x - y), (a - b).exp()),
        (F(1) / (small * y), (Near.exact(small) * b).reciprocal()),
        (F(1) / np.sqrt(small * small), (Near.exact(small) * Near.exact(small)).rsqrt()),
        ((x * y).astype(np.float16), (a * b).half()),
    ]
    for number, (got, near) in enumerate(cases):
        assert got.dtype in (np.float32, np.float16)
        error = np.abs(got.astype(np.float64) - near.value)
        assert (error <= near.error).all(), number
        if got.dtype == np.float32:
            assert (error > near.error / 100).any(), number  # a bound that nothing comes near would notice nothing


def test_halves_are_off_only_where_rounding_may_flip() -> None:
    values = np.array([1.0 + 2**-11 - 2**-30, 1.25, 3.0])
    stored = Near(values, np.full(3, 2.0**-24)).half()
    assert stored.error.tolist() == [2.0**-10, 0, 0]


def test_a_divisor_that_may_be_zero_bounds_nothing() -> None:
    near = Near(np.array([1e-9, 2.0]), np.array([1e-8, 0.0]))
    for inverse in (near.reciprocal(), near.rsqrt()):
        assert np.isinf(inverse.error[0])
        assert inverse.error[1] < 1e-6


def test_an_empty_partial_is_exact() -> None:
    """No entry: the maximum is minus infinity, its weight 0."""
    none = Near.exact(np.array([-np.inf]))
    weight = (none - Near.exact(3.0)).exp()
    assert weight.value.tolist() == [0.0]
    assert weight.error[0] < 1e-40
    assert none.maximum(Near.exact(3.0)).error.tolist() == [0.0]
