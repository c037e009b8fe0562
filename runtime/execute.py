"""What instructions do to registers, memory and the words in rings: the arithmetic of both modes of the machine.

Nothing here waits, wakes or takes time: the functional interpreter and the cycle engine decide when a row is executed
and how many elements of it, so their results have the same bits.

Every routine here is fp32 without contraction, see `runtime.mathlib`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime import mathlib
from runtime.elements import (
    ADD,
    MUL,
    RMAX,
    RSUM,
    axpy,
    binary,
    combine,
    fold,
    read_memory,
    scalar_map,
    write_memory,
)
from runtime.encode import (
    ALU_OP,
    BASE,
    CONST,
    DST,
    ENDLOOP,
    EXTENT,
    F16,
    F32,
    FIFO,
    FLAG1,
    FLAG2,
    FN,
    FN_ALU,
    FN_FMAC,
    FN_MOV,
    IN,
    INDEX,
    KIND,
    LOAD,
    LOOP,
    OP,
    OPERANDS,
    OUT,
    REGISTER,
    SCALE,
    STRIDE,
    TARGET,
    VALUE1,
    VALUE2,
    A,
    B,
)
from runtime.jit import called, inlined
from runtime.mathlib import narrow, widen
from runtime.rings import read_ring, slot, write_ring
from runtime.state import C_BASE, C_BYTES, C_FIFO, C_IN, C_OUT, CHUNK, R_BASE, R_HEAD, R_TAIL, S_MACS, State

# What can go wrong in a core: number, stable code, message. `{}` takes the offending value.
FAULTS = (
    ("", ""),
    ("memory-bounds", "memory operand {} (0: destination) reaches outside the core's memory"),
    ("extents-differ", "operands have different extents, or one is negative; the destination's is {}"),
    ("divide-by-zero", "integer division by {}; the divisor must be positive"),
    ("task-spins", "the task's body ended without receiving or sending a word"),
)
OK, MEMORY_BOUNDS, BAD_EXTENT, BAD_DIVISOR, SPINS = range(len(FAULTS))
OVERLAP = -1

I_ADD, I_SUB, I_MUL, I_DIV, I_MOD, I_MIN, I_MAX, I_AND, I_SHR, I_EQ = (
    FN_ALU[name] for name in ("add", "sub", "mul", "div", "mod", "min", "max", "and", "shr", "eq")
)
Int = Any  # inside compiled code: a 64-bit integer


# Operands


@inlined
def extent_of(code: Any, reg: Any, t: Int, pc: Int, o: Int) -> Int:
    extent = code[pc, o + EXTENT]
    return extent if extent >= 0 else reg[t, -1 - extent]


@inlined
def first_element(code: Any, reg: Any, t: Int, pc: Int, o: Int) -> Int:
    """Element number of a memory operand's first element, from the start of the core's memory."""
    first = code[pc, o + BASE]
    index = code[pc, o + INDEX]
    return first if index < 0 else first + reg[t, index] * code[pc, o + SCALE]


@inlined
def inside(core: Any, c: Int, kind: Int, first: Int, last: Int) -> Any:
    """Whether elements first..last (in either order) are in the core's memory."""
    limit = core[c, C_BYTES] >> (1 if kind == F16 else 2)
    return min(first, last) >= 0 and max(first, last) < limit


@inlined
def origin(core: Any, c: Int, kind: Int) -> Int:
    """Element number of the core's memory in the whole buffer."""
    return core[c, C_BASE] << (1 if kind == F16 else 0)


@inlined
def operand(code: Any, reg: Any, core: Any, t: Int, c: Int, pc: Int, o: Int, length: Int) -> tuple[Int, Int, Int, Int]:
    """(fault, kind, first, step) of an operand: memory as element numbers in the whole buffer, a queue or FIFO as its
    ring, an output queue as its tree."""
    kind = code[pc, o + KIND]
    base = code[pc, o + BASE]
    if kind == CONST:
        return OK, kind, base, 0
    if kind == IN:
        return OK, kind, core[c, C_IN + base], 0
    if kind == OUT:
        return OK, kind, core[c, C_OUT + base], 0
    if kind == FIFO:
        return OK, kind, core[c, C_FIFO] + base, 0
    extent = extent_of(code, reg, t, pc, o)
    if extent != length and extent != 1:
        return BAD_EXTENT, kind, 0, 0
    first = first_element(code, reg, t, pc, o)
    stride = code[pc, o + STRIDE] if extent != 1 else 0
    if extent > 0 and not inside(core, c, kind, first, first + (extent - 1) * stride):
        return MEMORY_BOUNDS, kind, 0, 0
    return OK, kind, first + origin(core, c, kind), stride


