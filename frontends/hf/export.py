"""PyTorch to ONNX: build a GPT, export it with `torch.onnx.export`, and validate the file against torch."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from frontends.hf.build import build_model, model_config
from runtime.errors import InputError, NumericsError, UsageError

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel

OPSET = 20  # the first with Gelu; LayerNormalization came with 17
# max|err| / max|ref| between torch and onnxruntime: about 6 times what two correct implementations differ by.
TOLERANCE = {"fp32": 2e-5, "fp16": 5e-3}

Precision = Literal["fp32", "fp16"]
Exporter = Literal["dynamo", "legacy"]
Weights = Literal["real", "none"]
Progress = Callable[[str], None]


@dataclass(frozen=True)
class ExportReport:
    """What was written; `max_error` is max|err|/max|ref| against torch, None if it was not validated."""

    path: Path
    parameters: int
    nodes: int
    opset: int
    max_error: float | None
    seconds: float


def export(
    model: str,
    output: Path,
    *,
    seed: int = 0,
    layers: int | None = None,
    width: int | None = None,
    heads: int | None = None,
    vocab: int | None = None,
    ctx: int | None = None,
    precision: Precision = "fp32",
    exporter: Exporter = "dynamo",
    weights: Weights = "real",
    validate: bool = True,
    progress: Progress | None = None,
) -> ExportReport:
    """Write `output` (and `output.data` where the weights go outside): input_ids [batch, seq] -> logits.

    `model` is a preset, a checkpoint folder or a hub name (see `build_model`); `layers` ... `ctx` change a preset's
    shape. With `weights` "none" the graph is the same, but every weight is a hole in a sparse `output.data`: it takes
    no disk space, reads as zeros, and is never compared with torch. Nothing is left behind if it fails. `progress` is
    told each stage as it begins.

    Raises InputError for a model that cannot be built, NumericsError if the file disagrees with torch, UsageError for
    `weights` "none" with the legacy exporter, which must have them.
    """
    if weights == "none" and exporter != "dynamo":
        raise UsageError("only the dynamo exporter can leave the weights out", code="bad-option")
    _require_torch()
    started = time.monotonic()
    tell = progress or (lambda _stage: None)
    overrides = {"layers": layers, "width": width, "heads": heads, "vocab": vocab, "ctx": ctx}
    output = Path(output)
    _check_writable(output)
    with _quiet(), tempfile.TemporaryDirectory(prefix=".export-", dir=output.parent) as folder:
        tell("building the model")
        given = {key: value for key, value in overrides.items() if value is not None}
        draft = Path(folder) / output.name
        try:
            torch_model = _build(model, seed, given, precision, weights)
            tell("exporting to ONNX")
            _export(torch_model, draft, exporter, weights)
        except (RuntimeError, OSError) as problem:
            raise _failed(problem, model) from problem
        error = None
        if validate and weights == "real":
            tell("validating against torch")
            error = _validate(torch_model, draft, precision, seed)
        nodes, opset = _describe(draft)
        # The model goes last: a reader never sees it without its weights.
        for file in sorted(draft.parent.iterdir(), key=lambda file: file == draft):
            file.replace(output.parent / file.name)
    return ExportReport(
        path=output,
        parameters=sum(parameter.numel() for parameter in torch_model.parameters()),
        nodes=nodes,
        opset=opset,
        max_error=error,
        seconds=time.monotonic() - started,
    )


def _build(name: str, seed: int, overrides: dict[str, int], precision: Precision, weights: Weights) -> GPT2LMHeadModel:
    if weights == "none":
        from frontends.hf.hollow import hollow_model

        return hollow_model(
            model_config(name, overrides=overrides), np.dtype(np.float16 if precision == "fp16" else np.float32)
        )
    model = build_model(name, seed=seed, overrides=overrides)
    return model.half() if precision == "fp16" else model


def _check_writable(output: Path) -> None:
    if not output.parent.is_dir() or not os.access(output.parent, os.W_OK):
        raise InputError("no folder that can be written to", code="cannot-write", where=str(output.parent))
    if output.is_dir():
        raise InputError("this is a folder, not a file name", code="cannot-write", where=str(output))


def _failed(error: Exception, model: str) -> InputError:
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return InputError(
        f"torch cannot export it: {reason}", code="export-failed", where=model, hint="try the other exporter"
    )


def _require_torch() -> None:
    try:
        import onnxscript  # noqa: F401
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"exporting needs {error.name}, which is not installed",
            code="missing-package",
            hint="pip install 'wsec[gpt]'",
        ) from error


def _export(model: GPT2LMHeadModel, path: Path, exporter: Exporter, weights: Weights) -> None:
    import torch

    from frontends.hf.hollow import save_hollow
    from frontends.hf.tracing import LogitsOnly

    # Sizes of 0 or 1 would be taken for constants by the tracer.
    sample = torch.zeros((2, min(8, model.config.n_positions)), dtype=torch.int64)
    names = {"input_names": ["input_ids"], "output_names": ["logits"], "opset_version": OPSET, "verbose": False}
    if exporter == "dynamo":
        dims = {0: torch.export.Dim("batch"), 1: torch.export.Dim("seq", max=model.config.n_positions)}
        program = torch.onnx.export(model, (sample,), dynamo=True, dynamic_shapes={"input_ids": dims}, **names)
        if weights == "none":
            save_hollow(program, model, path)
        else:
            program.save(path, external_data=True)
        _strip_metadata(path)
        return
    axes = {name: {0: "batch", 1: "seq"} for name in ("input_ids", "logits")}
    # A string: given a Path, this exporter would not write external data.
    torch.onnx.export(LogitsOnly(model).eval(), (sample,), str(path), dynamo=False, dynamic_axes=axes, **names)
    gather_external_data(path)


def _strip_metadata(path: Path) -> None:
    """Drop the stack traces of every node: they hold this machine's paths, and are most of the file."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    for item in (model, model.graph, *model.graph.node, *model.graph.value_info):
        item.ClearField("metadata_props")
    onnx.save(model, path)


