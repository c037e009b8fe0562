"""A core in time: which task issues, what its row costs, and what the core does with every cycle.

Task 0 is the main thread, the others are microthreads. In a cycle one of them issues: a row of scalar code, one element
to or from the fabric, or a slice of a vector instruction on memory. Such an instruction is a *burst* that goes on until
another task has something to issue, which then goes first; microthreads take turns, the main thread comes last.

A core with one task runs ahead of the clock, some way, through rows that use no queue: nobody can see the difference.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.banks import burst_cycles
from runtime.cycle.lists import clear_timer, list_core, set_timer
from runtime.cycle.log import log_span
from runtime.cycle.state import (
    BACK_PRESSURE,
    BUSY,
    C_ELEMENT,
    C_FABRIC,
    C_SETUP,
    C_WIDTH,
    CONFLICT,
    DEPENDENCY,
    IDLE,
    K_AT,
    K_BURST,
    K_FIRST,
    K_LEFT,
    K_REASON,
    K_SINCE,
    K_SPENT,
    K_TASKS,
    K_TURN,
    N_FROM,
    NO_WAVELET,
    P_BANKS,
    P_BRANCH,
    P_PART,
    T_ENDS,
    T_FIRST_END,
    T_LAST_END,
    T_LENGTH,
    T_READY,
    T_TIME,
    Clock,
)
from runtime.cycle.words import move_element, note_operands, operands_of
from runtime.encode import (
    AXPY,
    CONST,
    END,
    F16,
    FN,
    FN_FMAC,
    IFZERO,
    OP,
    TARGET,
    VECTOR,
)
from runtime.execute import (
    OK,
    OVERLAP,
    SPINS,
    axpy_row,
    perform,
    scalar_row,
)
from runtime.jit import called, inlined, merged
from runtime.state import (
    S_INSTRUCTIONS,
    S_MACS,
    T_DONE,
    T_MOVED,
    T_PC,
    T_ROOM,
    T_WAIT,
    State,
)

Int = Any  # inside compiled code: a 64-bit integer
NEVER = np.int64(1) << 60
AHEAD = 4000  # cycles after which a core that is ahead waits for the clock, or a long program would never let go
_burst_cycles = called(burst_cycles)


@merged
def _in_memory(s: State, y: Clock, t: Int, c: Int, pc: Int) -> tuple[Int, Int, Int, Int]:
    """Execute a vector row on memory alone: (fault, value, cycles, of which for banks)."""
    moved = False
    if s.code[pc, OP] == AXPY:
        fault, value = axpy_row(s, y.now[P_PART], t, c, pc)
        moved = fault == OK
        if fault and fault != OVERLAP:
            return fault, value, 0, 0
    fault, value, length, d_kind, dst, d_step, a_kind, a, a_step, b_kind, b, b_step = operands_of(
        s.code, s.reg, s.core, t, c, pc
    )
    if fault:
        return fault, value, 0, 0
    if length and not moved:
        perform(s, y.now[P_PART], pc, 0, length, length, d_kind, dst, d_step, a_kind, a, a_step, b_kind, b, b_step)
        if s.code[pc, FN] == FN_FMAC:
            s.stats[y.now[P_PART], S_MACS] += length
    element = s.code[pc, C_ELEMENT]
    if element:
        return OK, 0, length * element, 0
    cycles, waits = _slices(s, y, pc, a_kind, a, a_step, b_kind, b, b_step, d_kind, dst, d_step, length)
    return OK, 0, cycles, waits


@inlined
def _slices(
    s: State, y: Clock, pc: Int, a_kind: Int, a: Int, a_step: Int, b_kind: Int, b: Int, b_step: Int,
    d_kind: Int, dst: Int, d_step: Int, length: Int,
) -> tuple[Int, Int]:  # fmt: skip
    """Cycles of a vector instruction on memory: its read streams are the sources with more than one element and, of
    an fmac, its destination."""
    streams = np.int64(s.code[pc, FN] == FN_FMAC)
    size0, first0, step0 = np.int64(0), np.int64(0), np.int64(0)
    size2 = 1 if d_kind == F16 else 2
    size1, first1, step1 = size2, dst * size2, d_step * size2
    if a_kind < CONST and a_step != 0:
        size0 = np.int64(1 if a_kind == F16 else 2)
        first0, step0 = a * size0, a_step * size0
        streams += 1
    if b_kind < CONST and b_step != 0:
        size = 1 if b_kind == F16 else 2
        if size0:
            size1, first1, step1 = size, b * size, b_step * size
        else:
            size0, first0, step0 = np.int64(size), b * size, b_step * size
        streams += 1
    cycles, waits = _burst_cycles(
        streams, size0, first0, step0, size1, first1, step1, size2, dst * size2, d_step * size2,
        s.code[pc, C_WIDTH], length, y.now[P_BANKS],
    )  # fmt: skip
    return cycles, waits


@inlined
def _is_burst(s: State, t: Int) -> Any:
    """Whether a task's next issue is a vector instruction on memory, already set up."""
    pc = s.task[t, T_PC]
    return s.task[t, T_READY] != 0 and s.code[pc, C_FABRIC] == 0 and (s.code[pc, OP] in (VECTOR, AXPY))


