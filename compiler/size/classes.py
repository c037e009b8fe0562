"""Streams that must lie on lanes in the same way, and the kernels that depend on it.

Kernels that are a line of cores (norm, join, map, fifo, gate, switch) and forks keep the block of their stream; a
matvec or a lookup may change it, attention fixes it. So streams fall into classes, each with one block to choose.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from compiler.dialects import flow
from compiler.ir.core import Op, Value

LINES = frozenset({"flow.norm", "flow.join", "flow.map", "flow.fifo", "flow.gate", "flow.switch"})
KEEP_BLOCK = LINES | {"flow.fork"}
MOST_PIECES = 4  # lanes that may bring one head's query, key and value


@dataclass
class StreamClass:
    """Streams of `features` with one block; `kernels` read or write one of them.

    `choices` are the blocks a kernel dictates, the largest first; without any, all are possible.
    """

    features: int
    streams: list[Value] = field(default_factory=list)
    kernels: list[Op] = field(default_factory=list)
    choices: tuple[int, ...] = ()

    @property
    def has_line(self) -> bool:
        """Is there a kernel with a core per lane? It must fit across a strip then."""
        return any(op.name in LINES or op.name in ("flow.lookup", "flow.input") for op in self.kernels)


def find_classes(ops: list[Op]) -> list[StreamClass]:
    """All classes, in order of first appearance."""
    owner: dict[Value, StreamClass] = {}
    for op in ops:
        for value in op.results:
            source = op.operands[0] if op.name in KEEP_BLOCK else None
            cls = owner[source] if source is not None else StreamClass(flow.stream(value.type).features)
            cls.streams.append(value)
            owner[value] = cls
        if op.name == "flow.join":
            _merge(owner, owner[op.operands[0]], owner[op.operands[1]])
        if op.name == "flow.switch":
            _merge(owner, owner[flow.gate_of(op).result], owner[op.result])
    classes = list({id(cls): cls for cls in owner.values()}.values())
    for op in ops:
        touched = {id(owner[value]): owner[value] for value in (*op.operands, *op.results)}
        for cls in touched.values():
            cls.kernels.append(op)
        _fix(op, owner)
    return classes


def _merge(owner: dict[Value, StreamClass], kept: StreamClass, gone: StreamClass) -> None:
    if kept is gone:
        return
    kept.streams += gone.streams
    for value in gone.streams:
        owner[value] = kept


def _fix(op: Op, owner: dict[Value, StreamClass]) -> None:
    if op.name == "flow.attention":
        head_dim = op.attrs["head_dim"]
        assert isinstance(head_dim, int)
        pieces = [n for n in range(1, MOST_PIECES + 1) if head_dim % n == 0]
        owner[op.operands[0]].choices = tuple(3 * head_dim // n for n in pieces)
        owner[op.result].choices = (head_dim,)
    elif op.name == "flow.lookup":
        owner[op.operands[0]].choices = (1,)
