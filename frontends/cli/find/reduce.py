"""A failing ONNX model becomes a small one that fails in the same way.

1. The output is cut to the first inner value that fails already; what it does not need goes.
2. The inputs are cut to the latest values from which it still fails: they become inputs of the model.
3. Nodes that hand on a value of the type they are given are bypassed, in ever smaller groups (ddmin: Zeller and
   Hildebrandt, IEEE Trans. Softw. Eng. 28(2), 2002), until none can go.

What a failure is says a judge, by a word for how a model fails; only a model with the same word counts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import onnx

from compiler.ir.core import TensorType
from frontends.cli.arguments import require_not_input
from frontends.cli.files import write_whole
from frontends.onnx.conversion import Conversion, Unsupported
from frontends.onnx.gather import bytes_of, gathered
from frontends.onnx.import_graph import CONVERTERS
from frontends.onnx.load import MAX_FILE_BYTES, LoadedModel, load_model
from frontends.onnx.probe import probe
from frontends.onnx.support import plan
from runtime.errors import InputError, UsageError

# Says how the model in a file fails, in a word that is the same for the same failure; empty if it is fine.
Judge = Callable[[Path], str]

ONNX_TYPES = {
    "f32": onnx.TensorProto.FLOAT,
    "f16": onnx.TensorProto.FLOAT16,
    "i64": onnx.TensorProto.INT64,
    "i32": onnx.TensorProto.INT32,
    "bool": onnx.TensorProto.BOOL,
}
LARGEST_INSIDE = MAX_FILE_BYTES  # bytes of a file with its weights inside


@dataclass
class Reduced:
    """What came of it: nodes before and after, how it fails, and how many models were tried."""

    before: int
    after: int
    failure: str
    tried: int = 0
    steps: list[str] = field(default_factory=list)


def reduce(path: Path, output: Path, judge: Judge, progress: Callable[[str, int, int], None]) -> Reduced:
    """Write a small model that fails as the one at `path` does to `output`, see `_write`.

    Raises UsageError if the model does not fail, InputError for a file that is no model, and if `output` is one of the
    model's files or cannot be written.
    """
    model = load_model(path)
    data = _data_file(output)
    for written in (output, data):
        require_not_input(written, model.files)
    with _workplace(model, output) as folder:
        reducer = _Reducer(model, folder, judge, progress)
        result = reducer.run()
    _write(reducer.best, model, output)
    return result


def _data_file(output: Path) -> Path:
    return output.with_name(f"{output.name}.data")


def _write(proto: onnx.ModelProto, model: LoadedModel, output: Path) -> None:
    """Write the reduced model with its weights inside; where no file can hold them, they go into OUTPUT.data."""
    outside = [tensor for tensor in proto.graph.initializer if tensor.data_location == onnx.TensorProto.EXTERNAL]
    if proto.ByteSize() + sum(model.weights[tensor.name].nbytes for tensor in outside) < LARGEST_INSIDE:
        for tensor in outside:
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
            tensor.raw_data = model.weights[tensor.name].array().tobytes()
    else:
        data = _data_file(output)
        proto, pieces = gathered(proto, model.weights, data.name)
        write_whole(data, lambda file: file.writelines(bytes_of(pieces)))
    write_whole(output, lambda file: file.write(proto.SerializeToString()))


@contextmanager
def _workplace(model: LoadedModel, output: Path) -> Iterator[Path]:
    """A folder for candidates, which need the model's data files beside them: linked, or copied if that cannot be."""
    with tempfile.TemporaryDirectory(prefix=".wsec-", dir=output.resolve().parent) as name:
        folder = Path(name)
        locations = {
            entry.value
            for tensor in model.proto.graph.initializer
            for entry in tensor.external_data
            if entry.key == "location"
        }
        for location in sorted(locations):
            target = folder / location  # `load_model` has refused what leads out of the model's folder
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link((model.path.parent / location).resolve(), target)
            except OSError:
                shutil.copyfile(model.path.parent / location, target)
        yield folder


