"""Directions, port masks and the eight orientations of a rectangle. x grows east, y grows south."""

from __future__ import annotations

from dataclasses import dataclass

NORTH, EAST, SOUTH, WEST, RAMP = range(5)
DIRECTION_NAMES = ("N", "E", "S", "W", "RAMP")
STEP = ((0, -1), (1, 0), (0, 1), (-1, 0))  # by direction, RAMP excluded
OPPOSITE = (SOUTH, WEST, NORTH, EAST, RAMP)


def bit(direction: int) -> int:
    """The mask bit of one router port."""
    return 1 << direction


def mask_text(mask: int) -> str:
    """`E+RAMP` for a port mask; `-` if empty."""
    return "+".join(name for i, name in enumerate(DIRECTION_NAMES) if mask >> i & 1) or "-"


@dataclass(frozen=True)
class Orientation:
    """One of eight: first transpose (swap x and y), then mirror x, then mirror y. `code` is 0..7."""

    code: int

    @property
    def transposed(self) -> bool:
        return bool(self.code & 1)

    def size(self, cols: int, rows: int) -> tuple[int, int]:
        """(width, height) on the wafer of a local rectangle of `cols` x `rows`."""
        return (rows, cols) if self.transposed else (cols, rows)

    def point(self, col: int, row: int, cols: int, rows: int) -> tuple[int, int]:
        """Offset (dx, dy) on the wafer of local core (col, row)."""
        width, height = self.size(cols, rows)
        x, y = (row, col) if self.transposed else (col, row)
        if self.code & 2:
            x = width - 1 - x
        if self.code & 4:
            y = height - 1 - y
        return x, y

    def direction(self, local: int) -> int:
        """The wafer direction of a local direction."""
        if local == RAMP:
            return RAMP
        turned = (WEST, SOUTH, EAST, NORTH)[local] if self.transposed else local
        if self.code & 2 and turned in (EAST, WEST):
            turned = OPPOSITE[turned]
        if self.code & 4 and turned in (NORTH, SOUTH):
            turned = OPPOSITE[turned]
        return turned

    def mask(self, local: int) -> int:
        """A port mask with every direction turned."""
        turned = 0
        for direction in range(5):
            if local >> direction & 1:
                turned |= bit(self.direction(direction))
        return turned


IDENTITY = Orientation(0)
