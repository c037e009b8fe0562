"""Tiny models, exported once per session."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import pytest

TINY = {"layers": 2, "width": 32, "heads": 4, "vocab": 67, "ctx": 16}


@pytest.fixture(scope="session")
def tiny_gpts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same two-layer GPT-2, as exporters write it: by name `dynamo`, `legacy`, `fp16`, `static`, `fused`."""
    pytest.importorskip("transformers")
    from frontends.hf.export import export

    folder = tmp_path_factory.mktemp("tiny")
    paths = {name: folder / f"{name}.onnx" for name in ("dynamo", "legacy", "fp16", "static", "fused")}
    export("cerebras-gpt-111m", paths["dynamo"], seed=3, **TINY)
    export("cerebras-gpt-111m", paths["legacy"], seed=3, exporter="legacy", **TINY)
    export("cerebras-gpt-111m", paths["fp16"], seed=3, precision="fp16", exporter="legacy", **TINY)
    _export_plainly(paths["static"], attention="eager", opset=20)
    _export_plainly(paths["fused"], attention="sdpa", opset=23)
    return paths


def _export_plainly(path: Path, *, attention: str, opset: int) -> None:
    """As somebody else would: no dynamic axes, another batch size."""
    import torch

    from frontends.hf.build import build_model

    model = build_model("cerebras-gpt-111m", seed=3, overrides=TINY)
    model.set_attn_implementation(attention)
    sample = torch.zeros((1, 12), dtype=torch.int64)
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (sample,),
            path,
            opset_version=opset,
            input_names=["input_ids"],
            output_names=["logits"],
            verbose=False,
        )
    logging.disable(logging.NOTSET)
