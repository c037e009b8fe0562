"""One cycle of the routers: nodes ask for links, words move over those they get.

A node asks for the links of those fans that still want the word at its head and have room, judged by the state at the
beginning of the cycle. A node whose fans all lack room sleeps until one of them gives up a word. Fans of a multicast
take their copies independently; a word leaves with the last.

A link that several colours want takes the lowest. Nobody publishes the rule; it stands in for switches, with which
programs keep words of a later phase out of the way of an earlier one: two-phase reduction over two groups of 256 cores
takes 9,800 cycles on the vendor's simulator, and would take 10,250 here with links that take turns.
"""

from __future__ import annotations

from typing import Any

from runtime.cycle.lists import add_event, list_core, list_node, post
from runtime.cycle.log import log_word
from runtime.cycle.state import (
    CYCLES,
    D_ALSO,
    D_ARRIVED,
    D_COLOUR,
    D_FANS,
    D_FEEDER,
    D_FIRST,
    D_HEAD,
    D_HELD,
    D_HERE,
    D_LINK,
    D_LISTED,
    D_PENDING,
    D_RESERVED,
    D_TO,
    E_RING,
    E_STAGE,
    F_LINK,
    F_TO,
    FINE,
    H_FEEDER,
    H_HOME,
    H_PART,
    H_STAGE,
    L_AT,
    L_WANTED,
    L_WORDS,
    N_BOX,
    N_CYCLE,
    N_FAULT,
    N_FROM,
    N_NODES,
    N_OWN,
    N_SENT,
    P_DEPTH,
    P_GAP,
    P_GHOSTS,
    P_HOP,
    P_LANES,
    P_OUT,
    P_PART,
    P_RAMP,
    P_RECEIVERS,
    P_RINGS,
    P_SENDERS,
    P_SOURCES,
    R_INFLIGHT,
    T_TIME,
    Clock,
)
from runtime.cycle.words import wake_task
from runtime.jit import inlined
from runtime.rings import advance, free_words, slot
from runtime.state import R_BASE, R_HEAD, R_WRITER, T_CORE, T_LAST, T_NEXT, X_CODE, X_TASK, State

Int = Any  # inside compiled code: a 64-bit integer
BLOCKED, ROOM, LATER = range(3)
TWO_INPUTS = 1 << 20  # a fault of a router, whose stage stands where others have their task


@inlined
def _room(s: State, y: Clock, to: Int, at: Int) -> Int:
    """Whether a fan can take a word; LATER if only its time has not come."""
    if to >= 0:
        return ROOM if y.node[to, D_RESERVED] < y.now[P_DEPTH] else BLOCKED
    r = -1 - to
    rings = y.now[P_RINGS]
    if r < rings:
        return ROOM if free_words(s.ring, r) > s.ring[r, R_INFLIGHT] else BLOCKED
    t = y.now[P_RECEIVERS] + r - rings
    if s.task[t, T_NEXT] >= s.task[t, T_LAST]:
        return BLOCKED
    return ROOM if s.task[t, T_TIME] <= at * FINE else LATER


@inlined
def ask(s: State, y: Clock) -> None:
    """Every listed node asks for links; those that cannot do anything leave the list."""
    at, half = y.now[N_CYCLE], y.now[N_CYCLE] & 1
    kept, stamp = 0, at % CYCLES
    for i in range(y.now[N_NODES + half]):
        n = y.nodes[half, i]
        asked, waits = 0, False
        pending, first = y.node[n, D_PENDING], y.node[n, D_FIRST]
        for k in range(y.node[n, D_FANS]):
            if not pending >> k & 1:
                continue
            room = _room(s, y, y.node[n, D_TO] if k == 0 else y.fan[first + k, F_TO], at)
            waits |= room == LATER
            if room != ROOM:
                continue
            link = y.node[n, D_LINK] if k == 0 else y.fan[first + k, F_LINK]
            others = y.link[link, L_WANTED] if y.link[link, L_AT] == stamp else 0
            y.link[link, L_WANTED], y.link[link, L_AT] = others | 1 << y.node[n, D_COLOUR], stamp
            asked |= 1 << k
        if asked or waits:
            y.node[n, D_LISTED] = 1 | asked << 1
            y.nodes[half, kept] = n
            kept += 1
        else:
            y.node[n, D_LISTED] = 0
    y.now[N_NODES + half] = kept


@inlined
def _head(s: State, y: Clock, n: Int) -> Int:
    sources = y.now[P_SOURCES]
    if n < sources:
        return y.node[n, D_HELD + y.node[n, D_HEAD]]
    if n < y.now[P_LANES]:
        r = y.now[P_OUT] + n - sources
        return s.words[s.ring[r, R_BASE] + slot(s.ring, r, R_HEAD, 0)]
    return s.host_in[s.task[y.now[P_SENDERS] + n - y.now[P_LANES], T_NEXT]]


@inlined
def put_in_stage(y: Clock, n: Int, word: Int, at: Int) -> None:
    """A word arrives at a stage, to be handed on from cycle `at`; a fault if another one arrives with it."""
    if y.node[n, D_ARRIVED] == at % CYCLES and (y.now[N_FAULT + X_CODE] == 0 or n < y.now[N_FAULT + X_TASK]):
        y.now[N_FAULT + X_CODE], y.now[N_FAULT + X_TASK] = TWO_INPUTS, n
    y.node[n, D_ARRIVED] = at % CYCLES
    place = y.node[n, D_HEAD] + y.node[n, D_HERE]
    depth = y.now[P_DEPTH]
    y.node[n, D_HELD + (place - depth if place >= depth else place)] = word
    y.node[n, D_HERE] += 1
    list_node(y, n)


