"""The clock: what happens in a cycle, in which order, and how far it is to the next cycle in which anything does.

A cycle: words come off the ramps; host lanes offer words; cores issue; routers ask and move. Cores see only
their own queues, and routers judge room by the state before anything moves, so the order among cores and among routers
does not matter. Where nothing is listed, the clock jumps. Where no event, timer or host word is ahead either, nothing
can ever move again: the machine is at rest, or deadlocked.

Parts (`runtime.cycle.divide`) meet after every cycle in which any of them has something to do. What a part tells
another in a cycle, that one hears at the beginning of the next, which is when it would have seen it by itself; so the
number of parts changes nothing, nor does it matter whether threads run them side by side or one runs them in turn.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.atomics import give_way, load_acquire, pause, store_release
from runtime.cycle import network
from runtime.cycle.core import NEVER, step
from runtime.cycle.lists import clear_timer, list_core, list_node
from runtime.cycle.state import (
    D_HERE,
    E_RING,
    E_RIPE,
    FINE,
    N_AT,
    N_CORES,
    N_CYCLE,
    N_EVENTS,
    N_FAULT,
    N_INTO,
    N_NODES,
    N_OWN,
    N_SENT,
    N_TIMERS,
    N_TURN,
    NEXT,
    P_GAP,
    P_LANES,
    P_OUT,
    P_SENDERS,
    P_SOURCES,
    R_INFLIGHT,
    T_TIME,
    WHEEL,
    Clock,
    Clocks,
)
from runtime.cycle.words import put_word, wake_task
from runtime.jit import entry, inlined, merged
from runtime.rings import slot
from runtime.state import (
    R_BASE,
    R_READER,
    R_TAIL,
    T_CORE,
    T_LAST,
    T_NEXT,
    T_PC,
    X_CODE,
    X_PC,
    X_TASK,
    X_VALUE,
    State,
)

Int = Any  # inside compiled code: a 64-bit integer
STOP = np.int64(-1)
PATIENCE = 1000  # looks at another part's pace before its thread may not have a processor; some ten microseconds


@inlined
def _arrive(s: State, y: Clock, r: Int, word: Int, at: Int) -> None:
    """A word comes off the ramp into an input queue."""
    ring = s.ring
    s.words[ring[r, R_BASE] + slot(ring, r, R_TAIL, 0)] = word
    put_word(ring, r)
    ring[r, R_INFLIGHT] -= 1
    t = wake_task(s, r, R_READER, at)
    if t >= 0:
        list_core(y, s.task[t, T_CORE], at)


@inlined
def _events(s: State, y: Clock, at: Int) -> None:
    place = at & (len(y.events) - 1)
    count = y.events[place, 0, 0]
    for i in range(1, count + 1):
        kind, number, word = y.events[place, i, 0], y.events[place, i, 1], y.events[place, i, 2]
        if kind == E_RING:
            _arrive(s, y, number, word, at)
        elif kind == E_RIPE:
            n = y.now[P_SOURCES] + number - y.now[P_OUT]
            y.node[n, D_HERE] += 1
            list_node(y, n)
        else:
            network.put_in_stage(y, number, word, at)
    y.now[N_EVENTS] -= count
    y.events[place, 0, 0] = 0


@inlined
def _offers(s: State, y: Clock, lane: Int) -> Any:
    """Whether a host lane has a word to offer that it has not offered yet."""
    t = y.now[P_SENDERS] + lane
    return y.node[y.now[P_LANES] + lane, D_HERE] == 0 and s.task[t, T_NEXT] < s.task[t, T_LAST]


@inlined
def _host(s: State, y: Clock, at: Int) -> None:
    """Host lanes whose time has come offer their next word."""
    for i in range(1, y.lanes[0] + 1):
        lane = y.lanes[i]
        t, n = y.now[P_SENDERS] + lane, y.now[P_LANES] + lane
        if _offers(s, y, lane) and s.task[t, T_TIME] <= at * FINE:
            y.node[n, D_HERE] = 1
            s.task[t, T_TIME] = max(s.task[t, T_TIME], (at - 1) * FINE) + y.now[P_GAP]
            list_node(y, n)


@merged
def _cores(s: State, y: Clock, at: Int) -> None:
    half = at & 1
    c = y.wheel[at % WHEEL]
    while c >= 0:
        clear_timer(y, c)
        list_core(y, c, at)
        c = y.wheel[at % WHEEL]
    fault = y.now[N_FAULT:]
    for i in range(y.now[N_CORES + half]):
        number, t, value = step(s, y, y.cores[half, i], at)
        if number and (fault[X_CODE] == 0 or t < fault[X_TASK]):
            fault[X_CODE], fault[X_TASK], fault[X_VALUE], fault[X_PC] = number, t, value, s.task[t, T_PC]
    y.now[N_CORES + half] = 0


@inlined
def _next_cycle(s: State, y: Clock, at: Int) -> Int:
    """The next cycle in which something happens, or NEVER."""
    half = (at + 1) & 1
    if y.now[N_CORES + half] or y.now[N_NODES + half]:
        return at + 1
    soonest = NEVER
    for i in range(1, y.lanes[0] + 1):
        lane = y.lanes[i]
        if _offers(s, y, lane):
            due = (s.task[y.now[P_SENDERS] + lane, T_TIME] + FINE - 1) // FINE
            soonest = min(soonest, max(at + 1, due))
    if y.now[N_EVENTS]:
        for ahead in range(1, len(y.events)):
            if y.events[(at + ahead) & (len(y.events) - 1), 0, 0]:
                soonest = min(soonest, at + ahead)
                break
    if y.now[N_TIMERS]:
        for ahead in range(1, WHEEL):
            if at + ahead >= soonest:
                break
            if y.wheel[(at + ahead) % WHEEL] >= 0:
                return at + ahead
    return soonest


@merged
def _cycle(s: State, y: Clock, at: Int) -> Int:
    """One cycle of one part. The next cycle in which it has something to do, or another one because of it; STOP after a
    fault."""
    y.now[N_INTO] = at & 1
    network.exchange(y, at)
    if y.now[N_OWN] > at and y.now[N_NODES + (at & 1)] == 0:
        return y.now[N_OWN]
    y.now[N_CYCLE] = at
    _events(s, y, at)
    _host(s, y, at)
    _cores(s, y, at)
    network.ask(s, y)
    y.now[N_INTO] = (at + 1) & 1
    network.commit(s, y)
    y.now[N_OWN] = _next_cycle(s, y, at)
    if y.now[N_FAULT + X_CODE]:
        return STOP
    return at + 1 if y.now[N_SENT] else y.now[N_OWN]


@inlined
def _meet(w: Clocks, first: Int, last: Int, turn: Int) -> Int:
    """Wait until all parts have ended `turn` cycles: the next one. Parts first..last - 1 are this thread's."""
    parts = len(w.now)
    soonest = NEVER
    for p in range(parts):
        looks = 0
        while (p < first or p >= last) and load_acquire(w.pace, p, 0) < turn:
            looks += 1
            if looks > PATIENCE:
                if load_acquire(w.pace, parts, 0):
                    return STOP
                give_way()
            pause()
        soonest = min(soonest, w.pace[p, NEXT + (turn & 1)])
    return soonest


