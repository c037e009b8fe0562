"""Layers that share kernels, at the level of flow: which are found, what the text says, and that it means the same."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

import compiler.pipelines  # noqa: F401 - registers the passes
from compiler.dialects import flow, graph
from compiler.flow_interpreter import reads, run_flow, steps
from compiler.ir.core import IRError, Op, StreamType, Symbol
from compiler.ir.parser import parse_module
from compiler.ir.passes import PassContext, PassManager, parse_pipeline
from compiler.ir.printer import print_module
from compiler.ir.verifier import violations
from compiler.passes.layers import find_layers
from compiler.resources import ResourceStore
from runtime.errors import InputError
from tests.random_gpt import Builder, Shape, random_gpt

TINY = Shape(layers=4, heads=2, head_dim=4, hidden=10, vocab=13, positions=6)
IDS = np.random.default_rng(3).integers(0, TINY.vocab, (2, TINY.positions))


def folded(module: Op, resources: ResourceStore, fold: int) -> None:
    pipeline = f"lower-to-flow,insert-forks,fold{{layers={fold}}},dead-code"
    PassManager(parse_pipeline(pipeline)).run(module, PassContext(resources))


def gpt(fold: int, shape: Shape = TINY) -> tuple[Op, ResourceStore]:
    module, resources = random_gpt(shape, 1)
    folded(module, resources, fold)
    return module, resources


def perceptron(sizes: list[int]) -> tuple[Op, ResourceStore]:
    """Products, each with a bias and a relu, from one size to the next."""
    b = Builder(5)
    x = b.op(graph.input_def, shape=b.tokens(sizes[0]), name="x")
    for k, n in pairwise(sizes):
        x = b.op(graph.unary_def, b.linear(x, k, n), shape=b.tokens(n), fn="relu")
    b.module.body.append(graph.output_def(x, name="y"))
    return b.module, b.resources


def test_text_of_a_folded_gpt(golden: Callable[[str, str], None]) -> None:
    module, _ = gpt(2, Shape(layers=2, heads=1, head_dim=2, hidden=3, vocab=5, positions=4))
    text = print_module(module)
    golden("folded.wir", text)
    assert print_module(parse_module(text)) == text


def test_steps_of_a_token() -> None:
    """A set of kernels comes as often as layers share it, all else once, and each step reads what was made before."""
    module, _ = gpt(2)
    order = list(steps(module))
    names = [f"{flow.name_of(op)}.{number}" for op, number in order if flow.is_kernel(op)]
    assert len(names) == len(set(names)) == sum(flow.passes_of(op) for op in module.body.ops if flow.is_kernel(op))
    ends = [name for name in names if name.startswith(("gate", "switch"))]
    assert ends == [f"{end}{number}.{n}" for number in (0, 1) for n in (0, 1) for end in ("gate", "switch")]
    made = set()
    for step in order:
        assert set(reads(step)) <= made
        made |= {(value, step.number) for value in step.op.results}


@pytest.mark.parametrize("fold", [1, 2, 4])
def test_sharing_changes_no_number(fold: int) -> None:
    wanted = run_flow(*gpt(1), {"ids": IDS})["logits"]
    module, resources = gpt(fold)
    assert np.array_equal(run_flow(module, resources, {"ids": IDS})["logits"], wanted)
    assert not violations(module)  # the interpreter has left nothing behind
    assert len(module.body.find("flow.gate")) == (0 if fold == 1 else 4 // fold)
    assert len(module.body.find("flow.attention")) == 4 // fold


def test_layers_that_swap_their_constants_are_noticed() -> None:
    wanted = run_flow(*gpt(1), {"ids": IDS})["logits"]
    module, resources = gpt(4)
    norm = module.body.find("flow.norm")[0]
    first, second, third = norm.attrs["later"]  # type: ignore[misc]
    norm.attrs["later"] = (second, first, third)
    assert not np.allclose(run_flow(module, resources, {"ids": IDS})["logits"], wanted, rtol=1e-3)


def test_kernels_keep_the_nodes_of_all_their_layers() -> None:
    module, resources = random_gpt(TINY, 1)
    for number, op in enumerate(module.body.find("graph.layer_norm")):
        op.loc = type(op.loc)((f"norm.{number}",))
    folded(module, resources, 2)
    names = [op.loc.names for op in module.body.find("flow.norm")]
    assert names[:4] == [("norm.0", "norm.2"), ("norm.1", "norm.3"), ("norm.4", "norm.6"), ("norm.5", "norm.7")]


def test_the_shortest_layer_is_found() -> None:
    module, _ = perceptron([6, 6, 6, 6, 6, 3])
    PassManager(parse_pipeline("lower-to-flow,insert-forks")).run(module, PassContext(ResourceStore()))
    layers = find_layers([op for op in module.body.ops if op.dialect == "flow"])
    assert [[op.name for op in layer.ops] for layer in layers.alike] == [["flow.matvec"]] * 4
    module, _ = perceptron([6, 9, 6, 9, 6, 3])
    PassManager(parse_pipeline("lower-to-flow,insert-forks")).run(module, PassContext(ResourceStore()))
    layers = find_layers([op for op in module.body.ops if op.dialect == "flow"])
    assert [[op.name for op in layer.ops] for layer in layers.alike] == [["flow.matvec"] * 2] * 2


def test_a_number_that_does_not_divide_the_layers() -> None:
    with pytest.raises(InputError, match="3 does not divide the 4 layers that are alike, from norm0 to join7") as error:
        gpt(3)
    assert error.value.hint == "--fold may be 2, 4"


def test_layers_that_differ_are_named() -> None:
    module, resources = random_gpt(TINY, 1)
    PassManager(parse_pipeline("lower-to-flow,insert-forks")).run(module, PassContext(resources))
    norms = module.body.find("flow.norm")
    norms[6].attrs["epsilon"] = 0.5
    with pytest.raises(InputError) as error:
        PassManager(parse_pipeline("fold{layers=4}")).run(module, PassContext(resources))
    assert error.value.message == (
        "4 does not divide the 3 layers that are alike, from norm0 to join5; "
        "not like them: norm6 (unknown) has epsilon = 0.5, norm0 has 1e-05"
    )


def test_nothing_to_fold() -> None:
    module, resources = perceptron([6, 9, 3])
    with pytest.raises(InputError, match="no two layers in a row") as error:
        folded(module, resources, 2)
    assert error.value.code == "cannot-fold"


def test_a_module_is_folded_once() -> None:
    module, resources = gpt(2)
    with pytest.raises(InputError, match="share kernels already") as error:
        PassManager(parse_pipeline("fold{layers=2}")).run(module, PassContext(resources))
    assert error.value.code == "cannot-fold"


def test_less_than_one_layer() -> None:
    with pytest.raises(InputError, match="0 layers cannot share"):
        gpt(0)


def test_ops_that_contradict_each_other() -> None:
    """What people may write by hand."""
    x = flow.input_def(types=[StreamType(8, 4, "f32")], sym_name="i", name="x", shape=("n", 8), dtype="f32").result
    with pytest.raises(IRError, match="no gate and no switch"):
        flow.gate_def(x, types=[x.type], sym_name="g", passes=1)
    norm = {"sym_name": "n", "scale": Symbol("a"), "bias": Symbol("b"), "epsilon": 1e-5, "passes": 3}
    for passes in (0, 10**30):
        with pytest.raises(IRError, match="cannot pass"):
            flow.norm_def(x, types=[x.type], **(norm | {"passes": passes}))
    with pytest.raises(IRError, match="an entry for each of 2 passes"):
        flow.norm_def(x, types=[x.type], **norm, later=({"scale": Symbol("c")},))
    with pytest.raises(IRError, match="does not fit"):
        flow.norm_def(x, types=[x.type], **norm, later=({"scale": 3}, {}))
    with pytest.raises(IRError, match="only constants may differ"):
        flow.norm_def(x, types=[x.type], **norm, later=({"epsilon": 1e-6}, {}))
    module, _ = gpt(2)
    (switch, _) = module.body.find("flow.switch")
    switch.attrs["passes"] = 4
    assert any("other passes" in text for text in violations(module))
    switch.attrs.update(passes=2, gate=Symbol("gate1"))
    assert any("no gate @gate1 before it" in text for text in violations(module))
