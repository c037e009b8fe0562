"""Choosing strips, lanes and shapes for the least latency: the cycles of a lone token on its way through all kernels.

Narrow strips have room for many kernels, wide ones make them lower; few lanes make the chains along a norm short, many
the work on each. So widths and lanes are tried in steps. For a pair of them every kernel takes the shape whose latency
is least, with a price on the length of strip it takes: at the least, the hops that a wire over it costs, at the most
what makes all kernels as low as they can be. The smallest price with which the packer finds room is bisected.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from compiler.deadline import NEVER, Deadline
from compiler.dialects import flow
from compiler.ir.core import Op
from compiler.kernels.base import hop
from compiler.kernels.table import kernel_of
from compiler.place.strips import Frame, compact
from compiler.size.arrival import arrivals
from compiler.size.goal import Goal
from compiler.size.shapes import ladder
from compiler.size.sizing import SIZED_BY, Sizer, Sizing

WIDER = 1.5  # least ratio of the widths of strips that are tried
FEWER = 1.5  # ratio of the lanes
DEAREST = 1e7  # cycles for a row of a strip: above any latency
SAME = 1.1  # ratio of prices at which the bisection stops


def quickest(sizer: Sizer, max_cores: int, deadline: Deadline = NEVER) -> Sizing | None:
    """The least latency found on at most `max_cores` cores, then the fewest cores; None if nothing fits.

    After its share of the time, the best so far; where time or room is too short for any, what `Sizer.best` finds.
    Raises LimitError if nothing was found when all time is over.
    """
    cheapest = float(sizer.target.hop_cycles)
    ideal: list[tuple[int, int, int, Frame]] = []
    for frame, lanes in _pairs(sizer):
        if ideal and deadline.passed(SIZED_BY / 2):
            break
        deadline.check("size", f"no shapes were found for strips up to {frame.width} wide")
        wishes = sizer.wishes(frame, Goal(price=cheapest, lanes=lanes))
        if wishes is not None:
            ideal.append((latency(sizer, wishes), frame.width, lanes, frame))
    best: Sizing | None = None
    for least, _, lanes, frame in sorted(ideal, key=lambda entry: entry[:3]):
        if best is not None and (least >= latency(sizer, best) or deadline.passed(SIZED_BY)):
            break
        deadline.check("size", "no widths and lanes that were tried hold the program")
        found = _affordable(sizer, frame, lanes, max_cores)
        if found is not None:
            best = found if best is None else min(best, found, key=lambda s: (latency(sizer, s), s.cores))
    if best is None:  # where all is tight, only what takes the least room may fit
        return sizer.best(max_cores, deadline)
    frame = compact(best.frame, best.heights, sizer.target.defects, sizer.target, bool(sizer.ports))
    return replace(best, frame=frame)


def _pairs(sizer: Sizer) -> Iterator[tuple[Frame, int]]:
    """Strips, and lanes for the streams with a line of cores."""
    last = 0.0
    most = max((cls.features for cls in sizer.classes if cls.has_line and not cls.choices), default=1)
    for frame in sizer.frames():
        if frame.width < last * WIDER:
            continue
        last = frame.width
        for lanes in ladder(1, min(most, frame.width), FEWER):
            yield frame, lanes


def _affordable(sizer: Sizer, frame: Frame, lanes: int, max_cores: int) -> Sizing | None:
    """With the smallest price for which there is room, if there is one."""
    low = float(sizer.target.hop_cycles)
    best = sizer.try_frame(frame, Goal(price=low, lanes=lanes), max_cores)
    if best is not None:
        return best
    high = DEAREST
    best = sizer.try_frame(frame, Goal(price=high, lanes=lanes), max_cores)
    while best is not None and high > low * SAME:
        middle = (low * high) ** 0.5
        found = sizer.try_frame(frame, Goal(price=middle, lanes=lanes), max_cores)
        low, high, best = (low, middle, found) if found else (middle, high, best)
    return best


def latency(sizer: Sizer, sizing: Sizing) -> int:
    """Cycles of a lone token from the host to the host, along the slowest way.

    Kernels by their closed forms; wires, which nobody has routed yet, as long as the kernel they lead to is high, and
    back to a gate as long as the strips between it and its switch reach.
    """
    across = sizer.target.hop_cycles
    wire = hop(sizer.target)

    def wait(op: Op) -> int:
        fit = sizing.fits.get(op)
        if fit is None:
            return _port(sizer, op, sizing) if flow.is_kernel(op) else 0
        return wire + fit.height * across + (0 if op.name == "flow.fifo" else fit.latency)

    def back(switch: Op) -> int:
        order = list(sizing.fits)
        inside = order[order.index(flow.gate_of(switch)) : order.index(switch) + 1]
        along = sum(sizing.fits[op].height for op in inside)
        frame = sizing.frame
        return wire + across * (min(along, frame.length) + along // frame.length * frame.width)

    found, _ = arrivals(sizer.order, wait, back)
    outputs = [op for op in sizer.order if not op.results]
    return max([*found.values(), *(wait(op) + max(found[value] for value in op.operands) for op in outputs)])


def _port(sizer: Sizer, port: Op, sizing: Sizing) -> int:
    """Of a host port and the relane before it."""
    relane = sizer.relane_of(port, sizing.blocks)
    if relane is None:
        return kernel_of(port).latency(sizer.target)
    return relane.latency(sizer.target)
