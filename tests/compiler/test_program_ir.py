"""Core programs survive the way into IR, into text, and back."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_equal import assert_same_ir

from compiler.dialects import core
from compiler.driver import Options, lower
from compiler.ir.core import Block, IRError, Op, Region, Symbol, module
from compiler.ir.parser import parse_module
from compiler.ir.printer import print_module
from compiler.program.from_ir import program
from compiler.program.to_ir import DSD, program_op
from runtime import isa
from runtime.isa import Dtype
from tests.random_gpt import Shape, random_gpt

registers = st.builds(isa.Reg, st.integers(0, isa.REGISTERS - 1))
counts = st.integers(1, 1 << 14)
integers = st.one_of(registers, st.integers(-(1 << 31), (1 << 31) - 1))
dtypes = st.sampled_from(Dtype)
mems = st.builds(
    isa.Mem, st.integers(0, 49151), dtypes, st.one_of(counts, registers), st.integers(0, 64),
    st.one_of(st.none(), registers), st.integers(0, 4096),
)  # fmt: skip
fifos = st.builds(isa.Fifo, st.integers(0, 3), counts, dtypes)
sources = st.one_of(
    mems, st.builds(isa.In, st.integers(0, isa.INPUT_QUEUES - 1), counts, dtypes), fifos,
    st.builds(isa.Const, st.floats()),
)  # fmt: skip
destinations = st.one_of(mems, st.builds(isa.Out, st.integers(0, isa.OUTPUT_QUEUES - 1), counts, dtypes), fifos)
plain = st.one_of(
    st.builds(isa.Mov, destinations, sources),
    st.builds(isa.Binary, st.sampled_from(isa.BINARY), destinations, sources, sources),
    st.builds(isa.Fmac, mems, sources, sources),
    st.builds(isa.Reduce, st.sampled_from(isa.REDUCE), mems, sources),
    st.builds(isa.Map, st.sampled_from(isa.MAPS), destinations, sources),
    st.builds(isa.Alu, st.sampled_from(isa.ALU), registers, integers, integers),
    st.builds(isa.Load, registers, mems),
)
instructions = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.builds(isa.Loop, registers, st.one_of(counts, registers), st.lists(inner, max_size=3).map(tuple)),
        st.builds(isa.If, registers, st.lists(inner, max_size=3).map(tuple)),
    ),
    max_leaves=6,
)
names = st.text(max_size=6)
queues = st.lists(st.tuples(st.integers(0, 5), names), max_size=3).map(tuple)
programs = st.builds(
    isa.Program,
    names,
    st.lists(st.builds(isa.Task, names, st.lists(instructions, max_size=4).map(tuple)), max_size=3).map(tuple),
    st.lists(st.builds(isa.Region, names, names, st.integers(0, 49152), counts), max_size=3).map(tuple),
    st.lists(st.builds(isa.FifoDef, st.integers(0, 49152), counts), max_size=2).map(tuple),
    queues,
    queues,
)


def through_text(op: Op) -> Op:
    """The first op of the parsed text of a module that holds `op` alone."""
    holder = module()
    holder.body.append(op)
    return parse_module(print_module(holder)).body.ops[0]


@settings(max_examples=60, deadline=None)
@given(programs)
def test_any_program_comes_back(made: isa.Program) -> None:
    """Compared as text, since nan is not equal to itself and 0.0 is equal to -0.0."""
    assert repr(program(program_op(made, made.name))) == repr(made)
    assert repr(program(through_text(program_op(made, made.name)))) == repr(made)


def test_zeros_of_either_sign_stay_apart() -> None:
    x = isa.Mem(0, Dtype.F32)
    body = tuple(isa.Mov(x, isa.Const(value)) for value in (0.0, -0.0, math.inf, 0.0))
    back = program(program_op(isa.Program("p", (isa.Task("main", body),)), "p"))
    signs = [math.copysign(1, instr.a.value) for instr in back.tasks[0].body]  # type: ignore[union-attr]
    assert signs == [1, -1, 1, 1]


def test_all_programs_of_a_gpt_come_back() -> None:
    made, resources = random_gpt(Shape(layers=1, heads=3, head_dim=4, hidden=30, vocab=40, positions=9), 2)
    lower(made, resources, Options("mini-32x32", deterministic_limit=0))
    ops = made.body.find("core.program")
    kinds = {str(op.attrs["sym_name"]).split(".")[0] for op in ops}
    assert kinds >= {"lookup", "matvec", "norm", "attention", "join", "fifo"}
    for op in ops:
        back = program_op(program(op), str(op.attrs["sym_name"]))
        assert_same_ir(back, op)
        assert program(through_text(back)) == program(op)


def test_equal_operands_are_one_descriptor() -> None:
    x = isa.Mem(0, Dtype.F32, 4)
    op = program_op(isa.Program("p", (isa.Task("main", (isa.Mov(x, x), isa.Fmac(x, x, isa.Const(1.0)))),)), "p")
    assert [inner.name for inner in op.body.ops] == ["core.mem", "core.const", "core.task"]


def program_of(*ops: Op) -> Op:
    body = Block()
    for op in ops:
        body.append(op)
    return core.program_def(sym_name="p", inputs=(), outputs=(), regions=[Region(body)])


def task_of(*ops: Op) -> Op:
    body = Block()
    for op in ops:
        body.append(op)
    return core.task_def(name="main", regions=[Region(body)])


def mem(dtype: str = "f32", extent: int | str = 1, index: str = "") -> Op:
    return core.mem_def(types=[DSD], address=0, dtype=dtype, extent=extent, index=index)


def binary(fn: str) -> list[Op]:
    x = mem()
    return [x, task_of(core.binary_def(x.result, x.result, x.result, fn=fn))]


@pytest.mark.parametrize(
    ("ops", "message"),
    [
        ([mem(dtype="i64")], "'i64' is not one of a core"),
        ([mem(index="r16")], "'r16' is not a register"),
        ([mem(extent="x")], "'x' is not a register"),
        ([mem(index="r\N{SUPERSCRIPT TWO}")], "is not a register"),
        ([core.run_def(rows=(0, 1), cols=(0, 1), program=Symbol("p"))], r"core\.run"),
        (binary("pow"), "'pow' is not one of add, sub"),
        ([task_of(core.mov_def(mem().result, mem().result))], "not a descriptor of its program"),
        ([task_of(mem())], "core.mem is not an instruction"),
    ],
)
def test_what_means_nothing_to_a_core(ops: list[Op], message: str) -> None:
    with pytest.raises(IRError, match=message):
        program(program_of(*ops))
