"""What placing is about: kernels that can stand in many shapes, nets between them, a region, an objective.

The model that `engine` solves; contest graphs become it, the compiler's strips do not use it yet. Lengths are in cores;
pins and wire lengths are in half cores, so that the centre of any rectangle is exact. Rectangles are half-open:
[x, x + width).

    score = objective.time * MT + objective.wire * WL / 2 + objective.adapter * AC

MT is the largest time of a placed kernel, WL the weighted Manhattan length of all nets in half cores, AC the number of
unequal protocol entries over all nets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from runtime.errors import InputError

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Shape:
    """One way for a kernel to stand, orientation included.

    `width` and `height` are in cores, `time` in cycles, `memory` in the unit of the problem's limit. `pins` are (x, y)
    in half cores from the low corner; nets name them by index. `protocol_in` and `protocol_out` are what a net's two
    ends should agree on, entry by entry. `arguments` and `turned` are for whoever asked: the search ignores them.
    """

    width: int
    height: int
    time: float
    memory: float
    pins: tuple[tuple[int, int], ...]
    protocol_in: tuple[int, ...] = ()
    protocol_out: tuple[int, ...] = ()
    arguments: tuple[int, ...] = ()
    turned: bool = False


@dataclass(frozen=True)
class ShapeTable:
    """Many shapes of one kernel as columns, one row a shape, in a reproducible order.

    `pins` has the shape (rows, pins, 2). The protocols, (rows, entries, 2), hold inclusive ranges [low, high]: a shape
    may take any value of the range at no cost in size, time or memory. `source.settle` fixes the values.
    `arguments`, (rows, n), and `turned` are opaque.
    """

    width: Ints
    height: Ints
    time: Floats
    memory: Floats
    pins: Ints
    protocol_in: Ints
    protocol_out: Ints
    arguments: Ints
    turned: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.width)

    def take(self, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> ShapeTable:
        """The chosen rows, by index or by mask."""
        return ShapeTable(
            self.width[rows],
            self.height[rows],
            self.time[rows],
            self.memory[rows],
            self.pins[rows],
            self.protocol_in[rows],
            self.protocol_out[rows],
            self.arguments[rows],
            self.turned[rows],
        )


class ShapeSource(Protocol):
    """All useful shapes of a kernel. There are too many over all times to list, so they are asked for by time limit.

    Kernels that share a source object, or have equal ones, have the same shapes; sources are hashable.
    """

    def times(self, low: float, high: float) -> Floats:
        """The distinct achievable times in [low, high], ascending: nothing changes at a limit between two of them."""
        ...

    def shapes(self, limit: float) -> ShapeTable:
        """All useful shapes with time <= limit and legal memory, both orientations where turning is allowed.

        Contains for every size it can take a shape at most as wide and as high (the Pareto set), and beyond it shapes
        that differ in protocol. Sorted, without duplicates; may be empty.
        """
        ...

    def settle(self, table: ShapeTable, row: int, values_in: Sequence[int], values_out: Sequence[int]) -> Shape:
        """Row `row` with its protocol fixed to these values, each inside the row's range."""
        ...


@dataclass(frozen=True)
class FixedShapes:
    """The source for a kernel with a short list of shapes: orientations of a template, tests."""

    choices: tuple[Shape, ...]

    def times(self, low: float, high: float) -> Floats:
        return np.unique(np.array([s.time for s in self.choices if low <= s.time <= high], dtype=np.float64))

    def shapes(self, limit: float) -> ShapeTable:
        return table_of([s for s in self.choices if s.time <= limit])

    def settle(self, table: ShapeTable, row: int, values_in: Sequence[int], values_out: Sequence[int]) -> Shape:
        return shape_of(table, row)


def table_of(shapes: Sequence[Shape]) -> ShapeTable:
    """Columns of the given shapes, in their order. All must have the same number of pins and protocol entries."""
    rows = len(shapes)

    def cells(values: Sequence[object], columns: int, *trailing: int) -> Ints:
        return np.array(values, dtype=np.int32).reshape(rows, columns, *trailing)

    first = shapes[0] if shapes else Shape(1, 1, 0, 0, ())
    entries_in, entries_out = len(first.protocol_in), len(first.protocol_out)
    return ShapeTable(
        np.array([s.width for s in shapes], dtype=np.int32),
        np.array([s.height for s in shapes], dtype=np.int32),
        np.array([s.time for s in shapes], dtype=np.float64),
        np.array([s.memory for s in shapes], dtype=np.float64),
        cells([s.pins for s in shapes], len(first.pins), 2),
        cells([[(v, v) for v in s.protocol_in] for s in shapes], entries_in, 2),
        cells([[(v, v) for v in s.protocol_out] for s in shapes], entries_out, 2),
        cells([s.arguments for s in shapes], len(first.arguments)),
        np.array([s.turned for s in shapes], dtype=np.bool_),
    )


def shape_of(table: ShapeTable, row: int) -> Shape:
    """Row `row` with every protocol entry at the low end of its range."""
    return Shape(
        int(table.width[row]),
        int(table.height[row]),
        float(table.time[row]),
        float(table.memory[row]),
        tuple((int(x), int(y)) for x, y in table.pins[row]),
        tuple(int(v) for v in table.protocol_in[row, :, 0]),
        tuple(int(v) for v in table.protocol_out[row, :, 0]),
        tuple(int(v) for v in table.arguments[row]),
        bool(table.turned[row]),
    )


@dataclass(frozen=True)
class Kernel:
    """A kernel to place; `name` is for messages."""

    name: str
    shapes: ShapeSource


