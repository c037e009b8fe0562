"""Metrics and tolerances of the checker."""

from __future__ import annotations

import math

import numpy as np
import pytest

from runtime.check import (
    INPUT_BOUND,
    TOLERANCES,
    CheckReport,
    compare,
    compare_all,
    random_inputs,
    require_nonzero,
    tolerance,
    ulp_distance,
)
from runtime.errors import InputError, NumericsError
from runtime.image import Port


def f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def port(name: str, dtype: str, *shape: int | str, limit: int | None = None) -> Port:
    return Port(name, "in", dtype, shape, 1, (), limit)


def test_equal_arrays_pass_exactly() -> None:
    result = compare("y", f32(1, -2, 3), f32(1, -2, 3), 0.0)
    assert result.passed
    assert (result.max_abs, result.max_rel, result.max_ulp, result.mean_ulp) == (0, 0, 0, 0)
    assert result.cosine == pytest.approx(1)
    assert result.argmax_agreement == 1


def test_error_is_relative_to_the_largest_reference() -> None:
    result = compare("y", f32(0.5, 100), f32(0, 100), 4e-3)
    assert result.max_rel == pytest.approx(5e-3)
    assert not result.passed
    assert compare("y", f32(0.5, 100), f32(0, 100), 6e-3).passed


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("both", [False, True])
def test_what_is_not_finite_never_passes(bad: float, both: bool) -> None:
    assert not compare("y", f32(1, bad), f32(1, bad if both else 2), 1e9).passed
    assert not compare("y", f32(1, 2), f32(1, bad), 1e9).passed


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("sign", [1, -1])
def test_one_element_off_by_the_tolerance_fails_wherever_it_is(precision: str, sign: int) -> None:
    """In fp64, so that the planted error is what it is said to be: as large as the tolerance fails, a hair less not."""
    wanted = np.random.default_rng(3).standard_normal((2, 3, 4))
    allowed = tolerance(precision)
    for place in np.ndindex(wanted.shape):
        for share, passes in ((1.0000001, False), (0.9999999, True)):
            got = wanted.copy()
            got[place] += sign * share * allowed * np.abs(wanted).max()
            assert compare("y", got, wanted, allowed).passed == passes
    exact = np.full((2, 2), 8.0)  # powers of two, so that nothing rounds
    assert not compare("y", exact + 8.0 * 2.0**-7, exact, 2.0**-7).passed
    assert compare("y", exact + 8.0 * 2.0**-8, exact, 2.0**-7).passed


def test_errors_that_cancel_are_still_seen() -> None:
    """A mean, or a sum, would not: half of all elements too large, half too small."""
    wanted = np.ones((4, 4))
    got = wanted + 1e-2 * np.where(np.arange(16).reshape(4, 4) % 2, 1, -1)
    assert not compare("y", got, wanted, tolerance("fp16")).passed


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_fails_wherever_it_is(bad: float) -> None:
    wanted = np.random.default_rng(3).standard_normal((2, 3, 4)).astype(np.float32)
    for place in np.ndindex(wanted.shape):
        got = wanted.copy()
        got[place] = bad
        assert not compare("y", got, wanted, tolerance("fp16")).passed
        assert not compare("y", wanted, got, tolerance("fp16")).passed


def test_inputs_of_zeros_are_refused() -> None:
    require_nonzero({"x": f32(0, 0, 1e-30), "ids": np.array([[0, 1]])})
    with pytest.raises(InputError, match=r"input ids.*all its values are zero"):
        require_nonzero({"x": f32(1), "ids": np.array([[0, 0]])})
    with pytest.raises(InputError, match="zero"):
        require_nonzero({"x": f32(0.0, -0.0)})


def test_zero_reference() -> None:
    assert compare("y", f32(0, 0), f32(0, 0), 0.0).passed
    assert not compare("y", f32(0, 1e-30), f32(0, 0), 1.0).passed


def test_ulp_counts_representable_numbers() -> None:
    one = np.float32(1)
    assert ulp_distance(f32(1), np.nextafter(f32(1), f32(2))).item() == 1
    assert ulp_distance(f32(0.0), f32(-0.0)).item() == 0
    tiny = np.nextafter(f32(0), f32(1))
    assert ulp_distance(tiny, -tiny).item() == 2
    assert ulp_distance(f32(1), f32(2)).item() == 2**23
    assert ulp_distance(np.array([one], np.float16), np.array([2], np.float16)).item() == 2**10
    assert ulp_distance(np.array([3]), np.array([-4])).item() == 7


def test_argmax_agreement_is_by_row() -> None:
    got = np.array([[1, 2, 3], [3, 2, 1]], np.float32)
    wanted = np.array([[1, 2, 3], [1, 2, 3]], np.float32)
    assert compare("y", got, wanted, 1).argmax_agreement == 0.5


def test_shapes_and_names_must_be_the_references() -> None:
    with pytest.raises(NumericsError, match="shape"):
        compare("y", f32(1), f32(1, 2), 1)
    with pytest.raises(NumericsError, match="outputs"):
        compare_all({"y": f32(1)}, {"z": f32(1)}, 1)


def test_tolerances_are_constants() -> None:
    assert TOLERANCES == {"fp32": 2e-5, "fp16": 5e-3}
    assert tolerance("fp32") == 2e-5
    assert tolerance("fp16", exact=True) == 0


def test_random_inputs_fill_symbolic_axes() -> None:
    ports = [port("ids", "i64", "batch", "seq", limit=7), port("x", "f32", "batch", "seq", 3)]
    inputs = random_inputs(ports, tokens=50, batch=2, seed=1)
    assert inputs["ids"].shape == (2, 50)
    assert inputs["x"].shape == (2, 50, 3)
    assert set(inputs["ids"].ravel()) == set(range(7))
    again = random_inputs(ports, tokens=50, batch=2, seed=1)
    assert all(np.array_equal(inputs[name], again[name]) for name in inputs)
    other = random_inputs(ports, tokens=50, batch=2, seed=2)
    assert not np.array_equal(inputs["x"], other["x"])


def test_integer_inputs_are_small_integers() -> None:
    x = random_inputs([port("x", "f32", "batch", 8)], tokens=20, integers=True)["x"]
    assert x.shape == (20, 8)
    assert np.array_equal(x, np.rint(x))
    assert np.abs(x).max() == INPUT_BOUND


def test_nothing_to_run() -> None:
    with pytest.raises(InputError):
        random_inputs([port("x", "f32", "batch", 8)], tokens=0)


def test_report_is_json_without_infinities() -> None:
    bad = compare("y", f32(math.nan), f32(1), 1)
    report = CheckReport((bad,), "fp32", 1, 1, 0, 2.0, 0.5)
    assert not report.passed
    assert report.ratio == 4
    assert report.to_json()["outputs"][0]["max_rel"] is None
