"""How long instructions take, from the machine's description: widths of the datapath, strides, banks, set-up.

The cycle engine charges these costs, and the compiler's closed forms add them up; what is not published is a calibrated
entry of the target file.
"""

from __future__ import annotations

from dataclasses import dataclass

from runtime.isa import (
    Alu,
    Binary,
    Const,
    Dtype,
    Fifo,
    Fmac,
    If,
    In,
    Instr,
    Load,
    Loop,
    Map,
    Mem,
    Mov,
    Out,
    Reduce,
    operands,
)
from runtime.target import Target

SLOW_MAPS = ("sqrt", "rsqrt", "reciprocal")  # no SIMD, about as long as a division
PLAIN_MAPS = ("neg", "abs")
# Elements a cycle by stride in 16-bit words, stride 0 and 1 apart (SDK language appendix): three strides have all
# banks in reach, odd neighbours and fours half of them, multiples of eight one.
_STRIDE_WIDTH = (1, 2, 4, 4, 2, 4, 4, 2)


@dataclass(frozen=True)
class Cost:
    """Of one instruction: `setup` cycles before its first element (all of a scalar one's), in which other tasks may
    issue; then either `width` elements a cycle or, if `element` is not 0, so many cycles an element."""

    setup: int
    width: int = 1
    element: int = 0


def stride_width(stride: int, dtype: Dtype) -> int:
    """Most elements a cycle that a memory operand of this stride (in elements) allows."""
    step = abs(stride) * dtype.size // 2
    return 4 if step <= 1 else _STRIDE_WIDTH[step % 8]


def _is_vector(part: object) -> bool:
    """Whether an operand has an element of its own for each one of the instruction."""
    return isinstance(part, In | Out | Fifo) or (isinstance(part, Mem) and part.extent != 1)


def _simd(instr: Instr, target: Target) -> int:
    """Elements a cycle, operands willing (SDK language appendix)."""
    parts = [part for part in operands(instr) if not isinstance(part, Const)]
    types = {part.dtype for part in parts}
    half, dst = types == {Dtype.F16}, parts[0].dtype
    if isinstance(instr, Fmac) or (isinstance(instr, Binary) and instr.op == "mul"):
        mixed = dst is Dtype.F32 and {part.dtype for part in parts[1:]} == {Dtype.F16}
        narrow = int(target.fmac_per_cycle_f16 if mixed else target.fmac_per_cycle_f32)
        return target.simd_f16 if half else narrow
    if isinstance(instr, Binary | Reduce) and instr.op in ("max", "min", "rmax"):
        return 1
    if isinstance(instr, Map) and instr.fn == "relu":
        return 1
    converts = len(types) > 1 and (isinstance(instr, Mov | Map) or dst is Dtype.F16)
    return 1 if converts else target.simd_f16 if half else target.simd_f32


def _element_cycles(instr: Instr, target: Target) -> int:
    if isinstance(instr, Binary) and instr.op == "div":
        return target.divide_cycles
    if isinstance(instr, Map) and instr.fn not in (*PLAIN_MAPS, "relu"):
        return target.divide_cycles if instr.fn in SLOW_MAPS else target.routine_cycles
    return 0


def cost(instr: Instr, target: Target) -> Cost:
    """The cost of an instruction; of a loop, its entry (`target.branch_cycles` end each of its rounds)."""
    indexed = sum(isinstance(part, Mem) and part.index is not None for part in operands(instr))
    if isinstance(instr, Alu | Loop | If):
        return Cost(target.scalar_cycles)
    if isinstance(instr, Load):
        return Cost(target.scalar_cycles + indexed * target.index_cycles)
    vectors = [part for part in operands(instr) if _is_vector(part)]
    widths = [stride_width(part.stride, part.dtype) for part in vectors if isinstance(part, Mem)]
    simd = min([_simd(instr, target), *widths])
    if any(not isinstance(part, Mem) for part in vectors):
        simd = 1  # a queue gives or takes one wavelet a cycle
    setup = target.vector_overhead_cycles + indexed * target.index_cycles
    return Cost(setup, simd, _element_cycles(instr, target))
