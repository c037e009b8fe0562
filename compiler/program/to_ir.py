"""A core program (`runtime.isa.Program`) as a `core.program` op."""

from __future__ import annotations

from compiler.dialects import core
from compiler.ir.core import Block, DsdType, Op, Region, Value
from runtime import isa

DSD = DsdType()
# By `repr` of the operand: 0.0 and -0.0 are equal, but not the same immediate.
Descriptors = dict[str, Value]


def program_op(program: isa.Program, sym_name: str) -> Op:
    """The op for `program`; descriptors come first, each distinct one once."""
    body = Block()
    for region in program.regions:
        body.append(core.region_def(name=region.name, owner=region.owner, address=region.address, bytes=region.bytes))
    for fifo in program.fifos:
        body.append(core.fifo_def(address=fifo.address, words=fifo.words))
    descriptors: Descriptors = {}
    for task in program.tasks:
        for instr in isa.walk(task.body):
            for operand in isa.operands(instr):
                if repr(operand) not in descriptors:
                    descriptors[repr(operand)] = body.append(_descriptor(operand)).result
    for task in program.tasks:
        body.append(core.task_def(name=task.name, regions=[_body(task.body, descriptors)]))
    return core.program_def(
        sym_name=sym_name,
        inputs=tuple(program.input_names),
        outputs=tuple(program.output_names),
        regions=[Region(body)],
    )


def _descriptor(operand: isa.Source | isa.Destination) -> Op:
    match operand:
        case isa.Mem(address, dtype, extent, stride, index, scale):
            where = _integer(index) if index is not None else ""
            return core.mem_def(
                types=[DSD], address=address, dtype=dtype.value, extent=_integer(extent), stride=stride,
                index=where, scale=scale,
            )  # fmt: skip
        case isa.In(queue, extent, dtype):
            return core.take_def(types=[DSD], queue=queue, extent=extent, dtype=dtype.value)
        case isa.Out(queue, extent, dtype):
            return core.put_def(types=[DSD], queue=queue, extent=extent, dtype=dtype.value)
        case isa.Fifo(fifo, extent, dtype):
            return core.pipe_def(types=[DSD], fifo=fifo, extent=extent, dtype=dtype.value)
        case isa.Const(value):
            return core.const_def(types=[DSD], value=value)


def _integer(value: isa.Integer) -> int | str:
    return f"r{value.n}" if isinstance(value, isa.Reg) else value


def _body(body: tuple[isa.Instr, ...], descriptors: Descriptors) -> Region:
    block = Block()
    for instr in body:
        block.append(_instruction(instr, descriptors))
    return Region(block)


def _instruction(instr: isa.Instr, descriptors: Descriptors) -> Op:
    values = [descriptors[repr(operand)] for operand in isa.operands(instr)]
    match instr:
        case isa.Mov():
            return core.mov_def(*values)
        case isa.Binary(op):
            return core.binary_def(*values, fn=op)
        case isa.Fmac():
            return core.fmac_def(*values)
        case isa.Reduce(op):
            return core.reduce_def(*values, fn=op)
        case isa.Map(fn):
            return core.map_def(*values, fn=fn)
        case isa.Alu(op, dst, a, b):
            return core.alu_def(fn=op, dst=_integer(dst), a=_integer(a), b=_integer(b))
        case isa.Load(dst):
            return core.load_def(*values, dst=_integer(dst))
        case isa.Loop(counter, count, inner):
            return core.loop_def(counter=_integer(counter), count=_integer(count), regions=[_body(inner, descriptors)])
        case isa.If(condition, inner):
            return core.if_def(condition=_integer(condition), regions=[_body(inner, descriptors)])
