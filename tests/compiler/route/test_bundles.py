"""Bundles: lanes in order need one colour, however they turn; what is routed is legal, by an independent walk."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from place.synthetic import line, point_lane
from route.walk import judge

from compiler.floorplan import Footprint, Lane, Net, Placed
from compiler.route.router import RouteResult, route
from compiler.route.styles import detours, simple
from runtime import target as targets
from runtime.geometry import Orientation

MINI = targets.load("mini-32x32")
UPRIGHT, TURNED, HALF = Orientation(0), Orientation(1), Orientation(7)


def routed(kernels: list[Footprint], placed: list[Placed], *sinks: int, capacity: int | None = None) -> RouteResult:
    lanes = len(kernels[0].outputs["y"])
    nets = [Net("n", (0, "y"), tuple((sink, "x") for sink in sinks), (10,) * lanes)]
    result = route(kernels, placed, nets, MINI, capacity=capacity)
    judge(kernels, placed, nets, MINI, result, capacity)
    return result


def colours(result: RouteResult) -> int:
    return len({channel.colour for channel in result.channels})


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 10), st.integers(0, 18), st.integers(0, 18), st.integers(0, 18), st.integers(0, 18))
def test_a_lone_bundle_in_order_has_one_colour(lanes: int, x0: int, y0: int, x1: int, y1: int) -> None:
    """Between two rows of cores in the same order, without a crossing, if there is a row of routers for each lane."""
    assume(abs(y0 - y1) > lanes)
    placed = [Placed(8 + x0 // 2, 5 + y0, TURNED), Placed(8 + x1 // 2, 5 + y1, TURNED)]
    result = routed([line("a", lanes), line("b", lanes)], placed, 1)
    assert colours(result) == 1
    assert result.stats.torn == 0


@pytest.mark.parametrize("lanes", [3, 7, 10])
def test_where_the_snake_turns_lanes_nest(lanes: int) -> None:
    """Two rows side by side, the second turned by half a turn: a U with one colour, where crossing would take all."""
    kernels = [line("a", lanes), line("b", lanes)]
    placed = [Placed(5, 18, TURNED), Placed(5 + lanes, 18, HALF)]
    assert colours(routed(kernels, placed, 1)) == 1


def test_a_corner_takes_one_colour() -> None:
    kernels = [line("a", 8), line("b", 8)]
    placed = [Placed(6, 6, UPRIGHT), Placed(16, 20, HALF)]
    assert colours(routed(kernels, placed, 1)) <= 2


def test_lanes_that_must_cross_take_a_colour_each_and_no_more() -> None:
    """Eight lanes reversed between two columns that walls of dead cores do not let them go around."""
    sink = dataclasses.replace(line("b", 8), inputs={"x": tuple(point_lane(0, 7 - i) for i in range(8))})
    target = dataclasses.replace(MINI, usable=(4, 1, 20, 8))
    kernels, placed = [line("a", 8), sink], [Placed(4, 1, UPRIGHT), Placed(23, 1, UPRIGHT)]
    nets = [Net("n", (0, "y"), ((1, "x"),), (10,) * 8)]
    result = route(kernels, placed, nets, target)
    judge(kernels, placed, nets, target, result)
    assert colours(result) == 8


def test_branches_leave_the_tree_where_it_is_near() -> None:
    """A row, the same beside it, and one far down: the second branch goes on from the first."""
    kernels = [line("a", 6), line("b", 6), line("c", 6)]
    placed = [Placed(8, 4, TURNED), Placed(8, 5, TURNED), Placed(8, 24, TURNED)]
    result = routed(kernels, placed, 1, 2)
    assert colours(result) == 1
    assert all(channel.length == 20 for channel in result.channels)


def test_lanes_that_hear_several_cores_keep_apart() -> None:
    """Ragged: some lanes end at one core, some at two that do not touch; none meets another in its colour."""
    heard = [((0, 0), (2, 1)), ((3, 2),), ((4, 3), (6, 4)), ((7, 5),)]
    inputs = tuple(Lane(*cores[0], tuple((*core, 1, 1) for core in cores)) for cores in heard)
    sink = Footprint("b", 8, 6, {"x": inputs}, {})
    routed([line("a", 4), sink], [Placed(6, 4, TURNED), Placed(8, 14, UPRIGHT)], 1)


def test_heavy_lanes_share_no_link() -> None:
    kernels = [line("a", 6), line("b", 6)]
    placed = [Placed(5, 3, TURNED), Placed(20, 20, UPRIGHT)]
    routed(kernels, placed, 1, capacity=10)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**9))
def test_styles_lead_from_start_to_goal_along_the_axes_inside(seed: int) -> None:
    rng = random.Random(seed)
    lanes, size = rng.randint(1, 9), (rng.randint(10, 40), rng.randint(10, 40))
    start, goal = (np.array([[rng.randrange(size[0]), rng.randrange(size[1])] for _ in range(lanes)]) for _ in range(2))
    for points in [*simple(start, goal, size), *detours(start, goal, size)]:
        assert (points[:, 0] == start).all()
        assert (points[:, -1] == goal).all()
        assert (points >= 0).all()
        assert (points < size).all()
        assert ((np.diff(points, axis=1) != 0).sum(axis=2) <= 1).all()
