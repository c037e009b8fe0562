"""The clock: what happens in a cycle, in which order, and how far it is to the next cycle in which anything does.

A cycle: words come off the ramps; host lanes offer words; cores issue; routers ask and move. Cores see only
their own queues, and routers judge room by the state before anything moves, so the order among cores and among routers
does not matter. Where nothing is listed, the clock jumps. Where no event, timer or host word is ahead either, nothing
can ever move again: the machine is at rest, or deadlocked.
"""

from __future__ import annotations

from typing import Any

from runtime.cycle import network
from runtime.cycle.core import NEVER, step
from runtime.cycle.lists import clear_timer, list_core, list_node
from runtime.cycle.state import (
    D_HERE,
    E_RING,
    E_RIPE,
    FINE,
    N_CORES,
    N_CYCLE,
    N_EVENTS,
    N_FAULT,
    N_INTO,
    N_NODES,
    N_TIMERS,
    P_GAP,
    P_LANES,
    P_LANES_IN,
    P_OUT,
    P_SENDERS,
    P_SOURCES,
    R_INFLIGHT,
    T_TIME,
    WHEEL,
    Clock,
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
    for lane in range(y.now[P_LANES_IN]):
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
    for lane in range(y.now[P_LANES_IN]):
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


@entry
def run(s: State, y: Clock, cycles: Int) -> Int:
    """Run up to `cycles` cycles, not counting jumps. 1 if nothing can ever move again or there is a fault, else 0."""
    for _ in range(cycles):
        at = y.now[N_CYCLE]
        y.now[N_INTO] = at & 1
        _events(s, y, at)
        _host(s, y, at)
        _cores(s, y, at)
        network.ask(s, y)
        y.now[N_INTO] = (at + 1) & 1
        network.commit(s, y)
        following = _next_cycle(s, y, at)
        if y.now[N_FAULT + X_CODE] or following == NEVER:
            return 1
        y.now[N_CYCLE] = following
    return 0


@entry
def start(y: Clock, units: Any) -> None:
    """List cores for cycle 0."""
    for c in units:
        list_core(y, c, 0)
