"""Which nodes matter, which of them only do shape arithmetic, and which ones wsec does not know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from frontends.onnx.load import DEFAULT_DOMAIN, LoadedModel, Node
from frontends.onnx.probe import is_weight
from frontends.onnx.text import shown
from runtime.errors import InputError

# Ops evaluated on shapes and constants. Each one's result has a size that follows from shapes and small operands, so
# the budget holds before anything is computed.
EVALUATED = frozenset({
    "Abs", "Add", "And", "Cast", "Ceil", "Concat", "ConstantOfShape", "Cos", "CumSum", "Div", "Equal", "Exp",
    "Expand", "EyeLike", "Flatten", "Floor", "Gather", "GatherElements", "GatherND", "Greater", "GreaterOrEqual",
    "Identity", "IsInf", "IsNaN", "Less", "LessOrEqual", "Log", "Max", "Min", "Mod", "Mul", "Neg", "Not", "Or", "Pow",
    "Range", "Reciprocal", "ReduceAll", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "Reshape",
    "ScatterND", "Shape", "Sin", "Size", "Slice", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tile", "Transpose",
    "Trilu", "Unsqueeze", "Where", "Xor",
})  # fmt: skip
# Their results depend on their input's shape, not on its contents.
SHAPE_QUERIES = frozenset({"Shape", "Size"})


@dataclass(frozen=True)
class Problem:
    """Something about a node that cannot be imported; `reason` is empty where the op itself is unknown."""

    op_type: str
    domain: str
    opset: int
    reason: str
    node: str


@dataclass(frozen=True, eq=False)
class Plan:
    """The nodes that some output needs, in order, and which of them are evaluated rather than converted."""

    nodes: tuple[Node, ...]
    known: set[int]
    problems: tuple[Problem, ...]


def plan(model: LoadedModel, convertible: Collection[str]) -> Plan:
    """Sort the nodes of `model`; only names and types are looked at, so this is quick whatever the model's size."""
    data = {info.name for info in model.inputs} | {w.name for w in model.weights.values() if is_weight(w)}
    nodes = _live(model)
    known: set[int] = set()
    problems = []
    for node in nodes:
        is_data = node.op_type not in SHAPE_QUERIES and not data.isdisjoint(node.inputs)
        if is_data:
            data.update(node.outputs)
            data.discard("")
        else:
            known.add(node.index)
        supported = convertible if is_data else EVALUATED
        if node.op_type not in supported or node.proto.domain not in DEFAULT_DOMAIN or node.has_subgraph:
            problems.append(problem(model, node))
    return Plan(nodes, known, tuple(problems))


def problem(model: LoadedModel, node: Node, reason: str = "") -> Problem:
    """What to say about `node`."""
    domain = "" if node.proto.domain in DEFAULT_DOMAIN else node.proto.domain
    return Problem(node.op_type, domain or "ai.onnx", model.opsets.get(domain, 0), reason, node.name)


def unsupported(model: LoadedModel, problems: Iterable[Problem]) -> InputError:
    """One error that lists every problem: op, domain, opset, how often, and the nodes by name."""
    groups: dict[tuple[str, str, int, str], list[str]] = {}
    for entry in problems:
        key = (shown(entry.op_type), shown(entry.domain), entry.opset, entry.reason)
        groups.setdefault(key, []).append(shown(entry.node))
    lines = [
        f"  {len(nodes)} x {op} ({domain}, opset {opset}){': ' + reason if reason else ''}: {', '.join(nodes)}"
        for (op, domain, opset, reason), nodes in sorted(groups.items())
    ]
    count = sum(len(nodes) for nodes in groups.values())
    return InputError(
        "\n".join([f"{count} nodes cannot be imported:", *lines]),
        code="unsupported-op",
        where=str(model.path),
        hint="`wsec lint` prints this list; exporting with another opset or exporter may avoid an op",
    )


def histogram(nodes: Iterable[str]) -> dict[str, int]:
    """Counts by name, most frequent first, then by name."""
    return dict(sorted(Counter(nodes).items(), key=lambda item: (-item[1], item[0])))


def _live(model: LoadedModel) -> tuple[Node, ...]:
    needed = set(model.outputs)
    live = []
    for node in reversed(model.nodes):
        if not needed.isdisjoint(filter(None, node.outputs)):
            needed.update(node.inputs)
            live.append(node)
    return tuple(reversed(live))