@inlined
def collide(d_kind: Int, d_first: Int, d_step: Int, kind: Int, first: Int, step: Int, length: Int) -> Any:
    """Whether a later element of a source may be changed by an earlier element of the destination."""
    if kind >= IN or d_kind >= IN or (kind == d_kind and first == d_first and step == d_step):
        return False
    d_size, size = (1 if d_kind == F16 else 2), (1 if kind == F16 else 2)
    d_a, d_b = d_first * d_size, (d_first + (length - 1) * d_step) * d_size
    a, b = first * size, (first + (length - 1) * step) * size
    return min(d_a, d_b) < max(a, b) + size and min(a, b) < max(d_a, d_b) + d_size


@inlined
def _read(
    floats: Any, halves: Any, ring: Any, kind: Int, first: Int, step: Int, done: Int, offset: Int, out: Any
) -> None:
    """Elements done + offset... of a source; `offset` counts from the ring's head."""
    if kind == CONST:
        for i in range(len(out)):
            out[i] = mathlib.from_bits(np.int32(first))
    elif kind >= IN:
        read_ring(floats, ring, first, offset, out)
    else:
        read_memory(floats, halves, kind == F16, first + (done + offset) * step, step, out)


@inlined
def is_ring(kind: Int) -> Any:
    return kind in (IN, FIFO)


# Instructions


@called
def perform(
    s: State, p: Int, pc: Int, done: Int, ready: Int, length: Int, d_kind: Int, dst: Int, d_step: Int,
    a_kind: Int, a: Int, a_step: Int, b_kind: Int, b: Int, b_step: Int,
) -> None:  # fmt: skip
    """What a vector instruction does to `ready` elements from element `done` on; its rings' counters stay."""
    fn, count = s.code[pc, FN], s.code[pc, OPERANDS]
    reduction = fn in (RSUM, RMAX)
    piece = np.int64(CHUNK)
    if collide(d_kind, dst, d_step, a_kind, a, a_step, length) or collide(
        d_kind, dst, d_step, b_kind, b, b_step, length
    ):
        piece = np.int64(1)
    offset = np.int64(0)
    while offset < ready:
        size = min(piece, ready - offset)
        x = s.scratch[p, 0, :size]
        _read(s.floats, s.halves, s.ring, a_kind, a, a_step, done, offset, x)
        if fn == FN_FMAC:
            y, z = s.scratch[p, 1, :size], s.scratch[p, 2, :size]
            _read(s.floats, s.halves, s.ring, b_kind, b, b_step, done, offset, y)
            _read(s.floats, s.halves, s.ring, d_kind, dst, d_step, done, offset, z)
            combine(MUL, x, y)
            combine(ADD, x, z)
        elif count > 2:
            y = s.scratch[p, 1, :size]
            _read(s.floats, s.halves, s.ring, b_kind, b, b_step, done, offset, y)
            combine(fn, x, y)
        elif reduction:
            total = s.scratch[p, 1, :1]
            read_memory(s.floats, s.halves, d_kind == F16, dst, 1, total)
            total[0] = fold(fn, total[0], x)
            write_memory(s.floats, s.halves, d_kind == F16, dst, 1, total)
        elif fn != FN_MOV:
            for i in range(size):
                x[i] = scalar_map(fn, x[i])
        if d_kind == OUT:
            for i in range(s.first[dst], s.first[dst + 1]):
                write_ring(s.floats, s.ring, s.sinks[i], offset, x)
        elif d_kind == FIFO:
            write_ring(s.floats, s.ring, dst, offset, x)
        elif not reduction:
            write_memory(s.floats, s.halves, d_kind == F16, dst + (done + offset) * d_step, d_step, x)
        offset += size


@inlined
def _value(s: State, kind: Int, first: Int, step: Int, done: Int) -> Any:
    """Element `done` of a source; of a ring the word at its head."""
    if kind == CONST:
        return mathlib.from_bits(np.int32(first))
    if kind >= IN:
        return s.floats[s.ring[first, R_BASE] + slot(s.ring, first, R_HEAD, 0)]
    if kind == F16:
        return widen(s.halves[first + done * step])
    return s.floats[first + done * step]


@inlined
def perform_one(
    s: State, pc: Int, done: Int, d_kind: Int, dst: Int, d_step: Int,
    a_kind: Int, a: Int, a_step: Int, b_kind: Int, b: Int, b_step: Int,
) -> None:  # fmt: skip
    """What `perform` does to element `done` alone; `dst` is the one ring that gets it, if it goes to one."""
    fn = s.code[pc, FN]
    x = _value(s, a_kind, a, a_step, done)
    if fn == FN_FMAC:
        x = x * _value(s, b_kind, b, b_step, done)
        x = x + _value(s, d_kind, dst, d_step, done)
    elif s.code[pc, OPERANDS] > 2:
        x = binary(fn, x, _value(s, b_kind, b, b_step, done))
    elif fn == RSUM:
        x = _value(s, d_kind, dst, 0, 0) + x
    elif fn == RMAX:
        x = mathlib.maximum(_value(s, d_kind, dst, 0, 0), x)
    elif fn != FN_MOV:
        x = scalar_map(fn, x)
    if d_kind >= IN:
        s.floats[s.ring[dst, R_BASE] + slot(s.ring, dst, R_TAIL, 0)] = x
    elif d_kind == F16:
        s.halves[dst + done * d_step] = narrow(x)
    else:
        s.floats[dst + done * d_step] = x