@inlined
def _hand_on(s: State, y: Clock, n: Int, to: Int, word: Int, at: Int) -> None:
    """A fan of node n takes a word. Between a core and its own router there is no hop."""
    if to >= 0:
        y.node[to, D_RESERVED] += 1
        if to >= y.now[P_GHOSTS]:
            post(y, y.node[to, H_PART], y.node[to, H_STAGE], word)
        elif y.now[P_HOP] == 1 or y.now[P_SOURCES] <= n < y.now[P_LANES]:
            put_in_stage(y, to, word, at + 1)
        else:
            add_event(y, at + y.now[P_HOP], E_STAGE, to, word)
        return
    r = -1 - to
    rings = y.now[P_RINGS]
    if r < rings:
        s.ring[r, R_INFLIGHT] += 1
        add_event(y, at + y.now[P_RAMP], E_RING, r, word)
        return
    t = y.now[P_RECEIVERS] + r - rings
    s.host_out[s.task[t, T_NEXT]] = word
    y.received[s.task[t, T_NEXT]] = at
    s.task[t, T_NEXT] += 1
    s.task[t, T_TIME] = max(s.task[t, T_TIME], at * FINE) + y.now[P_GAP]


@inlined
def _let_go(s: State, y: Clock, n: Int, at: Int) -> Int:
    """The last fan has the word at a node's head: there is room for another. The node that may be waiting for it."""
    y.node[n, D_PENDING] = (1 << y.node[n, D_FANS]) - 1
    y.node[n, D_HERE] -= 1
    sources = y.now[P_SOURCES]
    if n < sources:
        head = y.node[n, D_HEAD] + 1
        y.node[n, D_HEAD] = 0 if head == y.now[P_DEPTH] else head
        y.node[n, D_RESERVED] -= 1
        return y.node[n, D_FEEDER]
    lanes = y.now[P_LANES]
    if n >= lanes:
        s.task[y.now[P_SENDERS] + n - lanes, T_NEXT] += 1
        return -1
    r = y.now[P_OUT] + n - sources
    advance(s.ring, r, R_HEAD, 1)
    t = wake_task(s, r, R_WRITER, at + 1)
    if t >= 0:
        list_core(y, s.task[t, T_CORE], at + 1)
    return -1


@inlined
def commit(s: State, y: Clock) -> None:
    """Words move over the links their nodes have got; nodes with more to hand on are listed for the next cycle."""
    at = y.now[N_CYCLE]
    half = at & 1
    for i in range(y.now[N_NODES + half]):
        n = y.nodes[half, i]
        asked, first, colour = y.node[n, D_LISTED] >> 1, y.node[n, D_FIRST], y.node[n, D_COLOUR]
        lower = (1 << colour) - 1
        word = _head(s, y, n)
        pending = y.node[n, D_PENDING]
        for k in range(y.node[n, D_FANS]):
            link = y.node[n, D_LINK] if k == 0 else y.fan[first + k, F_LINK]
            if asked >> k & 1 and y.link[link, L_WANTED] & lower == 0:
                pending &= ~(1 << k)
                y.link[link, L_WORDS] += 1
                if at >= y.now[N_FROM]:
                    log_word(y.now, y.log, link, colour, word)
                _hand_on(s, y, n, y.node[n, D_TO] if k == 0 else y.fan[first + k, F_TO], word, at)
        y.node[n, D_PENDING] = pending
        if pending == 0:
            feeder = _let_go(s, y, n, at)
            while feeder >= 0:
                if feeder >= y.now[P_GHOSTS]:
                    post(y, y.node[feeder, H_HOME], -1 - feeder, 0)
                else:
                    list_node(y, feeder)
                feeder = y.node[feeder, D_ALSO]
        y.node[n, D_LISTED] = 0
        list_node(y, n)
    y.now[N_NODES + half] = 0


@inlined
def exchange(y: Clock, at: Int) -> None:
    """At the beginning of cycle `at`: take what other parts have told in the cycle before, and begin empty boxes."""
    me, parts = y.now[P_PART], y.boxes.shape[1]
    full = y.now[N_BOX]
    y.now[N_BOX] = 1 - full
    y.now[N_SENT] = 0
    for other in range(parts):
        y.boxes[1 - full, me, other, 0, 0] = 0
        for i in range(1, y.boxes[full, other, me, 0, 0] + 1):
            number, word = y.boxes[full, other, me, i, 0], y.boxes[full, other, me, i, 1]
            if number < 0:
                ghost = -1 - number
                y.node[ghost, D_RESERVED] -= 1
                list_node(y, y.node[ghost, H_FEEDER])
                continue
            y.node[number, D_RESERVED] += 1
            if y.now[P_HOP] == 1:
                put_in_stage(y, number, word, at)
            else:
                come = at - 1 + y.now[P_HOP]
                add_event(y, come, E_STAGE, number, word)
                y.now[N_OWN] = min(y.now[N_OWN], come)
