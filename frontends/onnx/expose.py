"""The values inside a model as onnxruntime computes them, streamed to disk.

They are made outputs of a copy of the graph; the model itself, and what runs on the machine, never change. Making a
value an output can keep onnxruntime from fusing it away and so move results in their last bits: the copy runs without
any fusion, and its outputs, kept as well, tell how far they are from the plain model's. Memory is bounded: values are
exposed a group at a time, and one of more than LARGEST bytes is left out, which is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from frontends.onnx.load import LoadedModel
from runtime.errors import InputError

Array = np.ndarray[Any, Any]

GROUP_BYTES = 1 << 28  # of the values exposed at a time
LARGEST = 1 << 30  # bytes; a larger value is not looked at
# Copies of a model are made in memory, so their external data is found by this option's folder.
EXTERNAL_FOLDER = "session.model_external_initializers_file_folder_path"


@dataclass
class References:
    """Values on disk by ONNX name; `left_out`: those that were too large."""

    folder: Path
    left_out: list[str] = field(default_factory=list)
    _files: dict[str, Path] = field(default_factory=dict)

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def get(self, name: str) -> Array:
        """The value, mapped from disk. Raises KeyError if there is none."""
        array: Array = np.load(self._files[name], mmap_mode="r", allow_pickle=False)
        return array

    def files(self) -> list[tuple[str, str]]:
        """Names with their files' names."""
        return [(name, path.name) for name, path in self._files.items()]

    def put(self, name: str, array: Array) -> None:
        """Keep a value in a file of its own; the file's name is a number, since names come from strangers."""
        path = self.folder / f"{len(self._files):05d}.npy"
        np.save(path, array, allow_pickle=False)
        self._files[name] = path


def references(
    model: LoadedModel,
    sizes: Mapping[str, int],
    inputs: Mapping[str, Array],
    folder: Path,
    progress: Callable[[str, int, int], None],
) -> References:
    """The values named in `sizes` (bytes of each) and all outputs of the model, on these inputs.

    Raises InputError if onnxruntime refuses the model.
    """
    found = References(folder, [name for name, size in sizes.items() if size > LARGEST])
    exposed = [name for name in sizes if name not in found.left_out]
    groups = list(_groups(exposed, sizes))
    others = [name for name in model.outputs if name not in exposed]
    for number, group in enumerate(groups):
        progress("running onnxruntime", number, len(groups))
        wanted = [*group, *(others if number == 0 else ())]
        for name, value in zip(wanted, run_exposed(model, wanted, inputs), strict=True):
            found.put(name, value)
    return found


def _groups(names: Sequence[str], sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Runs of names of at most GROUP_BYTES, but always one; a single empty run if there are no names."""
    group: list[str] = []
    total = 0
    for name in names:
        if group and total + sizes[name] > GROUP_BYTES:
            yield group
            group, total = [], 0
        group.append(name)
        total += sizes[name]
    yield group


def run_exposed(model: LoadedModel, names: Sequence[str], inputs: Mapping[str, Array]) -> list[Array]:
    """Values of the model by name, from a copy that has them as outputs and runs without fusions."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model.proto)
    known = {output.name for output in copy.graph.output}
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names) if name not in known)
    return run_model(copy, model.path.parent, names, inputs)


def run_model(
    proto: onnx.ModelProto, folder: Path, names: Sequence[str], inputs: Mapping[str, Array], *, fusions: bool = False
) -> list[Array]:
    """Outputs of a model in memory whose external data lies in `folder`. Raises InputError if it is refused."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # not errors: they are raised
    options.add_session_config_entry(EXTERNAL_FOLDER, str(folder.resolve()))
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if fusions else levels.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        values: list[Array] = session.run(list(names), dict(inputs))
    except Exception as error:  # it raises pybind classes without a common base
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"onnxruntime cannot run it: {reason}", code="reference-failed") from error
    return values
