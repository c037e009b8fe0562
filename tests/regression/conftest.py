"""The toy models of `examples/ci`, and a baseline of one."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from small import SMALL

from frontends.cli.golden import store

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `perceptron.onnx` and `block.onnx`."""
    folder = tmp_path_factory.mktemp("toys")
    runpy.run_path(str(ROOT / "examples/ci/models/make.py"))["main"](str(folder))
    return folder


@pytest.fixture(scope="session")
def recorded(toys: Path) -> store.Result:
    """The perceptron with its first baseline, every kind of number in it."""
    return store.update(
        toys / "perceptron.onnx", toys / "perceptron.golden.toml", "first baseline",
        options=SMALL, run={"tokens": 6, "cycle_tokens": 3, "layers": True},
    )  # fmt: skip
