"""Dividing an image's blocks among threads: contiguous runs of blocks with about equal work."""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.image import Image
from runtime.isa import Fmac, Instr, Loop, Mem, Program, operands

Array = np.ndarray[Any, Any]

UNKNOWN = 8  # assumed value of an extent or count that is in a register
FABRIC_COST, ELEMENT_COST, FMAC_COST, INSTRUCTION_COST = 10.0, 1.0, 0.15, 20.0  # about nanoseconds


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


def partition(image: Image, threads: int) -> Array:
    """The partition of every block, ascending; each of `threads` gets at least one block if there are that many."""
    work = np.array([0.0, *map(_program_work, image.programs)])[image.cores["program"] + 1]
    total = np.cumsum([work[block.first : block.first + block.rows * block.cols].sum() for block in image.blocks])
    before = np.concatenate([[0.0], total[:-1]])
    parts = np.minimum((before + total) / 2 / max(total[-1], 1.0) * threads, threads - 1).astype(np.int64)
    _, dense = np.unique(parts, return_inverse=True)
    return dense
