"""flow -> flow + fabric: a path and a colour for every lane of every stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from compiler.dialects import fabric
from compiler.ir.core import Op
from compiler.ir.passes import Pass, PassContext, register
from compiler.passes.nets import Netlist
from compiler.passes.report import interval_cycles, note, optimised_for
from compiler.route.router import route
from compiler.route.tree import to_text

BESIDE = 3  # halves of the busiest lane's words that may share a link when a lone token is not to wait


@register
@dataclass(frozen=True)
class Route(Pass):
    """Channels under the colour budget and the link loads."""

    name: ClassVar[str] = "route"
    summary: ClassVar[str] = "find a path and a colour for every lane of every stream"

    def run(self, module: Op, ctx: PassContext) -> None:
        assert ctx.target is not None, "route needs a target"
        netlist = Netlist(module)
        places = netlist.places()

        def watch(done: int, total: int) -> None:
            ctx.deadline.check("route", f"{done:,} of {total:,} channels have a route")
            ctx.progress("route: channels", done, total)

        ctx.deadline.check("route", "it has not begun")
        result = route(
            netlist.footprints,
            places,
            netlist.nets,
            ctx.target,
            capacity=_capacity(module, netlist),
            progress=watch,
        )
        for channel in result.channels:
            net = netlist.nets[channel.net]
            kernel = netlist.footprints[net.source[0]]
            lane = kernel.outputs[net.source[1]][channel.lane]
            source = places[net.source[0]].at(kernel, lane.col, lane.row)
            module.body.append(
                fabric.channel_def(
                    source=netlist.port_name(net.source),
                    sinks=tuple(netlist.port_name(sink) for sink in net.sinks),
                    lane=channel.lane,
                    colour=channel.colour,
                    words=net.words[channel.lane],
                    tree=to_text(channel.hops, source),
                )
            )
        stats = result.stats
        note(
            module,
            "route",
            {
                "channels": stats.channels,
                "hops": stats.hops,
                "max_colours": stats.max_colours,
                "max_colours_at": tuple(stats.max_colours_at),
                "routers_by_colours": {str(count): routers for count, routers in sorted(stats.histogram.items())},
                "max_link_words": stats.max_load,
                "max_link_at": tuple(stats.max_load_at),
                "rerouted": stats.torn,
            },
        )


def _capacity(module: Op, netlist: Netlist) -> int:
    """Words per token that may cross a link: those it has time for until the next token.

    For latency not much more than the busiest lane has, or lanes that share a link would make a lone token wait.
    """
    interval = interval_cycles(module)
    if optimised_for(module) != "latency":
        return interval
    busiest = max((words for net in netlist.nets for words in net.words), default=interval)
    return min(interval, busiest * BESIDE // 2)
