"""The first pass, or the first layer, that breaks a model.

After every pass the module is run by the interpreter of its level, on the values it still shares with onnxruntime: each
must be within its derived bound given onnxruntime's own values before it, and within the tolerance from the inputs on.
So a pass is found out by what it does to one value, long before outputs leave their tolerance. What no interpreter runs
(code generation, packaging) is judged by running the image.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compiler.driver import Options, lower
from compiler.ir.core import Op
from compiler.ir.passes import Pass, Progress
from frontends.cli.exactness import is_exact
from frontends.cli.find.layers import dims_of, sizes_of
from frontends.cli.find.levels import FlowMeaning, GraphMeaning, compare_level
from frontends.cli.find.names import Names, node_outputs, value_names
from frontends.cli.toolchain import Inside, check_model, finish_image, open_module
from frontends.onnx.expose import References, references
from frontends.onnx.load import load_model
from runtime.check import CheckReport, Layer, tolerance
from runtime.errors import InputError

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Suspect:
    """Where a model breaks. `culprit`: the pass or layer; None if nothing breaks. `tried`: those found to be fine.

    `value` and `layer` are the first value outside its bounds; an output that the machine gets wrong has no `layer`.
    """

    by: str
    culprit: str | None
    tried: tuple[str, ...]
    value: str = ""
    layer: Layer | None = None

    def to_json(self) -> dict[str, Any]:
        layer = None if self.layer is None else {k: _finite(v) for k, v in asdict(self.layer).items()}
        return {"schema": 1, **asdict(self), "layer": layer}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value


class _FoundError(Exception):
    """Ends the lowering: the pass that has just run breaks something."""

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer.op)
        self.layer = layer


def by_pass(
    path: Path, options: Options, *, tokens: int, batch: int, seed: int, threads: int, progress: Progress
) -> Suspect:
    """The first pass after which a value of the model at `path` is wrong. Raises what importing and lowering raise."""
    search = _Passes(path, options, tokens, batch, seed, progress)
    suspect = search.run()
    if suspect.culprit is not None:
        return suspect
    image, _ = finish_image(open_module(path), options, progress=progress)
    inside = Inside("executed")
    report = check_model(
        path, image, tokens=tokens, batch=batch, seed=seed, threads=threads, inside=inside, progress=progress
    )
    if report.passed:
        return suspect
    wrong = next((layer for layer in report.layers if not layer.passed), None)
    return Suspect("pass", "codegen", suspect.tried, _value(report, wrong), wrong)


class _Passes:
    def __init__(self, path: Path, options: Options, tokens: int, batch: int, seed: int, progress: Progress) -> None:
        self.path, self.options, self.progress = path, options, progress
        self.model = load_model(path)
        self.outputs = node_outputs(self.model)
        opened = open_module(path, progress=progress)
        self.module, self.resources = opened.module, opened.resources
        self.exact = is_exact(self.module, self.resources, options.precision)
        self.inputs = graph_inputs(self.module, tokens, batch, seed, integers=self.exact)
        self.tried: list[str] = []
        self.names = Names(self.outputs, self.resources)

    def run(self) -> Suspect:
        names = value_names(self.module, self.outputs)
        with tempfile.TemporaryDirectory(prefix="wsec-") as folder:
            sizes = sizes_of(names, dims_of(self.module, self.inputs))
            self.references = references(self.model, sizes, self.inputs, Path(folder), self.progress)
            try:
                self.judge("import")
                lower(self.module, self.resources, self.options, to="route", hooks=[self.after], progress=self.progress)
            except _FoundError as found:
                return Suspect("pass", self.tried[-1], tuple(self.tried[:-1]), found.layer.name, found.layer)
        return Suspect("pass", None, tuple(self.tried))

    def after(self, _index: int, step: Pass, _module: Op, _seconds: float) -> None:
        self.judge(step.name)

    def judge(self, name: str) -> None:
        """Raises _FoundError if a value is wrong in the module as it is now."""
        self.progress(f"after {name}", 0, 0)
        self.tried.append(name)
        self.names.note(self.module)
        is_graph = any(op.dialect == "graph" for op in self.module.body.ops)
        meaning = (GraphMeaning if is_graph else FlowMeaning)(self.resources, self.inputs)
        allowed = tolerance("fp32" if is_graph else self.options.precision, exact=self.exact)
        found: References = self.references
        for layer in compare_level(self.module, meaning, self.names.of(self.module), found, allowed):
            if not layer.passed:
                raise _FoundError(layer)


def by_layer(
    path: Path, options: Options, *, tokens: int, batch: int, seed: int, threads: int, progress: Progress
) -> Suspect:
    """The first layer, in the model's order and from the graph down to the machine, that is wrong."""
    report = check_model(
        path, options=options, tokens=tokens, batch=batch, seed=seed, threads=threads, inside=Inside(),
        progress=progress,
    )  # fmt: skip
    tried: list[str] = []
    for layer in report.layers:
        name = f"{layer.where} ({layer.level})"
        if layer.wrong:
            return Suspect("layer", name, tuple(tried), layer.name, layer)
        tried.append(name)
    drifted = next((layer for layer in report.layers if layer.drifted), None)
    if report.passed:
        return Suspect("layer", None, tuple(tried))
    where = f"{drifted.where} ({drifted.level})" if drifted is not None else _value(report, None)
    return Suspect("layer", where, tuple(tried), _value(report, drifted), drifted)


def _value(report: CheckReport, layer: Layer | None) -> str:
    return layer.name if layer is not None else next((out.name for out in report.outputs if not out.passed), "")


def graph_inputs(module: Op, tokens: int, batch: int, seed: int, *, integers: bool) -> dict[str, Array]:
    """Random arrays for the inputs of a `graph` module, as `runtime.check.random_inputs` makes them for an image."""
    from compiler.dialects.graph import tensor_type
    from runtime.check import random_inputs
    from runtime.image import Port

    ports = []
    for op in module.body.find("graph.input"):
        type = tensor_type(op.result)
        limit = None
        if type.dtype == "i64":
            rows = [_rows(user) for user in op.result.users]
            limit = min((count for count in rows if count), default=None)
        elif type.dtype not in ("f32", "f16"):
            raise InputError(f"input {op.attrs['name']} has elements of {type.dtype}", code="element-type")
        ports.append(Port(str(op.attrs["name"]), "in", type.dtype, type.shape, 1, (), limit))
    return random_inputs(ports, tokens=tokens, batch=batch, seed=seed, integers=integers)


def _rows(user: Op) -> int:
    """Rows of the table a gather looks in."""
    from compiler.dialects.graph import tensor_type

    if user.name != "graph.gather":
        return 0
    rows = tensor_type(user.operands[0]).shape[0]
    return rows if isinstance(rows, int) else 0
