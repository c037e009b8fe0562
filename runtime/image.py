"""The `.wse` image: everything the machine gets. This file is the data; `runtime.imagefile` reads and writes it.

Cores come in *blocks*: the rectangle of one kernel, `rows` x `cols` local cores, turned by an orientation and put at
(x, y) on the fabric. Core number `block.first + r*cols + c` is local core (r, c); its program, the colours bound to its
queues and the contents of its memory are given per core or by rules over (r, c).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from runtime.geometry import Orientation
from runtime.isa import INPUT_QUEUES, OUTPUT_QUEUES, Program
from runtime.target import Target


@dataclass(frozen=True)
class Block:
    """The rectangle of one kernel. (x, y) is its north-west corner in fabric coordinates."""

    name: str
    kind: str
    x: int
    y: int
    rows: int
    cols: int
    orientation: Orientation
    first: int
    onnx: tuple[str, ...] = ()

    def at(self, r: int, c: int) -> tuple[int, int]:
        """Fabric coordinates of local core (r, c)."""
        dx, dy = self.orientation.point(c, r, self.cols, self.rows)
        return self.x + dx, self.y + dy

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) on the fabric."""
        return self.orientation.size(self.cols, self.rows)


@dataclass(frozen=True)
class Init:
    """Initial memory of the cores rows x cols (half-open local ranges) of a block: a strided copy from a tensor.

    Core (r, c) gets, for i < count[0], j < count[1], at byte address + (i*pitch + j*step)*size(dtype), element
    `offset + r*per_row + c*per_col + i*stride[0] + j*stride[1]` of the flattened tensor, converted to `dtype`.
    Elements whose j-th column or i-th row does not exist are not described: every core's counts are exact.
    """

    block: int
    rows: tuple[int, int]
    cols: tuple[int, int]
    address: int
    dtype: str
    pitch: int
    step: int
    count: tuple[int, int]
    tensor: str
    offset: int
    per_row: int
    per_col: int
    stride: tuple[int, int]


# Router table: in rectangle (x, y, w, h), `colour` takes wavelets from ports `inputs` to ports `outputs` (masks).
ROUTE = np.dtype(
    [("x", "<u2"), ("y", "<u2"), ("w", "<u2"), ("h", "<u2"), ("colour", "u1"), ("inputs", "u1"), ("outputs", "u1")]
)
# Per core: program number (-1: the core is idle), colour bound to each queue (-1: queue unused).
CORE = np.dtype([("program", "<i4"), ("inq", "i1", (INPUT_QUEUES,)), ("outq", "i1", (OUTPUT_QUEUES,))])


@dataclass(frozen=True)
class PortLane:
    """One host channel: where it meets the fabric (the router and its outward side), its colour, and its block."""

    x: int
    y: int
    side: int
    colour: int
    start: int
    size: int


@dataclass(frozen=True)
class Port:
    """A graph input or output as the host sees it: a stream of tokens over lanes.

    `shape` is the graph's shape with symbolic names; its leading symbolic axes are token axes, the rest are features.
    `limit` (token ids only): ids are in [0, limit).
    """

    name: str
    direction: str  # "in" or "out"
    dtype: str  # element type at the graph's surface: i64, f32, f16
    shape: tuple[int | str, ...]
    features: int
    lanes: tuple[PortLane, ...]
    limit: int | None = None

    @property
    def token_axes(self) -> tuple[int | str, ...]:
        """The leading axes of the shape that count tokens: for ids all, else those before the feature axes."""
        if self.limit is not None:
            return self.shape
        features, axes = 0, len(self.shape)
        while axes and features != self.features and isinstance(self.shape[axes - 1], int):
            axes -= 1
            features = math.prod(size for size in self.shape[axes:] if isinstance(size, int))
        return self.shape[:axes]


@dataclass(frozen=True)
class Source:
    """Where a tensor's row-major little-endian elements lie in a file; `sha256` is their `runtime.digest`."""

    path: Path
    offset: int
    sha256: str


@dataclass(frozen=True)
class Tensor:
    """A constant of the image: dtype f32, f16 or i32 in row-major order, possibly memory-mapped.

    `source` is where else the elements lie, so that a file may refer to them instead of holding them. A file that
    holds them has elements of type `stored`, if given, instead of the data's own.
    """

    data: np.ndarray[Any, Any]
    source: Source | None = None
    stored: np.dtype[Any] | None = None


@dataclass
class Image:
    """One program for one wafer. `manifest` holds provenance and the compile report, for people and tools only."""

    target: Target
    programs: list[Program]
    blocks: list[Block]
    cores: np.ndarray[Any, Any]  # CORE
    routes: np.ndarray[Any, Any]  # ROUTE
    inits: list[Init]
    tensors: dict[str, Tensor]
    ports: list[Port]
    max_seq: int
    slots: int
    manifest: dict[str, Any] = field(default_factory=dict)
