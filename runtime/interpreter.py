"""The functional interpreter: runs every core's tasks until nothing can move.

A task runs until it needs a word that has not come or room that is not there; it then waits on that one ring, and the
move that ends the wait puts it back on its block's ready list. Later blocks run first, which drains the pipeline before
filling it, so the partitions of a multi-threaded run all have work. An output queue hands its words straight to every
input queue of its tree, when all have room; capacities are those of the hardware's input queues.

Partitions run at the same time, each in a thread; `runtime.rings` says what they share.

Every routine here is fp32 without contraction, see `runtime.mathlib`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime import mathlib
from runtime.elements import ADD, MUL, RMAX, RSUM, axpy, combine, fold, read_memory, scalar_map, write_memory
from runtime.encode import (
    ALU_OP,
    AXPY,
    BASE,
    CONST,
    DST,
    END,
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
    HOST_RECEIVE,
    HOST_SEND,
    IFZERO,
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
    VECTOR,
    A,
    B,
)
from runtime.jit import called, entry, inlined
from runtime.mathlib import widen
from runtime.rings import (
    free_words,
    given,
    poll,
    read_ring,
    ready_words,
    slot,
    taken,
    tree_room,
    wait_on,
    wake,
    write_ring,
)
from runtime.state import (
    AWAY_COUNT,
    C_BASE,
    C_BYTES,
    C_FIFO,
    C_IN,
    C_OUT,
    CHUNK,
    G_BASE,
    G_CAPACITY,
    G_COUNT,
    G_FIRST,
    R_BASE,
    R_HEAD,
    R_TAIL,
    S_INSTRUCTIONS,
    S_MACS,
    S_WORDS,
    T_CORE,
    T_DONE,
    T_LAST,
    T_MOVED,
    T_NEXT,
    T_PC,
    T_WAIT,
    X_CODE,
    X_PC,
    X_TASK,
    X_VALUE,
    State,
)

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
POLL_INTERVAL = 32  # task starts between two looks at the rings to other partitions

Int = Any  # inside compiled code: a 64-bit integer


# Operands


@inlined
def _extent(code: Any, reg: Any, t: Int, pc: Int, o: Int) -> Int:
    extent = code[pc, o + EXTENT]
    return extent if extent >= 0 else reg[t, -1 - extent]


@inlined
def _first(code: Any, reg: Any, t: Int, pc: Int, o: Int) -> Int:
    """Element number of a memory operand's first element, from the start of the core's memory."""
    first = code[pc, o + BASE]
    index = code[pc, o + INDEX]
    return first if index < 0 else first + reg[t, index] * code[pc, o + SCALE]


@inlined
def _inside(core: Any, c: Int, kind: Int, first: Int, last: Int) -> Any:
    """Whether elements first..last (in either order) are in the core's memory."""
    limit = core[c, C_BYTES] >> (1 if kind == F16 else 2)
    return min(first, last) >= 0 and max(first, last) < limit


@inlined
def _origin(core: Any, c: Int, kind: Int) -> Int:
    """Element number of the core's memory in the whole buffer."""
    return core[c, C_BASE] << (1 if kind == F16 else 0)


@inlined
def _operand(code: Any, reg: Any, core: Any, t: Int, c: Int, pc: Int, o: Int, length: Int) -> tuple[Int, Int, Int, Int]:
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
    extent = _extent(code, reg, t, pc, o)
    if extent != length and extent != 1:
        return BAD_EXTENT, kind, 0, 0
    first = _first(code, reg, t, pc, o)
    stride = code[pc, o + STRIDE] if extent != 1 else 0
    if extent > 0 and not _inside(core, c, kind, first, first + (extent - 1) * stride):
        return MEMORY_BOUNDS, kind, 0, 0
    return OK, kind, first + _origin(core, c, kind), stride


@inlined
def _collide(d_kind: Int, d_first: Int, d_step: Int, kind: Int, first: Int, step: Int, length: Int) -> Any:
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
def _is_ring(kind: Int) -> Any:
    return kind in (IN, FIFO)


# Instructions


