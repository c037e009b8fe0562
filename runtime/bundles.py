"""The channels of an image as bundles between kernels, each with the way of one lane: what a picture can show."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from runtime.geometry import OPPOSITE, RAMP, STEP
from runtime.image import Block, Image
from runtime.wires import HOST, Tables, Wires

Point = tuple[int, int]


@dataclass(frozen=True)
class Bundle:
    """`lanes` parallel channels from block `source` to the blocks `sinks` (HOST: the host), `words` per token in all.

    `ways[i]` is how the middle lane goes to sink i, as the corners of a line of routers in fabric coordinates, from the
    last router inside the source's rectangle to the first inside the sink's.
    """

    source: int
    sinks: tuple[int, ...]
    lanes: int
    words: int
    ways: tuple[tuple[Point, ...], ...]


def bundles(image: Image, tables: Tables, wires: Wires) -> list[Bundle]:
    """All bundles between kernels and to or from the host, by source and sinks."""
    ends = wires.kernel_ends()
    sinks_of: dict[int, set[int]] = {}
    for channel, block in zip(wires.end_channel[ends].tolist(), wires.end_block[ends].tolist(), strict=True):
        sinks_of.setdefault(channel, set()).add(block)
    groups: dict[tuple[int, tuple[int, ...]], list[int]] = {}
    for channel, sinks in sinks_of.items():
        groups.setdefault((int(wires.source[channel]), tuple(sorted(sinks))), []).append(channel)
    found = []
    for (source, blocks), channels in sorted(groups.items()):
        ways = _ways(image, tables, wires, channels[len(channels) // 2], source, blocks)
        found.append(Bundle(source, blocks, len(channels), int(wires.words[channels].sum()), ways))
    return found


def _ways(
    image: Image, tables: Tables, wires: Wires, channel: int, source: int, blocks: tuple[int, ...]
) -> tuple[tuple[Point, ...], ...]:
    """The ways of one channel to the router of each block that it meets first."""
    start = (int(wires.x[channel]), int(wires.y[channel]))
    before, exits = _tree(tables, start, int(wires.side[channel]), int(wires.colour[channel]))
    ways = []
    for block in blocks:
        inside = exits if block == HOST else [at for at in before if _within(image.blocks[block], at)]
        way = [inside[0]] if inside else [start]
        while (previous := before[way[-1]]) is not None:
            way.append(previous)
            if source != HOST and _within(image.blocks[source], previous):
                break
        ways.append(_corners(way[::-1]))
    return tuple(ways)


def _tree(tables: Tables, start: Point, side: int, colour: int) -> tuple[dict[Point, Point | None], list[Point]]:
    """The routers a channel reaches, nearest first, each with the one before; and those where it leaves the wafer."""
    inputs, outputs = tables.inputs[colour], tables.outputs[colour]
    rows, columns = inputs.shape
    before: dict[Point, Point | None] = {start: None}
    exits: list[Point] = []
    queue = deque([(start, side)])
    while queue:
        (x, y), side = queue.popleft()
        row, column = y - tables.y0, x - tables.x0
        if not int(inputs[row, column]) >> side & 1:
            continue
        mask = int(outputs[row, column])
        for direction in range(RAMP):
            if not mask >> direction & 1:
                continue
            following = (x + STEP[direction][0], y + STEP[direction][1])
            if not (0 <= following[0] - tables.x0 < columns and 0 <= following[1] - tables.y0 < rows):
                exits.append((x, y))
            elif following not in before:
                before[following] = (x, y)
                queue.append((following, OPPOSITE[direction]))
    return before, exits


def _within(block: Block, at: Point) -> bool:
    return 0 <= at[0] - block.x < block.size[0] and 0 <= at[1] - block.y < block.size[1]


def _corners(way: list[Point]) -> tuple[Point, ...]:
    """The same line by its ends and the points where it turns."""
    if len(way) < 3:
        return tuple(way)
    steps = np.diff(np.array(way), axis=0)
    turns = np.flatnonzero((steps[1:] != steps[:-1]).any(axis=1)) + 1
    return (way[0], *(way[int(i)] for i in turns), way[-1])
