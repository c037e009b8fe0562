"""What shapes are chosen for: as much as possible in an interval, or as soon as possible after a token came in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compiler.size.shapes import Fit

NO_LIMIT = 1 << 30
OPTIMIZE = ("throughput", "latency")


@dataclass(frozen=True)
class Goal:
    """Without a `price`, the lowest shapes that keep `interval` cycles a token (for throughput).

    With one, those whose latency in cycles, plus `price` for every row they take of a strip's length, is least (for
    latency); then the streams with a line of cores lie on `lanes` lanes, else on as many as a strip is wide.
    """

    interval: int = NO_LIMIT
    price: float | None = None
    lanes: int = 0

    def rank(self, fit: Fit) -> tuple[float, int]:
        """Smaller is better; the sums over kernels of these compare choices of lanes."""
        first = fit.height if self.price is None else fit.latency + self.price * fit.height
        return first, fit.cores
