"""Strips: the wafer as columns of one width, run through as a snake, kernels stacked in them side to side.

A kernel takes the whole width of its strip, so nothing is lost between kernels, and what a strip has left at its end is
filled with kernels that come a little later. Lanes of neighbours in the snake meet at the same place of the width;
every other strip is turned round by half a turn, so that where the snake turns lanes nest and do not cross. Dead cores
and keep-outs cut a strip into *bins*.

Positions in a strip are counted along the way of the snake.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from compiler.floorplan import Box, Footprint, Placed
from runtime.geometry import SOUTH, STEP, Orientation
from runtime.target import Target

TURN = 6  # lanes for each row of routers left free at both ends of a strip, where the snake turns
LOOK_AHEAD = 8  # kernels beyond the end of a bin that may be drawn forward to fill it
LOOK_BACK = 2  # kernels at the end of a bin that may be put off for it


@dataclass(frozen=True)
class Frame:
    """`count` strips, `width` cores across (east) and `length` along (south)."""

    width: int
    length: int
    count: int


@dataclass(frozen=True)
class Bin:
    """A free run of a strip: `length` cores along from `start`."""

    strip: int
    start: int
    length: int


def span(target: Target, ports: bool) -> tuple[int, int]:
    """Cores across all strips and along one; the west-most column is left to host ports if there are any."""
    return target.usable[2] - ports, target.usable[3]


def bins(frame: Frame, obstacles: Sequence[Box], target: Target, ports: bool) -> list[Bin]:
    """The free runs of all strips, in the order of the snake."""
    found = []
    for strip in range(frame.count):
        x, y = _corner(frame, strip, target, ports)
        blocked = []
        for ox, oy, ow, oh in obstacles:
            if ox < x + frame.width and x < ox + ow and oy < y + frame.length and y < oy + oh:
                first, last = max(oy - y, 0), min(oy + oh - y, frame.length)
                blocked.append(
                    (frame.length - last, frame.length - first) if _northward(frame, strip) else (first, last)
                )
        at = frame.width // TURN
        for first, last in [*sorted(blocked), (frame.length - at, frame.length)]:
            if first > at:
                found.append(Bin(strip, at, first - at))
            at = max(at, last)
    return found


def _northward(frame: Frame, strip: int) -> bool:
    """Every other strip runs north, the last among them: what leaves it at its output side is near the west edge."""
    return (frame.count - 1 - strip) % 2 == 0


def _corner(frame: Frame, strip: int, target: Target, ports: bool) -> tuple[int, int]:
    """The north-west corner of a strip. They follow each other from east to west: the snake ends at the ports."""
    x0, y0, _, _ = target.usable
    return x0 + ports + (frame.count - 1 - strip) * frame.width, y0


def fill(heights: Sequence[int], free: Sequence[Bin]) -> list[list[int]] | None:
    """The kernels (by index, in order) of each bin, or None if the bins do not hold them.

    In order if there is room for that. Else what is left at the end of a bin is filled as well as possible from the
    next few kernels, and the last few may be put off.
    """
    return _fill(heights, free, shuffle=False) or _fill(heights, free, shuffle=True)


def _fill(heights: Sequence[int], free: Sequence[Bin], *, shuffle: bool) -> list[list[int]] | None:
    waiting = list(range(len(heights)))
    chosen = []
    for run in free:
        room, taken = run.length, 0
        while taken < len(waiting) and heights[waiting[taken]] <= room:
            room -= heights[waiting[taken]]
            taken += 1
        mine = waiting[:taken]
        if shuffle and taken < len(waiting) and room:
            kept = max(0, taken - LOOK_BACK)
            room = run.length - sum(heights[i] for i in waiting[:kept])
            mine = waiting[:kept] + _best_subset(waiting[kept : taken + LOOK_AHEAD], heights, room)
        chosen.append(mine)
        gone = set(mine)
        waiting = [i for i in waiting if i not in gone]
    return None if waiting else chosen


def _best_subset(items: Sequence[int], heights: Sequence[int], room: int) -> list[int]:
    """The items that fill `room` best; of equally good choices the one that leaves the earliest out last."""
    reach: dict[int, int] = {0: 0}  # sum of heights -> the items, as a mask whose highest bit is the first
    for place, item in enumerate(items):
        bit = 1 << (len(items) - 1 - place)
        for total, mask in sorted(reach.items(), reverse=True):
            longer = total + heights[item]
            if longer <= room and mask | bit > reach.get(longer, -1):
                reach[longer] = mask | bit
    mask = reach[max(reach)]
    return [item for place, item in enumerate(items) if mask >> (len(items) - 1 - place) & 1]


def compact(frame: Frame, heights: Sequence[int], obstacles: Sequence[Box], target: Target, ports: bool) -> Frame:
    """Strips of the same width, no more and no longer than makes a nearly square rectangle.

    If possible such that none is empty. The last may be where obstacles leave it no bin for the last kernels.
    """
    total, ends = sum(heights), 2 * (frame.width // TURN)
    length = ends + float(max([*heights, math.isqrt(total * frame.width), 1]))
    spare = frame
    while length <= frame.length:
        for count in range(max(1, int(total / length)), frame.count + 1):
            trial = replace(frame, length=int(length), count=count)
            if fill(heights, bins(trial, obstacles, target, ports)) is not None:
                if _ends_last(trial, heights, obstacles, target, ports):
                    return trial
                spare = min(spare, trial, key=lambda f: f.length * f.count)
                break
        length *= 1.03
    for count in range(1, frame.count):
        if _ends_last(replace(frame, count=count), heights, obstacles, target, ports):
            return replace(frame, count=count)
    return spare


def _ends_last(frame: Frame, heights: Sequence[int], obstacles: Sequence[Box], target: Target, ports: bool) -> bool:
    free = bins(frame, obstacles, target, ports)
    filled = fill(heights, free)
    return filled is not None and any(items for run, items in zip(free, filled, strict=True)
                                      if run.strip == frame.count - 1)  # fmt: skip


class Rectangle(Protocol):
    """What stacking asks of a kernel."""

    @property
    def cols(self) -> int: ...

    @property
    def rows(self) -> int: ...

    @property
    def turned(self) -> bool | None: ...


def stance(kernel: Rectangle, width: int) -> bool:
    """Whether a kernel stands turned in a strip, its rows across: as it asks for, or as takes less of the length."""
    if kernel.turned is not None:
        return kernel.turned
    upright, turned = kernel.cols <= width, kernel.rows <= width
    return turned and (not upright or kernel.cols < kernel.rows)


def height(kernel: Rectangle, width: int) -> int:
    """How much of a strip's length a kernel takes. Raises ValueError if the strip is too narrow."""
    across, along = (kernel.rows, kernel.cols) if stance(kernel, width) else (kernel.cols, kernel.rows)
    if across > width:
        raise ValueError(f"a kernel is {across} across, the strip {width}")
    return along


