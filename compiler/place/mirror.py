"""Mirrored kernels: where the snake of strips turns, lanes in one order along a strip would meet lanes in the other.

Such lanes would have to cross each other, each in a colour of its own. A kernel whose output lanes leave along its
strip may stand mirrored in that direction as well: its first lane is then where the reader's first is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from compiler.floorplan import Footprint, Net, Placed
from runtime.geometry import Orientation

NORTH_SOUTH = 4  # in an orientation's code: y mirrored


def mirror(kernels: Sequence[Footprint], nets: Sequence[Net], places: dict[int, Placed]) -> None:
    """Mirror the kernels in `places` whose lanes then run in the order of their readers', the last kernel first."""
    into: dict[int, list[Net]] = {}
    out: dict[int, list[Net]] = {}
    for net in nets:
        out.setdefault(net.source[0], []).append(net)
        for sink, _ in net.sinks:
            into.setdefault(sink, []).append(net)
    movable = {i for i in places if _movable(i, kernels, places, into, out)}
    for index in sorted(movable, reverse=True):
        feeders = {net.source[0] for net in into.get(index, []) if _slope(kernels, places, _heard(index, net))}
        if not feeders <= movable:
            continue
        slopes = [
            (_slope(kernels, places, (*net.source, True)), _slope(kernels, places, (*sink, False)))
            for net in out.get(index, []) for sink in net.sinks if sink[0] in places
        ]  # fmt: skip
        if any(here * there < 0 for here, there in slopes):
            place = places[index]
            places[index] = replace(place, orientation=Orientation(place.orientation.code ^ NORTH_SOUTH))


def _movable(
    index: int, kernels: Sequence[Footprint], places: dict[int, Placed], into: dict[int, list[Net]],
    out: dict[int, list[Net]],
) -> bool:  # fmt: skip
    """Do output lanes, and input lanes unless they lie across the strip, lie along one column?"""
    ends = [(*net.source, True) for net in out.get(index, [])]
    inward = [_heard(index, net) for net in into.get(index, [])]
    inward = [end for end in inward if _slope(kernels, places, end)]
    return bool(ends) and all(_upright(kernels, places, end) for end in [*ends, *inward])


def _heard(index: int, net: Net) -> tuple[int, str, bool]:
    port = next(port for sink, port in net.sinks if sink == index)
    return index, port, False


def _ends(kernels: Sequence[Footprint], places: dict[int, Placed], end: tuple[int, str, bool]) -> list[tuple[int, int]]:
    """Where the first and the last lane of a port are."""
    index, port, is_output = end
    lanes = (kernels[index].outputs if is_output else kernels[index].inputs)[port]
    return [places[index].at(kernels[index], lane.col, lane.row) for lane in (lanes[0], lanes[-1])]


def _slope(kernels: Sequence[Footprint], places: dict[int, Placed], end: tuple[int, str, bool]) -> int:
    """How many rows south of the first the last lane of a port is."""
    first, last = _ends(kernels, places, end)
    return last[1] - first[1]


def _upright(kernels: Sequence[Footprint], places: dict[int, Placed], end: tuple[int, str, bool]) -> bool:
    """Do the lanes of a port lie in one column, one below the other?"""
    first, last = _ends(kernels, places, end)
    return first[0] == last[0] and first[1] != last[1]
