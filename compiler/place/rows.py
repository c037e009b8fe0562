"""Seeds for the search: rows of kernels in a given order, by dynamic programming, for one time limit.

For a run a..b of the order and a row's height every kernel takes its narrowest shape of at most that height, so the
least height of the run is found by bisection over prefix sums. A second dynamic program cuts the order into runs whose
heights add up to at most the region's, with the least estimated wire. Rows are run through alternately forwards and
backwards.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from compiler.place.anneal import new_tree
from compiler.place.jit import called, entry
from compiler.place.layout import FAR, Ints
from compiler.place.problem import Net
from compiler.place.slicing import CENTRED, KIND, LAST, ROW, SLACK, clear, link

Longs = npt.NDArray[np.int64]


@called
def least_heights(prefix: Longs, width: int) -> Longs:
    """(a, b) -> the least height at which kernels a..b-1 of the order lie side by side in `width`; FAR if none."""
    n = prefix.shape[0] - 1
    top = prefix.shape[1]
    found = np.full((n + 1, n + 1), FAR, dtype=np.int64)
    for a in range(n):
        low = 0
        for b in range(a + 1, n + 1):
            high = top
            while low < high:
                middle = (low + high) // 2
                if prefix[b, middle] - prefix[a, middle] <= width:
                    high = middle
                else:
                    low = middle + 1
            if low == top:
                break
            found[a, b] = low
    return found


@called
def run_price(a: int, b: int, h: int, prefix: Longs, rank: Longs, net: Longs) -> float:
    """Estimated wire of a row of kernels a..b-1 of height h, in cores: its own nets, its share of those that leave."""
    price = 0.0
    for e in range(net.shape[0]):
        i, j = rank[net[e, 0]], rank[net[e, 1]]
        i, j = min(i, j), max(i, j)
        if a <= i and j < b:
            length = prefix[j + 1, h] + prefix[j, h] - prefix[i + 1, h] - prefix[i, h]  # between centres, doubled
        elif a <= i < b:
            length = h + prefix[b, h] - prefix[i, h]  # to the row's end, where the next row begins
        elif a <= j < b:
            length = h + prefix[j + 1, h] - prefix[a, h]
        elif i < a and j >= b:
            length = 2 * h
        else:
            continue
        price += 0.5 * net[e, 4] * length
    return price


@entry
def cut(order: Longs, rank: Longs, part: Longs, wide: Ints, net: Longs, width: int, height: int) -> Longs:
    """Where rows begin in `order`, ending with its length; an empty array if rows do not fit `width` x `height`.

    `part` (kernels) says which of the curves `wide` (parts, heights) is whose; `rank` is the inverse of `order`.
    """
    n = order.shape[0]
    prefix = np.zeros((n + 1, min(wide.shape[1], height + 1)), dtype=np.int64)
    for i in range(n):
        for h in range(prefix.shape[1]):
            prefix[i + 1, h] = prefix[i, h] + wide[part[order[i]], h]
    heights = least_heights(prefix, width)
    best = np.full((n + 1, height + 1), np.inf)
    back = np.full((n + 1, height + 1), -1, dtype=np.int64)
    best[0, :] = 0.0
    for a in range(n):
        for b in range(a + 1, n + 1):
            h = heights[a, b]
            if h > height:
                break
            price = run_price(a, b, h, prefix, rank, net)
            for y in range(h, height + 1):
                value = best[a, y - h] + price
                if value < best[b, y]:
                    best[b, y] = value
                    back[b, y] = a
    starts = np.zeros(n + 1, dtype=np.int64)
    if np.isinf(best[n, height]):
        return starts[:0]
    count, b, y = 0, n, height
    while b > 0:
        starts[count] = b
        count += 1
        a = back[b, y]
        y -= heights[a, b]
        b = a
    return starts[: count + 1][::-1].copy()


def rows_tree(order: Sequence[int], starts: Sequence[int]) -> Ints:
    """The slicing tree of rows [starts[i], starts[i + 1]) of `order`, every second one backwards."""
    n = len(order)
    tree = new_tree(n)
    clear(tree, n)
    tree[SLACK, :n] = CENTRED
    node = n + 1
    for r in range(len(starts) - 1):
        row = list(order[starts[r] : starts[r + 1]])[:: -1 if r % 2 else 1]
        if len(row) == 1:
            link(tree, row[0], n, tree[LAST, n])
            continue
        tree[KIND, node] = ROW
        link(tree, node, n, tree[LAST, n])
        for v in row:
            link(tree, v, node, tree[LAST, node])
        node += 1
    return tree


def orders(kernels: int, nets: Sequence[Net], count: int, seed: int) -> list[Longs]:
    """Up to `count` orders in which sources come before sinks: depth first, chains kept together, ties at random.

    Where nets close a cycle it is entered at its first kernel.
    """
    random = np.random.default_rng(seed)
    follow: list[list[int]] = [[] for _ in range(kernels)]
    for source, sink in sorted({(net.source, net.sink) for net in nets if net.source != net.sink}):
        follow[source].append(sink)
    found: list[Longs] = []
    for attempt in range(4 * count):
        if len(found) >= count:
            break
        candidate = _depth_first(follow, random if attempt else None)
        if not any(np.array_equal(candidate, known) for known in found):
            found.append(candidate)
    return found


def _depth_first(follow: Sequence[Sequence[int]], random: np.random.Generator | None) -> Longs:
    """A kernel comes as soon as all its sources have, right behind the last of them if it can."""
    waiting = np.bincount([sink for sinks in follow for sink in sinks], minlength=len(follow))
    left = set(range(len(follow)))
    ready = [v for v in range(len(follow)) if waiting[v] == 0]
    if random:
        random.shuffle(ready)
    order: list[int] = []
    while left:
        if not ready:
            ready = [min(left)]
        v = ready.pop()
        if v not in left:
            continue
        left.discard(v)
        order.append(v)
        opened = []
        for sink in follow[v]:
            waiting[sink] -= 1
            if waiting[sink] == 0 and sink in left:
                opened.append(sink)
        if random:
            random.shuffle(opened)
        ready += opened
    return np.array(order, dtype=np.int64)
