"""When a lone token comes to each stream, and how long sets of shared kernels keep it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from compiler.dialects import flow
from compiler.ir.core import Op, Value


@dataclass(frozen=True)
class Loop:
    """A set of kernels that several layers share; cycles of one pass, from gate to gate, and of a token in all."""

    switch: Op
    once: int
    all: int


def arrivals(
    ops: Iterable[Op], wait: Callable[[Op], int], back: Callable[[Op], int] = lambda switch: 0
) -> tuple[dict[Value, int], dict[str, Loop]]:
    """Cycles after which a token's last word is on each stream, the first time, if it waits `wait` at each op; and the
    loops by the names of their gates.

    `back`: on the way from a switch to its gate. Behind a switch a token has made all its passes.
    """
    found: dict[Value, int] = {}
    begun: dict[str, int] = {}
    loops = {}
    for op in ops:
        if op.dialect != "flow":
            continue
        begin = max((found[value] for value in op.operands), default=0)
        end = begin + wait(op)
        if op.name == "flow.gate":
            begun[flow.name_of(op)] = begin
        elif op.name == "flow.switch":
            gate, passes = flow.name_of(flow.gate_of(op)), flow.passes_of(op)
            once, way = end - begun[gate], back(op)
            end = begun[gate] + passes * once + (passes - 1) * way
            loops[gate] = Loop(op, once + way, end - begun[gate])
        found.update(dict.fromkeys(op.results, end))
    return found, loops
