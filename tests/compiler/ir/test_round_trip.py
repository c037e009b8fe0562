"""What is printed is read back as it was, for every op of every dialect."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import strategies
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compiler.dialects import core, flow, graph
from compiler.ir.core import (
    DsdType,
    IRError,
    Loc,
    Op,
    Region,
    StreamType,
    Symbol,
    TensorType,
    module,
    structurally_equal,
)
from compiler.ir.defs import REGISTRY, resource_def
from compiler.ir.parser import parse_module
from compiler.ir.printer import WIDTH, attr_text, print_module
from runtime.errors import InputError

GOLDEN = r"""builtin.module {phase = "graph", report = {cores = 12, "worst link" = [0.5, "h0/\u00e9\n"]}} {
  %x = graph.input {name = "x"} : tensor<batch x "seq + 1" x 4 x f32>
  %h.0.W = graph.constant {value = @h.0.W} : tensor<4 x 4 x f32> loc("/h.0/MatMul")
  %0 = graph.matmul(%x, %h.0.W) : tensor<batch x "seq + 1" x 4 x f32> loc("/h.0/MatMul")
  %1 = graph.matmul(%0, %h.0.W) {transpose_b = true} : tensor<batch x "seq + 1" x 4 x f32>
      loc("/h.0/MatMul", "/h.0/Add")
  graph.output(%1) {name = "y"}
}
resources {
  builtin.resource @w0123456789ab {shape = [4, 4], dtype = "f32", sha256 = "01", hint = "h.0.W"}
}
"""


def golden_module() -> Op:
    m = module({"report": {"cores": 12, "worst link": (0.5, "h0/é\n")}, "phase": "graph"})
    x_type = TensorType(("batch", "seq + 1", 4), "f32")
    node = Loc(("/h.0/MatMul",))
    attrs = {"sym_name": "w0123456789ab", "shape": (4, 4), "dtype": "f32", "sha256": "01", "hint": "h.0.W"}
    m.body.append(REGISTRY["builtin.resource"](**attrs))
    x = m.body.append(graph.input_def(types=[x_type], name="x")).result
    w_type = TensorType((4, 4), "f32")
    w = m.body.append(graph.constant_def(types=[w_type], value=Symbol("w0123456789ab"), loc=node)).result
    h = m.body.append(graph.matmul_def(x, w, types=[x_type], loc=node)).result
    both = node.merged(Loc(("/h.0/Add",)))
    y = m.body.append(graph.matmul_def(h, w, types=[x_type], transpose_b=True, loc=both)).result
    m.body.append(graph.output_def(y, name="y"))
    return m


@pytest.fixture(scope="module")
def declarations_only() -> Iterator[None]:
    with strategies.without_hooks():
        yield


@pytest.mark.usefixtures("declarations_only")
@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_every_op_reads_back_as_printed(name: str) -> None:
    @settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(strategies.modules(REGISTRY[name]))
    def round_trip(original: Op) -> None:
        text = print_module(original)
        read = parse_module(text)
        assert read.body.ops[0].name == name
        assert structurally_equal(original, read)
        assert print_module(read) == text

    round_trip()


def test_the_registry_holds_every_dialect() -> None:
    assert {name.partition(".")[0] for name in REGISTRY} >= {"builtin", "graph", "flow", "fabric", "core"}


def test_golden_text() -> None:
    assert print_module(golden_module()) == GOLDEN
    assert structurally_equal(parse_module(GOLDEN), golden_module())


def test_without_locations() -> None:
    text = print_module(golden_module(), locations=False)
    assert "loc(" not in text
    assert structurally_equal(parse_module(text), golden_module(), locations=False)
    assert not structurally_equal(parse_module(text), golden_module())


def test_layout_and_comments_carry_no_meaning() -> None:
    loose = GOLDEN.replace(", ", " ,\n\t").replace(" = graph", '=// a comment ( { "\n graph')
    loose = loose.replace(' ,\n\t"/h.0/Add"', ',\n"/h.0/Add"')
    assert structurally_equal(parse_module(loose), golden_module())


@given(strategies.attributes)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_attributes_keep_kind_and_value(value: object) -> None:
    m = module({"options": {"value": value}})
    assert structurally_equal(parse_module(print_module(m)), m)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (-3, "-3"),
        (1e-05, "1e-05"),
        (-math.inf, "-inf"),
        (math.nan, "nan"),
        ("\x1b[0m\u202e", r'"\u001b[0m\u202e"'),
        (Symbol("w1"), "@w1"),
        (Symbol("a b"), '@"a b"'),
        ((1, (2.0, "x"), ()), '[1, [2.0, "x"], []]'),
        ({"a": 1, "b c": {}}, '{a = 1, "b c" = {}}'),
        (TensorType((), "i64"), "tensor<i64>"),
    ],
)
def test_attribute_text(value: object, text: str) -> None:
    assert attr_text(value) == text


def test_equality_tells_kinds_apart() -> None:
    for a, b in [(1, True), (1, 1.0), (0.0, -0.0), ("1", 1), ((), {}), ((1,), (1, 1))]:
        assert not structurally_equal(module({"options": {"v": a}}), module({"options": {"v": b}}))
    assert structurally_equal(module({"options": {"v": math.nan}}), module({"options": {"v": -math.nan}}))


def test_a_foreign_attribute_is_refused_with_its_op() -> None:
    with pytest.raises(IRError, match=r"builtin\.module at unknown: attribute 'options': object is not a kind"):
        print_module(module({"options": object()}))


def test_broken_modules_still_print() -> None:
    m = module()
    detached = golden_module().body.ops[1].result
    m.body.append(Op("nowhere.op", [detached], attrs={"b": 1, "a": 2}))
    assert print_module(m) == "builtin.module {\n  nowhere.op(%?) {a = 2, b = 1}\n}\n"


@given(st.integers(1, 200))
@settings(max_examples=10, deadline=None, derandomize=True)
def test_values_are_numbered_in_text_order(count: int) -> None:
    m = module()
    for _ in range(count):
        m.body.append(graph.shape_value_def(types=[TensorType((), "f32")], kind="zeros"))
    lines = print_module(m).splitlines()[1:-1]
    assert [line.split()[0] for line in lines] == [f"%{i}" for i in range(count)]


def kernels(*names: str) -> Op:
    """A module with one input kernel for each name."""
    m = module()
    stream = StreamType(4, 4, "f32")
    for name in names:
        m.body.append(flow.input_def(types=[stream], sym_name=name, name="x", shape=(4,), dtype="f32"))
    return m


def test_values_are_called_after_their_ops() -> None:
    lines = print_module(kernels("a.1", "a.1", "7", "b c")).splitlines()[1:-1]
    starts = [
        "%a.1 = flow.input @a.1 {",
        "%0 = flow.input @a.1 {",
        '%1 = flow.input @"7" {',
        '%2 = flow.input @"b c" {',
    ]
    assert [line.strip().startswith(start) for line, start in zip(lines, starts, strict=True)] == [True] * 4


def test_numbers_start_anew_in_every_region() -> None:
    m = module()
    for name in ("p", "q"):
        program = m.body.append(core.program_def(sym_name=name, inputs=(), outputs=(), regions=[Region()]))
        program.body.append(core.const_def(types=[DsdType()], value=1.0))
    lines = print_module(m).splitlines()
    assert lines.count("    %0 = core.const {value = 1.0} : dsd") == 2
    assert structurally_equal(parse_module(print_module(m)), m)


def with_resources(*rows: tuple[str, str], wanted: str) -> Op:
    """A module with resources (name, hint) that refers to `wanted`."""
    m = module({"options": {"weight": (Symbol(wanted),)}})
    for name, hint in rows:
        m.body.append(resource_def(sym_name=name, shape=(), dtype="f32", sha256="", hint=hint))
    return m


@pytest.mark.parametrize(
    ("rows", "wanted", "text"),
    [
        ([("w1", "h.0/W:0")], "w1", "@h.0/W:0"),
        ([("w1", "W"), ("w2", "W")], "w1", "@w1"),  # two have this hint
        ([("w1", "w2"), ("w2", "V")], "w1", "@w1"),  # another's name
        ([("w1", "a b")], "w1", "@w1"),
        ([("w1", "")], "w1", "@w1"),
        ([("w1", "W")], "W", '@"W"'),  # no op is called W
        ([], "a b", '@"a b"'),
    ],
)
def test_resources_go_by_their_hints(rows: list[tuple[str, str]], wanted: str, text: str) -> None:
    m = with_resources(*rows, wanted=wanted)
    assert f"{{weight = [{text}]}}" in print_module(m)
    assert structurally_equal(parse_module(print_module(m)), m)


def test_resources_elsewhere_stay_there() -> None:
    m = golden_module()
    m.body.append(resource_def(sym_name="late", shape=(), dtype="f32", sha256=""))
    assert print_module(m).count("builtin.resource") == 2
    assert print_module(m).splitlines()[7].strip().startswith("builtin.resource @late")
    assert structurally_equal(parse_module(print_module(m)), m)


def test_long_ops_take_several_lines() -> None:
    names = tuple(f"number {i}" for i in range(60))
    report = {"a": {"b": dict.fromkeys(names, 1), "c": names}, "d": 2, "e": ()}
    m = module({"report": report, "options": {"names": names}})
    text = print_module(m)
    assert max(map(len, text.splitlines())) <= WIDTH
    assert len(text.splitlines()) < 40
    assert structurally_equal(parse_module(text), m)


def test_the_section_of_resources_holds_nothing_else() -> None:
    text = GOLDEN.replace("resources {", 'resources {\n  graph.output(%x) {name = "y"}')
    with pytest.raises(InputError, match="%x is not defined here"):
        parse_module(text)
    text = GOLDEN.replace("resources {", "resources {\n  builtin.module { }")
    with pytest.raises(InputError, match=r"<text>:10:3: .*builtin\.module is no builtin\.resource"):
        parse_module(text)


def test_a_name_cannot_be_given_twice() -> None:
    text = GOLDEN.replace("@w0123456789ab {", '@w0123456789ab {sym_name = "w",')
    with pytest.raises(InputError, match="attribute 'sym_name' is given twice"):
        parse_module(text)
