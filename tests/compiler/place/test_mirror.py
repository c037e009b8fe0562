"""Kernels mirrored where the snake of strips turns: lanes then keep their order, and need few colours."""

from __future__ import annotations

from place.synthetic import line, point_lane
from route.walk import judge

from compiler.floorplan import Footprint, Lane, Net, Placed
from compiler.place.mirror import mirror
from compiler.route.router import route
from runtime import target as targets
from runtime.geometry import Orientation

MINI = targets.load("mini-32x32")


def fan(name: str, lanes: int, width: int) -> Footprint:
    """Hears `lanes` across its strip, sends `lanes` along it at the far side, as a matvec standing turned."""
    inputs = {"x": tuple(point_lane(0, r) for r in range(lanes))}
    return Footprint(name, lanes, width, inputs, {"y": tuple(Lane(c, width - 1) for c in range(lanes))}, turned=True)


def heads(name: str, lanes: int, width: int) -> Footprint:
    """Hears lanes along the strip at its near side, sends them at the far side, as attention does."""
    inputs = {"x": tuple(point_lane(0, r) for r in range(lanes))}
    return Footprint(name, width, lanes, inputs, {"y": tuple(Lane(width - 1, r) for r in range(lanes))})


def diagonal(name: str, lanes: int) -> Footprint:
    """Hears lanes on its diagonal."""
    return Footprint(name, lanes, lanes, {"x": tuple(point_lane(i, i) for i in range(lanes))}, {})


KERNELS = [line("a", 8), fan("b", 8, 8), heads("c", 8, 8), diagonal("d", 8)]
NETS = [Net(f"n{i}", (i, "y"), ((i + 1, "x"),), (5,) * 8) for i in range(3)]
SOUTH, SOUTH_TURNED, NORTH, NORTH_TURNED = (Orientation(code) for code in (0, 1, 6, 7))


def codes(places: list[Placed]) -> list[int]:
    found = dict(enumerate(places))
    mirror(KERNELS, NETS, found)
    return [found[i].orientation.code ^ places[i].orientation.code for i in range(len(places))]


def test_in_one_strip_nothing_is_mirrored() -> None:
    south = [Placed(20, 2, SOUTH_TURNED), Placed(20, 3, SOUTH_TURNED), Placed(20, 11, SOUTH), Placed(20, 19, SOUTH)]
    assert codes(south) == [0, 0, 0, 0]


def test_a_kernel_is_mirrored_where_its_reader_is_past_the_turn() -> None:
    places = [Placed(20, 11, SOUTH_TURNED), Placed(20, 12, SOUTH_TURNED), Placed(12, 10, NORTH), Placed(12, 2, NORTH)]
    assert codes(places) == [0, 4, 0, 0]


def test_a_mirrored_kernel_takes_its_feeder_along() -> None:
    places = [Placed(20, 3, SOUTH_TURNED), Placed(20, 4, SOUTH_TURNED), Placed(20, 12, SOUTH), Placed(12, 2, NORTH)]
    assert codes(places) == [0, 4, 4, 0]


def test_mirrored_lanes_take_fewer_colours_than_lanes() -> None:
    places = [Placed(20, 11, SOUTH_TURNED), Placed(20, 12, SOUTH_TURNED), Placed(12, 10, NORTH), Placed(12, 2, NORTH)]
    found = dict(enumerate(places))
    mirror(KERNELS, NETS, found)
    placed = [found[i] for i in range(4)]
    result = route(KERNELS, placed, NETS, MINI)
    judge(KERNELS, placed, NETS, MINI, result)
    assert result.stats.max_colours <= 4
