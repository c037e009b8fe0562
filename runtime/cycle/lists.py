"""Who has something to do and when: lists for the cycle at hand and the next, timers, events a few cycles ahead, and
what other parts are told.

Lists have no meaningful order: nothing the engine computes depends on it.
"""

from __future__ import annotations

from typing import Any

from runtime.cycle.state import (
    D_HERE,
    D_LISTED,
    K_LISTED,
    K_NEXT,
    K_PREVIOUS,
    K_SLOT,
    N_BOX,
    N_CORES,
    N_CYCLE,
    N_EVENTS,
    N_INTO,
    N_NODES,
    N_SENT,
    N_TIMERS,
    P_PART,
    WHEEL,
    Clock,
)
from runtime.jit import inlined

Int = Any  # inside compiled code: a 64-bit integer


@inlined
def list_core(y: Clock, c: Int, at: Int) -> None:
    """List a core for cycle `at`, the current one or the next."""
    if y.core[c, K_LISTED] != at:
        y.core[c, K_LISTED] = at
        half = at & 1
        y.cores[half, y.now[N_CORES + half]] = c
        y.now[N_CORES + half] += 1


@inlined
def list_node(y: Clock, n: Int) -> None:
    """List a node that has a word to hand on."""
    if n >= 0 and y.node[n, D_LISTED] == 0 and y.node[n, D_HERE] > 0:
        y.node[n, D_LISTED] = 1
        half = y.now[N_INTO]
        y.nodes[half, y.now[N_NODES + half]] = n
        y.now[N_NODES + half] += 1


@inlined
def clear_timer(y: Clock, c: Int) -> None:
    slot = y.core[c, K_SLOT]
    if slot < 0:
        return
    after, before = y.core[c, K_NEXT], y.core[c, K_PREVIOUS]
    if before >= 0:
        y.core[before, K_NEXT] = after
    else:
        y.wheel[slot] = after
    if after >= 0:
        y.core[after, K_PREVIOUS] = before
    y.core[c, K_SLOT] = -1
    y.now[N_TIMERS] -= 1


@inlined
def set_timer(y: Clock, c: Int, time: Int) -> None:
    """List core c in cycle `time`, or as late before it as timers reach; never, if it is too far to be meant."""
    clear_timer(y, c)
    if time >= 1 << 60:
        return
    slot = min(time, y.now[N_CYCLE] + WHEEL - 1) % WHEEL
    after = y.wheel[slot]
    y.wheel[slot] = c
    y.core[c, K_SLOT], y.core[c, K_NEXT], y.core[c, K_PREVIOUS] = slot, after, -1
    if after >= 0:
        y.core[after, K_PREVIOUS] = c
    y.now[N_TIMERS] += 1


@inlined
def add_event(y: Clock, at: Int, kind: Int, number: Int, word: Int) -> None:
    """Note what happens at the beginning of cycle `at`, less than len(events) cycles ahead."""
    slot = at & (len(y.events) - 1)
    place = y.events[slot, 0, 0] + 1
    y.events[slot, 0, 0] = place
    y.events[slot, place, 0], y.events[slot, place, 1], y.events[slot, place, 2] = kind, number, word
    y.now[N_EVENTS] += 1


@inlined
def post(y: Clock, part: Int, number: Int, word: Int) -> None:
    """Tell another part: a word comes to its stage `number`, or (-1 - ghost) a ghost of its has one word less."""
    y.now[N_SENT] = 1
    box = y.boxes[y.now[N_BOX], y.now[P_PART], part]
    place = box[0, 0] + 1
    box[0, 0], box[place, 0], box[place, 1] = place, number, word
