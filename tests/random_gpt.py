"""Random GPTs as `graph` modules in the form the fuse passes leave: any width, heads, lanes and activations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from compiler.dialects import graph
from compiler.ir.core import Op, TensorType, Value, module
from compiler.resources import ResourceStore


@dataclass(frozen=True)
class Shape:
    """Sizes of a GPT; `tied`: the head is the token table."""

    layers: int
    heads: int
    head_dim: int
    hidden: int
    vocab: int
    positions: int
    activation: str = "gelu_erf"
    tied: bool = True

    @property
    def width(self) -> int:
        return self.heads * self.head_dim


class Builder:
    """Appends graph ops, with random constants, to a module."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.module = module({"phase": "fuse", "sym_name": "random"})
        self.resources = ResourceStore()

    def op(
        self, definition: Any, *operands: Value, shape: tuple[int | str, ...], dtype: str = "f32", **attrs: Any
    ) -> Value:
        op: Op = definition(*operands, types=[TensorType(shape, dtype)], **attrs)
        return self.module.body.append(op).result

    def constant(self, *shape: int, scale: float = 1.0, shift: float = 0.0) -> Value:
        array = (self.rng.standard_normal(shape) * scale + shift).astype(np.float32)
        symbol = self.resources.declare(self.module, self.resources.add(array))
        return self.op(graph.constant_def, shape=shape, value=symbol)

    def tokens(self, features: int) -> tuple[int | str, ...]:
        return ("batch", "seq", features)

    def linear(self, x: Value, k: int, n: int, *, weight: Value | None = None) -> Value:
        """x W + b, or without a bias and with a transposed W if `weight` is given."""
        if weight is not None:
            return self.op(graph.matmul_def, x, weight, shape=self.tokens(n), transpose_b=True)
        y = self.op(graph.matmul_def, x, self.constant(k, n, scale=k**-0.5), shape=self.tokens(n))
        return self.op(graph.binary_def, y, self.constant(n, scale=0.1), shape=self.tokens(n), fn="add")

    def norm(self, x: Value, n: int) -> Value:
        scale, bias = self.constant(n, scale=0.2, shift=1.0), self.constant(n, scale=0.1)
        return self.op(graph.layer_norm_def, x, scale, bias, shape=self.tokens(n), epsilon=1e-5)

    def attention(self, x: Value, shape: Shape) -> Value:
        d = shape.width
        qkv = self.linear(x, d, 3 * d)
        parts = [
            self.op(graph.slice_def, qkv, shape=self.tokens(d), axis=2, start=i * d, end=(i + 1) * d) for i in range(3)
        ]
        y = self.op(
            graph.attention_def, *parts, shape=self.tokens(d), heads=shape.heads, head_dim=shape.head_dim,
            scale=shape.head_dim**-0.5, causal=True,
        )  # fmt: skip
        return self.linear(y, d, d)


def random_gpt(shape: Shape, seed: int) -> tuple[Op, ResourceStore]:
    """A module with input `ids` [batch, seq] and output `logits`."""
    b, d = Builder(seed), shape.width
    ids = b.op(graph.input_def, shape=("batch", "seq"), dtype="i64", name="ids")
    positions = b.op(graph.shape_value_def, shape=(1, "seq"), dtype="i64", kind="positions")
    table = b.constant(shape.vocab, d)
    rows = b.op(graph.gather_def, table, ids, shape=b.tokens(d))
    places = b.op(graph.gather_def, b.constant(shape.positions, d), positions, shape=(1, "seq", d))
    x = b.op(graph.binary_def, rows, places, shape=b.tokens(d), fn="add")
    for _ in range(shape.layers):
        y = b.attention(b.norm(x, d), shape)
        x = b.op(graph.binary_def, y, x, shape=b.tokens(d), fn="add")
        h = b.linear(b.norm(x, d), d, shape.hidden)
        h = b.op(graph.unary_def, h, shape=b.tokens(shape.hidden), fn=shape.activation)
        x = b.op(graph.binary_def, x, b.linear(h, shape.hidden, d), shape=b.tokens(d), fn="add")
    head = table if shape.tied else b.constant(shape.vocab, d)
    logits = b.linear(b.norm(x, d), d, shape.vocab, weight=head)
    b.module.body.append(graph.output_def(logits, name="logits"))
    return b.module, b.resources
