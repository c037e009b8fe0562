"""Routes that lead elsewhere than meant: every lane, as the router tables lead it, must come from the core the compiler
meant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from compiler.kernels.port import Port
from frontends.cli.find.executed import Standing
from frontends.cli.find.levels import difference
from frontends.cli.find.scene import Scene, position_of, worst
from runtime.check import Finding
from runtime.image import Image
from runtime.loader import Loaded
from runtime.state import C_IN

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Misroute:
    """Lane `lane` of the netlist's net ends at a ring that another unit fills."""

    net: int
    lane: int
    sink: int  # kernel of the netlist
    x: int
    y: int
    colour: int
    wanted: tuple[int, int]  # unit and queue that should fill it
    got: tuple[int, int]


def misroutes(scene: Scene) -> Iterator[Misroute]:
    """Every end of a lane that the router tables fill from elsewhere than the compiler meant, in module order."""
    loaded, units, queues = scene.wires
    for number, net in enumerate(scene.netlist.nets):
        senders = _senders(scene, loaded, net.source)
        for sink, port in net.sinks:
            for lane, ring, x, y, colour in _ends(scene, loaded, sink, port):
                filled = int(units[ring]), int(queues[ring])
                if filled != senders[lane]:
                    yield Misroute(number, lane, sink, x, y, colour, senders[lane], filled)


def _senders(scene: Scene, loaded: Loaded, end: tuple[int, str]) -> list[tuple[int, int]]:
    """(unit, queue) of every lane of an output port, or of a host port."""
    kernel = scene.standing(*end)
    if kernel is not None:
        return [(source.core, source.queue) for source in kernel.sources]
    first, count = _host_lanes(scene.image, scene.netlist.kernels[end[0]], "in")
    return [(loaded.cores + first + lane, -1) for lane in range(count)]


def _host_lanes(image: Image, port: Any, direction: str) -> tuple[int, int]:
    """The first lane of a host port among all of its direction, and how many it has."""
    first = 0
    for known in (known for known in image.ports if known.direction == direction):
        if known.name == port.name:
            return first, len(known.lanes)
        first += len(known.lanes)
    raise KeyError(port.name)


def _ends(scene: Scene, loaded: Loaded, sink: int, port: str) -> Iterator[tuple[int, int, int, int, int]]:
    """(lane, ring, x, y, colour) of every queue that should hear a lane of an input port."""
    made, kernel = scene.netlist.kernels[sink], scene.standing(sink)
    if kernel is None:
        assert isinstance(made, Port)
        first, count = _host_lanes(scene.image, made, "out")
        rings = int(np.count_nonzero(loaded.queue >= 0)) + first
        for lane in range(count):
            at = loaded.lanes_out[first + lane]
            yield lane, rings + lane, at.x, at.y, at.colour
        return
    for lane, heard in enumerate(made.inputs()[port]):
        queue = made.lane_queue(port, lane)
        for col, row, cols, rows in heard.hears:
            for r in range(row, row + rows):
                for c in range(col, col + cols):
                    core = kernel.block.first + r * kernel.block.cols + c
                    x, y = kernel.block.at(r, c)
                    colour = int(scene.image.cores["inq"][core, queue])
                    yield lane, int(loaded.state.core[core, C_IN + queue]), int(x), int(y), colour


def misrouted(scene: Scene, kernel: Standing | None, finding: Finding | None) -> Finding | None:
    """The first lane into a kernel (None: any, also into the host) that comes from elsewhere, with what it brought."""
    for found in misroutes(scene):
        if kernel is None or scene.netlist.ops[found.sink] is kernel.op:
            number = kernel.step.number if kernel is not None else 0
            return _misroute_finding(scene, found, finding, number)
    return None


def _misroute_finding(scene: Scene, found: Misroute, finding: Finding | None, number: int) -> Finding:
    net = scene.netlist.nets[found.net]
    meant, came = (_lane_of(scene, end, number) for end in (found.wanted, found.got))
    sink = scene.standing(found.sink)
    name = sink.name if sink is not None else f"host port {scene.image.ports[-1].name}"
    token: tuple[int, ...] = ()
    element, got, wanted = 0, float("nan"), float("nan")
    if meant is not None and came is not None and meant[1].shape == came[1].shape:
        place = worst(difference(came[1], meant[1]), np.zeros(meant[1].shape))
        token, element = place[:-1], place[-1]
        got, wanted = float(came[1][place]), float(meant[1][place])
    brings = came[0] if came is not None else "the words of nothing known"
    text = (
        f"core ({found.x}, {found.y}) of {name} hears on colour {found.colour} {brings}, not "
        f"{meant[0] if meant is not None else net.name}: the route is wrong"
    )
    if token:
        text += f"; element {element} of the block that arrives: got {got:.7g}, wanted {wanted:.7g}"
    before = f"{finding.text}\n  " if finding is not None else ""
    return Finding(
        kernel=name,
        where=finding.where if finding is not None else name,
        token=token,
        element=element,
        lane=found.lane,
        core=(found.x, found.y),
        colour=found.colour,
        got=got,
        wanted=wanted,
        cause="route",
        text=before + text,
    )


def _lane_of(scene: Scene, end: tuple[int, int], number: int) -> tuple[str, Array] | None:
    """What sends from a queue, in words, and the block it sent, in pass `number` if it has that; None if it is no lane
    between kernels."""
    for kernel in sorted(scene.kernels, key=lambda kernel: kernel.step.number != number):
        for lane, source in enumerate(kernel.sources):
            if (source.core, source.queue) == end:
                x, y = position_of(kernel, source.core)
                start = lane * (kernel.sources[0].words - 1)
                block = scene.streams.get(kernel.step)[..., start : start + source.words - 1]
                return f"lane {lane} of {kernel.name} from core ({x}, {y})", block
    return None
