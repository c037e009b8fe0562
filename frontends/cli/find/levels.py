"""Levels graph and placed: every op in plain numpy beside onnxruntime's values, in two readings at once.

accumulated   from the graph's inputs on, as the op's level computes
isolated      each op on the reference's own values. Between two values that onnxruntime has too there may be ops whose
              result it has not; then errors of these are carried on as part of the next one's bound.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from compiler import flow_bounds, graph_bounds
from compiler.bounds import Rounding
from compiler.dialects.flow import passes_of
from compiler.flow_interpreter import Run, Sent, Step, evaluate, reads, steps
from compiler.graph_interpreter import Frame, evaluate_op
from compiler.ir.core import Op
from compiler.resources import ResourceStore
from frontends.cli.find.names import Named, arranged, op_name
from frontends.onnx.expose import References
from runtime.check import Layer

Array = np.ndarray[Any, Any]


class Meaning(ABC):
    """What steps of a level mean, and how far onnxruntime may be from it."""

    level: str

    @abstractmethod
    def evaluate(self, step: Step, arguments: list[Array]) -> Array: ...

    @abstractmethod
    def bound(self, step: Step, arguments: list[Array], errors: list[Array], result: Array) -> Array: ...


class GraphMeaning(Meaning):
    """`graph` ops against onnxruntime: both round in fp32."""

    level = "graph"

    def __init__(self, resources: ResourceStore, inputs: Mapping[str, Array]) -> None:
        self.frame = Frame(resources, inputs)

    def evaluate(self, step: Step, arguments: list[Array]) -> Array:
        return evaluate_op(step.op, arguments, self.frame)

    def bound(self, step: Step, arguments: list[Array], errors: list[Array], result: Array) -> Array:
        return graph_bounds.bound(step.op, arguments, errors, result, self.frame)


class FlowMeaning(Meaning):
    """`flow` ops against onnxruntime: both round in fp32, and kernels round what they store."""

    level = "placed"

    def __init__(self, resources: ResourceStore, inputs: Mapping[str, Array]) -> None:
        self.run = Run(resources, inputs)

    def evaluate(self, step: Step, arguments: list[Array]) -> Array:
        return evaluate(step.op, arguments, self.run, step.number)

    def bound(self, step: Step, arguments: list[Array], errors: list[Array], result: Array) -> Array:
        rounding = Rounding(sides=2, half=True)
        return flow_bounds.bound(step.op, arguments, errors, result, self.run, rounding, step.number)


@dataclass
class _Seen:
    """A value in both readings; `error` bounds that of the isolated one."""

    accumulated: Array
    isolated: Array
    error: Array


def compare_level(
    module: Op, meaning: Meaning, names: Mapping[Step, Named], references: References, tolerance: float
) -> Iterator[Layer]:
    """A row for every value of the module that the reference has, in the order of execution; shared kernels have one
    for every layer. A tolerance of 0 makes all bounds 0."""
    order = [step for step in steps(module) if step.op.name != "graph.output"]
    left = Counter(read for step in order for read in reads(step))
    seen: dict[Sent, _Seen] = {}
    for step in order:
        given = [seen[read] for read in reads(step)]
        accumulated = meaning.evaluate(step, [value.accumulated for value in given])
        isolated, off = accumulated, np.zeros(accumulated.shape)
        if given:
            isolated = meaning.evaluate(step, [value.isolated for value in given])
            if tolerance:
                off = meaning.bound(step, [v.isolated for v in given], [v.error for v in given], isolated)
        result = _Seen(accumulated, isolated, off)
        name = names[step].value
        wanted = arranged(step.op, references.get(name), accumulated.shape) if name in references else None
        if wanted is not None and wanted.dtype.kind == accumulated.dtype.kind:
            yield row(meaning.level, step, names[step], accumulated, wanted, tolerance, (isolated, wanted, off))
            result.isolated, result.error = wanted.astype(accumulated.dtype), np.zeros(wanted.shape)
        left.subtract(reads(step))
        for read in reads(step):
            if not left[read]:
                seen.pop(read, None)
        seen.update({(value, step.number): result for value in step.op.results if left[value, step.number]})


def row(
    level: str,
    step: Step,
    named: Named,
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
        name=named.value,
        op=op_name(step.op),
        pass_number=step.number if passes_of(step.op) > 1 else None,
        where=named.where,
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
