"""What is printed is read back as it was, for every op of every dialect."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import strategies
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compiler.dialects import graph
from compiler.ir.core import IRError, Loc, Op, Symbol, TensorType, module, structurally_equal
from compiler.ir.defs import REGISTRY
from compiler.ir.parser import parse_module
from compiler.ir.printer import attr_text, print_module

GOLDEN = r"""builtin.module {phase = "graph", report = {cores = 12, "worst link" = [0.5, "h0/\u00e9\n"]}} {
  builtin.resource {sym_name = "w0123456789ab", shape = [4, 4], dtype = "f32", sha256 = "01", hint = "W"}
  %0 = graph.input {name = "x"} : tensor<batch x "seq + 1" x 4 x f32>
  %1 = graph.constant {value = @w0123456789ab} : tensor<4 x 4 x f32> loc("/h.0/MatMul")
  %2 = graph.matmul(%0, %1) : tensor<batch x "seq + 1" x 4 x f32> loc("/h.0/MatMul")
  %3 = graph.matmul(%2, %1) {transpose_b = true} : tensor<batch x "seq + 1" x 4 x f32> loc("/h.0/MatMul", "/h.0/Add")
  graph.output(%3) {name = "y"}
}
"""


def golden_module() -> Op:
    m = module({"report": {"cores": 12, "worst link": (0.5, "h0/é\n")}, "phase": "graph"})
    x_type = TensorType(("batch", "seq + 1", 4), "f32")
    node = Loc(("/h.0/MatMul",))
    attrs = {"sym_name": "w0123456789ab", "shape": (4, 4), "dtype": "f32", "sha256": "01", "hint": "W"}
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
    loose = loose.replace("@w", "@w").replace(' ,\n\t"/h.0/Add"', ', "/h.0/Add"')
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
        m.body.append(graph.input_def(types=[TensorType((), "f32")], name="x"))
    lines = print_module(m).splitlines()[1:-1]
    assert [line.split()[0] for line in lines] == [f"%{i}" for i in range(count)]
