"""Simulated annealing over slicing trees, the time limit included, in compiled code.

A state is a tree (see `slicing`) whose leaves may be held to a protocol, and an index into a list of time limits. Its
cost is the score of the layout it stands for, plus a price for every core by which it sticks out of the region or
covers an obstacle.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from compiler.place.jit import called, entry
from compiler.place.layout import FAR, lay_out, own_slot, recombine, root_size
from compiler.place.moves import agrees, draw, first_row, propose
from compiler.place.slicing import DEPTH, FIELDS, KEY, KIND, LEAF, PARENT, ROW, SLACK, SPARE, Ints
from compiler.place.tables import Tables

Longs = npt.NDArray[np.int64]
NEVER = 1e30  # the cost of what has no place
EXTRA_NODES = 4  # spare nodes a move may need for a moment


class Weights(NamedTuple):
    """What a cycle, a core of wire, an adapter and a core of overflow cost."""

    time: float
    wire: float
    adapter: float
    overflow: float


class State(NamedTuple):
    """One annealer's memory; `trees` and `limit` hold the proposal, the current state, and the best legal one."""

    trees: Ints  # (3, fields, nodes)
    limit: Longs  # (3) index into limits
    span: Longs  # (2) the limits it may use: first, behind the last
    cost: npt.NDArray[np.float64]  # (2) current without the price of overflow, best
    over: Longs  # (1) overflow of the current state, in cores
    wide: Ints  # (slots, h), see `layout`
    high: Ints  # (slots, w)
    wide_row: Ints  # (slots of leaves, h)
    high_row: Ints  # (slots of leaves, w)
    current: Longs  # (nodes) slots
    version: Longs  # (nodes) the same for the proposal
    dirty: Longs  # (nodes)
    order: Longs  # (nodes) scratch
    stack: Longs  # (nodes, 5) scratch
    box: Longs  # (kernels, 4) x, y, width, height
    row: Longs  # (2, kernels) of the proposal, of the current state
    chosen: Longs  # (kernels, 2) the slot, and the length there, that row[0] was chosen for
    size: Longs  # (kernels, 2) of row[0]; so are time, pins, given, wanted
    time: npt.NDArray[np.float64]  # (kernels)
    pins: Longs  # (kernels, pins, 2)
    given: Longs  # (kernels, entries, 2)
    wanted: Longs  # (kernels, entries, 2)
    place: Longs  # (kernels, 2) low corners
    random: npt.NDArray[np.uint64]  # (1)


def new_state(tables: Tables, tree: Ints, limit: int, seed: int) -> State:
    """A state for `tree`; `start` must follow."""
    kernels = tables.part.shape[1]
    nodes = tree.shape[1]

    def slots(curves: Ints, own: int) -> Ints:
        return np.concatenate([curves, np.zeros((own, curves.shape[1]), dtype=np.int32)])

    return State(
        trees=np.stack([tree] * 3),
        limit=np.full(3, limit, dtype=np.int64),
        span=np.array([0, len(tables.limits)], dtype=np.int64),
        cost=np.zeros(2),
        over=np.zeros(1, dtype=np.int64),
        wide=slots(tables.wide, 2 * nodes),
        high=slots(tables.high, 2 * nodes),
        wide_row=slots(tables.wide_row, 2 * kernels),
        high_row=slots(tables.high_row, 2 * kernels),
        current=np.zeros(nodes, dtype=np.int64),
        version=np.zeros(nodes, dtype=np.int64),
        dirty=np.zeros(nodes, dtype=np.int64),
        order=np.zeros(nodes, dtype=np.int64),
        stack=np.zeros((nodes, 5), dtype=np.int64),
        box=np.zeros((kernels, 4), dtype=np.int64),
        row=np.zeros((2, kernels), dtype=np.int64),
        chosen=np.zeros((kernels, 2), dtype=np.int64),
        size=np.zeros((kernels, 2), dtype=np.int64),
        time=np.zeros(kernels),
        pins=np.zeros((kernels, *tables.pins.shape[1:]), dtype=np.int64),
        given=np.zeros((kernels, *tables.given.shape[1:]), dtype=np.int64),
        wanted=np.zeros((kernels, *tables.wanted.shape[1:]), dtype=np.int64),
        place=np.zeros((kernels, 2), dtype=np.int64),
        random=np.array([(seed * 0x9E3779B97F4A7C15 + 0x1234567) % (1 << 64) | 1], dtype=np.uint64),
    )


def new_tree(kernels: int) -> Ints:
    """An array for a tree of this many kernels."""
    return np.empty((FIELDS, 2 * kernels + EXTRA_NODES), dtype=np.int32)


