"""The annealer's moves: one random change of a slicing tree, in compiled code."""

from __future__ import annotations

from typing import Any

import numpy as np

from compiler.place.jit import called
from compiler.place.slicing import (
    BEFORE,
    DEPTH,
    FIRST,
    KEY,
    KIND,
    LAST,
    NEXT,
    PARENT,
    SLACK,
    SPARE,
    Flags,
    Ints,
    above,
    attach,
    carve,
    detach,
    exchange,
    group,
    open_up,
    reverse,
    turn,
)

# How often each kind of move is tried, in parts of their sum; ALIGN only where adapters cost something.
SWAP, MOVE, RUN, REVERSE, GROUP, DISSOLVE, TURN, RESLACK, RELIMIT, ALIGN = 260, 420, 150, 70, 50, 40, 10, 120, 8, 160
SLACK_GENES = 8  # of an inner node
CORNERS = 9  # SLACK of a leaf: where it stands in its box
RUN_LENGTH = 12  # of the longest run of siblings moved at once
PATH_LENGTH = 8  # of the longest path of kernels aligned at once
LEAP = 30  # the most places in the list of limits one move goes


@called
def draw(random: Flags, bound: int) -> int:
    """A number in [0, bound): xorshift64*."""
    x = random[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    random[0] = x
    y = x * np.uint64(2685821657736338717)
    return np.int64((y >> np.uint64(33)) % np.uint64(bound))  # type: ignore[return-value]


@called
def any_child(tree: Ints, v: int, random: Flags) -> tuple[int, int]:
    """A random child of v, and the number of children."""
    count = 0
    child = tree[FIRST, v]
    while child >= 0:
        count += 1
        child = tree[NEXT, child]
    child = tree[FIRST, v]
    for _ in range(draw(random, count)):
        child = tree[NEXT, child]
    return child, count


@called
def inner_node(tree: Ints, n: int, random: Flags) -> int:
    """A random inner node in use, the root included."""
    v = n + draw(random, n)
    while tree[KIND, v] == SPARE:
        v = n + draw(random, n)
    return v


@called
def any_node(tree: Ints, n: int, random: Flags) -> int:
    """A leaf in three of four cases, else an inner node; never the root."""
    if draw(random, 4) > 0:
        return draw(random, n)
    v = inner_node(tree, n, random)
    return v if v != n else draw(random, n)


@called
def neighbour(tables: Any, v: int, random: Flags) -> int:
    """A random kernel on a net of v, or -1."""
    count = tables.near_start[v + 1] - tables.near_start[v]
    if count == 0:
        return -1
    return tables.near[tables.near_start[v] + draw(random, count)]  # type: ignore[no-any-return]


@called
def target_near(tree: Ints, n: int, tables: Any, v: int, random: Flags) -> int:
    """A node to move v to: half of the time a kernel that kernel v is wired to or that one's parent, or any."""
    if v >= n or draw(random, 2) == 0:
        return any_node(tree, n, random)
    target = neighbour(tables, v, random)
    if target >= 0 and draw(random, 3) == 0 and tree[PARENT, target] != n:
        target = tree[PARENT, target]
    return target


@called
def loose(tree: Ints, target: int, v: int) -> bool:
    """Whether `target` is no place to put the loose subtree v."""
    return tree[KIND, target] == SPARE or tree[PARENT, target] < 0 or above(tree, v, target)


@called
def swap(tree: Ints, n: int, tables: Any, random: Flags, dirty: Flags) -> bool:
    """Exchange two subtrees, half of the time one and a sibling of a kernel it is wired to."""
    a = any_node(tree, n, random)
    if draw(random, 2):
        b = any_node(tree, n, random)
    else:
        b = neighbour(tables, draw(random, n) if a >= n else a, random)
        if b >= 0:
            b = tree[NEXT, b] if draw(random, 2) else tree[BEFORE, b]
    if b < 0 or a == b or above(tree, a, b) or above(tree, b, a):
        return False
    exchange(tree, a, b, dirty)
    return True


@called
def move(tree: Ints, n: int, tables: Any, random: Flags, dirty: Flags) -> bool:
    """Put a subtree elsewhere."""
    v = any_node(tree, n, random)
    target = target_near(tree, n, tables, v, random)
    if target < 0 or above(tree, v, target):
        return False
    p = tree[PARENT, v]
    if p == n and tree[FIRST, p] == tree[LAST, p]:
        return False
    detach(tree, v, n, dirty)
    if loose(tree, target, v):
        target = draw(random, n)
        if loose(tree, target, v):
            return False
    attach(tree, v, target, draw(random, 2) == 0, draw(random, 2) == 0, n, dirty)
    return True


@called
def move_run(tree: Ints, n: int, tables: Any, random: Flags, dirty: Flags) -> bool:
    """Put a run of siblings elsewhere, half of the time in reverse order."""
    p = inner_node(tree, n, random)
    first, count = any_child(tree, p, random)
    last = first
    for _ in range(1 + draw(random, max(1, min(count - 1, RUN_LENGTH)))):
        if tree[NEXT, last] < 0:
            break
        last = tree[NEXT, last]
    if tree[BEFORE, first] < 0 and tree[NEXT, last] < 0:
        return False
    target = target_near(tree, n, tables, first if draw(random, 2) else last, random)
    if target < 0:
        return False
    v = carve(tree, first, last, draw(random, 2) == 0, n, dirty)
    if v < 0 or loose(tree, target, v):
        return False
    attach(tree, v, target, draw(random, 3) == 0, draw(random, 2) == 0, n, dirty)
    return True


@called
def rearrange_run(tree: Ints, n: int, random: Flags, dirty: Flags, backwards: bool) -> bool:
    """Reverse a run of siblings, or wrap two or three into a node across their parent."""
    p = inner_node(tree, n, random)
    first, count = any_child(tree, p, random)
    last = first
    size = 1
    for _ in range(draw(random, count) if backwards else 1 + draw(random, 2)):
        if tree[NEXT, last] < 0:
            break
        last = tree[NEXT, last]
        size += 1
    if size < 2 or (not backwards and size == count and p != n):
        return False
    if backwards:
        reverse(tree, first, last)
    else:
        group(tree, first, last, n, dirty)
    return True


@called
def reslack(tree: Ints, n: int, random: Flags) -> None:
    """Change where left-over room goes: in a leaf's box, or among an inner node's children."""
    if draw(random, 2):
        tree[SLACK, draw(random, n)] = draw(random, CORNERS)
    else:
        tree[SLACK, inner_node(tree, n, random)] = draw(random, SLACK_GENES)


@called
def agrees(keys: Ints, a: int, b: int, depth: int) -> int:
    """-1, 0, 1: how key a compares with key b in the first `depth` entries."""
    for e in range(depth):
        if keys[a, e] != keys[b, e]:
            return -1 if keys[a, e] < keys[b, e] else 1
    return 0


@called
def first_row(tables: Any, part: int, key: int, depth: int) -> int:
    """The first row of the part not below `key` in its first `depth` entries."""
    low, high = tables.start[part], tables.start[part + 1]
    while low < high:
        middle = (low + high) // 2
        if agrees(tables.keys, tables.key[middle], key, depth) < 0:
            low = middle + 1
        else:
            high = middle
    return low  # type: ignore[no-any-return]


@called
def touch(tree: Ints, v: int, dirty: Flags) -> None:
    """Leaf v and all above it need new curves."""
    dirty[v] = 1
    u = tree[PARENT, v]
    while u >= 0 and dirty[u] == 0:
        dirty[u] = 1
        u = tree[PARENT, u]


@called
def align(tree: Ints, n: int, part: Flags, tables: Any, row: Flags, random: Flags, dirty: Flags) -> bool:
    """Hold a kernel to the protocol of one it is wired to or of a random shape, or let it go.

    Half of the time the kernels along a path of nets, as far as they have such shapes, are held to the same.
    """
    v = draw(random, n)
    pick = draw(random, 8)
    if pick == 0:
        if tree[DEPTH, v] == 0:
            return False
        tree[DEPTH, v] = 0
        touch(tree, v, dirty)
        return True
    if pick <= 2:
        first = tables.start[part[v]]
        count = tables.start[part[v] + 1] - first
        if count == 0:
            return False
        key = tables.key[first + draw(random, count)]
    elif pick <= 4:
        key = tables.key[row[v]]
    else:
        u = neighbour(tables, v, random)
        if u < 0:
            return False
        key = tables.key[row[u]]
    entries = tables.keys.shape[1]
    depth = entries if draw(random, 2) else 1 + draw(random, entries)
    steps = 1 + draw(random, PATH_LENGTH) if draw(random, 2) else 1
    changed = False
    for _ in range(steps):
        found = first_row(tables, part[v], key, depth)
        if found == tables.start[part[v] + 1] or agrees(tables.keys, tables.key[found], key, depth) != 0:
            break
        if tree[KEY, v] != key or tree[DEPTH, v] != depth:
            changed = True
            tree[KEY, v] = key
            tree[DEPTH, v] = depth
            touch(tree, v, dirty)
        v = neighbour(tables, v, random)
        if v < 0 or dirty[v] == 1:
            break
    return changed


@called
def propose(
    tree: Ints, n: int, t: int, tables: Any, span: Flags, row: Flags, aligning: bool, random: Flags, dirty: Flags
) -> int:
    """Change `tree` at random and mark in `dirty` what needs new curves; the limit to use, or -1 for no change.

    Half-done changes may stand in the tree when -1 comes back.
    """
    pick = draw(random, SWAP + MOVE + RUN + REVERSE + GROUP + DISSOLVE + TURN + RESLACK + RELIMIT + ALIGN * aligning)
    if pick < SWAP:
        return t if swap(tree, n, tables, random, dirty) else -1
    pick -= SWAP
    if pick < MOVE:
        return t if move(tree, n, tables, random, dirty) else -1
    pick -= MOVE
    if pick < RUN:
        return t if move_run(tree, n, tables, random, dirty) else -1
    pick -= RUN
    if pick < REVERSE + GROUP:
        return t if rearrange_run(tree, n, random, dirty, pick < REVERSE) else -1
    pick -= REVERSE + GROUP
    if pick < DISSOLVE + TURN:
        v = inner_node(tree, n, random)
        if v == n:
            return -1
        if pick < DISSOLVE:
            open_up(tree, v, dirty)
        else:
            turn(tree, v, dirty)
        return t
    pick -= DISSOLVE + TURN
    if pick < RESLACK:
        reslack(tree, n, random)
        return t
    pick -= RESLACK
    if pick < RELIMIT:
        step = 1 + draw(random, 3 if draw(random, 2) else LEAP)
        t += step if draw(random, 2) else -step
        return t if span[0] <= t < span[1] else -1
    return t if align(tree, n, tables.part[t], tables, row, random, dirty) else -1
