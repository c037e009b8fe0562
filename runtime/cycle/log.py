"""What happens in the cycles and the rectangle of a trace, noted while it happens (see `runtime.cycle.trace`).

Called, not inlined: without a trace a comparison in the caller is all it costs.
"""

from __future__ import annotations

from typing import Any

from runtime.cycle.state import (
    G_COLOUR,
    G_REASON,
    G_ROW,
    G_SINCE,
    G_UNIT,
    G_UNTIL,
    G_WORD,
    IDLE,
    K_BURST,
    K_FIRST,
    K_SINCE,
    K_TASKS,
    K_TRACED,
    LINKS,
    N_BOTTOM,
    N_COLUMNS,
    N_CYCLE,
    N_LEFT,
    N_LOGGED,
    N_LOST,
    N_RIGHT,
    N_TOP,
    N_UNTIL,
)
from runtime.jit import called, inlined
from runtime.state import T_PC

Int = Any  # inside compiled code: a 64-bit integer


@inlined
def _entry(now: Any, log: Any) -> Int:
    """A free entry, or 0 if there is none."""
    place = now[N_LOGGED]
    if place >= len(log):
        now[N_LOST] += 1
        return 0
    now[N_LOGGED] = place + 1
    return place


@called
def log_span(now: Any, core: Any, task: Any, log: Any, c: Int, reason: Int, row: Int, until: Int) -> None:
    """A core's time since K_SINCE; it is joined to the entry before if that is alike."""
    since, last = core[c, K_SINCE], core[c, K_TRACED]
    if last < 0 or reason == IDLE or since >= now[N_UNTIL] or since == until:
        return
    if row < 0 and core[c, K_BURST] >= 0:
        row = task[core[c, K_BURST], T_PC] - 1  # a burst's task stands behind its instruction
    elif row < 0 and core[c, K_TASKS] == 1:
        row = task[core[c, K_FIRST], T_PC]
    if log[last, G_ROW] == row and log[last, G_REASON] == reason and log[last, G_UNTIL] == since:
        log[last, G_UNTIL] = until
        return
    place = _entry(now, log)
    if place:
        log[place, G_UNIT], log[place, G_ROW], log[place, G_REASON] = c, row, reason
        log[place, G_SINCE], log[place, G_UNTIL] = since, until
        core[c, K_TRACED] = place


@called
def log_word(now: Any, log: Any, link: Int, colour: Int, word: Int) -> None:
    """A word crosses a link of a router in this cycle; a host lane's way in has no router."""
    at, place = now[N_CYCLE], link // LINKS
    row, column = place // now[N_COLUMNS], place % now[N_COLUMNS]
    inside = now[N_LEFT] <= column < now[N_RIGHT] and now[N_TOP] <= row < now[N_BOTTOM]
    if not inside or at >= now[N_UNTIL]:
        return
    place = _entry(now, log)
    if place:
        log[place, G_UNIT], log[place, G_COLOUR], log[place, G_WORD] = -1 - link, colour, word
        log[place, G_SINCE], log[place, G_UNTIL] = at, at + 1
