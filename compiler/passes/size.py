"""flow -> flow: choose strips, lanes and kernel shapes, cut streams down to the host's channels, size the fifos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from compiler.dialects import flow
from compiler.ir.core import Op, StreamType, Value
from compiler.ir.passes import Pass, PassContext, register
from compiler.kernels.base import memory_bytes
from compiler.kernels.fifo import Fifo
from compiler.kernels.folded import for_layers, single
from compiler.kernels.norm import Norm
from compiler.kernels.table import interval_of, kernel_of
from compiler.passes.report import note, out_of_order
from compiler.size.arrival import Loop, arrivals
from compiler.size.bound import area_bound, host_bound
from compiler.size.explain import explain
from compiler.size.goal import OPTIMIZE
from compiler.size.quick import quickest
from compiler.size.sizing import Sizer, Sizing
from runtime.errors import InfeasibleError, Shortage, UsageError
from runtime.stream import Blocks
from runtime.target import Target


@register
@dataclass(frozen=True)
class Size(Pass):
    """Balance the pipeline on at most `max_cores` cores, or shorten the way of one token through it."""

    name: ClassVar[str] = "size"
    summary: ClassVar[str] = "choose lanes and kernel shapes under the memory and core limits"

    max_cores: int = 0  # 0: all of the target's
    optimize: str = "throughput"  # the smallest interval between tokens; or latency: the fewest cycles of one token

    def run(self, module: Op, ctx: PassContext) -> None:
        if self.optimize not in OPTIMIZE:
            hint = f"one of: {', '.join(OPTIMIZE)}"
            raise UsageError(f"nothing is optimised for {self.optimize!r}", code="bad-option", hint=hint)
        target = ctx.target
        assert target is not None, "size needs a target"
        block = module.body
        if not any(flow.is_kernel(op) for op in block.ops):
            raise out_of_order("there are no kernels in the module", "lower-to-flow")
        sizer = Sizer([op for op in block.ops if op.dialect == "flow"], target)
        limit = min(self.max_cores or target.cores, target.cores)
        _require_channels(sizer, target)
        # A set of shared kernels has one token on its way, so the next one waits for its latency.
        optimize = "latency" if block.find("flow.gate") else self.optimize
        search = quickest if optimize == "latency" else Sizer.best
        sizing = search(sizer, limit, ctx.deadline)
        if sizing is None:
            raise explain(sizer, limit, target)
        shares = {id(port): sizer.channels(port) for port in sizer.ports}
        sizer.apply(sizing)
        for port in [*block.find("flow.output"), *block.find("flow.input")]:
            _fit_host_channels(port, shares[id(port)])
        _spread_ports(block.find("flow.output"), sizing.frame.width, target)
        frame = sizing.frame
        module.attrs["strips"] = {"width": frame.width, "length": frame.length, "count": frame.count}
        found, loops = arrivals(block.ops, lambda op: _wait(op, target))
        interval = _report(module, sizing, optimize, _latency(block.ops, found, target), loops, target)
        for norm in block.find("flow.norm"):
            _size_norm(norm, interval, target)
        for fifo in block.find("flow.fifo"):
            _size_fifo(fifo, interval, found, target)


def _spread_ports(ports: list[Op], width: int, target: Target) -> None:
    """Give the lanes of a port the pitch of the long relane before it, so that they are short wires side by side.

    Such a relane stands along the last strip, which runs north: its first lane is the southmost.
    """
    left = target.usable[3] - 2 * target.host_channels  # the rest of the edge is for other ports
    for port in ports:
        relane = port.operands[0].op
        if relane is None or relane.name != "flow.relane" or kernel_of(relane).cols <= width:
            continue
        rows = kernel_of(relane).cols
        if rows <= left:
            port.attrs["pitch"] = -int(str(relane.attrs["ratio"]))
            left -= rows


def _require_channels(sizer: Sizer, target: Target) -> None:
    for kind in ("input", "output"):
        count = sum(port.name == f"flow.{kind}" for port in sizer.ports)
        if count > target.host_channels:
            raise InfeasibleError(
                f"the model has {count} {kind}s; {target.name} has {target.host_channels} host channels in each "
                "direction",
                code="does-not-fit",
                shortages=[Shortage("host channels", target.name, count, target.host_channels, "one for each port")],
            )


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


def _report(module: Op, sizing: Sizing, optimised: str, latency: int, loops: Mapping[str, Loop], target: Target) -> int:
    """Note what the choice comes to; the slowest kernel's or loop's interval (fifos follow the stream's pace)."""
    ops = [op for op in module.body.ops if flow.is_kernel(op) and op.name != "flow.fifo"]
    intervals = {flow.name_of(op): interval_of(op, target) for op in ops}
    # The next token follows the last pass of one, at the slowest kernel's pace.
    pace = max((intervals[flow.name_of(op)] // flow.passes_of(op) for op in ops if flow.passes_of(op) > 1), default=0)
    intervals |= {gate: loop.all - loop.once + pace for gate, loop in loops.items()}
    slowest = max(intervals, key=lambda name: intervals[name])
    interval, bound = intervals[slowest], area_bound(ops, target)
    ports = ("flow.input", "flow.output", "flow.relane")
    inner = max((intervals[flow.name_of(op)] for op in ops if op.name not in ports), default=0)
    facts: dict[str, Any] = {
        "optimised_for": optimised,
        "interval_cycles": interval,
        "slowest_kernel": slowest,
        "tokens_per_second": target.clock_ghz * 1e9 / interval,
        "area_bound_cycles": bound,
        "host_bound_cycles": host_bound(ops, target),
        "interval_over_area_bound": interval / bound if bound else 0.0,
        "kernels_interval_cycles": inner,
        "kernels_latency_cycles": latency,
        "cores": sizing.cores,
        "strips": sizing.frame.count,
        "strip_width": sizing.frame.width,
    }
    note(module, "size", facts)
    return interval


def _size_norm(norm: Op, interval: int, target: Target) -> None:
    """Room for the tokens that are in a core while their sums are under way, as far as its memory goes."""
    kernel = single(kernel_of(norm))
    assert isinstance(kernel, Norm)
    tokens = kernel.needed_tokens(interval, target)
    while tokens > 1:
        norm.attrs["tokens"] = tokens
        if kernel_of(norm).memory(target) <= target.memory_bytes:
            return
        tokens -= 1
    norm.attrs["tokens"] = 1


def _wait(op: Op, target: Target) -> int:
    """Cycles of a lone token in a kernel; fifos pass it on at once."""
    return kernel_of(op).latency(target) if flow.is_kernel(op) and op.name != "flow.fifo" else 0


def _latency(ops: list[Op], found: dict[Value, int], target: Target) -> int:
    """Cycles after which a lone token's last word has left the slowest output."""
    ends = [op for op in ops if op.name == "flow.output"]
    return max((found[op.operands[0]] + kernel_of(op).latency(target) for op in ends), default=0)


def _size_fifo(fifo: Op, interval: int, found: dict[Value, int], target: Target) -> None:
    """Enough tokens to cover the longer branch, as far as the core's memory goes; one is enough to stay alive."""
    (join,) = fifo.result.users
    latency = max(found[value] for value in join.operands) - found[fifo.operands[0]]
    wanted = -(-latency // interval) + 1
    type = flow.stream(fifo.result.type)
    blocks = Blocks(type.features, type.block)
    empty = for_layers(Fifo(blocks, 0), flow.passes_of(fifo))
    room = target.memory_bytes - memory_bytes(empty.program(blocks.block), target)
    tokens = min(wanted, room // (4 * (1 + blocks.block)))
    fifo.attrs["tokens"] = tokens
    covers = "covers" if tokens == wanted else f"holds fewer than the {wanted} tokens that would cover"
    fifo.attrs["reason"] = (
        f"1 token keeps the join alive, since every kernel of the branch answers a token before it needs the next; "
        f"{tokens} {covers} the {latency} cycles by which the longer branch is later, at one token in {interval}"
    )