@called
def fill_leaf(v: int, key: int, depth: int, t: int, tables: Tables, state: State) -> None:
    """The curves of kernel v for limit t, held to the first `depth` entries of `key`, for its proposal."""
    part = tables.part[t, v]
    if depth == 0:
        state.version[v] = part
        return
    slot = own_slot(v, tables.wide.shape[0], state.current)
    state.version[v] = slot
    state.chosen[v, 0] = -1
    wide, high = state.wide[slot], state.high[slot]
    wide_row, high_row = state.wide_row[slot], state.high_row[slot]
    wide[:] = FAR
    high[:] = FAR
    row = first_row(tables, part, key, depth)
    while row < tables.start[part + 1] and agrees(tables.keys, tables.key[row], key, depth) == 0:
        w, h = tables.size[row, 0], tables.size[row, 1]
        if h < wide.shape[0] and w < wide[h]:
            wide[h] = w
            wide_row[h] = row
        if w < high.shape[0] and h < high[w]:
            high[w] = h
            high_row[w] = row
        row += 1
    for i in range(1, wide.shape[0]):
        if wide[i - 1] <= wide[i]:
            wide[i] = wide[i - 1]
            wide_row[i] = wide_row[i - 1]
    for i in range(1, high.shape[0]):
        if high[i - 1] <= high[i]:
            high[i] = high[i - 1]
            high_row[i] = high_row[i - 1]


