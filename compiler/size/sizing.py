"""Choosing strips, lanes and shapes: the smallest interval with which all kernels still find room on the wafer.
(`size/quick.py` has the least latency instead, with the same means.)

For an interval and a width of strips, streams with a line of cores lie on as many lanes as fit across, the others on
those that make their kernels lowest, and every kernel takes its lowest shape; the packer then says whether the strips
hold them all. The interval is found by bisection with the packer in the loop.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from compiler.deadline import NEVER, Deadline
from compiler.dialects import flow
from compiler.ir.core import Op, Value
from compiler.kernels.port import channel_cycles, host_wait
from compiler.kernels.relane import Relane
from compiler.place.strips import Frame, bins, compact, fill, span
from compiler.size.classes import StreamClass, find_classes
from compiler.size.goal import NO_LIMIT, Goal
from compiler.size.shapes import SEARCHED, Fit, Shapes, ladder, set_blocks
from runtime.stream import Blocks
from runtime.target import Target

PORTS = ("flow.input", "flow.output")
SIZED_BY = 0.25  # share of a time limit after which the best sizes so far are taken: routing needs the most
PRECISION = 1.004  # ratio of intervals at which the bisection stops
NARROWEST, WIDEST = 1, 256  # strips worth trying, in cores across
MANY = 30  # strips, beyond which not every number is tried
LANE_STEP = 1.4  # ratio of the counts of lanes tried for the least latency
DENSEST = 3  # lanes between two kernels for each core across the strip: each needs a colour beside the others
WIDE = 16  # features per host channel beyond which no matvec feeds a port directly


@dataclass(frozen=True)
class Sizing:
    """A choice: the strips, the block of every class (by index), every kernel's shape, and what it comes to."""

    frame: Frame
    blocks: tuple[int, ...]
    fits: dict[Op, Fit]
    cores: int
    interval: int  # of the slowest kernel or port
    heights: tuple[int, ...]


