"""How weights lie in memory: every element has one place, and fp16 products wait for no bank."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from compiler.kernels.tile import TileLayout
from runtime import target as targets
from runtime.isa import Dtype
from runtime.timing import burst

TARGET = targets.load("cs2")
Y_FIRST = 0
W_FIRST = TARGET.memory_banks // 2  # half a round of banks away


@given(st.sampled_from([Dtype.F16, Dtype.F32]), st.integers(1, 80), st.integers(1, 70))
def test_rows_and_padding_fill_the_region_once(dtype: Dtype, count: int, width: int) -> None:
    layout = TileLayout.of(dtype, count, width)
    cells = [layout.start(row) + i * layout.step for row in range(count) for i in range(width)]
    for start, runs, elements, step in layout.padding():
        cells += [start + run * layout.pitch + i * step for run in range(runs) for i in range(elements)]
    assert sorted(cells) == list(range(layout.elements))
    assert sum(layout.rows_in_turn(turn) for turn in range(layout.step)) == count


@given(st.integers(2, 80), st.integers(8, 70))
def test_paired_rows_wait_for_no_bank(count: int, width: int) -> None:
    layout = TileLayout.of(Dtype.F16, count, width)
    if layout.step == 1:
        return  # padding would cost more memory than it is worth
    for row in range(count):
        weights = (1, W_FIRST + layout.start(row), layout.step)
        cycles = burst(((2, Y_FIRST, 2), weights), int(TARGET.fmac_per_cycle_f16), width, TARGET.memory_banks)
        assert cycles == -(-width // 2)


def test_wide_tiles_are_paired_and_padding_stays_small() -> None:
    for width in range(28, 200):
        layout = TileLayout.of(Dtype.F16, 10, width)
        assert layout.step == 2
        assert layout.elements <= 10 * width * 9 / 8
    assert TileLayout.of(Dtype.F16, 10, 5).step == 1  # 3 of 8 would be padding
    assert TileLayout.of(Dtype.F32, 10, 64).step == 1  # a word of y and a word of W a cycle: they keep pace
