"""Flow ops to kernels: the one place that knows which op is which kernel."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from compiler.dialects.flow import in_pass, outputs_of, passes_of, stream
from compiler.ir.core import IRError, Op, Value
from compiler.kernels.attention import Attention
from compiler.kernels.base import Kernel, Weight
from compiler.kernels.fifo import Fifo
from compiler.kernels.folded import Folded
from compiler.kernels.gate import Gate, Switch
from compiler.kernels.join import Join
from compiler.kernels.lookup import Lookup, Table
from compiler.kernels.map import Map
from compiler.kernels.matvec import Group, Matvec
from compiler.kernels.norm import Norm
from compiler.kernels.port import Port, host_wait
from compiler.kernels.relane import Relane
from runtime.isa import Dtype
from runtime.stream import Blocks
from runtime.target import Target


def kernel_of(op: Op) -> Kernel:
    """The kernel of a sized flow op. Raises IRError for another op or one without a shape."""
    make = _KERNELS.get(op.name)
    if make is None:
        raise IRError(f"{op.name} at {op.loc} is not a kernel")
    values = [value.type for value in (*op.operands, *op.results)]
    if any(stream(type).lanes == 0 for type in values):
        raise IRError(f"{op.name} at {op.loc} has no shape yet; run the size pass first")
    attrs, passes = dict(op.attrs), passes_of(op)
    if passes == 1 or op.name in ("flow.gate", "flow.switch"):
        return make(op, attrs)
    return Folded(make(op, attrs), passes, cache(lambda number: make(op, in_pass(attrs, number))))


def interval_of(op: Op, target: Target) -> int:
    """Cycles between two tokens of a sized flow op's kernel, where it stands: alone, and waiting for the host."""
    blocks = [stream(port.operands[0].type).block for port in outputs_of(op)]
    return kernel_of(op).interval(target) + max((host_wait(block, target) for block in blocks), default=0)


def _blocks(value: Value) -> Blocks:
    """How the features of a stream lie on its lanes."""
    type = stream(value.type)
    return Blocks(type.features, type.block)


def _input(op: Op, a: Any) -> Kernel:
    return Port(a["name"], "in", _blocks(op.result))


def _output(op: Op, a: Any) -> Kernel:
    return Port(a["name"], "out", _blocks(op.operands[0]), a.get("pitch", 1))


def _lookup(op: Op, a: Any) -> Kernel:
    tables = zip(a["tables"], a["counts"], a["blocks"], strict=True)
    return Lookup(_blocks(op.result), tuple(Table(t.name, n, block) for t, n, block in tables), Dtype(a["storage"]))


def _matvec(op: Op, a: Any) -> Kernel:
    lists = (a[key] for key in ("weights", "transposed", "biases", "starts", "counts"))
    groups = tuple(
        Group(Weight(w.name, transposed), bias.name if bias else None, start, count)
        for w, transposed, bias, start, count in zip(*lists, strict=True)
    )
    return Matvec(
        groups, a["columns"], _blocks(op.operands[0]), _blocks(op.result), a["activation"], Dtype(a["storage"]),
        a.get("tiles", 0), a.get("finishers", 0), a.get("entry", ""),
    )  # fmt: skip


def _norm(op: Op, a: Any) -> Kernel:
    return Norm(_blocks(op.result), a["epsilon"], a["scale"].name, a["bias"].name, a.get("tokens", 2))


def _attention(op: Op, a: Any) -> Kernel:
    pieces = 3 * a["head_dim"] // _blocks(op.operands[0]).block
    return Attention(
        a["heads"], a["head_dim"], a["scale"], a["max_seq"], a["slots"], a["spread"], Dtype(a["storage"]), pieces,
        a.get("across", 0), passes_of(op) > 1,
    )  # fmt: skip


def _map(op: Op, a: Any) -> Kernel:
    constant = a.get("constant")
    return Map(_blocks(op.result), a["fn"], constant.name if constant else None, a["constant_size"], a["swapped"])


def _join(op: Op, a: Any) -> Kernel:
    return Join(_blocks(op.result), a["fn"])


def _fifo(op: Op, a: Any) -> Kernel:
    return Fifo(_blocks(op.result), a["tokens"])


def _relane(op: Op, a: Any) -> Kernel:
    fine = op.operands[0] if a["merge"] else op.result
    return Relane(_blocks(fine), a["ratio"], a["merge"])


def _gate(op: Op, a: Any) -> Kernel:
    return Gate(_blocks(op.result), a["passes"])


def _switch(op: Op, a: Any) -> Kernel:
    return Switch(_blocks(op.result), a["passes"])


_KERNELS: dict[str, Callable[[Op, Any], Kernel]] = {
    "flow.input": _input,
    "flow.output": _output,
    "flow.lookup": _lookup,
    "flow.matvec": _matvec,
    "flow.norm": _norm,
    "flow.attention": _attention,
    "flow.map": _map,
    "flow.join": _join,
    "flow.fifo": _fifo,
    "flow.relane": _relane,
    "flow.gate": _gate,
    "flow.switch": _switch,
}
