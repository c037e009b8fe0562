"""The way of a lone token through kernels and wires, several times through those that layers share.

Cycles of kernels are the compiler's closed forms, lengths of wires are counted in the router tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runtime.image import Image
from runtime.wires import HOST, Wires

# Of a loop that an image notes; one with more is taken for no loop.
MOST_PASSES, MOST_PACE = 1 << 16, 1 << 53


@dataclass(frozen=True)
class Loop:
    """Kernels between `gate` and `switch`, which a token passes `passes` times.

    pass_cycles: from the gate back to it. pace_cycles: between two tokens that pass the slowest kernel once each.
    """

    gate: str
    switch: str
    passes: int
    pass_cycles: int
    pace_cycles: int

    @property
    def interval(self) -> int:
        """Cycles between two tokens: the next one follows the last pass of one."""
        return (self.passes - 1) * self.pass_cycles + self.pace_cycles


def lone_token(
    image: Image, wires: Wires, cycles: Mapping[str, tuple[int, int]], notes: Mapping[str, Any]
) -> tuple[int | None, list[Loop]]:
    """Cycles along the slowest way, and the loops on it; None if kernels form a cycle that is no loop.

    `cycles`: interval and latency by kernel. `notes`: what the compiler noted of loops, by gate.
    """
    loop_of = gates(image, notes)
    wire = _wires(image, wires)
    after: dict[int, list[tuple[int, int]]] = {}
    missing = dict.fromkeys(range(len(image.blocks)), 0)
    for (a, b), cost in wire.items():
        if loop_of.get(a, (HOST,))[0] != b:
            after.setdefault(a, []).append((b, cost))
            missing[b] += 1
    arrival, begun = dict.fromkeys(missing, 0), {}
    ready = [block for block, count in missing.items() if not count]
    loops = []
    for block in ready:
        begun[block] = arrival[block]
        arrival[block] += cycles.get(image.blocks[block].name, (0, 0))[1]
        if block in loop_of and loop_of[block][0] in begun:
            gate, passes, pace = loop_of[block]
            once = arrival[block] - begun[gate] + wire.get((block, gate), 0)
            arrival[block] += (passes - 1) * once
            loops.append(Loop(image.blocks[gate].name, image.blocks[block].name, passes, once, pace))
        for following, cost in after.get(block, ()):
            arrival[following] = max(arrival[following], arrival[block] + cost)
            missing[following] -= 1
            if not missing[following]:
                ready.append(following)
    return max(arrival.values(), default=0) if len(ready) == len(missing) else None, loops


def _wires(image: Image, wires: Wires) -> dict[tuple[int, int], int]:
    """Cycles of the longest wire between two kernels, by their blocks."""
    ends = wires.kernel_ends()
    source, sink = wires.source[wires.end_channel[ends]], wires.end_block[ends]
    between = (source != HOST) & (sink != HOST)
    length = wires.hops[ends][between] * image.target.hop_cycles + 2 * image.target.ramp_cycles
    found: dict[tuple[int, int], int] = {}
    for a, b, cost in zip(source[between].tolist(), sink[between].tolist(), length.tolist(), strict=True):
        found[a, b] = max(cost, found.get((a, b), 0))
    return found


def gates(image: Image, notes: Mapping[str, Any]) -> dict[int, tuple[int, int, int]]:
    """By the block of a switch: that of its gate, passes, pace. What is noted of no kernel here is passed over."""
    number = {block.name: i for i, block in enumerate(image.blocks)}
    found: dict[int, tuple[int, int, int]] = {}
    for gate, note in notes.items():
        if not isinstance(note, Mapping) or gate not in number:
            continue
        switch, passes, pace = (note.get(key) for key in ("switch", "passes", "pace_cycles"))
        if not (isinstance(switch, str) and isinstance(passes, int) and isinstance(pace, int)):
            continue
        if switch in number and 0 < passes <= MOST_PASSES and 0 < pace <= MOST_PACE:
            found[number[switch]] = number[gate], passes, pace
    return found
