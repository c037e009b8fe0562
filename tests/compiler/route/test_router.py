"""Every rule of routing, checked by an independent walk of the table, on random and on crowded problems."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from place.synthetic import attention, gpt, host_in, host_out, line, lookup, matvec, point_lane
from route.walk import expand, judge

from compiler.floorplan import Footprint, Lane, Net, Placed, check
from compiler.place.placer import place
from compiler.route.router import route
from compiler.route.table import boxes, entries, rectangles
from runtime import target as targets
from runtime.errors import InfeasibleError, InputError, LimitError, WsecError
from runtime.geometry import Orientation
from runtime.target import Target

MINI = targets.load("mini-32x32")


def small(columns: int, rows: int, colours: int = 21) -> Target:
    return dataclasses.replace(MINI, usable=(4, 1, columns, rows), colours=colours)


def scatter(kernels: list[Footprint], rng: random.Random) -> list[Placed]:
    """Random orientations, on a coarse grid of cells large enough for each kernel."""
    pitch = 1 + max(max(kernel.cols, kernel.rows) for kernel in kernels)
    across = 32 // pitch
    spots = rng.sample(range(across * across), len(kernels))
    return [Placed(4 + s % across * pitch, 1 + s // across * pitch, Orientation(rng.randrange(8))) for s in spots]


@pytest.mark.parametrize("x", [3, 36, -(1 << 57), 10**30])
def test_kernels_outside_the_target_are_refused(x: int) -> None:
    kernels, nets = [line("a", 2), line("b", 2)], [Net("n", (0, "y"), ((1, "x"),), (4, 4))]
    placed = [Placed(x, 4, Orientation(0)), Placed(9, 4, Orientation(0))]
    with pytest.raises(InputError, match="outside the usable"):
        route(kernels, placed, nets, MINI)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**9), st.sampled_from([6, 10, 21]), st.sampled_from([None, 60, 100]))
def test_random_bundles_are_legal(seed: int, colours: int, capacity: int | None) -> None:
    rng = random.Random(seed)
    n = rng.randint(1, 6)
    makers = [line, lambda name, k: matvec(name, k, k), lambda name, k: attention(name, rng.randint(1, 6), k)]
    kernels = [rng.choice(makers)(f"k{i}", n) for i in range(rng.randint(3, 12))]
    placed = scatter(kernels, rng)
    nets, fed = [], {0}
    for i in range(len(kernels) - 1):
        later = [k for k in range(i + 1, len(kernels)) if k not in fed]
        sinks = tuple((k, "x") for k in sorted(rng.sample(later, min(len(later), rng.randint(1, 3)))))
        fed.update(k for k, _ in sinks)
        if sinks:
            nets.append(Net(f"n{i}", (i, "y"), sinks, tuple(rng.randint(1, 30) for _ in range(n))))
    target = dataclasses.replace(MINI, colours=colours)
    try:
        result = route(kernels, placed, nets, target, capacity=capacity)
    except LimitError:
        return  # giving up is allowed; a wrong answer is not
    load = judge(kernels, placed, nets, target, result, capacity)
    assert result.stats.max_load == max(load.values())
    assert result == route(kernels, placed, nets, target, capacity=capacity)


@pytest.mark.parametrize("code", range(8))
def test_all_orientations(code: int) -> None:
    kernels = [matvec("a", 5, 3), matvec("b", 4, 5)]
    placed = [Placed(8, 4, Orientation(code)), Placed(18, 16, Orientation(7 - code))]
    nets = [Net("n", (0, "y"), ((1, "x"),), (7,) * 5)]
    judge(kernels, placed, nets, MINI, route(kernels, placed, nets, MINI))


def test_multicast_is_one_tree_with_shared_links() -> None:
    kernels = [line("s", 1), line("a", 1), line("b", 1), lookup("c", 3, 4)]
    nets = [Net("n", (0, "y"), ((1, "x"), (2, "x"), (3, "id")), (5,))]
    places = [Placed(5, 10, Orientation(0)), Placed(20, 9, Orientation(0)), Placed(20, 11, Orientation(0))]
    places.append(Placed(22, 10, Orientation(0)))
    result = route(kernels, places, nets, MINI)
    judge(kernels, places, nets, MINI, result)
    [channel] = result.channels
    assert 19 <= channel.length <= 22  # 49 if nothing were shared; 19 is the smallest tree
    assert all(near <= reach <= near + 3 for near, reach in zip((16, 16, 17), channel.reach, strict=True))


def test_channels_that_cross_one_cut_need_several_colours() -> None:
    """Eight lanes cross a cut of two or three rows; two rows of three colours cannot do."""
    kernels = [line("a", 8), line("b", 8)]
    placed = [Placed(4, 1, Orientation(1)), Placed(14, 2, Orientation(3))]
    nets = [Net("n", (0, "y"), ((1, "x"),), (10,) * 8)]
    for rows, colours in ((2, 8), (3, 4)):
        target = small(18, rows, colours)
        result = route(kernels, placed, nets, target)
        judge(kernels, placed, nets, target, result)
        assert result.stats.max_colours * rows >= 8
    with pytest.raises(LimitError) as caught:
        route(kernels, placed, nets, small(18, 2, 3))
    assert caught.value.code == "no-route"
    assert caught.value.where.startswith("n lane ")
    assert "colours" in caught.value.message


def test_rip_up_finds_what_greed_misses() -> None:
    """Shuffled bundles through a narrow place need channels torn out; the result is legal all the same."""
    torn = 0
    for seed in range(6):
        rng = random.Random(seed)
        order = [rng.sample(range(8), 8) for _ in range(2)]
        sinks = [dataclasses.replace(line("t", 8), inputs={"x": tuple(point_lane(0, i) for i in o)}) for o in order]
        kernels = [line("a", 8), line("s", 8), *sinks]
        places = [(4, 2, 1), (4, 5, 1), (13, 4, 1), (13, 3, 3)]
        placed = [Placed(x, y, Orientation(code)) for x, y, code in places]
        nets = [Net("n", (0, "y"), ((2, "x"),), (10,) * 8), Net("k", (1, "y"), ((3, "x"),), (10,) * 8)]
        target = small(20, 8, 4)
        result = route(kernels, placed, nets, target, capacity=20)
        judge(kernels, placed, nets, target, result, 20)
        torn += result.stats.torn
    assert torn > 0


def test_link_capacity_spreads_channels() -> None:
    kernels = [line("a", 6), line("b", 6)]
    placed = [Placed(4, 1, Orientation(1)), Placed(20, 4, Orientation(1))]
    nets = [Net("n", (0, "y"), ((1, "x"),), (10,) * 6)]
    tight = route(kernels, placed, nets, small(24, 6), capacity=10)
    load = judge(kernels, placed, nets, small(24, 6), tight, 10)
    assert max(load.values()) == 10


def test_host_ports_start_and_end_outside() -> None:
    kernels = [host_in("in", 3), line("a", 3), host_out("out", 3)]
    placed = [Placed(4, 3, Orientation(0)), Placed(10, 5, Orientation(2)), Placed(4, 12, Orientation(0))]
    nets = [Net("i", (0, "y"), ((1, "x"),), (1,) * 3), Net("o", (1, "y"), ((2, "x"),), (2,) * 3)]
    result = route(kernels, placed, nets, MINI)
    judge(kernels, placed, nets, MINI, result)


def test_too_many_lanes_at_one_router_is_proved() -> None:
    kernels = [line("a", 1), line("b", 1, tuple("pqr"))]
    kernels += [line(f"s{i}", 1) for i in range(2)]
    placed = [Placed(5 + 2 * i, 5, Orientation(0)) for i in range(4)]
    nets = [Net(port, (i, "y"), ((1, port),), (1,)) for port, i in zip("pqr", (0, 2, 3), strict=True)]
    with pytest.raises(InfeasibleError) as caught:
        route(kernels, placed, nets, small(28, 28, 2))
    assert caught.value.code == "colours-exhausted"
    assert caught.value.where == "router (7, 5)"
    (short,) = caught.value.shortages
    assert (short.resource, short.demand, short.supply) == ("colours", 3, 2)
    assert {"p", "q", "r"} <= {name for name, _ in short.demands}


def test_a_lane_heavier_than_a_link_is_refused() -> None:
    kernels = [line("a", 1), attention("b", 3, 1)]
    placed = [Placed(5, 5, Orientation(0)), Placed(9, 5, Orientation(0))]
    with pytest.raises(InfeasibleError) as caught:
        route(kernels, placed, [Net("n", (0, "y"), ((1, "x"),), (50,))], MINI, capacity=49)
    assert caught.value.code == "link-overloaded"
    (short,) = caught.value.shortages
    assert (short.where, short.demand, short.supply) == ("n lane 0", 50, 49)


def test_placed_and_routed_program_is_legal_and_deterministic() -> None:
    chain = gpt(layers=1, lanes=4, heads=5, keys=6, vocab=8, head=12)
    placed = place(chain.kernels, chain.nets, MINI, deterministic_limit=0).placed
    first, second = (route(chain.kernels, placed, chain.nets, MINI, capacity=400) for _ in range(2))
    judge(chain.kernels, placed, chain.nets, MINI, first, 400)
    assert entries(first, chain.kernels, placed) == entries(second, chain.kernels, placed)
    assert sum(first.stats.histogram.values()) == len({(x, y) for x, y, _ in expand(first, chain.kernels, placed)})


@given(st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=40))
def test_rectangles_cover_exactly(cells: set[tuple[int, int]]) -> None:
    covered = [(y + j, x + i) for x, y, w, h in rectangles(cells) for i in range(w) for j in range(h)]
    assert sorted(covered) == sorted(cells)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 7), st.integers(0, 7)), max_size=60, unique=True))
def test_boxes_of_many_kinds_are_the_rectangles_of_each(cells: list[tuple[int, int, int]]) -> None:
    kind, x, y = np.array(cells, np.int64).reshape(-1, 3).T
    wanted = [(k, *box) for k in range(3) for box in rectangles((b, a) for what, a, b in cells if what == k)]
    assert sorted(zip(*(column.tolist() for column in boxes(kind, x, y)), strict=True)) == sorted(wanted)


@pytest.mark.parametrize(
    ("kernels", "net"),
    [
        ([line("a", 2), line("b", 3)], Net("n", (0, "y"), ((1, "x"),), (1, 1))),
        ([line("a", 2), line("b", 2)], Net("n", (0, "y"), ((1, "z"),), (1, 1))),
        ([line("a", 2), line("b", 2)], Net("n", (0, "y"), ((0, "x"),), (1, 1))),
        ([line("a", 2), line("b", 2)], Net("n", (0, "y"), ((1, "x"), (1, "x")), (1, 1))),
        ([line("a", 1), Footprint("b", 2, 1, {"x": (Lane(0, 0, ((0, 0, 2, 1), (1, 0, 1, 1))),)})], None),
        ([line("a", 1), Footprint("b", 2, 1, {"x": (Lane(0, 0, ((1, 0, 2, 1),)),)})], None),
    ],
    ids=["lanes", "port", "self", "twice", "heard twice", "outside"],
)
def test_contradictions_are_refused(kernels: list[Footprint], net: Net | None) -> None:
    with pytest.raises(WsecError) as caught:
        check(kernels, [net] if net else [])
    assert caught.value.code == "bad-floorplan"
