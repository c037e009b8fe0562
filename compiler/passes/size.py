"""flow -> flow: choose lanes and kernel shapes, cut streams down to the host's channels, size the fifos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from compiler.dialects import flow
from compiler.ir.core import Op, StreamType, Value
from compiler.ir.passes import Pass, PassContext, register
from compiler.kernels.base import memory_bytes
from compiler.kernels.fifo import Fifo
from compiler.kernels.table import kernel_of
from compiler.passes.report import note
from compiler.size.explain import explain
from compiler.size.sizing import Sizer, Sizing
from runtime.errors import InfeasibleError, Shortage
from runtime.stream import Blocks
from runtime.target import Target

# Without --max-cores: this many cores, or what the model needs, so that images stay small enough to execute core by
# core; and on a small target at most this share of it, which leaves room to place and route.
DEFAULT_CORES = 32768
DEFAULT_SHARE = 0.5


@register
@dataclass(frozen=True)
class Size(Pass):
    """Balance the pipeline on at most `max_cores` cores."""

    name: ClassVar[str] = "size"
    summary: ClassVar[str] = "choose lanes and kernel shapes for the smallest interval under the memory and core limits"

    max_cores: int = 0  # 0: see DEFAULT_CORES

    def run(self, module: Op, ctx: PassContext) -> None:
        target = ctx.target
        assert target is not None, "size needs a target"
        block = module.body
        sizer = Sizer([op for op in block.ops if op.dialect == "flow"], target)
        least = sizer.smallest()
        limit = min(self.max_cores or _default_cores(least, target), target.cores)
        sizing = sizer.best(limit) if least is not None else None
        if sizing is None:
            raise explain(sizer, limit, target)
        for op in block.ops:
            if op.dialect == "flow":
                sizer.apply(op, sizing.blocks)
        for op in sizer.ops:
            sizer.choose(op, sizing.interval)
        for ports in (block.find("flow.output"), block.find("flow.input")):
            for port, channels in zip(ports, _channel_shares(ports, target), strict=True):
                _fit_host_channels(port, channels)
        interval = _report(module, target)
        arrivals = _arrivals(block.ops, target)
        for fifo in block.find("flow.fifo"):
            _size_fifo(fifo, interval, arrivals, target)


def _default_cores(least: Sizing | None, target: Target) -> int:
    """The core limit when the user names none: the usual one, or what the model needs at least."""
    needed = least.cores if least is not None else 0
    return max(needed, min(DEFAULT_CORES, int(DEFAULT_SHARE * target.cores)))


def _channel_shares(ports: list[Op], target: Target) -> list[int]:
    """Host channels for each port of one direction: what it has lanes for, else an equal share of what others leave."""
    if len(ports) > target.host_channels:
        raise InfeasibleError(
            f"the model has {len(ports)} {ports[0].name.removeprefix('flow.')}s; {target.name} has "
            f"{target.host_channels} host channels in each direction",
            code="does-not-fit",
            shortages=[Shortage("host channels", target.name, len(ports), target.host_channels, "one for each port")],
        )
    shares = [_port_stream(port).lanes for port in ports]
    left = target.host_channels
    for served, index in enumerate(sorted(range(len(ports)), key=shares.__getitem__)):
        shares[index] = min(shares[index], left // (len(ports) - served))
        left -= shares[index]
    return shares


def _port_stream(port: Op) -> StreamType:
    return flow.stream((port.result if port.name == "flow.input" else port.operands[0]).type)


def _fit_host_channels(port: Op, channels: int) -> None:
    """Put a relane between a port and a stream of more lanes than the port has channels."""
    inward = port.name == "flow.input"
    value = port.result if inward else port.operands[0]
    type = flow.stream(value.type)
    if type.lanes <= channels:
        return
    ratio = -(-type.lanes // channels)
    coarse = StreamType(type.features, min(type.features, type.block * ratio), type.dtype)
    assert port.parent is not None
    name = f"{port.attrs['sym_name']}.relane"
    if not inward:
        relane = flow.relane_def(value, types=[coarse], loc=port.loc, sym_name=name, ratio=ratio, merge=True)
        port.parent.insert_before(port, relane)
        port.set_operand(0, relane.result)
        return
    uses = list(value.uses)
    value.type = coarse
    relane = flow.relane_def(value, types=[type], loc=port.loc, sym_name=name, ratio=ratio, merge=False)
    port.parent.ops.insert(port.parent.ops.index(port) + 1, relane)
    relane.parent = port.parent
    for user, index in uses:
        user.set_operand(index, relane.result)


def _report(module: Op, target: Target) -> int:
    """Note what the choice comes to; the slowest kernel's interval (fifos follow the stream's pace)."""
    slowest, interval = "", 0
    for op in module.body.ops:
        if not flow.is_kernel(op) or op.name == "flow.fifo":
            continue
        kernel = kernel_of(op)
        if kernel.interval(target) > interval:
            slowest, interval = flow.name_of(op), kernel.interval(target)
    per_second = target.clock_ghz * 1e9 / interval
    note(module, "size", {"interval_cycles": interval, "slowest_kernel": slowest, "tokens_per_second": per_second})
    return interval


def _arrivals(ops: list[Op], target: Target) -> dict[Value, int]:
    """Cycles after which a lone token's last word is on each stream, fifos passing it on at once."""
    arrivals: dict[Value, int] = {}
    for op in ops:
        if op.dialect != "flow":
            continue
        wait = kernel_of(op).latency(target) if flow.is_kernel(op) and op.name != "flow.fifo" else 0
        arrival = max((arrivals[value] for value in op.operands), default=0) + wait
        arrivals.update(dict.fromkeys(op.results, arrival))
    return arrivals


def _size_fifo(fifo: Op, interval: int, arrivals: dict[Value, int], target: Target) -> None:
    """Enough tokens to cover the longer branch, as far as the core's memory goes; one is enough to stay alive."""
    (join,) = fifo.result.users
    latency = max(arrivals[value] for value in join.operands) - arrivals[fifo.operands[0]]
    wanted = -(-latency // interval) + 1
    type = flow.stream(fifo.result.type)
    blocks = Blocks(type.features, type.block)
    room = target.memory_bytes - memory_bytes(Fifo(blocks, 0).program(blocks.block), target)
    tokens = min(wanted, room // (4 * (1 + blocks.block)))
    fifo.attrs["tokens"] = tokens
    covers = "covers" if tokens == wanted else f"holds fewer than the {wanted} tokens that would cover"
    fifo.attrs["reason"] = (
        f"1 token keeps the join alive, since every kernel of the branch answers a token before it needs the next; "
        f"{tokens} {covers} the {latency} cycles by which the longer branch is later, at one token in {interval}"
    )
