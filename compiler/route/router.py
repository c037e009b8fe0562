"""The router: a path and a colour for every lane of every net.

Nets are routed as bundles (`bundles`), long ones first: they cross most others. Nets that fail go before the nets
around them in the next round. What is left after some rounds is routed lane by lane, by rip-up and reroute with
negotiated congestion: a channel takes the first colour in which a path is about as short as without any other channel;
then longer detours are allowed; then it goes through others at a price, they are torn out and routed again, and what
was fought over gets dearer (PathFinder: McMurchie and Ebeling, 1995).
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler import floorplan
from compiler.floorplan import Footprint, Net, Placed
from compiler.route.bundles import Bundles, Trunk
from compiler.route.channels import Region, Tap, wanted
from compiler.route.ends import check_ends
from compiler.route.grown import Grown, Routed
from compiler.route.search import FIXED, FREE, HOP, Scratch, connected, flood, search, trace
from runtime import defects
from runtime.errors import InputError, LimitError, WsecError
from runtime.geometry import DIRECTION_NAMES, OPPOSITE, bit
from runtime.target import Target

Array = npt.NDArray[Any]

PADDING = 40  # cores around the kernels that routes may use
CROWD = 2 * HOP  # cost of a router with all colours used
SLACK = 2 * HOP  # a path this much dearer than the ideal one is taken at once
DETOURS = ((5, 4, 8 * HOP), (2, 1, 16 * HOP), (6, 1, 64 * HOP))  # then costs up to ideal * a / b + c
PENALTY = 8 * HOP  # crossing a router whose colour another channel has
TOLL = 2 * HOP  # rise of the penalty with every conflict
TEAR_LIMIT = 400  # how often one channel may be torn out
LARGE = 4096  # routers of a lane's taps beyond which it is routed alone, and first
FEW, PATIENCE = 16, 4  # after so many rounds, lanes left over for which no bundles are torn up any more
ROUNDS = 12  # in which nets that failed go first
AROUND = 32  # routers around a net within which others must make way for it
CROWDED = 24 * HOP  # cost of a router with all colours used, to bundles
NO_LIMIT = 1 << 24  # above the cost of any path


@dataclass(frozen=True)
class Channel:
    """One routed lane. `hops` are its routers as (x, y, inputs mask, outputs mask), sorted by y and x.

    `length` counts the links outside the taps; `reach[i]` the links from the source to the first router of sink i.
    """

    net: int
    lane: int
    colour: int
    hops: tuple[tuple[int, int, int, int], ...]
    length: int
    reach: tuple[int, ...]


@dataclass(frozen=True)
class RouteStats:
    """`histogram[n]` routers carry n colours (routers without any are left out); link loads are in words per token."""

    channels: int
    hops: int
    max_colours: int
    max_colours_at: tuple[int, int]
    histogram: dict[int, int]
    max_load: int
    max_load_at: tuple[int, int, str]
    torn: int


@dataclass(frozen=True)
class RouteResult:
    """The channels by net and lane. `seconds` is for people: it differs from run to run."""

    channels: list[Channel]
    stats: RouteStats
    seconds: float = field(compare=False)


def route(
    kernels: Sequence[Footprint],
    placed: Sequence[Placed],
    nets: Sequence[Net],
    target: Target,
    *,
    capacity: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> RouteResult:
    """A tree of routers and a colour for every lane of every net.

    `capacity` is the most words per token that may cross a link in one direction (None: any). Raises InfeasibleError if
    the kernels alone demand too many colours at a router or words on a link, LimitError if the search gives up.
    """
    begin = time.perf_counter()
    floorplan.check(kernels, nets)
    region = _region(kernels, placed, target)
    dead = defects.mask(target.defects, (region.x, region.y, region.width, region.height)).ravel()
    router = _Router(kernels, placed, nets, region, dead, target.colours, capacity or NO_LIMIT)
    router.run(progress)
    channels = [router.channel(i) for i in range(len(router.wanted))]
    return RouteResult(channels, router.stats(), time.perf_counter() - begin)


def _region(kernels: Sequence[Footprint], placed: Sequence[Placed], target: Target) -> Region:
    x, y, columns, rows = target.usable
    boxes = [place.box(kernel) for kernel, place in zip(kernels, placed, strict=True)]
    for kernel, (left, top, width, height) in zip(kernels, boxes, strict=True):
        if not (x <= left <= x + columns - width and y <= top <= y + rows - height):
            raise InputError("stands outside the usable rectangle", code="illegal-placement", where=kernel.name)
    west = max(x, min(box[0] for box in boxes) - PADDING)
    north = max(y, min(box[1] for box in boxes) - PADDING)
    east = min(x + columns, max(box[0] + box[2] for box in boxes) + PADDING)
    south = min(y + rows, max(box[1] + box[3] for box in boxes) + PADDING)
    return Region(west, north, east - west, south - north)


class _Router:
    """The state of the search: who owns which colour at which router, and how much crosses each link."""

    def __init__(
        self,
        kernels: Sequence[Footprint],
        placed: Sequence[Placed],
        nets: Sequence[Net],
        region: Region,
        dead: npt.NDArray[np.bool_],
        colours: int,
        capacity: int,
    ) -> None:
        cells = region.cells
        self.kernels, self.placed, self.nets = kernels, placed, nets
        self.region, self.colours, self.capacity = region, colours, capacity
        self.wanted = wanted(kernels, placed, nets, region)
        self.owner = np.full((colours, cells), FREE, np.int32)
        self.toll = np.zeros((colours, cells), np.int32)
        self.used = np.zeros(cells, np.int32)
        self.load = np.zeros((4, cells), np.int32)
        self.taken = np.zeros(cells, np.int64)
        self.crowd = np.array([CROWD * n * n // colours**2 for n in range(colours + 1)], np.int64)
        self.blank, self.no_toll = np.full(cells, FREE, np.int32), np.zeros(cells, np.int32)
        self.scratch = Scratch(cells)
        self.lanes_of: dict[int, list[int]] = {}
        for index, channel in enumerate(self.wanted):
            self.lanes_of.setdefault(channel.net, []).append(index)
        self.trees: dict[int, Routed] = {}
        self.tears: Counter[int] = Counter()
        self._check_alive(dead)
        self.owner[:, dead] = self.blank[dead] = FIXED  # nothing passes a dead router, whatever it pays
        self._claim_internal()
        check_ends(kernels, placed, nets, self.wanted, region, self.used, colours, capacity)
        self.base = self.load.copy()
        for colour in range(colours):
            self.taken |= (self.owner[colour] != FREE).astype(np.int64) << colour
        self.crowded = np.array([CROWDED * n * n // colours**2 for n in range(colours + 1)], np.int64)
        self.failed: Counter[int] = Counter()  # by net
        self.bundles = Bundles(region, colours, capacity)

    # What is given: the kernels' own routes and the tails

    def _check_alive(self, dead: npt.NDArray[np.bool_]) -> None:
        """A placement made elsewhere may cover dead cores: no wire could be right."""
        cells = dead.reshape(self.region.height, self.region.width)
        for kernel, place in zip(self.kernels, self.placed, strict=True):
            x, y, w, h = place.box(kernel)
            if cells[y - self.region.y : y - self.region.y + h, x - self.region.x : x - self.region.x + w].any():
                raise InputError("stands on a dead core", code="illegal-placement", where=kernel.name)

    def _claim_internal(self) -> None:
        region = self.region
        for kernel, place in zip(self.kernels, self.placed, strict=True):
            for internal in kernel.colours:
                x, y, w, h, colour, _, outputs = place.route(kernel, internal)
                cells = (region.cell(x, y) + np.arange(h)[:, None] * region.width + np.arange(w)).ravel()
                if colour >= self.colours or (self.owner[colour, cells] != FREE).any():
                    message = f"internal colour {colour} is not there or used twice at one router"
                    raise floorplan.FloorplanError(message, kernel.name)
                self.owner[colour, cells] = FIXED
                self.used[cells] += 1
                self._add_load(cells, np.full(len(cells), outputs, np.uint8), internal.words)

    def _add_load(self, cells: Array, outputs: Array, words: int) -> None:
        for direction in range(4):
            self.load[direction, cells[(outputs >> direction & 1) == 1]] += words

    # The main loop

    def run(self, progress: Callable[[int, int], None] | None) -> None:
        """Route all nets as bundles, those that fail before what is around them; what is left then lane by lane."""
        total = len(self.wanted)

        def tell() -> None:
            if progress:
                progress(len(self.trees), total)

        left = self._bundles(self.lanes_of, tell)
        for number in range(ROUNDS):
            if len(left) <= (FEW if number >= PATIENCE else 0):
                break
            left = self._again(sorted({self.wanted[index].net for index in left}), tell)
        queue = deque(left)
        while queue:
            queue.extendleft(reversed(self._single(queue.popleft())))
            tell()

    def _bundles(self, nets: Iterable[int], tell: Callable[[], None]) -> list[int]:
        """Route whole nets, those that failed most often first, then long ones; the lanes that found no way."""
        left = []
        for net in sorted(nets, key=self._urgency):
            left += self._alike(self.lanes_of[net])
            tell()
        return sorted({index for index in left if index not in self.trees})

    def _again(self, nets: list[int], tell: Callable[[], None]) -> list[int]:
        """Route nets that failed before all others around them; the lanes that found no way this time."""
        self.failed.update(nets)
        near = set(nets).union(*(self._around(net) for net in nets))
        for net in near:
            for index in self.lanes_of[net]:
                if index in self.trees:
                    self._tear(index)
        return self._bundles(near, tell)

    def _around(self, net: int) -> set[int]:
        """Nets that cross the rectangle a net lies in."""
        cells = np.concatenate([self.wanted[index].reserved for index in self.lanes_of[net]])
        x, y = cells % self.region.width, cells // self.region.width
        rows = slice(max(0, int(y.min()) - AROUND), int(y.max()) + AROUND + 1)
        columns = slice(max(0, int(x.min()) - AROUND), int(x.max()) + AROUND + 1)
        owners = self.owner.reshape(self.colours, self.region.height, -1)[:, rows, columns]
        return {self.wanted[index].net for index in np.unique(owners[owners >= 0]).tolist()}

    def _urgency(self, net: int) -> tuple[int, int, int, int]:
        lanes = [self.wanted[lane] for lane in self.lanes_of[net]]
        large = max(len(lane.reserved) for lane in lanes) > LARGE
        return -large, -self.failed[net], -max(lane.distance for lane in lanes), net

    def _single(self, index: int) -> list[int]:
        """Route a lane by itself; the lanes torn out for it."""
        torn: list[int] = []
        tree = self._best_tree(index)
        if tree is None:
            torn, tree = self._force(index)
        self._commit(index, tree)
        return torn + self._relieve(index, tree)

    def _alike(self, lanes: Sequence[int]) -> list[int]:
        """Route the lanes of a net in one style, what is left in another and so on; those without a path afterwards."""
        left, torn = list(lanes), list[int]()
        if len(self.wanted[left[0]].reserved) > LARGE:
            return self._alone(left)
        while left:
            tried, left = left, []
            channels = [self.wanted[index] for index in tried]
            trunks = self.bundles.route(channels, self.taken, self.load, self.crowded[self.used])
            for index, trunk in zip(tried, trunks, strict=True):
                if trunk.colour < 0:
                    left.append(index)
                else:
                    tree = self._grow(trunk)
                    self._commit(index, tree)
                    torn += self._relieve(index, tree)
            if len(left) == len(tried):
                break
        if self.failed[self.wanted[lanes[0]].net] > 1:  # going first did not help: no style does
            left = self._alone(left)
        return left + torn

    def _alone(self, lanes: Sequence[int]) -> list[int]:
        """Route lanes one by one without touching others; those that find no way so."""
        left = []
        for index in lanes:
            tree = self._best_tree(index)
            if tree is None:
                left.append(index)
            else:
                self._commit(index, tree)
                left += self._relieve(index, tree)
        return left

    def _grow(self, trunk: Trunk) -> Routed:
        """The tree along given paths to each tap."""
        grown, scratch, region = Grown(trunk.channel), self.scratch, self.region
        for tap, path in zip(trunk.channel.taps, trunk.paths, strict=True):
            scratch.now += 1
            scratch.member[tap.cells] = scratch.now
            reached = np.full(len(path), -1, np.int8)
            step = np.diff(path)
            reached[1:] = np.where(step == 1, 1, np.where(step == -1, 3, np.where(step > 0, 2, 0)))
            into = bit(OPPOSITE[int(reached[-1])]) if len(path) > 1 else 0
            spread = flood(
                region.width, region.cells, tap.cells, int(path[-1]), into, tap.outputs, scratch.stamp, scratch.member,
                scratch.now,
            )  # fmt: skip
            grown.add(path, reached, spread, tap.sink)
        return grown.tree(trunk.colour, 0)

    def _best_tree(self, index: int) -> Routed | None:
        """A legal tree: of the first colour near the ideal, else of the first within a detour."""
        channel = self.wanted[index]
        legal = [k for k in self._colour_order(index) if (self.owner[k, channel.reserved] == FREE).all()]
        if len(channel.taps) == 1 and legal:
            tree = self._tree(index, legal[0], self.owner[legal[0]], 0, HOP * channel.distance * 5 // 4 + SLACK)
            if tree:
                return tree
        legal = [colour for colour in legal if self._is_open(index, colour)]
        ideal = self._tree(index, FREE, self.blank, 0, NO_LIMIT) if legal else None
        if ideal is None:
            return None
        for colour in legal:
            tree = self._tree(index, colour, self.owner[colour], 0, ideal.cost + SLACK)
            if tree:
                return tree
        for factor, divisor, more in DETOURS:
            for colour in legal:
                tree = self._tree(index, colour, self.owner[colour], 0, ideal.cost * factor // divisor + more)
                if tree:
                    return tree
        return None

    def _is_open(self, index: int, colour: int) -> bool:
        """Whether a legal tree in a colour can be, however long: every tap is reached from something else of it."""
        channel, scratch, region = self.wanted[index], self.scratch, self.region
        for tap in channel.taps:
            scratch.now += 1
            others = [other.cells for other in channel.taps if other is not tap]
            if not connected(
                region.width, region.cells, np.concatenate([[channel.source], *others]), tap.cells,
                self.owner[colour], self.load, channel.words, self.capacity, scratch.stamp, scratch.queues, scratch.now,
            ):  # fmt: skip
                return False
        return True

    def _colour_order(self, index: int) -> list[int]:
        """The colour of the lane before first: bundles keep one colour where they can."""
        before = self.trees.get(index - 1)
        first = [before.colour] if before else []
        return first + [k for k in range(self.colours) if k not in first]

    def _force(self, index: int) -> tuple[list[int], Routed]:
        """The tree with the cheapest conflicts, after tearing out the channels whose colour it takes."""
        channel = self.wanted[index]
        best, limit = None, NO_LIMIT
        for colour in range(self.colours):
            owners = self.owner[colour, channel.reserved]
            if (owners == FIXED).any():
                continue
            rivals = np.unique(owners[owners != FREE])
            extra = sum(PENALTY + TOLL * self.tears[int(rival)] for rival in rivals)
            tree = self._tree(index, colour, self.owner[colour], PENALTY, limit - extra)
            if tree:
                best, limit = tree, tree.cost + extra - 1
        if best is None:
            raise self._failure(index, "no colour is free of the kernels' own routes, or no link has room")
        cells = best.cells
        owners = self.owner[best.colour, cells]
        self.toll[best.colour, cells[owners != FREE]] += TOLL
        torn = [int(rival) for rival in np.unique(owners[owners != FREE])]
        for rival in torn:
            self._evict(rival, index)
        return torn, best

    def _relieve(self, index: int, tree: Routed) -> list[int]:
        """Tear other channels out of the links that this one overloads, the heaviest first. Returns them."""
        torn: list[int] = []
        for direction in range(4):
            cells = tree.cells[(tree.outputs >> direction & 1) == 1]
            for cell in cells[self.load[direction, cells] > self.capacity].tolist():
                if 0 <= cell + self.region.step(direction) < self.region.cells:
                    self.toll[:, cell + self.region.step(direction)] += TOLL
                torn.extend(self._unload(cell, direction, index))
        return torn

    def _unload(self, cell: int, direction: int, index: int) -> list[int]:
        rivals = {int(i) for i in self.owner[:, cell] if i >= 0 and i != index}
        on_link = [i for i in rivals if self._sends(i, cell, direction)]
        torn = []
        for rival in sorted(on_link, key=lambda i: (-self.wanted[i].words, self.tears[i], i)):
            if self.load[direction, cell] <= self.capacity:
                break
            self._evict(rival, index)
            torn.append(rival)
        return torn

    def _sends(self, index: int, cell: int, direction: int) -> bool:
        """Does a routed channel leave router `cell` by `direction`?"""
        tree = self.trees[index]
        return bool((tree.outputs[tree.cells == cell] >> direction & 1).any())

    # Trees

    def _tree(self, index: int, colour: int, owner: Array, penalty: int, limit: int) -> Routed | None:
        """A tree for a channel in one colour, whose owners by cell are `owner`; None if its cost exceeds `limit`."""
        channel = self.wanted[index]
        grown = Grown(channel)
        changed = [(channel.reserved, owner[channel.reserved])]
        owner[channel.reserved] = index
        cost = 0
        for tap in channel.taps:
            step, path = self._connect(index, tap, grown, owner, colour, penalty, limit - cost)
            if step < 0:
                cost = -1
                break
            cost += step
            changed.append((path, owner[path]))
            owner[path] = index
        for cells, before in reversed(changed):
            owner[cells] = before
        return grown.tree(colour, cost) if cost >= 0 else None

    def _connect(
        self, index: int, tap: Tap, grown: Grown, owner: Array, colour: int, penalty: int, limit: int
    ) -> tuple[int, Array]:
        """Add the cheapest path from the tree to one tap, and the tap; its cost, or -1, and the path's routers."""
        channel, scratch, region = self.wanted[index], self.scratch, self.region
        toll = self.no_toll if colour == FREE else self.toll[colour]
        scratch.now += 1
        cost, entry = search(
            region.width, region.cells, grown.cells, tap.cells, tap.bounds, index, owner,
            toll, self.used, self.crowd, self.load, self.base, channel.words, self.capacity, penalty,
            limit, scratch.distance, scratch.stamp, scratch.member, scratch.parent, scratch.now,
        )  # fmt: skip
        if cost < 0:
            return -1, tap.cells
        path, reached = trace(region.width, entry, scratch.parent)
        into = bit(OPPOSITE[int(reached[-1])]) if len(path) > 1 else 0
        spread = flood(
            region.width, region.cells, tap.cells, entry, into, tap.outputs, scratch.stamp, scratch.member, scratch.now
        )
        grown.add(path, reached, spread, tap.sink)
        return int(cost), path

    def _commit(self, index: int, tree: Routed) -> None:
        self.owner[tree.colour, tree.cells] = index
        self.taken[tree.cells] |= 1 << tree.colour
        self.used[tree.cells] += 1
        self._add_load(tree.cells, tree.outputs, self.wanted[index].words)
        self.trees[index] = tree

    def _evict(self, index: int, by: int) -> None:
        """Take a channel out in favour of another."""
        self.tears[index] += 1
        if self.tears[index] > TEAR_LIMIT:
            raise self._failure(index, f"torn out {TEAR_LIMIT} times, last by {self._name(by)}")
        self._tear(index)

    def _tear(self, index: int) -> None:
        """Take a channel out."""
        tree = self.trees.pop(index)
        self.owner[tree.colour, tree.cells] = FREE
        self.taken[tree.cells] &= ~(1 << tree.colour)
        self.used[tree.cells] -= 1
        self._add_load(tree.cells, tree.outputs, -self.wanted[index].words)

    # Results

    def channel(self, index: int) -> Channel:
        """A routed channel."""
        channel, tree, region = self.wanted[index], self.trees[index], self.region
        order = np.argsort(tree.cells)
        cells = tree.cells[order]
        x, y = region.x + cells % region.width, region.y + cells // region.width
        hops = zip(x.tolist(), y.tolist(), tree.inputs[order].tolist(), tree.outputs[order].tolist(), strict=True)
        return Channel(channel.net, channel.lane, tree.colour, tuple(hops), tree.length, tree.reach)

    def stats(self) -> RouteStats:
        crowded = int(self.used.argmax())
        direction, loaded = (int(i) for i in np.unravel_index(self.load.argmax(), self.load.shape))
        counts = np.bincount(self.used[self.used > 0])
        return RouteStats(
            channels=len(self.wanted),
            hops=sum(tree.length for tree in self.trees.values()),
            max_colours=int(self.used[crowded]),
            max_colours_at=self.region.at(crowded),
            histogram={n: int(count) for n, count in enumerate(counts) if count},
            max_load=int(self.load[direction, loaded]),
            max_load_at=(*self.region.at(loaded), DIRECTION_NAMES[direction]),
            torn=sum(self.tears.values()),
        )

    # Messages

    def _name(self, index: int) -> str:
        channel = self.wanted[index]
        return f"{self.nets[channel.net].name} lane {channel.lane}"

    def _where(self, cell: int) -> str:
        x, y = self.region.at(cell)
        return f"router ({x}, {y})"

    def _failure(self, index: int, reason: str) -> WsecError:
        channel = self.wanted[index]
        net = self.nets[channel.net]
        crowded = int(channel.reserved[self.used[channel.reserved].argmax()])
        ends = ", ".join(self.kernels[sink].name for sink, _ in net.sinks)
        owners = self.owner[:, channel.reserved]
        free = np.flatnonzero(((owners == FREE) | (owners == index)).all(axis=1)).tolist()
        message = (
            f"no route from {self.kernels[net.source[0]].name} to {ends}: {reason}; colours free at its ends: "
            f"{free or 'none'}; most crowded of its ends: {self._where(crowded)} with {self.used[crowded]} of "
            f"{self.colours} colours"
        )
        hint = "place with a larger --margin, or use fewer lanes"
        return LimitError(message, code="no-route", where=self._name(index), hint=hint)
