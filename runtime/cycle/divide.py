"""Dividing the fabric into parts, one a thread: which routers and cores, and the ghosts between them.

Routers are dealt out in squares like a chessboard's, so that every kernel larger than a square is shared by all parts:
kernels work at different times, above all on a lone token. Nothing here changes what the machine does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.cycle.state import (
    BOX,
    D_ALSO,
    D_FANS,
    D_FEEDER,
    D_FIRST,
    D_LINK,
    D_RESERVED,
    D_TO,
    F_LINK,
    F_TO,
    H_FAN,
    H_FEEDER,
    H_HOME,
    H_PART,
    H_STAGE,
    LINKS,
    N_AT,
    N_CYCLE,
    N_OWN,
    NOW,
    P_GHOSTS,
    P_LANES,
    P_PART,
    P_RAMP,
    PACE,
    PAIR,
    WHEEL,
    Clocks,
    lines,
)
from runtime.fabric import window_of
from runtime.loader import Loaded
from runtime.state import CHUNK, STAT_COLUMNS, State

Array = np.ndarray[Any, Any]

SIDES = (64, 32, 16, 8, 4)  # of a square, in routers
CROSSING = 1.0  # what a hop into another part costs more, in hops
LEAST_CORES = 256  # with a program; for fewer, threads would mostly wait for one another


def _side(loaded: Loaded, x: Array, y: Array, parts: int) -> int:
    """The side of the squares for which work would take least time, if every kernel worked alone."""
    busy = loaded.image.cores["program"] >= 0
    costs = []
    for side in SIDES:
        share = (x // side + y // side) % parts
        key = loaded.block[busy] * parts + share[busy]
        counts = np.bincount(key, minlength=len(loaded.image.blocks) * parts).reshape(-1, parts)
        costs.append(counts.max(axis=1).sum() * parts / busy.sum() + CROSSING / side)
    return SIDES[int(np.argmin(costs))]


def _shares(loaded: Loaded, clock: Clocks, parts: int) -> tuple[Array, Array]:
    """The part of every core and of every node."""
    window = window_of(loaded.image.target)
    x, y = loaded.x - window.x0, loaded.y - window.y0
    few = np.count_nonzero(loaded.image.cores["program"] >= 0) < LEAST_CORES
    if (
        parts == 1 or few or (clock.node[:, D_ALSO] >= 0).any()
    ):  # routes that run into one another: one stage, two feeders
        return np.zeros(len(x), np.int64), np.zeros(len(clock.node), np.int64)
    side = _side(loaded, x, y, parts)
    # A node asks for links of its own router; a host lane stands before the router that it feeds.
    first = clock.node[:, D_FIRST].astype(np.int64)
    lanes = slice(int(clock.now[0, P_LANES]), None)
    first[lanes] = clock.node[clock.fan[first[lanes], F_TO], D_FIRST]
    row, column = np.divmod(clock.fan[first, F_LINK] // LINKS, window.width)
    return (x // side + y // side) % parts, (column // side + row // side) % parts


def whole(clock: Clocks) -> tuple[Array, Array]:
    """Nodes and fans as they are without parts: no ghosts."""
    ghosts = clock.node[clock.now[0, P_GHOSTS] :]
    node, fan = clock.node[: clock.now[0, P_GHOSTS]].copy(), clock.fan.copy()
    node[ghosts[:, H_STAGE], D_FEEDER] = ghosts[:, H_FEEDER]
    fan[ghosts[:, H_FAN], F_TO] = ghosts[:, H_STAGE]
    _note_first_fans(node, fan)
    return node, fan


def _note_first_fans(node: Array, fan: Array) -> None:
    """Each node's first fan, in its own row."""
    if len(fan):
        node[:, [D_TO, D_LINK]] = fan[np.minimum(node[:, D_FIRST], len(fan) - 1)][:, [F_TO, F_LINK]]


def _with_ghosts(node: Array, fan: Array, share: Array) -> tuple[Array, int]:
    """The nodes and after them the ghosts for fans that cross; fans and feeders lead to these from now on.

    And how many words may cross in a cycle from one part to another, with what is told about rooms."""
    count = len(node)
    owner = np.repeat(np.arange(count), node[:, D_FANS])
    stages = fan[:, F_TO]
    crossing = np.flatnonzero((stages >= 0) & (share[owner] != share[np.maximum(stages, 0)]))
    table = lines((count + len(crossing), node.shape[1]), np.int32)
    table[:count] = node
    ghost, to = table[count:], stages[crossing]
    ghost[:, H_STAGE], ghost[:, H_PART] = to, share[to]
    ghost[:, H_FEEDER], ghost[:, H_HOME], ghost[:, H_FAN] = owner[crossing], share[owner[crossing]], crossing
    ghost[:, D_RESERVED], ghost[:, D_ALSO] = node[to, D_RESERVED], -1
    table[to, D_FEEDER] = fan[crossing, F_TO] = count + np.arange(len(crossing))
    return table, len(crossing)


def divide(loaded: Loaded, state: State, clock: Clocks, threads: int) -> tuple[State, Clocks, Array]:
    """State and clock for up to `threads` parts, and the part of every core. The machine is at rest or has not begun:
    its lists are empty, or will be filled again.
    """
    node, fan = whole(clock)
    clock = clock._replace(node=lines(node.shape, np.int32), fan=fan)
    clock.node[:] = node
    clock.now[0, P_GHOSTS] = len(node)
    cores, nodes = _shares(loaded, clock, threads)
    parts = int(max(cores.max(initial=0), nodes.max(initial=0))) + 1
    node, crossing = _with_ghosts(clock.node, fan, nodes)
    _note_first_fans(node[: len(nodes)], fan)
    now = lines((parts, NOW), np.int64)
    now[:] = clock.now[0]
    now[:, :P_RAMP] = now[:, N_AT:] = 0
    now[:, P_PART] = np.arange(parts)
    now[:, [N_AT, N_OWN, N_CYCLE]] = clock.now[:, N_CYCLE].max()
    lanes = nodes[int(now[0, P_LANES]) :]
    lists = np.zeros((parts, 1 + len(lanes)), np.int32)
    for p in range(parts):
        own = np.flatnonzero(lanes == p)
        lists[p, 0], lists[p, 1 : 1 + len(own)] = len(own), own
    entries = -(-(1 + crossing) // BOX) * BOX
    clock = Clocks(
        now=now,
        wheel=np.full((parts, WHEEL), -1, np.int64),
        cores=np.zeros((parts, 2, len(clock.core)), np.int32),
        nodes=np.zeros((parts, 2, len(nodes)), np.int32),
        events=np.zeros((parts, *clock.events.shape[1:]), np.int32),
        lanes=lists,
        core=clock.core,
        node=node,
        fan=fan,
        link=clock.link,
        boxes=lines((2, parts, parts, entries, 2), np.int32),
        received=clock.received,
        log=clock.log,
        pace=lines((parts + 1, PACE), np.int64),
    )
    stats = lines((parts, max(STAT_COLUMNS, PAIR // 8)), np.int64)
    stats[0, :STAT_COLUMNS] = state.stats[:, :STAT_COLUMNS].sum(axis=0)
    state = state._replace(stats=stats, scratch=lines((parts, 3, CHUNK), np.float32))
    return state, clock, cores
