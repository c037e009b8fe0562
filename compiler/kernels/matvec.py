"""matvec: y = x W (+ bias), then an optional activation.

Core (r, c) keeps tile W[r, c]. Block r of x is multicast along row r; every core accumulates
`for k: y += x[k] * W[k, :]`; the partial sums go down each column in fp32, top to bottom, and the bottom core, which
starts from the bias, sends column c's block of y south. Columns may gather their outputs from several weights
(`groups`), which is how the heads' q, k and v come to lie side by side.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from compiler.floorplan import InternalRoute, Lane
from compiler.kernels.base import (
    CHAIN_IN,
    CHAIN_OUT,
    ROUTINE_CYCLES,
    STREAM_IN,
    STREAM_OUT,
    ZEROS,
    Binding,
    Kernel,
    Rect,
    Weight,
    chain_bindings,
    chain_south,
    fmac_rate,
    hop,
    region_address,
    row_multicast,
    vector,
)
from compiler.kernels.builder import Array, CoreBuilder
from runtime.image import Init
from runtime.isa import Dtype, Mem, Program
from runtime.stream import Blocks
from runtime.target import Target


@dataclass(frozen=True)
class Group:
    """A run of output features: columns [start, start + n) of `weight`, spread evenly (or ragged) over the lanes."""

    weight: Weight
    bias: str | None
    start: int
    n: int


@dataclass(frozen=True)
class Role:
    """Place in the column's chain, and the sizes of the core's tile."""

    first: bool
    last: bool
    k: int
    n: tuple[int, ...]  # per group


@dataclass(frozen=True)
class Matvec(Kernel):
    """One row of cores per lane of `x`, one column per lane of `y`; several groups share out evenly over the lanes."""

    kind = "matvec"
    groups: tuple[Group, ...]
    weight_columns: tuple[int, ...]  # total columns of each group's weight matrix
    x: Blocks
    y: Blocks
    activation: str
    storage: Dtype

    @property
    def rows(self) -> int:
        return self.x.lanes

    @property
    def cols(self) -> int:
        return self.y.lanes

    def inputs(self) -> dict[str, tuple[Lane, ...]]:
        return {"x": tuple(row_multicast(r, self.cols) for r in range(self.rows))}

    def outputs(self) -> dict[str, tuple[Lane, ...]]:
        return {"y": tuple(Lane(c, self.rows - 1) for c in range(self.cols))}

    def routes(self) -> tuple[InternalRoute, ...]:
        return chain_south(self.rows, self.cols)

    def bindings(self, r: int, c: int) -> tuple[Binding, ...]:
        return chain_bindings(r, self.rows)

    def cuts(self, r: int) -> Sequence[int]:
        return self._width_cuts

    @cached_property
    def _width_cuts(self) -> tuple[int, ...]:
        widths = [tuple(blocks.size(c) for blocks in self._group_blocks) for c in range(self.cols)]
        return (0, *(c for c in range(1, self.cols) if widths[c] != widths[c - 1]))

    def role(self, r: int, c: int) -> Hashable:
        return Role(r == 0, r == self.rows - 1, self.x.size(r), tuple(blocks.size(c) for blocks in self._group_blocks))

    @lru_cache(maxsize=16)  # noqa: B019 - kernels are small and frozen
    def program(self, role: Role) -> Program:
        n = sum(role.n)
        b = CoreBuilder(f"matvec.{'first.' if role.first else ''}{'last.' if role.last else ''}k{role.k}.n{n}")
        header = b.scalar("header", Dtype.I32)
        x = b.array("x", "buffer", self.storage, role.k)
        y = b.array("y", "buffer", Dtype.F32, n)
        w = b.array("w", "weights", self.storage, role.k * n)
        bias = b.array("bias", "weights", Dtype.F32, n) if role.last and self.has_bias else None
        b.name_queues(
            {STREAM_IN: "x"} | ({} if role.first else {CHAIN_IN: "partial"}),
            {STREAM_OUT: "y"} if role.last else {CHAIN_OUT: "partial"},
        )
        with b.task():
            b.mov(header, b.take(STREAM_IN, 1, Dtype.I32))
            b.mov(x.all, b.take(STREAM_IN, role.k))
            if bias is not None:
                b.mov(y.all, bias.all)
            else:
                b.fill(y.all, 0.0)
            with b.loop(role.k) as k:
                b.fmac(y.all, x.at(k), w.row(k, n, n))
            if role.last:
                self._finish(b, role, header, y)
            elif role.first:
                b.mov(b.put(CHAIN_OUT, n), y.all)
            else:
                b.binary("add", b.put(CHAIN_OUT, n), y.all, b.take(CHAIN_IN, n))
        return b.program()

    def _finish(self, b: CoreBuilder, role: Role, header: Mem, y: Array) -> None:
        """The bottom core: last sum, activation, and the block of y on its way."""
        if not role.first:
            b.binary("add", y.all, y.all, b.take(CHAIN_IN, y.count))
        if self.activation:
            b.map(self.activation, y.all, y.all)
        b.mov(b.put(STREAM_OUT, 1, Dtype.I32), header)
        b.mov(b.put(STREAM_OUT, y.count), y.all)

    @property
    def has_bias(self) -> bool:
        return any(group.bias is not None for group in self.groups)

    def inits(self, role: Role, rect: Rect, program: Program) -> Iterator[Init]:
        n = sum(role.n)
        w, k = region_address(program, "w"), self.x.features
        column = 0
        shares = zip(self.groups, self._group_blocks, role.n, self.weight_columns, strict=True)
        for group, blocks, width, total in shares:
            address = w + column * self.storage.size
            layout = (group.start, self.x.block * total, blocks.block, (total, 1))
            if group.weight.transposed:
                layout = (group.start * k, self.x.block, blocks.block * k, (1, k))
            yield Init(
                0, rect.rows, rect.cols, address, self.storage.value, n, (role.k, width), group.weight.name, *layout
            )
            if role.last and self.has_bias:
                name, per, step = (group.bias, blocks.block, 1) if group.bias is not None else (ZEROS, 0, 0)
                address = region_address(program, "bias") + column * Dtype.F32.size
                start = group.start if group.bias is not None else 0
                yield Init(0, rect.rows, rect.cols, address, "f32", width, (1, width), name, start, 0, per, (0, step))
            column += width

    def interval(self, target: Target) -> int:
        k, n = self._tile
        rate = fmac_rate(self.storage, target)
        work = vector(1, target) + vector(k, target) + vector(n, target) + k * vector(n, target, rate)
        work += vector(n, target)  # partial sums in and out in one instruction
        if self.activation:
            work += vector(ROUTINE_CYCLES * n, target) + vector(n, target)
        return work + vector(1, target)

    def latency(self, target: Target) -> int:
        _, n = self._tile
        return self.interval(target) + self.cols * target.hop_cycles + (self.rows - 1) * (hop(target) + 1) + n

    @property
    def _tile(self) -> tuple[int, int]:
        return self.x.block, self.y.block

    @property
    def _group_blocks(self) -> tuple[Blocks, ...]:
        """Each group's share of the lanes' blocks."""
        return tuple(Blocks(group.n, self.y.block * group.n // self.y.features) for group in self.groups)
