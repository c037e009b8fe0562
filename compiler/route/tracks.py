"""Trying a style: every lane of a bundle along its polyline, in a colour the bundle has or else another. Compiled."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from compiler.route.search import HOP

Array = npt.NDArray[Any]

FAILED = 1 << 14  # cost of a lane without a path, in links
LONGEST = 8000  # links of a path
NOT_ROUTED = -1


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def attempt(
    width: int,
    taken: Array,
    load: Array,
    words: Array,
    capacity: int,
    all_colours: int,
    price: Array,
    points: Array,
    own_start: Array,
    own: Array,
    goal_start: Array,
    goals: Array,
    opening: int,
    stamp: Array,
    now: int,
    limit: int,
    highest: bool,
) -> tuple[int, Array, Array, Array]:
    """Route lanes one after another along points[lane]; (cost, colours, starts of paths, routers of the paths).

    `taken[c]` is the mask of colours that have an owner at router c, load[d, c] the words on the link from c in
    direction d, at most `capacity` with words[lane] more; price[c] is what router c costs beside the link to it. A lane
    has the routers own[own_start[lane]:own_start[lane + 1]] already (its source and taps, and what connects them); the
    path ends at the first of its goals, and may touch no other router of its own. Of the colours free all along it the
    lane takes one that the bundle has already, or another, at the cost `opening`; the highest or the lowest. Lanes that
    find none have the colour NOT_ROUTED. `taken` and `load` are afterwards as before; `stamp` is scratch: all its
    entries are below `now`, and below now + 2 * lanes afterwards. Gives up when the cost passes `limit`.
    """
    lanes, legs = points.shape[0], points.shape[1]
    colours = np.full(lanes, NOT_ROUTED, np.int64)
    starts = np.zeros(lanes + 1, np.int64)
    path = np.empty(4096, np.int64)
    end, cost, opened = 0, 0, 0
    done = 0
    for lane in range(lanes):
        starts[lane] = end
        done = lane + 1
        mine, goal = now + 2 * lane, now + 2 * lane + 1
        mask, toll = 0, 0
        for i in range(own_start[lane], own_start[lane + 1]):
            stamp[own[i]] = mine
            mask |= taken[own[i]]
        for i in range(goal_start[lane], goal_start[lane + 1]):
            stamp[goals[i]] = goal
        x, y = points[lane, 0, 0], points[lane, 0, 1]
        cell = y * width + x
        if end + LONGEST + 8 > len(path):
            longer = np.empty(2 * len(path) + LONGEST + 8, np.int64)
            longer[:end] = path[:end]
            path = longer
        path[end] = cell
        here = end + 1
        good, arrived = True, stamp[cell] == goal
        for leg in range(1, legs):
            tx, ty = points[lane, leg, 0], points[lane, leg, 1]
            while good and not arrived and (x != tx or y != ty):
                if y > ty:
                    d, step, y = 0, -width, y - 1
                elif x < tx:
                    d, step, x = 1, 1, x + 1
                elif y < ty:
                    d, step, y = 2, width, y + 1
                else:
                    d, step, x = 3, -1, x - 1
                if load[d, cell] + words[lane] > capacity or here - end > LONGEST:
                    good = False
                    break
                toll += HOP + load[d, cell] * HOP // capacity
                cell += step
                path[here] = cell
                here += 1
                if stamp[cell] == goal:
                    arrived = True
                    break
                if stamp[cell] == mine:
                    good = False
                    break
                stamp[cell] = mine
                mask |= taken[cell]
                toll += price[cell]
                if mask & all_colours == all_colours:
                    good = False
        free = all_colours & ~mask
        if not good or not arrived or free == 0:
            cost += FAILED * HOP
            starts[lane + 1] = end
            if cost > limit:
                break
            continue
        if free & opened:
            free &= opened
        else:
            cost += opening
        if highest:
            colour = 31
            while not free >> colour & 1:
                colour -= 1
        else:
            colour = 0
            while not free >> colour & 1:
                colour += 1
        opened |= 1 << colour
        colours[lane] = colour
        cost += toll
        end = here
        starts[lane + 1] = end
        _paint(width, taken, load, 1 << colour, words[lane], path[starts[lane] : end],
               own[own_start[lane] : own_start[lane + 1]], True)  # fmt: skip
        if cost > limit:
            break
    for lane in range(done):
        if colours[lane] >= 0:
            _paint(width, taken, load, 1 << colours[lane], words[lane], path[starts[lane] : starts[lane + 1]],
                   own[own_start[lane] : own_start[lane + 1]], False)  # fmt: skip
    return cost, colours, starts, path[:end]


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _paint(width: int, taken: Array, load: Array, bit: int, words: int, path: Array, own: Array, on: bool) -> None:
    """Give a lane's colour to its routers and its words to its links, or take them away."""
    for cell in own:
        taken[cell] = taken[cell] | bit if on else taken[cell] & ~bit
    for i in range(len(path)):
        taken[path[i]] = taken[path[i]] | bit if on else taken[path[i]] & ~bit
        if i:
            step = path[i] - path[i - 1]
            d = 1 if step == 1 else 3 if step == -1 else 2 if step > 0 else 0
            load[d, path[i - 1]] += words if on else -words
