"""The functional interpreter: runs every core's tasks until nothing can move.

A task runs until it needs a word that has not come or room that is not there; it then waits on that one ring, and the
move that ends the wait puts it back on its block's ready list. Later blocks run first, which drains the pipeline before
filling it, so the partitions of a multi-threaded run all have work. An output queue hands its words straight to every
input queue of its tree, when all have room; capacities are those of the hardware's input queues.

Partitions run at the same time, each in a thread; `runtime.rings` says what they share.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.elements import RMAX, RSUM
from runtime.encode import (
    AXPY,
    CONST,
    DST,
    END,
    FIFO,
    FN,
    FN_FMAC,
    HOST_RECEIVE,
    HOST_SEND,
    KIND,
    OP,
    OPERANDS,
    OUT,
    TARGET,
    VECTOR,
    A,
    B,
)
from runtime.execute import BAD_EXTENT, OK, OVERLAP, SPINS, axpy_row, extent_of, is_ring, operand, perform, scalar_row
from runtime.jit import called, entry, inlined
from runtime.rings import free_words, given, poll, ready_words, slot, taken, tree_room, wait_on, wake
from runtime.state import (
    AWAY_COUNT,
    C_IN,
    C_OUT,
    G_BASE,
    G_CAPACITY,
    G_COUNT,
    G_FIRST,
    P_FIRST,
    P_LEFT,
    P_ROOM,
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

POLL_INTERVAL = 32  # task starts between two looks at the rings to other partitions
MOST_WORK = 1 << 18  # rows, and hundreds of elements, of a task before others and the host get on; it is ready again

Int = Any  # inside compiled code: a 64-bit integer


@inlined
def _vector(s: State, p: Int, t: Int, pc: Int, done: Int) -> tuple[Int, Int, Int]:
    """Carry a vector instruction on from element `done`: (elements done, its length, fault). Waits if not finished."""
    c = s.task[t, T_CORE]
    fn, count = s.code[pc, FN], s.code[pc, OPERANDS]
    reduction = fn in (RSUM, RMAX)
    length = extent_of(s.code, s.reg, t, pc, A if reduction and s.code[pc, A + KIND] != CONST else DST)
    if length < 0:
        return length, 0, BAD_EXTENT
    fault, d_kind, dst, d_step = operand(s.code, s.reg, s.core, t, c, pc, DST, 1 if reduction else length)
    if fault:
        return length if fault == BAD_EXTENT else 0, 0, fault
    fault, a_kind, a, a_step = operand(s.code, s.reg, s.core, t, c, pc, A, length)
    if fault:
        return length if fault == BAD_EXTENT else 1, 0, fault
    b_kind, b, b_step = np.int64(CONST), np.int64(0), np.int64(0)
    if count > 2:
        fault, b_kind, b, b_step = operand(s.code, s.reg, s.core, t, c, pc, B, length)
        if fault:
            return length if fault == BAD_EXTENT else 2, 0, fault

    # How many elements can move now, and which ring is in the way if none.
    ready = length - done
    if ready and is_ring(a_kind):
        ready = min(ready, ready_words(s.ring, a))
        if ready == 0:
            wait_on(s, p, t, a, 0)
    if ready and is_ring(b_kind):
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

    perform(s, p, pc, done, ready, length, d_kind, dst, d_step, a_kind, a, a_step, b_kind, b, b_step)
    if fn == FN_FMAC:
        s.stats[p, S_MACS] += ready
    moved = np.int64(0)
    if is_ring(a_kind):
        taken(s, a, ready)
        moved += ready
    if is_ring(b_kind):
        taken(s, b, ready)
        moved += ready
    if d_kind == OUT:
        if dst < len(s.tap):
            _listen(s, dst, ready)
        for i in range(s.first[dst], s.first[dst + 1]):
            given(s, s.sinks[i], ready)
        moved += ready
        s.stats[p, S_WORDS] += ready * (s.first[dst + 1] - s.first[dst])
    elif d_kind == FIFO:
        given(s, dst, ready)
        moved += ready
    s.task[t, T_MOVED] += moved
    return done + ready, length, OK


@called
def _listen(s: State, tree: Int, count: Int) -> None:
    """Note the next `count` words of a tree, which lie in its rings already, as far as there is room for them."""
    left = s.tap[tree, P_LEFT]
    r = s.sinks[s.first[tree]]
    for j in range(min(count, s.tap[tree, P_ROOM] - left)):
        s.tapped[s.tap[tree, P_FIRST] + left + j] = s.words[s.ring[r, R_BASE] + slot(s.ring, r, R_TAIL, j)]
    s.tap[tree, P_LEFT] = left + count


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
def _step(s: State, p: Int, t: Int) -> tuple[Int, Int, Int]:
    """Run a task until it waits, or for MOST_WORK: (fault, value, whether it would go on)."""
    c, pc = s.task[t, T_CORE], s.task[t, T_PC]
    executed = np.int64(0)
    fault, value = np.int64(OK), np.int64(0)
    late, long = np.int64(0), np.int64(0)
    while True:
        if executed + long >= MOST_WORK:
            late = np.int64(1)
            wake(s.task, s.group, s.ready, t)
            break
        op = s.code[pc, OP]
        executed += 1
        if op == AXPY:
            fault, value = axpy_row(s, p, t, c, pc)
            if fault == OK:
                pc += 1
                continue
            if fault != OVERLAP:
                break
            op = np.int64(VECTOR)
        if op == VECTOR:
            before = s.task[t, T_DONE]
            done, length, fault = _vector(s, p, t, pc, before)
            long += (done - before) >> 7
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
        else:
            pc, fault, value = scalar_row(s, t, c, pc)
            if fault:
                break
    s.task[t, T_PC] = pc
    s.stats[p, S_INSTRUCTIONS] += executed
    return fault, value, late


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

    Ends before if all its tasks wait, and still do after `patience` looks at the rings to other partitions, or if one
    has more to do than MOST_WORK.
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
            fault, value, late = _step(s, p, t)
            started += late * budget
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
