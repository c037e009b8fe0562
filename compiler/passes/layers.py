"""Layers of a flow module that are alike: the same kernels wired alike, each with constants of its own.

Between some ops there is but one stream on its way: there the module can be cut. A *segment* lies between two
neighbouring cuts, a *layer* is the shortest run of segments whose repetition covers most ops of the module.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from compiler.dialects import flow
from compiler.ir.core import Attr, Op, Symbol, Value


@dataclass(frozen=True)
class Layer:
    """Consecutive ops with one stream in and one out."""

    ops: tuple[Op, ...]
    entry: Value
    exit: Value


@dataclass(frozen=True)
class Layers:
    """Consecutive layers that are alike; `differs`: of their neighbours with the same kernels, in what each is not."""

    alike: tuple[Layer, ...]
    differs: tuple[str, ...]


def find_layers(ops: Sequence[Op]) -> Layers:
    """The layers of a flow module's ops; none if nothing is repeated."""
    segments = list(_segments(ops))
    shapes = [_shape(segment) for segment in segments]
    first, period, count = _repetition(shapes, [len(segment.ops) for segment in segments])
    if count < 2:
        return Layers((), ())
    layers = [_joined(segments[i : i + period]) for i in range(first, first + count * period, period)]
    neighbours = [segments[i : i + period] for i in (first - period, first + count * period) if i >= 0]
    found = [_difference(_joined(near), layers[0]) for near in neighbours if len(near) == period]
    return Layers(tuple(layers), tuple(filter(None, found)))


def _segments(ops: Sequence[Op]) -> Iterator[Layer]:
    last: dict[Value, int] = {}
    for place, op in enumerate(ops):
        last.update(dict.fromkeys(op.operands, place))
    live: dict[Value, None] = {}
    begin: tuple[int, Value] | None = None
    for place, op in enumerate(ops):
        live.update(dict.fromkeys(op.results))
        live = {value: None for value in live if last.get(value, -1) > place}
        if len(live) == 1:
            (value,) = live
            if begin is not None:
                yield Layer(tuple(ops[begin[0] : place + 1]), begin[1], value)
            begin = place + 1, value


def _joined(segments: Sequence[Layer]) -> Layer:
    ops = tuple(op for segment in segments for op in segment.ops)
    return Layer(ops, segments[0].entry, segments[-1].exit)


def _shape(layer: Layer) -> object:
    """Equal for layers that are alike."""
    number = {layer.entry: -1}
    found: list[object] = [layer.entry.type]
    for op in layer.ops:
        wiring = tuple(number.get(value, -2) for value in op.operands)  # -2: from outside, which makes no layer
        attrs = {key: _kind(value) for key, value in op.attrs.items() if key != "sym_name"}
        found.append((op.name, wiring, repr(sorted(attrs.items())), tuple(value.type for value in op.results)))
        number.update({value: len(number) for value in op.results})
    return tuple(found), number[layer.exit]


def _kind(value: Attr) -> Attr:
    """A value with every constant in it made anonymous."""
    if isinstance(value, tuple):
        return tuple(map(_kind, value))
    return "@" if isinstance(value, Symbol) else value


def _repetition(shapes: Sequence[object], ops: Sequence[int]) -> tuple[int, int, int]:
    """(first, period, count) of the repetition that covers most ops; of equals, the shortest period, then the first."""
    best, most = (0, 1, 1), 0
    for period in range(1, len(shapes) // 2 + 1):
        first = 0
        while first + 2 * period <= len(shapes):
            end = first
            while end + period < len(shapes) and shapes[end] == shapes[end + period]:
                end += 1
            count = 1 + (end - first) // period
            covered = sum(ops[first : first + count * period])
            if count > 1 and covered > most:
                best, most = (first, period, count), covered
            first = max(end, first) + 1 if count == 1 else first + 1
    return best


def _difference(near: Layer, layer: Layer) -> str:
    """In what a neighbour with the same kernels is not like a layer; empty if it has other kernels."""
    if [op.name for op in near.ops] != [op.name for op in layer.ops]:
        return ""
    for op, other in zip(near.ops, layer.ops, strict=True):
        if not flow.is_kernel(op):
            continue
        for key in sorted(op.attrs.keys() | other.attrs.keys()):
            a, b = (o.attrs.get(key, "nothing") for o in (op, other))
            if key != "sym_name" and _kind(a) != _kind(b):
                return f"{flow.name_of(op)} ({op.loc}) has {key} = {_kind(a)}, {flow.name_of(other)} has {_kind(b)}"
        for value, like in zip(op.results, other.results, strict=True):
            if value.type != like.type:
                return f"{flow.name_of(op)} ({op.loc}) makes {value.type}, {flow.name_of(other)} {like.type}"
    return ""