def gather_external_data(path: Path) -> None:
    """Above 2 GB the legacy exporter writes one file per tensor; put them into a single `<name>.data`."""
    import onnx

    scattered = [file for file in path.parent.iterdir() if file != path]
    if not scattered:
        return
    model = onnx.load(path)
    for file in (path, *scattered):
        file.unlink()
    data = path.with_name(f"{path.name}.data")
    onnx.save(model, path, save_as_external_data=True, location=data.name, size_threshold=0)
    data.chmod(path.stat().st_mode)  # it is made private to its owner otherwise


def _validate(model: GPT2LMHeadModel, path: Path, precision: Precision, seed: int) -> float:
    """The worst max|err|/max|ref| over two shapes, neither of them the traced one."""
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    random = np.random.default_rng(seed)
    worst = 0.0
    for batch, seq in ((1, 5), (3, 11)):
        shape = (batch, min(seq, model.config.n_positions))
        ids = random.integers(0, model.config.vocab_size, shape, dtype=np.int64)
        with torch.no_grad():
            reference = model(torch.from_numpy(ids)).logits.float().numpy()
        (logits,) = session.run(None, {"input_ids": ids})
        worst = max(worst, float(np.abs(logits - reference).max() / np.abs(reference).max()))
    # Written so that a NaN fails.
    if not worst <= TOLERANCE[precision]:
        raise NumericsError(
            f"the file differs from torch: max|err|/max|ref| = {worst:.2e}, allowed {TOLERANCE[precision]:.0e}",
            code="export-mismatch",
            hint="try the other exporter",
        )
    return worst


def _describe(path: Path) -> tuple[int, int]:
    import onnx

    model = onnx.load(path, load_external_data=False)
    return len(model.graph.node), next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep exporter chatter off the terminal: warnings, and log lines below ERROR."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
