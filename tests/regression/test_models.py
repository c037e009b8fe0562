"""wsec's own models held by its own plugin: agreement with onnxruntime, layer by layer, and costs.

After a change that is meant to move them: pytest tests/regression/test_models.py -m "slow or not slow"
--wsec-update-golden REASON, and the diff of `baselines` is the review.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import wsec

BASELINES = Path(__file__).parent / "baselines"
# Two layers of every published size at its real width and heads; vocabulary and context are cut, because they are the
# same for all sizes. The larger ones take minutes and gigabytes.
CUTS = [
    "111m",
    "256m",
    *(pytest.param(size, marks=pytest.mark.slow) for size in ("590m", "1.3b", "2.7b", "6.7b", "13b")),
]


def baseline(name: str) -> Path:
    return BASELINES / f"{name}.golden.toml"


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", ["perceptron", "block"])
def test_toys(toys: Path, wsec_golden: Any, name: str, precision: str) -> None:
    wsec_golden(
        toys / f"{name}.onnx", baseline=baseline(f"{name}-{precision}"),
        target="mini-32x32", precision=precision, tokens=16, cycle_tokens=4, layers=True,
    )  # fmt: skip


@pytest.mark.parametrize("optimize", ["throughput", "latency"])
def test_tiny_gpt(gpt: Path, wsec_golden: Any, optimize: str) -> None:
    wsec_golden(
        gpt, baseline=baseline(f"tiny-gpt-{optimize}"),
        target="mini-32x32", optimize=optimize, tokens=12, batch=2, cycle_tokens=6, layers=True,
    )  # fmt: skip


@pytest.mark.parametrize("size", CUTS)
def test_two_layers(models: Path, wsec_golden: Any, size: str) -> None:
    path = models / f"{size}-two-layers.onnx"
    wsec.export(f"cerebras-gpt-{size}", path, layers=2, vocab=500, ctx=32, validate=False)
    wsec_golden(path, baseline=baseline(path.stem), target="cs2", precision="fp16", tokens=4, layers=True)
    for file in models.glob(f"{path.name}*"):
        file.unlink()


@pytest.mark.slow
def test_111m(models: Path, wsec_golden: Any) -> None:
    path = models / "111m-whole.onnx"
    wsec.export("cerebras-gpt-111m", path, validate=False)
    wsec_golden(path, baseline=baseline("111m"), target="cs2", precision="fp16", tokens=16, cycle_tokens=4, layers=True)
