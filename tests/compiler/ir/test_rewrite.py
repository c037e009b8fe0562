"""The greedy driver reaches the fixpoint, or says that there is none; dead code goes, what acts stays."""

from __future__ import annotations

import pytest

from compiler.dialects import core, graph
from compiler.ir.core import DsdType, IRError, Op, Region, Symbol, TensorType, Value, module
from compiler.ir.defs import resource_def
from compiler.ir.rewrite import Rewriter, eliminate_dead, rewrite
from compiler.ir.verifier import verify

T = TensorType((4,), "f32")


def unary(m: Op, fn: str, x: Value) -> Value:
    return m.body.append(graph.unary_def(x, types=[T], fn=fn)).result


def chain(*functions: str) -> Op:
    """x -> functions -> y."""
    m = module()
    value = m.body.append(graph.input_def(types=[T], name="x")).result
    for fn in functions:
        value = unary(m, fn, value)
    m.body.append(graph.output_def(value, name="y"))
    return m


def functions(m: Op) -> list[object]:
    return [op.attrs["fn"] for op in m.body.find("graph.unary")]


def double_negation(op: Op, rewriter: Rewriter) -> bool:
    inner = op.operands[0].op if op.attrs.get("fn") == "neg" else None
    if inner is None or inner.attrs.get("fn") != "neg":
        return False
    rewriter.replace(op, inner.operands[0])
    if not inner.result.uses:
        rewriter.erase(inner)
    return True


def square_root_twice(op: Op, rewriter: Rewriter) -> bool:
    """Spell sqrt as exp(log / 2), to have an op that grows the module."""
    if op.attrs.get("fn") != "sqrt":
        return False
    log = rewriter.insert_before(op, graph.unary_def(*op.operands, types=[T], fn="log"))
    exp = rewriter.insert_before(op, graph.unary_def(log.result, types=[T], fn="exp"))
    rewriter.replace(op, exp.result)
    return True


def log_of_exp(op: Op, rewriter: Rewriter) -> bool:
    inner = op.operands[0].op if op.attrs.get("fn") == "log" else None
    if inner is None or inner.attrs.get("fn") != "exp":
        return False
    rewriter.replace(op, inner.operands[0])
    return True


@pytest.mark.parametrize("count", [0, 1, 2, 5, 64])
def test_fixpoint(count: int) -> None:
    m = chain(*["neg"] * count)
    assert rewrite(m, [double_negation]) == count // 2
    assert functions(m) == ["neg"] * (count % 2)
    verify(m)


def test_a_replacement_lets_its_neighbours_match() -> None:
    m = chain("exp", "neg", "neg", "log")
    assert rewrite(m, [log_of_exp, double_negation]) == 2
    eliminate_dead(m)
    assert functions(m) == []


def test_new_ops_are_visited() -> None:
    m = chain("exp", "sqrt", "log")
    assert rewrite(m, [square_root_twice, log_of_exp]) == 3
    eliminate_dead(m)
    assert functions(m) == []
    verify(m)


def test_shared_values_stay() -> None:
    m = chain("neg", "neg")
    shared = m.body.ops[1].result
    m.body.append(graph.output_def(shared, name="z"))
    rewrite(m, [double_negation])
    assert functions(m) == ["neg"]
    verify(m)


def test_divergence_is_an_error() -> None:
    def forever(op: Op, rewriter: Rewriter) -> bool:
        if op.attrs.get("fn") != "neg":
            return False
        rewriter.replace(op, rewriter.insert_before(op, graph.unary_def(*op.operands, types=[T], fn="neg")).result)
        return True

    with pytest.raises(IRError, match=r"graph\.unary .*no fixpoint after \d+ rewrites; .*forever matches still"):
        rewrite(chain("neg"), [forever])


def test_ops_inside_an_erased_op_are_not_visited() -> None:
    m = module()
    task = m.body.append(core.task_def(name="t", regions=[Region()]))
    task.body.append(core.alu_def(fn="add", dst="r0", a=0, b=0))
    visited: list[str] = []

    def erase_tasks(op: Op, rewriter: Rewriter) -> bool:
        visited.append(op.name)
        if op.name == "core.task":
            rewriter.erase(op)
        return op.name == "core.task"

    assert rewrite(m, [erase_tasks]) == 1
    assert visited == ["builtin.module", "core.task"]


def test_dead_chains_go_at_once() -> None:
    m = chain("relu")
    value = m.body.ops[0].result
    for _ in range(3):
        value = unary(m, "exp", value)
    assert eliminate_dead(m) == 3
    assert functions(m) == ["relu"]
    verify(m)


def test_what_acts_stays() -> None:
    m = chain()
    m.body.append(graph.input_def(types=[T], name="unused"))
    assert eliminate_dead(m, side_effects=["graph.input"]) == 0
    assert eliminate_dead(m) == 1


def test_an_op_that_holds_an_acting_op_stays() -> None:
    m = module()
    holder = m.body.append(Op("core.task", result_types=[DsdType()], attrs={"name": "t"}, regions=[Region()]))
    holder.body.append(core.const_def(types=[DsdType()], value=1.0))
    assert eliminate_dead(m, side_effects=["core.const"]) == 0
    assert eliminate_dead(m) == 2
    assert m.body.ops == []


def test_unused_resources_go() -> None:
    m = module({"options": {"kept": (Symbol("w1"),)}})
    for name in ("w1", "w2", "w3"):
        m.body.append(resource_def(sym_name=name, shape=(4,), dtype="f32", sha256="00"))
    m.body.append(graph.constant_def(types=[T], value=Symbol("w2")))
    assert eliminate_dead(m) == 3
    assert [op.attrs["sym_name"] for op in m.body.ops] == ["w1"]
