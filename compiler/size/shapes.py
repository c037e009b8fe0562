"""The shape of one kernel in a strip: the lowest that keeps an interval and its memory, or the one soonest done.

Shapes are attributes of the op (`tiles`, `finishers`, `entry`, `spread`, `across`, `blocks`); blocks of its streams are
given. Kernels alike in attributes and blocks are searched once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from compiler.dialects import flow
from compiler.ir.core import Op, StreamType
from compiler.kernels.attention import Attention
from compiler.kernels.base import LANE_QUEUES, Kernel, vector
from compiler.kernels.folded import for_layers, single
from compiler.kernels.lookup import Lookup
from compiler.kernels.matvec import Matvec
from compiler.kernels.table import kernel_of
from compiler.place.strips import height
from compiler.size.goal import NO_LIMIT, Goal
from runtime.stream import Blocks
from runtime.target import Target

Attrs = dict[str, int | str | tuple[int, ...]]
# Attributes that do not change what a kernel costs: names, weights, places, and what the search sets itself.
NAMES = ("sym_name", "weights", "biases", "starts", "tables", "scale", "bias", "constant", "reason", "tokens", "later")
SEARCHED = ("tiles", "finishers", "entry", "spread", "across", "blocks")
FREE = frozenset((*NAMES, *SEARCHED, "x", "y", "orientation"))
# Rows above the fewest conceivable that are tried before a matvec is given up: drops and relays cost a little.
SLACK_ROWS = 1.6
# Ratios of the counts of rows, and of cores a head, that are tried for the least latency.
STEP, FINE_STEP = 1.25, 1.12
MOST_LANES = len(LANE_QUEUES)  # that one core can hear


class Shape:
    """A kernel that one choice of attributes makes; what it costs is found out when it is asked for, once."""

    def __init__(self, kernel: Kernel, attrs: Attrs, target: Target) -> None:
        self.kernel, self.attrs, self.target = kernel, attrs, target

    @cached_property
    def cores(self) -> int:
        return self.kernel.rows * self.kernel.cols

    @cached_property
    def interval(self) -> int:
        return self.kernel.interval(self.target)

    @cached_property
    def latency(self) -> int:
        return self.kernel.latency(self.target)

    @cached_property
    def holds(self) -> bool:
        """Do its cores have the memory?"""
        return self.kernel.memory(self.target) <= self.target.memory_bytes


@dataclass(frozen=True)
class Fit:
    """A shape in a strip, and what it takes of the strip's length."""

    height: int
    shape: Shape

    @property
    def cores(self) -> int:
        return self.shape.cores

    @property
    def interval(self) -> int:
        """Cycles between two tokens."""
        return self.shape.interval

    @property
    def latency(self) -> int:
        """Cycles of a lone token."""
        return self.shape.latency


