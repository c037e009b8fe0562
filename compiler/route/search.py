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
    """Working memory of the search, one entry a router; `stamp` says which search wrote an entry."""

    def __init__(self, cells: int) -> None:
        self.distance = np.zeros(cells, np.int64)
        self.stamp = np.zeros(cells, np.int64)
        self.parent = np.zeros(cells, np.int8)
        self.now = 0


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def search(
    width: int,
    cells: int,
    starts: Array,
    target: int,
    sides: int,
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
    parent: Array,
    now: int,
) -> int:
    """Cost of the cheapest path from any of `starts` to `target`, or -1 if there is none of cost <= `limit`.

    Routers are numbered row by row, `width` a row. `owner[c]` is who has the colour at router c: the path crosses FREE
    routers only and ends at `target`, which is `me`'s, entering it from one of the directions in the mask `sides`. With
    a `penalty` above 0 it may also cross routers of other channels and overload links, paying it each time. Router c
    costs toll[c], what past conflicts made it worth, and crowd[used[c]] for its used[c] colours. load[d, c] words cross
    the link from c in direction d, of which base[d, c] cannot be moved; `words` more must fit the `capacity`.
    Afterwards parent[c] is the direction by which the path reached router c (-1 at its start).
    """
    tx, ty = target % width, target // width
    heap = [(np.int64(1) << 62)]  # a sentinel gives the list its type
    for start in starts:
        h = HOP * (abs(start % width - tx) + abs(start // width - ty))
        distance[start], stamp[start], parent[start] = 0, now, -1
        heapq.heappush(heap, (np.int64(h) << 36) | (np.int64(h) << 20) | np.int64(start))
    while len(heap) > 1:
        key = heapq.heappop(heap)
        cell = key & ((1 << 20) - 1)
        x, y = cell % width, cell // width
        so_far = distance[cell]
        if (key >> 36) > so_far + HOP * (abs(x - tx) + abs(y - ty)):
            continue
        if cell == target:
            return int(so_far)
        for d in range(4):
            if d == 0:
                inside, step = y > 0, -width
            elif d == 1:
                inside, step = x < width - 1, 1
            elif d == 2:
                inside, step = cell + width < cells, width
            else:
                inside, step = x > 0, -1
            if not inside or base[d, cell] + words > capacity:
                continue
            n = cell + step
            cost = so_far + HOP + toll[n] + crowd[used[n]] + load[d, cell] * HOP // capacity
            holder = owner[n]
            if n == target:
                if not (sides >> ((d + 2) % 4)) & 1:
                    continue
            elif holder != FREE:
                if penalty == 0 or holder in (FIXED, me):
                    continue
                cost += penalty
            if load[d, cell] + words > capacity:
                if penalty == 0:
                    continue
                cost += penalty
            if stamp[n] == now and distance[n] <= cost:
                continue
            h = HOP * (abs(n % width - tx) + abs(n // width - ty))
            if cost + h > limit:
                continue
            distance[n], stamp[n], parent[n] = cost, now, d
            heapq.heappush(heap, (np.int64(cost + h) << 36) | (np.int64(h) << 20) | np.int64(n))
    return -1
