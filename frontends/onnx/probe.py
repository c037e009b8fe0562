"""What is known about every value of a model: its shape in each probe, and its contents where only shapes decide them.

A value is *data* if it depends on the contents of a graph input or on a weight (a float constant of two or more
axes); otherwise it is *known*, and computed for every probe with onnx's reference operators.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx.reference
from onnx.shape_inference import InferenceError, infer_node_outputs

from compiler.dims import Dim
from frontends.onnx.load import LoadedModel, Node
from frontends.onnx.shapes import Shape, Symbols, UnknownDimension, clean_dim, symbols_of
from frontends.onnx.tensors import NUMPY_TYPES, Array, Weight
from frontends.onnx.text import shown
from runtime.errors import InputError

# Elements of one known value, and of all of them: what a stranger's file may make us compute.
MAX_KNOWN_SIZE = 2**24
MAX_KNOWN_TOTAL = 2**28
# Shape inference needs the contents of shapes, axes and bounds, never more.
MAX_HINT_SIZE = 1024


@dataclass(frozen=True, eq=False)
class Facts:
    """What is known about one value; `constant`: its contents do not depend on the inputs' shapes either."""

    dtype: np.dtype[Any]
    shapes: tuple[Shape, ...]
    values: tuple[Array, ...] | None = None
    constant: bool = False


def is_weight(weight: Weight) -> bool:
    """Is this constant a matrix of numbers, never to be folded or copied?"""
    return weight.dtype.kind == "f" and len(weight.shape) >= 2


@dataclass(frozen=True, eq=False)
class Probed:
    """The symbols of a model and the facts about all its values."""

    symbols: Symbols
    facts: dict[str, Facts]

    def dims(self, name: str) -> tuple[Dim, ...]:
        """The symbolic shape of a value. Raises UnknownDimension."""
        return self.symbols.dims(self.facts[name].shapes)


def probe(model: LoadedModel, nodes: Iterable[Node], known_nodes: set[int]) -> Probed:
    """Find the facts about every value that `nodes` define; those in `known_nodes` (by index) can be computed.

    Raises InputError if the model contradicts itself (operands that do not fit, a node that cannot be evaluated), or
    needs more shape arithmetic than is sane.
    """
    return _Prober(model).run(nodes, known_nodes)


