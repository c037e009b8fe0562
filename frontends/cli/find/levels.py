"""Levels graph and placed: every op in plain numpy beside onnxruntime's values, in two readings at once.

accumulated   from the graph's inputs on, as the op's level computes
isolated      each op on the reference's own values. Between two values that onnxruntime has too there may be ops whose
              result it has not; then errors of these are carried on as part of the next one's bound.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from compiler import flow_bounds, graph_bounds
from compiler.bounds import Rounding
from compiler.dialects.flow import passes_of
from compiler.flow_interpreter import Run, evaluate
from compiler.graph_interpreter import Frame, evaluate_op
from compiler.ir.core import Op, Value
from compiler.resources import ResourceStore
from frontends.cli.find.names import arranged, label, op_name
from frontends.onnx.expose import References
from runtime.check import Layer
from runtime.errors import InputError

Array = np.ndarray[Any, Any]


class Meaning(ABC):
    """What ops of a level mean, and how far onnxruntime may be from it."""

    level: str

    @abstractmethod
    def evaluate(self, op: Op, arguments: list[Array]) -> Array: ...

    @abstractmethod
    def bound(self, op: Op, arguments: list[Array], errors: list[Array], result: Array) -> Array: ...


class GraphMeaning(Meaning):
    """`graph` ops against onnxruntime: both round in fp32."""

    level = "graph"

    def __init__(self, resources: ResourceStore, inputs: Mapping[str, Array]) -> None:
        self.frame = Frame(resources, inputs)

    def evaluate(self, op: Op, arguments: list[Array]) -> Array:
        return evaluate_op(op, arguments, self.frame)

    def bound(self, op: Op, arguments: list[Array], errors: list[Array], result: Array) -> Array:
        return graph_bounds.bound(op, arguments, errors, result, self.frame)


class FlowMeaning(Meaning):
    """`flow` ops against onnxruntime: both round in fp32, and kernels round what they store."""

    level = "placed"

    def __init__(self, resources: ResourceStore, inputs: Mapping[str, Array]) -> None:
        self.run = Run(resources, inputs)

    def evaluate(self, op: Op, arguments: list[Array]) -> Array:
        return evaluate(op, arguments, self.run)

    def bound(self, op: Op, arguments: list[Array], errors: list[Array], result: Array) -> Array:
        return flow_bounds.bound(op, arguments, errors, result, self.run, Rounding(sides=2, half=True))


@dataclass
class _Seen:
    """A value in both readings; `error` bounds that of the isolated one."""

    accumulated: Array
    isolated: Array
    error: Array


def refuse_shared(layers: int) -> None:
    """Raise InputError if several layers share kernels: there is no value of a layer's own then."""
    if layers > 1:
        raise InputError(
            f"{layers} layers share kernels here, which send a token once for each of them; only level graph can be "
            "looked at",
            code="shared-kernels",
            hint="compile without --fold to look at the kernels",
        )


def compare_level(
    module: Op,
    meaning: Meaning,
    names: Mapping[Value, str],
    references: References,
    resources: ResourceStore,
    tolerance: float,
) -> Iterator[Layer]:
    """A row for every value of the module that the reference has. A tolerance of 0 makes all bounds 0.

    Raises InputError for a module with shared kernels.
    """
    refuse_shared(max((passes_of(op) for op in module.body.ops if op.dialect == "flow"), default=1))
    seen: dict[Value, _Seen] = {}
    left = {value: len(value.uses) for op in module.body.ops for value in op.results}
    for op in module.body.ops:
        if op.dialect not in ("graph", "flow") or op.name == "graph.output":
            continue
        given = [seen[value] for value in op.operands]
        accumulated = meaning.evaluate(op, [value.accumulated for value in given])
        isolated, off = accumulated, np.zeros(accumulated.shape)
        if op.operands:
            isolated = meaning.evaluate(op, [value.isolated for value in given])
            if tolerance:
                off = meaning.bound(op, [v.isolated for v in given], [v.error for v in given], isolated)
        result = _Seen(accumulated, isolated, off)
        name = names.get(op.results[0]) if op.results else None
        wanted = arranged(op, references.get(name), accumulated.shape) if name and name in references else None
        if name and wanted is not None and wanted.dtype.kind == accumulated.dtype.kind:
            yield row(
                meaning.level, name, op, resources, result.accumulated, wanted, tolerance, (isolated, wanted, off)
            )
            result.isolated, result.error = wanted.astype(accumulated.dtype), np.zeros(wanted.shape)
        for value in op.operands:
            left[value] -= 1
            if not left[value]:
                seen.pop(value, None)
        seen.update(dict.fromkeys(op.results, result))


def row(
    level: str,
    name: str,
    op: Op,
    resources: ResourceStore,
    accumulated: Array,
    wanted: Array | None,
    tolerance: float,
    isolated: tuple[Array, Array, Array] | None,
) -> Layer:
    """One row; `isolated` is what came of the step alone, what was wanted of it, and the bound of the difference."""
    got, reference, bound = isolated if isolated is not None else (None, None, None)
    error = difference(got, reference) if got is not None and reference is not None else None
    scale = largest(reference)
    return Layer(
        level=level,
        name=name,
        op=op_name(op),
        where=label(op, resources),
        shape=tuple(accumulated.shape),
        max_rel=relative(difference(accumulated, wanted), largest(wanted)) if wanted is not None else None,
        tolerance=tolerance,
        isolated=relative(error, scale) if error is not None else None,
        bound=relative(bound, scale) if bound is not None else None,
        share=shares(error, bound) if error is not None and bound is not None else None,
    )


def difference(got: Array, wanted: Array) -> Array:
    """|got - wanted|, elementwise in fp64: 0 where they are equal, infinite where one is not a number."""
    a, b = got.astype(np.float64), wanted.astype(np.float64)
    with np.errstate(invalid="ignore"):
        error = np.where(a == b, 0.0, np.abs(a - b))
    return np.where(np.isfinite(error), error, np.inf)


def largest(values: Array | None) -> float:
    """max|value|, of the finite ones."""
    if values is None:
        return 0.0
    sizes = np.abs(values.astype(np.float64))
    return float(sizes[np.isfinite(sizes)].max(initial=0.0))


def relative(errors: Array, scale: float) -> float:
    """The largest error over `scale`."""
    most = float(errors.max(initial=0.0))
    return most / scale if scale else (np.inf if most else 0.0)


def shares(errors: Array, bound: Array) -> float:
    """The largest error in units of its bound; an error where none may be is infinite."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(errors == 0, 0.0, errors / bound)
    return float(np.where(np.isnan(share), np.inf, share).max(initial=0.0))
