"""Products and lookups: down a column of cores, each adds its share to the sums that come. Of a product's row one core
may hear the lanes and send them on to the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compiler import bounds
from compiler.bounds import Rounding
from compiler.flow_interpreter import sequence, stored
from compiler.graph_interpreter import UNARY
from compiler.kernels.base import BROADCAST_IN, BROADCAST_OUT, CHAIN_IN, CHAIN_OUT, STREAM_OUT, region_address
from compiler.kernels.lookup import Lookup
from compiler.kernels.matvec import Finisher, Matvec, Role
from compiler.kernels.tile import TileLayout
from frontends.cli.find.stages import Explain, Stage, Step, Why, Work, Wrong, passes_on, unexplained

Array = np.ndarray[Any, Any]

ONE_SIDE = Rounding(sides=1)


def product_stages(work: Work, made: Matvec, col: int) -> list[Stage]:
    """Of one column, and of the cores that send it its rows of x."""
    x = stored(work.op, work.given[0].astype(np.float64), work.run)
    tile, bias = _columns_of(work, made, col), _bias_of(work, made, col)
    stages: list[Stage] = []
    hears: list[tuple[int, int]] = []
    for r in range(made.rows):
        why: Explain = unexplained
        role, bottom = made.role(r, col), r == made.slices.lanes - 1
        if isinstance(role, Finisher):
            step = _finishing(made.activation, role)
        else:
            assert isinstance(role, Role)
            rows = slice(made.slices.start(r), made.slices.start(r) + made.slices.size(r))
            relay = made.relay(r)
            if relay is not None:
                place = f"which sends row {r + 1} of {made.slices.lanes} its share of the operand"
                stages.append(Stage(r, relay, BROADCAST_OUT, x[..., rows].shape[-1], True, place, _same(x[..., rows])))
            if relay not in (None, col):
                hears.append((len(stages) - 1, BROADCAST_IN))
            activation = made.activation if bottom and not made.finishers else ""
            share = bias if bottom else np.zeros_like(bias)
            own = _Tile(work, made, role, x[..., rows], tile[rows], share, activation, relayed=relay not in (None, col))
            step, why = own.step, own.why
        queue = STREAM_OUT if r == made.rows - 1 else CHAIN_OUT
        place = f"{r + 1} of {made.rows} in its column"
        header = r >= made.slices.lanes - 1
        stages.append(Stage(r, col, queue, len(bias), header, place, step, tuple(hears), why=why))
        hears = [(len(stages) - 1, CHAIN_IN)]
    return stages


def _same(words: Array) -> Step:
    return lambda _: passes_on(words)


def _columns_of(work: Work, made: Matvec, col: int) -> Array:
    """The columns of all groups' matrices that a column of cores keeps, as stored, [features, n]."""
    parts = []
    for group, blocks in zip(made.groups, made.group_blocks, strict=True):
        matrix = work.run.resources.get(group.weight.name)
        matrix = matrix.T if group.weight.transposed else matrix
        first = group.start + blocks.start(col)
        parts.append(stored(work.op, matrix[:, first : first + blocks.size(col)], work.run))
    return np.concatenate(parts, axis=1)


def _bias_of(work: Work, made: Matvec, col: int) -> Array:
    parts = []
    for group, blocks in zip(made.groups, made.group_blocks, strict=True):
        first, size = group.start + blocks.start(col), blocks.size(col)
        given = work.run.resources.get(group.bias).reshape(-1) if group.bias is not None else np.zeros(first + size)
        parts.append(given[first : first + size].astype(np.float64))
    return np.concatenate(parts)


@dataclass(frozen=True)
class _Tile:
    """A core with a tile [k, n]: the sums that came, its own products with x [.., k], the bias, perhaps the activation.

    `relayed`: x is what another core of its row sent, and comes last of what is heard.
    """

    work: Work
    made: Matvec
    role: Role
    x: Array
    tile: Array
    bias: Array
    activation: str
    relayed: bool

    def step(self, heard: Sequence[Array]) -> tuple[Array, Array]:
        x = self._operand(heard)
        coming = heard[0] if len(heard) > self.relayed else np.zeros(1)
        size = np.abs(x) @ np.abs(self.tile) + np.abs(self.bias) + np.abs(coming)
        off = ONE_SIDE.gamma(len(self.tile) + 3) * size
        y = x @ self.tile + self.bias + coming
        if not self.activation:
            return y, off
        y = UNARY[self.activation](y)
        return y, bounds.unary(self.activation, size, y, off, ONE_SIDE)

    def _operand(self, heard: Sequence[Array]) -> Array:
        return heard[-1] if self.relayed else self.x

    def why(self, wrong: Wrong) -> Why | None:
        """One wrong weight, if it explains all tokens."""
        element = wrong.at[-1]
        errors = (wrong.sent - wrong.wanted)[..., element]
        if errors.size < 2 or not np.isfinite(errors).all() or self.activation:
            return None
        e, x = errors.reshape(-1), self._operand(wrong.heard).reshape(-1, len(self.tile))
        with np.errstate(divide="ignore", invalid="ignore"):
            change = (x.T @ e) / np.sum(x * x, axis=0)
            rest = np.linalg.norm(e[:, None] - x * change, axis=0) / np.linalg.norm(e)
        k = int(np.argmin(np.nan_to_num(rest, nan=np.inf)))
        if not rest[k] < 1e-2:
            return None
        should = float(self.tile[k, element])
        return Why(
            "weight",
            f"as if one weight of its tile, row {k}, column {element}, were {should + float(change[k]):.5g}, not "
            f"{should:.5g} (byte {self._address(k, element)} of its memory)",
        )

    def _address(self, k: int, element: int) -> int:
        layout = TileLayout.of(self.made.storage, self.role.k, sum(self.role.n))
        start = region_address(self.made.program(self.role), "w")
        at = start + (layout.start(k) + element * layout.step) * self.made.storage.size
        return self.work.address(self.role, at)


def _finishing(activation: str, role: Finisher) -> Step:
    def step(heard: Sequence[Array]) -> tuple[Array, Array]:
        (coming,) = heard
        y, off = coming.copy(), np.zeros(coming.shape)
        own = (..., slice(role.start, role.end))
        y[own] = UNARY[activation](coming[own])
        off[own] = bounds.unary(activation, np.abs(coming[own]), y[own], off[own], ONE_SIDE)
        return y, off

    return step


def lookup_stages(work: Work, made: Lookup, col: int) -> list[Stage]:
    """Of one column: every core adds a row of its table, or zeros."""
    ids = work.given[0][..., 0].astype(np.int64)
    positions = np.broadcast_to(np.arange(sequence(ids[..., None])), ids.shape)
    columns = slice(made.blocks.start(col), made.blocks.start(col) + made.blocks.size(col))
    stages: list[Stage] = []
    for r in range(made.rows):
        number, local = made.owner(r)
        table, index = made.tables[number], positions if number else ids
        mine = index // table.block == local
        rows = stored(work.op, work.run.resources.get(table.name)[index, columns], work.run)
        last = r == made.rows - 1
        stages.append(
            Stage(
                r, col, STREAM_OUT if last else CHAIN_OUT, made.blocks.size(col), last,
                f"{r + 1} of {made.rows} in its column", _passing(np.where(mine[..., None], rows, 0)),
                ((r - 1, CHAIN_IN),) if r else (),
            )
        )  # fmt: skip
    return stages


def _passing(own: Array) -> Step:
    def step(heard: Sequence[Array]) -> tuple[Array, Array]:
        y = own + heard[0] if heard else own
        return y, ONE_SIDE.one * np.abs(y)

    return step
