"""matvec: y = x W (+ bias), then an optional activation.

Core (r, c) keeps tile W[r, c]. Row r hears the lanes of x that hold its features, and every core accumulates
`for k: y += x[k] * W[k, :]`; the partial sums go down each column in fp32, top to bottom, and the bottom core, which
starts from the bias, sends column c's block of y south. So columns are the lanes of y, while rows need not be the lanes
of x: a row takes whole lanes and keeps what it wants.

A lane that ran along its whole row would have to cross the rows of other lanes on its way, and need another colour than
all of them. So one core of each row, its *entry*, may hear the lanes and send the row's block on to the others on a
colour of the row's own: lanes are wires between two cores then, at the price of sending k words more on that core.
Entries are at the west edge, for lanes that come from there, or on the diagonal, for lanes that come from the north.

An activation costs some 60 cycles an element; `finishers` more
cores below each column share it out. Columns may gather their outputs from several weights (`groups`), which is how the
heads' q, k and v come to lie side by side.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from compiler.floorplan import InternalRoute, Lane
from compiler.kernels.base import (
    BROADCAST_COLOUR,
    BROADCAST_IN,
    BROADCAST_OUT,
    CHAIN_IN,
    CHAIN_OUT,
    LANE_QUEUES,
    STREAM_OUT,
    ZEROS,
    Binding,
    Kernel,
    Rect,
    Weight,
    begun,
    chain_bindings,
    chain_south,
    hop,
    region_address,
    vector,
)
from compiler.kernels.builder import UNROLL, UNROLLED, Array, CoreBuilder
from compiler.kernels.tile import TileLayout
from runtime.geometry import EAST, RAMP, WEST, bit
from runtime.image import Init
from runtime.isa import Dtype, Mem, Program
from runtime.stream import Blocks
from runtime.target import Target
from runtime.timing import burst


@dataclass(frozen=True)
class Group:
    """A run of output features: columns [start, start + n) of `weight`, spread evenly (or ragged) over the lanes."""

    weight: Weight
    bias: str | None
    start: int
    n: int


@dataclass(frozen=True)
class Share:
    """What a row takes of one lane of x: of its words it drops `before`, keeps `kept`, drops `after`."""

    queue: int
    start: int  # where the kept words go in the row's block
    before: int
    kept: int
    after: int


@dataclass(frozen=True)
class Role:
    """Place in the column's chain, the lanes the row hears in the order it takes them, and the size of the tile."""

    first: bool
    bottom: bool  # of the tiles: starts from the bias
    last: bool  # of all: sends y
    shares: tuple[Share, ...]
    k: int
    n: tuple[int, ...]  # per group
    relays: bool = False  # sends its block on to the row


@dataclass(frozen=True)
class Finisher:
    """Below the tiles: applies the activation to elements [start, end) of the column's n and passes all on."""

    last: bool
    start: int
    end: int
    n: int


