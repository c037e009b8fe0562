"""Where every wavelet of a token goes: all channels of an image followed through the router tables at once.

For reports and pictures of legal images. It raises nothing: what an illegal image does not connect stays unconnected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from runtime.geometry import OPPOSITE, RAMP, STEP
from runtime.image import Image
from runtime.jit import entry
from runtime.tables import core_blocks, core_positions, expand_routes, usable_raster
from runtime.validate.programs import check_program
from runtime.validate.report import Report

Array = np.ndarray[Any, Any]

HOST = -1  # in place of a block: the channel starts or ends at the host


@dataclass(frozen=True)
class Wires:
    """Channel i starts at block `source[i]`, router (x[i], y[i]), on `colour[i]`, with `words[i]` per token.

    End j belongs to channel `end_channel[j]`, is in block `end_block[j]` at (end_x[j], end_y[j]), `hops[j]` links from
    the channel's source. `load[d, y - y0, x - x0]` words per token leave the router in direction d; d = 4: to its core,
    5: from its core. `side[i]` is where the channel enters its first router.
    """

    source: Array
    x: Array
    y: Array
    side: Array
    colour: Array
    words: Array
    end_channel: Array
    end_block: Array
    end_x: Array
    end_y: Array
    hops: Array
    load: Array
    origin: tuple[int, int]

    def kernel_ends(self) -> Array:
        """The ends whose channel runs between two kernels or to or from the host, not inside one kernel."""
        return np.flatnonzero(self.source[self.end_channel] != self.end_block)


class Tables:
    """The router tables spread out: masks by [colour, y - y0, x - x0] over the usable rectangle."""

    def __init__(self, image: Image) -> None:
        self.x0, self.y0, columns, rows = image.target.usable
        self.inputs = np.zeros((image.target.colours, rows, columns), np.uint8)
        self.outputs = np.zeros_like(self.inputs)
        rectangle, x, y = expand_routes(image.routes)
        x, y, colour = x - self.x0, y - self.y0, image.routes["colour"][rectangle]
        inside = (x >= 0) & (x < columns) & (y >= 0) & (y < rows) & (colour < image.target.colours)
        where = colour[inside], y[inside], x[inside]
        self.inputs[where] = image.routes["inputs"][rectangle][inside]
        self.outputs[where] = image.routes["outputs"][rectangle][inside]


def trace(image: Image, tables: Tables | None = None) -> Wires:
    """All channels of the image."""
    tables = tables or Tables(image)
    source, x, y, side, colour, words = _sources(image)
    rows, columns = tables.inputs.shape[1:]
    load = np.zeros((RAMP + 2, rows, columns), np.int64)
    most = int((image.cores["inq"] >= 0).sum()) + sum(len(port.lanes) for port in image.ports)
    ends = np.zeros((most, 4), np.int32)  # channel, x, y (-1: the host), hops
    starts = np.column_stack([x - tables.x0, y - tables.y0, side, colour, words]).astype(np.int64)
    stack, seen = np.zeros((rows * columns, 4), np.int32), np.full((rows, columns), -1, np.int32)
    count = _follow(starts, tables.inputs, tables.outputs, _STEPS, _OPPOSITE, stack, seen, load, ends)
    channel, end_x, end_y, hops = ends[:count].T
    block_at = usable_raster(image, core_blocks(image), HOST)
    end_block = np.where(end_x >= 0, block_at[end_y, end_x], HOST)
    origin = (tables.x0, tables.y0)
    return Wires(
        source, x, y, side, colour, words, channel, end_block, end_x + tables.x0, end_y + tables.y0, hops, load, origin
    )


def _sources(image: Image) -> tuple[Array, ...]:
    """Block, place, side, colour and words per token of every output queue, then of every input lane of the host."""
    core, queue = np.nonzero(image.cores["outq"] >= 0)
    x, y = core_positions(image)
    traffic = [check_program(program, image.target, Report()).writes for program in image.programs]
    words = np.array([[*writes, *[0] * 9][: image.cores["outq"].shape[1]] for writes in [*traffic, []]], np.int64)
    program = image.cores["program"][core]
    lanes = [lane for port in image.ports if port.direction == "in" for lane in port.lanes]
    host = np.array([(lane.x, lane.y, lane.side, lane.colour, 1 + lane.size) for lane in lanes], np.int64)
    host = host.reshape(-1, 5).T
    return (
        np.concatenate([core_blocks(image)[core], np.full(len(lanes), HOST)]),
        np.concatenate([x[core], host[0]]),
        np.concatenate([y[core], host[1]]),
        np.concatenate([np.full(len(core), RAMP), host[2]]),
        np.concatenate([image.cores["outq"][core, queue].astype(np.int64), host[3]]),
        np.concatenate([words[program, queue], host[4]]),
    )


_STEPS = np.array(STEP, np.int64)
_OPPOSITE = np.array(OPPOSITE, np.int64)


@entry
def _follow(
    starts: Array,
    inputs: Array,
    outputs: Array,
    steps: Array,
    opposite: Array,
    stack: Array,
    seen: Array,
    load: Array,
    ends: Array,
) -> int:
    """Walk each channel's tree; how many ends there are. `seen` holds -1, `stack` and it are work space."""
    _, rows, columns = inputs.shape
    count = 0
    for channel in range(len(starts)):
        col, row, side, colour, words = starts[channel]
        if not (0 <= col < columns and 0 <= row < rows and 0 <= colour < len(inputs)):
            continue
        if side == 4:
            load[5, row, col] += words
        stack[0, 0], stack[0, 1], stack[0, 2], stack[0, 3] = col, row, side, 0
        seen[row, col] = channel
        depth = 1
        while depth:
            depth -= 1
            col, row, side, hops = stack[depth, 0], stack[depth, 1], stack[depth, 2], stack[depth, 3]
            if not inputs[colour, row, col] >> side & 1:
                continue
            mask = outputs[colour, row, col]
            for direction in range(5):
                if not mask >> direction & 1:
                    continue
                load[direction, row, col] += words
                end_col, end_row = col, row
                if direction < 4:
                    next_col, next_row = col + steps[direction, 0], row + steps[direction, 1]
                    if 0 <= next_col < columns and 0 <= next_row < rows:
                        if seen[next_row, next_col] != channel:
                            seen[next_row, next_col] = channel
                            stack[depth, 0], stack[depth, 1] = next_col, next_row
                            stack[depth, 2], stack[depth, 3] = opposite[direction], hops + 1
                            depth += 1
                        continue
                    end_col, end_row = -1, -1
                if count < len(ends):
                    ends[count, 0], ends[count, 1], ends[count, 2], ends[count, 3] = channel, end_col, end_row, hops
                    count += 1
    return count
