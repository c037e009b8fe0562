"""The strips alone: every kernel once, inside, apart from all others and from what is blocked, in the snake's order."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from place.synthetic import gather, host_in, host_out, line, matvec

from compiler.floorplan import Box, Footprint, Net, Placed
from compiler.place.placer import verify
from compiler.place.stacked import stack
from compiler.place.strips import TURN, Bin, Frame, arrange, bins, compact, fill, height, span, stance
from runtime import target as targets
from runtime.errors import InfeasibleError
from runtime.geometry import SOUTH, STEP
from runtime.target import Target

MINI = targets.load("mini-32x32")
swept = settings(max_examples=150, deadline=None, derandomize=True)


def usable(columns: int, rows: int) -> Target:
    return dataclasses.replace(MINI, fabric=(80, 80), usable=(4, 2, columns, rows))


@dataclass(frozen=True)
class Case:
    """A machine, strips on it, what is blocked, and kernels that may or may not fit."""

    target: Target
    frame: Frame
    obstacles: tuple[Box, ...]
    kernels: list[Footprint]
    ports: bool

    @property
    def heights(self) -> list[int]:
        return [height(kernel, self.frame.width) for kernel in self.kernels if kernel.edge is None]

    @property
    def bins(self) -> list[Bin]:
        return bins(self.frame, self.obstacles, self.target, self.ports)


@st.composite
def cases(draw: st.DrawFn, most: int = 14) -> Case:
    target = usable(draw(st.integers(2, 60)), draw(st.integers(2, 60)))
    ports = draw(st.booleans())
    across, along = span(target, ports)
    width = draw(st.integers(1, across))
    frame = Frame(width, along, across // width)
    rng = random.Random(draw(st.integers(0, 10**6)))
    blocked = [(rng.randint(2, 62), rng.randint(1, 60), rng.randint(1, 4), rng.randint(1, 3))
               for _ in range(draw(st.integers(0, 5)))]  # fmt: skip
    kernels = [host_in("in", 1)] if ports else []
    for i in range(draw(st.integers(1, most))):
        kernel = matvec(f"k{i}", rng.randint(1, width), rng.randint(1, max(1, along // 3)))
        asked = rng.choice((None, False, False, True if kernel.rows <= width else None))
        kernels.append(dataclasses.replace(kernel, turned=asked))
    return Case(target, frame, tuple(blocked), kernels, ports)


def cells(boxes: Sequence[Box]) -> set[tuple[int, int]]:
    return {(x + i, y + j) for x, y, w, h in boxes for i in range(w) for j in range(h)}


# Bins


@swept
@given(cases())
def test_bins_are_what_is_free_of_a_strip(case: Case) -> None:
    """Every row of a strip is in a bin exactly if no obstacle touches it and it is not left for the snake's turn."""
    frame, (x0, y0, _, _) = case.frame, case.target.usable
    blocked, turn = cells(case.obstacles), case.frame.width // TURN
    for strip in range(frame.count):
        north = (frame.count - 1 - strip) % 2 == 0
        west = x0 + case.ports + (frame.count - 1 - strip) * frame.width
        free = set()
        for along in range(turn, frame.length - turn):
            y = y0 + (frame.length - 1 - along if north else along)
            if not any((x, y) in blocked for x in range(west, west + frame.width)):
                free.add(along)
        mine = [run for run in case.bins if run.strip == strip]
        found = [at for run in mine for at in range(run.start, run.start + run.length)]
        assert sorted(found) == found and len(found) == len(set(found)) and set(found) == free
        assert all(a.start + a.length < b.start for a, b in itertools.pairwise(mine)), "neighbouring bins are one"
        assert all(run.length > 0 for run in mine)
    assert [run.strip for run in case.bins] == sorted(run.strip for run in case.bins)


# Filling


def fits_in_order(heights: Sequence[int], free: Sequence[Bin]) -> bool:
    waiting = list(heights)
    for run in free:
        room = run.length
        while waiting and waiting[0] <= room:
            room -= waiting.pop(0)
    return not waiting


