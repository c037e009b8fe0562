"""A core alone, a matrix-vector product, behaviours of the fabric, and the published figures."""

from __future__ import annotations

import dataclasses

import pytest

from runtime import target
from runtime.bench import behaviour, published, suite, validate
from runtime.bench.local import gemm, vector
from runtime.bench.matvec import matvec
from runtime.bench.published import Figure
from runtime.errors import InputError, UsageError

CS2 = target.load("cs2")
OVERHEAD = CS2.activation_cycles + CS2.vector_overhead_cycles


@pytest.mark.parametrize(("op", "dtype"), published.SIMD)
def test_datapath_widths(op: str, dtype: str) -> None:
    assert vector(op, dtype, 480, False, None, CS2)["cycles"] == 480 // published.SIMD[op, dtype] + OVERHEAD


@pytest.mark.parametrize("stride", published.STRIDES)
@pytest.mark.parametrize("op", ("mov", "add", "fmac"))
def test_strides(op: str, stride: int) -> None:
    assert vector(op, "f16", 480, False, stride, CS2)["cycles"] == 480 // published.STRIDES[stride] + OVERHEAD


@pytest.mark.parametrize(("op", "dtype"), [("mul", "f32"), ("add", "f16"), ("add", "f32"), ("fmac", "f16")])
def test_the_same_banks_take_twice_as_long(op: str, dtype: str) -> None:
    apart, same = (vector(op, dtype, 480, same_bank, None, CS2) for same_bank in (False, True))
    assert same["cycles"] - OVERHEAD == 2 * (apart["cycles"] - OVERHEAD)
    assert same["core_cycles"]["conflict"] == apart["cycles"] - OVERHEAD
    assert apart["core_cycles"]["conflict"] == 0


def test_a_narrower_machine_is_slower() -> None:
    narrow = dataclasses.replace(CS2, simd_f16=2)
    assert vector("add", "f16", 480, False, None, narrow)["cycles"] == 240 + OVERHEAD


def test_vectors_that_do_not_fit() -> None:
    with pytest.raises(InputError):
        vector("mul", "f32", 7000, False, None, CS2)
    with pytest.raises(UsageError):
        vector("mov", "mixed", 16, False, None, CS2)
    with pytest.raises(UsageError):
        vector("mov", "f32", 16, False, -2, CS2)


def test_gemm_costs_its_elements_and_its_loops() -> None:
    one = gemm(4, 6, 16, False, 1, 1, CS2)["cycles"]
    inner = 2 * 16 + CS2.vector_overhead_cycles + 3 * CS2.index_cycles + CS2.scalar_cycles + CS2.branch_cycles
    assert one == pytest.approx(4 * (6 * inner + CS2.branch_cycles), rel=0.03)
    assert gemm(4, 6, 16, True, 1, 1, CS2)["cycles"] < one
    assert gemm(4, 6, 16, False, 3, 2, CS2)["cycles"] == one


def test_matvec_flows_at_its_busiest_cores_pace() -> None:
    few, many = (matvec(4, 4, 64, 64, "f16", tokens, CS2) for tokens in (2, 6))
    assert many["cycles_per_token"] == pytest.approx(few["cycles_per_token"], rel=0.02)
    assert many["cycles"] == pytest.approx(few["cycles"] + 4 * few["cycles_per_token"], rel=0.02)
    assert matvec(4, 4, 64, 64, "f32", 2, CS2)["cycles"] > few["cycles"]
    with pytest.raises(InputError):
        matvec(4, 4, 63, 64, "f16", 2, CS2)


def test_behaviours_of_queues_and_routers() -> None:
    assert behaviour.redirect_capacity(CS2) == published.REDIRECT
    assert behaviour.redirect_capacity(dataclasses.replace(CS2, router_depth=3)) == published.REDIRECT + 2
    assert behaviour.faults_on_two_inputs(CS2)
    assert behaviour.faults_on_two_inputs(dataclasses.replace(CS2, hop_cycles=2))


@pytest.mark.parametrize("figure", [published.CHAIN, *published.TWO_PHASE, *published.VECTOR, *published.GEMM])
def test_published_cycles(figure: Figure) -> None:
    ours = suite.run(figure.bench, CS2, figure.arguments)["cycles"]
    assert ours == pytest.approx(figure.cycles, rel=figure.tolerance)


def test_groups_of_middling_size_are_best() -> None:
    arguments = published.TWO_PHASE[0].arguments
    cycles = {group: suite.run("reduce", CS2, arguments | {"group": group})["cycles"] for group in (4, 16, 32, 64, 128)}
    assert min(cycles, key=cycles.__getitem__) in (16, 32)


def test_a_sweep_shows_its_worst_point() -> None:
    sweep = dataclasses.replace(validate.SWEEPS[1], sides=((4,), (8,)), words=(1, 16))
    good = validate.sweep_row(sweep, CS2)
    assert good.passed and "4 within" in good.note
    slow = validate.sweep_row(sweep, dataclasses.replace(CS2, ramp_cycles=4))
    assert not slow.passed and slow.error == pytest.approx(slow.ours / slow.published - 1)
    assert slow.ours == 1 + (2 * 4 + 2) * 7
