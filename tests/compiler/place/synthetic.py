"""A GPT-like chain of footprints and nets with the shapes of a real compile, for tests and speed probes."""

from __future__ import annotations

from dataclasses import dataclass, field

from compiler.floorplan import Footprint, InternalRoute, Lane, Net
from runtime.geometry import NORTH, RAMP, SOUTH, WEST, bit

N, S, CORE = bit(NORTH), bit(SOUTH), bit(RAMP)


def row_lane(row: int, cols: int) -> Lane:
    """Feeds every core of the row."""
    return Lane(0, row, ((0, row, cols, 1),))


def point_lane(col: int, row: int) -> Lane:
    """Enters and ends at one core."""
    return Lane(col, row, ((col, row, 1, 1),))


def line(name: str, rows: int, inputs: tuple[str, ...] = ("x",)) -> Footprint:
    """norm, join, fifo: a column of cores, every port has one lane a core."""
    lanes = tuple(point_lane(0, r) for r in range(rows))
    return Footprint(name, 1, rows, dict.fromkeys(inputs, lanes), {"y": tuple(Lane(0, r) for r in range(rows))})


def matvec(name: str, cols: int, rows: int) -> Footprint:
    """Rows in at the west side, partial sums down the columns on colours 0 and 1 in turn, columns out at the south."""
    steps = tuple(
        InternalRoute(0, r + end, cols, 1, r % 2, (CORE, N)[end], (S, CORE)[end])
        for r in range(rows - 1)
        for end in (0, 1)
    )
    inputs = {"x": tuple(row_lane(r, cols) for r in range(rows))}
    return Footprint(name, cols, rows, inputs, {"y": tuple(Lane(c, rows - 1) for c in range(cols))}, steps)


def attention(name: str, cols: int, rows: int) -> Footprint:
    """Rows in at the west side with multicast, out at the east end."""
    inputs = {"x": tuple(row_lane(r, cols) for r in range(rows))}
    return Footprint(name, cols, rows, inputs, {"y": tuple(Lane(cols - 1, r) for r in range(rows))})


def lookup(name: str, cols: int, rows: int) -> Footprint:
    """One lane floods all; columns out at the south."""
    lanes = (Lane(0, 0, ((0, 0, cols, rows),)),)
    return Footprint(name, cols, rows, {"id": lanes}, {"y": tuple(Lane(c, rows - 1) for c in range(cols))})


def gather(name: str, rows: int, lanes: int) -> Footprint:
    """A line with one lane in at every core and `lanes` lanes out, evenly spread."""
    outputs = {"y": tuple(Lane(0, i * rows // lanes) for i in range(lanes))}
    return Footprint(name, 1, rows, {"x": tuple(point_lane(0, r) for r in range(rows))}, outputs)


def host_in(name: str, lanes: int) -> Footprint:
    return Footprint(name, 1, lanes, {}, {"y": tuple(Lane(0, i, outside=WEST) for i in range(lanes))}, edge="west")


def host_out(name: str, lanes: int) -> Footprint:
    return Footprint(name, 1, lanes, {"x": tuple(Lane(0, i, outside=WEST) for i in range(lanes))}, {}, edge="west")


@dataclass
class Chain:
    """Kernels in topological order, and nets as they are wired."""

    kernels: list[Footprint] = field(default_factory=list)
    nets: list[Net] = field(default_factory=list)

    def add(self, kernel: Footprint) -> int:
        self.kernels.append(kernel)
        return len(self.kernels) - 1

    def wire(self, source: int, *sinks: tuple[int, str], words: int = 48) -> None:
        lanes = self.kernels[source].outputs["y"]
        self.nets.append(Net(f"n{len(self.nets)}", (source, "y"), sinks, (words,) * len(lanes)))

    def block(self, source: int, name: str, branch: list[Footprint], lanes: int) -> int:
        """norm and branch beside a fifo, joined again. Returns the join."""
        norm, fifo = self.add(line(f"{name}.norm", lanes)), self.add(line(f"{name}.fifo", lanes))
        self.wire(source, (norm, "x"), (fifo, "x"))
        last = norm
        for kernel in branch:
            following = self.add(kernel)
            self.wire(last, (following, "x"))
            last = following
        join = self.add(line(f"{name}.join", lanes, ("x", "r")))
        self.wire(last, (join, "x"))
        self.wire(fifo, (join, "r"))
        return join


def gpt(layers: int = 10, lanes: int = 16, heads: int = 12, keys: int = 28, vocab: int = 260, head: int = 249) -> Chain:
    """Lookup, `layers` blocks of attention and MLP with residuals, norm, head, gather, host ports."""
    chain = Chain()
    port, table = chain.add(host_in("ids", 1)), chain.add(lookup("lookup", lanes, vocab))
    chain.wire(port, (table, "id"), words=2)
    last = table
    for i in range(layers):
        attend = [
            matvec(f"l{i}.qkv", heads, lanes),
            attention(f"l{i}.attention", keys, heads),
            matvec(f"l{i}.proj", lanes, heads),
        ]
        last = chain.block(last, f"l{i}.a", attend, lanes)
        last = chain.block(
            last, f"l{i}.m", [matvec(f"l{i}.up", lanes, lanes), matvec(f"l{i}.down", lanes, lanes)], lanes
        )
    out_lanes = min(16, head)
    tail = [
        line("norm", lanes),
        matvec("head", head, lanes),
        gather("gather", head, out_lanes),
        host_out("logits", out_lanes),
    ]
    for kernel in tail:
        following = chain.add(kernel)
        chain.wire(last, (following, "x"))
        last = following
    return chain
