"""Reading an ONNX file from a stranger: bounded, checked, and without touching its external weights."""

from __future__ import annotations

import graphlib
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from frontends.onnx.tensors import Weight, read_weight
from frontends.onnx.text import shown
from runtime.errors import InputError

MAX_FILE_BYTES = 2**31  # protobuf's own limit
MAX_NODES = 200_000
MAX_NAME = 4096
MAX_EXTERNAL = 20_000  # tensors; each may be mapped, and a process has a limited number of mappings
OPSETS = range(11, onnx.defs.onnx_opset_version() + 1)
DEFAULT_DOMAIN = ("", "ai.onnx")


@dataclass(frozen=True, eq=False)
class Node:
    """One ONNX node; `name` is unique enough for people: the model's own, or `OpType_index`."""

    index: int
    proto: onnx.NodeProto

    @property
    def op_type(self) -> str:
        return self.proto.op_type

    @property
    def name(self) -> str:
        return self.proto.name or f"{self.op_type}_{self.index}"

    @property
    def inputs(self) -> tuple[str, ...]:
        """Input names; an omitted optional input is the empty string."""
        return tuple(self.proto.input)

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(self.proto.output)

    @property
    def has_subgraph(self) -> bool:
        kinds = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
        return any(attribute.type in kinds for attribute in self.proto.attribute)

    def attribute(self, name: str, default: Any = None) -> Any:
        """The value of an attribute as a Python value (strings decoded), or `default`."""
        for attribute in self.proto.attribute:
            if attribute.name == name:
                value = onnx.helper.get_attribute_value(attribute)
                return value.decode(errors="replace") if isinstance(value, bytes) else value
        return default


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A checked model: nodes in topological order, constants apart (initializers and `Constant` nodes alike).

    `proto` is the whole, as read, its own functions inlined.
    """

    path: Path
    proto: onnx.ModelProto
    inputs: tuple[onnx.ValueInfoProto, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    weights: dict[str, Weight]
    opsets: dict[str, int]
    ir_version: int

    @property
    def files(self) -> frozenset[Path]:
        """The model's file, and those of its external data."""
        data = (weight.file for weight in self.weights.values())
        return frozenset({self.path, *(file.path for file in data if file is not None)})

    @property
    def opset(self) -> int:
        """The version of the standard operators."""
        return self.opsets[""]


def load_model(path: Path) -> LoadedModel:
    """Read and check the model at `path`; local functions are inlined.

    Raises InputError for a file that is missing, empty, truncated, not ONNX, too large or inconsistent, and for
    external data that is missing, outside the model's folder or of the wrong size.
    """
    path = Path(path)
    model = _inlined(parse(path), path)
    opsets = _opsets(model, path)
    graph = model.graph
    check_limits(graph, path)
    if graph.sparse_initializer:
        raise InputError("sparse initializers are not supported", code="sparse-initializer", where=str(path))
    weights: dict[str, Weight] = {}
    for tensor in graph.initializer:
        _add_weight(weights, read_weight(path, tensor.name, tensor), path)
    nodes = []
    for index, proto in enumerate(graph.node):
        node = Node(index, proto)
        if proto.op_type == "Constant" and proto.domain in DEFAULT_DOMAIN:
            _add_weight(weights, _constant(node, path), path)
        else:
            nodes.append(node)
    # Before IR version 4 initializers were listed as inputs too.
    inputs = tuple(info for info in graph.input if info.name not in weights)
    outputs = tuple(info.name for info in graph.output)
    _check_data_flow(path, [info.name for info in inputs], weights, nodes, outputs)
    return LoadedModel(path, model, inputs, outputs, tuple(nodes), weights, opsets, model.ir_version)


