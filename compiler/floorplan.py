"""What placer and router see of a program: rectangles with ports, and bundles of lanes between the ports.

Local coordinates are (col, row) inside a kernel's unturned rectangle, col east and row south; masks and directions are
those of `runtime.geometry`. Coordinates called (x, y) are fabric coordinates. A kernel is known by its index in the
list of footprints; its place is at the same index in the list of places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from runtime.errors import WsecError
from runtime.geometry import RAMP, STEP, Orientation, bit

Pattern = tuple[tuple[int, int, int], ...]
"""Routers of one lane as (col, row, outputs mask), or (x, y, outputs mask) once placed; the entry router first."""


class FloorplanError(WsecError):
    """Footprints and nets that contradict each other; a defect of the pass that made them."""

    def __init__(self, message: str, where: str = "") -> None:
        super().__init__(message, code="bad-floorplan", where=where)


@dataclass(frozen=True)
class Lane:
    """One lane of a port: the router (col, row) where its wavelets enter or leave the kernel.

    An input lane has a `tail`, its fixed multicast pattern inside the kernel; every router of the tail but the first is
    entered from the one neighbour whose outputs mask points to it. An output lane has none: its wavelets come from the
    router's RAMP. A lane of a host port has none either: the host is beyond the direction `outside` of the router.
    """

    col: int
    row: int
    tail: Pattern = ()
    outside: int | None = None

    @property
    def pattern(self) -> Pattern:
        """The routers of this lane seen as an input, the entry router first."""
        if self.outside is not None:
            return ((self.col, self.row, bit(self.outside)),)
        return self.tail

    @property
    def source(self) -> int:
        """The direction from which wavelets come at the router of this lane seen as an output."""
        return RAMP if self.outside is None else self.outside


@dataclass(frozen=True)
class InternalRoute:
    """In the rectangle `w` x `h` at (col, row) every router takes `colour` from `inputs` to `outputs` (masks).

    `words` per token cross each of the links this uses (0: not counted).
    """

    col: int
    row: int
    w: int
    h: int
    colour: int
    inputs: int
    outputs: int
    words: int = 0


@dataclass(frozen=True)
class Footprint:
    """The rectangle of one kernel, its ports by name and its internal routes.

    `edge="west"` marks a host port: one column of routers without cores that stands, unturned, in the west-most column
    of the usable rectangle.
    """

    name: str
    cols: int
    rows: int
    inputs: Mapping[str, tuple[Lane, ...]] = field(default_factory=dict)
    outputs: Mapping[str, tuple[Lane, ...]] = field(default_factory=dict)
    colours: tuple[InternalRoute, ...] = ()
    edge: str | None = None


@dataclass(frozen=True)
class Placed:
    """Where a kernel stands: the north-west corner of its turned rectangle, and its orientation."""

    x: int
    y: int
    orientation: Orientation

    def at(self, kernel: Footprint, col: int, row: int) -> tuple[int, int]:
        """Fabric coordinates of the local router (col, row)."""
        dx, dy = self.orientation.point(col, row, kernel.cols, kernel.rows)
        return self.x + dx, self.y + dy

    def box(self, kernel: Footprint) -> tuple[int, int, int, int]:
        """(x, y, width, height) of the turned rectangle."""
        return self.x, self.y, *self.orientation.size(kernel.cols, kernel.rows)

    def pattern(self, kernel: Footprint, lane: Lane) -> Pattern:
        """The pattern of an input lane in fabric coordinates and directions."""
        turn = self.orientation.mask
        return tuple((*self.at(kernel, col, row), turn(outputs)) for col, row, outputs in lane.pattern)

    def route(self, kernel: Footprint, internal: InternalRoute) -> tuple[int, int, int, int, int, int, int]:
        """An internal route as (x, y, w, h, colour, inputs, outputs) on the fabric."""
        x0, y0 = self.at(kernel, internal.col, internal.row)
        x1, y1 = self.at(kernel, internal.col + internal.w - 1, internal.row + internal.h - 1)
        turn = self.orientation.mask
        x, y, w, h = min(x0, x1), min(y0, y1), abs(x1 - x0) + 1, abs(y1 - y0) + 1
        return x, y, w, h, internal.colour, turn(internal.inputs), turn(internal.outputs)


@dataclass(frozen=True)
class Net:
    """A bundle: lane i of the source's output port goes to lane i of every sink's input port, on one tree.

    `source` and `sinks` are (kernel index, port name); `words` is what each lane carries per token.
    """

    name: str
    source: tuple[int, str]
    sinks: tuple[tuple[int, str], ...]
    words: tuple[int, ...]


def check(kernels: Sequence[Footprint], nets: Sequence[Net]) -> None:
    """Raise FloorplanError unless ports exist, lane counts agree, tails are trees and no port is used twice."""
    for kernel in kernels:
        _check_kernel(kernel)
    taken: set[tuple[int, str, bool]] = set()
    for net in nets:
        if not net.sinks:
            raise FloorplanError("a net without sinks", net.name)
        for i, (end, is_output) in enumerate([(net.source, True), *((sink, False) for sink in net.sinks)]):
            _check_end(kernels, net, end, is_output)
            if (*end, is_output) in taken:
                raise FloorplanError(f"port {end[1]} of {kernels[end[0]].name} is used twice", net.name)
            if i and end[0] == net.source[0]:
                raise FloorplanError(f"{kernels[end[0]].name} feeds itself", net.name)
            taken.add((*end, is_output))


def _check_kernel(kernel: Footprint) -> None:
    if kernel.cols < 1 or kernel.rows < 1:
        raise FloorplanError(f"a rectangle of {kernel.cols} x {kernel.rows}", kernel.name)
    if kernel.edge not in (None, "west") or (kernel.edge and kernel.cols != 1):
        raise FloorplanError("a host port is one column at the west edge", kernel.name)
    for lane in (lane for lanes in kernel.outputs.values() for lane in lanes):
        _check_inside(kernel, lane.col, lane.row)
    for lane in (lane for lanes in kernel.inputs.values() for lane in lanes):
        _check_tail(kernel, lane)


def _check_inside(kernel: Footprint, col: int, row: int) -> None:
    if not (0 <= col < kernel.cols and 0 <= row < kernel.rows):
        raise FloorplanError(f"lane router ({col}, {row}) is outside {kernel.cols} x {kernel.rows}", kernel.name)


def _check_tail(kernel: Footprint, lane: Lane) -> None:
    """The tail is a tree: a walk from the lane's router along the outputs meets every router of the tail once."""
    masks = {(col, row): outputs for col, row, outputs in lane.pattern}
    walk = [(lane.col, lane.row)]
    for col, row in walk:
        _check_inside(kernel, col, row)
        if len(walk) <= len(masks) and lane.outside is None:
            walk.extend(successors(col, row, masks.get((col, row), 0)))
    if sorted(walk) != sorted(masks) or len(masks) != len(lane.pattern):
        raise FloorplanError(f"the tail of input lane ({lane.col}, {lane.row}) is not a tree", kernel.name)


def successors(x: int, y: int, outputs: int) -> list[tuple[int, int]]:
    """The neighbours of a router that its outputs mask points to."""
    return [(x + dx, y + dy) for direction, (dx, dy) in enumerate(STEP) if outputs & bit(direction)]


def _check_end(kernels: Sequence[Footprint], net: Net, end: tuple[int, str], is_output: bool) -> None:
    index, port = end
    if not 0 <= index < len(kernels):
        raise FloorplanError(f"no kernel {index}", net.name)
    ports = kernels[index].outputs if is_output else kernels[index].inputs
    if port not in ports:
        raise FloorplanError(f"{kernels[index].name} has no {'output' if is_output else 'input'} {port}", net.name)
    if len(ports[port]) != len(net.words):
        message = f"{kernels[index].name} has {len(ports[port])} lanes at {port}, the net has {len(net.words)}"
        raise FloorplanError(message, net.name)
