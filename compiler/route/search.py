"""A* over the routers of a region for one connection of one channel in one colour. Compiled; integers only."""

from __future__ import annotations

import heapq
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

FREE, FIXED = -1, -2
"""Owners of a colour at a router that are no channel: nobody, and a kernel's internal route."""
HOP = 16
"""Cost of one link; congestion is priced in fractions of it."""

Array = npt.NDArray[Any]


class Scratch:
    """Working memory of the search, one entry a router; `stamp` and `member` say which search wrote an entry."""

    def __init__(self, cells: int) -> None:
        self.distance = np.zeros(cells, np.int64)
        self.stamp = np.zeros(cells, np.int64)
        self.member = np.zeros(cells, np.int64)
        self.parent = np.zeros(cells, np.int8)
        self.queues = np.zeros((2, cells), np.int64)
        self.now = 0


@numba.njit(inline="always")  # type: ignore[untyped-decorator]
def _gap(at: int, low: int, high: int) -> int:
    """How far a place lies outside [low, high]."""
    return max(low - at, 0, at - high)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def search(
    width: int,
    cells: int,
    starts: Array,
    goals: Array,
    bounds: tuple[int, int, int, int],
    me: int,
    owner: Array,
    toll: Array,
    used: Array,
    crowd: Array,
    load: Array,
    base: Array,
    words: int,
    capacity: int,
    penalty: int,
    limit: int,
    distance: Array,
    stamp: Array,
    member: Array,
    parent: Array,
    now: int,
) -> tuple[int, int]:
    """Cost of a cheap path from any of `starts` to any of `goals` and the goal reached; (-1, -1) if none <= `limit`.

    Distance still to go is weighted twofold: the path may cost up to twice the cheapest, and is found far sooner.
    Routers are numbered row by row, `width` a row; `bounds` (west, north, east, south) enclose the goals. `owner[c]` is
    who has the colour at router c: the path crosses FREE routers only and ends at the first goal it meets. With a
    `penalty` above 0 it may also cross routers of other channels and overload links, paying it each time. Router c
    costs toll[c], what past conflicts made it worth, and crowd[used[c]] for its used[c] colours. load[d, c] words cross
    the link from c in direction d, of which base[d, c] cannot be moved; `words` more must fit the `capacity`.
    Afterwards parent[c] is the direction by which the path reached router c (-1 at its start).
    """
    west, north, east, south = bounds
    for goal in goals:
        member[goal] = now
    heap = [(np.int64(1) << 62)]  # a sentinel gives the list its type
    for start in starts:
        x, y = start % width, start // width
        h = HOP * (_gap(x, west, east) + _gap(y, north, south))
        distance[start], stamp[start], parent[start] = 0, now, -1
        heapq.heappush(heap, (np.int64(2 * h) << 36) | (np.int64(h) << 20) | np.int64(start))
    while len(heap) > 1:
        key = heapq.heappop(heap)
        cell = key & ((1 << 20) - 1)
        x, y = cell % width, cell // width
        so_far = distance[cell]
        h = HOP * (_gap(x, west, east) + _gap(y, north, south))
        if (key >> 36) > so_far + 2 * h:
            continue
        if member[cell] == now:
            return int(so_far), int(cell)
        for d in range(4):
            if d == 0:
                inside, step, nx, ny = y > 0, -width, x, y - 1
            elif d == 1:
                inside, step, nx, ny = x < width - 1, 1, x + 1, y
            elif d == 2:
                inside, step, nx, ny = cell + width < cells, width, x, y + 1
            else:
                inside, step, nx, ny = x > 0, -1, x - 1, y
            if not inside or base[d, cell] + words > capacity:
                continue
            n = cell + step
            cost = so_far + HOP + toll[n] + crowd[used[n]] + load[d, cell] * HOP // capacity
            holder = owner[n]
            if member[n] != now and holder != FREE:
                if penalty == 0 or holder in (FIXED, me):
                    continue
                cost += penalty
            if load[d, cell] + words > capacity:
                if penalty == 0:
                    continue
                cost += penalty
            if stamp[n] == now and distance[n] <= cost:
                continue
            h = HOP * (_gap(nx, west, east) + _gap(ny, north, south))
            if cost + h > limit:
                continue
            distance[n], stamp[n], parent[n] = cost, now, d
            heapq.heappush(heap, (np.int64(cost + 2 * h) << 36) | (np.int64(h) << 20) | np.int64(n))
    return -1, -1


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def connected(
    width: int,
    cells: int,
    starts: Array,
    goals: Array,
    owner: Array,
    load: Array,
    words: int,
    capacity: int,
    stamp: Array,
    queues: Array,
    now: int,
) -> bool:
    """Whether `search` without penalty and limit finds a path; told far sooner where one end is walled in.

    Looks from both ends in turn, a router at a time, until they meet or one has no router left. `stamp` holds `now` for
    routers reached from the starts, -now for those from which a goal is reached.
    """
    count, done = np.zeros(2, np.int64), np.zeros(2, np.int64)
    for side, ends in enumerate((goals, starts)):
        for cell in ends:
            if side and stamp[cell] == -now:
                return True
            stamp[cell] = now if side else -now
            queues[side, count[side]] = cell
            count[side] += 1
    while done[0] < count[0] and done[1] < count[1]:
        for side in range(2):
            cell = queues[side, done[side]]
            done[side] += 1
            x = cell % width
            for d in range(4):
                if d == 0:
                    inside, step = cell >= width, -width
                elif d == 1:
                    inside, step = x < width - 1, 1
                elif d == 2:
                    inside, step = cell + width < cells, width
                else:
                    inside, step = x > 0, -1
                if not inside:
                    continue
                n = cell + step
                link = load[d, cell] if side else load[(d + 2) % 4, n]
                if link + words > capacity:
                    continue
                other = -now if side else now
                if stamp[n] == other:
                    return True
                if stamp[n] == -other or owner[n] != FREE:
                    continue
                stamp[n] = -other
                queues[side, count[side]] = n
                count[side] += 1
    return False


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def flood(
    width: int, cells: int, goals: Array, entry: int, into: int, outward: int, stamp: Array, member: Array, now: int
) -> tuple[Array, Array, Array, Array]:
    """A tree over `goals` from `entry`, entered from the directions `into`: routers, inputs and outputs masks, depths.

    Every router gives to `outward` besides. The goals are marked with `now` in `member`; `stamp` is overwritten.
    """
    order, inputs = np.empty(len(goals), np.int64), np.empty(len(goals), np.uint8)
    depth = np.zeros(len(goals), np.int64)
    outputs = np.full(len(goals), outward, np.uint8)
    order[0], inputs[0], stamp[entry] = entry, into, -now
    count, done = 1, 0
    while done < count:
        cell = order[done]
        x, y = cell % width, cell // width
        for d in range(4):
            if d == 0:
                inside, step = y > 0, -width
            elif d == 1:
                inside, step = x < width - 1, 1
            elif d == 2:
                inside, step = cell + width < cells, width
            else:
                inside, step = x > 0, -1
            if not inside or member[cell + step] != now or stamp[cell + step] == -now:
                continue
            stamp[cell + step] = -now
            outputs[done] |= 1 << d
            order[count], inputs[count], depth[count] = cell + step, 1 << ((d + 2) % 4), depth[done] + 1
            count += 1
        done += 1
    return order[:count], inputs[:count], outputs[:count], depth[:count]


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def trace(width: int, entry: int, parent: Array) -> tuple[Array, Array]:
    """The routers of the path that `search` found to `entry`, its start first, and how each is reached."""
    length, cell = 1, entry
    while parent[cell] >= 0:
        d = parent[cell]
        cell += width if d == 0 else -1 if d == 1 else -width if d == 2 else 1
        length += 1
    path, reached = np.empty(length, np.int64), np.empty(length, np.int8)
    cell = entry
    for i in range(length - 1, -1, -1):
        d = parent[cell]
        path[i], reached[i] = cell, d
        cell += width if d == 0 else -1 if d == 1 else -width if d == 2 else 1
    return path, reached