def arrange(
    kernels: Sequence[Footprint], frame: Frame, obstacles: Sequence[Box], target: Target, beside: Mapping[int, int]
) -> dict[int, Placed]:
    """Places of all kernels but the host ports, by index. Raises ValueError if the strips do not hold them.

    `beside[i]` is the kernel, standing turned, at whose output side the row of cores i stands turned as well.
    """
    ports = any(kernel.edge for kernel in kernels)
    inside = [i for i, kernel in enumerate(kernels) if kernel.edge is None and i not in beside]
    free = bins(frame, obstacles, target, ports)
    filled = fill([height(kernels[i], frame.width) for i in inside], free)
    if filled is None:
        raise ValueError(f"{frame.count} strips of {frame.width} x {frame.length} do not hold all kernels")
    places = {}
    for run, items in zip(free, filled, strict=True):
        x, y = _corner(frame, run.strip, target, ports)
        at, north = run.start, _northward(frame, run.strip)
        for item in items:
            kernel = kernels[inside[item]]
            turned, along = stance(kernel, frame.width), height(kernel, frame.width)
            across = kernel.rows if turned else kernel.cols
            u = frame.width - across if north else 0  # what it leaves free is at its output side
            v = frame.length - at - along if north else at
            orientation = Orientation((1 if turned else 0) | (6 if north else 0))
            places[inside[item]] = Placed(x + u, y + v, orientation)
            at += along
    for row, other in beside.items():
        places[row] = _beside(kernels[row], kernels[other], places[other])
    return places


def _beside(row: Footprint, other: Footprint, place: Placed) -> Placed:
    """Beyond the last row of `other`, core by core."""
    dx, dy = STEP[place.orientation.direction(SOUTH)]
    ends = [place.at(other, col, other.rows - 1) for col in (0, row.cols - 1)]
    west, north = min(end[0] for end in ends), min(end[1] for end in ends)
    return Placed(west + dx, north + dy, place.orientation)
