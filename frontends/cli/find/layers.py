"""`wsec check --layers`: every value inside the model against onnxruntime, at every level."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from compiler.dialects import flow
from compiler.dialects.graph import tensor_type
from compiler.dims import evaluate as size_of
from compiler.driver import Options, lower
from compiler.flow_interpreter import Run, Step
from compiler.ir.core import Op, Value
from compiler.ir.passes import Pass
from compiler.passes.nets import Netlist
from frontends.cli.find.cores import locate
from frontends.cli.find.executed import Standing, Streams, compare_executed, received, record, standings
from frontends.cli.find.levels import (
    FlowMeaning,
    GraphMeaning,
    compare_level,
    difference,
    largest,
    relative,
)
from frontends.cli.find.names import Named, Names, node_outputs, value_names
from frontends.cli.find.routes import misrouted
from frontends.cli.find.scene import Scene
from frontends.cli.toolchain import Inside
from frontends.onnx.expose import References, references
from frontends.onnx.import_graph import import_model
from frontends.onnx.load import load_model
from runtime.check import Finding, Layer, tolerance
from runtime.image import Image
from runtime.session import Session

Array = np.ndarray[Any, Any]
Progress = Callable[[str, int, int], None]

INDEX = "index.json"


@dataclass(frozen=True)
class Looked:
    """What looking inside found. `outputs` are the machine's if it ran, with a tap on it."""

    layers: tuple[Layer, ...]
    fused: tuple[str, ...]
    observation: float
    finding: Finding | None
    outputs: dict[str, Array]
    session: Session | None


def look_inside(
    path: Path,
    image: Image,
    inputs: Mapping[str, Array],
    plain: Mapping[str, Array],
    inside: Inside,
    *,
    exact: bool,
    threads: int,
    progress: Progress,
) -> Looked:
    """Compare the values inside the model at `path` on these inputs; `plain` are onnxruntime's outputs.

    The model is lowered again as `image` was, for the names and shapes of its kernels. With `inside.save` the values
    stay there as .npy files that index.json lists. Raises InputError if the image was made by another compiler.
    """
    with ExitStack() as stack:
        folder = inside.save or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wsec-")))
        folder.mkdir(parents=True, exist_ok=True)
        found = _Looking(path, image, inputs, inside.levels, exact, threads, folder, progress).run(plain)
        layers = tuple(_only(layer, inside.mode) for layer in found.layers)
        return dataclasses.replace(found, layers=layers)


def _only(layer: Layer, mode: str) -> Layer:
    """The row with one of the readings only."""
    if mode == "accumulated":
        return dataclasses.replace(layer, isolated=None, bound=None, share=None)
    return dataclasses.replace(layer, max_rel=None) if mode == "isolated" else layer


