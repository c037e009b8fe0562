"""Slicing trees in compiled code: how they are edited.

A tree cuts the region into boxes, one a kernel. An inner node lays its children side by side (ROW) or on top of each
other (STACK), any number of them; children of a row are stacks or leaves and the other way round. The root is a stack.
Nodes 0..n-1 are the kernels, n is the root, the others are inner nodes in use or spare. A tree is an array (fields,
nodes); children are a doubly linked list.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from compiler.place.jit import called

Ints = npt.NDArray[np.int32]
Flags = npt.NDArray[Any]

LEAF, ROW, STACK, SPARE = 0, 1, 2, 3
PARENT, FIRST, LAST, NEXT, BEFORE, KIND, SLACK, KEY, DEPTH = range(9)
FIELDS = 9
# SLACK says where a leaf stands in its box, or which child of an inner node gets the room that is left over; KEY and
# DEPTH hold a leaf to shapes that agree with protocol KEY in its first DEPTH entries.
CENTRED = 4  # the SLACK of a leaf in the middle of its box


@called
def clear(tree: Ints, root: int) -> None:
    """Make `tree` a root without children; the kernels are loose leaves."""
    tree[:] = -1
    tree[SLACK] = 0
    tree[DEPTH] = 0
    for v in range(tree.shape[1]):
        tree[KIND, v] = LEAF if v < root else SPARE
    tree[KIND, root] = STACK


@called
def unlink(tree: Ints, v: int) -> None:
    """Take v out of its parent's list of children; v keeps its own children."""
    p = tree[PARENT, v]
    before, after = tree[BEFORE, v], tree[NEXT, v]
    if before >= 0:
        tree[NEXT, before] = after
    else:
        tree[FIRST, p] = after
    if after >= 0:
        tree[BEFORE, after] = before
    else:
        tree[LAST, p] = before
    tree[PARENT, v] = -1
    tree[NEXT, v] = -1
    tree[BEFORE, v] = -1


@called
def link(tree: Ints, v: int, p: int, before: int) -> None:
    """Make v a child of p, behind the child `before` (-1: first)."""
    tree[PARENT, v] = p
    tree[BEFORE, v] = before
    if before >= 0:
        after = tree[NEXT, before]
        tree[NEXT, before] = v
    else:
        after = tree[FIRST, p]
        tree[FIRST, p] = v
    tree[NEXT, v] = after
    if after >= 0:
        tree[BEFORE, after] = v
    else:
        tree[LAST, p] = v


@called
def dissolve(tree: Ints, v: int) -> None:
    """Put the children of v where v was; v becomes spare."""
    p = tree[PARENT, v]
    before = tree[BEFORE, v]
    unlink(tree, v)
    child = tree[FIRST, v]
    while child >= 0:
        after = tree[NEXT, child]
        link(tree, child, p, before)
        before = child
        child = after
    tree[KIND, v] = SPARE
    tree[FIRST, v] = -1
    tree[LAST, v] = -1


@called
def mark(tree: Ints, v: int, dirty: Flags) -> None:
    """v and all above it need new curves."""
    while v >= 0 and dirty[v] == 0:
        dirty[v] = 1
        v = tree[PARENT, v]


@called
def settle_kind(tree: Ints, v: int) -> None:
    """Restore alternation where v, a child, is an inner node of its parent's kind."""
    if tree[KIND, v] != LEAF and tree[KIND, v] == tree[KIND, tree[PARENT, v]]:
        dissolve(tree, v)


@called
def open_up(tree: Ints, v: int, dirty: Flags) -> None:
    """Let the children of v, not the root, and theirs where they are of the parent's kind, take its place."""
    mark(tree, v, dirty)
    before, after = tree[BEFORE, v], tree[NEXT, v]
    p = tree[PARENT, v]
    dissolve(tree, v)
    child = tree[NEXT, before] if before >= 0 else tree[FIRST, p]
    while child != after:
        following = tree[NEXT, child]
        settle_kind(tree, child)
        child = following


@called
def detach(tree: Ints, v: int, root: int, dirty: Flags) -> None:
    """Take the subtree v out. A node left with one child gives way to it."""
    p = tree[PARENT, v]
    mark(tree, p, dirty)
    unlink(tree, v)
    if p != root and tree[FIRST, p] == tree[LAST, p]:
        child = tree[FIRST, p]
        dissolve(tree, p)
        settle_kind(tree, child)


@called
def spare_node(tree: Ints, root: int, dirty: Flags) -> int:
    """A node not in use, unmarked and without children; -1 if there is none."""
    for v in range(root + 1, tree.shape[1]):
        if tree[KIND, v] == SPARE:
            dirty[v] = 0
            tree[SLACK, v] = 1
            tree[FIRST, v] = -1
            tree[LAST, v] = -1
            return v
    return -1


