"""Small ONNX models, built by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

Dims = Sequence[int | str]


def floats(*shape: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def build(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, Dims],
    outputs: dict[str, Dims],
    constants: dict[str, np.ndarray[Any, Any]] | None = None,
    *,
    opset: int = 20,
    int_inputs: Sequence[str] = (),
    functions: Sequence[onnx.FunctionProto] = (),
    domains: Sequence[str] = (),
) -> onnx.ModelProto:
    """A float model; inputs in `int_inputs` are int64."""

    def element(name: str) -> int:
        return onnx.TensorProto.INT64 if name in int_inputs else onnx.TensorProto.FLOAT

    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, element(name), dims) for name, dims in inputs.items()],
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, dims) for name, dims in outputs.items()],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=10)


def saved(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def mlp(batch: int | str) -> onnx.ModelProto:
    """relu(x w1 + b1) w2 + b2, once as Gemm, once as MatMul and Add."""
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], "first", transB=1),
        helper.make_node("Relu", ["h"], ["r"], "act"),
        helper.make_node("MatMul", ["r", "w2"], ["m"], "second"),
        helper.make_node("Add", ["m", "b2"], ["y"], "bias"),
    ]
    constants = {"w1": floats(12, 8), "b1": floats(12, seed=1), "w2": floats(12, 5, seed=2), "b2": floats(5, seed=3)}
    return build(nodes, {"x": [batch, 8]}, {"y": [batch, 5]}, constants)


def with_external(
    model: onnx.ModelProto, name: str, location: str, *, offset: int = 0, length: int | None = None
) -> None:
    """Point initializer `name` at a file, without writing the file."""
    tensor = next(t for t in model.graph.initializer if t.name == name)
    needed = len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entries = {"location": location, "offset": str(offset), "length": str(needed if length is None else length)}
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