@swept
@given(st.lists(st.integers(1, 9), max_size=12), st.lists(st.integers(1, 20), max_size=5))
def test_fill_takes_every_kernel_once_and_no_more_than_there_is_room(heights: list[int], lengths: list[int]) -> None:
    free = [Bin(i, 0, length) for i, length in enumerate(lengths)]
    filled = fill(heights, free)
    if filled is None:
        assert not fits_in_order(heights, free)
        return
    assert len(filled) == len(free)
    assert sorted(itertools.chain(*filled)) == list(range(len(heights)))
    for run, items in zip(free, filled, strict=True):
        assert sum(heights[i] for i in items) <= run.length and items == sorted(items)
    if fits_in_order(heights, free):
        assert list(itertools.chain(*filled)) == list(range(len(heights))), "in order where that has room"


@swept
@given(st.lists(st.integers(1, 9), min_size=1, max_size=10), st.integers(1, 30))
def test_one_bin_holds_exactly_what_is_no_longer_than_it(heights: list[int], length: int) -> None:
    assert (fill(heights, [Bin(0, 0, length)]) is not None) == (sum(heights) <= length)


def test_ends_are_filled_from_the_next_kernels() -> None:
    """7 of 10 are taken in order; 4 does not fit then, and the 3 behind it does."""
    free = [Bin(0, 0, 10), Bin(1, 0, 10)]
    assert fill([7, 4, 3, 6], free) == [[0, 2], [1, 3]]
    assert fill([7, 3, 4, 6], free) == [[0, 1], [2, 3]]
    assert fill([7, 4, 3, 7], free) is None


def test_kernels_at_an_end_are_put_off_for_others_that_fill_it() -> None:
    """6 and 3 leave 1 of 10; 6 and the 4 behind leave nothing."""
    assert fill([6, 3, 4, 7], [Bin(0, 0, 10), Bin(1, 0, 10)]) == [[0, 2], [1, 3]]


def test_no_kernel_no_bin() -> None:
    assert fill([], []) == []
    assert fill([1], []) is None


# Placing


@swept
@given(cases())
def test_arranged_kernels_are_apart_inside_and_off_obstacles(case: Case) -> None:
    """Or the strips do not hold them, which the packer says too."""
    inside = [i for i, kernel in enumerate(case.kernels) if kernel.edge is None]
    filled = fill(case.heights, case.bins)
    if filled is None:
        with pytest.raises(ValueError, match=rf"{case.frame.count} strips of .* do not hold all kernels"):
            arrange(case.kernels, case.frame, case.obstacles, case.target, {})
        return
    places = arrange(case.kernels, case.frame, case.obstacles, case.target, {})
    assert list(places) == [inside[i] for items in filled for i in items]  # ports are not its business
    x0, y0, _, rows = case.target.usable
    taken: set[tuple[int, int]] = set()
    blocked = cells(case.obstacles)
    for index, place in places.items():
        x, y, w, h = place.box(case.kernels[index])
        strip = (x - x0 - case.ports) // case.frame.width
        assert x >= x0 + case.ports and x + w <= x0 + case.ports + (strip + 1) * case.frame.width, "inside its strip"
        assert strip < case.frame.count and y >= y0 and y + h <= y0 + rows
        covered = cells([(x, y, w, h)])
        assert not covered & taken and not covered & blocked
        taken |= covered
    target = dataclasses.replace(case.target, defects=case.obstacles)
    verify([case.kernels[i] for i in places], list(places.values()), target)
    assert places == arrange(case.kernels, case.frame, case.obstacles, case.target, {})


