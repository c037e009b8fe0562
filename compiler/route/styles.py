"""Styles: ways in which all lanes of a bundle run alike, straight or nested, so that they need not cross each other.

A style gives every lane a polyline of legs along the axes. Lanes get tracks (columns or rows) in the order of the
bundle: between the ends (a Z), beyond them (a U), or round the end of what they come from (five legs). Which style is
best nobody needs to know beforehand: each is tried against what is routed already (`tracks.attempt`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def simple(start: Array, goal: Array, size: tuple[int, int]) -> Iterator[Array]:
    """Polylines of at most three legs: int64[lanes, 4, 2] of (x, y), for `start` and `goal`, int64[lanes, 2].

    `size` is the (width, height) of what routes may use.
    """
    for swap in (False, True):
        s, t, width = _turned(start, goal, size, swap)
        for mid in _middles(s[:, 0], t[:, 0], width):
            points = np.stack([s, _at(mid, s[:, 1]), _at(mid, t[:, 1]), t], axis=1)
            yield points[:, :, ::-1] if swap else points


def detours(start: Array, goal: Array, size: tuple[int, int]) -> Iterator[Array]:
    """Polylines of five legs: away from the start, round its end or the goal's, and to the goal: int64[lanes, 6, 2]."""
    for swap in (False, True):
        s, t, width = _turned(start, goal, size, swap)
        height = size[0] if swap else size[1]
        for away, beyond, back in _rounds(s, t, width, height):
            corners = [s, _at(away, s[:, 1]), _at(away, beyond), _at(back, beyond), _at(back, t[:, 1]), t]
            points = np.stack(corners, axis=1)
            yield points[:, :, ::-1] if swap else points


def _turned(start: Array, goal: Array, size: tuple[int, int], swap: bool) -> tuple[Array, Array, int]:
    """The problem with x and y exchanged, or as it is; the extent along the first."""
    return (start[:, ::-1], goal[:, ::-1], size[1]) if swap else (start, goal, size[0])


def _at(x: Array, y: Array) -> Array:
    return np.stack([x, y], axis=1)


def _middles(a: Array, b: Array, width: int) -> Iterator[Array]:
    """Tracks of the middle leg between ends at `a` and `b`: on the goal's, the start's, between, and on either side."""
    yield b
    if not np.array_equal(a, b):
        yield a
    low, high = int(min(a.min(), b.min())), int(max(a.max(), b.max()))
    yield from _spread(low, high, len(a))
    for first, last in _sides(low, high, len(a), width):
        yield from _spread(first, last, len(a))


def _sides(low: int, high: int, lanes: int, width: int) -> Iterator[tuple[int, int]]:
    """Tracks beside [low, high], below and above, the nearest first: one a lane, or fewer, or what there is."""
    for tracks in sorted({lanes, -(-lanes // 2), -(-lanes // 4)}):
        if low > 0:
            yield low - 1, max(0, low - tracks)
        if high < width - 1:
            yield high + 1, min(width - 1, high + tracks)


def _spread(first: int, last: int, lanes: int) -> Iterator[Array]:
    """The lanes in order over the tracks from first to last, and the other way round."""
    rank = np.arange(lanes)
    step = (last - first) / max(lanes - 1, 1)
    tracks = first + np.round(rank * step).astype(np.int64)
    yield tracks
    if lanes > 1 and first != last:
        yield tracks[::-1]


def _nested(nearness: Array, first: int, last: int) -> Array:
    """The lanes over the tracks from first to last, that with the least `nearness` first."""
    rank = np.empty(len(nearness), np.int64)
    rank[np.argsort(nearness, kind="stable")] = np.arange(len(nearness))
    step = (last - first) / max(len(nearness) - 1, 1)
    return first + np.round(rank * step).astype(np.int64)


def _rounds(s: Array, t: Array, width: int, height: int) -> Iterator[tuple[Array, Array, Array]]:
    """(x of the second leg, y of the third, x of the fourth) of paths of five legs that begin along x.

    Lanes that start side by side along x have no use for them.
    """
    n = len(s)
    low, high = int(s[:, 1].min()), int(s[:, 1].max())
    if low == high and n > 1:
        return
    ends = ((low, high), (int(t[:, 1].min()), int(t[:, 1].max())))
    for x0, x1 in _sides(int(s[:, 0].min()), int(s[:, 0].max()), n, width):
        for end in ends:
            for y0, y1 in _sides(*end, n, height):
                near = -s[:, 1] if y0 > end[1] else s[:, 1]  # who is nearer to the turn nests inside
                away, beyond = _nested(near, x0, x1), _nested(near, y0, y1)
                yield away, beyond, t[:, 0]
                for b0, b1 in _sides(int(t[:, 0].min()), int(t[:, 0].max()), n, width):
                    for back in _spread(b0, b1, n):
                        yield away, beyond, back