@inlined
def _choose(s: State, y: Clock, c: Int, at: Int, blocked: Any) -> Int:
    """The task that issues in cycle `at`, or -1. With `blocked`, a burst is going on and no other may start."""
    first, count, turn = y.core[c, K_FIRST], y.core[c, K_TASKS], y.core[c, K_TURN]
    for i in range(count):
        place = count - 1 - i  # of one or two tasks
        if count > 2:
            place = 0 if i == count - 1 else 1 + (turn + i) % (count - 1)
        t = first + place
        waits = s.task[t, T_WAIT] >= 0 or s.task[t, T_TIME] > at or t == y.core[c, K_BURST]
        if not waits and not (blocked and _is_burst(s, t)):
            return t
    return -1


@inlined
def _account(s: State, y: Clock, c: Int, reason: Int, row: Int, until: Int) -> None:
    """The core's time up to a cycle had this reason, in this row of code (-1: that of the task which tells why)."""
    if until > y.now[N_FROM]:
        log_span(y.now, y.core, s.task, y.log, c, reason, row, until)
    y.core[c, K_SPENT + reason] += until - y.core[c, K_SINCE]
    y.core[c, K_SINCE] = until


@merged
def _issue(s: State, y: Clock, c: Int, t: Int, at: Int) -> tuple[Int, Int]:
    """Issue the next row of a task, or its set-up, or one element of it, in cycle `at`: (fault, value).

    Sets the cycle of the task's next issue; a burst is begun, not ended.
    """
    pc = s.task[t, T_PC]
    op = s.code[pc, OP]
    if op == END:
        if s.task[t, T_MOVED] == 0:
            return SPINS, 0
        s.task[t, T_MOVED] = 0
        s.task[t, T_PC] = s.code[pc, TARGET]
        s.stats[y.now[P_PART], S_INSTRUCTIONS] += 1
        if s.task[t, T_ENDS] == 0:
            s.task[t, T_FIRST_END] = at
        s.task[t, T_ENDS] += 1
        s.task[t, T_LAST_END] = at
        s.task[t, T_TIME] = at + s.code[pc, C_SETUP]
        return OK, 0
    if op not in (VECTOR, AXPY):
        s.task[t, T_PC], fault, value = scalar_row(s, t, c, pc)
        if fault:
            return fault, value
        taken = op == IFZERO and s.task[t, T_PC] != pc + 1
        s.task[t, T_TIME] = at + (y.now[P_BRANCH] if taken else s.code[pc, C_SETUP])
        s.stats[y.now[P_PART], S_INSTRUCTIONS] += 1
        return OK, 0
    if s.task[t, T_READY] == 0 and s.code[pc, C_SETUP] > 0:
        s.task[t, T_READY] = 1
        s.task[t, T_TIME] = at + s.code[pc, C_SETUP]
        return OK, 0
    if s.code[pc, C_FABRIC]:
        if s.task[t, T_READY] < 2:
            s.task[t, T_READY] = 2
            fault, value = note_operands(s, t, c, pc)
            if fault:
                return fault, value
        if s.task[t, T_LENGTH] and not move_element(s, y, t, pc, at):
            return OK, 0
        s.task[t, T_TIME] = at + max(1, s.code[pc, C_ELEMENT])
        if s.task[t, T_DONE] < s.task[t, T_LENGTH]:
            return OK, 0
        s.task[t, T_DONE] = 0
    else:
        fault, value, cycles, waits = _in_memory(s, y, t, c, pc)
        if fault:
            return fault, value
        s.task[t, T_TIME] = at + cycles
        if cycles > 0:
            y.core[c, K_BURST], y.core[c, K_LEFT], y.core[c, K_AT] = t, cycles, at
            y.core[c, K_SPENT + CONFLICT] += waits
            y.core[c, K_SPENT + BUSY] -= waits
    s.task[t, T_PC] = pc + 1
    s.task[t, T_READY] = 0
    s.stats[y.now[P_PART], S_INSTRUCTIONS] += 1
    return OK, 0


