"""How long instructions take, from the machine's description: widths of the datapath, strides, banks, set-up.

The cycle engine charges these costs, and the compiler's closed forms add them up; what is not published is a calibrated
entry of the target file.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from runtime.banks import burst_cycles
from runtime.isa import (
    Alu,
    Binary,
    Const,
    Dtype,
    Fifo,
    Fmac,
    If,
    In,
    Instr,
    Load,
    Loop,
    Map,
    Mem,
    Mov,
    Out,
    Program,
    Reduce,
    Reg,
    Task,
    operands,
)
from runtime.target import Target

Words = Mapping[int, int]
NO_WORDS: Words = MappingProxyType({})
SLOW_MAPS = ("sqrt", "rsqrt", "reciprocal")  # no SIMD, about as long as a division
PLAIN_MAPS = ("neg", "abs")
# Elements a cycle by stride in 16-bit words, stride 0 and 1 apart (SDK language appendix): three strides have all
# banks in reach, odd neighbours and fours half of them, multiples of eight one.
_STRIDE_WIDTH = (1, 2, 4, 4, 2, 4, 4, 2)


@dataclass(frozen=True)
class Cost:
    """Of one instruction: `setup` cycles before its first element (all of a scalar one's), in which other tasks may
    issue; then either `width` elements a cycle or, if `element` is not 0, so many cycles an element."""

    setup: int
    width: int = 1
    element: int = 0


def stride_width(stride: int, dtype: Dtype) -> int:
    """Most elements a cycle that a memory operand of this stride (in elements) allows."""
    step = abs(stride) * dtype.size // 2
    return 4 if step <= 1 else _STRIDE_WIDTH[step % 8]


def _is_vector(part: object) -> bool:
    """Whether an operand has an element of its own for each one of the instruction."""
    return isinstance(part, In | Out | Fifo) or (isinstance(part, Mem) and part.extent != 1)


def _simd(instr: Instr, target: Target) -> int:
    """Elements a cycle, operands willing (SDK language appendix)."""
    parts = [part for part in operands(instr) if not isinstance(part, Const)]
    types = {part.dtype for part in parts}
    half, dst = types == {Dtype.F16}, parts[0].dtype
    if isinstance(instr, Fmac) or (isinstance(instr, Binary) and instr.op == "mul"):
        mixed = dst is Dtype.F32 and {part.dtype for part in parts[1:]} == {Dtype.F16}
        narrow = int(target.fmac_per_cycle_f16 if mixed else target.fmac_per_cycle_f32)
        return target.simd_f16 if half else narrow
    if isinstance(instr, Binary | Reduce) and instr.op in ("max", "min", "rmax"):
        return 1
    if isinstance(instr, Map) and instr.fn == "relu":
        return 1
    converts = len(types) > 1 and (isinstance(instr, Mov | Map) or dst is Dtype.F16)
    return 1 if converts else target.simd_f16 if half else target.simd_f32


def _element_cycles(instr: Instr, target: Target) -> int:
    if isinstance(instr, Binary) and instr.op == "div":
        return target.divide_cycles
    if isinstance(instr, Map) and instr.fn not in (*PLAIN_MAPS, "relu"):
        return target.divide_cycles if instr.fn in SLOW_MAPS else target.routine_cycles
    return 0


def cost(instr: Instr, target: Target) -> Cost:
    """The cost of an instruction; of a loop, its entry (`target.branch_cycles` end each of its rounds)."""
    indexed = sum(isinstance(part, Mem) and part.index is not None for part in operands(instr))
    if isinstance(instr, Alu | Loop | If):
        return Cost(target.scalar_cycles)
    if isinstance(instr, Load):
        return Cost(target.scalar_cycles + indexed * target.index_cycles)
    vectors = [part for part in operands(instr) if _is_vector(part)]
    widths = [stride_width(part.stride, part.dtype) for part in vectors if isinstance(part, Mem)]
    simd = min([_simd(instr, target), *widths])
    if any(not isinstance(part, Mem) for part in vectors):
        simd = 1  # a queue gives or takes one wavelet a cycle
    setup = target.vector_overhead_cycles + indexed * target.index_cycles
    return Cost(setup, simd, _element_cycles(instr, target))


@dataclass(frozen=True)
class Work:
    """Cycles of one round of a task's body if it never waits: in all, those in which it issues (no other task can), and
    those of vector instructions on memory among them (during which no other task's can begin).

    See `core_interval` for what follows for a core.
    """

    serial: float
    issue: float
    burst: float = 0

    def __add__(self, other: Work) -> Work:
        return Work(self.serial + other.serial, self.issue + other.issue, self.burst + other.burst)

    def times(self, count: float) -> Work:
        return Work(self.serial * count, self.issue * count, self.burst * count)


def task_work(task: Task, target: Target, words: Words = NO_WORDS) -> Work:
    """The work of a task for one token, if its scalars load `words`: i32 by byte address, 0 elsewhere."""
    return _body_work(task.body, target, _Scalars(words)) + Work(target.activation_cycles, 1)


def core_interval(program: Program, target: Target, words: Words = NO_WORDS) -> float:
    """Cycles between two tokens of a core that never waits: its longest task's, and what the others take of it.

    Tasks share one datapath. Another task's issue costs the longest one a cycle if it falls on an issue of that, which
    it does as often as that issues; on its set-ups and branches it costs nothing. The main thread costs others nothing:
    it issues when none of them does. But a vector instruction on memory that has begun, whosever it is, keeps others of
    its kind waiting to its end. How much of that falls on the longest task's depends on when the others work; in a
    chain of cores one after another does, so at some core all of it does, and the rest wait for that core.
    """
    works = [task_work(task, target, words) for task in program.tasks]
    longest = max(works, key=lambda work: work.serial)
    others = sum(work.issue for work in works) - longest.issue
    bursts = sum(work.burst for work in works) - longest.burst if longest.burst else 0
    aside = works[0] if longest is not works[0] else Work(0, 0)
    between = others - aside.issue - (bursts - aside.burst if bursts else 0)
    return max(longest.serial + bursts + between * longest.issue / longest.serial, longest.issue + others)


class _Scalars:
    """The registers of a task, with what its scalar instructions write to them."""

    def __init__(self, words: Words) -> None:
        self.words = words
        self._values: dict[int, int] = {}

    def value(self, integer: Reg | int) -> int:
        return self._values.get(integer.n, 0) if isinstance(integer, Reg) else integer

    def set(self, register: Reg, value: int) -> None:
        self._values[register.n] = value

    def run(self, instr: Alu | Load) -> None:
        if isinstance(instr, Load):
            self.set(instr.dst, self.words.get(self.address(instr.a), 0))
        else:
            self.set(instr.dst, _ALU[instr.op](self.value(instr.a), self.value(instr.b)))

    def address(self, part: Mem) -> int:
        return part.address + (self.value(part.index) * part.scale if part.index is not None else 0)


# As in `runtime.isa.Alu`; a divisor of 0 would be a fault of the machine.
_ALU: dict[str, Callable[[int, int], int]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "min": min, "max": max, "and": operator.and_,
    "div": lambda a, b: a // b if b else 0, "mod": lambda a, b: a % b if b else 0, "shr": lambda a, b: a >> b % 32,
    "eq": lambda a, b: int(a == b), "lt": lambda a, b: int(a < b),
}  # fmt: skip


def _body_work(body: tuple[Instr, ...], target: Target, scalars: _Scalars) -> Work:
    total = Work(0, 0)
    for instr in body:
        if isinstance(instr, Loop):
            total += Work(target.scalar_cycles, 1) + _loop_work(instr, target, scalars)
        elif isinstance(instr, If):
            total += Work(target.scalar_cycles, 1)
            if scalars.value(instr.condition):
                total += _body_work(instr.body, target, scalars)
        else:
            total += instruction_work(instr, target, scalars)
            if isinstance(instr, Alu | Load):
                scalars.run(instr)
    return total


def _loop_work(loop: Loop, target: Target, scalars: _Scalars) -> Work:
    """All rounds. Those after a turn of the banks are like those before."""
    count = scalars.value(loop.count)
    rounds = []
    for i in range(min(count, target.memory_banks if _moves(loop, target) else 1)):
        scalars.set(loop.counter, i)
        rounds.append(Work(target.branch_cycles, 1) + _body_work(loop.body, target, scalars))
    return sum(rounds, Work(0, 0)).times(count / max(1, len(rounds)))


def _moves(loop: Loop, target: Target) -> bool:
    """Whether operands may meet other banks in every round."""
    turn = 2 * target.memory_banks
    parts = (part for instr in loop.body for part in operands(instr))
    return any(isinstance(part, Mem) and part.index is not None and part.scale % turn for part in parts)


def instruction_work(instr: Instr, target: Target, scalars: _Scalars | None = None) -> Work:
    """The work of one instruction that is neither loop nor condition; without `scalars`, all registers hold 0."""
    scalars = scalars or _Scalars(NO_WORDS)
    each = cost(instr, target)
    if isinstance(instr, Alu | Load):
        return Work(each.setup, 1)
    dst, *sources = operands(instr)
    shape = sources[0] if isinstance(instr, Reduce) else dst
    length = scalars.value(shape.extent)  # type: ignore[union-attr]
    fabric = any(isinstance(part, In | Out | Fifo) for part in (dst, *sources))
    if each.element or fabric:
        cycles = length * max(1, each.element)
        return Work(each.setup + cycles, 1 + cycles, 0 if fabric else cycles)
    reads = [part for part in sources if isinstance(part, Mem) and part.extent != 1]
    reads += [instr.dst] if isinstance(instr, Fmac) else []
    streams = tuple(_stream(part, scalars.address(part)) for part in reads)
    cycles = burst(streams, each.width, length, target.memory_banks)
    return Work(each.setup + cycles, 1 + cycles, cycles)


def _stream(part: Mem, address: int) -> tuple[int, int, int]:
    """Size of an element, first address and step in 16-bit words; addresses count modulo the banks' pattern."""
    size = part.dtype.size // 2
    return size, address // 2 % 64, part.stride * size


@lru_cache(maxsize=1 << 14)
def burst(streams: tuple[tuple[int, int, int], ...], width: int, length: int, banks: int) -> int:
    """Cycles of a vector instruction on memory that reads these streams: (size of an element, first address, step), in
    16-bit words."""
    padded = (*streams, *[(0, 0, 0)] * (3 - len(streams)))
    cycles, _ = burst_cycles(len(streams), *padded[0], *padded[1], *padded[2], width, length, banks)
    return int(cycles)