@dataclass(frozen=True)
class Net:
    """A wire from pin `source_pin` of kernel `source` to pin `sink_pin` of kernel `sink` (indices into `kernels`)."""

    source: int
    sink: int
    weight: int = 1
    source_pin: int = 0
    sink_pin: int = 0


@dataclass(frozen=True)
class Objective:
    """Weights of the largest time (per cycle), wire length (per core) and adapters (per unequal entry)."""

    time: float = 1.0
    wire: float = 1.0
    adapter: float = 0.0


@dataclass(frozen=True)
class Rectangle:
    """[x, x + width) x [y, y + height), in cores."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Problem:
    """Place all kernels inside `region`, clear of `obstacles` and of each other by `margin` free cores.

    `memory` is the largest legal value of `Shape.memory`. The margin is kept between two kernels, not towards
    the border or obstacles.
    """

    region: Rectangle
    kernels: tuple[Kernel, ...]
    nets: tuple[Net, ...]
    objective: Objective
    obstacles: tuple[Rectangle, ...] = ()
    margin: int = 0
    memory: float = float("inf")


@dataclass(frozen=True)
class Terms:
    """MT in cycles, WL in half cores, AC as a count, and what they cost together."""

    time: float
    wire: int
    adapters: int
    score: float


@dataclass(frozen=True)
class Placement:
    """A shape and the position of its low corner for every kernel of a problem, in order."""

    shapes: tuple[Shape, ...]
    x: tuple[int, ...]
    y: tuple[int, ...]

    def rectangle(self, kernel: int) -> Rectangle:
        return Rectangle(self.x[kernel], self.y[kernel], self.shapes[kernel].width, self.shapes[kernel].height)

    def pin(self, kernel: int, pin: int) -> tuple[int, int]:
        """Where a pin lies, in half cores."""
        dx, dy = self.shapes[kernel].pins[pin]
        return 2 * self.x[kernel] + dx, 2 * self.y[kernel] + dy


def wire_length(net: Net, placement: Placement) -> int:
    """The Manhattan length of a net in half cores, times its weight."""
    x0, y0 = placement.pin(net.source, net.source_pin)
    x1, y1 = placement.pin(net.sink, net.sink_pin)
    return net.weight * (abs(x0 - x1) + abs(y0 - y1))


def adapters(net: Net, placement: Placement) -> int:
    """How many protocol entries the two ends of a net disagree on."""
    given = placement.shapes[net.source].protocol_out
    wanted = placement.shapes[net.sink].protocol_in
    return sum(a != b for a, b in zip(given, wanted, strict=True))


def terms(problem: Problem, placement: Placement) -> Terms:
    """The objective of a placement, term by term."""
    time = max((s.time for s in placement.shapes), default=0.0)
    wire = sum(wire_length(net, placement) for net in problem.nets)
    count = sum(adapters(net, placement) for net in problem.nets)
    weights = problem.objective
    return Terms(time, wire, count, weights.time * time + weights.wire * wire / 2 + weights.adapter * count)


def apart(a: Rectangle, b: Rectangle, margin: int = 0) -> bool:
    """Whether at least `margin` free cores lie between two rectangles in x or in y."""
    return (
        a.x + a.width + margin <= b.x
        or b.x + b.width + margin <= a.x
        or a.y + a.height + margin <= b.y
        or b.y + b.height + margin <= a.y
    )


def inside(inner: Rectangle, outer: Rectangle) -> bool:
    return (
        outer.x <= inner.x
        and outer.y <= inner.y
        and inner.x + inner.width <= outer.x + outer.width
        and inner.y + inner.height <= outer.y + outer.height
    )


def violations(problem: Problem, placement: Placement) -> list[str]:
    """Every broken rule in words; an empty list means legal."""
    found = []
    boxes = [placement.rectangle(i) for i in range(len(problem.kernels))]
    for i, (kernel, box) in enumerate(zip(problem.kernels, boxes, strict=True)):
        if not inside(box, problem.region):
            found.append(f"{kernel.name} leaves the region: {box}")
        if placement.shapes[i].memory > problem.memory:
            found.append(f"{kernel.name} needs {placement.shapes[i].memory:g} of {problem.memory:g} memory")
        found += [f"{kernel.name} covers the obstacle {o}" for o in problem.obstacles if not apart(box, o)]
        for j in range(i):
            if not apart(box, boxes[j], problem.margin):
                found.append(f"{kernel.name} and {problem.kernels[j].name} overlap or are closer than {problem.margin}")
    return found


def check_legal(problem: Problem, placement: Placement) -> None:
    """Raise `InputError` naming the broken rules of a placement, at most three of them."""
    found = violations(problem, placement)
    if found:
        more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
        raise InputError("; ".join(found[:3]) + more, code="illegal-placement")


@dataclass(frozen=True)
class Improvement:
    """One line of the search's log: when (seconds), by which stage, to which terms."""

    seconds: float
    stage: str
    terms: Terms


@dataclass(frozen=True)
class Result:
    """What `engine.solve` returns.

    `time_bound` is a proved lower bound on MT, `bound` one on the score. `solver_bound`, where a solver gave one, is a
    proved bound of the wire and adapter cost under the final time and relative order. `utilisation` is the used share
    of the region's free cores. `seconds` are by stage.
    """

    placement: Placement
    terms: Terms
    time_bound: float
    bound: float
    solver_bound: float | None
    utilisation: float
    seconds: dict[str, float] = field(default_factory=dict)
    log: tuple[Improvement, ...] = ()

    @property
    def gap(self) -> float:
        """How far the score may be from the optimum, relative to the score."""
        return (self.terms.score - self.bound) / self.terms.score if self.terms.score else 0.0
