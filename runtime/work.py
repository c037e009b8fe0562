"""The arithmetic of a token, counted from the programs in an image."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.isa import Dtype, Fmac, If, In, Instr, Loop, Mem, Program, Region, operands, walk


@dataclass(frozen=True)
class Work:
    """Multiply-accumulates of one core and token: with both factors in fp16, and others."""

    f16: int
    f32: int


def work(program: Program) -> Work:
    """The most a token can ask of the program's core: conditions hold, and caches are full.

    Counts that are known only as the program runs depend on how much of a cache is filled; the memory region behind
    the operand says how much there can be.
    """
    totals = {Dtype.F16: 0, Dtype.F32: 0}
    for task in program.tasks:
        _count(task.body, 1, program.regions, totals)
    return Work(totals[Dtype.F16], totals[Dtype.F32])


def _count(body: tuple[Instr, ...], times: int, regions: tuple[Region, ...], totals: dict[Dtype, int]) -> None:
    for instr in body:
        if isinstance(instr, Loop):
            count = instr.count if isinstance(instr.count, int) else _turns(instr, regions)
            _count(instr.body, times * max(0, count), regions, totals)
        elif isinstance(instr, If):
            _count(instr.body, times, regions, totals)
        elif isinstance(instr, Fmac):
            half = all(isinstance(o, Mem | In) and o.dtype is Dtype.F16 for o in (instr.a, instr.b))
            totals[Dtype.F16 if half else Dtype.F32] += times * _elements(instr, regions)


def _elements(instr: Fmac, regions: tuple[Region, ...]) -> int:
    if isinstance(instr.dst.extent, int):
        return instr.dst.extent
    return _room(instr.dst, regions) // instr.dst.dtype.size


def _turns(loop: Loop, regions: tuple[Region, ...]) -> int:
    """How often a loop of unknown count can turn: as often as an operand that its counter moves stays in its region."""
    found = [
        _room(operand, regions) // abs(operand.scale)
        for instr in walk(loop.body)
        for operand in operands(instr)
        if isinstance(operand, Mem) and operand.index == loop.counter and operand.scale
    ]
    return min(found, default=1)


def _room(operand: Mem, regions: tuple[Region, ...]) -> int:
    """Bytes from an operand's first element to the end of its region."""
    return next(
        (r.address + r.bytes - operand.address for r in regions if r.address <= operand.address < r.address + r.bytes),
        0,
    )