@swept
@given(cases())
def test_the_snake_turns_at_every_strip(case: Case) -> None:
    """Along the snake kernels follow each other; the last strip runs north, every second the other way round."""
    filled = fill(case.heights, case.bins)
    assume(filled is not None)
    assert filled is not None
    inside = [i for i, kernel in enumerate(case.kernels) if kernel.edge is None]
    places = arrange(case.kernels, case.frame, case.obstacles, case.target, {})
    where = {inside[item]: run.strip for run, items in zip(case.bins, filled, strict=True) for item in items}
    for strip in range(case.frame.count):
        mine = [i for i in places if where[i] == strip]
        north = (case.frame.count - 1 - strip) % 2 == 0
        boxes = [places[i].box(case.kernels[i]) for i in mine]
        for a, b in itertools.pairwise(boxes):
            assert b[1] + b[3] <= a[1] if north else a[1] + a[3] <= b[1]
        west = case.target.usable[0] + case.ports + (case.frame.count - 1 - strip) * case.frame.width
        for index, box in zip(mine, boxes, strict=True):
            kernel = case.kernels[index]
            # What a kernel leaves free of the width is on the other side of its first lane in both directions.
            assert box[0] + box[2] == west + case.frame.width if north else box[0] == west
            assert box[2:] == ((kernel.rows, kernel.cols) if stance(kernel, case.frame.width) else
                               (kernel.cols, kernel.rows))  # fmt: skip
            outs = [places[index].at(kernel, lane.col, lane.row) for lane in kernel.outputs["y"]]
            assert all(x == box[0] + box[2] * (not north) - (not north) for x, _ in outs) or not stance(
                kernel, case.frame.width
            )


def test_a_kernel_stands_as_it_asks_or_as_takes_less_length() -> None:
    tall, wide = matvec("tall", 2, 9), matvec("wide", 9, 2)
    assert (stance(tall, 9), height(tall, 9)) == (True, 2)
    assert (stance(tall, 5), height(tall, 5)) == (False, 9)
    assert (stance(wide, 9), height(wide, 9)) == (False, 2)
    assert (stance(wide, 5), height(wide, 5)) == (True, 9)
    assert height(dataclasses.replace(tall, turned=False), 9) == 9
    with pytest.raises(ValueError, match="9 across, the strip 8"):
        height(dataclasses.replace(tall, turned=True), 8)
    with pytest.raises(ValueError, match="3 across, the strip 2"):
        height(matvec("square", 3, 3), 2)


# Rows of cores beside another kernel


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_long_relane_stands_beside_the_kernel_it_reads(count: int) -> None:
    """A matvec turned, its columns along the strip, and the line beyond its last row: core by core, one hop each."""
    target = usable(12 * count + 1, 40)
    head = dataclasses.replace(matvec("head", 30, 8), turned=True)
    row = dataclasses.replace(gather("relane", 1, 1), cols=30, rows=1)
    kernels = [*(line(f"l{i}", 4) for i in range(3)), head, row]
    frame = Frame(12, 40, count)
    places = arrange(kernels, frame, (), target, {4: 3})
    verify(kernels, [places[i] for i in range(5)], target)
    for col in range(30):
        x, y = places[3].at(head, col, 7)
        dx, dy = STEP[places[3].orientation.direction(SOUTH)]
        assert places[4].at(row, col, 0) == (x + dx, y + dy)


# Compacting


@swept
@given(cases())
def test_compact_strips_still_hold_all_and_none_is_empty(case: Case) -> None:
    assume(fill(case.heights, case.bins) is not None)
    frame = compact(case.frame, case.heights, case.obstacles, case.target, case.ports)
    assert frame.width == case.frame.width and frame.count <= case.frame.count and frame.length <= case.frame.length
    free = bins(frame, case.obstacles, case.target, case.ports)
    filled = fill(case.heights, free)
    assert filled is not None
    if frame != case.frame:
        last = [items for run, items in zip(free, filled, strict=True) if run.strip == frame.count - 1]
        assert any(last), "the strip at the ports is used"


# Ports and the whole


