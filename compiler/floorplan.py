"""What placer and router see of a program: rectangles with ports, and bundles of lanes between the ports.

Local coordinates are (col, row) inside a kernel's unturned rectangle, col east and row south; masks and directions are
those of `runtime.geometry`. Coordinates called (x, y) are fabric coordinates. A kernel is known by its index in the
list of footprints; its place is at the same index in the list of places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from runtime.errors import WsecError
from runtime.geometry import RAMP, Orientation

Box = tuple[int, int, int, int]
"""A rectangle: (col, row, cols, rows), or (x, y, width, height) once placed."""


class FloorplanError(WsecError):
    """Footprints and nets that contradict each other; a defect of the pass that made them."""

    def __init__(self, message: str, where: str = "") -> None:
        super().__init__(message, code="bad-floorplan", where=where)


@dataclass(frozen=True)
class Lane:
    """One lane of a port: the router (col, row) where its wavelets enter or leave the kernel.

    An input lane is heard by the cores of `hears`, disjoint boxes: wavelets may enter a group of touching boxes at any
    of its routers and spread from there, so (col, row), one of them, only says where about the lane lies. An output
    lane hears nothing: its wavelets come from the router's RAMP. A lane of a host port does neither: the host is beyond
    the direction `outside` of the router.
    """

    col: int
    row: int
    hears: tuple[Box, ...] = ()
    outside: int | None = None

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The routers of this lane seen as an input."""
        return ((self.col, self.row, 1, 1),) if self.outside is not None else self.hears

    @property
    def source(self) -> int:
        """The direction from which wavelets come at the router of this lane seen as an output."""
        return RAMP if self.outside is None else self.outside

    @property
    def sink(self) -> int:
        """The direction in which every router of this lane, seen as an input, hands the wavelets out."""
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
    of the usable rectangle. `turned` says how the kernel wants to stand in a strip: rows across (True), columns across
    (False), or as takes less of its length (None).
    """

    name: str
    cols: int
    rows: int
    inputs: Mapping[str, tuple[Lane, ...]] = field(default_factory=dict)
    outputs: Mapping[str, tuple[Lane, ...]] = field(default_factory=dict)
    colours: tuple[InternalRoute, ...] = ()
    edge: str | None = None
    turned: bool | None = None


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

    def covered(self, kernel: Footprint, box: Box) -> Box:
        """A box of local routers in fabric coordinates."""
        col, row, cols, rows = box
        x0, y0 = self.at(kernel, col, row)
        x1, y1 = self.at(kernel, col + cols - 1, row + rows - 1)
        return min(x0, x1), min(y0, y1), abs(x1 - x0) + 1, abs(y1 - y0) + 1

    def route(self, kernel: Footprint, internal: InternalRoute) -> tuple[int, int, int, int, int, int, int]:
        """An internal route as (x, y, w, h, colour, inputs, outputs) on the fabric."""
        box = internal.col, internal.row, internal.w, internal.h
        turn = self.orientation.mask
        return *self.covered(kernel, box), internal.colour, turn(internal.inputs), turn(internal.outputs)


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
        _check_heard(kernel, lane)


def _check_inside(kernel: Footprint, col: int, row: int) -> None:
    if not (0 <= col < kernel.cols and 0 <= row < kernel.rows):
        raise FloorplanError(f"lane router ({col}, {row}) is outside {kernel.cols} x {kernel.rows}", kernel.name)


def _check_heard(kernel: Footprint, lane: Lane) -> None:
    """There are boxes, inside and disjoint."""
    boxes = lane.boxes
    for col, row, cols, rows in boxes:
        _check_inside(kernel, col, row)
        _check_inside(kernel, col + cols - 1, row + rows - 1)
    if not boxes or any(_overlap(a, b) for i, a in enumerate(boxes) for b in boxes[:i]):
        raise FloorplanError(f"input lane ({lane.col}, {lane.row}) hears nothing, or twice: {boxes}", kernel.name)


def groups(boxes: Sequence[Box]) -> list[list[Box]]:
    """Boxes that touch, directly or by others, together; groups and boxes in the order given."""
    found: list[list[Box]] = []
    for box in boxes:
        near = [group for group in found if any(_touch(box, other) for other in group)]
        joined = [*(other for group in near for other in group), box]
        found = [group for group in found if group not in near]
        found.append(joined)
    return found


def _overlap(a: Box, b: Box, across: int = 0, down: int = 0) -> bool:
    """Whether two boxes meet once `a` has grown by so many columns and rows on all sides."""
    meets = a[0] - across < b[0] + b[2] and b[0] < a[0] + a[2] + across
    return meets and a[1] - down < b[1] + b[3] and b[1] < a[1] + a[3] + down


def _touch(a: Box, b: Box) -> bool:
    """Whether a side of one box lies at a side of the other."""
    return _overlap(a, b, across=1) or _overlap(a, b, down=1)


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
