"""Which items of two sequences belong together: what stayed when one was edited into the other."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher

# difflib looks at every pair of equal items: at most for gaps of so many pairs.
_MAX_PAIRS = 4_000_000


def aligned(a: Sequence[str], b: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of indices of equal items, ascending in both.

    Common ends first, then items that occur once in both (patience diff), then, in the gaps between these, the longest
    matching runs. Nearly linear, except in gaps without such items.
    """
    pairs: list[tuple[int, int]] = []
    gaps = [(0, len(a), 0, len(b))]
    while gaps:
        low_a, high_a, low_b, high_b = gaps.pop()
        while low_a < high_a and low_b < high_b and a[low_a] == b[low_b]:
            pairs.append((low_a, low_b))
            low_a, low_b = low_a + 1, low_b + 1
        while low_a < high_a and low_b < high_b and a[high_a - 1] == b[high_b - 1]:
            high_a, high_b = high_a - 1, high_b - 1
            pairs.append((high_a, high_b))
        if low_a == high_a or low_b == high_b:
            continue
        anchors = _anchors(a, b, low_a, high_a, low_b, high_b)
        if not anchors:
            pairs += _runs(a, b, low_a, high_a, low_b, high_b)
            continue
        for i, j in anchors:
            gaps.append((low_a, i, low_b, j))
            low_a, low_b = i, j  # the anchor begins the next gap, and is paired as its common beginning
        gaps.append((low_a, high_a, low_b, high_b))
    return sorted(pairs)


def _anchors(
    a: Sequence[str], b: Sequence[str], low_a: int, high_a: int, low_b: int, high_b: int
) -> list[tuple[int, int]]:
    """The longest ascending chain of items that occur once in either part."""
    once_a = {item for item, count in Counter(a[low_a:high_a]).items() if count == 1}
    once_b = {item for item, count in Counter(b[low_b:high_b]).items() if count == 1}
    place_b = {b[j]: j for j in range(low_b, high_b) if b[j] in once_b and b[j] in once_a}
    candidates = [(i, place_b[a[i]]) for i in range(low_a, high_a) if a[i] in place_b]
    # Patience sorting: `ends[k]` is the candidate with the lowest j that ends a chain of k + 1.
    ends: list[int] = []
    lows: list[int] = []
    before: list[int] = []
    for number, (_, j) in enumerate(candidates):
        k = bisect_left(lows, j)
        before.append(ends[k - 1] if k else -1)
        ends[k : k + 1], lows[k : k + 1] = [number], [j]
    chain: list[tuple[int, int]] = []
    number = ends[-1] if ends else -1
    while number >= 0:
        chain.append(candidates[number])
        number = before[number]
    return chain[::-1]


def _runs(
    a: Sequence[str], b: Sequence[str], low_a: int, high_a: int, low_b: int, high_b: int
) -> list[tuple[int, int]]:
    if (high_a - low_a) * (high_b - low_b) > _MAX_PAIRS:
        return []
    blocks = SequenceMatcher(None, a[low_a:high_a], b[low_b:high_b], autojunk=False).get_matching_blocks()
    return [(low_a + block.a + k, low_b + block.b + k) for block in blocks for k in range(block.size)]
