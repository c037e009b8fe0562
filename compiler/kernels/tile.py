"""How a tile of weights lies in a core's memory, so that products row by row wait for no memory bank.

A mixed-precision product, `y += x[k] * W[k, :]` with y in fp32 and W in fp16, takes two elements a cycle: four words of
y and two of W. Row after row, W would move on by two words where y moves by four, and every second slice would find
both in the same banks. So rows 2i and 2i + 1 lie element by element in turn: a row's elements are two words apart, W
keeps pace with y, half a round of banks away. (Banks: `runtime/banks.py`.)
"""

from __future__ import annotations

from dataclasses import dataclass

from runtime.isa import Dtype

HALF_ROUND = 4  # 16-bit words: half a round of the banks, what a slice of y takes
MOST_PADDING = 8  # pairs of rows are filled up to whole rounds if that costs at most one part in so many


@dataclass(frozen=True)
class TileLayout:
    """`count` rows of `width` elements, in groups of `step` rows that lie in turn; a group begins `pitch` elements
    after the one before."""

    count: int
    width: int
    pitch: int
    step: int = 1

    @classmethod
    def of(cls, dtype: Dtype, count: int, width: int) -> TileLayout:
        """The best layout for products with sums in fp32."""
        padded = -(-width // HALF_ROUND) * HALF_ROUND
        if dtype is not Dtype.F16 or count < 2 or (padded - width) * MOST_PADDING > width:
            return cls(count, width, width)
        return cls(count, width, 2 * padded, 2)

    @property
    def groups(self) -> int:
        return -(-self.count // self.step)

    @property
    def elements(self) -> int:
        """With padding."""
        return self.groups * self.pitch

    def start(self, row: int) -> int:
        """The element at which a row starts."""
        return row // self.step * self.pitch + row % self.step

    def rows_in_turn(self, turn: int) -> int:
        """How many rows are the `turn`-th of their group."""
        return len(range(turn, self.count, self.step))

    def padding(self) -> list[tuple[int, int, int, int]]:
        """Elements that belong to no row: (start, runs, elements of a run, their distance); runs are `pitch` apart."""
        found = []
        beyond = self.pitch - self.step * self.width
        if beyond:
            found.append((self.step * self.width, self.groups, beyond, 1))
        missing = self.groups * self.step - self.count
        if missing:  # the last group's second row
            found.append((self.start(self.count), 1, self.width, self.step))
        return found
