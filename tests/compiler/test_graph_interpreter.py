"""The oracle itself, against plain numpy, hand-made loops and onnxruntime."""

from __future__ import annotations

from math import erf, sqrt
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from compiler.dialects import graph
from compiler.graph_interpreter import run_graph
from frontends.onnx.import_graph import import_model
from runtime.errors import InputError
from tests.compiler.graph_builder import GraphBuilder, random_inputs


@pytest.mark.parametrize("shape", [(1, 1), (2, 7), (3, 16)])
def test_agrees_with_onnxruntime(tiny_gpt: Path, shape: tuple[int, int]) -> None:
    module, resources = import_model(tiny_gpt)
    ids = {"input_ids": np.random.default_rng(0).integers(0, 67, shape)}
    logits = run_graph(module, resources, ids)["logits"]
    reference = onnxruntime.InferenceSession(tiny_gpt).run(["logits"], ids)[0]
    assert np.abs(logits - reference).max() <= 2e-6 * np.abs(reference).max()


def test_attention_is_a_loop_over_heads_and_queries() -> None:
    batch, seq, heads, head_dim = 2, 5, 3, 4
    b = GraphBuilder()
    q, k, v = (b.input(name, ("batch", "seq", heads * head_dim)) for name in "qkv")
    shape = ("batch", "seq", heads * head_dim)
    for name, causal in (("causal", True), ("full", False)):
        y = b.op(graph.attention_def, q, k, v, shape=shape, heads=heads, head_dim=head_dim, scale=0.3, causal=causal)
        b.output(y, name)
    inputs = random_inputs(np.random.default_rng(1), **dict.fromkeys("qkv", (batch, seq, heads * head_dim)))
    outputs = b.run(**inputs)
    for h, i, n in np.ndindex(heads, seq, batch):
        columns = slice(h * head_dim, (h + 1) * head_dim)
        for name, last in (("causal", i + 1), ("full", seq)):
            weights = np.exp(0.3 * inputs["k"][n, :last, columns] @ inputs["q"][n, i, columns])
            expected = weights @ inputs["v"][n, :last, columns] / weights.sum()
            np.testing.assert_allclose(outputs[name][n, i, columns], expected, rtol=2e-5, atol=1e-6)


def test_gelu_erf_and_layer_norm_by_their_formulas() -> None:
    b = GraphBuilder()
    x = b.input("x", ("batch", 8))
    b.output(b.unary("gelu_erf", x), "gelu")
    scale, bias = np.arange(8) + 1.0, np.arange(8) - 3.0
    operands = (x, b.constant(scale), b.constant(bias))
    b.output(b.op(graph.layer_norm_def, *operands, shape=("batch", 8), epsilon=0.1), "norm")
    inputs = random_inputs(np.random.default_rng(2), x=(3, 8))
    outputs = b.run(**inputs)
    gelu = [0.5 * value * (1 + erf(value / sqrt(2))) for value in inputs["x"].ravel().tolist()]
    np.testing.assert_allclose(outputs["gelu"].ravel(), gelu, rtol=1e-5, atol=1e-7)
    mean, var = inputs["x"].mean(-1, keepdims=True), inputs["x"].var(-1, keepdims=True)
    np.testing.assert_allclose(outputs["norm"], (inputs["x"] - mean) / np.sqrt(var + 0.1) * scale + bias, rtol=1e-5)


def test_matmul_with_a_transposed_matrix() -> None:
    b = GraphBuilder()
    x = b.input("x", ("batch", "seq", 4))
    weight = np.arange(12.0).reshape(3, 4)
    b.output(b.matmul(x, b.constant(weight), transpose_b=True))
    inputs = random_inputs(np.random.default_rng(3), x=(2, 5, 4))
    np.testing.assert_allclose(b.run(**inputs)["y"], inputs["x"] @ weight.T, rtol=1e-5, atol=1e-5)