@dataclass(frozen=True)
class Matvec(Kernel):
    """`tiles` rows over x (0: one per lane), one column per lane of `y`; several groups share out over the lanes.

    With `finishers` = 0 the bottom core of a column applies the activation itself.
    """

    kind = "matvec"
    groups: tuple[Group, ...]
    weight_columns: tuple[int, ...]  # total columns of each group's weight matrix
    x: Blocks
    y: Blocks
    activation: str
    storage: Dtype
    tiles: int = 0
    finishers: int = 0
    entry: str = ""  # edge, diagonal, or none: lanes run along the rows

    @cached_property
    def slices(self) -> Blocks:
        """How x lies on the rows of tiles."""
        return Blocks.over(self.x.features, self.tiles or self.x.lanes)

    @property
    def rows(self) -> int:
        return self.slices.lanes + self.finishers

    @property
    def cols(self) -> int:
        return self.y.lanes

    def inputs(self) -> dict[str, tuple[Lane, ...]]:
        lanes = []
        for lane in range(self.x.lanes):
            first = self.x.start(lane) // self.slices.block
            last = (self.x.start(lane) + self.x.size(lane) - 1) // self.slices.block
            if self._relayed:
                hears = tuple((self._entry(r), r, 1, 1) for r in range(first, last + 1))
                lanes.append(Lane(self._entry(first), first, hears))
            else:
                lanes.append(Lane(0, first, ((0, first, self.cols, last - first + 1),)))
        return {"x": tuple(lanes)}

    @property
    def _relayed(self) -> bool:
        return bool(self.entry) and self.cols > 1

    def relay(self, r: int) -> int | None:
        """The column of the core that sends row r's block on to the others, if one does."""
        return self._entry(r) if self._relayed and r < self.slices.lanes else None

    def _entry(self, r: int) -> int:
        """The column where row r hears its lanes."""
        if self.entry == "edge":
            return 0
        return (2 * r + 1) * self.cols // (2 * self.slices.lanes)

    def outputs(self) -> dict[str, tuple[Lane, ...]]:
        return {"y": tuple(Lane(c, self.rows - 1) for c in range(self.cols))}

    def lane_queue(self, port: str, lane: int) -> int:
        """Lanes that one row hears are neighbours, so their queues differ."""
        return LANE_QUEUES[lane % self.most_lanes] if port == "x" else STREAM_OUT

    @cached_property
    def most_lanes(self) -> int:
        """The most lanes of x that one row hears."""
        starts = np.arange(self.slices.lanes) * self.slices.block
        ends = np.minimum(starts + self.slices.block, self.x.features)
        return int(((ends - 1) // self.x.block - starts // self.x.block).max()) + 1

    def _heard(self, r: int) -> range:
        """Lanes of x that hold features of row r."""
        start, end = self.slices.start(r), self.slices.start(r) + self.slices.size(r)
        return range(start // self.x.block, (end - 1) // self.x.block + 1)

    def _shares(self, r: int) -> tuple[Share, ...]:
        """Even lanes first: a lane that two rows hear is then the first or the last of both, or rows would wait in
        turn for one another and a token would take as long as all of x."""
        start, end = self.slices.start(r), self.slices.start(r) + self.slices.size(r)
        shares = []
        for lane in sorted(self._heard(r), key=lambda lane: (lane % 2, lane)):
            low, high = self.x.start(lane), self.x.start(lane) + self.x.size(lane)
            kept = min(high, end) - max(low, start)
            at = max(low - start, 0)
            shares.append(Share(self.lane_queue("x", lane), at, max(start - low, 0), kept, max(high - end, 0)))
        return tuple(shares)

    def routes(self) -> tuple[InternalRoute, ...]:
        return (*chain_south(self.rows, self.cols, 1 + self.y.block), *(self._row_routes() if self._relayed else ()))

    def _row_routes(self) -> tuple[InternalRoute, ...]:
        """Along every row of tiles, from its entry to both sides."""
        routes, colour, end, words = [], BROADCAST_COLOUR, self.cols - 1, 1 + self.slices.block
        if self.entry == "edge":
            return self._edge_routes()
        for r in range(self.slices.lanes):
            entry = self._entry(r)
            sides = (bit(WEST) if entry else 0) | (bit(EAST) if entry < end else 0)
            routes.append(InternalRoute(entry, r, 1, 1, colour, bit(RAMP), sides, words))
            for first, last, inward, outward in ((1, entry - 1, EAST, WEST), (entry + 1, end - 1, WEST, EAST)):
                if last >= first:
                    onward = bit(RAMP) | bit(outward)
                    routes.append(InternalRoute(first, r, last - first + 1, 1, colour, bit(inward), onward, words))
            if entry:
                routes.append(InternalRoute(0, r, 1, 1, colour, bit(EAST), bit(RAMP)))
            if entry < end:
                routes.append(InternalRoute(end, r, 1, 1, colour, bit(WEST), bit(RAMP)))
        return tuple(routes)

    def _edge_routes(self) -> tuple[InternalRoute, ...]:
        """The same with all entries in the first column."""
        colour, end, rows, words = BROADCAST_COLOUR, self.cols - 1, self.slices.lanes, 1 + self.slices.block
        first = InternalRoute(0, 0, 1, rows, colour, bit(RAMP), bit(EAST), words)
        last = InternalRoute(end, 0, 1, rows, colour, bit(WEST), bit(RAMP))
        between = InternalRoute(1, 0, end - 1, rows, colour, bit(WEST), bit(RAMP) | bit(EAST), words)
        return (first, between, last) if end > 1 else (first, last)

    def bindings(self, r: int, c: int) -> tuple[Binding, ...]:
        bound = chain_bindings(r, self.rows)
        if not self._relayed or r >= self.slices.lanes:
            return bound
        if c == self._entry(r):
            return (*bound, Binding("out", BROADCAST_OUT, BROADCAST_COLOUR))
        return (*bound, Binding("in", BROADCAST_IN, BROADCAST_COLOUR))

    def cuts(self, r: int) -> Sequence[int]:
        if not self._relayed or r >= self.slices.lanes:
            return self._width_cuts
        entry = self._entry(r)
        return sorted({*self._width_cuts, entry, min(entry + 1, self.cols - 1)})

    @cached_property
    def _width_cuts(self) -> tuple[int, ...]:
        widths = [tuple(blocks.size(c) for blocks in self.group_blocks) for c in range(self.cols)]
        return (0, *(c for c in range(1, self.cols) if widths[c] != widths[c - 1]))

    def role(self, r: int, c: int) -> Hashable:
        widths = tuple(blocks.size(c) for blocks in self.group_blocks)
        tiles = self.slices.lanes
        if r >= tiles:
            parts = Blocks.over(sum(widths), self.finishers)
            start, n = min(sum(widths), parts.start(r - tiles)), sum(widths)
            return Finisher(r == self.rows - 1, start, min(n, start + parts.block), n)
        bottom, k, relays = r == tiles - 1, self.slices.size(r), self._relayed and c == self._entry(r)
        hears = (Share(BROADCAST_IN, 0, 0, k, 0),) if self._relayed and not relays else self._shares(r)
        return Role(r == 0, bottom, bottom and not self.finishers, hears, k, widths, relays)

    def program(self, role: Role | Finisher) -> Program:
        return self._finisher(role) if isinstance(role, Finisher) else self._tile_program(role)

    @lru_cache(maxsize=64)  # noqa: B019 - kernels are small and frozen
    def _tile_program(self, role: Role) -> Program:
        n = sum(role.n)
        ends = ("first." if role.first else "") + ("last." if role.bottom else "")
        b = CoreBuilder(f"matvec.{ends}k{role.k}.n{n}")
        header = b.scalar("header", Dtype.I32)
        x = b.array("x", "buffer", self.storage, role.k)
        y = b.array("y", "buffer", Dtype.F32, n)
        layout = TileLayout.of(self.storage, role.k, n)
        w = b.array("w", "weights", self.storage, layout.elements, apart=y.address)
        bias = b.array("bias", "weights", Dtype.F32, n) if role.bottom and self.has_bias else None
        b.name_queues(
            {share.queue: "x" for share in role.shares} | ({} if role.first else {CHAIN_IN: "partial"}),
            ({STREAM_OUT: "y"} if role.last else {CHAIN_OUT: "partial"})
            | ({BROADCAST_OUT: "row"} if role.relays else {}),
        )
        with b.task():
            self._take(b, role, header, x)
            if role.relays:
                b.mov(b.put(BROADCAST_OUT, 1, Dtype.I32), header)
                b.mov(b.put(BROADCAST_OUT, role.k), x.all)
            if bias is not None:
                b.mov(y.all, bias.all)
            else:
                b.fill(y.all, 0.0)
            b.fmac_rows(y.all, x, w, layout)
            self._pass_on(b, role, header, y)
        return b.program()

    @staticmethod
    def _take(b: CoreBuilder, role: Role, header: Mem, x: Array) -> None:
        """The row's block of x, lane by lane; dropped words overwrite each other in one."""
        dropped = b.scalar("dropped") if any(share.before or share.after for share in role.shares) else None
        for share in role.shares:
            b.mov(header, b.take(share.queue, 1, Dtype.I32))
            for count, at in ((share.before, None), (share.kept, share.start), (share.after, None)):
                if count and at is not None:
                    b.mov(x.part(at, count), b.take(share.queue, count))
                elif count:
                    assert dropped is not None
                    b.mov(Mem(dropped.address, Dtype.F32, count, 0), b.take(share.queue, count))

    def _pass_on(self, b: CoreBuilder, role: Role, header: Mem, y: Array) -> None:
        """Add what came from above and send it on; the bottom row of tiles sends the header before it."""
        out = STREAM_OUT if role.last else CHAIN_OUT
        if role.last and self.activation:
            if not role.first:
                b.binary("add", y.all, y.all, b.take(CHAIN_IN, y.count))
            b.map(self.activation, y.all, y.all)
        if role.bottom:
            b.mov(b.put(out, 1, Dtype.I32), header)
        if role.first or (role.last and self.activation):
            b.mov(b.put(out, y.count), y.all)
        else:
            b.binary("add", b.put(out, y.count), y.all, b.take(CHAIN_IN, y.count))

    @lru_cache(maxsize=16)  # noqa: B019 - kernels are small and frozen
    def _finisher(self, role: Finisher) -> Program:
        out = STREAM_OUT if role.last else CHAIN_OUT
        b = CoreBuilder(f"matvec.{self.activation}{'.last' if role.last else ''}.{role.start}-{role.end}of{role.n}")
        header = b.scalar("header", Dtype.I32)
        y = b.array("y", "buffer", Dtype.F32, role.n)
        b.name_queues({CHAIN_IN: "sums"}, {out: "y" if role.last else "sums"})
        with b.task():
            b.mov(header, b.take(CHAIN_IN, 1, Dtype.I32))
            b.mov(y.all, b.take(CHAIN_IN, role.n))
            if role.end > role.start:
                own = y.part(role.start, role.end - role.start)
                b.map(self.activation, own, own)
            b.mov(b.put(out, 1, Dtype.I32), header)
            b.mov(b.put(out, role.n), y.all)
        return b.program()

    @property
    def has_bias(self) -> bool:
        return any(group.bias is not None for group in self.groups)

    def inits(self, role: Role | Finisher, rect: Rect, program: Program) -> Iterator[Init]:
        if isinstance(role, Finisher):
            return
        w, k, tile = region_address(program, "w"), self.x.features, self.slices.block
        memory, column, size = TileLayout.of(self.storage, role.k, sum(role.n)), 0, self.storage.size
        shares = zip(self.groups, self.group_blocks, role.n, self.weight_columns, strict=True)
        for group, blocks, width, total in shares:
            start, per_row, per_col, down, across = group.start, tile * total, blocks.block, total, 1
            if group.weight.transposed:
                start, per_row, per_col, down, across = group.start * k, tile, blocks.block * k, 1, k
            for turn in range(memory.step):
                address = w + (memory.start(turn) + column * memory.step) * size
                yield Init(
                    0, rect.rows, rect.cols, address, self.storage.value, memory.pitch, memory.step,
                    (memory.rows_in_turn(turn), width), group.weight.name, start + turn * down, per_row, per_col,
                    (memory.step * down, across),
                )  # fmt: skip
            if role.bottom and self.has_bias:
                name, per, step = (group.bias, blocks.block, 1) if group.bias is not None else (ZEROS, 0, 0)
                address = region_address(program, "bias") + column * Dtype.F32.size
                start = group.start if group.bias is not None else 0
                yield Init(
                    0, rect.rows, rect.cols, address, "f32", width, 1, (1, width), name, start, 0, per, (0, step)
                )
            column += width
        for start, runs, count, step in memory.padding():
            yield Init(
                0, rect.rows, rect.cols, w + start * size, self.storage.value, memory.pitch, step, (runs, count),
                ZEROS, 0, 0, 0, (0, 0),
            )  # fmt: skip

    @property
    def turned(self) -> bool | None:
        """Lanes come along the way of the strip: to the edge with rows across, to the diagonal with columns across."""
        return {"edge": True, "diagonal": False}.get(self.entry)

    def telling_roles(self) -> Iterable[Hashable]:
        """The core with the longest code or the most words to take, one at the bottom with the bias, a finisher."""
        tiles = self.slices.lanes
        most_code, most_words = (int(np.argmax(self._rows_taking(*weights))) for weights in ((1, 0), (7, 1)))
        rows = {0, min(1, self.rows - 1), most_code, most_words, tiles - 1, self.rows - 1}
        cores = {(r, 0) for r in rows} | {(r, self._entry(r)) for r in rows if self._relayed and r < tiles}
        return dict.fromkeys(self.role(r, c) for r, c in sorted(cores))

    def interval(self, target: Target) -> int:
        """What `runtime.timing.core_interval` finds for the busiest program, without writing it: sizing asks often."""
        n, overhead = self.y.block, target.vector_overhead_cycles
        last = self.activation and not self.finishers
        work = target.activation_cycles + int(self._rows_taking(overhead, 1).max()) + self._tile_cycles(target)
        work += overhead + -(-n // target.simd_f32)  # y starts from zero, or from the bias
        work += 2 * overhead + 1 + n  # the header, and the sums in and out
        if last:
            work += 2 * overhead + n + target.routine_cycles * n
        if not self.finishers:
            return work
        own = Blocks.over(n, self.finishers).block
        return max(work, target.activation_cycles + 5 * overhead + 2 * (1 + n) + target.routine_cycles * own)

    def _tile_cycles(self, target: Target) -> int:
        """Of the products of one core; see `CoreBuilder.fmac_rows`."""
        k, n, size, banks = self.slices.block, self.y.block, self.storage.size // 2, target.memory_banks
        layout = TileLayout.of(self.storage, k, n)
        rate = target.fmac_per_cycle_f16 if self.storage is Dtype.F16 else target.fmac_per_cycle_f32
        width = min(int(rate), 4)
        rows, period = 0, layout.step * banks // math.gcd(layout.pitch * size, banks)
        for phase in range(min(period, k)):
            first = banks // 2 + layout.start(phase) * size  # y lies half a round of banks away
            weights = (size, first, layout.step * size)
            rows += burst(((2, 0, 2), weights), width, n, banks) * len(range(phase, k, period))
        rounds = 0 if k <= UNROLLED else k // UNROLL
        simd = target.simd_f16 if self.storage is Dtype.F16 else target.simd_f32
        copy = target.vector_overhead_cycles + target.index_cycles + -(-UNROLL // simd)
        around = rounds * (copy + UNROLL * target.index_cycles + target.branch_cycles) + (rounds > 0)
        return rows + k * target.vector_overhead_cycles + around

    def layer_cycles(self, target: Target) -> int:
        """Every row written out has its address from the layer, and so has the bias; rows of a loop share one, computed
        anew in every round."""
        k = self.slices.block
        rounds = 0 if k <= UNROLLED else k // UNROLL
        direct = k - rounds * UNROLL + self.has_bias
        return direct * target.index_cycles + rounds * 2 * target.scalar_cycles

    def row_cycles(self, target: Target) -> float:
        """Cycles of a core for one row of its tile, more or less."""
        rate = target.fmac_per_cycle_f16 if self.storage is Dtype.F16 else target.fmac_per_cycle_f32
        return target.vector_overhead_cycles + self.y.block / rate + 1

    def _rows_taking(self, overhead: int, word: int) -> npt.NDArray[np.int64]:
        """By row, the cost of taking its lanes and of relaying, at `overhead` an instruction and `word` a word."""
        block, features = self.x.block, self.x.features
        start = np.arange(self.slices.lanes, dtype=np.int64) * self.slices.block
        end = np.minimum(start + self.slices.block, features)
        first, last = start // block, (end - 1) // block
        before, after = start - first * block, np.minimum((last + 1) * block, features) - end
        lanes = last - first + 1
        instructions = 2 * lanes + (before > 0) + (after > 0)
        words = lanes + (end - start) + before + after
        if self._relayed:
            instructions, words = instructions + 2, words + 1 + end - start
        return np.asarray(instructions * overhead + words * word)

    def latency(self, target: Target) -> int:
        n = self.y.block
        chain = (self.slices.lanes - 1) * (hop(target) + 1) - begun(target)
        finishing = self.finishers * (2 * vector(n, target) + vector(1, target) + hop(target))
        if self.finishers:
            finishing += vector(target.routine_cycles * n, target)
        return self.interval(target) + self.cols * target.hop_cycles + chain + finishing

    @cached_property
    def group_blocks(self) -> tuple[Blocks, ...]:
        """Each group's share of the lanes' blocks."""
        return tuple(Blocks(group.n, self.y.block * group.n // self.y.features) for group in self.groups)
