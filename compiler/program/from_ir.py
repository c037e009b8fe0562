"""A `core.program` op as a core program (`runtime.isa.Program`): the inverse of `compiler.program.to_ir`."""

from __future__ import annotations

from typing import Any

from compiler.ir.core import IRError, Op, Value
from runtime import isa
from runtime.isa import Dtype

Descriptors = dict[Value, Any]
FUNCTIONS = {"core.binary": isa.BINARY, "core.reduce": isa.REDUCE, "core.map": isa.MAPS, "core.alu": isa.ALU}


def program(op: Op) -> isa.Program:
    """The program. Raises IRError naming the op if an attribute means nothing to the instruction set."""
    regions, fifos, tasks = [], [], []
    descriptors: Descriptors = {}
    for inner in op.body.ops:
        a: Any = inner.attrs
        if inner.name == "core.region":
            regions.append(isa.Region(a["name"], a["owner"], a["address"], a["bytes"]))
        elif inner.name == "core.fifo":
            fifos.append(isa.FifoDef(a["address"], a["words"]))
        elif inner.name == "core.task":
            tasks.append(isa.Task(a["name"], _body(inner, descriptors)))
        else:
            descriptors[inner.result] = _descriptor(inner)
    queues: Any = op.attrs
    return isa.Program(
        queues["sym_name"],
        tuple(tasks),
        tuple(regions),
        tuple(fifos),
        tuple(queues["inputs"]),
        tuple(queues["outputs"]),
    )


def _descriptor(op: Op) -> isa.Source | isa.Destination:
    a: Any = op.attrs
    match op.name:
        case "core.mem":
            index = _register(a["index"], op) if a["index"] else None
            extent = _integer(a["extent"], op)
            return isa.Mem(a["address"], _dtype(op), extent, a["stride"], index, a["scale"])
        case "core.take":
            return isa.In(a["queue"], a["extent"], _dtype(op))
        case "core.put":
            return isa.Out(a["queue"], a["extent"], _dtype(op))
        case "core.pipe":
            return isa.Fifo(a["fifo"], a["extent"], _dtype(op))
        case "core.const":
            return isa.Const(a["value"])
    raise IRError(f"{op.name} has no place in a core.program")


def _dtype(op: Op) -> Dtype:
    try:
        return Dtype(str(op.attrs["dtype"]))
    except ValueError:
        raise IRError(f"{op.name}: element type {op.attrs['dtype']!r} is not one of a core") from None


def _register(text: object, op: Op) -> isa.Reg:
    if isinstance(text, str) and text[:1] == "r" and text[1:].isdecimal() and int(text[1:]) < isa.REGISTERS:
        return isa.Reg(int(text[1:]))
    raise IRError(f"{op.name}: {text!r} is not a register r0 .. r{isa.REGISTERS - 1}")


def _integer(value: Any, op: Op) -> isa.Integer:
    return value if isinstance(value, int) else _register(value, op)


def _body(op: Op, descriptors: Descriptors) -> tuple[isa.Instr, ...]:
    return tuple(_instruction(inner, descriptors) for inner in op.body.ops)


def _instruction(op: Op, descriptors: Descriptors) -> isa.Instr:
    a: Any = op.attrs
    if any(value not in descriptors for value in op.operands):
        raise IRError(f"{op.name}: an operand is not a descriptor of its program")
    if op.name in FUNCTIONS and a["fn"] not in FUNCTIONS[op.name]:
        raise IRError(f"{op.name}: {a['fn']!r} is not one of {', '.join(FUNCTIONS[op.name])}")
    values = [descriptors[value] for value in op.operands]
    match op.name:
        case "core.mov":
            return isa.Mov(*values)
        case "core.binary":
            return isa.Binary(a["fn"], *values)
        case "core.fmac":
            return isa.Fmac(*values)
        case "core.reduce":
            return isa.Reduce(a["fn"], *values)
        case "core.map":
            return isa.Map(a["fn"], *values)
        case "core.alu":
            return isa.Alu(a["fn"], _register(a["dst"], op), _integer(a["a"], op), _integer(a["b"], op))
        case "core.load":
            return isa.Load(_register(a["dst"], op), values[0])
        case "core.loop":
            return isa.Loop(_register(a["counter"], op), _integer(a["count"], op), _body(op, descriptors))
        case "core.if":
            return isa.If(_register(a["condition"], op), _body(op, descriptors))
    raise IRError(f"{op.name} is not an instruction")
