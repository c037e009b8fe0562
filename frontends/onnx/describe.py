"""What is in an ONNX file, whether or not wsec can import it. No weight is read beyond the file itself."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import onnx

from frontends.onnx.external import locate
from frontends.onnx.load import DEFAULT_DOMAIN, check_limits, parse
from frontends.onnx.tensors import MAX_RANK, NUMPY_TYPES
from runtime.errors import InputError

FLOATS = ("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE")
_LARGEST = 10  # tensors listed
_PROBLEMS = 5  # of external data, told in full


@dataclass(frozen=True)
class TensorFacts:
    """A constant: `dtype` is ONNX's word for its element type, `elements` what its shape says."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    elements: int
    bytes: int
    external: str  # the data file; empty if the tensor is in the model file


@dataclass
class ModelFacts:
    """An ONNX file. Counts of ops are by type, with the domain before it unless it is ONNX's own."""

    path: Path
    file_bytes: int
    ir_version: int
    producer: str
    opsets: dict[str, int]
    inputs: list[tuple[str, str]]
    outputs: list[tuple[str, str]]
    ops: dict[str, int]
    functions: int
    parameters: int
    tensors: dict[str, tuple[int, int]]  # by element type: how many, and bytes
    largest: list[TensorFacts]
    external: dict[str, tuple[int, int]]  # by data file: tensors, and bytes they have in it
    problems: list[str] = field(default_factory=list)  # of the external data


def describe(path: Path) -> ModelFacts:
    """The facts. Raises InputError for a file that is no ONNX model, or beyond the limits of `frontends.onnx.load`."""
    model = parse(path)
    graph = model.graph
    check_limits(graph, path)
    weights = [_tensor(tensor) for tensor in graph.initializer]
    names = {weight.name for weight in weights}
    by_type: dict[str, tuple[int, int]] = {}
    external: dict[str, tuple[int, int]] = {}
    for weight in weights:
        for key, table in ((weight.dtype, by_type), (weight.external, external)):
            count, size = table.get(key, (0, 0))
            table[key] = (count + 1, size + weight.bytes)
    external.pop("", None)
    return ModelFacts(
        path=path,
        file_bytes=path.stat().st_size,
        ir_version=model.ir_version,
        producer=" ".join(filter(None, (model.producer_name, model.producer_version))),
        opsets={entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
        inputs=[(info.name, _type(info.type)) for info in graph.input if info.name not in names],
        outputs=[(info.name, _type(info.type)) for info in graph.output],
        ops=_counted(Counter(_op_name(node) for node in graph.node)),
        functions=len(model.functions),
        parameters=sum(weight.elements for weight in weights if weight.shape and weight.dtype in FLOATS),
        tensors=dict(sorted(by_type.items())),
        largest=sorted(weights, key=lambda w: (-w.bytes, w.name))[:_LARGEST],
        external=dict(sorted(external.items())),
        problems=_problems(path, graph),
    )


def _counted(counts: Mapping[str, int]) -> dict[str, int]:
    """The most frequent first."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _op_name(node: onnx.NodeProto) -> str:
    return node.op_type if node.domain in DEFAULT_DOMAIN else f"{node.domain}.{node.op_type}"


def _tensor(tensor: onnx.TensorProto) -> TensorFacts:
    shape = tuple(tensor.dims)
    elements = math.prod(shape) if len(shape) <= MAX_RANK and all(dim >= 0 for dim in shape) else 0
    entries = {entry.key: entry.value for entry in tensor.external_data}
    outside = tensor.data_location == onnx.TensorProto.EXTERNAL
    return TensorFacts(
        tensor.name,
        _element_type(tensor.data_type),
        shape,
        elements,
        elements * _width(tensor.data_type),
        entries.get("location", "?") if outside else "",
    )


def _width(element_type: int) -> int:
    """Bytes of an element; 0 for types that have no whole number of them."""
    dtype = NUMPY_TYPES.get(element_type)
    if dtype is not None:
        return dtype.itemsize
    return 2 if element_type == onnx.TensorProto.BFLOAT16 else 0


def _problems(path: Path, graph: onnx.GraphProto) -> list[str]:
    """What is wrong with external data, without opening any of it."""
    found = []
    for tensor in graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        try:
            facts = _tensor(tensor)
            locate(path, tensor.name, {entry.key: entry.value for entry in tensor.external_data}, facts.bytes)
        except InputError as error:
            found.append(f"{error.where}: {error.message}")
    more = [f"and {len(found) - _PROBLEMS} more"] if len(found) > _PROBLEMS else []
    return found[:_PROBLEMS] + more


def _element_type(number: int) -> str:
    known = onnx.TensorProto.DataType.values()
    return str(onnx.TensorProto.DataType.Name(number)) if number in known else f"type {number}"


def _type(proto: onnx.TypeProto) -> str:
    """A value's type as `FLOAT[batch, 4]`."""
    if not proto.HasField("tensor_type"):
        return "not a tensor"
    name = _element_type(proto.tensor_type.elem_type)
    if not proto.tensor_type.HasField("shape"):
        return f"{name} of unknown shape"
    dims = [
        dim.dim_param or (str(dim.dim_value) if dim.HasField("dim_value") else "?")
        for dim in proto.tensor_type.shape.dim
    ]
    return f"{name}[{', '.join(dims)}]"