@inlined
def _part(w: Clocks, p: Int) -> Clock:
    return Clock(
        w.now[p], w.wheel[p], w.cores[p], w.nodes[p], w.events[p], w.lanes[p],
        w.core, w.node, w.fan, w.link, w.boxes, w.received, w.log,
    )  # fmt: skip


@entry
def run(s: State, w: Clocks, first: Int, last: Int, cycles: Int) -> Int:
    """Run parts first..last - 1 for up to `cycles` cycles, not counting jumps, while other threads run the others.

    1 if nothing can ever move again or there is a fault, else 0.
    """
    at, turn = w.now[first, N_AT], w.now[first, N_TURN]
    following = at
    for _ in range(cycles):
        turn += 1
        for p in range(first, last):
            w.pace[p, NEXT + (turn & 1)] = _cycle(s, _part(w, p), at)
            store_release(w.pace, p, 0, turn)
        following = _meet(w, first, last, turn)
        if following in (STOP, NEVER):
            break
        at = following
    for p in range(first, last):
        w.now[p, N_AT], w.now[p, N_TURN] = at, turn
    return 1 if following in (STOP, NEVER) else 0


@entry
def start(w: Clocks, p: Int, units: Any) -> None:
    """List cores of a part for cycle 0."""
    y = _part(w, p)
    for c in units:
        list_core(y, c, 0)
