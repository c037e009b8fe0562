"""The streams of a placed flow module as nets between kernels: what place, route and codegen share."""

from __future__ import annotations

from compiler.dialects import flow
from compiler.floorplan import Footprint, Net, Placed
from compiler.ir.core import Op, Value
from compiler.kernels.base import Kernel
from compiler.kernels.table import kernel_of
from compiler.passes.report import out_of_order
from runtime.geometry import Orientation
from runtime.stream import Blocks


class Netlist:
    """Kernels of a module in order, and one net per stream; forks are wires only, so their readers join one net.

    Raises InputError if there are none, or they have no shapes.
    """

    def __init__(self, module: Op) -> None:
        self.ops = [op for op in module.body.ops if flow.is_kernel(op)]
        if not self.ops:
            raise out_of_order("there are no kernels in the module", "lower-to-flow")
        for op in self.ops:
            if any(flow.stream(value.type).lanes == 0 for value in (*op.operands, *op.results)):
                raise out_of_order(f"kernel {flow.name_of(op)} has no shape", "size")
        self.kernels: list[Kernel] = [kernel_of(op) for op in self.ops]
        self.footprints: list[Footprint] = [
            kernel.footprint(flow.name_of(op)) for op, kernel in zip(self.ops, self.kernels, strict=True)
        ]
        self.index = {id(op): i for i, op in enumerate(self.ops)}
        self.nets = [self._net(op, number) for op in self.ops for number in range(len(op.results))]
        self.nets += [self._back(op) for op in self.ops if op.name == "flow.switch"]

    def _net(self, op: Op, number: int) -> Net:
        value = op.results[number]
        type = flow.stream(value.type)
        blocks = Blocks(type.features, type.block)
        source = (self.index[id(op)], list(self.kernels[self.index[id(op)]].outputs())[number])
        sinks = []
        for user, position in _readers(value):
            kernel = self.kernels[self.index[id(user)]]
            sinks.append((self.index[id(user)], list(kernel.inputs())[position]))
        return self._bundle(source, sinks, blocks)

    def _back(self, switch: Op) -> Net:
        """The stream from a switch to its gate, which is no value of the module."""
        source, gate = (self.index[id(switch)], "back"), (self.index[id(flow.gate_of(switch))], "back")
        type = flow.stream(switch.result.type)
        return self._bundle(source, [gate], Blocks(type.features, type.block))

    def _bundle(self, source: tuple[int, str], sinks: list[tuple[int, str]], blocks: Blocks) -> Net:
        times = self.kernels[source[0]].times(source[1])
        words = tuple(times * (1 + blocks.size(lane)) for lane in range(blocks.lanes))
        return Net(self.port_name(source), source, tuple(sinks), words)

    def net_into(self, kernel: int) -> int:
        """The first net that ends at a kernel."""
        return next(i for i, net in enumerate(self.nets) if any(sink == kernel for sink, _ in net.sinks))

    def places(self) -> list[Placed]:
        """Where every kernel stands, from the ops' attributes. Raises InputError if one does not stand anywhere."""
        for op in self.ops:
            if not op.attrs.keys() >= {"x", "y", "orientation"}:
                raise out_of_order(f"kernel {flow.name_of(op)} has no place", "place")
        return [
            Placed(int(str(a["x"])), int(str(a["y"])), Orientation(int(str(a["orientation"]))))
            for a in (op.attrs for op in self.ops)
        ]

    def port_name(self, end: tuple[int, str]) -> str:
        """`kernel.port` of an end of a net."""
        return f"{self.footprints[end[0]].name}.{end[1]}"


def _readers(value: Value) -> list[tuple[Op, int]]:
    """Kernels that read a stream, with the operand's position, through forks."""
    found: list[tuple[Op, int]] = []
    for user, position in value.uses:
        if user.name == "flow.fork":
            for branch in user.results:
                found += _readers(branch)
        else:
            found.append((user, position))
    return found
