"""Large weights from ONNX file to machine: in the image, or left in the model's data file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from small import SMALL

import wsec
from runtime.digest import CHUNK
from runtime.errors import InputError
from runtime.imagefile import read_image, verify_weights

WIDTH = 1100  # its square is more than a chunk of fp32


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """y = x W with external data."""
    weights = np.random.default_rng(0).standard_normal((WIDTH, WIDTH)).astype(np.float32) / 30
    assert weights.nbytes > CHUNK
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], "fc")],
        "model",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", WIDTH])],
        [numpy_helper.from_array(weights, "w")],
    )
    path = tmp_path_factory.mktemp("stored") / "model.onnx"
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(proto, path, save_as_external_data=True, location="model.data", size_threshold=0)
    return path


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_both_ways_give_the_same_results(model: Path, precision: str) -> None:
    outputs = {}
    inputs = np.random.default_rng(1).standard_normal((2, WIDTH)).astype(np.float32)
    for keep in ("copy", "reference"):
        path = model.with_name(f"{keep}-{precision}.wse")
        wsec.compile(model, path, store_weights=keep, precision=precision, **SMALL)
        verify_weights(path)
        assert wsec.validate(path).ok
        assert wsec.check(model, path, tokens=2).passed
        outputs[keep] = wsec.load(path).run(x=inputs)["y"]
        held = 4 * WIDTH * WIDTH // (1 if precision == "fp32" else 2) if keep == "copy" else 0
        assert held <= path.stat().st_size < held + 500_000
    assert np.array_equal(outputs["copy"], outputs["reference"])


def test_validating_reads_no_weights_but_running_notices_others(model: Path, tmp_path: Path) -> None:
    for file in (model, model.with_name("model.data")):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    path = tmp_path / "image.wse"
    wsec.compile(tmp_path / "model.onnx", path, store_weights="reference", **SMALL)
    with (tmp_path / "model.data").open("r+b") as data:
        data.seek(CHUNK)
        data.write(b"\1\2\3\4")
    assert wsec.validate(path).ok
    assert read_image(path).tensors
    with pytest.raises(InputError, match="do not match"):
        verify_weights(path)
