from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from compiler.dialects import graph
from compiler.dialects.graph import tensor_type
from compiler.dims import Dim
from compiler.ir.core import Op, Value
from compiler.passes.dead_code import DeadCode
from compiler.passes.fuse_attention import FuseAttention
from compiler.passes.simplify import Simplify
from tests.compiler.graph_builder import GraphBuilder, random_inputs

HEADS, HEAD_DIM = 3, 4
WIDTH = HEADS * HEAD_DIM
SCALE = 0.4
LOW = float(np.finfo(np.float32).min)


@dataclass
class Block:
    """Self-attention as an exporter writes it, with the places where exporters differ as fields."""

    batch: Dim = "batch"
    seq: Dim = "seq"
    mask: str = "additive"
    scale: str = "scores"
    key: str = "one transpose"

    def split(self, b: GraphBuilder, x: Value) -> Value:
        return b.transpose(b.reshape(x, self.batch, self.seq, HEADS, HEAD_DIM), 0, 2, 1, 3)

    def build(self) -> GraphBuilder:
        b = GraphBuilder()
        q, k, v = (b.input(name, (self.batch, self.seq, WIDTH)) for name in "qkv")
        if self.scale == "q before the split":
            q = b.binary("mul", q, SCALE)
        queries, values = self.split(b, q), self.split(b, v)
        scores = self.masked(b, self.scores(b, queries, k))
        y = b.matmul(b.softmax(scores), values)
        b.output(b.reshape(b.transpose(y, 0, 2, 1, 3), self.batch, self.seq, WIDTH))
        return b

    def scores(self, b: GraphBuilder, queries: Value, k: Value) -> Value:
        transposed = self.key == "by rows"
        keys = {
            "one transpose": lambda: b.transpose(b.reshape(k, self.batch, self.seq, HEADS, HEAD_DIM), 0, 2, 3, 1),
            "two transposes": lambda: b.transpose(self.split(b, k), 0, 1, 3, 2),
            "by rows": lambda: self.split(b, k),
        }[self.key]()
        if self.scale == "both":
            queries, keys = (b.binary("mul", x, SCALE**0.5) for x in (queries, keys))
        product = b.matmul(queries, keys, transpose_b=transposed)
        if self.scale == "scores":
            product = b.binary("mul", product, SCALE)
        return b.binary("div", product, 1 / SCALE) if self.scale == "division" else product

    def masked(self, b: GraphBuilder, scores: Value) -> Value:
        square = (self.batch, 1, self.seq, self.seq)
        match self.mask:
            case "additive":
                return b.binary("add", scores, b.shape_value("causal_additive", square, "f32"))
            case "additive first":
                return b.binary("add", b.shape_value("causal_additive", square, "f32"), scores)
            case "where":
                return b.where(b.shape_value("causal", square, "bool"), scores, b.constant(LOW))
            case "where zero or low":
                seen = b.shape_value("causal", square, "bool")
                return b.binary("add", scores, b.where(seen, b.constant(0.0), b.constant(-1e4)))
            case "expanded":
                seen = b.shape_value("causal", (1, 1, self.seq, self.seq), "bool")
                expanded = b.op(graph.expand_def, seen, shape=square, dtype="bool")
                return b.where(expanded, scores, b.constant([[-np.inf]]))
            case "causal and padding":
                causal = b.shape_value("causal_additive", square, "f32")
                return b.binary("add", scores, b.binary("add", causal, b.shape_value("zeros", square, "f32")))
            case "where and add":
                scores = b.where(b.shape_value("causal", square, "bool"), scores, b.constant(LOW))
                return b.binary("add", scores, b.shape_value("zeros", (self.batch, 1, 1, self.seq), "f32"))
            case "all seen":
                return b.where(b.shape_value("all_true", square, "bool"), scores, b.constant(LOW))
        return scores


def fused(b: GraphBuilder) -> Op:
    return next(op for op in b.module.body.ops if op.name == "graph.attention")


def check(block: Block, *, causal: bool) -> None:
    b = block.build()
    before = [b.run(**inputs)["y"] for inputs in three_inputs(block)]
    b.apply(Simplify(), FuseAttention(), Simplify(), DeadCode())
    assert b.histogram() == {"attention": 1}
    attrs = fused(b).attrs
    assert attrs["scale"] == pytest.approx(1.0 if block.scale == "none" else SCALE)
    assert (attrs["heads"], attrs["head_dim"], attrs["causal"]) == (HEADS, HEAD_DIM, causal)
    for inputs, expected in zip(three_inputs(block), before, strict=True):
        np.testing.assert_allclose(b.run(**inputs)["y"], expected, rtol=1e-5, atol=1e-6)


def three_inputs(block: Block) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    batch, seq = (size if isinstance(size, int) else 2 + 3 * i for i, size in enumerate((block.batch, block.seq)))
    return [random_inputs(rng, **dict.fromkeys("qkv", (batch, seq, WIDTH))) for _ in range(3)]


