"""Models exported once for all tests of the compiler."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import pytest


@pytest.fixture(scope="session", params=["dynamo", "legacy"])
def tiny_gpt(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT of 2 layers, width 32, 4 heads, vocabulary 67 and context 16, as each of torch's exporters writes it."""
    if find_spec("torch") is None:
        reason = "exporting a model needs the extra packages `gpt`"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    from frontends.hf.export import export

    path = tmp_path_factory.mktemp("tiny_gpt") / f"{request.param}.onnx"
    export(
        "cerebras-gpt-111m",
        path,
        layers=2,
        width=32,
        heads=4,
        vocab=67,
        ctx=16,
        exporter=request.param,
        validate=False,
    )
    return path
