"""The contest's kernels: which rectangles a convolution, or a block of convolutions, can take.

Formulas of the ISPD 2020 contest (M. James et al., "ISPD 2020 Physical Mapping of Neural Networks on a Wafer-Scale Deep
Learning Accelerator"). For a convolution with formal arguments H W R S C K T and execution arguments h w c k:

    height = h * w * (c + 1)        width = 3 * k
    time   = ceil(H/h) * ceil(W/w) * ceil(C/c) * ceil(K/k) * R * S / T^2
    memory = C/c * K/k * R * S + (W+S-1)/w * (H+R-1)/h * K/k

A block is convolutions side by side that share h and w: height, time and memory are maxima, width is the sum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from compiler.place.problem import Floats, Shape, ShapeTable, shape_of

Longs = npt.NDArray[np.int64]

# Times are multiples of 1 / T^2, far apart compared with this.
SLACK = 1e-9


@dataclass(frozen=True)
class Convolution:
    """Formal arguments H, W, R, S, C, K, T."""

    height: int
    width: int
    kernel_height: int
    kernel_width: int
    channels: int
    features: int
    stride: int

    @property
    def taps(self) -> float:
        """Multiplications per output, spread over the inputs the stride skips."""
        return self.kernel_height * self.kernel_width / self.stride**2


def dblock(height: int, width: int, features: int) -> tuple[Convolution, ...]:
    """The convolutions of a `dblock(H W F)`."""
    narrow = features // 4
    return (
        Convolution(height, width, 1, 1, features, narrow, 1),
        Convolution(height, width, 3, 3, narrow, narrow, 1),
        Convolution(height, width, 1, 1, narrow, features, 1),
    )


def cblock(height: int, width: int, features: int) -> tuple[Convolution, ...]:
    """The convolutions of a `cblock(H W F)`."""
    narrow, wide = features // 4, features // 2
    return (
        Convolution(height, width, 1, 1, wide, narrow, 1),
        Convolution(height, width, 3, 3, narrow, narrow, 2),
        Convolution(height // 2, width // 2, 1, 1, narrow, features, 1),
        Convolution(height, width, 1, 1, wide, features, 2),
    )


def useful(size: int) -> set[int]:
    """The smallest divisor for each value of ceil(size / divisor)."""
    return {math.ceil(size / math.ceil(size / d)) for d in range(1, size + 1)}


def shared(sizes: Sequence[int]) -> list[int]:
    """Divisors useful for one of the sizes or, since neighbours like to agree, for half or twice one."""
    found: set[int] = set()
    for size in set(sizes):
        found |= useful(size) | useful(max(1, size // 2)) | useful(2 * size)
    return sorted(d for d in found if d <= max(sizes))


@dataclass(frozen=True)
class Grid:
    """All (h, w, c) worth a thought as columns; c is the largest of the convolutions' c."""

    h: Longs
    w: Longs
    c: Longs


@lru_cache(maxsize=256)
def grid(convolutions: tuple[Convolution, ...], longest: int) -> Grid:
    """The (h, w, c) with h * w * (c + 1) <= longest."""
    h, w, c = np.meshgrid(
        shared([v.height for v in convolutions]),
        shared([v.width for v in convolutions]),
        shared([v.channels for v in convolutions]),
        indexing="ij",
    )
    fits = h * w * (c + 1) <= longest
    return Grid(h[fits].astype(np.int64), w[fits].astype(np.int64), c[fits].astype(np.int64))


