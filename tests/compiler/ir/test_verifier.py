"""The verifier finds each way a module can be broken, and lists them all."""

from __future__ import annotations

import pytest

from compiler.dialects import core, graph
from compiler.ir.core import DsdType, Loc, Op, Region, Symbol, TensorType, Value, module
from compiler.ir.defs import resource_def
from compiler.ir.verifier import MAX_SHOWN, verify, violations
from runtime.errors import InputError, WsecError

T = TensorType(("batch", 4), "f32")


@pytest.fixture
def legal() -> Op:
    """x -> relu -> y, with a resource."""
    m = module()
    m.body.append(resource_def(sym_name="w1", shape=(4,), dtype="f32", sha256="00"))
    w = m.body.append(graph.constant_def(types=[TensorType((4,), "f32")], value=Symbol("w1"))).result
    y = m.body.append(graph.binary_def(w, w, types=[T], fn="add", loc=Loc(("/add",)))).result
    m.body.append(graph.output_def(y, name="y"))
    return m


def only(m: Op) -> str:
    (violation,) = violations(m)
    return violation


def add(m: Op) -> Op:
    return m.body.find("graph.binary")[0]


def test_a_legal_module(legal: Op) -> None:
    verify(legal)


def test_undeclared_op(legal: Op) -> None:
    legal.body.append(Op("graph.nothing"))
    assert only(legal) == "graph.nothing at unknown: there is no such op"


def test_declaration(legal: Op) -> None:
    add(legal).attrs["fn"] = "sinh"
    assert "graph.binary at /add: fn is 'sinh'" in only(legal)


def test_nested_attribute_of_a_foreign_kind(legal: Op) -> None:
    legal.attrs["options"] = {"list": (1, (object(),))}
    assert "attribute 'options' cannot be" in only(legal)


def test_use_before_definition(legal: Op) -> None:
    legal.body.ops.reverse()
    found = violations(legal)
    assert found[1] == "graph.binary at /add: operand 0 is used before, or outside the region of, its definition"
    assert len(found) == 3


def test_use_outside_the_region() -> None:
    m = module()
    task = m.body.append(core.task_def(name="t", regions=[Region()]))
    inner = task.body.append(core.const_def(types=[DsdType()], value=1.0)).result
    task.body.append(core.mov_def(inner, inner))
    assert violations(m) == []
    m.body.append(core.mov_def(inner, inner))
    assert [text.split(":")[0] for text in violations(m)] == ["core.mov at unknown"] * 2


def test_own_result_inside_own_region() -> None:
    m = module()
    op = m.body.append(Op("core.task", result_types=[T], attrs={"name": "t"}, regions=[Region()]))
    op.body.append(graph.output_def(op.result, name="y"))
    assert any("operand 0 is used before" in text for text in violations(m))


def test_uses_that_disagree(legal: Op) -> None:
    value: Value = add(legal).operands[0]
    value.uses.pop()
    assert only(legal) == "graph.constant at unknown: the uses of value 0 do not agree with the operands that read it"
    value.uses += [value.uses[0]]
    assert "do not agree" in only(legal)


def test_a_use_by_an_op_outside_the_module(legal: Op) -> None:
    graph.output_def(add(legal).result, name="z")
    assert "graph.binary at /add: the uses of value 0 do not agree" in only(legal)


def test_parents(legal: Op) -> None:
    add(legal).parent = None
    assert only(legal) == "graph.binary at /add: its parent is not the block that holds it"


def test_region_parents(legal: Op) -> None:
    legal.regions[0].parent = None
    assert "a region's parent is not the op that holds it" in only(legal)


def test_value_owners(legal: Op) -> None:
    add(legal).result.index = 1
    assert "names another owner or index" in violations(legal)[0]


def test_the_same_op_twice(legal: Op) -> None:
    legal.body.ops.append(legal.body.ops[-1])
    assert only(legal) == "graph.output at unknown: stands in the module twice"


def test_unresolved_symbols_nested_ones_too(legal: Op) -> None:
    legal.attrs["options"] = {"a": (1, {"b": Symbol("gone")})}
    assert only(legal) == "builtin.module at unknown: no op is called @gone"


def test_symbols_are_unique(legal: Op) -> None:
    legal.attrs["sym_name"] = "w1"
    assert only(legal) == "builtin.resource at unknown: symbol @w1 is already the name of builtin.module at unknown"


def test_the_outermost_op(legal: Op) -> None:
    assert violations(legal.body.ops[0]) == ["builtin.resource at unknown: the outermost op must be builtin.module"]


def test_all_violations_are_listed_up_to_a_limit(legal: Op) -> None:
    for index in range(MAX_SHOWN + 5):
        legal.body.append(Op("graph.nothing", loc=Loc((f"n{index}",))))
    with pytest.raises(WsecError) as caught:
        verify(legal, where="pass x")
    lines = caught.value.message.splitlines()
    assert len(lines) == 1 + MAX_SHOWN + 1
    assert lines[1] == "  graph.nothing at n0: there is no such op"
    assert lines[-1] == "  and 5 more"
    assert (caught.value.code, caught.value.where, caught.value.exit_code) == ("invalid-ir", "pass x", 8)


def test_the_class_of_the_error(legal: Op) -> None:
    legal.body.append(Op("graph.nothing"))
    with pytest.raises(InputError, match="no such op"):
        verify(legal, error=InputError)
