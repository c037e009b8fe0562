"""The star reduction: every core's vector goes to the root by itself, along one colour that all cores share.

A router takes that colour from its own core and from the east, which is legal as long as words never come from both in
one cycle. On the wafer switches see to that; here the cores do, each of which waits as long as the vectors of those
nearer to the root take. A mistake in that is a fault of the machine.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.bench.layout import DATA, Layout
from runtime.bench.measure import Measured
from runtime.bench.vectors import check, own, total, vector_layout
from runtime.errors import UsageError
from runtime.isa import Alu, Binary, Fifo, FifoDef, In, Instr, Loop, Mov, Out, Reduce, Reg, code_bytes
from runtime.target import Target

ROOT = (0, 0)


def _wait(cycles: int, target: Target) -> list[Instr]:
    """Scalar code that takes exactly so many cycles."""
    step: Instr = Alu("add", Reg(1), Reg(1), 0)
    rounds = max(0, cycles - target.scalar_cycles) // target.branch_cycles
    if rounds == 0:
        return [step] * cycles
    rest = cycles - target.scalar_cycles - rounds * target.branch_cycles
    return [Loop(Reg(0), rounds, ()), *[step] * rest]


def _ring(words: int) -> FifoDef:
    """Where the root adds up: a ring beside its vector, one word longer."""
    return FifoDef(DATA + 4 * words, words + 1)


def _root(cores: int, words: int, queue: int, ring: FifoDef | None) -> list[Instr]:
    """In a ring, all that comes after the first vector is one instruction; without room for it, one a vector. Vectors
    of one word are a single sum."""
    mine, vector = own(words), In(queue, words)
    if words == 1:
        return [Reduce("rsum", mine, In(queue, cores - 1))]
    if ring is None:
        rest = [Loop(Reg(0), cores - 2, (Binary("add", mine, mine, vector),))] if cores > 2 else []
        return [Binary("add", mine, mine, vector), *rest]
    body: list[Instr] = [Binary("add", Fifo(0, words), mine, vector)]
    if cores > 2:
        more = words * (cores - 2)
        body.append(Binary("add", Fifo(0, more), Fifo(0, more), In(queue, more)))
    return body


def _layout(cores: int, words: int, base: Target) -> tuple[Layout, FifoDef | None]:
    ring: FifoDef | None = _ring(words)
    room = base.memory_bytes - sum(map(code_bytes, _root(max(cores, 3), words, 0, ring)))
    end = DATA + 8 * words + 4
    ring = ring if end <= room and words > 1 else None
    layout = vector_layout(cores, 1, words, base, end if ring else 0)
    layout.core(ROOT, _root(cores, words, layout.input(ROOT, 0), ring), fifos=(ring,) if ring else ())
    # Between two vectors the root may be busy with its loop, or, once, with the set-up of its second instruction.
    pause = base.vector_overhead_cycles
    each = words if ring or words == 1 else words + pause + base.branch_cycles
    first = 0 if words == 1 else pause + (0 if ring else base.scalar_cycles)
    waits = [0] + [(x - 1) * (each - base.hop_cycles) + first for x in range(2, cores)]
    soonest = min(waits)
    for x in range(1, cores):
        place = (x, 0)
        layout.line(0, place, ROOT)
        send = Mov(Out(layout.output(place, 0), words), own(words))
        layout.core(place, [*_wait(waits[x - 1] - soonest, base), send, layout.stop(place)])
    return layout, ring


def star(cores: int, words: int, base: Target) -> dict[str, Any]:
    """Reduce a vector of fp32 words over a row of cores; cycles as in `runtime.bench.collectives`.

    Raises InputError if it does not fit, UsageError on a machine whose scalar code cannot wait for just so long.
    """
    if base.scalar_cycles != 1:
        raise UsageError("a star needs scalar instructions of one cycle, to wait by", code="bench-target")
    layout, ring = _layout(cores, words, base)
    measured = Measured(layout.image())
    if ring is None:
        got = measured.memory(0, DATA, words)
    else:
        held = measured.memory(0, ring.address, ring.words)
        got = np.roll(held, -((cores - 2) * words % ring.words))[:words]
    check(got, total(cores, words))
    return {"cycles": int(measured.ends()[0]) - measured.startup, **measured.report()}
