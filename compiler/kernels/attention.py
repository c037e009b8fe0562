"""attention: causal multi-head attention with its KV cache on the cores.

1 + `spread` cores, neighbours along a row or over whole rows of the rectangle, are one head. The first, the *feeder*,
hears its token (q, k, v side by side, on one lane or cut into `pieces` lanes) and sends it on to the others, so that
lanes are wires between two cores and need not cross those of other heads. The key and value of the token at position t
stay on core t mod spread of the others. Every one of them forms the partial (max, sum, out) of its part of the cache
with a softmax shifted by its own maximum; a chain through the head's cores merges the partials (Milakov and Gimelshein
2018), and the last core divides. What the chain wants is tasks of their own, with room for a few tokens before them:
all cores hear a token at once, and one that could not take the next token before the chain has come to it, or only
slowly while it does, would hold up all. How many entries count follows from the position in the header, so a sequence
needs no reset and the same program does prefill and decode.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from compiler.floorplan import InternalRoute, Lane
from compiler.kernels.base import (
    BROADCAST_COLOUR,
    BROADCAST_IN,
    BROADCAST_OUT,
    CHAIN_COLOURS,
    CHAIN_IN,
    CHAIN_OUT,
    IDLE,
    LANE_QUEUES,
    STREAM_OUT,
    WRAP_COLOURS,
    Binding,
    Kernel,
    Rect,
    chain_east,
    hop,
    region_address,
    tap,
    vector_init,
)
from compiler.kernels.builder import Array, CoreBuilder
from compiler.kernels.tile import TileLayout
from runtime.geometry import EAST, NORTH, RAMP, SOUTH, WEST, bit
from runtime.image import Init
from runtime.isa import Const, Dtype, Mem, Program, Reg
from runtime.stream import MAX_POSITIONS, MAX_SLOTS, POSITION_BITS
from runtime.target import Target
from runtime.timing import task_work

WRITTEN_OUT = 128  # rows of keys whose products are no loop; these cores have room for the code
PASSING = 8  # words between the two tasks that merge
CHAIN_STEP = 24  # cycles, about, of a maximum from one core to the next


@dataclass(frozen=True)
class Role:
    feeder: bool
    first: bool
    last: bool


@dataclass(frozen=True)
class Attention(Kernel):
    """[q, k, v] of `head_dim` each in for every head, head h's output out on lane h.

    `pieces` lanes bring a head's token, each with its share of q, k and v. The rectangle is `columns` wide (0: spread):
    several heads stand side by side in it, or a head fills several rows. `alone`: while a token is on its way through
    the heads, at most the next one comes.
    """

    kind = "attention"
    heads: int
    head_dim: int
    scale: float
    max_seq: int
    slots: int
    spread: int
    storage: Dtype
    pieces: int = 1
    columns: int = 0
    alone: bool = False

    @property
    def _length(self) -> int:
        """Cores of a head, the feeder among them."""
        return 1 + self.spread

    @property
    def cols(self) -> int:
        return self.columns or self._length

    @property
    def rows(self) -> int:
        return -(-self.heads // self._abreast) * self._deep

    @property
    def _abreast(self) -> int:
        """Heads side by side in a row."""
        return max(1, self.cols // self._length)

    @property
    def _deep(self) -> int:
        """Rows a head fills."""
        return max(1, self._length // self.cols)

    @property
    def _width(self) -> int:
        """Columns a head fills."""
        return self._length // self._deep

    @property
    def entries(self) -> int:
        """Cache entries per core and slot."""
        return -(-self.max_seq // self.spread)

    @cached_property
    def _keys(self) -> TileLayout:
        """How the keys of a slot lie: row j has element j of every entry, and of one more, which takes the tokens of
        other cores."""
        return TileLayout.of(self.storage, self.head_dim, self.entries + 1)

    @cached_property
    def _values(self) -> TileLayout:
        """How the values of a slot lie: a row an entry, and one more."""
        return TileLayout.of(self.storage, self.entries + 1, self.head_dim)

    def _corner(self, head: int) -> tuple[int, int]:
        """(col, row) of a head's feeder."""
        return head % self._abreast * self._length, head // self._abreast * self._deep

    def core(self, head: int, place: int) -> tuple[int, int]:
        """(row, col) of one of a head's cores, in the order of the chain; 0 is the feeder."""
        col, row = self._corner(head)
        return row + place // self._width, col + place % self._width

    def inputs(self) -> dict[str, tuple[Lane, ...]]:
        corners = [self._corner(head) for head in range(self.heads) for _ in range(self.pieces)]
        return {"x": tuple(tap(col, row) for col, row in corners)}

    def outputs(self) -> dict[str, tuple[Lane, ...]]:
        corners = [self._corner(head) for head in range(self.heads)]
        return {"y": tuple(Lane(col + self._width - 1, row + self._deep - 1) for col, row in corners)}

    def lane_queue(self, port: str, lane: int) -> int:
        return LANE_QUEUES[lane % self.pieces] if port == "x" else STREAM_OUT

    def routes(self) -> tuple[InternalRoute, ...]:
        if self._deep > 1:
            return (*self._deep_feed(), *self._deep_chain(), *self._wraps())
        full, rest = divmod(self.heads, self._abreast)
        routes: list[InternalRoute] = []
        for place in range(self._abreast):
            rows, west = full + (place < rest), place * self._length
            if rows:
                routes += chain_east(rows, self.spread, (2 + self.head_dim,), 0, west + 1)
                routes.append(self._feed(west, 0, 1, rows, RAMP, EAST))
                routes += self._along(west + 1, 0, self.spread, rows)
        return tuple(routes)

    def _deep_feed(self) -> list[InternalRoute]:
        """From the feeder down the first column, and east along every row."""
        deep, east = self._deep, self.cols - 1
        onward = (EAST,) if east else ()
        routes = list(self._along(1, 0, east, self.rows)) if east else []
        for top in range(0, self.rows, deep):
            routes.append(self._feed(0, top, 1, 1, RAMP, SOUTH, *onward))
            if deep > 2:
                routes.append(self._feed(0, top + 1, 1, deep - 2, NORTH, RAMP, SOUTH, *onward))
            routes.append(self._feed(0, top + deep - 1, 1, 1, NORTH, RAMP, *onward))
        return routes

    def _deep_chain(self) -> list[InternalRoute]:
        """Along all rows, but not from the feeders."""
        if self.cols == 1:
            return []
        words = 2 + self.head_dim
        routes = list(chain_east(self.rows, self.cols - 1, (2 + self.head_dim,), 0, 1)) if self.cols > 2 else []
        for top in range(0, self.rows, self._deep):
            # The first link of a row has the colour that the second has not.
            routes.append(InternalRoute(0, top + 1, 1, self._deep - 1, CHAIN_COLOURS[1], bit(RAMP), bit(EAST), words))
            routes.append(InternalRoute(1, top + 1, 1, self._deep - 1, CHAIN_COLOURS[1], bit(WEST), bit(RAMP)))
        return routes

    def _feed(self, col: int, row: int, cols: int, rows: int, source: int, *sinks: int) -> InternalRoute:
        """The feeder's colour in a box, from one direction to others."""
        outputs, words = sum(bit(sink) for sink in sinks), 1 + 3 * self.head_dim
        return InternalRoute(col, row, cols, rows, BROADCAST_COLOUR, bit(source), outputs, words)

    def _along(self, col: int, row: int, cols: int, rows: int) -> Iterator[InternalRoute]:
        """The feeder's words through a box from west to east, heard by all."""
        if cols > 1:
            yield self._feed(col, row, cols - 1, rows, WEST, RAMP, EAST)
        yield self._feed(col + cols - 1, row, 1, rows, WEST, RAMP)

    def _wraps(self) -> tuple[InternalRoute, ...]:
        """From the east end of each of a head's rows, but the last, down and back to the west end of the next."""
        routes = []
        east, words = self.cols - 1, 2 + self.head_dim
        for r in range(self.rows):
            if r % self._deep == self._deep - 1 or not (east or r % self._deep):
                continue
            colour = WRAP_COLOURS[r % 2]
            routes.append(InternalRoute(east, r, 1, 1, colour, bit(RAMP), bit(SOUTH), words))
            if not east:
                routes.append(InternalRoute(0, r + 1, 1, 1, colour, bit(NORTH), bit(RAMP)))
                continue
            routes.append(InternalRoute(east, r + 1, 1, 1, colour, bit(NORTH), bit(WEST), words))
            if east > 1:
                routes.append(InternalRoute(1, r + 1, east - 1, 1, colour, bit(EAST), bit(WEST), words))
            routes.append(InternalRoute(0, r + 1, 1, 1, colour, bit(EAST), bit(RAMP)))
        return tuple(routes)

    def bindings(self, r: int, c: int) -> tuple[Binding, ...]:
        place = self._place(r, c)
        if place < 0:
            return ()
        if place == 0:
            return (Binding("out", BROADCAST_OUT, BROADCAST_COLOUR),)
        bound = [Binding("in", BROADCAST_IN, BROADCAST_COLOUR)]
        if place > 1:
            bound.append(Binding("in", CHAIN_IN, self._link(r, c, -1)))
        if place < self.spread:
            bound.append(Binding("out", CHAIN_OUT, self._link(r, c, 0)))
        return tuple(bound)

    def _link(self, r: int, c: int, step: int) -> int:
        """The colour of the chain from core (r, c), or with `step` -1 of the chain to it."""
        if self._deep == 1:
            return CHAIN_COLOURS[(c % self._length - 1 + step) % 2]
        if step and c == 0:
            return WRAP_COLOURS[(r - 1) % 2]
        if not step and c == self.cols - 1:
            return WRAP_COLOURS[r % 2]
        return CHAIN_COLOURS[(c - 1 + step) % 2]

    def _place(self, r: int, c: int) -> int:
        """Which of its head's cores this is, the feeder being 0, or -1 if of none."""
        if self._deep > 1:
            return r % self._deep * self.cols + c
        head = r * self._abreast + c // self._length
        return c % self._length if c // self._length < self._abreast and head < self.heads else -1

    def role(self, r: int, c: int) -> Hashable:
        place = self._place(r, c)
        return Role(place == 0, place == 1, place == self.spread) if place >= 0 else IDLE

    @lru_cache(maxsize=8)  # noqa: B019 - kernels are small and frozen
    def program(self, role: Role) -> Program:
        return self._feeder() if role.feeder else self._keeper(role)

    def _feeder(self) -> Program:
        """One header and the pieces, one after another, to all.

        It takes a token off its senders' hands, who have the next to work on, before the head's cores are ready for it.
        """
        part, words = 3 * self.head_dim // self.pieces, 1 + 3 * self.head_dim
        b = CoreBuilder(f"attention.feeder{self.pieces}x{part}")
        dropped = b.scalar("dropped", Dtype.I32) if self.pieces > 1 else None
        held = b.fifo("held", words)
        b.name_queues(dict.fromkeys(LANE_QUEUES[: self.pieces], "x"), {BROADCAST_OUT: "token"})
        with b.task("take"):
            for piece, queue in enumerate(LANE_QUEUES[: self.pieces]):
                if dropped is not None and piece:
                    b.mov(dropped, b.take(queue, 1, Dtype.I32))
                count = part if piece else 1 + part
                b.mov(b.pipe(held, count), b.take(queue, count, Dtype.I32))
        with b.task("send"):
            b.mov(b.put(BROADCAST_OUT, words, Dtype.I32), b.pipe(held, words))
        return b.program()

    def _keeper(self, role: Role) -> Program:
        d, entries, storage = self.head_dim, self.entries, self.storage
        ends = ("first." if role.first else "") + ("last." if role.last else "")
        b = CoreBuilder(f"attention.{ends}d{d}.e{entries}")
        header = b.scalar("header", Dtype.I32)
        place = b.array("place", "constants", Dtype.I32, 1)
        q = b.array("q", "buffer", storage, d)
        score = b.array("score", "buffer", Dtype.F32, entries)
        weight = b.array("weight", "buffer", storage, self._values.count)
        partial = b.array("partial", "buffer", Dtype.F32, 2 + d)  # maximum, sum, out
        # By slot, a tile of one row an element and one of one row an entry.
        keys = b.array("keys", "cache", storage, self.slots * self._keys.elements, apart=score.address)
        out = partial.at(2).address
        values = b.array("values", "cache", storage, self.slots * self._values.elements, apart=out)
        b.name_queues(
            {BROADCAST_IN: "token"} | ({} if role.first else {CHAIN_IN: "partial"}),
            {STREAM_OUT: "y"} if role.last else {CHAIN_OUT: "partial"},
        )
        # What the chain works on: a maximum for the task that scales what comes, header and partial for the other.
        chained, merges = self.spread > 1, not role.first
        maxima = b.fifo("maxima", self.tokens) if merges else 0
        partials = b.fifo("partials", self.tokens * (2 + d + role.last)) if chained else 0
        if merges:
            self._merge(b, role, maxima, partials)
        with b.task("attend"):
            b.mov(header, b.take(BROADCAST_IN, 1, Dtype.I32))
            word = b.load(header)
            slot = b.alu("shr", word, POSITION_BITS) if self.slots > 1 else None
            if slot is not None:
                b.alu("and", slot, MAX_SLOTS - 1, into=slot)
            # Entries of this core at positions up to this one: floor((position - place + P) / P).
            ahead = b.alu("and", word, MAX_POSITIONS - 1)
            b.alu("add", ahead, b.load(place.all), into=ahead)
            count = b.alu("div", ahead, self.spread)
            with b.scratch():
                self._take(b, (ahead, count, slot), q, (keys, values))
            self._attend(b, q, count, slot, (keys, values), (score, weight), partial)
            if merges:
                b.mov(b.pipe(maxima, 1, Dtype.F32), partial.at(0))
            if chained and role.last:
                b.mov(b.pipe(partials, 1), header)
            if chained:
                b.mov(b.pipe(partials, 2 + d, Dtype.F32), partial.all)
            else:
                self._answer(b, header, partial)
        if chained and role.first:
            with b.task("send"):
                b.mov(b.put(CHAIN_OUT, 2 + d), b.pipe(partials, 2 + d, Dtype.F32))
        return b.program()

    @property
    def tokens(self) -> int:
        """Tokens between attending and merging: what comes while the chain passes all cores, and one more.

        They come no faster than a core attends, which takes about 12 cycles an element of the query and as many as a
        value has elements, and some, for every entry.
        """
        if self.alone:
            return 2
        attending = 300 + 12 * self.head_dim + self.entries * (22 + self.head_dim)
        return 2 + self.spread * CHAIN_STEP // attending

    def _answer(self, b: CoreBuilder, header: Mem, partial: Array) -> None:
        """The last core divides by the sum."""
        b.map("reciprocal", partial.at(1), partial.at(1))
        b.mov(b.put(STREAM_OUT, 1, Dtype.I32), header)
        b.binary("mul", b.put(STREAM_OUT, self.head_dim), partial.part(2, self.head_dim), partial.at(1))

    def _take(self, b: CoreBuilder, token: tuple[Reg, Reg, Reg | None], q: Array, cache: tuple[Array, Array]) -> None:
        """The token, piece by piece; its key goes to a column, its value to a row of the cache.

        If its position is another core's, that is the spare entry: what a core takes may not depend on the token.
        """
        (ahead, count, slot), d, spare = token, self.head_dim, self.entries
        entry = b.alu("eq", b.alu("mod", ahead, self.spread), 0)
        with b.scratch():
            b.alu("mul", entry, b.alu("sub", count, spare + 1), into=entry)
        b.alu("add", entry, spare, into=entry)
        column, row = self._column(b, entry, slot), self._row(b, entry, slot)
        part, turns = d // self.pieces, self._keys.step
        key = b.array("key", "buffer", self.storage, d) if turns > 1 else None
        for at in range(0, d, part):
            words = b.take(BROADCAST_IN, part)
            b.binary("mul", q.part(at, part), words, Const(float(np.float32(self.scale))))
            b.mov(self._key(cache[0], column, at, part) if key is None else key.part(at, part), words)
            b.mov(self._value(cache[1], row, at, part), words)
        if key is not None:
            for turn in range(turns):
                rows = self._keys.rows_in_turn(turn)
                b.mov(self._key(cache[0], column, turn, rows), key.part(turn, rows, turns))

    def _column(self, b: CoreBuilder, entry: Reg, slot: Reg | None) -> Reg:
        """Where an entry's column of the keys begins, in elements."""
        layout = self._keys
        at = b.alu("mul", entry, layout.step)
        return at if slot is None else self._in_slot(b, at, slot, layout)

    def _key(self, keys: Array, column: Reg, first: int, rows: int) -> Mem:
        """A column's rows from `first` on that have the same turn in their groups."""
        return keys.row(column, 1, rows, self._keys.start(first), stride=self._keys.pitch)

    def _row(self, b: CoreBuilder, entry: Reg, slot: Reg | None) -> Reg:
        """Where an entry's row of the values begins, in elements."""
        layout = self._values
        at = b.alu("div", entry, layout.step)
        b.alu("mul", at, layout.pitch, into=at)
        with b.scratch():
            b.alu("add", at, b.alu("mod", entry, layout.step), into=at)
        return at if slot is None else self._in_slot(b, at, slot, layout)

    @staticmethod
    def _in_slot(b: CoreBuilder, at: Reg, slot: Reg, layout: TileLayout) -> Reg:
        """The same element of a slot's tile."""
        with b.scratch():
            return b.alu("add", at, b.alu("mul", slot, layout.elements), into=at)

    def _value(self, values: Array, row: Reg, first: int, count: int) -> Mem:
        """Elements of a row of the values from `first` on."""
        step = self._values.step
        return values.row(row, 1, count, step * first, stride=step)

    def _attend(
        self, b: CoreBuilder, q: Array, count: Reg, slot: Reg | None, cache: tuple[Array, Array],
        work: tuple[Array, Array], partial: Array,
    ) -> None:  # fmt: skip
        """partial = (max, sum, out) over this core's first `count` cache entries; (-inf, 0, 0) if there are none."""
        d = self.head_dim
        score, weight = (Mem(array.address, array.dtype, count) for array in work)
        maximum, total, out = partial.at(0), partial.at(1), partial.part(2, d)
        b.fill(score, 0.0)
        if slot is None:
            b.fmac_rows(score, q, cache[0], self._keys, WRITTEN_OUT)
        else:
            with b.scratch():
                self._score_slot(b, score, q, cache[0], slot)
        b.fill(maximum, -math.inf)
        b.reduce("rmax", maximum, score)
        b.binary("sub", score, score, maximum)
        b.map("exp", weight, score)
        b.fill(partial.part(1, 1 + d), 0.0)
        b.reduce("rsum", total, weight)
        self._weigh(b, out, work[1], cache[1], count, slot)

    def _score_slot(self, b: CoreBuilder, score: Mem, q: Array, keys: Array, slot: Reg) -> None:
        """score += q K of one slot's tile."""
        layout = self._keys
        base = b.alu("mul", slot, layout.groups)
        with b.loop(layout.groups) as i:
            group = b.alu("add", base, i)
            for turn in range(layout.step):
                b.fmac(
                    score,
                    q.row(i, layout.step, 1, turn),
                    keys.row(group, layout.pitch, score.extent, turn, stride=layout.step),
                )

    def _weigh(self, b: CoreBuilder, out: Mem, weight: Array, values: Array, count: Reg, slot: Reg | None) -> None:
        """out += weight V over `count` entries, a group of rows a round; the last one, if odd, by itself."""
        layout, d = self._values, self.head_dim
        base = b.alu("mul", slot, layout.groups) if slot is not None else None

        def add(group: Reg, turn: int) -> None:
            row = b.alu("add", base, group) if base is not None else group
            b.fmac(out, weight.row(group, layout.step, 1, turn), values.row(row, layout.pitch, d, turn, layout.step))

        with b.loop(count if layout.step == 1 else b.alu("shr", count, 1)) as i:
            for turn in range(layout.step):
                with b.scratch():
                    add(i, turn)
        if layout.step > 1:
            with b.when(b.alu("and", count, 1)):
                add(b.alu("shr", count, 1), 0)

    def _merge(self, b: CoreBuilder, role: Role, maxima: int, partials: int) -> None:
        """Combine with the partial of the cores before, which is never empty: position 0 lies on core 0.

        The maximum goes on as soon as it comes; sum and out stream through, scaled by one task and added to by the
        other. So a core delays the chain by the maximum's way only. The task at the end is the main thread, which
        issues when nothing else does: while the chain goes from core to core, there is always one that merges, and all
        of them must take the next token's words.
        """
        d = self.head_dim
        scaled = b.fifo("scaled", PASSING)
        with b.task("merge"):
            header2 = b.scalar("header2", Dtype.I32)
            top, factor = b.scalar("top2"), b.scalar("factor2")
            partial = b.array("merged", "buffer", Dtype.F32, 2 + d)
            sums = partial.part(1, 1 + d)
            b.mov(top, b.pipe(scaled, 1, Dtype.F32))
            if role.last:
                b.mov(header2, b.pipe(partials, 1))
            else:
                b.mov(b.put(CHAIN_OUT, 1), top)
            b.mov(factor, b.pipe(partials, 1, Dtype.F32))
            b.binary("sub", factor, factor, top)
            b.map("exp", factor, factor)
            b.binary("mul", sums, b.pipe(partials, 1 + d, Dtype.F32), factor)
            if role.last:
                b.binary("add", sums, sums, b.pipe(scaled, 1 + d, Dtype.F32))
                self._answer(b, header2, partial)
            else:
                b.binary("add", b.put(CHAIN_OUT, 1 + d), sums, b.pipe(scaled, 1 + d, Dtype.F32))
        with b.task("rescale"):
            own, other, top, factor = (b.scalar(name) for name in ("own", "other", "top", "factor"))
            b.mov(own, b.pipe(maxima, 1, Dtype.F32))
            b.mov(other, b.take(CHAIN_IN, 1))
            b.binary("max", b.pipe(scaled, 1, Dtype.F32), own, other)
            b.binary("max", top, own, other)
            b.binary("sub", factor, other, top)
            b.map("exp", factor, factor)
            b.binary("mul", b.pipe(scaled, 1 + d, Dtype.F32), b.take(CHAIN_IN, 1 + d), factor)

    def scalars(self, program: Program) -> Mapping[int, int]:
        """The last position of a sequence, on the first of a head's cores, whose entries are all full then."""
        if not any(region.name == "place" for region in program.regions):
            return {}
        return {region_address(program, "header"): self.max_seq - 1, region_address(program, "place"): self.spread}

    def telling_roles(self) -> Iterable[Hashable]:
        """A feeder, and a head's first core but the feeder, its last, and another."""
        places = (0, 1, min(2, self.spread), self.spread)
        return dict.fromkeys(Role(place == 0, place == 1, place == self.spread) for place in places)

    def inits(self, role: Role, rect: Rect, program: Program) -> Iterator[Init]:
        if not role.feeder:
            yield vector_init(program, "place", Dtype.I32, rect, "place", 1, per_row=self.cols, per_col=1)

    def constants(self) -> Mapping[str, np.ndarray[Any, Any]]:
        """By core, spread minus its place among those that keep the cache."""
        places = [[1 + self.spread - self._place(r, c) for c in range(self.cols)] for r in range(self.rows)]
        return {"place": np.array(places, dtype=np.int32)}

    def latency(self, target: Target) -> int:
        """A token's way to the cores, the work on it, the maximum through the chain, the sums after it."""
        d, overhead = self.head_dim, target.vector_overhead_cycles
        wraps = (self._deep - 1) * self.cols * target.hop_cycles
        part = 3 * d // self.pieces
        feeding = self.pieces * (part + 2 * overhead + 2) + self._length * target.hop_cycles + hop(target)
        if self.spread == 1:
            return self.interval(target) + feeding + wraps
        exp = overhead + target.routine_cycles
        step = hop(target) + 4 + 2 * overhead
        merging = 2 * exp + 2 * overhead + 2 * (1 + d) + overhead + target.divide_cycles + overhead + d
        return self._attending(target) + feeding + (self.spread - 1) * step + wraps + merging

    def layer_cycles(self, target: Target) -> int:
        """Keys written out have their addresses from the layer; those of a loop, and values, have them added."""
        adding = 2 * target.scalar_cycles * self._values.groups
        if self.slots == 1 and self.head_dim <= WRITTEN_OUT:
            return adding + self.head_dim * target.index_cycles
        return adding + 2 * target.scalar_cycles * self._keys.groups

    def _attending(self, target: Target) -> int:
        """Cycles from the last word of a token to the core's partial."""
        program = self.program(Role(False, True, self.spread == 1))
        attend = next(task for task in program.tasks if task.name == "attend")
        return math.ceil(task_work(attend, target, self.scalars(program)).serial)
