"""Programs as flat integer rows, the form the interpreter executes.

A program becomes rows of a table, task after task; each task ends with an END row. Loops and ifs become jumps.
Addresses, strides and index scales are in elements. What the interpreter relies on, beyond `runtime.structure`, is
checked here, once per program: alignment, operand types and extents, one user for each end of a queue or FIFO.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from runtime.errors import IllegalImageError
from runtime.isa import (
    ALU,
    BINARY,
    MAPS,
    REDUCE,
    Alu,
    Binary,
    Const,
    Count,
    Dtype,
    Fifo,
    Fmac,
    If,
    In,
    Instr,
    Integer,
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
    walk,
)

# Opcodes. A vector row has its operation in column FN. AXPY is the vector row of the commonest fmac: a scalar times a
# dense vector in memory, added to a dense f32 vector in memory. HOST_* rows are the host's own two tasks.
VECTOR, AXPY, ALU_OP, LOAD, LOOP, ENDLOOP, IFZERO, END, HOST_SEND, HOST_RECEIVE = range(10)

# Vector operations.
FN_MOV, FN_FMAC = 0, 1
FN_BINARY = {name: 2 + i for i, name in enumerate(BINARY)}
FN_REDUCE = {name: 2 + len(BINARY) + i for i, name in enumerate(REDUCE)}
FN_MAP = {name: 2 + len(BINARY) + len(REDUCE) + i for i, name in enumerate(MAPS)}
FN_ALU = {name: i for i, name in enumerate(ALU)}

# Columns. A vector row: OP, FN, operand count, then dst, a, b of OPERAND columns each.
OP, FN, OPERANDS, DST = 0, 1, 2, 3
KIND, BASE, EXTENT, STRIDE, INDEX, SCALE = range(6)
OPERAND = 6
A, B = DST + OPERAND, DST + 2 * OPERAND
COLUMNS = DST + 3 * OPERAND
# ALU_OP: destination register, then two integers, each a register flag and a value. LOOP, ENDLOOP, IFZERO: register,
# jump target and, for loops, a count (register flag, value).
REGISTER, TARGET, FLAG1, VALUE1, FLAG2, VALUE2 = 3, 4, 5, 6, 7, 8

# Operand kinds. The first three are memory.
F32, F16, I32, IN, OUT, FIFO, CONST = range(7)
MEMORY_KINDS = {Dtype.F32: F32, Dtype.F16: F16, Dtype.I32: I32}

Rows = np.ndarray[Any, np.dtype[np.int64]]
Vector = Mov | Binary | Fmac | Reduce | Map


@dataclass(frozen=True)
class Code:
    """All programs: `rows`, the first row of each task of each program, and the instruction each row came from."""

    rows: Rows
    starts: list[list[int]]
    source: list[Instr | None]


class _Encoder:
    """Encodes one program; `rows` and `source` grow."""

    def __init__(self, program: Program, rows: list[list[int]], source: list[Instr | None]) -> None:
        self.program, self.rows, self.source = program, rows, source
        self.task = ""

    def fail(self, message: str) -> IllegalImageError:
        where = f"program {self.program.name}" + (f", task {self.task}" if self.task else "")
        return IllegalImageError(message, code="bad-program", where=where)

    def check(self, condition: bool, message: str) -> None:
        if not condition:
            raise self.fail(message)

    def emit(self, instr: Instr | None, **columns: int) -> list[int]:
        row = [0] * COLUMNS
        for name, value in columns.items():
            row[globals()[name]] = value
        self.rows.append(row)
        self.source.append(instr)
        return row

    def program_rows(self) -> list[int]:
        """Encode every task; their first rows."""
        for fifo in self.program.fifos:
            fits = fifo.address % 4 == 0 and fifo.address + 4 * fifo.words <= self.program.data_bytes
            self.check(fits, f"fifo of {fifo.words} words at {fifo.address} is not in the program's memory")
        self.one_task_per_channel()
        return [self.task_rows(task) for task in self.program.tasks]

    def one_task_per_channel(self) -> None:
        """One reader and one writer for every queue and FIFO: what makes the core a Kahn network."""
        users: dict[tuple[str, int], str] = {}
        for task in self.program.tasks:
            for channel in sorted({c for instr in walk(task.body) for c in _channels(instr)}):
                other = users.setdefault(channel, task.name)
                self.check(other == task.name, f"tasks {other} and {task.name} both use {channel[0]} {channel[1]}")

    def task_rows(self, task: Task) -> int:
        self.task = task.name
        start = len(self.rows)
        talks = any(_channels(instr) for instr in walk(task.body))
        self.check(talks, "the task neither receives nor sends, so it would run for ever")
        self.body(task.body)
        self.emit(None, OP=END, TARGET=start)
        self.task = ""
        return start

    def body(self, body: tuple[Instr, ...]) -> None:
        for instr in body:
            if isinstance(instr, Loop):
                self.loop(instr)
            elif isinstance(instr, If):
                self.if_(instr)
            elif isinstance(instr, Alu):
                self.alu(instr)
            elif isinstance(instr, Load):
                self.load(instr)
            else:
                self.vector(instr)

    def loop(self, loop: Loop) -> None:
        for inner in walk(loop.body):
            written = inner.counter if isinstance(inner, Loop) else inner.dst if isinstance(inner, Alu | Load) else None
            clash = written is not None and written in (loop.counter, loop.count)
            self.check(not clash, "a loop's body writes its counter or its count")
        self.check(loop.counter != loop.count, "a loop's counter is its count")
        flag, value = _integer(loop.count)
        head = self.emit(loop, OP=LOOP, REGISTER=loop.counter.n, FLAG1=flag, VALUE1=value)
        first = len(self.rows)
        self.body(loop.body)
        self.emit(loop, OP=ENDLOOP, REGISTER=loop.counter.n, TARGET=first, FLAG1=flag, VALUE1=value)
        head[TARGET] = len(self.rows)

    def if_(self, instr: If) -> None:
        head = self.emit(instr, OP=IFZERO, REGISTER=instr.condition.n)
        self.body(instr.body)
        head[TARGET] = len(self.rows)

    def alu(self, instr: Alu) -> None:
        (flag1, value1), (flag2, value2) = _integer(instr.a), _integer(instr.b)
        fn, register = FN_ALU[instr.op], instr.dst.n
        self.emit(instr, OP=ALU_OP, FN=fn, REGISTER=register, FLAG1=flag1, VALUE1=value1, FLAG2=flag2, VALUE2=value2)

    def load(self, instr: Load) -> None:
        self.check(instr.a.dtype is Dtype.I32 and instr.a.extent == 1, "a load takes one i32 word")
        row = self.emit(instr, OP=LOAD, FN=instr.dst.n, OPERANDS=1)
        row[DST : DST + OPERAND] = self.memory(instr.a)

    def vector(self, instr: Vector) -> None:
        parts = operands(instr)
        self.check(all(not isinstance(source, Out) for source in parts[1:]), "an output queue as a source")
        self.check(not isinstance(parts[0], In | Const), "the destination is an input queue or an immediate")
        in_memory = isinstance(parts[0], Mem) or not isinstance(instr, Fmac | Reduce)
        self.check(in_memory, "an fmac's or reduction's destination must be in memory")
        channels = _channels(instr)
        self.check(len(set(channels)) == len(channels), "one queue or FIFO twice in an instruction")
        self.dtypes(instr)
        self.extents(instr)
        if isinstance(instr, Fmac) and _is_scalar(instr.b):
            parts = (instr.dst, instr.b, instr.a)
        op = AXPY if isinstance(instr, Fmac) and _is_axpy(instr.dst, *parts[1:]) else VECTOR
        row = self.emit(instr, OP=op, FN=_fn(instr), OPERANDS=len(parts))
        for i, part in enumerate(parts):
            row[DST + i * OPERAND : DST + (i + 1) * OPERAND] = self.operand(part)

    def dtypes(self, instr: Vector) -> None:
        parts = [part for part in operands(instr) if not isinstance(part, Const)]
        whole = [part.dtype is Dtype.I32 for part in parts]
        self.check(not any(whole) or (all(whole) and isinstance(instr, Mov)), "i32 operands only in i32 moves")
        self.check(not any(whole) or len(parts) == 2, "an i32 move from an immediate")
        narrow = any(isinstance(part, In | Out | Fifo) and part.dtype is Dtype.F16 for part in parts)
        self.check(not narrow, "a fabric or FIFO operand is f16")

    def extents(self, instr: Vector) -> None:
        """Literal extents agree; those in registers are checked when the instruction runs."""
        dst, *sources = operands(instr)
        assert not isinstance(dst, Const)
        counts = [source.extent for source in sources if not isinstance(source, Const)]
        if isinstance(instr, Reduce):
            single = dst.extent == 1 and dst.dtype is Dtype.F32
            self.check(single, "a reduction's destination is one f32 word")
            return
        for source in sources:
            if isinstance(source, Const) or (isinstance(source, Mem) and source.extent == 1):
                continue
            known = isinstance(source.extent, int) and isinstance(dst.extent, int)
            self.check(not known or source.extent == dst.extent, f"extents differ: {dst.extent} and {counts}")

    def operand(self, part: Mem | In | Out | Fifo | Const) -> list[int]:
        if isinstance(part, Mem):
            return self.memory(part)
        if isinstance(part, Const):
            return [CONST, int(np.float32(part.value).view(np.int32)), 1, 0, -1, 0]
        if isinstance(part, Fifo):
            return [FIFO, part.fifo, part.extent, 0, -1, 0]
        return [IN if isinstance(part, In) else OUT, part.queue, part.extent, 0, -1, 0]

    def memory(self, part: Mem) -> list[int]:
        size = part.dtype.size
        self.check(part.address % size == 0 and part.scale % size == 0, f"address {part.address} is not aligned")
        extent = -1 - part.extent.n if isinstance(part.extent, Reg) else part.extent
        index = -1 if part.index is None else part.index.n
        return [MEMORY_KINDS[part.dtype], part.address // size, extent, part.stride, index, part.scale // size]


def _integer(value: Integer | Count) -> tuple[int, int]:
    """(1, register) or (0, literal)."""
    return (1, value.n) if isinstance(value, Reg) else (0, value)


def _fn(instr: Vector) -> int:
    if isinstance(instr, Mov):
        return FN_MOV
    if isinstance(instr, Fmac):
        return FN_FMAC
    name = instr.fn if isinstance(instr, Map) else instr.op
    table = FN_MAP if isinstance(instr, Map) else FN_REDUCE if isinstance(instr, Reduce) else FN_BINARY
    return table[name]


def _is_scalar(part: object) -> bool:
    return isinstance(part, Const) or (isinstance(part, Mem) and part.extent == 1)


def _is_axpy(dst: Mem, scalar: object, vector: object) -> bool:
    dense = isinstance(vector, Mem) and vector.stride == 1 and vector.extent == dst.extent
    return _is_scalar(scalar) and dense and dst.stride == 1 and dst.dtype is Dtype.F32


def _channels(instr: Instr) -> list[tuple[str, int]]:
    """The queue and FIFO ends an instruction uses."""
    found = []
    for i, part in enumerate(operands(instr)):
        if isinstance(part, In):
            found.append(("input queue", part.queue))
        elif isinstance(part, Out):
            found.append(("output queue", part.queue))
        elif isinstance(part, Fifo):
            found.append(("fifo, as source," if i else "fifo, as destination,", part.fifo))
    return found


def encode(programs: list[Program]) -> Code:
    """Encode all programs, and after them the host's two rows (HOST_SEND, HOST_RECEIVE). Raises IllegalImageError."""
    rows: list[list[int]] = []
    source: list[Instr | None] = []
    starts = [_Encoder(program, rows, source).program_rows() for program in programs]
    for op in (HOST_SEND, HOST_RECEIVE):
        starts.append([len(rows)])
        rows.append([op, *([0] * (COLUMNS - 1))])
        source.append(None)
    return Code(np.array(rows, np.int64), starts, source)
