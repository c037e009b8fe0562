"""Choosing blocks and shapes: the smallest interval that the cores allow, under 48 KiB a core.

For a given interval every free class gets the fewest lanes with which all its kernels are fast enough and fit their
memory; the class most kernels touch (the residual stream) is tried at every lane count. The interval itself is found by
bisection on the number of cores.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from compiler.dialects import flow
from compiler.ir.core import Op, StreamType
from compiler.kernels.base import Kernel
from compiler.kernels.table import kernel_of
from compiler.place.room import Room
from compiler.size.classes import StreamClass, find_classes
from runtime.target import Target

NO_LIMIT = 1 << 62
PORTS = ("flow.input", "flow.output")
# Kernels that follow from the rest: ports and their relanes, and fifos, which keep the pace of their stream.
FOLLOWERS = (*PORTS, "flow.fifo")
BISECTION_STEPS = 12  # of the interval, in equal ratios: within a few percent of the best


@dataclass(frozen=True)
class Cost:
    """What one kernel takes: cores, bytes on its fullest core, cycles per token."""

    cores: int
    memory: int
    interval: int


@dataclass
class Sizing:
    """A choice: block of every class (by index), and what it comes to."""

    blocks: list[int]
    cores: int
    interval: int


class Sizer:
    """Evaluates choices for one module's ops. Kernels alike in attributes and blocks are priced once."""

    def __init__(self, ops: list[Op], target: Target) -> None:
        self.ops = [op for op in ops if flow.is_kernel(op) and op.name not in FOLLOWERS]
        self.followers = [op for op in ops if op.name in FOLLOWERS]
        self.classes = find_classes(ops)
        self.target = target
        self.longest_side = max(target.usable[2], target.usable[3]) - 2
        self.room = Room(target)
        self._class_of = {value: i for i, cls in enumerate(self.classes) for value in cls.streams}
        self._costs: dict[object, Cost | None] = {}
        self._signatures = {op: _signature(op) for op in self.ops}

    def best(self, max_cores: int) -> Sizing | None:
        """The choice with the smallest interval on at most `max_cores` cores; None if there is none."""
        low = self.smallest()
        if low is None or low.cores > max_cores:
            return None
        slow, fast, best = float(low.interval), 1.0, low
        for _ in range(BISECTION_STEPS):
            middle = math.sqrt(slow * fast)
            found = self.smallest(int(middle))
            if found is not None and found.cores <= max_cores:
                slow, best = middle, found
            else:
                fast = middle
        return best

    def smallest(self, interval: int = NO_LIMIT) -> Sizing | None:
        """The choice with the fewest cores whose interval is at most `interval` cycles; None if there is none."""
        free = [i for i, cls in enumerate(self.classes) if cls.fixed is None]
        if not free:
            return self._complete([cls.fixed or 1 for cls in self.classes], interval)
        main = max(free, key=lambda i: (len(self.classes[i].kernels), -i))
        found: Sizing | None = None
        for block in self._blocks(self.classes[main]):
            sizing = self._with_main(main, block, interval)
            if sizing is not None and (found is None or sizing.cores < found.cores):
                found = sizing
        return found

    def _with_main(self, main: int, block: int, interval: int) -> Sizing | None:
        blocks = [cls.fixed or 0 for cls in self.classes]
        blocks[main] = block
        for i, cls in enumerate(self.classes):
            if blocks[i]:
                continue
            ladder = self._blocks(cls)
            rungs = len(ladder)
            step = _first(rungs, lambda n, i=i, ladder=ladder: self._fits(i, ladder[n], blocks, interval))  # type: ignore[misc]
            if step is None and self.target.defects:  # more lanes may be too long for the room between dead cores
                step = next((n for n in range(rungs) if self._fits(i, ladder[n], blocks, interval)), None)
            if step is None:
                return None
            blocks[i] = ladder[step]
        return self._complete(blocks, interval)

    def _blocks(self, cls: StreamClass) -> list[int]:
        """Blocks worth trying, largest (fewest lanes) first: each lane count gives its smallest block."""
        most = min(cls.features, self.longest_side)
        lanes = sorted({min(most, round(2 ** (step / 8))) for step in range(8 * most.bit_length() + 1)})
        return sorted({-(-cls.features // count) for count in lanes}, reverse=True)

    def _fits(self, index: int, block: int, blocks: list[int], interval: int) -> bool:
        trial = [*blocks]
        trial[index] = block
        for op in self.classes[index].kernels:
            if op in self._signatures and all(self._block(value, trial) for value in (*op.operands, *op.results)):
                cost = self._shape(op, trial, interval)
                if cost is None:
                    return False
        return True

    def _complete(self, blocks: list[int], interval: int) -> Sizing | None:
        cores, worst = 0, 0
        for op in self.ops:
            cost = self._shape(op, blocks, interval)
            if cost is None:
                return None
            cores += cost.cores
            worst = max(worst, cost.interval)
        return Sizing(blocks, cores + self._follower_cores(blocks), worst)

    def _follower_cores(self, blocks: list[int]) -> int:
        """Cores of the fifos, and of the relanes that ports of many lanes will need."""
        cores = 0
        for op in self.followers:
            (value,) = op.results or op.operands
            lanes = -(-flow.stream(value.type).features // self._block(value, blocks))
            rivals = sum(other.name == op.name for other in self.followers)
            if op.name not in PORTS or lanes > self.target.host_channels // rivals:
                cores += lanes
        return cores

    def _block(self, value: object, blocks: list[int]) -> int:
        return blocks[self._class_of[value]]  # type: ignore[index]

    def _shape(self, op: Op, blocks: list[int], interval: int) -> Cost | None:
        """The cheapest shape of one kernel that keeps the interval and its memory; None if there is none."""
        key = (self._signatures[op], *(self._block(value, blocks) for value in (*op.operands, *op.results)))
        if (key, interval) not in self._costs:
            self.apply(op, blocks)
            self._costs[key, interval] = self._search(op, interval)
        return self._costs[key, interval]

    def misfits(self) -> list[Op]:
        """Kernels for which no blocks of their streams leave a shape that fits, whatever the other kernels want."""
        return [op for op in self.ops if not self._has_shape(op)]

    def _has_shape(self, op: Op) -> bool:
        indices = list(dict.fromkeys(self._class_of[value] for value in (*op.operands, *op.results)))
        classes = [self.classes[index] for index in indices]
        ladders = [[cls.fixed] if cls.fixed else self._blocks(cls) for cls in classes]
        blocks = [0] * len(self.classes)
        for choice in itertools.product(*ladders):
            for index, block in zip(indices, choice, strict=True):
                blocks[index] = block
            if self._shape(op, blocks, NO_LIMIT) is not None:
                return True
        return False

    def apply(self, op: Op, blocks: list[int]) -> None:
        """Give the op's streams their blocks."""
        for value in (*op.operands, *op.results):
            type = flow.stream(value.type)
            value.type = StreamType(type.features, self._block(value, blocks), type.dtype)

    def choose(self, op: Op, interval: int) -> None:
        """Set the shape attributes of an op whose streams have their blocks."""
        self._search(op, interval)

    def _search(self, op: Op, interval: int) -> Cost | None:
        """Try the op's own shape parameters from cheapest to dearest; the first that fits stays set on the op."""
        for attrs in self._shapes(op):
            op.attrs.update(attrs)
            cost = self._price(kernel_of(op))
            if cost.memory <= self.target.memory_bytes and cost.interval <= interval and cost.cores:
                return cost
        return None

    def _shapes(self, op: Op) -> Iterator[dict[str, int | tuple[int, ...]]]:
        if op.name == "flow.attention":
            most = min(self.longest_side, int(str(op.attrs["max_seq"])))
            spreads = sorted({min(most, round(2 ** (step / 8))) for step in range(8 * most.bit_length() + 1)})
            for spread in spreads:
                yield {"spread": spread}
        elif op.name == "flow.lookup":
            yield from self._lookup_shapes(op)
        else:
            yield {}

    def _lookup_shapes(self, op: Op) -> Iterator[dict[str, int | tuple[int, ...]]]:
        """As many table rows per core as memory holds, from an estimate downwards."""
        counts = op.attrs["counts"]
        assert isinstance(counts, tuple)
        width = flow.stream(op.result.type).block * (2 if op.attrs["storage"] == "f16" else 4)
        rows = max(1, self.target.memory_bytes // width)
        while rows:
            yield {"blocks": tuple(min(rows, int(str(count))) for count in counts)}
            rows = rows - max(1, rows // 50)

    def _has_room(self, short: int, long: int) -> bool:
        return self.room.fits(short, long) or self.room.fits(long, short)

    def _price(self, kernel: Kernel) -> Cost:
        short, long = sorted((kernel.rows, kernel.cols))
        if long > self.longest_side or short > min(self.target.usable[2:]) - 2 or not self._has_room(short, long):
            return Cost(0, NO_LIMIT, NO_LIMIT)
        return Cost(kernel.rows * kernel.cols, kernel.memory(self.target), kernel.interval(self.target))


def _signature(op: Op) -> object:
    """What the price of a kernel depends on besides its blocks: not its name, weights or place."""
    skipped = ("sym_name", "weights", "biases", "starts", "tables", "scale", "bias", "constant", "spread", "blocks")
    attrs = tuple((key, repr(value)) for key, value in sorted(op.attrs.items()) if key not in skipped)
    bias = repr([bool(b) for b in biases]) if isinstance(biases := op.attrs.get("biases"), tuple) else ""
    return op.name, attrs, bias, "constant" in op.attrs


def _first(count: int, holds: Callable[[int], bool]) -> int | None:
    """The smallest index below `count` for which `holds`, which stays true once true; None if it never does."""
    if not count or not holds(count - 1):
        return None
    low, high = 0, count - 1
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low
