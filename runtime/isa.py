"""What a core executes: operands (data structure descriptors), instructions, tasks, programs, and their text.

A *task* is a sequential process that repeats its body for ever; it blocks when an input queue is empty or an output
queue is full. A core has up to nine tasks (its main thread and eight microthreads); two tasks of a core share data only
through FIFOs, so a core is a Kahn network and its results do not depend on timing.

*Vector instructions* work on descriptors. The length is the extent of the destination (of `a` for reductions and
stores to one word); a memory operand of extent 1 is broadcast. Elements are handled in index order, so the order of
floating-point operations is part of an instruction's meaning. Arithmetic is fp32: f16 memory operands are widened
exactly when read and rounded to nearest even when written. A product and the following sum are rounded separately.
What an element writes to memory, the next one reads.
A fabric word is 32 bits; it carries one f32 or i32.

*Data independence*: an instruction with a fabric or FIFO operand has integer extents, never stands inside an `If`, and
every loop around it has an integer count. So what a core sends and receives per token is known without running it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

REGISTERS = 16  # general-purpose registers per core; here per task, 32-bit integers
INPUT_QUEUES = 8
OUTPUT_QUEUES = 6
MAX_TASKS = 9


class Dtype(StrEnum):
    F32 = "f32"
    F16 = "f16"
    I32 = "i32"

    @property
    def size(self) -> int:
        """Bytes of one element in core memory."""
        return 2 if self is Dtype.F16 else 4


@dataclass(frozen=True)
class Reg:
    """A general-purpose register of the task: a 32-bit integer."""

    n: int


Count = int | Reg


@dataclass(frozen=True)
class Mem:
    """Memory descriptor: element i is at `address + index*scale + i*stride*size` bytes.

    address in bytes; extent in elements; stride in elements; `index` an optional register, `scale` its bytes per unit.
    """

    address: int
    dtype: Dtype
    extent: Count = 1
    stride: int = 1
    index: Reg | None = None
    scale: int = 0


@dataclass(frozen=True)
class In:
    """`extent` words taken from an input queue."""

    queue: int
    extent: int
    dtype: Dtype = Dtype.F32


@dataclass(frozen=True)
class Out:
    """`extent` words put into an output queue."""

    queue: int
    extent: int
    dtype: Dtype = Dtype.F32


@dataclass(frozen=True)
class Fifo:
    """`extent` 32-bit words put into (as destination) or taken from (as source) FIFO number `fifo` of the program."""

    fifo: int
    extent: int
    dtype: Dtype = Dtype.F32


@dataclass(frozen=True)
class Const:
    """An immediate f32, broadcast."""

    value: float


Source = Mem | In | Fifo | Const
Destination = Mem | Out | Fifo
Integer = Reg | int

BINARY = ("add", "sub", "mul", "div", "max", "min")
REDUCE = ("rsum", "rmax")
MAPS = (
    *("neg", "abs", "exp", "log", "sqrt", "rsqrt", "reciprocal"),
    *("relu", "tanh", "sigmoid", "erf", "gelu_erf", "gelu_tanh"),
)
ALU = ("add", "sub", "mul", "div", "mod", "min", "max", "and", "shr", "eq", "lt")


@dataclass(frozen=True)
class Mov:
    """dst[i] = a[i]. Between i32 operands the 32 bits are copied unchanged; i32 never mixes with f32 or f16."""

    dst: Destination
    a: Source


@dataclass(frozen=True)
class Binary:
    """dst[i] = a[i] `op` b[i], op one of BINARY."""

    op: str
    dst: Destination
    a: Source
    b: Source


@dataclass(frozen=True)
class Fmac:
    """dst[i] = dst[i] + a[i] * b[i]; dst in memory."""

    dst: Mem
    a: Source
    b: Source


@dataclass(frozen=True)
class Reduce:
    """rsum: dst[0] = (dst[0] + a[0]) + a[1] ...; rmax: dst[0] = max(dst[0], a[0], a[1], ...). dst is one f32 word."""

    op: str
    dst: Mem
    a: Source


@dataclass(frozen=True)
class Map:
    """dst[i] = fn(a[i]), fn one of MAPS: a scalar library routine per element, with the bits of `runtime.mathlib`."""

    fn: str
    dst: Destination
    a: Source


@dataclass(frozen=True)
class Alu:
    """dst = a `op` b on 32-bit integers; results wrap.

    div and mod round towards minus infinity and need b > 0; shr keeps the sign and shifts by b mod 32; eq and lt give
    0 or 1.
    """

    op: str
    dst: Reg
    a: Integer
    b: Integer


@dataclass(frozen=True)
class Load:
    """dst = the i32 word at `a` (extent 1)."""

    dst: Reg
    a: Mem


@dataclass(frozen=True)
class Loop:
    """`body` runs for counter = 0, 1, ... count-1. The body must not write `counter` nor a register used as `count`."""

    counter: Reg
    count: Count
    body: tuple[Instr, ...]


@dataclass(frozen=True)
class If:
    """`body` runs if the register is not 0."""

    condition: Reg
    body: tuple[Instr, ...]


Instr = Mov | Binary | Fmac | Reduce | Map | Alu | Load | Loop | If


@dataclass(frozen=True)
class Region:
    """A named piece of a core's memory; `owner` is weights, cache, buffer, constants or fifo."""

    name: str
    owner: str
    address: int
    bytes: int


@dataclass(frozen=True)
class FifoDef:
    """FIFO storage: a ring of `words` 32-bit words at `address`."""

    address: int
    words: int


@dataclass(frozen=True)
class Task:
    name: str
    body: tuple[Instr, ...]


@dataclass(frozen=True)
class Program:
    """All that cores of one class share. Queues are named for people; their colours belong to the single core."""

    name: str
    tasks: tuple[Task, ...]
    regions: tuple[Region, ...] = ()
    fifos: tuple[FifoDef, ...] = ()
    input_names: tuple[tuple[int, str], ...] = ()
    output_names: tuple[tuple[int, str], ...] = ()

    @property
    def data_bytes(self) -> int:
        """Bytes of memory below the code: the end of the highest region."""
        return max((region.address + region.bytes for region in self.regions), default=0)

    @property
    def code_bytes(self) -> int:
        return sum(code_bytes(instr) for task in self.tasks for instr in task.body)


def walk(body: tuple[Instr, ...]) -> Iterator[Instr]:
    """Every instruction of a body, nested ones after the one that holds them."""
    for instr in body:
        yield instr
        if isinstance(instr, Loop | If):
            yield from walk(instr.body)


def operands(instr: Instr) -> tuple[Destination | Source, ...]:
    """The descriptors of a vector instruction or load, destination first."""
    if isinstance(instr, Mov | Map | Reduce):
        return (instr.dst, instr.a)
    if isinstance(instr, Binary | Fmac):
        return (instr.dst, instr.a, instr.b)
    if isinstance(instr, Load):
        return (instr.a,)
    return ()


def code_bytes(instr: Instr) -> int:
    """Bytes of code an instruction takes in core memory.

    The encoding of the CS-2 is not published . Assumed: 4 bytes per instruction word, and the
    descriptors kept beside it: 8 bytes per memory, fabric or FIFO descriptor (base, extent, stride, index), 4 per
    immediate. A loop takes two instruction words, its head and its end.
    """
    body = sum(code_bytes(inner) for inner in instr.body) if isinstance(instr, Loop | If) else 0
    words = 8 if isinstance(instr, Loop) else 4
    return words + body + sum(4 if isinstance(o, Const) else 8 for o in operands(instr))
