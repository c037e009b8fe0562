"""Words in and out of a core's queues and FIFOs: vector instructions that use them, one element at a time.

Their operands are worked out once, with the first element: registers are a task's own, so they stay as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.cycle.lists import add_event, list_node
from runtime.cycle.state import (
    D_HERE,
    D_RESERVED,
    D_TO,
    E_RIPE,
    P_DEPTH,
    P_OUT,
    P_PART,
    P_RAMP,
    P_SOURCES,
    R_FEEDER,
    R_HIGH,
    T_A,
    T_B,
    T_DST,
    T_FIRST_WORD,
    T_LENGTH,
    T_OUT,
    T_TIME,
    Clock,
)
from runtime.elements import RMAX, RSUM
from runtime.encode import CONST, DST, FIFO, FN, FN_FMAC, KIND, OPERANDS, OUT, A, B
from runtime.execute import BAD_EXTENT, OK, extent_of, is_ring, operand, perform_one
from runtime.jit import called, inlined
from runtime.rings import advance, free_words, ready_words
from runtime.state import (
    R_DEPTH,
    R_HEAD,
    R_READER,
    R_TAIL,
    R_WRITER,
    S_MACS,
    S_WORDS,
    T_DONE,
    T_MOVED,
    T_ROOM,
    T_WAIT,
    State,
)

Int = Any  # inside compiled code: a 64-bit integer


@inlined
def wake_task(s: State, r: Int, end: Int, at: Int) -> Int:
    """Let the task that waits at an end of a ring issue from cycle `at`; its number, or -1."""
    t = s.ring[r, end]
    if t >= 0:
        s.ring[r, end] = -1
        s.task[t, T_WAIT] = -1
        s.task[t, T_TIME] = max(s.task[t, T_TIME], at)
    return t


@inlined
def put_word(ring: Any, r: Int) -> None:
    """A word has been put into a ring; R_HIGH is the most there have been."""
    advance(ring, r, R_TAIL, 1)
    ring[r, R_HIGH] = max(ring[r, R_HIGH], ring[r, R_DEPTH] - free_words(ring, r))


@inlined
def _wait(s: State, t: Int, r: Int, room: Int) -> None:
    s.task[t, T_WAIT], s.task[t, T_ROOM] = r, room
    s.ring[r, R_WRITER if room else R_READER] = t


@inlined
def _take(s: State, y: Clock, r: Int, kind: Int, at: Int) -> None:
    """A word has been taken from an input queue or a FIFO."""
    advance(s.ring, r, R_HEAD, 1)
    if kind == FIFO:
        wake_task(s, r, R_WRITER, at + 1)
    else:
        list_node(y, s.ring[r, R_FEEDER])


@inlined
def _output_room(s: State, y: Clock, r: Int) -> Any:
    """Whether an output queue takes a word now: it is not full, or its head, having passed the ramp, leaves in this
    cycle because the router has room."""
    free = free_words(s.ring, r)
    if free != 1:
        return free > 1
    source = y.now[P_SOURCES] + r - y.now[P_OUT]
    return y.node[source, D_HERE] > 0 and y.node[y.node[source, D_TO], D_RESERVED] < y.now[P_DEPTH]


@called
def operands_of(
    code: Any, reg: Any, core: Any, t: Int, c: Int, pc: Int
) -> tuple[Int, Int, Int, Int, Int, Int, Int, Int, Int, Int, Int, Int]:
    """(fault, value, elements; kind, first and step of destination and both sources) of a vector row."""
    reduction = code[pc, FN] in (RSUM, RMAX)
    length = extent_of(code, reg, t, pc, A if reduction and code[pc, A + KIND] != CONST else DST)
    if length < 0:
        return BAD_EXTENT, length, 0, CONST, 0, 0, CONST, 0, 0, CONST, 0, 0
    fault, d_kind, dst, d_step = operand(code, reg, core, t, c, pc, DST, 1 if reduction else length)
    if fault:
        return fault, length if fault == BAD_EXTENT else 0, 0, CONST, 0, 0, CONST, 0, 0, CONST, 0, 0
    fault, a_kind, a, a_step = operand(code, reg, core, t, c, pc, A, length)
    if fault:
        return fault, length if fault == BAD_EXTENT else 1, 0, CONST, 0, 0, CONST, 0, 0, CONST, 0, 0
    b_kind, b, b_step = np.int64(CONST), np.int64(0), np.int64(0)
    if code[pc, OPERANDS] > 2:
        fault, b_kind, b, b_step = operand(code, reg, core, t, c, pc, B, length)
        if fault:
            return fault, length if fault == BAD_EXTENT else 2, 0, CONST, 0, 0, CONST, 0, 0, CONST, 0, 0
    return OK, 0, length, d_kind, dst, d_step, a_kind, a, a_step, b_kind, b, b_step


@inlined
def note_operands(s: State, t: Int, c: Int, pc: Int) -> tuple[Int, Int]:
    """Work out the operands of the row that a task is about to begin: (fault, value)."""
    fault, value, length, d_kind, dst, d_step, a_kind, a, a_step, b_kind, b, b_step = operands_of(
        s.code, s.reg, s.core, t, c, pc
    )
    task = s.task[t]
    task[T_LENGTH] = length
    if d_kind == OUT:
        dst = s.sinks[s.first[dst]]
    task[T_OUT] = dst if d_kind in (OUT, FIFO) else -1
    task[T_DST], task[T_DST + 1], task[T_DST + 2] = d_kind, dst, d_step
    task[T_A], task[T_A + 1], task[T_A + 2] = a_kind, a, a_step
    task[T_B], task[T_B + 1], task[T_B + 2] = b_kind, b, b_step
    return fault, value


@inlined
def move_element(s: State, y: Clock, t: Int, pc: Int, at: Int) -> Any:
    """Issue the next element of the row whose operands are noted. False: the task waits now."""
    task = s.task[t]
    d_kind, dst = task[T_DST], task[T_DST + 1]
    a_kind, a = task[T_A], task[T_A + 1]
    b_kind, b = task[T_B], task[T_B + 1]
    if is_ring(a_kind) and ready_words(s.ring, a) == 0:
        _wait(s, t, a, 0)
        return False
    if is_ring(b_kind) and ready_words(s.ring, b) == 0:
        _wait(s, t, b, 0)
        return False
    if (d_kind == OUT and not _output_room(s, y, dst)) or (d_kind == FIFO and free_words(s.ring, dst) == 0):
        _wait(s, t, dst, 1)
        return False
    done = task[T_DONE]
    perform_one(s, pc, done, d_kind, dst, task[T_DST + 2], a_kind, a, task[T_A + 2], b_kind, b, task[T_B + 2])
    task[T_DONE] = done + 1
    task[T_MOVED] += 1
    if s.code[pc, FN] == FN_FMAC:
        s.stats[y.now[P_PART], S_MACS] += 1
    if is_ring(a_kind):
        if task[T_FIRST_WORD] < 0:
            task[T_FIRST_WORD] = at
        _take(s, y, a, a_kind, at)
    if is_ring(b_kind):
        _take(s, y, b, b_kind, at)
    if d_kind == OUT:
        put_word(s.ring, dst)
        add_event(y, at + y.now[P_RAMP], E_RIPE, dst, 0)
        s.stats[y.now[P_PART], S_WORDS] += 1
    elif d_kind == FIFO:
        put_word(s.ring, dst)
        wake_task(s, dst, R_READER, at + 1)
    return True
