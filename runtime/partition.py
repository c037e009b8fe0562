"""Dividing an image's blocks among threads: contiguous runs with about equal work and few rings between them."""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.image import Image
from runtime.isa import Fmac, Instr, Loop, Mem, Program, operands

Array = np.ndarray[Any, Any]

UNKNOWN = 8  # assumed value of an extent or count that is in a register
FABRIC_COST, ELEMENT_COST, FMAC_COST, INSTRUCTION_COST = 12.0, 2.0, 0.35, 10.0  # about nanoseconds
TOLERANCE = 0.05  # of a partition's work, by which a cut may miss equal work for fewer crossing rings


def _instruction_work(instr: Instr) -> float:
    if isinstance(instr, Loop):
        count = instr.count if isinstance(instr.count, int) else UNKNOWN
        return count * sum(map(_instruction_work, instr.body))
    extents = [getattr(operand, "extent", 1) for operand in operands(instr)]
    length = max((extent if isinstance(extent, int) else UNKNOWN for extent in extents), default=1)
    in_memory = all(isinstance(operand, Mem) for operand in operands(instr))
    each = FABRIC_COST if not in_memory else FMAC_COST if isinstance(instr, Fmac) else ELEMENT_COST
    return INSTRUCTION_COST + each * length


def _program_work(program: Program) -> float:
    return sum(_instruction_work(instr) for task in program.tasks for instr in task.body)


def partition(image: Image, threads: int, writer: Array, reader: Array) -> Array:
    """The partition of every block, ascending; some may be left without blocks and are not counted.

    writer, reader: the blocks at the ends of every ring that joins two cores.
    """
    work = np.array([0.0, *map(_program_work, image.programs)])[image.cores["program"] + 1]
    total = np.cumsum(
        [0.0] + [work[block.first : block.first + block.rows * block.cols].sum() for block in image.blocks]
    )
    # Rings between the blocks before k and those from k on.
    opened = np.bincount(np.minimum(writer, reader) + 1, minlength=len(total) + 1)
    closed = np.bincount(np.maximum(writer, reader) + 1, minlength=len(total) + 1)
    crossing = np.cumsum(opened - closed)[: len(total)]
    cuts = []
    for share in np.arange(1, threads) / threads:
        miss = np.abs(total - share * total[-1])
        allowed = np.maximum(miss.min(), TOLERANCE / threads * total[-1])
        cuts.append(np.lexsort((miss, crossing, miss > allowed))[0])
    _, dense = np.unique(np.searchsorted(cuts, np.arange(len(image.blocks)), side="right"), return_inverse=True)
    return dense
