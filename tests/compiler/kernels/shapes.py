"""Kernels of every kind over small and awkward shapes: single cores, ragged blocks, chains of one, two and more."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from compiler.kernels.attention import Attention
from compiler.kernels.base import Kernel, Weight
from compiler.kernels.fifo import Fifo
from compiler.kernels.join import Join
from compiler.kernels.lookup import Lookup, Table
from compiler.kernels.map import Map
from compiler.kernels.matvec import Group, Matvec
from compiler.kernels.norm import Norm
from compiler.kernels.port import Port
from compiler.kernels.relane import Relane
from runtime.isa import Dtype
from runtime.stream import Blocks

SIZES = ((1, 1), (7, 1), (7, 7), (12, 4), (13, 4), (23, 6), (20, 2))
BLOCKS = [Blocks.over(features, lanes) for features, lanes in SIZES]


def matvec(
    x: Blocks, y: Blocks, *, bias: bool = False, activation: str = "", storage: Dtype = Dtype.F32, tiles: int = 0,
    finishers: int = 0, entry: str = "",
) -> Matvec:  # fmt: skip
    group = Group(Weight("w", transposed=bias), "b" if bias else None, 0, y.features)
    return Matvec((group,), (y.features,), x, y, activation, storage, tiles, finishers, entry)


def qkv(x: Blocks, heads: int, head_dim: int) -> Matvec:
    width = heads * head_dim
    groups = tuple(Group(Weight("w"), "b" if i else None, i * width, width) for i in range(3))
    return Matvec(groups, (3 * width,) * 3, x, Blocks(3 * width, 3 * head_dim), "", Dtype.F32)


def attention(spread: int, *, heads: int = 2, head_dim: int = 4, max_seq: int = 16, slots: int = 1,
              storage: Dtype = Dtype.F32, pieces: int = 1, across: int = 0) -> Attention:  # fmt: skip
    return Attention(heads, head_dim, 0.5, max_seq, slots, spread, storage, pieces, across)


def lookup(y: Blocks, counts: tuple[int, ...], blocks: tuple[int, ...], storage: Dtype = Dtype.F32) -> Lookup:
    names = ("tokens", "positions")
    tables = (Table(*table) for table in zip(names, counts, blocks, strict=False))
    return Lookup(y, tuple(tables), storage)


MATVECS = [
    matvec(x, y, bias=i % 2 == 0, activation="gelu_erf" if i % 3 else "", storage=Dtype.F16 if i % 5 else Dtype.F32)
    for i, (x, y) in enumerate(itertools.product(BLOCKS, BLOCKS))
]
TILED = [
    matvec(
        x,
        y,
        bias=bool(entry),
        activation="gelu_erf" if finishers else "",
        tiles=tiles,
        finishers=finishers,
        entry=entry,
    )
    for x, y in itertools.product((Blocks(12, 3), Blocks(23, 5), Blocks(20, 10)), (Blocks(7, 7), Blocks(13, 3)))
    for tiles, finishers, entry in itertools.product((1, 3, 5, 8), (0, 1, 3), ("", "edge", "diagonal"))
]
QKVS = [qkv(x, heads, d) for x in BLOCKS[1:] for heads, d in ((1, 5), (3, 2))]
ATTENTIONS = [
    attention(spread, heads=heads, max_seq=max_seq, slots=slots, storage=storage)
    for spread, heads, (max_seq, slots), storage in itertools.product(
        (1, 2, 3, 5), (1, 3), ((5, 1), (17, 2)), (Dtype.F32, Dtype.F16)
    )
]
ATTENTIONS += [
    attention(spread, heads=heads, pieces=pieces, across=across)
    for spread, across in ((2, 6), (2, 7), (3, 4), (5, 3), (5, 2), (2, 1), (3, 2), (8, 3), (1, 4))
    for heads, pieces in ((1, 2), (3, 1), (5, 4))
]
LOOKUPS = [
    lookup(y, counts, blocks, storage)
    for y in BLOCKS
    for counts, blocks in (((5,), (5,)), ((9,), (4,)), ((9, 6), (4, 6)), ((23, 8), (5, 2)), ((3, 40), (3, 4)))
    for storage in (Dtype.F32, Dtype.F16)
]
MAPS = [Map(b, *args) for b in BLOCKS for args in (("exp",), ("sub", "c", 1, True), ("add", "c", b.features))]
RELANES = [Relane(b, ratio, merge) for b in BLOCKS for ratio in (1, 2, 3, 7) for merge in (True, False)]

WITH_CORES: dict[str, Sequence[Kernel]] = {
    "matvec": [*MATVECS, *QKVS, *TILED],
    "attention": ATTENTIONS,
    "lookup": LOOKUPS,
    "norm": [Norm(blocks, 1e-5, "scale", "bias") for blocks in BLOCKS],
    "map": MAPS,
    "join": [Join(blocks, "mul") for blocks in BLOCKS],
    "fifo": [Fifo(blocks, tokens) for blocks in BLOCKS for tokens in (1, 3)],
    "relane": RELANES,
}
PORTS = [Port("p", direction, blocks) for blocks in BLOCKS for direction in ("in", "out")]