class _Prober:
    def __init__(self, model: LoadedModel) -> None:
        self.model = model
        self.budget = MAX_KNOWN_TOTAL
        self.opsets = [onnx.helper.make_opsetid("", model.opset)]
        dims = {info.name: _input_dims(model, info) for info in model.inputs}
        try:
            self.symbols = symbols_of(dim for shape in dims.values() for dim in shape)
        except UnknownDimension as error:
            raise InputError(str(error), code="bad-graph", where=str(model.path)) from None
        self.probes = range(self.symbols.probes)
        self.facts = {
            info.name: Facts(
                _input_dtype(model, info), tuple(self.symbols.shape(dims[info.name], p) for p in self.probes)
            )
            for info in model.inputs
        }
        for weight in model.weights.values():
            values = None if is_weight(weight) else (weight.array(),) * len(self.probes)
            self.facts[weight.name] = Facts(weight.dtype, (weight.shape,) * len(self.probes), values, constant=True)

    def run(self, nodes: Iterable[Node], known_nodes: set[int]) -> Probed:
        for node in nodes:
            inferred = [self._infer(node, p) for p in self.probes]
            evaluate = self._known if node.index in known_nodes else self._data
            self.facts.update(evaluate(node, inferred))
        return Probed(self.symbols, self.facts)

    def _infer(self, node: Node, probe: int) -> dict[str, tuple[np.dtype[Any], Shape]]:
        """Element type and shape of the outputs of `node` in one probe."""
        types, hints = {}, {}
        for name in filter(None, node.inputs):
            facts = self.facts[name]
            element = onnx.helper.np_dtype_to_tensor_dtype(facts.dtype)
            types[name] = onnx.helper.make_tensor_type_proto(element, facts.shapes[probe])
            if facts.values is not None and facts.values[probe].size <= MAX_HINT_SIZE:
                hints[name] = onnx.numpy_helper.from_array(np.asarray(facts.values[probe], order="C"))
        schema = onnx.defs.get_schema(node.op_type, self.model.opset, "")
        try:
            inferred = infer_node_outputs(
                schema, node.proto, types, hints, opset_imports=self.opsets, ir_version=self.model.ir_version
            )
        except (InferenceError, RuntimeError, ValueError) as error:
            raise self._bad(node, str(error).strip().splitlines()[-1] + self._where(probe)) from None
        return {name: self._concrete(node, inferred.get(name)) for name in filter(None, node.outputs)}

    def _concrete(self, node: Node, type: onnx.TypeProto | None) -> tuple[np.dtype[Any], Shape]:
        if type is None or not type.tensor_type.HasField("shape"):
            raise self._bad(node, "the shape of its result cannot be inferred")
        dims = type.tensor_type.shape.dim
        if any(not dim.HasField("dim_value") for dim in dims) or type.tensor_type.elem_type not in NUMPY_TYPES:
            raise self._bad(node, "the shape or element type of its result cannot be inferred")
        return NUMPY_TYPES[type.tensor_type.elem_type], tuple(dim.dim_value for dim in dims)

    def _data(self, node: Node, inferred: list[dict[str, tuple[np.dtype[Any], Shape]]]) -> dict[str, Facts]:
        return {
            name: Facts(inferred[0][name][0], tuple(result[name][1] for result in inferred))
            for name in filter(None, node.outputs)
        }

    def _known(self, node: Node, inferred: list[dict[str, tuple[np.dtype[Any], Shape]]]) -> dict[str, Facts]:
        sources = [self.facts[name] for name in filter(None, node.inputs)]
        constant = all(source.constant and source.values is not None for source in sources)
        runs = [self._evaluate(node, p, inferred[p]) for p in (self.probes[:1] if constant else self.probes)]
        if constant:
            runs *= len(self.probes)
        return {
            name: Facts(
                runs[0][name].dtype, tuple(run[name].shape for run in runs), tuple(run[name] for run in runs), constant
            )
            for name in filter(None, node.outputs)
        }

    def _evaluate(self, node: Node, probe: int, inferred: dict[str, tuple[np.dtype[Any], Shape]]) -> dict[str, Array]:
        """The contents of the outputs of a known node in one probe."""
        size = sum(math.prod(shape) for _, shape in inferred.values())
        self.budget -= size
        if size > MAX_KNOWN_SIZE or self.budget < 0:
            raise self._bad(node, f"computing {size} elements from shapes and constants alone is too much")
        try:
            with np.errstate(all="ignore"):
                return self._run(node, probe)
        except Exception as error:  # whatever numpy makes of operands that do not fit
            raise self._bad(node, f"cannot be evaluated{self._where(probe)}: {error}") from None

    def _run(self, node: Node, probe: int) -> dict[str, Array]:
        if node.op_type in ("Shape", "Size"):
            return {node.outputs[0]: _shape_query(node, self.facts[node.inputs[0]].shapes[probe])}
        feeds = {name: self._contents(name, probe) for name in filter(None, node.inputs)}
        evaluator = onnx.reference.ReferenceEvaluator(node.proto, opsets={"": self.model.opset})
        named = zip(evaluator.output_names, evaluator.run(None, feeds), strict=True)
        return {name: np.asarray(result) for name, result in named if name}

    def _contents(self, name: str, probe: int) -> Array:
        values = self.facts[name].values
        assert values is not None
        return values[probe]

    def _where(self, probe: int) -> str:
        """The sizes of a probe, for a message: a model that is exported for one size may say it takes any."""
        sizes = [f"{shown(name)} = {of[probe]}" for name, of in self.symbols.sizes.items()]
        return f" where {', '.join(sizes)}" if sizes else ""

    def _bad(self, node: Node, reason: str) -> InputError:
        return InputError(
            f"{node.op_type}: {reason}", code="bad-graph", where=f"{self.model.path}: node {shown(node.name)}"
        )


def _shape_query(node: Node, shape: Shape) -> Array:
    """The result of Shape or Size: nothing but the operand's shape is needed."""
    if node.op_type == "Size":
        return np.asarray(math.prod(shape), np.int64)
    return np.asarray(shape[node.attribute("start", 0) : node.attribute("end")], np.int64)


def _input_dims(model: LoadedModel, info: onnx.ValueInfoProto) -> list[Dim]:
    tensor = info.type.tensor_type
    if not info.type.HasField("tensor_type") or not tensor.HasField("shape"):
        raise InputError(
            f"input {shown(info.name)} is not a tensor with a known number of axes",
            code="bad-graph",
            where=str(model.path),
        )
    dims: list[Dim] = []
    for axis, dim in enumerate(tensor.shape.dim):
        if dim.HasField("dim_value") and dim.dim_value > 0:
            dims.append(dim.dim_value)
            continue
        position = [other.name for other in model.inputs].index(info.name)
        dims.append(clean_dim(dim.dim_param, f"dim_{position}_{axis}"))
    return dims


def _input_dtype(model: LoadedModel, info: onnx.ValueInfoProto) -> np.dtype[Any]:
    dtype = NUMPY_TYPES.get(info.type.tensor_type.elem_type)
    if dtype is None:
        raise InputError(
            f"input {shown(info.name)} has an unsupported element type", code="element-type", where=str(model.path)
        )
    return dtype
