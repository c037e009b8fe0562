"""Bundles: all lanes of a net routed alike, tap by tap, in the style that takes the fewest colours and is shortest.

Lanes that run side by side or nested share no router, so a bundle needs but one colour where it has room, and few where
it has not; lanes that cross need one each. Colours are what is short, so a style with fewer of them may be far longer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler.route.channels import Region, Wanted
from compiler.route.search import HOP
from compiler.route.styles import detours, simple
from compiler.route.tracks import FAILED, attempt

Array = npt.NDArray[Any]

OPENING = 24 * HOP  # cost of one more colour for a bundle, for each of its lanes
FAR = 60  # links beyond which a bundle takes the highest free colours; the lowest are left to short ones
NO_LIMIT = 1 << 60


@dataclass
class Trunk:
    """A lane under way: the routers of its tree so far, and the path to each of its taps by their order."""

    channel: Wanted
    tree: Array
    paths: list[Array]
    colour: int = -1


@dataclass(frozen=True)
class Stage:
    """The lanes of a bundle before their next tap, as `tracks.attempt` wants them; `idle` is a place to stay at, for
    those which are not `ahead` of one."""

    ahead: Array
    idle: Array
    own_start: Array
    own: Array
    goal_start: Array
    goals: Array
    words: Array
    far: bool


class Bundles:
    """Tries styles against what is routed already."""

    def __init__(self, region: Region, colours: int, capacity: int) -> None:
        self.region, self.capacity = region, capacity
        self.all = (1 << colours) - 1
        self.stamp = np.zeros(region.cells, np.int64)
        self.now = 1

    def route(self, channels: Sequence[Wanted], taken: Array, load: Array, price: Array) -> list[Trunk]:
        """The lanes of one net. Those without a colour were not routed.

        `taken` and `load` are as in `tracks.attempt`, `price[c]` is what router c costs beside the link to it.
        """
        self.taken, self.load, self.price = taken, load, price
        trunks = [Trunk(channel, np.array([channel.source]), []) for channel in channels]
        for stage in range(max(len(channel.taps) for channel in channels)):
            self._stage([trunk for trunk in trunks if len(trunk.paths) >= min(stage, len(trunk.channel.taps))], stage)
        return trunks

    def _stage(self, trunks: list[Trunk], number: int) -> None:
        """Connect every lane that has so many to its tap of that number; colours are chosen anew for all."""
        ahead = np.array([len(trunk.channel.taps) > number for trunk in trunks], bool)
        if not ahead.any():
            return
        own = [np.concatenate([trunk.tree, trunk.channel.reserved]) for trunk in trunks]
        goals = [t.channel.taps[number].cells if more else t.tree[:1] for t, more in zip(trunks, ahead, strict=True)]
        stage = Stage(
            ahead, self._points([trunk.channel.source for trunk in trunks]), _starts(own), np.concatenate(own),
            _starts(goals), np.concatenate(goals), np.array([trunk.channel.words for trunk in trunks]),
            max(trunk.channel.distance for trunk in trunks) > FAR,
        )  # fmt: skip
        ends = list(self._ends([trunk for trunk, more in zip(trunks, ahead, strict=True) if more], number))
        best = self._best(stage, ends)
        _, colours, starts, path = self._try(stage, best, NO_LIMIT)
        for i, trunk in enumerate(trunks):
            trunk.colour = int(colours[i])
            if colours[i] >= 0 and ahead[i]:
                trunk.paths.append(path[starts[i] : starts[i + 1]])
                trunk.tree = np.concatenate([trunk.tree, trunk.paths[-1][1:-1], trunk.channel.taps[number].cells])

    def _best(self, stage: Stage, ends: list[tuple[Array, Array]]) -> Array:
        """The style with the least cost; those with detours are tried if some lane finds no way without."""
        best, least = np.zeros((0, 0, 2), np.int64), NO_LIMIT
        for more in (simple, detours):
            for starts, goals in ends:
                for points in more(starts, goals, (self.region.width, self.region.height)):
                    cost = self._try(stage, points, least)[0]
                    if cost < least:
                        best, least = points, cost
            if least < FAILED * HOP:
                break
        return best

    def _ends(self, trunks: list[Trunk], number: int) -> Iterator[tuple[Array, Array]]:
        """Where lanes may start and end, int64[lanes, 2] each: from the nearest router of the tree, or the source."""
        taps = [trunk.channel.taps[number] for trunk in trunks]
        pairs = [self._nearest(trunk.tree, tap.cells) for trunk, tap in zip(trunks, taps, strict=True)]
        yield self._points([pair[0] for pair in pairs]), self._points([pair[1] for pair in pairs])
        if len(trunks[0].tree) > 1:
            pairs = [self._nearest(trunk.tree[:1], tap.cells) for trunk, tap in zip(trunks, taps, strict=True)]
            yield self._points([pair[0] for pair in pairs]), self._points([pair[1] for pair in pairs])

    def _nearest(self, tree: Array, goals: Array) -> tuple[int, int]:
        """The router of the tree and the goal that are nearest to each other; of equals the last and the first."""
        width = self.region.width
        x, y = tree % width, tree // width
        gx, gy = goals % width, goals // width
        if len(goals) > 1:
            apart = np.abs(x[::-1, None] - gx) + np.abs(y[::-1, None] - gy)
            at, goal = np.unravel_index(int(apart.argmin()), apart.shape)
            return int(tree[len(tree) - 1 - at]), int(goals[goal])
        apart = np.abs(x[::-1] - gx) + np.abs(y[::-1] - gy)
        return int(tree[len(tree) - 1 - int(apart.argmin())]), int(goals[0])

    def _points(self, cells: list[int]) -> Array:
        at = np.array(cells, np.int64)
        return np.stack([at % self.region.width, at // self.region.width], axis=1)

    def _try(self, stage: Stage, points: Array, limit: int) -> tuple[int, Array, Array, Array]:
        """`tracks.attempt` with a style for the lanes that are ahead."""
        legs = np.repeat(stage.idle[:, None], points.shape[1], axis=1)
        legs[stage.ahead] = points
        result = attempt(
            self.region.width, self.taken, self.load, stage.words, self.capacity, self.all, self.price, legs,
            stage.own_start, stage.own, stage.goal_start, stage.goals, OPENING * len(legs), self.stamp, self.now, limit,
            stage.far,
        )  # fmt: skip
        self.now += 2 * len(legs)
        return result  # type: ignore[no-any-return]


def _starts(lists: list[Array]) -> Array:
    return np.concatenate([[0], np.cumsum([len(cells) for cells in lists])])