CAUSAL = ["additive", "additive first", "where", "where zero or low", "expanded", "causal and padding", "where and add"]


@pytest.mark.parametrize("mask", CAUSAL)
def test_every_causal_mask_fuses(mask: str) -> None:
    check(Block(mask=mask), causal=True)


@pytest.mark.parametrize("mask", ["none", "all seen"])
def test_no_mask_is_bidirectional(mask: str) -> None:
    check(Block(mask=mask), causal=False)


@pytest.mark.parametrize("scale", ["none", "scores", "division", "both", "q before the split"])
@pytest.mark.parametrize("key", ["one transpose", "two transposes", "by rows"])
def test_every_scale_and_key_layout_fuses(scale: str, key: str) -> None:
    check(Block(scale=scale, key=key), causal=True)


def test_static_sizes_fuse() -> None:
    # Equal sizes everywhere, so that a mixed-up axis would not show in the shapes.
    check(Block(batch=HEAD_DIM, seq=HEAD_DIM), causal=True)


def test_a_single_token_counts_as_causal() -> None:
    # Exporters fold its mask away; causal attention needs no end of the sequence.
    check(Block(seq=1, mask="none"), causal=True)


def test_the_location_names_queries_keys_values_and_mask() -> None:
    b = Block(mask="where zero or low").build()
    kept = ("builtin.resource", "graph.constant", "graph.input", "graph.output")
    formula = [op for op in b.module.body.ops if op.name not in kept]
    inside = formula[:-2]  # without the transpose and reshape that put the heads together again
    b.apply(FuseAttention())
    assert set(fused(b).loc.names) == {name for op in inside for name in op.loc.names}


def unfused(b: GraphBuilder) -> None:
    before = b.histogram()
    b.apply(FuseAttention(), DeadCode())
    assert b.histogram() == before


def test_an_unknown_mask_stays() -> None:
    b = GraphBuilder()
    block = Block(mask="none")
    q, k, v = (b.input(name, ("batch", "seq", WIDTH)) for name in "qkv")
    mask = b.input("mask", ("batch", 1, 1, "seq"))
    scores = b.binary("add", block.scores(b, block.split(b, q), k), mask)
    b.output(b.matmul(b.softmax(scores), block.split(b, v)))
    unfused(b)


@pytest.mark.parametrize("low", [0.0, -1.0, 1e9])
def test_a_mask_that_hides_nothing_stays(low: float) -> None:
    b = GraphBuilder()
    block = Block(mask="none")
    q, k, v = (b.input(name, ("batch", "seq", WIDTH)) for name in "qkv")
    seen = b.shape_value("causal", ("batch", 1, "seq", "seq"), "bool")
    scores = b.where(seen, block.scores(b, block.split(b, q), k), b.constant(low))
    b.output(b.matmul(b.softmax(scores), block.split(b, v)))
    unfused(b)


def test_a_mask_that_is_scaled_too_stays() -> None:
    b = GraphBuilder()
    block = Block(mask="additive", scale="none")
    q, k, v = (b.input(name, ("batch", "seq", WIDTH)) for name in "qkv")
    scores = block.masked(b, block.scores(b, block.split(b, q), k))
    b.output(b.matmul(b.softmax(b.binary("mul", scores, 1e-38)), block.split(b, v)))
    unfused(b)


@pytest.mark.parametrize("layout", ["dims first", "no split", "other order"])
def test_another_head_layout_stays(layout: str) -> None:
    size = HEADS  # as many heads as dimensions per head, so that all layouts have one shape
    b = GraphBuilder()
    x = b.input("x", ("batch", size, size * size))
    good = b.transpose(b.reshape(x, "batch", size, size, size), 0, 2, 1, 3)
    other = {
        "dims first": lambda: b.transpose(b.reshape(x, "batch", size, size, size), 0, 3, 1, 2),
        "no split": lambda: b.reshape(x, "batch", size, size, size),
        "other order": lambda: b.transpose(b.reshape(x, "batch", size, size, size), 0, 1, 3, 2),
    }[layout]()
    b.output(b.matmul(b.softmax(b.matmul(other, good, transpose_b=True)), good))
    unfused(b)


def test_shared_scores_survive() -> None:
    b = GraphBuilder()
    block = Block()
    q, k, v = (b.input(name, ("batch", "seq", WIDTH)) for name in "qkv")
    weights = b.softmax(block.masked(b, block.scores(b, block.split(b, q), k)))
    b.output(b.matmul(weights, block.split(b, v)), "y")
    b.output(weights, "weights")
    inputs = three_inputs(block)[0]
    before = b.run(**inputs)
    b.apply(FuseAttention(), DeadCode())
    after = b.run(**inputs)
    assert np.array_equal(after["weights"], before["weights"])
    np.testing.assert_allclose(after["y"], before["y"], rtol=1e-5, atol=1e-6)
    assert b.histogram()["attention"] == 1
    assert tensor_type(fused(b).result).shape == ("batch", "seq", WIDTH)