def program(rng: random.Random, width: int, rows: int) -> tuple[list[Footprint], list[Net]]:
    """A chain of matvecs of as many lanes as the strip is wide, from a host port to a host port."""
    lanes = min(3, width)
    kernels = [host_in("in", lanes)]
    kernels += [dataclasses.replace(matvec(f"k{i}", lanes, lanes), turned=False) for i in range(rng.randint(1, rows))]
    kernels.append(host_out("out", lanes))
    nets = [Net(f"n{i}", (i, "y"), ((i + 1, "x"),), (4,) * lanes) for i in range(len(kernels) - 1)]
    return kernels, nets


@swept
@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(8, 30), st.integers(0, 6))
def test_stacked_programs_are_legal_with_ports_at_the_edge(seed: int, width: int, rows: int, dead: int) -> None:
    rng = random.Random(seed)
    target = usable(30, rows)
    boxes = [(rng.randint(5, 33), rng.randint(2, rows + 1), 1, 1) for _ in range(dead)]
    target = dataclasses.replace(target, defects=tuple(dict.fromkeys(boxes)))
    frame = Frame(width, rows, 29 // width)
    kernels, nets = program(rng, width, 20)
    try:
        result = stack(kernels, nets, target, frame)
    except InfeasibleError as error:
        assert error.code == "no-placement" and "do not hold all kernels" in error.message
        inside = [height(kernel, width) for kernel in kernels if kernel.edge is None]
        assert fill(inside, bins(frame, target.defects, target, True)) is None
        return
    verify(kernels, result.placed, target)
    assert result.wire >= result.wire_bound > 0 and result == stack(kernels, nets, target, frame)
    boxes = [place.box(kernel) for kernel, place in zip(kernels, result.placed, strict=True)]
    x, y, w, h = result.box
    assert (x, y) == (min(b[0] for b in boxes), min(b[1] for b in boxes))
    assert (x + w, y + h) == (max(b[0] + b[2] for b in boxes), max(b[1] + b[3] for b in boxes))
    assert result.kernel_area == sum(b[2] * b[3] for b in boxes)


def test_no_row_of_the_edge_left_for_a_port() -> None:
    kernels, nets = program(random.Random(0), 3, 1)
    # The column of host ports: dead in every third row.
    dead = tuple((4, y, 1, 1) for y in range(3, 32, 3))
    target = dataclasses.replace(usable(30, 30), defects=dead)
    with pytest.raises(InfeasibleError, match="the west edge has no 3 free routers in a row") as caught:
        stack(kernels, nets, target, Frame(3, 30, 9))
    assert caught.value.exit_code == 3


def test_dead_cores_cost_no_more_than_what_they_cut() -> None:
    """One dead core in each of ten strips costs kernels that are as low as the gaps nothing but that row."""
    target = usable(31, 30)
    dead = tuple((5 + 3 * i + i % 3, 2 + 3 * i, 1, 1) for i in range(10))
    kernels = [dataclasses.replace(matvec(f"k{i}", 3, 1), turned=False) for i in range(290)]
    places = arrange(kernels, Frame(3, 30, 10), dead, target, {})
    assert len(places) == 290
    assert all(isinstance(place, Placed) for place in places.values())
    grid = np.zeros((80, 80), int)
    for index, place in places.items():
        x, y, w, h = place.box(kernels[index])
        grid[y : y + h, x : x + w] += 1
    assert grid.max() == 1 and not any(grid[y, x] for x, y, _, _ in dead)


def test_strips_stay_few_where_the_last_has_no_room_for_the_end() -> None:
    """Dead cores cut the strip at the ports into bins too short for the last kernel: it ends one strip before, and
    the rest of the wafer stays free all the same."""
    target = usable(61, 60)
    dead = tuple((x, y, 1, 1) for x in (5, 8) for y in (12, 22, 32, 42, 52))  # in the last two strips
    frame = Frame(3, 60, 20)
    heights = [20] * 8 + [40]
    found = compact(frame, heights, dead, target, True)
    assert fill(heights, bins(found, dead, target, True)) is not None
    assert found.count * found.length <= 3 * sum(heights) < frame.count * frame.length