def test_shape_values_take_their_sizes_from_the_inputs() -> None:
    b = GraphBuilder()
    b.input("ids", ("batch", "seq"), "i64")
    b.output(b.shape_value("positions", (1, "seq"), "i64"), "positions")
    b.output(b.shape_value("causal", (1, 1, "seq", "seq"), "bool"), "causal")
    b.output(b.shape_value("causal_additive", ("batch", 1, "seq", "seq"), "f16"), "mask")
    outputs = b.run(ids=np.zeros((2, 3), np.int64))
    assert outputs["positions"].tolist() == [[0, 1, 2]]
    assert outputs["causal"].tolist() == [[[[True, False, False], [True, True, False], [True, True, True]]]]
    lowest = np.finfo(np.float16).min
    assert outputs["mask"].shape == (2, 1, 3, 3)
    assert outputs["mask"][1, 0].tolist() == [[0, lowest, lowest], [0, 0, lowest], [0, 0, 0]]


def test_composed_dimensions() -> None:
    b = GraphBuilder()
    x = b.input("x", ("batch", "seq", 4))
    b.output(b.reshape(x, "seq*batch", 4))
    assert b.run(x=np.zeros((2, 3, 4), np.float32))["y"].shape == (6, 4)


def test_fp16_is_computed_in_fp32_and_rounded_once_per_op() -> None:
    b = GraphBuilder()
    x = b.input("x", (1, 4096), "f16")
    b.output(b.matmul(x, b.constant(np.ones((4096, 1)), "float16")), "product")
    product = b.run(x=np.full((1, 4096), 0.1, np.float16))["product"]
    assert product.dtype == np.float16
    # A sum kept in fp16 would stop growing at 256, where half a unit in the last place is more than 0.1.
    assert product.item() == np.float16(4096 * float(np.float16(0.1)))


def test_integer_division_truncates() -> None:
    b = GraphBuilder()
    x = b.input("x", (2,), "i64")
    b.output(b.binary("div", x, b.constant([2, 2], "int64")))
    assert b.run(x=np.array([-3, 3]))["y"].tolist() == [-1, 1]


@pytest.mark.parametrize(
    ("inputs", "code", "word"),
    [
        ({}, "missing-input", "ids"),
        ({"ids": np.zeros((2, 3), np.int32)}, "wrong-dtype", "int32"),
        ({"ids": np.zeros(3, np.int64)}, "wrong-shape", "ids"),
        ({"ids": np.zeros((2, 3), np.int64), "x": np.zeros((2, 4), np.float32)}, "wrong-shape", "seq"),
        ({"ids": np.full((2, 3), 9), "x": np.zeros((2, 3), np.float32)}, "index-out-of-range", "9"),
        ({"ids": np.full((2, 3), -6), "x": np.zeros((2, 3), np.float32)}, "index-out-of-range", "-6"),
    ],
)
def test_bad_inputs(inputs: dict[str, np.ndarray], code: str, word: str) -> None:
    b = GraphBuilder()
    ids = b.input("ids", ("batch", "seq"), "i64")
    b.input("x", ("batch", "seq"))
    b.output(b.op(graph.gather_def, b.constant(np.zeros((5, 2))), ids, shape=("batch", "seq", 2)))
    with pytest.raises(InputError) as caught:
        b.run(**inputs)
    assert caught.value.code == code
    assert word in str(caught.value)


def test_a_shape_that_does_not_fit_names_op_and_location() -> None:
    b = GraphBuilder()
    x, y = b.input("x", ("n",)), b.input("y", ("m",))
    b.output(b.binary("add", x, y))
    with pytest.raises(InputError, match=r"n2: error.*graph\.binary"):
        b.run(x=np.zeros(2, np.float32), y=np.zeros(3, np.float32))


def test_a_wrong_declaration_is_caught() -> None:
    b = GraphBuilder()
    x = b.input("x", (2, 3))
    b.output(b.op(graph.unary_def, x, shape=(3, 2), fn="neg"))
    with pytest.raises(InputError, match="declared as"):
        b.run(x=np.zeros((2, 3), np.float32))


def test_an_unbound_dimension_is_told() -> None:
    b = GraphBuilder()
    b.output(b.shape_value("positions", ("seq",), "i64"))
    with pytest.raises(InputError, match="'seq'"):
        b.run()
