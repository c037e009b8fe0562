"""Rule c, for one program: regions fit and are disjoint, operands stay in their region, tasks share only FIFOs.

An operand's address may hang on a register. Registers computed from loop counters, constants and `mod` by a constant
have a known range, and the operand must stay in one region over all of it. Other registers (loaded from memory, changed
in an enclosing loop, or guarded by an If) are unknown: then the base must lie in a region, the machine checks the rest
as it runs, and for sharing the operand counts as the whole region.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations, pairwise

from runtime import isa
from runtime.isa import FifoDef, Instr, Mem, Program, Reg, Region
from runtime.tables import memory_bytes, queue_bytes
from runtime.target import Target
from runtime.validate.report import Report

Range = tuple[int, int]  # both ends included
Known = dict[int, Range]  # by register
OWNERS = ("weights", "cache", "buffer", "constants", "fifo")
I32 = (-(1 << 31), (1 << 31) - 1)


@dataclass(frozen=True)
class Access:
    """Bytes start..end-1 that an operand may touch."""

    start: int
    end: int
    writes: bool
    region: str


def check_memory(program: Program, target: Target, report: Report) -> None:
    """Report every broken memory rule of the program."""
    where = f"program {program.name}"
    _check_regions(program, where, report)
    needed = memory_bytes(program, target)
    if needed > target.memory_bytes:
        report.add(
            "memory-size",
            f"{program.data_bytes} bytes of data + {program.code_bytes} of code + {queue_bytes(program, target)} of "
            f"queues = {needed}, {needed - target.memory_bytes} more than the core has",
            where,
        )
    touched = []
    for task in program.tasks:
        walker = _Walker(program, f"{where} task {task.name}", report)
        walker.body(task.body, {})
        touched.append(walker.accesses)
    for (a, first), (b, second) in combinations(enumerate(touched), 2):
        _check_sharing((program.tasks[a].name, first), (program.tasks[b].name, second), where, report)


def _check_regions(program: Program, where: str, report: Report) -> None:
    for region in program.regions:
        if region.address < 0 or region.bytes < 0 or region.owner not in OWNERS:
            report.add("region", f"{region}: negative address or size, or no owner of {', '.join(OWNERS)}", where)
    for low, high in pairwise(sorted(program.regions, key=lambda r: (r.address, r.bytes))):
        if low.address + low.bytes > high.address:
            report.add("region-overlap", f"regions {low.name} and {high.name} overlap", where)
    for number, fifo in enumerate(program.fifos):
        if not any(
            r.owner == "fifo" and _holds(r, fifo.address, fifo.address + 4 * fifo.words) for r in program.regions
        ):
            report.add("fifo-region", f"FIFO {number} is not inside a region owned by `fifo`", where)
    for (a, first), (b, second) in combinations(enumerate(program.fifos), 2):
        if _fifo_end(first) > second.address and _fifo_end(second) > first.address:
            report.add("region-overlap", f"FIFOs {a} and {b} overlap", where)


def _fifo_end(fifo: FifoDef) -> int:
    return fifo.address + 4 * fifo.words


def _holds(region: Region, start: int, end: int) -> bool:
    return region.address <= start and end <= region.address + region.bytes


def _check_sharing(
    first: tuple[str, dict[Access, None]], second: tuple[str, dict[Access, None]], where: str, report: Report
) -> None:
    """One violation per pair of tasks and region."""
    told = set()
    for a in first[1]:
        for b in second[1]:
            clash = (a.writes or b.writes) and a.start < b.end and b.start < a.end
            if clash and a.region not in told:
                told.add(a.region)
                report.add("memory-shared", f"tasks {first[0]} and {second[0]} share region {a.region}", where)


@dataclass
class _Walker:
    """Follows one task; `accesses` are its distinct byte ranges in program order."""

    program: Program
    where: str
    report: Report
    accesses: dict[Access, None] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)

    def body(self, body: tuple[Instr, ...], known: Known) -> None:
        """Walk a body, updating `known` to what holds after it."""
        for instr in body:
            if isinstance(instr, isa.Loop):
                self._loop(instr, known)
            elif isinstance(instr, isa.If):
                self.body(instr.body, {})  # the condition may narrow any register
                _forget(known, instr.body)
            elif isinstance(instr, isa.Alu):
                _assign(known, instr.dst, _alu(instr.op, _range(instr.a, known), _range(instr.b, known)))
            else:
                self._operands(instr, known)

    def _loop(self, loop: isa.Loop, known: Known) -> None:
        _forget(known, loop.body)
        count = _range(loop.count, known)
        if count is not None and count[1] <= 0:
            return
        _assign(known, loop.counter, None if count is None else (0, count[1] - 1))
        self.body(loop.body, known)
        _forget(known, (loop,))

    def _operands(self, instr: Instr, known: Known) -> None:
        destination = getattr(instr, "dst", None)
        for operand in isa.operands(instr):
            if isinstance(operand, Mem):
                self._access(operand, operand is destination, known)
        if isinstance(instr, isa.Load):
            _assign(known, instr.dst, None)

    def _access(self, operand: Mem, writes: bool, known: Known) -> None:
        size = operand.dtype.size
        if operand.address % size or operand.scale % size:
            self._complain("alignment", f"{operand} is not aligned to its {size} bytes")
        span = _span(operand, known)
        if span == (0, 0):
            return
        start, end = span or (operand.address, operand.address + size)
        region = next((r for r in self.program.regions if _holds(r, start, end)), None)
        if region is None:
            self._complain("operand-bounds", f"bytes {start}..{end - 1} are not inside one region: {operand}")
        elif region.owner == "fifo":
            self._complain("fifo-region", f"region {region.name} of a FIFO is used as plain memory: {operand}")
        elif span is None:
            self.accesses[Access(region.address, region.address + region.bytes, writes, region.name)] = None
        else:
            self.accesses[Access(start, end, writes, region.name)] = None

    def _complain(self, code: str, message: str) -> None:
        if message not in self.told:
            self.told.add(message)
            self.report.add(code, message, self.where)


def _span(operand: Mem, known: Known) -> Range | None:
    """Bytes [start, end) the operand may touch, (0, 0) if it has no elements, None if not known."""
    extent = _range(operand.extent, known)
    index = (0, 0) if operand.index is None else known.get(operand.index.n)
    if extent is None or index is None:
        return None
    if extent[1] <= 0:
        return (0, 0)
    reach = (extent[1] - 1) * operand.stride * operand.dtype.size
    moved = (index[0] * operand.scale, index[1] * operand.scale)
    return operand.address + min(moved) + min(0, reach), operand.address + max(moved) + max(
        0, reach
    ) + operand.dtype.size


def _range(value: Reg | int, known: Known) -> Range | None:
    return known.get(value.n) if isinstance(value, Reg) else (value, value)


def _assign(known: Known, register: Reg, value: Range | None) -> None:
    if value is None:
        known.pop(register.n, None)
    else:
        known[register.n] = value


def _forget(known: Known, body: tuple[Instr, ...]) -> None:
    """Drop every register that the body may change."""
    for instr in isa.walk(body):
        if isinstance(instr, isa.Alu | isa.Load):
            known.pop(instr.dst.n, None)
        elif isinstance(instr, isa.Loop):
            known.pop(instr.counter.n, None)


MONOTONE: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "sub": lambda a, b: a - b,
    "min": min,
    "max": max,
}


def _alu(op: str, a: Range | None, b: Range | None) -> Range | None:
    """The range of `a op b`, or None if unknown or perhaps wrapped around."""
    if op in ("eq", "lt"):
        return (0, 1)
    if op == "mod" and b is not None and b[0] > 0:
        return a if a is not None and a[0] >= 0 and a[1] < b[0] else (0, b[1] - 1)
    if a is None or b is None:
        return None
    if op in MONOTONE:
        corners = [MONOTONE[op](x, y) for x in a for y in b]
    elif op == "div" and b[0] > 0:
        corners = [x // y for x in a for y in b]
    elif op == "shr" and a[0] >= 0 and 0 <= b[0] <= b[1] < 32:
        corners = [x >> y for x in a for y in b]
    else:
        return None
    low, high = min(corners), max(corners)
    return (low, high) if I32[0] <= low and high <= I32[1] else None