class Shapes:
    """Finds shapes for ops of one module on one target."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._found: dict[object, Fit | None] = {}
        self._tried: dict[object, list[Fit]] = {}
        self._shapes: dict[object, Shape] = {}
        self._spreads: dict[object, int] = {}
        self._signatures: dict[Op, int] = {}
        self._numbers: dict[object, int] = {}

    def best(self, op: Op, blocks: tuple[int, ...], width: int, goal: Goal) -> Fit | None:
        """The best shape in a strip `width` across with blocks of (operands, results); None if there is none."""
        signature = self.signature(op)
        key = signature, blocks, width, goal.interval, goal.price
        if key not in self._found:
            ranked = sorted(self._fits(op, (signature, blocks), width, goal), key=goal.rank)
            self._found[key] = next((fit for fit in ranked if fit.shape.holds), None)
        return self._found[key]

    def _fits(self, op: Op, what: tuple[int, tuple[int, ...]], width: int, goal: Goal) -> list[Fit]:
        """All shapes in question, whatever their memory."""
        key = *what, width, goal.interval, goal.price is None
        if key not in self._tried:
            set_blocks(op, what[1])
            self._tried[key] = []
            for attrs in self._choices(op, width, goal):
                shape = self._shape(op, what, attrs)
                one = single(shape.kernel)
                if isinstance(one, Matvec) and one.most_lanes > MOST_LANES:
                    continue  # more than there are queues for
                try:
                    fit = Fit(height(shape.kernel, width), shape)
                except ValueError:
                    continue  # it has no place in such a strip
                if goal.interval >= NO_LIMIT or fit.interval <= goal.interval:
                    self._tried[key].append(fit)
        return self._tried[key]

    def signature(self, op: Op) -> int:
        """Equal for ops that have the same shapes at the same costs."""
        number = self._signatures.get(op)
        if number is None:
            number = self._signatures[op] = self._numbers.setdefault(_signature(op), len(self._numbers))
        return number

    def _shape(self, op: Op, what: tuple[int, tuple[int, ...]], attrs: Attrs) -> Shape:
        key = *what, tuple(attrs.items())
        found = self._shapes.get(key)
        if found is None:
            for name in SEARCHED:
                op.attrs.pop(name, None)
            op.attrs.update(attrs)
            found = self._shapes[key] = Shape(kernel_of(op), attrs, self.target)
        return found

    def _choices(self, op: Op, width: int, goal: Goal) -> Iterator[Attrs]:
        """Attributes worth trying; most are right, all are checked."""
        kernel, passes = single(self._bare(op)), flow.passes_of(op)
        if isinstance(kernel, Matvec):
            quick = goal.price is not None
            yield from quick_matvec(kernel, width) if quick else self._matvec(kernel, passes, width, goal.interval)
        elif isinstance(kernel, Attention):
            yield from self._attention(kernel, passes, width, goal)
        elif isinstance(kernel, Lookup):
            yield from self._lookup(op, kernel)
        else:
            yield {}

    @staticmethod
    def _bare(op: Op) -> Kernel:
        """The kernel with placeholders for what is searched."""
        if op.name == "flow.attention":
            op.attrs["spread"], op.attrs["across"] = 1, 0
        if op.name == "flow.lookup":
            op.attrs["blocks"] = op.attrs["counts"]
        if op.name == "flow.fifo":
            op.attrs["tokens"] = 1
        return kernel_of(op)

    def _matvec(self, kernel: Matvec, passes: int, width: int, interval: int) -> Iterator[Attrs]:
        """The fewest rows that keep the interval, with the lanes along the strip and across it."""
        finishers = self._finishers(kernel, interval // passes)
        if finishers is None:
            return
        shared: Attrs = {"finishers": finishers} if finishers else {}
        # Rows stand across the strip where the lanes of x come from, one each if there is room: straight wires.
        yield {"tiles": max(1, min(kernel.x.lanes, width - finishers)), **shared, "entry": "edge"}
        tiles = self._rows(kernel, passes, finishers, interval) if kernel.cols <= width else 0
        if tiles:
            yield {"tiles": tiles, **shared, "entry": "diagonal"}

    def _finishers(self, kernel: Matvec, interval: int) -> int | None:
        """The fewest cores that share out a column's activation; 0 if there is none."""
        if not kernel.activation:
            return 0
        n = kernel.y.block
        passing = 2 * vector(1, self.target) + 2 * vector(n, self.target)
        room = interval - passing - self.target.vector_overhead_cycles
        share = room // self.target.routine_cycles
        return -(-n // share) if share > 0 else None

    def _rows(self, kernel: Matvec, passes: int, finishers: int, interval: int) -> int:
        """The fewest rows of tiles, with relays, for the interval and the memory; 0 if there are none."""
        features, n = kernel.x.features, kernel.y.block
        steps = int((interval // passes - 2 * vector(n, self.target)) / kernel.row_cycles(self.target))
        room = (self.target.memory_bytes - 8 * n) // (kernel.storage.size * (passes * n + 1))
        deepest = min(steps, room, features)
        if deepest < 1:
            return 0
        first = -(-features // deepest)
        tried = 0
        for rows in range(first, min(features, int(first * SLACK_ROWS) + 2) + 1):
            block = -(-features // rows)
            if block == tried:
                continue
            tried = block
            shaped = replace(kernel, tiles=Blocks(features, block).lanes, finishers=finishers, entry="diagonal")
            whole = for_layers(shaped, passes)
            if shaped.most_lanes > MOST_LANES or whole.interval(self.target) > interval:
                continue
            if whole.memory(self.target) <= self.target.memory_bytes:
                return shaped.tiles
        return 0

    def _attention(self, kernel: Attention, passes: int, width: int, goal: Goal) -> Iterator[Attrs]:
        """The fewest cores a head, or from few to many, rounded so that heads fill rows or rows fill heads."""
        fewest = self._spread(kernel, passes, goal.interval)
        if not fewest:
            return
        for spread in (fewest,) if goal.price is None else ladder(fewest, kernel.max_seq, FINE_STEP):
            yield from _head_shapes(kernel, spread, width, passes > 1)

    def _spread(self, kernel: Attention, passes: int, interval: int) -> int:
        """The fewest cores a head for the interval and the memory; 0 if there are none."""

        def holds(entries: int) -> bool:
            spread = -(-kernel.max_seq // entries)
            shaped = for_layers(replace(kernel, spread=spread, columns=0), passes)
            return shaped.interval(self.target) <= interval and shaped.memory(self.target) <= self.target.memory_bytes

        key = replace(kernel, spread=1, columns=0), passes, interval
        if key not in self._spreads:
            low, high = 0, kernel.max_seq if kernel.pieces <= MOST_LANES else 0
            while low < high:
                middle = (low + high + 1) // 2
                low, high = (middle, high) if holds(middle) else (low, middle - 1)
            self._spreads[key] = -(-kernel.max_seq // low) if low else 0
        return self._spreads[key]

    def _lookup(self, op: Op, kernel: Lookup) -> Iterator[Attrs]:
        """As many table rows per core as memory holds, from an estimate downwards."""
        counts = op.attrs["counts"]
        assert isinstance(counts, tuple)
        rows = max(1, self.target.memory_bytes // (kernel.blocks.block * kernel.storage.size))
        while rows:
            attrs: Attrs = {"blocks": tuple(min(rows, int(str(count))) for count in counts)}
            op.attrs.update(attrs)
            if kernel_of(op).memory(self.target) <= self.target.memory_bytes:
                yield attrs
                return
            rows = rows - max(1, rows // 100)


def _head_shapes(kernel: Attention, spread: int, width: int, shared: bool) -> Iterator[Attrs]:
    """With at least `spread` cores a head: heads side by side, or each over several rows.

    Cores beyond the longest sequence keep nothing and lengthen the chain; only kernels that layers share, which need
    large rectangles, may have some.
    """
    length = 1 + spread
    if length <= width:
        abreast = max(1, min(width // length, kernel.heads))
        while abreast > 1 and -(-kernel.heads // (abreast - 1)) == -(-kernel.heads // abreast):
            abreast -= 1
        yield {"spread": spread, "across": abreast * length}
    for deep in range(-(-length // width), -(-length // width) + 2):
        columns = -(-length // deep)
        if deep > 1 and (shared or columns * deep - 1 <= kernel.max_seq):
            yield {"spread": columns * deep - 1, "across": columns}


def quick_matvec(kernel: Matvec, width: int) -> Iterator[Attrs]:
    """From few rows, whose cores have much to do, to many, whose partial sums have a long way; nothing to wait for
    elsewhere, so no finishers."""
    for tiles in ladder(1, kernel.x.features, STEP):
        if tiles <= width:
            yield {"tiles": tiles, "entry": "edge"}
        if kernel.cols <= width:
            yield {"tiles": tiles, "entry": "diagonal"}


def ladder(low: int, high: int, step: float) -> list[int]:
    """Whole numbers from `low` to `high`, each about `step` times the one before."""
    found, at = [], float(low)
    while at < high:
        found.append(round(at))
        at = max(at * step, at + 1)
    return [*found, high]


def set_blocks(op: Op, blocks: tuple[int, ...]) -> None:
    """Give the streams of (operands, results) their blocks."""
    for value, block in zip((*op.operands, *op.results), blocks, strict=True):
        type = flow.stream(value.type)
        value.type = StreamType(type.features, block, type.dtype)


def _signature(op: Op) -> object:
    """What a kernel's shapes depend on besides its blocks."""
    attrs = tuple((key, repr(value)) for key, value in sorted(op.attrs.items()) if key not in FREE)
    bias = repr([bool(b) for b in biases]) if isinstance(biases := op.attrs.get("biases"), tuple) else ""
    features = tuple(flow.stream(value.type).features for value in (*op.operands, *op.results))
    return op.name, attrs, bias, "constant" in op.attrs, features
