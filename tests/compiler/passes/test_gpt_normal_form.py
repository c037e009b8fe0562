"""All graph passes on whole models: values stay, and what is left is what `lower-to-flow` accepts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from compiler.dialects import graph
from compiler.dialects.graph import tensor_type
from compiler.graph_interpreter import Array, run_graph
from compiler.ir.core import Op
from compiler.ir.passes import Pass, PassContext, PassManager, parse_pipeline
from compiler.passes.common_subexpressions import CommonSubexpressions
from compiler.passes.dead_code import DeadCode
from compiler.passes.fold_constants import FoldConstants
from compiler.passes.recover_positions import RecoverPositions
from compiler.passes.simplify import Simplify
from compiler.pipelines import PHASES
from compiler.resources import ResourceStore
from frontends.onnx.import_graph import import_model
from tests.compiler.graph_builder import GraphBuilder, histogram, random_inputs

GRAPH_PASSES: Sequence[Pass] = parse_pipeline(f"{PHASES['canonical']},{PHASES['fuse']}")
# Passes after which not even the order of additions is another.
EXACT = (FoldConstants, Simplify, CommonSubexpressions, DeadCode, RecoverPositions)


def run_passes(module: Op, resources: ResourceStore, feeds: list[dict[str, Array]], rtol: float) -> None:
    """Run all graph passes; after each, every output on every feed must be what it was before."""
    before = [run_graph(module, resources, feed) for feed in feeds]
    for step in GRAPH_PASSES:
        PassManager([step]).run(module, PassContext(resources=resources))
        after = [run_graph(module, resources, feed) for feed in feeds]
        for old, new in zip(before, after, strict=True):
            for name, reference in old.items():
                allowed = 0.0 if isinstance(step, EXACT) else rtol * float(np.abs(reference).max())
                assert np.abs(new[name] - reference).max() <= allowed, f"{step.name} changes {name}"
        before = after


def test_gpt(tiny_gpt: Path) -> None:
    module, resources = import_model(tiny_gpt)
    rng = np.random.default_rng(0)
    run_passes(
        module, resources, [{"input_ids": rng.integers(0, 67, shape)} for shape in ((1, 1), (2, 7), (1, 16))], rtol=1e-6
    )
    assert histogram(module) == {
        "add": 13,  # positions, 4 biases and 2 residuals a layer
        "attention": 2,
        "gather": 2,
        "gelu_erf": 2,
        "layer_norm": 5,
        "matmul": 9,  # 4 a layer, and the head
        "shape_value": 1,
        "slice": 6,
    }
    assert module.body.find("graph.matmul")[-1].attrs["transpose_b"] is True
    tables = {gather.operands[0] for gather in module.body.find("graph.gather")}
    assert module.body.find("graph.matmul")[-1].operands[1] in tables
    assert all(op.loc.names for op in module.body.ops if op.results)


def test_every_tensor_is_batch_seq_features(tiny_gpt: Path) -> None:
    module, resources = import_model(tiny_gpt)
    PassManager(GRAPH_PASSES).run(module, PassContext(resources=resources))
    positional = {id(op) for op in module.body.ops if op.name in ("graph.constant", "graph.shape_value", "graph.input")}
    for op in module.body.ops:
        if not op.results or id(op) in positional or op.name == "builtin.resource":
            continue
        batch, seq, features = tensor_type(op.result).shape
        assert batch in ("batch", 1)
        assert seq == "seq"
        assert isinstance(features, int)


def test_passes_are_idempotent_together(tiny_gpt: Path) -> None:
    module, resources = import_model(tiny_gpt)
    pipeline = PassManager(GRAPH_PASSES)
    pipeline.run(module, PassContext(resources=resources))
    once = histogram(module)
    pipeline.run(module, PassContext(resources=resources))
    assert histogram(module) == once


@pytest.mark.parametrize("activation", ["relu", "gelu_tanh"])
def test_mlp(activation: str) -> None:
    b = GraphBuilder()
    rng = np.random.default_rng(0)
    x = b.input("x", ("batch", 8))
    for outer, inner in ((8, 16), (16, 4)):
        weight = b.constant(rng.standard_normal((inner, outer)))
        linear = b.binary("add", b.matmul(x, b.transpose(weight, 1, 0)), b.constant(rng.standard_normal((1, inner))))
        x = b.unary(activation, linear)
    b.output(x)
    run_passes(b.module, b.resources, [random_inputs(rng, x=(rows, 8)) for rows in (1, 2, 5)], rtol=1e-6)
    assert b.histogram() == {"add": 2, activation: 2, "matmul": 2}
    constants = [tensor_type(op.operands[1]).shape for op in b.module.body.ops if len(op.operands) == 2]
    assert constants == [(16, 8), (16,), (4, 16), (4,)]


def test_a_static_model_with_decomposed_ops() -> None:
    """A layer with fixed sizes, GELU and layer norm spelled out, and position rows folded into a constant."""
    batch, seq, width = 2, 5, 8
    b = GraphBuilder()
    rng = np.random.default_rng(1)
    ids = b.input("ids", (batch, seq), "i64")
    table = b.constant(rng.standard_normal((11, width)))
    rows = b.op(graph.gather_def, table, b.reshape(ids, batch * seq), shape=(batch * seq, width))
    x = b.reshape(rows, batch, seq, width)
    x = b.binary("add", x, b.constant(rng.standard_normal((1, seq, width))))
    d = b.binary("sub", x, b.reduce("mean", x))
    root = b.unary("sqrt", b.binary("add", b.reduce("mean", b.binary("pow", d, 2.0)), 1e-5))
    x = b.binary("mul", b.binary("div", d, root), b.constant(rng.standard_normal(width)))
    x = b.matmul(b.reshape(x, batch * seq, width), b.constant(rng.standard_normal((width, width))))
    t = b.unary("erf", b.binary("div", x, 2**0.5))
    x = b.binary("mul", b.binary("mul", x, b.binary("add", t, 1.0)), 0.5)
    b.output(b.reshape(x, batch, seq, width))
    run_passes(b.module, b.resources, [{"ids": rng.integers(0, 11, (batch, seq))} for _ in range(3)], rtol=1e-6)
    assert b.histogram() == {"add": 1, "gather": 2, "gelu_erf": 1, "layer_norm": 1, "matmul": 1, "shape_value": 1}