class _Looking:
    def __init__(
        self, path: Path, image: Image, inputs: Mapping[str, Array], levels: Sequence[str], exact: bool, threads: int,
        folder: Path, progress: Progress,
    ) -> None:  # fmt: skip
        self.path, self.image, self.inputs, self.levels, self.exact = path, image, inputs, levels, exact
        self.threads, self.folder, self.progress = threads, folder, progress
        self.options = options_of(image)
        self.model = load_model(path)
        self.outputs = node_outputs(self.model)
        self.module, self.resources = import_model(path)
        self.names = Names(self.outputs, self.resources)

    def run(self, plain: Mapping[str, Array]) -> Looked:
        imported = value_names(self.module, self.outputs)
        self.lower("fuse")
        graph = value_names(self.module, self.outputs)
        refs = references(
            self.model, sizes_of(graph, dims_of(self.module, self.inputs)), self.inputs, self.folder, self.progress
        )
        layers: list[Layer] = []
        names = self.names.of(self.module)
        if "graph" in self.levels:
            layers += self.level(GraphMeaning(self.resources, self.inputs), names, refs, "fp32")
        session, streams = None, None
        outputs: dict[str, Array] = {}
        finding: Finding | None = None
        if "placed" in self.levels or "executed" in self.levels:
            self.lower("size")
            names = self.names.of(self.module)
        if "placed" in self.levels:
            layers += self.level(FlowMeaning(self.resources, self.inputs), names, refs, self.options.precision)
        if "executed" in self.levels:
            kernels = standings(self.module, self.image)
            axes = self.token_axes()
            streams, outputs, session = record(
                self.image, kernels, self.inputs, axes, self.folder, self.threads, self.progress
            )
            allowed = tolerance(self.options.precision, exact=self.exact)
            self.progress("comparing kernels", 0, 0)
            rows = list(compare_executed(kernels, streams, self.inputs, names, refs, self.resources, allowed))
            layers += [layer for _, layer in rows]
            finding = self.find(kernels, streams, rows, outputs)
        there = {named.value for named in names.values() if named.value in refs}
        fused = tuple(name for name in dict.fromkeys(imported.values()) if name not in there)
        moved = [relative(difference(refs.get(name), plain[name]), largest(plain[name])) for name in plain]
        self.write_index(refs, names, streams)
        return Looked(tuple(layers), fused, max(moved, default=0.0), finding, outputs, session)

    def find(
        self, kernels: list[Standing], streams: Streams, rows: list[tuple[Standing, Layer]], outputs: dict[str, Array]
    ) -> Finding | None:
        """Where the first wrong kernel goes wrong; if none does, the route on which the host's words went astray."""
        run = Run(self.resources, self.inputs, sums=np.float64)
        scene = Scene(self.image, Netlist(self.module), kernels, streams, self.inputs, run, self.threads)
        wrong = next(((kernel, layer) for kernel, layer in rows if layer.wrong), None)
        if wrong is not None:
            self.progress("looking for the core", 0, 0)
            return locate(scene, *wrong)
        for op in self.module.body.find("flow.output"):
            (sent,) = received(Step(op, 0), streams, run)
            if not np.array_equal(sent.reshape(-1), outputs[str(op.attrs["name"])].reshape(-1), equal_nan=True):
                return misrouted(scene, None, None)
        return None

    def lower(self, phase: str) -> None:
        lower(
            self.module, self.resources, self.options, to=phase, hooks=[self.after], progress=self.progress,
            target=self.image.target,
        )  # fmt: skip

    def after(self, _index: int, _step: Pass, module: Op, _seconds: float) -> None:
        self.names.note(module)

    def level(
        self, meaning: GraphMeaning | FlowMeaning, names: Mapping[Step, Named], refs: References, precision: str
    ) -> list[Layer]:
        self.progress(f"comparing level {meaning.level}", 0, 0)
        allowed = tolerance(precision, exact=self.exact)
        return list(compare_level(self.module, meaning, names, refs, allowed))

    def token_axes(self) -> tuple[int, ...]:
        """How many tokens, as the first input counts them."""
        op: Op = self.module.body.find("flow.input")[0]
        array = np.asarray(self.inputs[str(op.attrs["name"])])
        features = flow.stream(op.result.type).features
        axes, count = array.ndim, 1
        while axes and count != features and "limit" not in op.attrs:
            axes -= 1
            count = prod(array.shape[axes:])
        return array.shape[:axes]

    def write_index(self, refs: References, names: Mapping[Step, Named], streams: Streams | None) -> None:
        """What is in the folder; a kernel's features may be in another order than the value's of the same name."""
        entries: list[dict[str, Any]] = [{"level": "onnxruntime", "name": n, "file": f} for n, f in refs.files()]
        for kernel, file in streams.files() if streams is not None else ():
            entry = {"level": "executed", "name": names[kernel.step].value, "kernel": kernel.name, "file": file}
            shared = {"pass_number": kernel.step.number} if flow.passes_of(kernel.op) > 1 else {}
            entries.append({**entry, **shared})
        (self.folder / INDEX).write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")


def options_of(image: Image) -> Options:
    """The options an image was compiled with, as far as its provenance tells."""
    told: Any = image.manifest.get("provenance", {}).get("options", {})
    known = {field.name for field in dataclasses.fields(Options)}
    return Options(**{key: value for key, value in told.items() if key in known})


def dims_of(module: Op, inputs: Mapping[str, Array]) -> dict[str, int]:
    """The sizes that the inputs of a `graph` module give to its symbolic dimensions."""
    dims: dict[str, int] = {}
    for op in module.body.find("graph.input"):
        shape = np.shape(inputs[str(op.attrs["name"])])
        declared = tensor_type(op.result).shape
        dims.update({dim: size for dim, size in zip(declared, shape, strict=True) if isinstance(dim, str)})
    return dims


def sizes_of(names: Mapping[Value, str], dims: Mapping[str, int]) -> dict[str, int]:
    """Bytes of the named values by ONNX name."""
    sizes: dict[str, int] = {}
    for value, name in names.items():
        type = tensor_type(value)
        width = {"i64": 8, "bool": 1, "f16": 2}.get(type.dtype, 4)
        sizes[name] = width * prod(size_of(dim, dims) for dim in type.shape)
    return sizes