@inlined
def _reason(s: State, y: Clock, c: Int) -> Int:
    """Why a core that issues nothing does not: the task nearest to work tells."""
    if y.core[c, K_BURST] >= 0:
        return BUSY
    reason = np.int64(IDLE)
    for t in range(y.core[c, K_FIRST], y.core[c, K_FIRST] + y.core[c, K_TASKS]):
        if s.task[t, T_WAIT] < 0:
            return DEPENDENCY
        if s.task[t, T_ROOM]:
            reason = np.int64(BACK_PRESSURE)
        elif reason == IDLE and (s.task[t, T_MOVED] > 0 or s.task[t, T_DONE] > 0):
            reason = np.int64(NO_WAVELET)
    return reason


@inlined
def _next_issue(s: State, y: Clock, c: Int, at: Int) -> Int:
    """The cycle after `at` in which the core has something to issue, if nothing comes from outside."""
    burst = y.core[c, K_BURST]
    end = y.core[c, K_AT] + y.core[c, K_LEFT] if burst >= 0 else at + 1
    soonest = end if burst >= 0 else NEVER
    for t in range(y.core[c, K_FIRST], y.core[c, K_FIRST] + y.core[c, K_TASKS]):
        if s.task[t, T_WAIT] < 0 and t != burst:
            time = max(s.task[t, T_TIME], at + 1)
            soonest = min(soonest, max(time, end) if burst >= 0 and _is_burst(s, t) else time)
    return soonest


@merged
def step(s: State, y: Clock, c: Int, at: Int) -> tuple[Int, Int, Int]:
    """What core c does in cycle `at`: (fault, its task, value). Sets the core's timer for its next issue."""
    if y.core[c, K_SINCE] > at:  # timers do not reach as far as it has run ahead
        set_timer(y, c, y.core[c, K_SINCE])
        return OK, 0, 0
    _account(s, y, c, y.core[c, K_REASON], -1, at)
    burst = y.core[c, K_BURST]
    if burst >= 0 and at > y.core[c, K_AT]:
        y.core[c, K_LEFT] -= at - y.core[c, K_AT]
        y.core[c, K_AT] = at
        if y.core[c, K_LEFT] <= 0:
            y.core[c, K_BURST] = -1
            s.task[burst, T_TIME] = at
    alone = y.core[c, K_TASKS] == 1
    now = at
    while True:
        t = _choose(s, y, c, now, y.core[c, K_BURST] >= 0)
        if t < 0:
            break
        row = s.task[t, T_PC]
        ready = s.task[t, T_READY] != 0 or s.code[row, C_SETUP] == 0
        if now > at and (now - at > AHEAD or (ready and s.code[row, C_FABRIC])):
            break  # the clock has to catch up first
        reason = BUSY if ready else DEPENDENCY  # BUSY: a vector instruction that is set up
        fault, value = _issue(s, y, c, t, now)
        if fault:
            return fault, t, value
        if s.task[t, T_WAIT] >= 0:
            continue  # it issued nothing: another task may
        y.core[c, K_TURN] = t - y.core[c, K_FIRST]
        if not alone:
            burst = y.core[c, K_BURST]
            if burst >= 0 and burst != t:
                y.core[c, K_AT] = now + 1  # the burst lost this cycle
            if burst != t:
                _account(s, y, c, reason, row, now + 1)
            break
        _account(s, y, c, reason, row, s.task[t, T_TIME])
        y.core[c, K_BURST] = -1
        now = s.task[t, T_TIME]
    y.core[c, K_REASON] = _reason(s, y, c)
    time = _next_issue(s, y, c, max(at, now - 1))
    if time == at + 1:
        clear_timer(y, c)
        list_core(y, c, time)
    else:
        set_timer(y, c, time)
    return OK, 0, 0
