"""ONNX to `graph` IR.

load     read and check the file                                        frontends.onnx.load
plan     drop dead nodes, tell data from shape arithmetic, list what    frontends.onnx.support
         is unknown
probe    run the shape arithmetic for a few input sizes                 frontends.onnx.probe
convert  one converter per op; shape arithmetic has vanished            frontends.onnx.ops
finish   hash the constants that are used                               frontends.onnx.conversion
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from compiler.dialects import graph
from compiler.ir.core import Loc, Op, TensorType, Value, module
from compiler.resources import ResourceStore
from frontends.onnx.conversion import PENDING, Conversion, Unsupported
from frontends.onnx.load import LoadedModel, load_model
from frontends.onnx.ops.elementwise import ELEMENTWISE, Converter
from frontends.onnx.ops.layout import LAYOUT
from frontends.onnx.ops.linear import LINEAR
from frontends.onnx.probe import Probed, probe
from frontends.onnx.support import Plan, Problem, histogram, plan, problem, unsupported
from frontends.onnx.tied import transposed_tables
from runtime.errors import InputError

CONVERTERS: dict[str, Converter] = {**ELEMENTWISE, **LAYOUT, **LINEAR}


@dataclass(frozen=True)
class LintReport:
    """What `wsec lint` says. Counts are by op type; `parameters` are the elements of float constants with axes."""

    path: Path
    opset: int
    inputs: tuple[tuple[str, str], ...]
    outputs: tuple[tuple[str, str], ...]
    parameters: int
    supported: Mapping[str, int]
    unsupported: Mapping[str, int]
    problems: tuple[Problem, ...]


def import_model(path: Path) -> tuple[Op, ResourceStore]:
    """The model at `path` as a `graph` module in phase `import`, and its constants.

    Raises InputError for a bad file, or with code `unsupported-op` and a list of everything that cannot be imported,
    before any weight is read.
    """
    model = load_model(Path(path))
    todo = plan(model, CONVERTERS)
    if todo.problems:
        raise unsupported(model, todo.problems)
    probed = probe(model, todo.nodes, todo.known)
    conversion, problems = convert(model, todo, probed, transposed_tables(model, todo.nodes))
    if problems:
        raise unsupported(model, problems)
    root = module({"sym_name": model.path.stem, "phase": "import"})
    for op in _live(conversion.block.ops):
        root.body.append(op)
    store = ResourceStore()
    conversion.finish(root, store)
    return root, store


def lint(path: Path) -> LintReport:
    """What of the model at `path` can be imported. No weight is read. Raises InputError for a bad file."""
    model = load_model(Path(path))
    todo = plan(model, CONVERTERS)
    problems, types = todo.problems, dict[str, str]()
    if not problems:
        probed = probe(model, todo.nodes, todo.known)
        conversion, found = convert(model, todo, probed, {})
        problems = tuple(found)
        types = {name: _spelled(conversion, name) for name in (*(i.name for i in model.inputs), *model.outputs)}
    bad = {entry.node for entry in problems}
    return LintReport(
        path=model.path,
        opset=model.opset,
        inputs=tuple((info.name, types.get(info.name, "")) for info in model.inputs),
        outputs=tuple((name, types.get(name, "")) for name in model.outputs),
        parameters=sum(weight.size for weight in model.weights.values() if weight.shape and weight.dtype.kind == "f"),
        supported=histogram(node.op_type for node in todo.nodes if node.name not in bad),
        unsupported=histogram(entry.op_type for entry in problems),
        problems=problems,
    )


def convert(
    model: LoadedModel, todo: Plan, probed: Probed, transposed: dict[str, str]
) -> tuple[Conversion, list[Problem]]:
    """Write the ops of every data node; constants stay pending. All problems are collected, none stops the rest."""
    c = Conversion(model, probed, transposed)
    problems: list[Problem] = []
    for info in model.inputs:
        c.loc = Loc((info.name,))
        try:
            c.values[info.name] = c.emit(graph.input_def(types=[c.type_of(info.name)], loc=c.loc, name=info.name))
        except Unsupported as error:
            raise InputError(f"input {info.name}: {error}", code="element-type", where=str(model.path)) from None
    for node in todo.nodes:
        if node.index in todo.known:
            continue
        c.loc = Loc((node.name,))
        try:
            results = CONVERTERS[node.op_type](c, node)
        except Unsupported as reason:
            problems.append(problem(model, node, str(reason)))
            results = [_placeholder() for _ in node.outputs]
        c.values.update(zip(node.outputs, results, strict=False))
    for name in model.outputs:
        c.loc = Loc((name,))
        try:
            c.block.append(graph.output_def(c.operand(name), loc=c.loc, name=name))
        except Unsupported as error:
            raise InputError(f"output {name}: {error}", code="bad-graph", where=str(model.path)) from None
    return c, problems


def _placeholder() -> Value:
    """Stands for the result of a node that cannot be converted, so that the nodes after it are looked at too."""
    return graph.constant_def(types=[TensorType((), "f32")], value=PENDING).result


def _live(ops: list[Op]) -> list[Op]:
    """`ops` without those that no output needs; inputs stay, they are the model's interface."""
    kept: list[Op] = []
    for op in reversed(ops):
        if op.name in (graph.input_def.name, graph.output_def.name) or any(value.uses for value in op.results):
            kept.append(op)
        else:
            op.drop_operands()
    return kept[::-1]


def _spelled(c: Conversion, name: str) -> str:
    try:
        return str(c.type_of(name))
    except Unsupported:
        return "unknown"
