"""From a slicing tree to boxes: shape curves up the tree, positions down it, in compiled code.

Curves (L. Stockmeyer, "Optimal orientations of cells in slicing floorplan designs", 1983) are dense arrays, lengths
being small integers: `wide[slot, h]` is the least width of a node when it may be h high, `high[slot, w]` the least
height when it may be w wide. Side by side the former add up, on top of each other the latter; one is the inverse of
the other. The first slots are the curves of the tables' parts, which leaves share; then come two of each node's own.
`current[v]` is the slot of node v, `version[v]` the one for a proposal.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from compiler.place.jit import called
from compiler.place.slicing import FIRST, KIND, LEAF, NEXT, PARENT, ROW, SLACK

Ints = npt.NDArray[np.int32]
Flags = npt.NDArray[Any]

FAR = 1 << 20  # a length nothing fits in; a thousand of them still add up in 32 bits


@called
def own_slot(v: int, parts: int, current: Flags) -> int:
    """The slot of v's own two, behind those of the parts, that is not current."""
    slot = parts + 2 * v
    return slot + 1 if current[v] == slot else slot


@called
def invert(curve: Ints, out: Ints) -> None:
    """out[w] = the least h with curve[h] <= w, for a falling curve; FAR where there is none."""
    end = out.shape[0]
    for h in range(curve.shape[0]):
        if curve[h] < end:
            out[curve[h] : end] = h
            end = curve[h]
    out[:end] = FAR


@called
def combine(tree: Ints, v: int, wide: Ints, high: Ints, version: Flags) -> None:
    """The curves of inner node v from its children's, into `version[v]`."""
    slot = version[v]
    if tree[KIND, v] == ROW:
        total, other = wide[slot], high[slot]
    else:
        total, other = high[slot], wide[slot]
    total[:] = 0
    child = tree[FIRST, v]
    while child >= 0:
        part = wide[version[child]] if tree[KIND, v] == ROW else high[version[child]]
        for i in range(total.shape[0]):
            total[i] += part[i]
        child = tree[NEXT, child]
    invert(total, other)


@called
def accumulate(total: Ints, first: Ints, second: Ints, sign: int) -> None:
    """total = first + sign * second."""
    for i in range(total.shape[0]):
        total[i] = first[i] + sign * second[i]


@called
def adjust(tree: Ints, base: Ints, v: int, parts: int, wide: Ints, high: Ints, current: Flags, version: Flags) -> None:
    """The curves of inner node v, from those it has in `base`, the tree before the change, if it was there."""
    if base[KIND, v] != tree[KIND, v]:
        version[v] = own_slot(v, parts, current)
        combine(tree, v, wide, high, version)
        return
    slot, old = own_slot(v, parts, current), current[v]
    if tree[KIND, v] == ROW:
        curves, total, other = wide, wide[slot], high[slot]
    else:
        curves, total, other = high, high[slot], wide[slot]
    changes = 0
    child = tree[FIRST, v]
    while child >= 0:
        if base[PARENT, child] != v or version[child] != current[child]:
            accumulate(total, curves[old] if changes == 0 else total, curves[version[child]], 1)
            changes += 1
        child = tree[NEXT, child]
    child = base[FIRST, v]
    while child >= 0:
        if tree[PARENT, child] != v or version[child] != current[child]:
            accumulate(total, curves[old] if changes == 0 else total, curves[current[child]], -1)
            changes += 1
        child = base[NEXT, child]
    if changes:
        version[v] = slot
        invert(total, other)


@called
def recombine(
    tree: Ints,
    base: Ints,
    root: int,
    parts: int,
    wide: Ints,
    high: Ints,
    current: Flags,
    version: Flags,
    dirty: Flags,
    order: Flags,
) -> None:
    """New curves for the dirty inner nodes where they differ from those of `base`, children first."""
    count = 1
    order[0] = root
    seen = 0
    while seen < count:
        child = tree[FIRST, order[seen]]
        seen += 1
        while child >= 0:
            if dirty[child] and tree[KIND, child] != LEAF:
                order[count] = child
                count += 1
            child = tree[NEXT, child]
    for i in range(count - 1, 0, -1):
        adjust(tree, base, order[i], parts, wide, high, current, version)


@called
def root_size(tree: Ints, root: int, high: Ints, version: Flags, width: int, height: int) -> tuple[int, int, int]:
    """The width in [width, ...) that keeps the root's overflow least, and the height then needed."""
    best = 1 << 29
    best_w, best_h = width, 0
    for w in range(width, high.shape[1]):
        if w - width >= best:
            break
        h = 0
        child = tree[FIRST, root]
        while child >= 0:
            h += high[version[child], w]
            child = tree[NEXT, child]
        over = w - width + max(0, h - height)
        if over < best:
            best, best_w, best_h = over, w, h
    return best, best_w, best_h


@called
def share(gene: int, slack: int, count: int, index: int) -> tuple[int, int]:
    """(offset before child, extra room for child) of child `index` of `count` when `slack` is left over."""
    if slack <= 0:
        return 0, 0
    if gene == 0 or gene == 2:  # all behind, all before
        return (slack if gene == 2 and index == 0 else 0), 0
    if gene == 1:  # half before, half behind
        return (slack // 2 if index == 0 else 0), 0
    if gene == 3:  # room for all
        return 0, slack // count + (1 if index < slack % count else 0)
    return 0, (slack if (gene - 4) % count == index else 0)


@called
def lay_out(
    tree: Ints,
    root: int,
    n: int,
    wide: Ints,
    high: Ints,
    version: Flags,
    width: int,
    height: int,
    box: Flags,
    stack: Flags,
) -> None:
    """The box of every kernel, (x, y, width, height), when the root gets width x height; rows may stick out."""
    depth = 1
    stack[0, 0] = root
    stack[0, 1] = 0
    stack[0, 2] = 0
    stack[0, 3] = width
    stack[0, 4] = height
    while depth > 0:
        depth -= 1
        v, x, y, w, h = stack[depth, 0], stack[depth, 1], stack[depth, 2], stack[depth, 3], stack[depth, 4]
        in_row = tree[KIND, v] == ROW
        total = 0
        count = 0
        child = tree[FIRST, v]
        while child >= 0:
            total += wide[version[child], h] if in_row else high[version[child], w]
            count += 1
            child = tree[NEXT, child]
        slack = (w if in_row else h) - total
        gene = tree[SLACK, v]
        index = 0
        child = tree[FIRST, v]
        while child >= 0:
            offset, extra = share(gene, slack, count, index)
            if in_row:
                x += offset
                size = wide[version[child], h] + extra
                cx, cy, cw, ch = x, y, size, h
                x += size
            else:
                y += offset
                size = high[version[child], w] + extra
                cx, cy, cw, ch = x, y, w, size
                y += size
            if tree[KIND, child] == LEAF:
                box[child, 0] = cx
                box[child, 1] = cy
                box[child, 2] = cw
                box[child, 3] = ch
            else:
                stack[depth, 0] = child
                stack[depth, 1] = cx
                stack[depth, 2] = cy
                stack[depth, 3] = cw
                stack[depth, 4] = ch
                depth += 1
            index += 1
            child = tree[NEXT, child]
