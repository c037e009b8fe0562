"""lookup: embedding rows, spread over cores; the id is flooded to all, the owner's row comes down each column's chain.

Rows of the rectangle hold consecutive rows of the token table, then (if any) of the position table, whose index is the
position in the header; columns hold blocks of features. A core that does not own the index adds its row of zeros, so
what passes is the same for every token. Result: token row + position row.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from compiler.floorplan import InternalRoute, Lane
from compiler.kernels.base import (
    CHAIN_IN,
    CHAIN_OUT,
    STREAM_IN,
    STREAM_OUT,
    ZEROS,
    Binding,
    Kernel,
    Rect,
    chain_bindings,
    chain_south,
    hop,
    memory_bytes,
    region_address,
    vector_init,
)
from compiler.kernels.builder import CoreBuilder
from runtime.image import Init
from runtime.isa import Dtype, Program
from runtime.stream import MAX_POSITIONS, Blocks
from runtime.target import Target


@dataclass(frozen=True)
class Table:
    """A table of `count` rows, spread over cores by blocks of `block` rows."""

    name: str
    count: int
    block: int

    @property
    def cores(self) -> int:
        return Blocks(self.count, self.block).lanes


@dataclass(frozen=True)
class Role:
    table: int  # 0: tokens, 1: positions
    first: bool
    last: bool
    entries: int
    width: int


@dataclass(frozen=True)
class Lookup(Kernel):
    """Ids in on one lane; rows of features out in `blocks`."""

    kind = "lookup"
    blocks: Blocks
    tables: tuple[Table, ...]  # the token table, then perhaps the position table
    storage: Dtype

    @property
    def rows(self) -> int:
        return sum(table.cores for table in self.tables)

    @property
    def cols(self) -> int:
        return self.blocks.lanes

    def inputs(self) -> dict[str, tuple[Lane, ...]]:
        return {"x": (Lane(0, 0, ((0, 0, self.cols, self.rows),)),)}

    def outputs(self) -> dict[str, tuple[Lane, ...]]:
        return {"y": tuple(Lane(c, self.rows - 1) for c in range(self.cols))}

    def routes(self) -> tuple[InternalRoute, ...]:
        return chain_south(self.rows, self.cols, 1 + self.blocks.block)

    def bindings(self, r: int, c: int) -> tuple[Binding, ...]:
        return chain_bindings(r, self.rows)

    def role(self, r: int, c: int) -> Hashable:
        table, local = self.owner(r)
        entries = Blocks(self.tables[table].count, self.tables[table].block).size(local)
        return Role(table, r == 0, r == self.rows - 1, entries, self.blocks.size(c))

    @lru_cache(maxsize=16)  # noqa: B019 - kernels are small and frozen
    def program(self, role: Role) -> Program:
        kind = ("tokens", "positions")[role.table]
        ends = ("first." if role.first else "") + ("last." if role.last else "")
        b = CoreBuilder(f"lookup.{kind}.{ends}{role.entries}x{role.width}")
        header = b.scalar("header", Dtype.I32)
        token = b.scalar("id", Dtype.I32)
        first_row = b.array("first_row", "constants", Dtype.I32, 1)
        # One row more than entries: the row of zeros a core adds when another owns the index.
        rows = b.array("rows", "weights", self.storage, (role.entries + 1) * role.width)
        b.name_queues(
            {STREAM_IN: "ids"} | ({} if role.first else {CHAIN_IN: "partial"}),
            {STREAM_OUT: "y"} if role.last else {CHAIN_OUT: "partial"},
        )
        with b.task():
            b.mov(header, b.take(STREAM_IN, 1, Dtype.I32))
            b.mov(token, b.take(STREAM_IN, 1, Dtype.I32))
            index = b.load(token) if role.table == 0 else b.alu("and", b.load(header), MAX_POSITIONS - 1)
            local = b.alu("sub", index, b.load(first_row.all))
            below = b.alu("lt", local, 0)
            inside = b.alu("sub", b.alu("lt", local, role.entries), below)
            row = b.alu("add", b.alu("mul", inside, b.alu("sub", local, role.entries)), role.entries)
            if role.last:
                b.mov(b.put(STREAM_OUT, 1, Dtype.I32), header)
            out = b.put(STREAM_OUT if role.last else CHAIN_OUT, role.width)
            own = rows.row(row, role.width, role.width)
            if role.first:
                b.mov(out, own)
            else:
                b.binary("add", out, own, b.take(CHAIN_IN, role.width))
        return b.program()

    def inits(self, role: Role, rect: Rect, program: Program) -> Iterator[Init]:
        table = self.tables[role.table]
        before = self.tables[0].cores if role.table == 1 else 0
        width = self.blocks.block
        rows = region_address(program, "rows")
        per_row = table.block * self.blocks.features
        yield Init(
            0, rect.rows, rect.cols, rows, self.storage.value, role.width, 1, (role.entries, role.width), table.name,
            -before * per_row, per_row, width, (self.blocks.features, 1),
        )  # fmt: skip
        zero_row = rows + role.entries * role.width * self.storage.size
        yield Init(
            0, rect.rows, rect.cols, zero_row, self.storage.value, role.width, 1, (1, role.width),
            ZEROS, 0, 0, 0, (0, 0),
        )  # fmt: skip
        yield vector_init(program, "first_row", Dtype.I32, rect, "first_row", 1, per_row=1)

    def constants(self) -> Mapping[str, np.ndarray[Any, Any]]:
        first = [local * self.tables[table].block for table, local in map(self.owner, range(self.rows))]
        return {"first_row": np.array(first, np.int32)}

    def memory(self, target: Target) -> int:
        """Bytes of the fullest core: the first or second of a table's rows, or the last of all."""
        starts = [0, self.tables[0].cores] if len(self.tables) == 2 else [0]
        rows = {min(r + i, self.rows - 1) for r in starts for i in (0, 1)} | {self.rows - 1}
        return max(memory_bytes(self.program(self.role(r, 0)), target) for r in sorted(rows))

    def latency(self, target: Target) -> int:
        return self.interval(target) + self.cols * target.hop_cycles + self.rows * (hop(target) + 1)

    def owner(self, r: int) -> tuple[int, int]:
        """(table, block of it) that row r of the rectangle holds."""
        tokens = self.tables[0].cores
        return (0, r) if r < tokens else (1, r - tokens)