@inlined
def _vector(s: State, p: Int, t: Int, pc: Int, done: Int) -> tuple[Int, Int, Int]:
    """Carry a vector instruction on from element `done`: (elements done, its length, fault). Waits if not finished."""
    c = s.task[t, T_CORE]
    fn, count = s.code[pc, FN], s.code[pc, OPERANDS]
    reduction = fn in (RSUM, RMAX)
    length = _extent(s.code, s.reg, t, pc, A if reduction and s.code[pc, A + KIND] != CONST else DST)
    if length < 0:
        return length, 0, BAD_EXTENT
    fault, d_kind, dst, d_step = _operand(s.code, s.reg, s.core, t, c, pc, DST, 1 if reduction else length)
    if fault:
        return length if fault == BAD_EXTENT else 0, 0, fault
    fault, a_kind, a, a_step = _operand(s.code, s.reg, s.core, t, c, pc, A, length)
    if fault:
        return length if fault == BAD_EXTENT else 1, 0, fault
    b_kind, b, b_step = np.int64(CONST), np.int64(0), np.int64(0)
    if count > 2:
        fault, b_kind, b, b_step = _operand(s.code, s.reg, s.core, t, c, pc, B, length)
        if fault:
            return length if fault == BAD_EXTENT else 2, 0, fault

    # How many elements can move now, and which ring is in the way if none.
    ready = length - done
    if ready and _is_ring(a_kind):
        ready = min(ready, ready_words(s.ring, a))
        if ready == 0:
            wait_on(s, p, t, a, 0)
    if ready and _is_ring(b_kind):
        ready = min(ready, ready_words(s.ring, b))
        if ready == 0:
            wait_on(s, p, t, b, 0)
    if ready and d_kind == OUT:
        room, full = tree_room(s.ring, s.first, s.sinks, dst)
        ready = min(ready, room)
        if ready == 0:
            wait_on(s, p, t, full, 1)
    if ready and d_kind == FIFO:
        ready = min(ready, free_words(s.ring, dst))
        if ready == 0:
            wait_on(s, p, t, dst, 1)
    if ready == 0:
        return done, length, OK

    piece = np.int64(CHUNK)
    if _collide(d_kind, dst, d_step, a_kind, a, a_step, length) or _collide(
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

    if fn == FN_FMAC:
        s.stats[p, S_MACS] += ready
    moved = np.int64(0)
    if _is_ring(a_kind):
        taken(s, a, ready)
        moved += ready
    if _is_ring(b_kind):
        taken(s, b, ready)
        moved += ready
    if d_kind == OUT:
        for i in range(s.first[dst], s.first[dst + 1]):
            given(s, s.sinks[i], ready)
        moved += ready
        s.stats[p, S_WORDS] += ready * (s.first[dst + 1] - s.first[dst])
    elif d_kind == FIFO:
        given(s, dst, ready)
        moved += ready
    s.task[t, T_MOVED] += moved
    return done + ready, length, OK


@inlined
def _axpy_row(s: State, p: Int, t: Int, c: Int, pc: Int) -> tuple[Int, Int]:
    """An AXPY row: (fault, value), or (OVERLAP, 0) if the order of elements matters."""
    count = _extent(s.code, s.reg, t, pc, DST)
    if count < 0 or _extent(s.code, s.reg, t, pc, B) != count:
        return BAD_EXTENT, count
    a_kind, b_kind = s.code[pc, A + KIND], s.code[pc, B + KIND]
    dst, src = _first(s.code, s.reg, t, pc, DST), _first(s.code, s.reg, t, pc, B)
    if count == 0:
        return OK, 0
    if not _inside(s.core, c, 0, dst, dst + count - 1):
        return MEMORY_BOUNDS, 0
    if not _inside(s.core, c, b_kind, src, src + count - 1):
        return MEMORY_BOUNDS, 2
    if _collide(F32, dst, 1, b_kind, src, 1, count):
        return OVERLAP, 0
    base = s.core[c, C_BASE]
    if a_kind == CONST:
        scale = mathlib.from_bits(np.int32(s.code[pc, A + BASE]))
    else:
        a = _first(s.code, s.reg, t, pc, A)
        if not _inside(s.core, c, a_kind, a, a):
            return MEMORY_BOUNDS, 1
        if _collide(F32, dst, 1, a_kind, a, 0, count):
            return OVERLAP, 0
        scale = widen(s.halves[2 * base + a]) if a_kind == F16 else s.floats[base + a]
    axpy(s.floats, s.halves, b_kind == F16, base + dst, scale, _origin(s.core, c, b_kind) + src, count)
    s.stats[p, S_MACS] += count
    return OK, 0


@inlined
def _integer(code: Any, reg: Any, t: Int, pc: Int, flag: Int, value: Int) -> Int:
    word = code[pc, value]
    return reg[t, word] if code[pc, flag] else word


@called
def _alu(fn: Int, a: Int, b: Int) -> Int:
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


@called
def _host_send(s: State, p: Int, t: Int) -> None:
    """Put the host lane's words on the wire while there is room."""
    tree = s.core[s.task[t, T_CORE], C_OUT]
    while s.task[t, T_NEXT] < s.task[t, T_LAST]:
        count, full = tree_room(s.ring, s.first, s.sinks, tree)
        if count == 0:
            wait_on(s, p, t, full, 1)
            return
        start = s.task[t, T_NEXT]
        count = min(count, s.task[t, T_LAST] - start)
        for i in range(s.first[tree], s.first[tree + 1]):
            r = s.sinks[i]
            for j in range(count):
                s.words[s.ring[r, R_BASE] + slot(s.ring, r, R_TAIL, j)] = s.host_in[start + j]
            given(s, r, count)
        s.task[t, T_NEXT] = start + count


@called
def _host_receive(s: State, p: Int, t: Int) -> None:
    """Take the words that have come on a host lane."""
    r = s.core[s.task[t, T_CORE], C_IN]
    while s.task[t, T_NEXT] < s.task[t, T_LAST]:
        start = s.task[t, T_NEXT]
        count = min(ready_words(s.ring, r), s.task[t, T_LAST] - start)
        if count == 0:
            wait_on(s, p, t, r, 0)
            return
        for j in range(count):
            s.host_out[start + j] = s.words[s.ring[r, R_BASE] + slot(s.ring, r, R_HEAD, j)]
        taken(s, r, count)
        s.task[t, T_NEXT] = start + count


@inlined
def _step(s: State, p: Int, t: Int) -> tuple[Int, Int]:
    """Run a task until it waits: (fault, value)."""
    c, pc = s.task[t, T_CORE], s.task[t, T_PC]
    executed = np.int64(0)
    fault, value = np.int64(OK), np.int64(0)
    while True:
        op = s.code[pc, OP]
        executed += 1
        if op == AXPY:
            fault, value = _axpy_row(s, p, t, c, pc)
            if fault == OK:
                pc += 1
                continue
            if fault != OVERLAP:
                break
            op = np.int64(VECTOR)
        if op == ENDLOOP:
            register = s.code[pc, REGISTER]
            s.reg[t, register] += 1
            again = s.reg[t, register] < _integer(s.code, s.reg, t, pc, FLAG1, VALUE1)
            pc = s.code[pc, TARGET] if again else pc + 1
        elif op == VECTOR:
            done, length, fault = _vector(s, p, t, pc, s.task[t, T_DONE])
            value = done
            if fault:
                break
            s.task[t, T_DONE] = 0 if done == length else done
            if done == length:
                pc += 1
                continue
            executed -= 1
            if s.task[t, T_WAIT] >= 0:
                break
        elif op == ALU_OP:
            fn = s.code[pc, FN]
            b = _integer(s.code, s.reg, t, pc, FLAG2, VALUE2)
            if b <= 0 and fn in (I_DIV, I_MOD):
                fault, value = np.int64(BAD_DIVISOR), b
                break
            s.reg[t, s.code[pc, REGISTER]] = np.int32(_alu(fn, _integer(s.code, s.reg, t, pc, FLAG1, VALUE1), b))
            pc += 1
        elif op == LOAD:
            a = _first(s.code, s.reg, t, pc, DST)
            if not _inside(s.core, c, 0, a, a):
                fault, value = np.int64(MEMORY_BOUNDS), np.int64(0)
                break
            s.reg[t, s.code[pc, FN]] = s.words[s.core[c, C_BASE] + a]
            pc += 1
        elif op == LOOP:
            s.reg[t, s.code[pc, REGISTER]] = 0
            pc = pc + 1 if _integer(s.code, s.reg, t, pc, FLAG1, VALUE1) > 0 else s.code[pc, TARGET]
        elif op == IFZERO:
            pc = pc + 1 if s.reg[t, s.code[pc, REGISTER]] else s.code[pc, TARGET]
        elif op == END:
            if s.task[t, T_MOVED] == 0:
                fault = np.int64(SPINS)
                break
            s.task[t, T_MOVED] = 0
            pc = s.code[pc, TARGET]
        elif op == HOST_SEND:
            _host_send(s, p, t)
            executed -= 1
            break
        elif op == HOST_RECEIVE:
            _host_receive(s, p, t)
            executed -= 1
            break
    s.task[t, T_PC] = pc
    s.stats[p, S_INSTRUCTIONS] += executed
    return fault, value


@inlined
def _latest(s: State, p: Int) -> Int:
    """The latest group of partition p with ready tasks, or -1."""
    for g in range(s.span[p + 1] - 1, s.span[p] - 1, -1):
        if s.group[g, G_COUNT] > 0:
            return g
    return -1


@inlined
def _pop(group: Any, ready: Any, g: Int) -> Int:
    first = group[g, G_FIRST]
    group[g, G_FIRST] = 0 if first + 1 == group[g, G_CAPACITY] else first + 1
    group[g, G_COUNT] -= 1
    return ready[group[g, G_BASE] + first]


@entry
def run(s: State, p: Int, budget: Int, patience: Int) -> Int:
    """Run ready tasks of partition p, latest block first, for about `budget` task starts.

    Ends before if all its tasks wait, and still do after `patience` looks at the rings to other partitions.
    Returns the number of task starts. A task with a fault never starts again; fault[p] tells of the first one, in task
    order, which no schedule changes.
    """
    started: Int = np.int64(0)
    looks: Int = np.int64(0)
    while started < budget and looks < patience:
        g = _latest(s, p)
        if g < 0:
            if s.away[p, AWAY_COUNT] == 0:
                break
            looks = 0 if poll(s, p) else looks + 1
            continue
        looks = 0
        for _ in range(min(s.group[g, G_COUNT], POLL_INTERVAL)):
            t = _pop(s.group, s.ready, g)
            started += 1
            fault, value = _step(s, p, t)
            if fault and (s.fault[p, X_CODE] == OK or t < s.fault[p, X_TASK]):
                s.fault[p, X_CODE], s.fault[p, X_TASK] = fault, t
                s.fault[p, X_PC], s.fault[p, X_VALUE] = s.task[t, T_PC], value
        poll(s, p)
    return started


@entry
def start(s: State, tasks: Any) -> None:
    """Make tasks ready that do not wait."""
    for t in tasks:
        wake(s.task, s.group, s.ready, t)
