"""A program as text for people: regions and queues by name, loops indented.

    program matvec.top: 36 bytes of data, 164 of code
      region   20..35     weights   w
      input    queue 2    x
      task main: 164 bytes of code
        mov   i32 head = in.x(1)
        loop  r0 in 0..1:
          fmac  f32 acc[0:2] += x[r0] * w[2*r0 : +2]

A memory operand is `region[first element : +extent]`; a stride other than one follows the extent (`+8 by 2`), and an
element type other than the destination's stands behind the name (`w.f16[...]`). The text is not read back.
"""

from __future__ import annotations

from collections.abc import Iterator

from runtime import isa
from runtime.isa import (
    Const,
    Destination,
    Dtype,
    Fifo,
    In,
    Instr,
    Integer,
    Mem,
    Out,
    Program,
    Reg,
    Region,
    Source,
    Task,
)
from runtime.text import safe

SYMBOLS = {"add": "+", "sub": "-", "mul": "*", "div": "/", "mod": "%", "and": "&", "shr": ">>", "eq": "==", "lt": "<"}


def program_text(program: Program) -> str:
    """The whole program: its size, memory, queues and tasks. Same program, same text."""
    lines = [f"program {safe(program.name)}: {program.data_bytes} bytes of data, {program.code_bytes} of code"]
    for region in sorted(program.regions, key=lambda r: (r.address, r.name)):
        span = f"{region.address}..{region.address + region.bytes - 1}"
        lines.append(f"  region   {span:<12} {safe(region.owner):<10} {safe(region.name)}")
    for number, fifo in enumerate(program.fifos):
        lines.append(f"  fifo     {number:<12} {fifo.words} words at byte {fifo.address}")
    lines += [f"  input    queue {queue:<6} {safe(name)}" for queue, name in sorted(program.input_names)]
    lines += [f"  output   queue {queue:<6} {safe(name)}" for queue, name in sorted(program.output_names)]
    for task in program.tasks:
        lines += _task(program, task)
    return "\n".join(lines)


def instruction_text(program: Program, instr: Instr) -> str:
    """One instruction on one line, without the body of a loop or if."""
    return " ".join(next(_instr(instr, _Names(program), "")).split())


def _task(program: Program, task: Task) -> Iterator[str]:
    size = sum(isa.code_bytes(instr) for instr in task.body)
    yield f"  task {safe(task.name)}: {size} bytes of code"
    names = _Names(program)
    for instr in task.body:
        yield from _instr(instr, names, "    ")


def _instr(instr: Instr, names: _Names, indent: str) -> Iterator[str]:
    """One line, and those of the body one step further in."""
    if isinstance(instr, isa.Loop):
        last = f"r{instr.count.n}-1" if isinstance(instr.count, Reg) else instr.count - 1
        yield f"{indent}loop  r{instr.counter.n} in 0..{last}:"
    elif isinstance(instr, isa.If):
        yield f"{indent}if    r{instr.condition.n}:"
    else:
        yield indent + _line(instr, names)
        return
    for inner in instr.body:
        yield from _instr(inner, names, indent + "  ")


def _line(instr: Instr, names: _Names) -> str:
    if isinstance(instr, isa.Alu):
        return f"{instr.op:<5} r{instr.dst.n} = {_binary(instr.op, _integer(instr.a), _integer(instr.b))}"
    if isinstance(instr, isa.Load):
        return f"load  r{instr.dst.n} = {names.operand(instr.a, Dtype.I32)}"
    assert not isinstance(instr, isa.Loop | isa.If)
    dtype = instr.dst.dtype
    head, dst, a = f"{dtype} ", names.operand(instr.dst, dtype), names.operand(instr.a, dtype)
    if isinstance(instr, isa.Mov):
        return f"mov   {head}{dst} = {a}"
    if isinstance(instr, isa.Binary):
        return f"{instr.op:<5} {head}{dst} = {_binary(instr.op, a, names.operand(instr.b, dtype))}"
    if isinstance(instr, isa.Fmac):
        return f"fmac  {head}{dst} += {a} * {names.operand(instr.b, dtype)}"
    if isinstance(instr, isa.Reduce):
        return f"{instr.op:<5} {head}{dst} = {instr.op[1:]}({dst}, {a}...)"
    return f"map   {head}{dst} = {instr.fn}({a})"


def _binary(op: str, a: str, b: str) -> str:
    return f"{a} {SYMBOLS[op]} {b}" if op in SYMBOLS else f"{op}({a}, {b})"


def _integer(value: Integer) -> str:
    return f"r{value.n}" if isinstance(value, Reg) else str(value)


class _Names:
    """Names of a program's regions and queues."""

    def __init__(self, program: Program) -> None:
        self.regions = program.regions
        self.inputs = {queue: safe(name) for queue, name in program.input_names}
        self.outputs = {queue: safe(name) for queue, name in program.output_names}

    def operand(self, operand: Destination | Source, dtype: Dtype) -> str:
        """The operand's text in an instruction whose destination has elements of `dtype`."""
        if isinstance(operand, Const):
            return f"{operand.value:g}"
        typed = "" if operand.dtype is dtype else f".{operand.dtype}"
        if isinstance(operand, In):
            return f"in.{self.inputs.get(operand.queue, operand.queue)}{typed}({operand.extent})"
        if isinstance(operand, Out):
            return f"out.{self.outputs.get(operand.queue, operand.queue)}{typed}({operand.extent})"
        if isinstance(operand, Fifo):
            return f"fifo.{operand.fifo}{typed}({operand.extent})"
        return self._memory(operand, typed)

    def _memory(self, operand: Mem, typed: str) -> str:
        size = operand.dtype.size
        region = next((r for r in self.regions if r.address <= operand.address < r.address + r.bytes), None)
        if region is None or (operand.address - region.address) % size or operand.scale % size:
            return self._bytes(operand, typed)
        name = safe(region.name)
        first = (operand.address - region.address) // size
        if _is_whole(operand, region, first):
            return f"{name}{typed}"
        if operand.index is None and operand.stride == 1 and isinstance(operand.extent, int):
            span = f"{first}" if operand.extent == 1 else f"{first}:{first + operand.extent}"
            return f"{name}{typed}[{span}]"
        return f"{name}{typed}[{_start(first, operand, operand.scale // size)}{_extent(operand)}]"

    def _bytes(self, operand: Mem, typed: str) -> str:
        """An operand that no region explains, by its byte address."""
        return f"byte{typed}[{_start(operand.address, operand, operand.scale)}{_extent(operand)}]"


def _is_whole(operand: Mem, region: Region, first: int) -> bool:
    elements = region.bytes // operand.dtype.size
    return operand.index is None and first == 0 and operand.stride == 1 and operand.extent == elements == 1


def _start(first: int, operand: Mem, scale: int) -> str:
    if operand.index is None:
        return str(first)
    step = f"r{operand.index.n}" if scale == 1 else f"{scale}*r{operand.index.n}"
    return f"{first} + {step}" if first else step


def _extent(operand: Mem) -> str:
    if operand.extent == 1:
        return ""
    stride = "" if operand.stride == 1 else f" by {operand.stride}"
    return f" : +{_integer(operand.extent)}{stride}"
