"""One-line text of an instruction, for messages: `fmac mem.f32[64 +r1*4]*32, mem.f16[0], in2.f32*32`."""

from __future__ import annotations

from runtime.isa import (
    Alu,
    Binary,
    Const,
    Count,
    Destination,
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
    Out,
    Reduce,
    Reg,
    Source,
    operands,
)


def integer_text(value: Integer | Count) -> str:
    return f"r{value.n}" if isinstance(value, Reg) else str(value)


def operand_text(operand: Destination | Source) -> str:
    """Kind and place, `*` extent, `/` stride."""
    if isinstance(operand, Const):
        return f"{operand.value:g}"
    times = "" if operand.extent == 1 else f"*{integer_text(operand.extent)}"
    if isinstance(operand, Mem):
        index = "" if operand.index is None else f" +{integer_text(operand.index)}*{operand.scale}"
        stride = "" if operand.stride == 1 else f"/{operand.stride}"
        return f"mem.{operand.dtype}[{operand.address}{index}]{times}{stride}"
    number = operand.fifo if isinstance(operand, Fifo) else operand.queue
    kind = "in" if isinstance(operand, In) else "out" if isinstance(operand, Out) else "fifo"
    return f"{kind}{number}.{operand.dtype}{times}"


def instruction_text(instr: Instr) -> str:
    """The instruction without the bodies of loops and ifs."""
    match instr:
        case Loop():
            return f"loop {integer_text(instr.counter)} < {integer_text(instr.count)}"
        case If():
            return f"if {integer_text(instr.condition)}"
        case Alu():
            return f"{instr.op} {', '.join(map(integer_text, (instr.dst, instr.a, instr.b)))}"
        case Load():
            return f"load {integer_text(instr.dst)}, {operand_text(instr.a)}"
        case Binary() | Reduce():
            name = instr.op
        case Map():
            name = instr.fn
        case Fmac():
            name = "fmac"
        case _:
            name = "mov"
    return f"{name} {', '.join(map(operand_text, operands(instr)))}"
