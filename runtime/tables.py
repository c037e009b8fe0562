"""The image's tables spelled out: where every core is, every router entry, what a program takes of a core's memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.image import Image
from runtime.isa import In, Out, Program, operands, walk
from runtime.target import Target

Array = np.ndarray[Any, Any]


def core_positions(image: Image) -> tuple[Array, Array]:
    """Fabric coordinates (x, y) of every core of the core table, int32[cores] each. Blocks must tile the table."""
    x = np.zeros(len(image.cores), np.int32)
    y = np.zeros(len(image.cores), np.int32)
    for block in image.blocks:
        cells: Any = np.divmod(np.arange(block.rows * block.cols), block.cols)
        cores = slice(block.first, block.first + block.rows * block.cols)
        x[cores], y[cores] = block.at(*cells)
    return x, y


def core_blocks(image: Image) -> Array:
    """Number of the block of every core, int32[cores]."""
    sizes = [block.rows * block.cols for block in image.blocks]
    return np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)


def usable_raster(image: Image, values: Array, empty: int = 0) -> Array:
    """A value per core of the core table as a raster [rows, columns] of the usable rectangle, with the values' type.

    `empty` where there is no core. Cores outside the rectangle, which only illegal images have, are left out.
    """
    x0, y0, columns, rows = image.target.usable
    raster = np.full((rows, columns), empty, values.dtype)
    x, y = core_positions(image)
    inside = (x >= x0) & (x < x0 + columns) & (y >= y0) & (y < y0 + rows)
    raster[y[inside] - y0, x[inside] - x0] = values[inside]
    return raster


def expand_routes(routes: Array) -> tuple[Array, Array, Array]:
    """Every router entry of the rectangles of a ROUTE array: number of its rectangle, x and y, int64[entries] each."""
    sizes = routes["w"].astype(np.int64) * routes["h"]
    rectangle = np.repeat(np.arange(len(routes)), sizes)
    cell = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    down, right = np.divmod(cell, routes["w"].astype(np.int64)[rectangle])
    return rectangle, routes["x"][rectangle] + right, routes["y"][rectangle] + down


def used_queues(program: Program) -> tuple[list[int], list[int]]:
    """Input and output queues that the program's instructions name, ascending."""
    named = [operand for task in program.tasks for instr in walk(task.body) for operand in operands(instr)]
    inputs = {operand.queue for operand in named if isinstance(operand, In)}
    outputs = {operand.queue for operand in named if isinstance(operand, Out)}
    return sorted(inputs), sorted(outputs)


def queue_bytes(program: Program, target: Target) -> int:
    """Bytes the queues of a core take: the full depth of each used one, a word of 4 bytes per wavelet."""
    inputs, outputs = used_queues(program)
    return 4 * (sum(target.input_depth[q] for q in inputs) + sum(target.output_depth[q] for q in outputs))


def memory_bytes(program: Program, target: Target) -> int:
    """Bytes of core memory a program takes: data, code above it, and queues."""
    return program.data_bytes + program.code_bytes + queue_bytes(program, target)