@called
def attach(tree: Ints, v: int, target: int, split: bool, ahead: bool, root: int, dirty: Flags) -> None:
    """Put the subtree v beside `target`: in the target's list, or (`split`) across it in a new node around both."""
    p = tree[PARENT, target]
    if split and tree[KIND, target] == LEAF:
        node = spare_node(tree, root, dirty)
        tree[KIND, node] = STACK if tree[KIND, p] == ROW else ROW
        before = tree[BEFORE, target]
        unlink(tree, target)
        link(tree, node, p, before)
        link(tree, target, node, -1)
        link(tree, v, node, -1 if ahead else target)
    elif split:
        link(tree, v, target, -1 if ahead else tree[LAST, target])
    else:
        link(tree, v, p, tree[BEFORE, target] if ahead else target)
    mark(tree, tree[PARENT, v], dirty)
    settle_kind(tree, v)


@called
def exchange(tree: Ints, a: int, b: int, dirty: Flags) -> None:
    """Swap the subtrees a and b, neither inside the other."""
    pa, pb = tree[PARENT, a], tree[PARENT, b]
    if tree[NEXT, a] == b:
        unlink(tree, a)
        link(tree, a, pb, b)
    elif tree[NEXT, b] == a:
        unlink(tree, b)
        link(tree, b, pa, a)
    else:
        before_a, before_b = tree[BEFORE, a], tree[BEFORE, b]
        unlink(tree, a)
        unlink(tree, b)
        link(tree, b, pa, before_a)
        link(tree, a, pb, before_b)
    mark(tree, pa, dirty)
    mark(tree, pb, dirty)
    settle_kind(tree, a)
    settle_kind(tree, b)


@called
def reverse(tree: Ints, first: int, last: int) -> None:
    """Reverse the run of siblings from `first` to `last`."""
    p = tree[PARENT, first]
    before = tree[BEFORE, first]
    v = first
    stop = tree[NEXT, last]
    while v != stop:
        after = tree[NEXT, v]
        unlink(tree, v)
        link(tree, v, p, before)
        v = after


@called
def group(tree: Ints, first: int, last: int, root: int, dirty: Flags) -> None:
    """Wrap the run of siblings, a proper part of at least two, into a node of the other kind."""
    p = tree[PARENT, first]
    node = spare_node(tree, root, dirty)
    if node < 0:
        return
    before = tree[BEFORE, first]
    stop = tree[NEXT, last]
    tree[KIND, node] = STACK if tree[KIND, p] == ROW else ROW
    v = first
    while v != stop:
        after = tree[NEXT, v]
        unlink(tree, v)
        link(tree, v, node, tree[LAST, node])
        v = after
    link(tree, node, p, before)
    v = tree[FIRST, node]
    while v >= 0:
        after = tree[NEXT, v]
        settle_kind(tree, v)
        v = after
    mark(tree, node, dirty)


@called
def carve(tree: Ints, first: int, last: int, backwards: bool, root: int, dirty: Flags) -> int:
    """Take the run of siblings, a proper part of their parent's children, out as a loose subtree; its top node, or -1.

    A single sibling comes as it is; several in a new node of their parent's kind, in reverse order if `backwards`.
    """
    p = tree[PARENT, first]
    if first == last:
        detach(tree, first, root, dirty)
        return first
    node: int = spare_node(tree, root, dirty)
    if node < 0:
        return -1
    mark(tree, p, dirty)
    tree[KIND, node] = tree[KIND, p]
    tree[PARENT, node] = -1
    tree[NEXT, node] = -1
    tree[BEFORE, node] = -1
    stop = tree[NEXT, last]
    v = first
    while v != stop:
        after = tree[NEXT, v]
        unlink(tree, v)
        link(tree, v, node, -1 if backwards else tree[LAST, node])
        v = after
    dirty[node] = 1
    if p != root and tree[FIRST, p] == tree[LAST, p]:
        child = tree[FIRST, p]
        dissolve(tree, p)
        settle_kind(tree, child)
    return node


@called
def turn(tree: Ints, v: int, dirty: Flags) -> None:
    """Turn the subtree of v, not the root, by 90 degrees: rows become stacks and the other way round."""
    p = tree[PARENT, v]
    u = v
    while True:
        if tree[KIND, u] != LEAF:
            tree[KIND, u] = STACK if tree[KIND, u] == ROW else ROW
            dirty[u] = 1
        if tree[KIND, u] != LEAF:
            u = tree[FIRST, u]
            continue
        while u != v and tree[NEXT, u] < 0:
            u = tree[PARENT, u]
        if u == v:
            break
        u = tree[NEXT, u]
    mark(tree, p, dirty)
    settle_kind(tree, v)


@called
def above(tree: Ints, a: int, v: int) -> bool:
    """Whether v lies in the subtree of a (a itself counts)."""
    while v >= 0:
        if v == a:
            return True
        v = tree[PARENT, v]
    return False
