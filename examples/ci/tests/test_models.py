"""Every model agrees with onnxruntime, and is no worse than its baseline beside this file."""

from __future__ import annotations

import pytest
from models.make import block, perceptron


@pytest.mark.parametrize("make", [perceptron, block])
def test_model(make, tmp_path, wsec_golden):
    path = tmp_path / f"{make.__name__}.onnx"
    make(path)
    wsec_golden(path, target="mini-32x32", tokens=16, cycle_tokens=4)
