"""Which rectangles have room between the dead cores of a target, wherever: for sizing, and as a proof."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from runtime import defects
from runtime.target import Target


class Room:
    """For every number of columns, the most rows of a rectangle of the usable cores without a dead one."""

    def __init__(self, target: Target) -> None:
        self.highest = _highest(target.usable, target.defects)

    def fits(self, columns: int, rows: int) -> bool:
        """Whether a rectangle of this size, not turned, has room somewhere."""
        return columns < len(self.highest) and rows <= self.highest[columns]

    def most(self, columns: int, rows: int) -> int:
        """The most cores of a rectangle at most so wide and high, turned or not, that has room somewhere."""
        return max(
            (
                c * min(high, int(self.highest[c]))
                for wide, high in ((columns, rows), (rows, columns))
                for c in range(1, min(wide + 1, len(self.highest)))
            ),
            default=0,
        )


@lru_cache(maxsize=8)
def _highest(usable: defects.Rect, dead: tuple[defects.Rect, ...]) -> npt.NDArray[np.int32]:
    """int32[columns + 1], by number of columns; entry 0 is unused."""
    _, _, columns, rows = usable
    if not dead:
        return np.full(columns + 1, rows, np.int32)
    found = _widest_under(defects.mask(dead, usable))
    return np.maximum.accumulate(found[::-1])[::-1].astype(np.int32)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _widest_under(dead: Any) -> Any:
    """By number of columns, the most rows of a maximal free rectangle that is exactly so wide.

    Row by row, the free cores above each column form a histogram; a stack of rising heights gives its maximal
    rectangles in time linear in the columns.
    """
    rows, columns = dead.shape
    best = np.zeros(columns + 1, np.int32)
    height = np.zeros(columns + 1, np.int32)  # of the histogram, with a column of height 0 behind the last
    starts = np.zeros(columns + 1, np.int32)
    heights = np.zeros(columns + 1, np.int32)
    for y in range(rows):
        depth = 0
        for x in range(columns + 1):
            if x < columns:
                height[x] = 0 if dead[y, x] else height[x] + 1
            start = x
            while depth and heights[depth - 1] >= height[x]:
                depth -= 1
                start = starts[depth]
                width = x - start
                best[width] = max(best[width], heights[depth])
            starts[depth], heights[depth] = start, height[x]
            depth += 1
    return best
