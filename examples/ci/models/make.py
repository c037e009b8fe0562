"""The models of this example, with random weights: in a real repository, your own exporter.

python models/make.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save


def perceptron(path: Path, width: int = 48) -> None:
    """y = gelu(x w1 + b1) w2 + b2 for rows of `width` features."""
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["hidden"], "fc1"),
        helper.make_node("Gelu", ["hidden"], ["active"], "gelu"),
        helper.make_node("Gemm", ["active", "w2", "b2"], ["y"], "fc2"),
    ]
    _save(path, nodes, _linear(1, width, 3 * width) | _linear(2, 3 * width, 10), ["batch", width], ["batch", 10])


def block(path: Path, width: int = 64) -> None:
    """A feed-forward block of a transformer: y = x + gelu(norm(x) w1 + b1) w2 + b2, token by token."""
    nodes = [
        helper.make_node("LayerNormalization", ["x", "scale", "shift"], ["normed"], "ln"),
        helper.make_node("MatMul", ["normed", "w1"], ["product1"], "fc1"),
        helper.make_node("Add", ["product1", "b1"], ["hidden"], "fc1_bias"),
        helper.make_node("Gelu", ["hidden"], ["active"], "gelu"),
        helper.make_node("MatMul", ["active", "w2"], ["product2"], "fc2"),
        helper.make_node("Add", ["product2", "b2"], ["branch"], "fc2_bias"),
        helper.make_node("Add", ["x", "branch"], ["y"], "residual"),
    ]
    norm = {"scale": np.linspace(0.5, 1.5, width, dtype=np.float32), "shift": np.full(width, 0.1, np.float32)}
    shape = ["batch", "seq", width]
    _save(path, nodes, norm | _linear(1, width, 4 * width) | _linear(2, 4 * width, width), shape, shape)


def _linear(number: int, inputs: int, outputs: int) -> dict[str, np.ndarray]:
    """Weights and bias of layer `number`, the same every time."""
    random = np.random.default_rng(number)
    weights = random.standard_normal((inputs, outputs)) / np.sqrt(inputs)
    bias = random.standard_normal(outputs) / 10
    return {f"w{number}": weights.astype(np.float32), f"b{number}": bias.astype(np.float32)}


def _save(path: Path, nodes: list, constants: dict[str, np.ndarray], inputs: list, outputs: list) -> None:
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, inputs)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, outputs)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)


def main(folder: str) -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    for make in (perceptron, block):
        make(Path(folder) / f"{make.__name__}.onnx")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
