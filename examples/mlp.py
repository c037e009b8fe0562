"""Not only GPTs: a small perceptron of integers, compiled for a 32 x 32 grid, agrees with onnxruntime in every bit.

python examples/mlp.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

import wsec


def perceptron(path: Path) -> None:
    """relu(x w1) w2 with weights in [-3, 3]."""
    random = np.random.default_rng(0)
    weights = {name: random.integers(-3, 4, shape) for name, shape in (("w1", (64, 200)), ("w2", (200, 10)))}
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w1"], ["a"]),
            helper.make_node("Relu", ["a"], ["b"]),
            helper.make_node("MatMul", ["b", "w2"], ["y"]),
        ],
        "perceptron",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mlp.onnx"
        perceptron(path)
        (output,) = wsec.check(path, tokens=100, target="mini-32x32").outputs
    print(f"{output.name} {list(output.shape)}: largest difference {output.max_abs}, allowed {output.tolerance}")


if __name__ == "__main__":
    main()
