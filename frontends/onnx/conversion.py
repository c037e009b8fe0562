"""The state of one import: the block being written, and the graph value behind each ONNX name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from compiler.dialects import graph
from compiler.dims import Dim
from compiler.ir.core import Block, Loc, Op, Symbol, TensorType, Value
from compiler.resources import ResourceStore
from frontends.onnx.load import LoadedModel, Node
from frontends.onnx.probe import Probed
from frontends.onnx.shape_values import classify, uniform
from frontends.onnx.shapes import Shape, UnknownDimension
from frontends.onnx.tensors import Array, Weight
from runtime.errors import InputError

IR_DTYPES: dict[np.dtype[Any], str] = {
    np.dtype(np.float32): "f32",
    np.dtype(np.float16): "f16",
    np.dtype(np.int64): "i64",
    np.dtype(np.int32): "i32",
    np.dtype(np.bool_): "bool",
}
NUMPY_DTYPES = {spelled: dtype for dtype, spelled in IR_DTYPES.items()}
# Stands in a constant until the weights are hashed, which waits until everything else is known to work.
PENDING = Symbol("pending")


class Unsupported(Exception):
    """This node cannot be expressed in graph IR; the text says why."""


@dataclass(eq=False)
class Conversion:
    """Everything a converter needs.

    `transposed[a] = b`: constant a holds b's matrix transposed, so b alone is kept. `false`: conditions proved to be
    false everywhere.
    """

    model: LoadedModel
    probed: Probed
    transposed: dict[str, str]
    block: Block = field(default_factory=Block)
    values: dict[str, Value] = field(default_factory=dict)
    pending: dict[Op, Weight] = field(default_factory=dict)
    false: set[str] = field(default_factory=set)
    loc: Loc = field(default_factory=Loc)

    def emit(self, op: Op) -> Value:
        """Append `op` and return its only result."""
        return self.block.append(op).result

    def operand(self, name: str) -> Value:
        """The graph value of an ONNX value. Raises Unsupported if it depends on shapes in an unknown way."""
        if name not in self.values:
            self.values[name] = self._constant_or_shape_value(name)
        return self.values[name]

    def optional(self, node: Node, index: int) -> str | None:
        """The name of an optional input, or None if it is not given."""
        return (node.inputs[index] or None) if index < len(node.inputs) else None

    def type_of(self, name: str) -> TensorType:
        """The type of an ONNX value. Raises Unsupported if the IR has none for it."""
        return self.type_for(self.probed.facts[name].shapes, self.dtype(name))

    def type_for(self, shapes: tuple[Shape, ...], dtype: str) -> TensorType:
        """The type of a value with these shapes in the probes."""
        try:
            return TensorType(self.probed.symbols.dims(shapes), dtype)
        except UnknownDimension as error:
            raise Unsupported(f"a dimension is no simple function of the inputs' dimensions ({error})") from None

    def dims(self, name: str) -> tuple[Dim, ...]:
        return self.type_of(name).shape

    def rank(self, name: str) -> int:
        return len(self.probed.facts[name].shapes[0])

    def dtype(self, name: str) -> str:
        dtype = self.probed.facts[name].dtype
        if dtype not in IR_DTYPES:
            raise Unsupported(f"elements of type {dtype}")
        return IR_DTYPES[dtype]

    def shapes(self, name: str) -> tuple[Shape, ...]:
        """The shape of a value in each probe."""
        return self.probed.facts[name].shapes

    def known_per_probe(self, name: str) -> tuple[Array, ...]:
        """The contents of a value that must not depend on data, in each probe."""
        values = self.probed.facts[name].values
        if values is None:
            raise Unsupported(f"{name} must not depend on data")
        return values

    def known(self, name: str) -> Array:
        """The contents of a value that must not depend on anything."""
        first, *others = self.known_per_probe(name)
        if any(not np.array_equal(first, other) for other in others):
            raise Unsupported(f"{name} must not depend on the inputs' shapes")
        return first

    def is_known(self, name: str) -> bool:
        return self.probed.facts[name].values is not None

    def kind(self, name: str) -> str | None:
        """Which `graph.shape_value` this is, or None; float constants of two or more axes are looked at too."""
        facts = self.probed.facts[name]
        if facts.values is not None:
            return classify(facts.values, constant=facts.constant)
        weight = self.model.weights.get(name)
        looks_square = weight is not None and len(set(weight.shape[-2:])) == 1
        return classify((weight.array(),), constant=True) if weight is not None and looks_square else None

    def scalar(self, value: float, dtype: str) -> Value:
        """A constant without axes."""
        return self.constant(np.asarray(value), dtype)

    def constant(self, array: Array, dtype: str, name: str = "") -> Value:
        """A constant from contents in memory."""
        array = np.asarray(array, NUMPY_DTYPES[dtype])
        return self._declare(Weight(name, array.shape, array.dtype, inline=array))

    def finish(self, module: Op, store: ResourceStore) -> None:
        """Enter the constants of `module` into `store`: the only step that reads all weights."""
        for op, weight in self.pending.items():
            if op.parent is module.body:
                op.attrs["value"] = store.declare(module, _store(weight, store))

    def _constant_or_shape_value(self, name: str) -> Value:
        kind = self.kind(name)
        if kind is not None:
            loc = self._producer(name)
            return self.emit(graph.shape_value_def(types=[self.type_of(name)], loc=loc, kind=kind))
        if name in self.transposed:
            source = self.operand(self.transposed[name])
            return self.emit(graph.transpose_def(source, types=[self.type_of(name)], perm=(1, 0), loc=Loc((name,))))
        weight = self.model.weights.get(name)
        if weight is not None:
            self.dtype(name)
            return self._declare(weight)
        return self._computed_constant(name)

    def _computed_constant(self, name: str) -> Value:
        values = self.known_per_probe(name)
        if all(np.array_equal(values[0], other) for other in values[1:]):
            return self.constant(values[0], self.dtype(name), name)
        filling = uniform(values)
        if filling is None:
            raise Unsupported(
                f"{name} depends on the inputs' shapes, which only positions, causal masks and constant fillings may"
            )
        scalar = self.constant(filling, self.dtype(name), name)
        return self.emit(graph.expand_def(scalar, types=[self.type_of(name)], loc=self._producer(name)))

    def _declare(self, weight: Weight) -> Value:
        loc = Loc((weight.name,)) if weight.name else self.loc
        op = graph.constant_def(types=[TensorType(weight.shape, IR_DTYPES[weight.dtype])], loc=loc, value=PENDING)
        self.pending[op] = weight
        return self.emit(op)

    def _producer(self, name: str) -> Loc:
        names = tuple(node.name for node in self.model.nodes if name in node.outputs)
        return Loc(names or (name,))


def _store(weight: Weight, store: ResourceStore) -> str:
    if weight.file is not None:
        return store.add_mapped(
            weight.file.path, weight.file.offset, IR_DTYPES[weight.dtype], weight.shape, hint=weight.name
        )
    if weight.inline is None:
        raise InputError("a constant without contents", code="bad-graph", where=weight.name)
    return store.add(weight.inline, hint=weight.name)
