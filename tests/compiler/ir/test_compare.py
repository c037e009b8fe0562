"""Differences of modules: as few as there are, whatever values are called."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
import strategies
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ir_equal import assert_same_ir

import compiler.pipelines  # noqa: F401 - declares all ops
from compiler.ir.align import aligned
from compiler.ir.compare import Difference, canonical, compare
from compiler.ir.core import Loc, Op, same_attr, structurally_equal
from compiler.ir.defs import REGISTRY
from compiler.ir.parser import parse_module
from compiler.ir.printer import print_module

TEXT = """builtin.module @m {options = {a = 1, b = [2.0, true]}} {
  %x = graph.input {name = "x"} : tensor<4 x f32>
  %1 = graph.unary(%x) {fn = "relu"} : tensor<4 x f32> loc("r")
  %2 = graph.unary(%1) {fn = "exp"} : tensor<4 x f32> loc("e")
  %3 = graph.binary(%1, %2) {fn = "add"} : tensor<4 x f32> loc("a")
  graph.output(%3) {name = "y"}
  core.program @p {inputs = [], outputs = []} {
    %4 = core.const {value = 1.0} : dsd
    %5 = core.mem {address = 0, dtype = "f32", extent = 4} : dsd
    core.task {name = "t"} {
      core.mov(%5, %4)
    }
  }
}
"""


def differences(after: str, *, locations: bool = True, ignore: tuple[str, ...] = ()) -> list[Difference]:
    return compare(parse_module(TEXT), parse_module(after), locations=locations, ignore=ignore).differences


def edited(*edits: tuple[str, str]) -> str:
    text = TEXT
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    return text


def test_names_layout_and_order_of_attributes_mean_nothing() -> None:
    assert not differences(edited(("%1", "%r"), ("%x", "%9"), ("a = 1, b = [2.0, true]", "b = [2.0, true], a = 1")))


def test_an_attribute() -> None:
    (found,) = differences(edited(('"exp"', '"tanh"')))
    assert (found.kind, found.name, found.where) == ("changed", "graph.unary", "builtin.module @m")
    assert found.details == ('fn: "exp" -> "tanh"',)
    assert found.before.startswith('%1 = graph.unary(%0) {fn = "exp"}')
    assert "- %1 = graph.unary" in found.text() and "+ %1 = graph.unary" in found.text()


def test_kinds_are_told_apart() -> None:
    (found,) = differences(edited(("a = 1,", "a = true,")))
    assert found.where == "the file"
    assert found.details == ("options.a: 1 -> true",)
    assert not differences(edited(("a = 1,", "a = true,")), ignore=("options",))


def test_an_inserted_op_is_one_difference_and_those_that_read_it() -> None:
    new = '%n = graph.unary(%x) {fn = "neg"} : tensor<4 x f32>\n  %1 = graph.unary(%n)'
    found = differences(edited(("%1 = graph.unary(%x)", new)))
    assert [(d.kind, d.details) for d in found] == [
        ("added", ()),
        ("changed", ("operand 0 is another: %x -> %0",)),
    ]


def test_a_removed_op() -> None:
    found = differences(
        edited(('  %2 = graph.unary(%1) {fn = "exp"} : tensor<4 x f32> loc("e")\n', ""), ("%2)", "%1)"))
    )
    assert [(d.kind, d.name) for d in found] == [("removed", "graph.unary"), ("changed", "graph.binary")]


def test_data_flow() -> None:
    (found,) = differences(edited(("(%1, %2)", "(%2, %1)")))
    assert found.details == ("operand 0 is another: %0 -> %1", "operand 1 is another: %1 -> %0")


def test_types() -> None:
    found = differences(edited(('(%1, %2) {fn = "add"} : tensor<4 x f32>', '(%1, %2) {fn = "add"} : tensor<4 x f16>')))
    assert found[0].details == ("result types: tensor<4 x f32> -> tensor<4 x f16>",)
    assert found[1].details == ("operand 0 has type: tensor<4 x f32> -> tensor<4 x f16>",)


def test_nested_ops_say_where_they_are() -> None:
    (found,) = differences(edited(("address = 0", "address = 4")))
    assert found.where == "builtin.module @m / core.program @p"
    (found,) = differences(edited(("core.mov(%5, %4)", "core.mov(%4, %5)")))
    assert found.where == "builtin.module @m / core.program @p / core.task"


def test_ops_with_symbols_are_the_same_op_whatever_changed() -> None:
    (found,) = differences(edited(("inputs = []", 'inputs = [[2, "x"]]')))
    assert (found.kind, found.details) == ("changed", ('inputs: [] -> [[2, "x"]]',))
    found_all = differences(edited(("@p", "@q")))
    assert [d.kind for d in found_all] == ["removed", "added"]


def test_locations_count_unless_told_otherwise() -> None:
    other = edited(('loc("r")', 'loc("r", "s")'))
    assert differences(other)[0].details == ('loc: "r" -> "r", "s"',)
    hostile = differences(edited(('loc("r")', r'loc("\u001b[31m")')))
    assert "\x1b" not in hostile[0].text()
    assert not differences(other, locations=False)


def test_the_assertion_tells_the_first_difference() -> None:
    assert_same_ir(parse_module(TEXT), parse_module(TEXT))
    with pytest.raises(AssertionError, match=r'fn: "exp" -> "tanh"'):
        assert_same_ir(parse_module(edited(('"exp"', '"tanh"'))), parse_module(TEXT))


@pytest.fixture(scope="module")
def declarations_only() -> Iterator[None]:
    with strategies.without_hooks():
        yield


@pytest.mark.usefixtures("declarations_only")
def test_agrees_with_structural_equality() -> None:
    seen = set()

    @settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def agree(data: st.DataObject) -> None:
        definition = REGISTRY[data.draw(st.sampled_from(sorted(REGISTRY)))]
        module = data.draw(strategies.modules(definition))
        other = parse_module(print_module(module))
        assert compare(module, other).same
        disturb(data, other)
        same = structurally_equal(module, other)
        seen.add(same)
        assert compare(module, other).same == same

    agree()
    assert seen == {True, False}


def disturb(data: st.DataObject, module: Op) -> None:
    """Change a little thing, perhaps to what it was."""
    op = data.draw(st.sampled_from(list(module.walk())))
    if op.attrs and data.draw(st.booleans()):
        key = data.draw(st.sampled_from(sorted(op.attrs)))
        op.attrs[key] = data.draw(strategies.attributes)
    elif op.operands:
        index = data.draw(st.integers(0, len(op.operands) - 1))
        same = [value for value in op.operands if value.type == op.operands[index].type]
        op.set_operand(index, data.draw(st.sampled_from(same)))
    else:
        op.loc = Loc(data.draw(st.sampled_from([op.loc.names, ("elsewhere",)])))


@given(strategies.attributes, strategies.attributes)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_canonical_text_is_as_fine_as_equality(a: object, b: object) -> None:
    assert (canonical(a) == canonical(b)) == same_attr(a, b)


@given(st.text("abc", max_size=30), st.text("abcdef", max_size=30))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_alignment_pairs_equal_items_in_order(a: str, b: str) -> None:
    pairs = aligned(list(a), list(b))
    assert all(a[i] == b[j] for i, j in pairs)
    assert all(i < k and j < l for (i, j), (k, l) in pairwise(pairs))
    assert len(aligned(list(a), list(a))) == len(a)


def test_alignment_of_long_sequences_is_quick() -> None:
    a = [str(i) for i in range(30_000)]
    b = a[:10_000] + ["new"] * 5 + a[10_001:29_000] + a[29_500:]
    assert len(aligned(a, b)) == 30_000 - 1 - 500
