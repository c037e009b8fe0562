"""The closed forms for interval and latency: positive, and moving the right way with every parameter."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import pytest
from shapes import PORTS, WITH_CORES, attention, lookup, matvec

from compiler.kernels.base import Kernel, fmac_rate, vector
from compiler.kernels.fifo import Fifo
from compiler.kernels.join import Join
from compiler.kernels.map import Map
from compiler.kernels.norm import Norm
from compiler.kernels.relane import Relane
from runtime import target as targets
from runtime.isa import Dtype
from runtime.stream import Blocks

TARGET = targets.load("cs2")
LANES = (1, 2, 3, 5, 8, 16, 40)


def intervals(kernels: Sequence[Kernel]) -> list[int]:
    return [kernel.interval(TARGET) for kernel in kernels]


def falls(values: Sequence[int]) -> bool:
    """Never rises, and is lower in the end."""
    return all(a >= b for a, b in itertools.pairwise(values)) and values[0] > values[-1]


def over(lanes: int, features: int = 240) -> Blocks:
    return Blocks.over(features, lanes)


@pytest.mark.parametrize("kernels", [*WITH_CORES.values(), PORTS], ids=[*WITH_CORES, "port"])
def test_costs_are_whole_positive_cycles(kernels: Sequence[Kernel]) -> None:
    for kernel in kernels:
        for cost in (kernel.interval(TARGET), kernel.latency(TARGET)):
            assert isinstance(cost, int) and cost > 0, kernel


@pytest.mark.parametrize("kind", sorted(set(WITH_CORES) - {"fifo"}))
def test_a_token_takes_at_least_the_interval(kind: str) -> None:
    """Of every kernel that answers a token before it needs the next; a fifo passes words on as they come."""
    for kernel in WITH_CORES[kind]:
        # What a task does before a lone token comes is no delay to it.
        begun = TARGET.activation_cycles + TARGET.vector_overhead_cycles
        assert kernel.latency(TARGET) + begun >= kernel.interval(TARGET)


@pytest.mark.parametrize("kind", WITH_CORES)
def test_slower_machines_are_slower(kind: str) -> None:
    """No kernel gets faster by dearer instructions, hops or ramps."""
    slow_machines = (
        dataclasses.replace(TARGET, vector_overhead_cycles=50),
        dataclasses.replace(TARGET, hop_cycles=50),
        dataclasses.replace(TARGET, ramp_cycles=50),
    )
    for slow in slow_machines:
        for kernel in WITH_CORES[kind]:
            assert kernel.interval(slow) >= kernel.interval(TARGET)
            assert kernel.latency(slow) >= kernel.latency(TARGET)


def test_vector_instructions_round_up() -> None:
    overhead = TARGET.vector_overhead_cycles
    assert [vector(n, TARGET, 2.0) - overhead for n in (1, 2, 3)] == [1, 1, 2]
    assert fmac_rate(Dtype.F16, TARGET) == 2 * fmac_rate(Dtype.F32, TARGET)


@pytest.mark.parametrize("activation", ["", "gelu_erf"])
def test_matvec(activation: str) -> None:
    """More rows or columns, or half the element size: less work for a core. More features: more."""
    assert falls(intervals([matvec(over(rows), over(4), activation=activation) for rows in LANES]))
    assert falls(intervals([matvec(over(4), over(cols), activation=activation) for cols in LANES]))
    assert falls(intervals([matvec(over(4, n), over(4), activation=activation) for n in (960, 480, 240, 120)]))
    assert falls(intervals([matvec(over(2), over(2), storage=storage) for storage in (Dtype.F32, Dtype.F16)]))
    plain, gelu = (matvec(over(2), over(2), activation=fn).interval(TARGET) for fn in ("", "gelu_erf"))
    assert gelu > plain


def test_matvec_rows_and_finishers() -> None:
    """More rows of tiles than lanes, or fewer, change the work; finishers share the activation; relaying costs."""
    x, y = over(8), over(8)
    assert falls(intervals([matvec(x, y, tiles=tiles) for tiles in (2, 4, 8, 16)]))
    gelu = [matvec(x, over(4, 480), activation="gelu_erf", finishers=count) for count in (0, 1, 2, 4)]
    assert falls(intervals(gelu))
    aligned, ragged = matvec(x, y, tiles=8), matvec(over(7), y, tiles=8)
    assert ragged.interval(TARGET) > aligned.interval(TARGET)
    assert matvec(x, y, entry="diagonal").interval(TARGET) > matvec(x, y).interval(TARGET)


def test_matvec_does_at_least_its_multiplications() -> None:
    for rows, cols in itertools.product((1, 4), (1, 6)):
        kernel = matvec(over(rows), over(cols))
        assert kernel.interval(TARGET) >= kernel.x.block * kernel.y.block / TARGET.fmac_per_cycle_f32


def test_attention() -> None:
    """Cores that share a cache share its work; longer sequences and heads make more; heads work side by side."""
    assert falls(intervals([attention(spread, max_seq=256) for spread in LANES]))
    assert falls(intervals([attention(4, max_seq=length) for length in (512, 128, 32, 8)]))
    assert falls(intervals([attention(4, head_dim=d) for d in (64, 16, 4)]))
    assert falls(intervals([attention(4, max_seq=256, storage=storage) for storage in (Dtype.F32, Dtype.F16)]))
    one, eight, slotted = intervals([attention(4, heads=h, slots=s) for h, s in ((1, 1), (8, 1), (8, 4))])
    assert one == eight < slotted  # to find the slot takes a few instructions


def test_lookup() -> None:
    """Narrower rows are quicker; a longer chain of cores only delays."""
    assert falls(intervals([lookup(over(cols), (100,), (10,)) for cols in LANES]))
    long, short = lookup(over(4), (100,), (5,)), lookup(over(4), (100,), (50,))
    assert long.interval(TARGET) == short.interval(TARGET)
    assert long.latency(TARGET) > short.latency(TARGET)


def test_lines() -> None:
    assert falls(intervals([Map(over(lanes), "exp") for lanes in LANES]))
    assert falls(intervals([Join(over(lanes), "add") for lanes in LANES]))
    assert falls(intervals([Fifo(over(lanes), 2) for lanes in LANES]))
    assert falls(intervals([Map(over(4), "exp"), Map(over(4), "add", "c", 240)]))


def test_norm_waits_for_no_chain_between_tokens() -> None:
    """More lanes only shorten the interval; what a long chain costs is latency, and tokens held meanwhile."""
    lines = [Norm(over(lanes), 1e-5, "s", "b") for lanes in (4, 40, 120)]
    assert falls(intervals(lines))
    waits = [line.latency(TARGET) - line.interval(TARGET) for line in lines]
    assert waits[0] < waits[1] < waits[2]
    assert lines[2].needed_tokens(300, TARGET) > lines[0].needed_tokens(300, TARGET) >= 2
    assert falls(intervals([Norm(over(4, n), 1e-5, "s", "b") for n in (960, 480, 240)]))


def test_relane_pays_for_what_passes() -> None:
    for merge in (True, False):
        assert falls(intervals([Relane(over(40), ratio, merge) for ratio in (40, 8, 2, 1)]))
        assert falls([Relane(over(40), ratio, merge).latency(TARGET) for ratio in (40, 8, 2, 1)])