def parse(path: Path) -> onnx.ModelProto:
    where = str(path)
    try:
        status = path.stat()
    except (OSError, ValueError):
        raise InputError("no such file", code="no-such-file", where=where) from None
    if not stat.S_ISREG(status.st_mode):
        raise InputError("not a regular file", code="not-onnx", where=where)
    if not status.st_size:
        raise InputError("the file is empty", code="not-onnx", where=where)
    if status.st_size > MAX_FILE_BYTES:
        raise InputError(
            f"{status.st_size} bytes: an ONNX file holds at most {MAX_FILE_BYTES}",
            code="too-large",
            where=where,
            hint="save the weights as external data",
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", code="no-such-file", where=where) from None
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(data)
    except DecodeError:
        raise InputError(_unreadable(data), code="not-onnx", where=where) from None
    if not model.ir_version or not model.graph.output:
        raise InputError("not an ONNX model: it has no graph with outputs", code="not-onnx", where=where)
    return model


def _unreadable(data: bytes) -> str:
    # Every exporter writes ir_version first: field 1, a variable-length integer.
    return "the ONNX file is truncated or damaged" if data[:1] == b"\x08" else "not an ONNX file"


def _inlined(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """`model` with calls of its own functions replaced by their bodies, once their total size is known to be sane."""
    if not model.functions:
        return model
    bodies = {(function.domain, function.name): function.node for function in model.functions}
    calls = {key: [(node.domain, node.op_type) for node in body] for key, body in bodies.items()}
    try:
        order = graphlib.TopologicalSorter(
            {key: [call for call in called if call in bodies] for key, called in calls.items()}
        ).static_order()
        sizes: dict[tuple[str, str], int] = {}
        for key in order:
            sizes[key] = sum(sizes.get(call, 1) for call in calls[key])
    except graphlib.CycleError:
        raise InputError("a function of the model calls itself", code="bad-graph", where=str(path)) from None
    total = sum(sizes.get((node.domain, node.op_type), 1) for node in model.graph.node)
    if total > MAX_NODES:
        raise _too_many_nodes(total, path)
    return onnx.inliner.inline_local_functions(model)


def _opsets(model: onnx.ModelProto, path: Path) -> dict[str, int]:
    """Operator set versions by domain; the standard one, whose name is empty, must be one we know."""
    versions = {"" if e.domain in DEFAULT_DOMAIN else e.domain: e.version for e in model.opset_import}
    if versions.get("") not in OPSETS:
        raise InputError(
            f"opset {versions.get('', 'unknown')} is not supported",
            code="opset",
            where=str(path),
            hint=f"opsets {OPSETS.start} to {OPSETS.stop - 1} are; onnx.version_converter can change it",
        )
    return versions


def check_limits(graph: onnx.GraphProto, path: Path) -> None:
    if len(graph.node) > MAX_NODES:
        raise _too_many_nodes(len(graph.node), path)
    external = sum(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in graph.initializer)
    if external > MAX_EXTERNAL:
        raise InputError(f"{external} external tensors, more than {MAX_EXTERNAL}", code="too-large", where=str(path))
    for index, node in enumerate(graph.node):
        if any(len(name) > MAX_NAME for name in _names(node)):
            raise InputError(
                f"node {index} has a name of more than {MAX_NAME} characters", code="too-large", where=str(path)
            )


def _names(node: onnx.NodeProto) -> Iterator[str]:
    yield from (node.name, node.op_type, node.domain)
    yield from node.input
    yield from node.output


def _too_many_nodes(count: int, path: Path) -> InputError:
    return InputError(f"{count} nodes, more than {MAX_NODES}", code="too-large", where=str(path))


def _add_weight(weights: dict[str, Weight], weight: Weight, path: Path) -> None:
    if weight.name in weights:
        raise InputError(f"constant {shown(weight.name)} is defined twice", code="bad-graph", where=str(path))
    weights[weight.name] = weight


def _constant(node: Node, path: Path) -> Weight:
    """The tensor of a `Constant` node, whichever of its attributes holds it."""
    where = f"{path}: node {shown(node.name)}"
    if len(node.outputs) != 1 or len(node.proto.attribute) != 1:
        raise InputError("a Constant has one value and one output", code="bad-graph", where=where)
    name, attribute = node.outputs[0], node.proto.attribute[0]
    if attribute.name == "value":
        return read_weight(path, name, attribute.t)
    dtypes = {"value_int": np.int64, "value_ints": np.int64, "value_float": np.float32, "value_floats": np.float32}
    if attribute.name not in dtypes:
        raise InputError(
            f"a Constant with {shown(attribute.name)} is not supported", code="unsupported-op", where=where
        )
    array = np.asarray(onnx.helper.get_attribute_value(attribute), dtypes[attribute.name])
    return Weight(name, array.shape, array.dtype, inline=array)


def _check_data_flow(
    path: Path, inputs: Sequence[str], weights: dict[str, Weight], nodes: Sequence[Node], outputs: Sequence[str]
) -> None:
    """Every value is defined once, and before it is read."""
    defined = {*inputs, *weights, ""}
    for node in nodes:
        missing = next((name for name in node.inputs if name not in defined), None)
        if missing is not None:
            raise InputError(
                f"node {shown(node.name)} reads {shown(missing)}, which nothing before it defines",
                code="bad-graph",
                where=str(path),
            )
        fresh = [name for name in node.outputs if name]
        if not defined.isdisjoint(fresh) or len(set(fresh)) < len(fresh):
            raise InputError(
                f"node {shown(node.name)} defines a value that exists already", code="bad-graph", where=str(path)
            )
        defined.update(fresh)
    missing = next((name for name in outputs if name not in defined or not name), None)
    if missing is not None:
        raise InputError(f"output {shown(missing)} is never computed", code="bad-graph", where=str(path))
