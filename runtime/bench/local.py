"""What a core does alone: a lone vector instruction, and the published GEMM of a core's own tiles.

*Cycles* count from the start of a core's task, which is part of them, to the end of its last element.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from runtime.bench.layout import DATA, Layout
from runtime.bench.measure import Measured
from runtime.errors import InputError, UsageError
from runtime.isa import Alu, Binary, Dtype, Fmac, Instr, Loop, Mem, Mov, Reg
from runtime.target import Target
from runtime.timing import instruction_work

OPS = ("mul", "add", "mov", "fmac")
DTYPES = ("f32", "f16", "mixed")
FACTOR = 8  # address of the fmac's scalar factor, below the data


def _instruction(op: str, dst: Mem, src: Mem) -> Instr:
    """dst = dst op src; of a move dst = src; of an fmac dst += scalar * src, as the hardware's has it."""
    if op == "mov":
        return Mov(dst, src)
    if op == "fmac":
        return Fmac(dst, Mem(FACTOR, src.dtype), src)
    return Binary(op, dst, dst, src)


def _span(n: int, stride: int, dtype: Dtype) -> int:
    return ((n - 1) * abs(stride) + 1) * dtype.size


def _operands(op: str, dtype: str, n: int, strides: tuple[int, int]) -> Iterator[tuple[Mem, Mem]]:
    """Destination and source of n elements, the source at every alignment to the banks, the same one first."""
    wide = Dtype.F16 if dtype == "f16" else Dtype.F32
    narrow = Dtype.F16 if dtype == "mixed" else wide
    after = math.ceil((DATA + _span(n, strides[0], wide)) / 16) * 16
    for offset in range(0, 16, narrow.size):
        yield Mem(DATA, wide, n, strides[0]), Mem(after + offset, narrow, n, strides[1])


def vector(op: str, dtype: str, n: int, same_bank: bool, stride: int | None, base: Target) -> dict[str, Any]:
    """One vector instruction of n elements on memory.

    Operands lie where the banks conflict least, or with `same_bank` at the same alignment. stride: of all operands, in
    elements (0: of the source only). By default 1; but fp16 factors of a mixed instruction lie two apart, so that they
    advance through the banks as fast as the fp32 sums do. Raises InputError if it does not fit, and UsageError.
    """
    if dtype == "mixed" and op == "mov":
        raise UsageError("a move of mixed types is a conversion; take add, mul or fmac", code="bad-option")
    if stride is not None and stride < 0:
        raise UsageError("a stride below zero", code="bad-option")
    usual = (1, 2) if dtype == "mixed" else (1, 1)
    strides = usual if stride is None else (stride or 1, stride)
    layouts = list(_operands(op, dtype, n, strides))
    costs = [instruction_work(_instruction(op, *parts), base).serial for parts in layouts]
    dst, src = layouts[0 if same_bank else costs.index(min(costs))]
    instr = _instruction(op, dst, src)
    size = src.address + _span(n, strides[1], src.dtype)
    layout = Layout(1, 1, math.ceil(size / 16) * 16, base)
    for part, value in ((dst, 1.0), (src, 2.0)):
        elements = _span(n, part.stride, part.dtype) // part.dtype.size
        layout.fill(part.address, np.full(elements, value), (1, elements), dtype=part.dtype)
    layout.core((0, 0), [instr, layout.stop((0, 0))])
    measured = Measured(layout.image())
    return {"cycles": int(measured.ends()[0]), "elements": n, **measured.report()}


def gemm(m: int, k: int, n: int, aligned: bool, cols: int, rows: int, base: Target) -> dict[str, Any]:
    """C += A B in fp32 on the own tiles of every core, A [m, k], B [k, n], row by row, without any communication.

    Rows of B and C lie at the same alignment to the banks, as in the published program, unless `aligned`.
    Raises InputError if the tiles do not fit.
    """
    if min(m, k, n) < 1:
        raise InputError(f"tiles of {m} x {k} x {n}", code="bench-size")
    pitch = math.ceil(n / 4) * 4  # rows are padded to 16 bytes, as the published program does
    a, b = DATA, math.ceil((DATA + 4 * m * k) / 16) * 16
    c = b + 4 * k * pitch + (8 if aligned else 0)
    f32, row, inner, place = Dtype.F32, Reg(0), Reg(1), Reg(2)
    dst = Mem(c, f32, n, 1, row, 4 * pitch)
    multiply = Fmac(dst, Mem(a, f32, 1, 1, place, 4), Mem(b, f32, n, 1, inner, 4 * pitch))
    body = Loop(row, m, (Loop(inner, k, (multiply, Alu("add", place, place, 1))),))
    layout = Layout(cols, rows, math.ceil((c + 4 * m * pitch) / 16) * 16, base)
    layout.fill(a, np.arange(m * k) % 3, (1, m * k))
    layout.fill(b, np.arange(k * pitch) % 5, (1, k * pitch))
    for y in range(rows):
        for x in range(cols):
            layout.core((x, y), [body, layout.stop((x, y))])
    measured = Measured(layout.image())
    fmacs = m * k * n
    cycles = int(measured.ends().max())
    return {"cycles": cycles, "fmacs_per_core": fmacs, "cycles_per_fmac": cycles / fmacs, **measured.report()}
