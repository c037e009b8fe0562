"""Builds small `graph` modules for tests, inferring result shapes where numpy would."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from compiler.dialects import graph
from compiler.dialects.graph import tensor_type
from compiler.dims import Dim
from compiler.graph_interpreter import Array, run_graph
from compiler.ir.core import Attr, Loc, Op, TensorType, Value, module
from compiler.ir.defs import OpDef
from compiler.ir.passes import Pass, PassContext, PassManager
from compiler.resources import ResourceStore

IR_DTYPES = {"float32": "f32", "float16": "f16", "int64": "i64", "bool": "bool"}


class GraphBuilder:
    """One module under construction; each op's location is its number, as `n7`."""

    def __init__(self) -> None:
        self.module = module()
        self.resources = ResourceStore()

    def op(self, definition: OpDef, *operands: Value, shape: Sequence[Dim], dtype: str = "f32", **attrs: Attr) -> Value:
        location = Loc((f"n{len(self.module.body.ops)}",))
        built = definition(*operands, types=[TensorType(tuple(shape), dtype)], regions=(), loc=location, **attrs)
        return self.module.body.append(built).result

    def input(self, name: str, shape: Sequence[Dim], dtype: str = "f32") -> Value:
        return self.op(graph.input_def, shape=shape, dtype=dtype, name=name)

    def constant(self, array: ArrayLike, dtype: str = "float32") -> Value:
        elements = np.asarray(array, dtype)
        symbol = self.resources.declare(self.module, self.resources.add(elements))
        return self.op(graph.constant_def, shape=elements.shape, dtype=IR_DTYPES[dtype], value=symbol)

    def shape_value(self, kind: str, shape: Sequence[Dim], dtype: str) -> Value:
        return self.op(graph.shape_value_def, shape=shape, dtype=dtype, kind=kind)

    def binary(self, fn: str, a: Value, b: Value | float) -> Value:
        b = b if isinstance(b, Value) else self.constant(b)
        shape = broadcast(tensor_type(a).shape, tensor_type(b).shape)
        return self.op(graph.binary_def, a, b, shape=shape, dtype=tensor_type(a).dtype, fn=fn)

    def unary(self, fn: str, x: Value) -> Value:
        return self.op(graph.unary_def, x, shape=tensor_type(x).shape, dtype=tensor_type(x).dtype, fn=fn)

    def reduce(self, fn: str, x: Value) -> Value:
        """Over the last axis, which stays with size 1."""
        shape = (*tensor_type(x).shape[:-1], 1)
        return self.op(graph.reduce_def, x, shape=shape, dtype=tensor_type(x).dtype, fn=fn, axes=(-1,), keepdims=True)

    def matmul(self, a: Value, b: Value, *, transpose_b: bool = False) -> Value:
        n = tensor_type(b).shape[-2 if transpose_b else -1]
        shape = (*tensor_type(a).shape[:-1], n)
        return self.op(graph.matmul_def, a, b, shape=shape, dtype=tensor_type(a).dtype, transpose_b=transpose_b)

    def reshape(self, x: Value, *shape: Dim) -> Value:
        return self.op(graph.reshape_def, x, shape=shape, dtype=tensor_type(x).dtype)

    def transpose(self, x: Value, *perm: int) -> Value:
        shape = [tensor_type(x).shape[axis] for axis in perm]
        return self.op(graph.transpose_def, x, shape=shape, dtype=tensor_type(x).dtype, perm=perm)

    def slice(self, x: Value, axis: int, start: int, end: int) -> Value:
        shape = list(tensor_type(x).shape)
        shape[axis] = end - start
        return self.op(graph.slice_def, x, shape=shape, dtype=tensor_type(x).dtype, axis=axis, start=start, end=end)

    def cast(self, x: Value, dtype: str) -> Value:
        return self.op(graph.cast_def, x, shape=tensor_type(x).shape, dtype=dtype)

    def where(self, condition: Value, a: Value, b: Value) -> Value:
        shape = broadcast(tensor_type(condition).shape, broadcast(tensor_type(a).shape, tensor_type(b).shape))
        return self.op(graph.where_def, condition, a, b, shape=shape, dtype=tensor_type(a).dtype)

    def softmax(self, x: Value) -> Value:
        return self.op(graph.softmax_def, x, shape=tensor_type(x).shape, dtype=tensor_type(x).dtype)

    def output(self, x: Value, name: str = "y") -> None:
        self.module.body.append(graph.output_def(x, name=name))

    def run(self, **inputs: Array) -> dict[str, Array]:
        return run_graph(self.module, self.resources, inputs)

    def apply(self, *passes: Pass) -> None:
        """Run passes, with the verifier after each."""
        PassManager(passes).run(self.module, PassContext(resources=self.resources))

    def histogram(self) -> dict[str, int]:
        """How many ops of each kind there are, in alphabetical order; elementwise ones by function."""
        return histogram(self.module)


def histogram(module: Op) -> dict[str, int]:
    names = [_short_name(op) for op in module.body.ops]
    ignored = ("input", "output", "constant", "builtin.resource")
    return dict(sorted(Counter(name for name in names if name not in ignored).items()))


def _short_name(op: Op) -> str:
    name = op.name.removeprefix("graph.")
    return str(op.attrs["fn"]) if name in ("unary", "binary", "reduce") else name


def broadcast(a: Sequence[Dim], b: Sequence[Dim]) -> tuple[Dim, ...]:
    """The shape numpy gives two operands; a symbolic dimension wins over 1."""
    rank = max(len(a), len(b))
    wide = [(1,) * (rank - len(shape)) + tuple(shape) for shape in (a, b)]
    return tuple(q if p == 1 else p for p, q in zip(*wide, strict=True))


def random_inputs(rng: np.random.Generator, **shapes: Sequence[int]) -> dict[str, Array]:
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
