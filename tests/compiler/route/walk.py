"""An independent judge of routes: it walks the final table, wavelet by wavelet, and knows nothing of the router."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from compiler.floorplan import Footprint, Net, Placed
from compiler.route.router import RouteResult
from compiler.route.table import entries
from runtime.target import Target

MOVES = {0: (0, -1, 2), 1: (1, 0, 3), 2: (0, 1, 0), 3: (-1, 0, 1)}  # direction -> dx, dy, side where it arrives
RAMP = 4


def expand(
    result: RouteResult, kernels: Sequence[Footprint], placed: Sequence[Placed]
) -> dict[tuple[int, int, int], tuple[int, int]]:
    """(x, y, colour) -> (inputs, outputs); fails if a router's colour is configured twice."""
    table = {}
    for x, y, w, h, colour, inputs, outputs in entries(result, kernels, placed):
        for dx in range(w):
            for dy in range(h):
                key = (x + dx, y + dy, colour)
                assert key not in table, f"configured twice: {key}"
                table[key] = inputs, outputs
    return table


def judge(
    kernels: Sequence[Footprint],
    placed: Sequence[Placed],
    nets: Sequence[Net],
    target: Target,
    result: RouteResult,
    capacity: int | None = None,
) -> Counter[tuple[int, int, int]]:
    """Assert that every rule of routing holds. Returns the load of every link (x, y, direction)."""
    table = expand(result, kernels, placed)
    x0, y0, columns, rows = target.usable
    for x, y, colour in table:
        assert x0 <= x < x0 + columns and y0 <= y < y0 + rows and 0 <= colour < target.colours
    colours = {(c.net, c.lane): c.colour for c in result.channels}
    assert len(colours) == len(result.channels) == sum(len(net.words) for net in nets)
    load: Counter[tuple[int, int, int]] = Counter()
    visited: set[tuple[int, int, int]] = set()
    for i, net in enumerate(nets):
        for lane, words in enumerate(net.words):
            seen = judge_lane(kernels, placed, net, lane, colours[i, lane], table, words, load)
            assert not seen & visited
            visited |= seen
    inside = [(k, p, r) for k, p in zip(kernels, placed, strict=True) for r in k.colours]
    internal = {
        (*p.at(k, r.col + c, r.row + q), r.colour) for k, p, r in inside for c in range(r.w) for q in range(r.h)
    }
    assert visited | internal == set(table), "a router is configured that no channel uses"
    assert capacity is None or max(load.values()) <= capacity
    return load


def judge_lane(
    kernels: Sequence[Footprint],
    placed: Sequence[Placed],
    net: Net,
    lane: int,
    colour: int,
    table: dict[tuple[int, int, int], tuple[int, int]],
    words: int,
    load: Counter[tuple[int, int, int]],
) -> set[tuple[int, int, int]]:
    """Send one wavelet; assert that it reaches exactly the cores (or host ports) of the sinks' lanes, each once."""
    kernel, port = net.source
    start = kernels[kernel].outputs[port][lane]
    at, side = placed[kernel].at(kernels[kernel], start.col, start.row), RAMP
    if start.outside is not None:
        side = start.outside
    expected: Counter[tuple[int, int, int]] = Counter()
    for sink, name in net.sinks:
        end = kernels[sink].inputs[name][lane]
        for col, row, cols, rows in end.hears:
            cells = ((col + i, row + j) for i in range(cols) for j in range(rows))
            expected.update((*placed[sink].at(kernels[sink], *cell), RAMP) for cell in cells)
        if end.outside is not None:
            expected[(*placed[sink].at(kernels[sink], end.col, end.row), end.outside)] += 1
    got: Counter[tuple[int, int, int]] = Counter()
    seen: set[tuple[int, int, int]] = set()
    moving = [(*at, side)]
    while moving:
        x, y, side = moving.pop()
        assert (x, y, colour) not in seen, "a channel meets itself"
        seen.add((x, y, colour))
        inputs, outputs = table[x, y, colour]
        assert inputs == 1 << side, "a wavelet arrives from where its router does not take it"
        assert not outputs & inputs & 0b1111, "a wavelet goes back"
        for direction in (d for d in range(5) if outputs >> d & 1):
            if direction == RAMP or (x, y, direction) in expected:
                got[x, y, direction] += 1
                continue
            dx, dy, arrives = MOVES[direction]
            load[x, y, direction] += words
            moving.append((x + dx, y + dy, arrives))
    assert got == expected
    return seen
