"""attention: causal multi-head attention with its KV cache on the cores.

Row h of the rectangle is head h. Its token (q, k, v side by side) is multicast along the row; the key and value of the
token at position t stay on core t mod P (P cores a row). Every core forms the partial (max, sum, out) of its part of
the cache with a softmax shifted by its own maximum; a chain east merges the partials (Milakov and Gimelshein 2018), and
the last core divides. How many entries count follows from the position in the header, so a sequence needs no reset and
the same program does prefill and decode.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from compiler.floorplan import InternalRoute, Lane
from compiler.kernels.base import (
    CHAIN_IN,
    CHAIN_OUT,
    ROUTINE_CYCLES,
    STREAM_IN,
    STREAM_OUT,
    Binding,
    Kernel,
    Rect,
    chain_bindings,
    chain_east,
    fmac_rate,
    hop,
    row_multicast,
    vector,
    vector_init,
)
from compiler.kernels.builder import Array, CoreBuilder
from runtime.image import Init
from runtime.isa import Const, Dtype, Mem, Program, Reg
from runtime.stream import MAX_POSITIONS, MAX_SLOTS, POSITION_BITS
from runtime.target import Target


@dataclass(frozen=True)
class Role:
    first: bool
    last: bool


@dataclass(frozen=True)
class Attention(Kernel):
    """[q, k, v] of `head_dim` each in on lane h, head h's output out on lane h; `spread` cores share a head's cache."""

    kind = "attention"
    heads: int
    head_dim: int
    scale: float
    max_seq: int
    slots: int
    spread: int
    storage: Dtype

    @property
    def rows(self) -> int:
        return self.heads

    @property
    def cols(self) -> int:
        return self.spread

    @property
    def entries(self) -> int:
        """Cache entries per core and slot."""
        return -(-self.max_seq // self.spread)

    def inputs(self) -> dict[str, tuple[Lane, ...]]:
        return {"x": tuple(row_multicast(r, self.cols) for r in range(self.rows))}

    def outputs(self) -> dict[str, tuple[Lane, ...]]:
        return {"y": tuple(Lane(self.cols - 1, r) for r in range(self.rows))}

    def routes(self) -> tuple[InternalRoute, ...]:
        return chain_east(self.rows, self.cols)

    def bindings(self, r: int, c: int) -> tuple[Binding, ...]:
        return chain_bindings(c, self.cols)

    def role(self, r: int, c: int) -> Hashable:
        return Role(c == 0, c == self.cols - 1)

    @lru_cache(maxsize=4)  # noqa: B019 - kernels are small and frozen
    def program(self, role: Role) -> Program:
        d, entries, storage = self.head_dim, self.entries, self.storage
        ends = ("first." if role.first else "") + ("last." if role.last else "")
        b = CoreBuilder(f"attention.{ends}d{d}.e{entries}")
        header = b.scalar("header", Dtype.I32)
        place = b.array("place", "constants", Dtype.I32, 1)
        q = b.array("q", "buffer", storage, d)
        k = b.array("k", "buffer", storage, d)
        v = b.array("v", "buffer", storage, d)
        keys = b.array("keys", "cache", storage, self.slots * d * entries)  # [slot, element, entry]
        values = b.array("values", "cache", storage, self.slots * entries * d)  # [slot, entry, element]
        score = b.array("score", "buffer", Dtype.F32, entries)
        weight = b.array("weight", "buffer", storage, entries)
        partial = b.array("partial", "buffer", Dtype.F32, 2 + d)  # maximum, sum, out
        b.name_queues(
            {STREAM_IN: "x"} | ({} if role.first else {CHAIN_IN: "partial"}),
            {STREAM_OUT: "y"} if role.last else {CHAIN_OUT: "partial"},
        )
        with b.task():
            b.mov(header, b.take(STREAM_IN, 1, Dtype.I32))
            b.binary("mul", q.all, b.take(STREAM_IN, d), Const(float(np.float32(self.scale))))
            b.mov(k.all, b.take(STREAM_IN, d))
            b.mov(v.all, b.take(STREAM_IN, d))
            word = b.load(header)
            position = b.alu("and", word, MAX_POSITIONS - 1)
            slot = b.alu("and", b.alu("shr", word, POSITION_BITS), MAX_SLOTS - 1)
            own = b.load(place.all)
            self._store(b, position, slot, own, (k, v), (keys, values))
            # Entries of this core at positions up to this one: floor((position - own + P) / P).
            count = b.alu("div", b.alu("sub", b.alu("add", position, self.spread), own), self.spread)
            self._attend(b, q, count, slot, (keys, values), (score, weight), partial)
            if not role.first:
                self._merge(b, partial)
            if role.last:
                out = partial.part(2, d)
                b.binary("div", out, out, partial.at(1))
                b.mov(b.put(STREAM_OUT, 1, Dtype.I32), header)
                b.mov(b.put(STREAM_OUT, d), out)
            else:
                b.mov(b.put(CHAIN_OUT, 2 + d), partial.all)
        return b.program()

    def _store(
        self, b: CoreBuilder, position: Reg, slot: Reg, own: Reg, token: tuple[Array, Array], cache: tuple[Array, Array]
    ) -> None:
        """Keep the token's key (as a column) and value (as a row) if its position is this core's."""
        d, entries = self.head_dim, self.entries
        mine = b.alu("eq", b.alu("mod", position, self.spread), own)
        entry = b.alu("div", position, self.spread)
        with b.when(mine):
            column = b.alu("add", b.alu("mul", slot, d * entries), entry)
            b.mov(cache[0].row(column, 1, d, stride=entries), token[0].all)
            row = b.alu("add", b.alu("mul", slot, entries), entry)
            b.mov(cache[1].row(row, d, d), token[1].all)

    def _attend(
        self, b: CoreBuilder, q: Array, count: Reg, slot: Reg, cache: tuple[Array, Array], work: tuple[Array, Array],
        partial: Array,
    ) -> None:  # fmt: skip
        """partial = (max, sum, out) over this core's first `count` cache entries; (-inf, 0, 0) if there are none."""
        d, entries = self.head_dim, self.entries
        score, weight = (Mem(array.address, array.dtype, count) for array in work)
        maximum, total, out = partial.at(0), partial.at(1), partial.part(2, d)
        b.fill(score, 0.0)
        base = b.alu("mul", slot, d)
        with b.loop(d) as j:
            row = b.alu("add", base, j)
            b.fmac(score, q.at(j), cache[0].row(row, entries, count))
        b.fill(maximum, -math.inf)
        b.reduce("rmax", maximum, score)
        b.binary("sub", score, score, maximum)
        b.map("exp", weight, score)
        b.fill(partial.part(1, 1 + d), 0.0)
        b.reduce("rsum", total, weight)
        base = b.alu("mul", slot, entries)
        with b.loop(count) as i:
            row = b.alu("add", base, i)
            b.fmac(out, work[1].at(i), cache[1].row(row, d, d))

    def _merge(self, b: CoreBuilder, partial: Array) -> None:
        """Combine with the partial of all cores to the west, which is never empty: position 0 lies on core 0."""
        d = self.head_dim
        west = b.array("west", "buffer", Dtype.F32, 2 + d)
        top = b.scalar("top")
        factors = b.array("factors", "buffer", Dtype.F32, 2)  # exp(own max - top), exp(west max - top)
        b.mov(west.all, b.take(CHAIN_IN, 2 + d))
        b.binary("max", top, partial.at(0), west.at(0))
        b.binary("sub", factors.at(0), partial.at(0), top)
        b.binary("sub", factors.at(1), west.at(0), top)
        b.map("exp", factors.all, factors.all)
        b.mov(partial.at(0), top)
        sums = partial.part(1, 1 + d)
        b.binary("mul", sums, sums, factors.at(0))
        b.fmac(sums, factors.at(1), west.part(1, 1 + d))

    def inits(self, role: Role, rect: Rect, program: Program) -> Iterator[Init]:
        yield vector_init(program, "place", Dtype.I32, rect, "place", 1, per_col=1)

    def constants(self) -> Mapping[str, np.ndarray[Any, Any]]:
        return {"place": np.arange(self.cols, dtype=np.int32)}

    def interval(self, target: Target) -> int:
        """With the cache full: the steady state of the last token of a sequence of max_seq."""
        d, entries, rate = self.head_dim, self.entries, fmac_rate(self.storage, target)
        take = vector(1, target) + 3 * vector(d, target)
        scores = d * (vector(entries, target, rate) + 1) + 4 * vector(entries, target)
        softmax = vector(ROUTINE_CYCLES * entries, target)
        out = entries * (vector(d, target, rate) + 1)
        merge = 3 * vector(2 + d, target) + 6 * vector(1, target) + 2 * ROUTINE_CYCLES
        return take + scores + softmax + out + merge + vector(2 + d, target)

    def latency(self, target: Target) -> int:
        d = self.head_dim
        merge = 3 * vector(2 + d, target) + 6 * vector(1, target) + 2 * ROUTINE_CYCLES + hop(target)
        return self.interval(target) + (self.cols - 1) * merge