@called
def choose_shapes(tree: Ints, n: int, tables: Tables, state: State) -> float:
    """Shape and low corner of every kernel inside its box; returns the largest time, or -1 where a box fits none."""
    time = 0.0
    for v in range(n):
        w, h = state.box[v, 2], state.box[v, 3]
        slot = state.version[v]
        in_row = tree[KIND, tree[PARENT, v]] == ROW
        length = h if in_row else -1 - w
        if state.chosen[v, 0] != slot or state.chosen[v, 1] != length:
            row = state.wide_row[slot, h] if in_row else state.high_row[slot, w]
            state.chosen[v, 0] = slot if row >= 0 else -1
            if row < 0:
                return -1.0
            state.chosen[v, 1] = length
            take_row(v, row, tables, state)
        dx, dy = w - state.size[v, 0], h - state.size[v, 1]
        if dx < 0 or dy < 0:
            return -1.0
        gene = tree[SLACK, v]
        state.place[v, 0] = state.box[v, 0] + dx * (gene % 3) // 2
        state.place[v, 1] = state.box[v, 1] + dy * (gene // 3) // 2
        time = max(time, state.time[v])
    return time


@called
def take_row(v: int, row: int, tables: Tables, state: State) -> None:
    """Copy what counts of a shape to where the shapes of all kernels lie together."""
    state.row[0, v] = row
    state.size[v, 0] = tables.size[row, 0]
    state.size[v, 1] = tables.size[row, 1]
    state.time[v] = tables.time[row]
    for p in range(tables.pins.shape[1]):
        state.pins[v, p, 0] = tables.pins[row, p, 0]
        state.pins[v, p, 1] = tables.pins[row, p, 1]
    for e in range(tables.given.shape[1]):
        for i in range(2):
            state.given[v, e, i] = tables.given[row, e, i]
            state.wanted[v, e, i] = tables.wanted[row, e, i]


@called
def wiring(tables: Tables, state: State, entries: int) -> tuple[int, int]:
    """(weighted wire length in half cores, adapters in the first `entries` entries) of the proposal."""
    place, pins, given, wanted = state.place, state.pins, state.given, state.wanted
    wire = 0
    adapters = 0
    for i in range(tables.net.shape[0]):
        a, b = tables.net[i, 0], tables.net[i, 1]
        pa, pb = tables.net[i, 2], tables.net[i, 3]
        dx = 2 * (place[a, 0] - place[b, 0]) + pins[a, pa, 0] - pins[b, pb, 0]
        dy = 2 * (place[a, 1] - place[b, 1]) + pins[a, pa, 1] - pins[b, pb, 1]
        wire += (abs(dx) + abs(dy)) * tables.net[i, 4]
        for e in range(entries):
            if given[a, e, 0] > wanted[b, e, 1] or given[a, e, 1] < wanted[b, e, 0]:
                adapters += 1
    return wire, adapters


@called
def covered(tables: Tables, size: Longs, place: Longs) -> int:
    """Cores of obstacles under kernels."""
    total = 0
    for o in range(tables.obstacle.shape[0]):
        x0, y0 = tables.obstacle[o, 0], tables.obstacle[o, 1]
        x1, y1 = x0 + tables.obstacle[o, 2], y0 + tables.obstacle[o, 3]
        for v in range(size.shape[0]):
            x, y = place[v, 0], place[v, 1]
            w = min(x1, x + size[v, 0]) - max(x0, x)
            h = min(y1, y + size[v, 1]) - max(y0, y)
            if w > 0 and h > 0:
                total += min(w, h)
    return total


@called
def measure(
    tree: Ints, n: int, tables: Tables, state: State, width: int, height: int, weights: Weights, bar: float
) -> tuple[float, int]:
    """(cost without the price of overflow, overflow) of the proposal; (NEVER, .) where both together exceed `bar`."""
    over, w, h = root_size(tree, n, state.high, state.version, width, height)
    if h >= state.wide.shape[1]:
        return NEVER, over
    bar -= over * weights.overflow
    if bar < 0:
        return NEVER, over
    lay_out(tree, n, n, state.wide, state.high, state.version, w, max(h, height), state.box, state.stack)
    time = choose_shapes(tree, n, tables, state)
    if time < 0:
        return NEVER, over
    price = weights.time * time
    if price > bar:
        return NEVER, over
    if tables.obstacle.shape[0]:
        under = covered(tables, state.size, state.place)
        over += under
        bar -= under * weights.overflow
    entries = tables.given.shape[1] if weights.adapter > 0 else 0
    wire, adapters = wiring(tables, state, entries)
    price += weights.wire * 0.5 * wire + weights.adapter * adapters
    return (price if price <= bar else NEVER), over


@called
def refresh_leaves(tree: Ints, n: int, t: int, tables: Tables, state: State) -> None:
    """New curves for all leaves; all inner nodes become dirty."""
    for v in range(n):
        fill_leaf(v, tree[KEY, v], tree[DEPTH, v], t, tables, state)
    for v in range(tree.shape[1]):
        state.dirty[v] = 1 if tree[KIND, v] not in (SPARE, LEAF) else 0


@entry
def start(tables: Tables, state: State, width: int, height: int, weights: Weights) -> None:
    """Work out curves and cost of the tree in `state`; must precede `anneal`."""
    tree = state.trees[0]
    n = tables.part.shape[1]
    state.current[:] = -1
    state.version[:] = -1
    state.chosen[:] = -1
    state.trees[1, KIND] = SPARE
    refresh_leaves(tree, n, state.limit[0], tables, state)
    parts = tables.wide.shape[0]
    recombine(
        tree, state.trees[1], n, parts, state.wide, state.high, state.current, state.version, state.dirty, state.order
    )
    cost, over = measure(tree, n, tables, state, width, height, weights, NEVER)
    state.current[:] = state.version
    state.dirty[:] = 0
    state.row[1] = state.row[0]
    state.cost[0] = cost
    state.over[0] = over
    state.cost[1] = cost if over == 0 else NEVER
    state.trees[1] = tree
    state.trees[2] = tree
    state.limit[:] = state.limit[0]


@entry
def anneal(
    tables: Tables, state: State, width: int, height: int, weights: Weights, moves: int, hot: float, cold: float
) -> int:
    """`moves` tries while the temperature falls geometrically from `hot` to `cold`; returns how many were accepted."""
    n = tables.part.shape[1]
    tree = state.trees[0]
    aligning = weights.adapter > 0 and tables.keys.shape[1] > 0
    factor = (cold / hot) ** (1.0 / max(1, moves))
    heat = hot
    accepted = 0
    for _ in range(moves):
        heat *= factor
        t = state.limit[1]
        state.version[:] = state.current
        new = propose(tree, n, t, tables, state.span, state.row[1], aligning, state.random, state.dirty)
        if new >= 0:
            if new != t:
                refresh_leaves(tree, n, new, tables, state)
            elif aligning:
                for v in range(n):
                    if state.dirty[v] == 1:
                        fill_leaf(v, tree[KEY, v], tree[DEPTH, v], t, tables, state)
            if new != t or state.dirty[n] != 0:
                recombine(
                    tree, state.trees[1], n, tables.wide.shape[0], state.wide, state.high, state.current,
                    state.version, state.dirty, state.order,
                )  # fmt: skip
            u = (draw(state.random, 1 << 24) + 1) / (1 << 24)
            bar = state.cost[0] + state.over[0] * weights.overflow - heat * np.log(u)
            cost, over = measure(tree, n, tables, state, width, height, weights, bar)
            if cost < NEVER:
                accepted += 1
                state.current[:] = state.version
                state.limit[1] = new
                state.cost[0] = cost
                state.over[0] = over
                state.trees[1] = tree
                state.row[1] = state.row[0]
                if over == 0 and cost < state.cost[1]:
                    state.cost[1] = cost
                    state.trees[2] = tree
                    state.limit[2] = new
            else:
                tree[:] = state.trees[1]
        else:
            tree[:] = state.trees[1]
        state.dirty[:] = 0
    return accepted


@entry
def expand(tables: Tables, state: State, width: int, height: int, weights: Weights) -> None:
    """Put the rows and low corners of the best legal tree into `state.row[0]` and `state.place`."""
    state.trees[0] = state.trees[2]
    state.limit[0] = state.limit[2]
    start(tables, state, width, height, weights)