class _Reducer:
    def __init__(
        self, model: LoadedModel, folder: Path, judge: Judge, progress: Callable[[str, int, int], None]
    ) -> None:
        self.judge, self.progress = judge, progress
        # A name of its own: a data file linked into the folder may have any.
        handle, name = tempfile.mkstemp(".onnx", "candidate", folder)
        os.close(handle)
        self.candidate = Path(name)
        self.types = value_types(model)
        self.best = pruned(model.proto)
        self.result = Reduced(len(self.best.graph.node), 0, "")

    def run(self) -> Reduced:
        self.result.failure = self.judged(self.best)
        if not self.result.failure:
            raise UsageError(
                "the model does not fail, so there is nothing to keep",
                code="does-not-fail",
                hint="give the options with which it fails, or --check CMD that exits with another code than 0",
            )
        self.cut_output()
        self.cut_inputs()
        self.bypass()
        self.result.after = len(self.best.graph.node)
        return self.result

    def judged(self, proto: onnx.ModelProto) -> str:
        self.result.tried += 1
        self.progress(f"model {self.result.tried}, {len(self.best.graph.node)} nodes so far", 0, 0)
        self.candidate.write_bytes(proto.SerializeToString())
        return self.judge(self.candidate)

    def accept(self, proto: onnx.ModelProto | None, step: str) -> bool:
        """Take a smaller model if it fails in the same way."""
        if proto is None or self.judged(proto) != self.result.failure:
            return False
        self.best = proto
        self.result.steps.append(f"{step}: {len(proto.graph.node)} nodes")
        return True

    def cut_output(self) -> None:
        """The first value that fails: by bisection, since what is computed from a wrong value is mostly wrong too."""
        names = [name for node in self.best.graph.node for name in node.output if self.is_data(name)]
        low, high = 0, len(names) - 1
        found = None
        while low <= high:
            middle = (low + high) // 2
            candidate = with_outputs(self.best, [names[middle]], self.types)
            if self.judged(candidate) == self.result.failure:
                found, high = candidate, middle - 1
            else:
                low = middle + 1
        if found is not None and len(found.graph.node) < len(self.best.graph.node):
            self.best = found
            self.result.steps.append(f"output {found.graph.output[0].name}: {len(found.graph.node)} nodes")

    def cut_inputs(self) -> None:
        """The shortest tail of nodes that fails on inputs of its own: twice as long each time, then bisected."""
        count = len(self.best.graph.node)
        failing, length = count, 1
        while length < count:
            if self.judged(self.tail(length)) == self.result.failure:
                failing = length
                break
            length *= 2
        low = failing // 2 + 1
        while low < failing:
            middle = (low + failing) // 2
            if self.judged(self.tail(middle)) == self.result.failure:
                failing = middle
            else:
                low = middle + 1
        if failing < count:
            self.accept(self.tail(failing), "inputs")

    def tail(self, length: int) -> onnx.ModelProto:
        """The last nodes, computed from what comes before them as inputs of the model."""
        return with_inputs(self.best, len(self.best.graph.node) - length, self.types, self.is_data)

    def is_data(self, name: str) -> bool:
        """Whether a value is a tensor of floats whose axes have plain sizes or names, so that it may be an input."""
        type = self.types.get(name)
        if type is None or type.dtype not in ("f32", "f16") or not type.shape:
            return False
        named = [dim for dim in type.shape if isinstance(dim, str)]
        return bool(named) and all(dim.isidentifier() for dim in named) and isinstance(type.shape[-1], int)

    def bypass(self) -> None:
        """Leave out groups of nodes, halves first, until no single one can go."""
        size = max(1, len(self.best.graph.node) // 2)
        while True:
            start, changed = 0, False
            while start < len(self.best.graph.node):
                chosen = range(start, min(start + size, len(self.best.graph.node)))
                if self.accept(without(self.best, chosen, self.types), f"without {len(chosen)}"):
                    changed = True
                else:
                    start += size
            if size == 1 and not changed:
                return
            size = max(1, size // 2)


def value_types(model: LoadedModel) -> dict[str, TensorType]:
    """The types of the model's values as the importer finds them; none if it cannot run its shape arithmetic."""
    try:
        todo = plan(model, CONVERTERS)
        conversion = Conversion(model, probe(model, todo.nodes, todo.known), {})
    except InputError:
        return {}
    types = {}
    for node in todo.nodes:
        for name in node.outputs:
            try:
                types[name] = conversion.type_of(name)
            except (Unsupported, KeyError):
                continue
    for info in model.inputs:
        try:
            types[info.name] = conversion.type_of(info.name)
        except (Unsupported, KeyError):
            continue
    return types


def pruned(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy without nodes, constants and inputs that no output needs, and without notes on inner values."""
    graph = proto.graph
    needed = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    for name in ("node", "initializer", "input", "value_info"):
        result.graph.ClearField(name)
    result.graph.node.extend(reversed(kept))
    result.graph.initializer.extend(tensor for tensor in graph.initializer if tensor.name in needed)
    result.graph.input.extend(info for info in graph.input if info.name in needed)
    return result


def with_outputs(proto: onnx.ModelProto, names: Sequence[str], types: Mapping[str, TensorType]) -> onnx.ModelProto:
    """The part of the model that computes these values."""
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    result.graph.ClearField("output")
    result.graph.output.extend(_info(name, types) for name in names)
    return pruned(result)


def _info(name: str, types: Mapping[str, TensorType]) -> onnx.ValueInfoProto:
    """An input or output, with its type if that is known."""
    type = types.get(name)
    if type is None:
        return onnx.ValueInfoProto(name=name)
    return onnx.helper.make_tensor_value_info(name, ONNX_TYPES[type.dtype], list(type.shape))


def with_inputs(
    proto: onnx.ModelProto, first: int, types: Mapping[str, TensorType], is_data: Callable[[str], bool]
) -> onnx.ModelProto:
    """The nodes from number `first` on; floats from before become inputs, what else they read stays computed."""
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    before = list(proto.graph.node)[:first]
    made = {name for node in before for name in node.output}
    keep: list[onnx.NodeProto] = []
    needed = {name for node in list(proto.graph.node)[first:] for name in node.input if name in made}
    inputs: dict[str, None] = {}
    for node in reversed(before):
        wanted = needed.intersection(node.output)
        if not wanted:
            continue
        if all(is_data(name) for name in wanted):
            inputs.update(dict.fromkeys(sorted(wanted)))
            continue
        keep.append(node)
        needed.update(name for name in node.input if name in made)
    result.graph.ClearField("node")
    result.graph.node.extend([*reversed(keep), *list(proto.graph.node)[first:]])
    result.graph.input.extend(_info(name, types) for name in inputs)
    return pruned(result)


def without(proto: onnx.ModelProto, chosen: Sequence[int], types: Mapping[str, TensorType]) -> onnx.ModelProto | None:
    """The model with these nodes bypassed, or None if one of them hands on no value of the type it is given."""
    outputs = {output.name for output in proto.graph.output}
    constants = {tensor.name for tensor in proto.graph.initializer}
    renamed: dict[str, str] = {}
    for number in chosen:
        node = proto.graph.node[number]
        if len(node.output) != 1 or node.output[0] not in types:
            return None
        same = [
            renamed.get(name, name)
            for name in node.input
            if name not in constants and types.get(name) == types[node.output[0]]
        ]
        if not same:
            return None
        renamed[node.output[0]] = same[0]
    if all(renamed.get(name, name) in {info.name for info in proto.graph.input} for name in outputs):
        return None  # nothing would be computed
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    result.graph.ClearField("node")
    for number, node in enumerate(proto.graph.node):
        if number in chosen:
            continue
        kept = result.graph.node.add()
        kept.CopyFrom(node)
        for place, name in enumerate(kept.input):
            kept.input[place] = renamed.get(name, name)
    names = [renamed.get(output.name, output.name) for output in proto.graph.output]
    return with_outputs(result, list(dict.fromkeys(names)), types)


def command_judge(command: Sequence[str]) -> Judge:
    """By the exit code of a command, which is given the model's file in place of `{}` or as its last word."""

    def judge(path: Path) -> str:
        words = [word.replace("{}", str(path)) for word in command]
        if words == list(command):
            words.append(str(path))
        try:
            code = subprocess.run(words, check=False, capture_output=True).returncode
        except OSError as error:
            raise UsageError(f"cannot run {command[0]!r}: {error.strerror}", code="bad-command") from None
        return f"exit {code}" if code else ""

    return judge