class Sizer:
    """Evaluates choices for one module's ops."""

    def __init__(self, ops: list[Op], target: Target) -> None:
        self.target = target
        self.order = ops
        self.ports = [op for op in ops if op.name in PORTS]
        self.ops = [op for op in ops if flow.is_kernel(op) and op.name not in PORTS]
        self.classes = find_classes(ops)
        self.shapes = Shapes(target)
        self._class_of = {value: i for i, cls in enumerate(self.classes) for value in cls.streams}

    def best(self, max_cores: int, deadline: Deadline = NEVER) -> Sizing | None:
        """The smallest interval on at most `max_cores` cores, and for it the fewest cores; None if nothing fits.

        After its share of the time the best so far. Raises LimitError if there is none when all time is over.
        """
        frames = list(self.frames())
        floor = self._floor()
        sizing, frames = self._at(NO_LIMIT, frames, max_cores, deadline)
        if sizing is None:
            return None
        slow, fast = sizing.interval, floor
        at_floor, left = self._at(floor, frames, max_cores, deadline, anytime=True)
        if at_floor is not None:
            slow, sizing, frames = floor, at_floor, left
        while slow > fast * PRECISION and slow > floor and not deadline.passed(SIZED_BY):
            middle = int(math.sqrt(slow * fast))
            if middle <= fast:
                break
            found, left = self._at(middle, frames, max_cores, deadline, anytime=True)
            if found is None:
                fast = middle
            else:
                slow, sizing, frames = found.interval, found, left
        every = []
        for frame in frames:
            if deadline.passed(SIZED_BY):
                break
            found = self.try_frame(frame, Goal(slow), max_cores)
            every += [found] if found else []
        best = min(every, key=lambda s: (s.cores, s.frame.width, s.frame.count), default=sizing)
        frame = compact(best.frame, best.heights, self.target.defects, self.target, bool(self.ports))
        return replace(best, frame=frame)

    def smallest(self) -> Sizing | None:
        """A choice with few cores, whatever its interval; None if nothing fits."""
        every = [found for frame in self.frames() if (found := self.try_frame(frame, Goal(), NO_LIMIT))]
        return min(every, key=lambda s: s.cores, default=None)

    def frames(self) -> Iterator[Frame]:
        """Widths that use the wafer well, from narrow to wide."""
        across, along = span(self.target, bool(self.ports))
        counts = [*range(1, MANY), *(round(MANY * 1.2**step) for step in range(30))]
        widths = {across // count for count in counts if across // count >= NARROWEST}
        for width in sorted(w for w in widths if w <= WIDEST):
            yield Frame(width, along, across // width)

    def _at(
        self, interval: int, frames: list[Frame], max_cores: int, deadline: Deadline, *, anytime: bool = False
    ) -> tuple[Sizing | None, list[Frame]]:
        """A sizing for the interval, and the frames that may still serve smaller ones, the one found first.

        With `anytime` none is found once the share of the time is over.
        """
        for number, frame in enumerate(frames):
            if anytime and deadline.passed(SIZED_BY):
                return None, frames
            deadline.check("size", f"{number} of {len(frames)} widths of strips were tried, and none holds the program")
            found = self.try_frame(frame, Goal(interval), max_cores)
            if found is not None:
                return found, [frame, *frames[number + 1 :]]
        return None, frames

    def try_frame(self, frame: Frame, goal: Goal, max_cores: int) -> Sizing | None:
        """All kernels sized for the goal and these strips, if they find room."""
        wishes = self.wishes(frame, goal)
        if wishes is None or wishes.cores > max_cores:
            return None
        heights = wishes.heights
        if sum(heights) > frame.length * frame.count or max(heights, default=0) > frame.length:
            return None
        free = bins(frame, self.target.defects, self.target, bool(self.ports))
        return wishes if fill(heights, free) is not None else None

    def wishes(self, frame: Frame, goal: Goal) -> Sizing | None:
        """All kernels sized for the goal and these strips, whether or not they find room; None if one has no shape."""
        blocks = self._choose_blocks(frame, goal)
        if blocks is None:
            return None
        fits = {}
        for op in self.ops:
            fit = self._fit(op, blocks, frame, goal)
            if fit is None:
                return None
            fits[op] = fit
        relanes = self.relanes(blocks)
        cores = sum(fit.cores for fit in fits.values()) + sum(relane.rows * relane.cols for relane in relanes)
        heights = [fit.height for fit in fits.values()]
        heights += [1 for relane in relanes if relane.cols <= frame.width]
        intervals = [fit.interval + self._host_wait(op, blocks) for op, fit in fits.items()]
        intervals += [relane.interval(self.target) for relane in relanes]
        worst = max([self._port_interval(), *intervals])
        if worst > max(goal.interval, self._port_interval()):
            return None
        return Sizing(frame, tuple(blocks), fits, cores, worst, tuple(heights))

    def _choose_blocks(self, frame: Frame, goal: Goal) -> list[int] | None:
        """A block for every class: those with lines first, then the others in order, each for the best kernels."""
        blocks = [0] * len(self.classes)
        for i, cls in enumerate(self.classes):
            if len(cls.choices) == 1:
                blocks[i] = cls.choices[0]
            elif cls.has_line and not cls.choices:
                blocks[i] = -(-cls.features // min(cls.features, goal.lanes or frame.width))
        for i in range(len(blocks)):
            if not blocks[i]:
                best = self._best_block(i, blocks, frame, goal)
                if best is None:
                    return None
                blocks[i] = best
        return blocks

    def _best_block(self, index: int, blocks: list[int], frame: Frame, goal: Goal) -> int | None:
        """The block of a class that makes its kernels best together; None if none of those tried fits."""
        cls = self.classes[index]
        best: tuple[float, int, int] | None = None
        inside = all(op.name not in PORTS for op in cls.kernels)
        for block in cls.choices or self._candidates(index, blocks, frame, goal):
            if inside and not cls.choices and -(-cls.features // block) > DENSEST * frame.width:
                continue
            blocks[index] = block
            decided = [op for op in cls.kernels if self._decided(op, blocks)]
            fits = [self._fit(op, blocks, frame, goal) for op in decided]
            waits = [self._host_wait(op, blocks) for op in decided]
            blocks[index] = 0
            found = [goal.rank(fit) for fit in fits if fit is not None]
            relanes = [relane for port in cls.kernels if (relane := self._relane(port, block))]
            in_time = all(relane.interval(self.target) <= goal.interval for relane in relanes) and all(
                not wait or fit is None or fit.interval + wait <= max(goal.interval, self._port_interval())
                for fit, wait in zip(fits, waits, strict=True)
            )
            if len(found) == len(fits) and in_time:
                waiting = 0 if goal.price is None else sum(relane.latency(self.target) for relane in relanes)
                rank = (sum(first for first, _ in found) + waiting, sum(cores for _, cores in found), block)
                best = rank if best is None else min(best, rank)
        return best[2] if best else None

    def _candidates(self, index: int, blocks: list[int], frame: Frame, goal: Goal) -> list[int]:
        """Blocks worth trying for a class without lines: as many lanes as the strip is wide or half as wide, and the
        fewest with which its producer stands turned, and a few more; for latency, up to as many as it is long."""
        cls = self.classes[index]
        lanes = {min(cls.features, frame.width), max(1, min(cls.features, frame.width) // 2)}
        fewest = self._fewest_lanes(index, blocks, frame, goal.interval)
        lanes |= {min(cls.features, fewest + more) for more in range(4)} if fewest else set()
        if goal.price is not None and fewest:
            lanes |= set(ladder(fewest, min(cls.features, frame.width), LANE_STEP))
        for port in (op for op in cls.kernels if op.name in PORTS):  # full rows of relanes
            channels = max(1, self.channels(port))
            rows = {-(-fewest // channels) + more for more in range(3) if fewest}
            rows |= {count // channels for count in lanes if goal.price is not None and count >= channels}
            lanes |= {min(cls.features, row * channels) for row in rows}
        return sorted({-(-cls.features // count) for count in lanes})

    def _fewest_lanes(self, index: int, blocks: list[int], frame: Frame, interval: int) -> int:
        """The fewest lanes for which the producer of a class has a shape; 0 if there are none."""
        cls = self.classes[index]
        producer = cls.streams[0].op
        if producer is None or producer not in self.ops or not self._decided(producer, blocks, index):
            return 1

        def holds(lanes: int) -> bool:
            trial = [*blocks]
            trial[index] = -(-cls.features // lanes)
            return self._fit(producer, trial, frame, Goal(interval)) is not None

        high = min(cls.features, frame.length)
        if not holds(high):
            return 0
        low = 1
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if holds(middle) else (middle + 1, high)
        return low

    def _decided(self, op: Op, blocks: Sequence[int], but: int = -1) -> bool:
        """Have all streams of a kernel (not a port) a block, those of class `but` aside?"""
        if op.name in PORTS or not flow.is_kernel(op):
            return False
        return all(self._class_of[value] == but or blocks[self._class_of[value]] for value in _values(op))

    def _fit(self, op: Op, blocks: Sequence[int], frame: Frame, goal: Goal) -> Fit | None:
        own = tuple(blocks[self._class_of[value]] for value in _values(op))
        beside = any(relane.cols > frame.width for relane in self._relanes_of(op, blocks))
        return self.shapes.best(op, own, frame.width - beside, goal)

    def _relanes_of(self, op: Op, blocks: Sequence[int]) -> list[Relane]:
        """Relanes between what a kernel sends and the host; one longer than a strip is wide stands beside it."""
        readers = [port for value in op.results for port in self.classes[self._class_of[value]].kernels]
        index = self._class_of[op.results[0]] if op.results else 0
        found = (self._relane(port, blocks[index]) for port in readers if port.name == "flow.output")
        return [relane for relane in found if relane is not None]

    def misfits(self) -> list[Op]:
        """Kernels for which no blocks of their streams leave a shape that fits, whatever the other kernels want."""
        return [op for op in self.ops if not self._has_shape(op)]

    def _has_shape(self, op: Op) -> bool:
        indices = list(dict.fromkeys(self._class_of[value] for value in _values(op)))
        blocks = [0] * len(self.classes)
        for frame in self.frames():
            for choice in itertools.product(*(self._ladder(self.classes[index], frame) for index in indices)):
                for index, block in zip(indices, choice, strict=True):
                    blocks[index] = block
                fit = self._fit(op, blocks, frame, Goal())
                if fit is not None and fit.height <= frame.length:
                    return True
        return False

    @staticmethod
    def _ladder(cls: StreamClass, frame: Frame) -> list[int]:
        """Blocks of a class that tell whether a kernel can live at all."""
        lanes = min(cls.features, frame.width if cls.has_line else frame.length)
        counts = {lanes, *(2**step for step in range(lanes.bit_length()))} if not cls.has_line else {lanes}
        return list(cls.choices) or sorted({-(-cls.features // count) for count in counts})

    def apply(self, sizing: Sizing) -> None:
        """Write blocks and shapes into the ops."""
        for op, fit in sizing.fits.items():
            set_blocks(op, tuple(sizing.blocks[self._class_of[value]] for value in _values(op)))
            for key in SEARCHED:
                op.attrs.pop(key, None)
            op.attrs.update(fit.shape.attrs)
        for cls, block in zip(self.classes, sizing.blocks, strict=True):
            for value in cls.streams:
                if value.op is not None and value.op not in sizing.fits:
                    set_blocks(value.op, (block,) * (len(value.op.operands) + len(value.op.results)))

    # Host ports: their channels are few, so wider streams go through a relane.

    def channels(self, port: Op) -> int:
        """Host channels of a port: an equal share of what the ports of its direction may use, at most its features."""
        rivals = [other for other in self.ports if other.name == port.name]
        shares = {id(other): _features(other) for other in rivals}
        left = self.target.host_channels
        for served, other in enumerate(sorted(rivals, key=_features)):
            shares[id(other)] = min(shares[id(other)], left // (len(rivals) - served))
            left -= shares[id(other)]
        return shares[id(port)]

    def _floor(self) -> int:
        """An interval that host ports, with the relanes before them, do not let the program fall below."""
        floor = self._port_interval()
        for port in self.ports:
            features, channels = _features(port), max(1, self.channels(port))
            if features > WIDE * channels:
                fine = (Blocks.over(features, channels * ratio) for ratio in range(2, WIDE + 16))
                floor = max(floor, min(self._relane(port, blocks.block).interval(self.target) for blocks in fine))  # type: ignore[union-attr]
        return floor

    def _port_interval(self) -> int:
        """Cycles per token of the busiest host lane: no kernel needs to be faster."""
        words = (1 + -(-_features(port) // max(1, self.channels(port))) for port in self.ports)
        return max(1, channel_cycles(max(words, default=0), self.target))

    def _relane(self, port: Op, block: int) -> Relane | None:
        """What stands between a port and a stream of this block, if it has more lanes than the port has channels."""
        if port.name not in PORTS:
            return None
        blocks, channels = Blocks(_features(port), block), max(1, self.channels(port))
        if blocks.lanes <= channels:
            return None
        return Relane(blocks, -(-blocks.lanes // channels), port.name == "flow.output")

    def _host_wait(self, op: Op, blocks: Sequence[int]) -> int:
        """Cycles a kernel waits for the host's channels in every token, see `kernels.port.host_wait`."""
        given = [port for port in flow.outputs_of(op) if self.relane_of(port, blocks) is None]
        return max((host_wait(blocks[self._class_of[port.operands[0]]], self.target) for port in given), default=0)

    def relane_of(self, port: Op, blocks: Sequence[int]) -> Relane | None:
        """The relane of a port, if it needs one."""
        value = port.result if port.results else port.operands[0]
        return self._relane(port, blocks[self._class_of[value]])

    def relanes(self, blocks: Sequence[int]) -> list[Relane]:
        """The relanes of all ports."""
        return [relane for port in self.ports if (relane := self.relane_of(port, blocks)) is not None]


def _values(op: Op) -> tuple[Value, ...]:
    return (*op.operands, *op.results)


def _features(port: Op) -> int:
    return flow.stream((port.result if port.results else port.operands[0]).type).features
