"""Columns of products and lookups: what each core should send down for what it received."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from compiler import bounds
from compiler.bounds import Rounding
from compiler.flow_interpreter import sequence, stored
from compiler.graph_interpreter import UNARY
from compiler.kernels.lookup import Lookup
from compiler.kernels.matvec import Finisher, Matvec
from frontends.cli.find.executed import Standing, received
from frontends.cli.find.scene import Scene

Array = np.ndarray[Any, Any]

ONE_SIDE = Rounding(sides=1)

# What a core of a column should send for what it received: (values, bound), and the addresses of what it keeps.
Step = Callable[[Array], tuple[Array, Array]]


@dataclass(frozen=True)
class Place:
    """A core of the column: its row, what it should do, and of a product its tile [k, n] and operand [.., k]."""

    row: int
    step: Step
    tile: Array | None = None
    x: Array | None = None


def matvec_column(scene: Scene, kernel: Standing, made: Matvec, col: int) -> Iterator[Place]:
    (given,) = received(kernel.step, scene.streams, scene.run)
    x = stored(kernel.op, given.astype(np.float64), scene.run)
    tile = _columns_of(scene, kernel, made, col)
    bias = _bias_of(scene, made, col)
    for r in range(made.rows):
        role = made.role(r, col)
        if isinstance(role, Finisher):
            yield Place(r, _finishing(made.activation, role))
            continue
        rows = slice(made.slices.start(r), made.slices.start(r) + made.slices.size(r))
        bottom = r == made.slices.lanes - 1
        activation = made.activation if bottom and not made.finishers else ""
        share = bias if bottom else np.zeros_like(bias)
        yield Place(r, _adding(x[..., rows], tile[rows], share, activation), tile[rows], x[..., rows])


def _columns_of(scene: Scene, kernel: Standing, made: Matvec, col: int) -> Array:
    """The columns of all groups' matrices that a column of cores keeps, as stored, [features, n]."""
    parts = []
    for group, blocks in zip(made.groups, made.group_blocks, strict=True):
        matrix = scene.run.resources.get(group.weight.name)
        matrix = matrix.T if group.weight.transposed else matrix
        first = group.start + blocks.start(col)
        parts.append(stored(kernel.op, matrix[:, first : first + blocks.size(col)], scene.run))
    return np.concatenate(parts, axis=1)


def _bias_of(scene: Scene, made: Matvec, col: int) -> Array:
    parts = []
    for group, blocks in zip(made.groups, made.group_blocks, strict=True):
        first, size = group.start + blocks.start(col), blocks.size(col)
        given = scene.run.resources.get(group.bias).reshape(-1) if group.bias is not None else np.zeros(first + size)
        parts.append(given[first : first + size].astype(np.float64))
    return np.concatenate(parts)


def _adding(x: Array, tile: Array, bias: Array, activation: str) -> Step:
    """Of a core with a tile: the sum that came, its own products, the bias, perhaps the activation."""

    def step(coming: Array) -> tuple[Array, Array]:
        size = np.abs(x) @ np.abs(tile) + np.abs(bias) + np.abs(coming)
        off = ONE_SIDE.gamma(len(tile) + 3) * size
        y = x @ tile + bias + coming
        if not activation:
            return y, off
        y = UNARY[activation](y)
        return y, bounds.unary(activation, size, y, off, ONE_SIDE)

    return step


def _finishing(activation: str, role: Finisher) -> Step:
    def step(coming: Array) -> tuple[Array, Array]:
        y, off = coming.copy(), np.zeros(coming.shape)
        own = (..., slice(role.start, role.end))
        y[own] = UNARY[activation](coming[own])
        off[own] = bounds.unary(activation, np.abs(coming[own]), y[own], off[own], ONE_SIDE)
        return y, off

    return step


def lookup_column(scene: Scene, kernel: Standing, made: Lookup, col: int) -> Iterator[Place]:
    """Every core adds a row of its table, or zeros."""
    (ids,) = received(kernel.step, scene.streams, scene.run)
    ids = ids[..., 0].astype(np.int64)
    positions = np.broadcast_to(np.arange(sequence(ids[..., None])), ids.shape)
    columns = slice(made.blocks.start(col), made.blocks.start(col) + made.blocks.size(col))
    for r in range(made.rows):
        number, local = made.owner(r)
        table, index = made.tables[number], positions if number else ids
        mine = index // table.block == local
        rows = stored(kernel.op, scene.run.resources.get(table.name)[index, columns], scene.run)
        yield Place(r, _passing(np.where(mine[..., None], rows, 0)))


def _passing(own: Array) -> Step:
    def step(coming: Array) -> tuple[Array, Array]:
        y = coming + own
        return y, ONE_SIDE.one * np.abs(y)

    return step