@dataclass(frozen=True)
class KernelShapes:
    """The shapes of a convolution (one entry) or a block. `memory` is the limit per core, `longest` a region's side.

    The protocol entries are h, w and c: the last convolution's c towards the sink, the first one's from the source.
    The arguments of a shape are h, w, every c, every k.
    """

    convolutions: tuple[Convolution, ...]
    memory: float
    longest: int

    def times(self, low: float, high: float) -> Floats:
        found: list[Floats] = []
        for v in self.convolutions:
            counts = np.array([1], dtype=np.int64)
            for size in (v.height, v.width, v.channels, v.features):
                steps = np.array(sorted({math.ceil(size / d) for d in useful(size)}), dtype=np.int64)
                products = (counts[:, None] * steps[None, :]).ravel()
                counts = np.unique(products[products * v.taps <= high + SLACK])
            found.append((counts * v.taps).astype(np.float64))
        times = np.unique(np.concatenate(found))
        chosen: Floats = times[times >= low - SLACK]
        return chosen

    def shapes(self, limit: float) -> ShapeTable:
        points = grid(self.convolutions, self.longest)
        count = len(self.convolutions)
        k = np.empty((len(points.h), count), dtype=np.int64)
        c_low = np.empty_like(k)
        legal = np.ones(len(points.h), dtype=np.bool_)
        for i, v in enumerate(self.convolutions):
            k[:, i], c_low[:, i], possible = self._narrowest(v, points, limit)
            legal &= possible
        width = 3 * k.sum(axis=1)
        legal &= width <= self.longest
        # A c larger than needed is kept for the protocol's sake where some convolution can really take it.
        needed = np.max(c_low, axis=1) >= points.c
        inner = self.convolutions[1:-1] or self.convolutions
        legal &= needed | (points.c <= max(v.channels for v in inner))
        return self._table(points, k, c_low, legal)

    def _narrowest(self, v: Convolution, points: Grid, limit: float) -> tuple[Longs, Longs, npt.NDArray[np.bool_]]:
        """Smallest k for c up to the grid's, then the smallest c for that k, and whether there is any."""
        outer = -(-v.height // points.h) * -(-v.width // points.w) * v.taps
        budget = np.floor(limit / outer + SLACK).astype(np.int64)
        c = np.minimum(points.c, v.channels)
        c_steps = -(-v.channels // c)
        k_steps = np.minimum(budget // c_steps, v.features)
        possible = k_steps >= 1
        k = -(-v.features // np.maximum(k_steps, 1))
        window = v.kernel_height * v.kernel_width
        inputs = (v.width + v.kernel_width - 1) / points.w * (v.height + v.kernel_height - 1) / points.h
        stored = (v.channels / c * window + inputs) * v.features
        k = np.maximum(k, np.ceil(stored / self.memory - SLACK).astype(np.int64))
        possible &= k <= v.features
        most_steps = np.maximum(budget // -(-v.features // np.maximum(k, 1)), 1)
        c_time = -(-v.channels // np.minimum(most_steps, v.channels))
        room = np.maximum(self.memory * k / v.features - inputs, SLACK)
        c_memory = np.ceil(np.minimum(v.channels * window / room - SLACK, v.channels)).astype(np.int64)
        return k, np.minimum(np.maximum(c_time, c_memory), c), possible

    def _table(self, points: Grid, k: Longs, c_low: Longs, legal: npt.NDArray[np.bool_]) -> ShapeTable:
        """Columns for the legal grid points, then for the same turned."""
        h, w, top, k, c_low = points.h[legal], points.w[legal], points.c[legal], k[legal], c_low[legal]
        channels = np.array([v.channels for v in self.convolutions])
        c_high = np.minimum(top[:, None], channels[None, :])
        if len(self.convolutions) == 1:
            c_low = c_high  # its c is its height
        height = h * w * (top + 1)
        width = 3 * k.sum(axis=1)
        time = np.zeros(len(h))
        memory = np.zeros(len(h))
        for i, v in enumerate(self.convolutions):
            ki = k[:, i]
            steps = -(-v.height // h) * -(-v.width // w) * -(-v.channels // c_low[:, i]) * -(-v.features // ki)
            time = np.maximum(time, steps * v.taps)
            inputs = (v.width + v.kernel_width - 1) / w * (v.height + v.kernel_height - 1) / h
            memory = np.maximum(
                memory, (v.channels / c_low[:, i] * v.kernel_height * v.kernel_width + inputs) * v.features / ki
            )

        def ranges(conv: int) -> npt.NDArray[np.int64]:
            low = np.stack([h, w, c_low[:, conv]], axis=1)
            high = np.stack([h, w, c_high[:, conv]], axis=1)
            return np.stack([low, high], axis=2)

        arguments = np.concatenate([h[:, None], w[:, None], c_high, k], axis=1)
        order = np.lexsort((top, w, h, height, width))
        both = np.concatenate([order, order])
        turned = np.repeat([False, True], len(order))
        wide = np.where(turned, height[both], width[both]).astype(np.int32)
        high = np.where(turned, width[both], height[both]).astype(np.int32)
        return ShapeTable(
            wide,
            high,
            time[both],
            memory[both],
            np.stack([wide, high], axis=1).reshape(-1, 1, 2),
            ranges(0)[both].astype(np.int32),
            ranges(-1)[both].astype(np.int32),
            arguments[both].astype(np.int32),
            turned,
        )

    def settle(self, table: ShapeTable, row: int, values_in: Sequence[int], values_out: Sequence[int]) -> Shape:
        """The row with the first and last c as asked. Time and memory may only fall."""
        count = len(self.convolutions)
        arguments = [int(v) for v in table.arguments[row]]
        arguments[2] = values_in[2]
        arguments[1 + count] = values_out[2]
        shape = shape_of(table, row)
        return Shape(
            shape.width,
            shape.height,
            self.time(arguments),
            self.memory_use(arguments),
            shape.pins,
            tuple(values_in),
            tuple(values_out),
            tuple(arguments),
            shape.turned,
        )

    def time(self, arguments: Sequence[int]) -> float:
        """The time in cycles of (h, w, c..., k...)."""
        h, w = arguments[:2]
        count = len(self.convolutions)
        return max(
            math.ceil(v.height / h) * math.ceil(v.width / w) * math.ceil(v.channels / c) * math.ceil(v.features / k)
            * v.taps
            for v, c, k in zip(self.convolutions, arguments[2 : 2 + count], arguments[2 + count :], strict=True)
        )  # fmt: skip

    def memory_use(self, arguments: Sequence[int]) -> float:
        """The memory in words of (h, w, c..., k...)."""
        h, w = arguments[:2]
        count = len(self.convolutions)
        return max(
            v.channels / c * v.features / k * v.kernel_height * v.kernel_width
            + (v.width + v.kernel_width - 1) / w * (v.height + v.kernel_height - 1) / h * v.features / k
            for v, c, k in zip(self.convolutions, arguments[2 : 2 + count], arguments[2 + count :], strict=True)
        )
