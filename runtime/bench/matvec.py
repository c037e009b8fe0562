"""A matrix-vector product over a rectangle of cores, token after token, the shape of a decoder's projections.

The matrix [k, n] lies in tiles; a column of feeders west of the rectangle multicasts each row's part of x, partial sums
go down every column as chains, and the last row keeps y. Products are summed in fp32.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from runtime.bench.layout import DATA, Layout, Place
from runtime.bench.measure import Measured
from runtime.errors import InputError, NumericsError
from runtime.isa import Binary, Const, Dtype, Fmac, In, Instr, Loop, Mem, Mov, Out, Reg
from runtime.target import Target

F32 = Dtype.F32
X, DOWN = 0, 1  # colours: x eastwards, and sums southwards on two that alternate
X_PERIOD, W_PERIOD = 3, 5  # elements are small whole numbers: sums are exact


def _up(address: int) -> int:
    return math.ceil(address / 16) * 16


class _Tile:
    """Addresses of a core's part: x [k], y [n] and the tile [k, n] of the matrix; x and the tile of one type."""

    def __init__(self, k: int, n: int, dtype: Dtype) -> None:
        self.k, self.n, self.dtype = k, n, dtype
        self.x = DATA
        self.y = _up(self.x + k * dtype.size)
        # 8 bytes past the alignment of y: four banks apart.
        self.w = _up(self.y + 4 * n) + 8
        self.bytes = _up(self.w + k * n * dtype.size)

    def program(self, layout: Layout, place: Place, top: bool, last: bool) -> list[Instr]:
        """One token: take x, multiply, add the sums from the north and hand them on."""
        k, n, y = self.k, self.n, Mem(self.y, F32, self.n)
        row = Mem(self.w, self.dtype, n, 1, Reg(0), n * self.dtype.size)
        x = layout.input(place, X)
        body: list[Instr] = [
            Mov(Mem(self.x, self.dtype, k), In(x, k)),
            Mov(y, Const(0.0)),
            Loop(Reg(0), k, (Fmac(y, Mem(self.x, self.dtype, 1, 1, Reg(0), self.dtype.size), row),)),
        ]
        out = y if last else Out(layout.output(place, DOWN + place[1] % 2), n)
        if not top:
            north = In(layout.input(place, DOWN + (place[1] - 1) % 2), n)
            body.append(Binary("add", out, y, north))
        elif not last:
            body.append(Mov(out, y))
        return body


def matvec(rows: int, cols: int, k: int, n: int, dtype: str, tokens: int, base: Target) -> dict[str, Any]:
    """y = x W for `tokens` equal tokens. Cycles in all, from the first word of x on; and per token once the pipeline is
    full. Raises InputError unless rows divide k and cols divide n, or if a tile does not fit."""
    if k % rows or n % cols or min(k, n, tokens) < 1:
        message = f"{k} x {n} does not divide into {rows} x {cols} tiles"
        raise InputError(message, code="bench-size", hint="choose k and n as multiples")
    tile = _Tile(k // rows, n // cols, Dtype(dtype))
    layout = Layout(cols + 1, rows, tile.bytes, base)
    x = np.arange(k) % X_PERIOD
    w = np.add.outer((np.arange(k) * 2 % W_PERIOD).astype(np.uint8), (np.arange(n) % W_PERIOD).astype(np.uint8))
    w %= W_PERIOD
    layout.fill(tile.x, x, (1, tile.k), dtype=tile.dtype, per=(0, tile.k))
    # The feeders, column 0, get a tile that they do not use.
    padded = np.concatenate([w[:, : tile.n], w], axis=1)
    per = (tile.n, tile.k * (n + tile.n))
    layout.fill(tile.w, padded, (tile.k, tile.n), dtype=tile.dtype, pitch=tile.n, per=per, stride=(n + tile.n, 1))
    for r in range(rows):
        feeder = (0, r)
        layout.line(X, feeder, *[(c, r) for c in range(1, cols + 1)])
        send = Mov(Out(layout.output(feeder, X), tile.k), Mem(tile.x, tile.dtype, tile.k))
        layout.core(feeder, [Loop(Reg(0), tokens, (send,)), layout.stop(feeder)])
        for c in range(1, cols + 1):
            if r + 1 < rows:
                layout.line(DOWN + r % 2, (c, r), (c, r + 1))
            layout.core((c, r), tile.program(layout, (c, r), r == 0, r + 1 == rows))
    measured = Measured(layout.image())
    corner = (rows - 1) * (cols + 1)
    y = [measured.memory(corner + 1 + c, tile.y, tile.n) for c in range(cols)]
    if not np.array_equal(np.concatenate(y), x.astype(np.float32) @ w.astype(np.float32)):
        raise NumericsError("the microbenchmark's result is wrong", code="bench-result")
    first, last = measured.body_ends(corner + cols)
    return {
        "cycles": last - measured.startup,
        "first_token_cycles": first - measured.startup,
        "cycles_per_token": (last - first) / (tokens - 1) if tokens > 1 else float(last - measured.startup),
        "macs_per_core": tile.k * tile.n,
        **measured.report(),
    }