@inlined
def axpy_row(s: State, p: Int, t: Int, c: Int, pc: Int) -> tuple[Int, Int]:
    """An AXPY row: (fault, value), or (OVERLAP, 0) if the order of elements matters."""
    count = extent_of(s.code, s.reg, t, pc, DST)
    if count < 0 or extent_of(s.code, s.reg, t, pc, B) != count:
        return BAD_EXTENT, count
    a_kind, b_kind = s.code[pc, A + KIND], s.code[pc, B + KIND]
    dst, src = first_element(s.code, s.reg, t, pc, DST), first_element(s.code, s.reg, t, pc, B)
    if count == 0:
        return OK, 0
    if not inside(s.core, c, 0, dst, dst + count - 1):
        return MEMORY_BOUNDS, 0
    if not inside(s.core, c, b_kind, src, src + count - 1):
        return MEMORY_BOUNDS, 2
    if collide(F32, dst, 1, b_kind, src, 1, count):
        return OVERLAP, 0
    base = s.core[c, C_BASE]
    if a_kind == CONST:
        scale = mathlib.from_bits(np.int32(s.code[pc, A + BASE]))
    else:
        a = first_element(s.code, s.reg, t, pc, A)
        if not inside(s.core, c, a_kind, a, a):
            return MEMORY_BOUNDS, 1
        if collide(F32, dst, 1, a_kind, a, 0, count):
            return OVERLAP, 0
        scale = widen(s.halves[2 * base + a]) if a_kind == F16 else s.floats[base + a]
    axpy(s.floats, s.halves, b_kind == F16, base + dst, scale, origin(s.core, c, b_kind) + src, count)
    s.stats[p, S_MACS] += count
    return OK, 0


@inlined
def integer(code: Any, reg: Any, t: Int, pc: Int, flag: Int, value: Int) -> Int:
    word = code[pc, value]
    return reg[t, word] if code[pc, flag] else word


@called
def alu(fn: Int, a: Int, b: Int) -> Int:
    if fn == I_ADD:
        return a + b
    if fn == I_SUB:
        return a - b
    if fn == I_MUL:
        return a * b
    if fn == I_DIV:
        return a // b
    if fn == I_MOD:
        return a % b
    if fn == I_MIN:
        return min(a, b)
    if fn == I_MAX:
        return max(a, b)
    if fn == I_AND:
        return a & b
    if fn == I_SHR:
        return a >> (b & 31)
    if fn == I_EQ:
        return np.int64(a == b)
    return np.int64(a < b)


@inlined
def scalar_row(s: State, t: Int, c: Int, pc: Int) -> tuple[Int, Int, Int]:
    """An ALU_OP, LOAD, LOOP, ENDLOOP or IFZERO row: (next row, fault, value)."""
    op = s.code[pc, OP]
    if op == ENDLOOP:
        register = s.code[pc, REGISTER]
        s.reg[t, register] += 1
        again = s.reg[t, register] < integer(s.code, s.reg, t, pc, FLAG1, VALUE1)
        return s.code[pc, TARGET] if again else pc + 1, OK, 0
    if op == ALU_OP:
        fn = s.code[pc, FN]
        b = integer(s.code, s.reg, t, pc, FLAG2, VALUE2)
        if b <= 0 and fn in (I_DIV, I_MOD):
            return pc, BAD_DIVISOR, b
        s.reg[t, s.code[pc, REGISTER]] = np.int32(alu(fn, integer(s.code, s.reg, t, pc, FLAG1, VALUE1), b))
        return pc + 1, OK, 0
    if op == LOAD:
        a = first_element(s.code, s.reg, t, pc, DST)
        if not inside(s.core, c, 0, a, a):
            return pc, MEMORY_BOUNDS, 0
        s.reg[t, s.code[pc, FN]] = s.words[s.core[c, C_BASE] + a]
        return pc + 1, OK, 0
    if op == LOOP:
        s.reg[t, s.code[pc, REGISTER]] = 0
        return pc + 1 if integer(s.code, s.reg, t, pc, FLAG1, VALUE1) > 0 else s.code[pc, TARGET], OK, 0
    return pc + 1 if s.reg[t, s.code[pc, REGISTER]] else s.code[pc, TARGET], OK, 0
