"""Dead cores, fixed kernels, regions and keep-outs: the placer obeys them all, and says why when it cannot."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from place.synthetic import Chain, gpt, host_in, line, matvec

from compiler.floorplan import Footprint, Net, Placed
from compiler.place.constraints import Constraints, grown
from compiler.place.placer import place, verify
from compiler.place.room import Room
from compiler.route.router import route
from runtime import defects
from runtime import target as targets
from runtime.defects import Rect
from runtime.errors import InfeasibleError, InputError, LimitError, WsecError
from runtime.geometry import IDENTITY, Orientation
from runtime.target import Target

MINI = targets.load("mini-32x32")
FAST = {"deterministic_limit": 0.3}


def damaged(number: int, seed: int, target: Target = MINI) -> Target:
    lots = defects.draw_lots(number, seed, target.usable, target.fabric)
    return dataclasses.replace(target, defects=lots)


def program(layers: int) -> tuple[list[Footprint], list[Net]]:
    chain = gpt(layers, vocab=60, head=50)
    return chain.kernels, chain.nets


def covered(kernel: Footprint, at: Placed) -> set[tuple[int, int]]:
    return {at.at(kernel, col, row) for col in range(kernel.cols) for row in range(kernel.rows)}


def dead(target: Target) -> set[tuple[int, int]]:
    return {(x + i, y + j) for x, y, w, h in target.defects for i in range(w) for j in range(h)}


def inside(kernel: Footprint, at: Placed, rect: Rect) -> bool:
    x, y, w, h = rect
    return all(x <= cx < x + w and y <= cy < y + h for cx, cy in covered(kernel, at))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 12), st.integers(0, 10**6))
def test_room_is_exact(columns: int, rows: int, number: int, seed: int) -> None:
    target = dataclasses.replace(MINI, usable=(4, 1, columns, rows))
    target = damaged(min(number, columns * rows), seed, target)
    mask = defects.mask(target.defects, target.usable)
    room = Room(target)
    for w in range(1, columns + 2):
        for h in range(1, rows + 2):
            free = any(
                not mask[y : y + h, x : x + w].any() for x in range(columns - w + 1) for y in range(rows - h + 1)
            )
            assert room.fits(w, h) == free, (w, h)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 3))
def test_grown_obstacles_mean_the_distance(seed: int, margin: int) -> None:
    rng = random.Random(seed)
    window = (2, 1, 12, 10)
    boxes = [(rng.randint(0, 13), rng.randint(0, 11), rng.randint(1, 4), rng.randint(1, 4)) for _ in range(4)]
    blocked = grown(boxes, margin, window)
    taken = np.zeros((40, 40), int)
    for x, y, w, h in blocked:
        taken[y : y + h, x : x + w] += 1
    assert taken.max() <= 1  # disjoint, as CP-SAT wants them
    for x in range(2, 12):
        for y in range(1, 9):
            w, h = 2, 3
            near = any(
                x < bx + bw + margin and bx < x + w + margin and y < by + bh + margin and by < y + h + margin
                for bx, by, bw, bh in boxes
            )
            assert taken[y : y + h + margin, x : x + w + margin].any() == near, (x, y)


@pytest.mark.parametrize("seed", range(4))
def test_kernels_and_routes_go_around_dead_cores(seed: int) -> None:
    kernels, nets = program(2)
    target = damaged(12, seed, dataclasses.replace(MINI, fabric=(120, 120), usable=(4, 1, 100, 100)))
    gone = dead(target)
    result = place(kernels, nets, target, margin=3, **FAST)
    boxes = [covered(kernel, at) for kernel, at in zip(kernels, result.placed, strict=True)]
    assert not set().union(*boxes) & gone
    routed = route(kernels, result.placed, nets, target)
    assert not {(x, y) for channel in routed.channels for x, y, _, _ in channel.hops} & gone
    assert result == place(kernels, nets, target, margin=3, **FAST)


def test_the_placer_needs_the_holes() -> None:
    """A kernel that only fits where no core is dead, and one that fits nowhere."""
    target = targets.with_defects(MINI, [(4, 8, 32, 1), (20, 1, 1, 32)], "here")
    kernel = matvec("k", 15, 24)
    (at,) = place([kernel], [], target, **FAST).placed
    assert at.box(kernel) == (21, 9, 15, 24) or not covered(kernel, at) & dead(target)
    with pytest.raises(InfeasibleError, match=r"17 x 17 cores.*63 of them dead") as error:
        place([matvec("large", 17, 17)], [], target, **FAST)
    assert error.value.where == "large"


def test_all_live_cores_can_be_used() -> None:
    target = targets.with_defects(dataclasses.replace(MINI, usable=(4, 1, 4, 3)), [(5, 2, 2, 1)], "here")
    kernels = [line("a", 3), line("b", 3), matvec("c", 2, 1), matvec("d", 2, 1)]
    assert sum(k.cols * k.rows for k in kernels) == target.cores
    result = place(kernels, [], target, **FAST)
    assert set().union(*(covered(k, at) for k, at in zip(kernels, result.placed, strict=True))) == {
        (x, y) for x in range(4, 8) for y in range(1, 4)
    } - dead(target)
    with pytest.raises(InfeasibleError, match="11 cores"):
        place([*kernels, line("e", 1)], [], target, **FAST)


def test_routing_refuses_a_placement_on_a_dead_core() -> None:
    kernels, nets = program(1)
    wide = dataclasses.replace(MINI, fabric=(120, 120), usable=(4, 1, 100, 100))
    placed = place(kernels, nets, wide, **FAST).placed
    x, y, _, _ = placed[3].box(kernels[3])
    with pytest.raises(InputError, match="dead core") as error:
        route(kernels, placed, nets, targets.with_defects(wide, [(x, y, 1, 1)], "here"))
    assert error.value.where == kernels[3].name
    with pytest.raises(WsecError, match="dead core"):
        verify(kernels, placed, targets.with_defects(wide, [(x, y, 1, 1)], "here"))


def test_a_walled_in_kernel_has_no_route() -> None:
    chain = Chain()
    a, b = chain.add(line("a", 2)), chain.add(line("b", 2))
    chain.wire(a, (b, "x"))
    target = targets.with_defects(MINI, [(18, 1, 1, 32)], "here")
    placed = [Placed(10, 5, IDENTITY), Placed(25, 5, IDENTITY)]
    with pytest.raises(LimitError, match="no route from a to b"):
        route(chain.kernels, placed, chain.nets, target)


def test_fixed_kernels_stay_and_the_others_make_room() -> None:
    kernels, nets = program(2)
    wide = dataclasses.replace(MINI, fabric=(120, 120), usable=(4, 1, 100, 100))
    before = place(kernels, nets, wide, margin=3, **FAST)
    fixed: Mapping[int, Placed] = {2: Placed(50, 60, Orientation(5)), 4: Placed(90, 2, Orientation(0))}
    result = place(kernels, nets, wide, margin=3, constraints=Constraints(fixed=fixed), **FAST)
    assert {index: result.placed[index] for index in fixed} == fixed
    assert result.placed != before.placed
    verify(kernels, result.placed, wide)
    everything = Constraints(fixed=dict(enumerate(before.placed)))
    again = place(kernels, nets, wide, margin=3, constraints=everything, **FAST)
    assert again.placed == before.placed
    assert again.windows == []


def test_regions_and_keep_outs_hold() -> None:
    kernels, nets = program(2)
    wide = damaged(10, 5, dataclasses.replace(MINI, fabric=(120, 120), usable=(4, 1, 100, 100)))
    corner, hole = (60, 50, 44, 51), (10, 10, 30, 25)
    regions = {i: corner for i, kernel in enumerate(kernels) if kernel.name.endswith("norm") or i == 3}
    assert len(regions) > 2
    result = place(kernels, nets, wide, margin=2, constraints=Constraints(regions=regions, keep_out=(hole,)), **FAST)
    for i, (kernel, at) in enumerate(zip(kernels, result.placed, strict=True)):
        assert i not in regions or inside(kernel, at, corner), kernel.name
        assert not any(10 <= x < 40 and 10 <= y < 35 for x, y in covered(kernel, at)), kernel.name
    assert not set().union(*(covered(k, at) for k, at in zip(kernels, result.placed, strict=True))) & dead(wide)


@pytest.mark.parametrize(
    ("fixed", "words"),
    [
        ({0: Placed(34, 1, IDENTITY)}, "leaves the usable rectangle"),
        (
            {0: Placed(4, 1, IDENTITY), 1: Placed(7, 3, IDENTITY)},
            "b, 4 x 4 cores, cannot stand at (7,3): it overlaps a",
        ),
        ({0: Placed(17, 8, IDENTITY)}, "dead core (20,10)"),
        ({0: Placed(11, 11, IDENTITY)}, "keep-out"),
        ({2: Placed(9, 9, IDENTITY)}, "west-most column 4"),
        ({1: Placed(4, 20, IDENTITY)}, "leaves its region"),
    ],
)
def test_fixed_places_that_cannot_be(fixed: dict[int, Placed], words: str) -> None:
    kernels = [matvec("a", 4, 4), matvec("b", 4, 4), host_in("in", 2)]
    target = targets.with_defects(MINI, [(20, 10, 1, 1)], "here")
    constraints = Constraints(fixed, {1: (4, 1, 10, 10)}, ((14, 14, 3, 3),), dict.fromkeys(fixed, "places:7"))
    with pytest.raises(InputError) as error:
        place(kernels, [], target, constraints=constraints, **FAST)
    assert words in error.value.message
    assert error.value.where == "places:7"


def test_a_region_that_is_too_small_is_infeasible() -> None:
    constraints = Constraints(regions={0: (4, 1, 3, 30)}, where={0: "c:1"})
    with pytest.raises(InfeasibleError, match=r"needs 4 x 4 cores, its region has 3 x 30") as error:
        place([matvec("a", 4, 4)], [], MINI, constraints=constraints, **FAST)
    assert error.value.where == "c:1"


def test_what_constraints_make_impossible_together_is_proved() -> None:
    constraints = Constraints(regions={0: (4, 1, 4, 7), 1: (4, 1, 4, 7)})
    with pytest.raises(InfeasibleError, match="no arrangement"):
        place([matvec("a", 4, 4), matvec("b", 4, 4)], [], MINI, constraints=constraints, deterministic_limit=1)


def test_a_wall_clock_limit_still_gives_a_legal_placement() -> None:
    kernels, nets = program(2)
    wide = dataclasses.replace(MINI, fabric=(120, 120), usable=(4, 1, 100, 100))
    result = place(kernels, nets, wide, time_limit=1e-9, **FAST)
    verify(kernels, result.placed, wide)
    assert result.windows == []
