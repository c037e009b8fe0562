"""Tiny hand-made images on the 32 x 32 target, for tests of the machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from runtime import target
from runtime.geometry import EAST, IDENTITY, NORTH, RAMP, SOUTH, WEST, bit
from runtime.image import CORE, ROUTE, Block, Image, Init, Port, PortLane, Tensor
from runtime.isa import (
    INPUT_QUEUES,
    OUTPUT_QUEUES,
    Binary,
    Const,
    Dtype,
    Fifo,
    FifoDef,
    Fmac,
    In,
    Instr,
    Loop,
    Mem,
    Mov,
    Out,
    Program,
    Reg,
    Region,
    Task,
)

X0, Y0 = 4, 1  # north-west corner of the usable wafer
F32, F16, I32 = Dtype.F32, Dtype.F16, Dtype.I32
HEADER = Mem(0, I32)


class Wafer:
    """Collects the parts of an image. Coordinates count from the usable corner."""

    def __init__(self) -> None:
        self.target = target.load("mini-32x32")
        self.programs: list[Program] = []
        self.blocks: list[Block] = []
        self.cores: list[tuple[int, list[int], list[int]]] = []
        self.routes: list[tuple[int, ...]] = []
        self.inits: list[Init] = []
        self.tensors: dict[str, Tensor] = {}
        self.ports: list[Port] = []

    def program(self, *bodies: Sequence[Instr], data: int = 4096, fifos: tuple[FifoDef, ...] = ()) -> int:
        tasks = tuple(Task(f"t{i}", tuple(body)) for i, body in enumerate(bodies))
        regions = (Region("data", "buffer", 0, data),)
        names = ((2, "x"), (3, "partial"))
        self.programs.append(Program(f"p{len(self.programs)}", tasks, regions, fifos, names, names))
        return len(self.programs) - 1

    def block(self, name: str, x: int, y: int, rows: int, cols: int) -> int:
        self.blocks.append(Block(name, "test", X0 + x, Y0 + y, rows, cols, IDENTITY, len(self.cores), (f"/{name}/op",)))
        self.cores += [(-1, [-1] * INPUT_QUEUES, [-1] * OUTPUT_QUEUES) for _ in range(rows * cols)]
        return len(self.blocks) - 1

    def core(self, block: int, r: int, c: int, program: int, inq: dict[int, int], outq: dict[int, int]) -> None:
        place = self.blocks[block].first + r * self.blocks[block].cols + c
        queues_in = [inq.get(q, -1) for q in range(INPUT_QUEUES)]
        queues_out = [outq.get(q, -1) for q in range(OUTPUT_QUEUES)]
        self.cores[place] = (program, queues_in, queues_out)

    def route(self, x: int, y: int, colour: int, inputs: int, outputs: int, w: int = 1, h: int = 1) -> None:
        self.routes.append((X0 + x, Y0 + y, w, h, colour, inputs, outputs))

    def init(self, block: int, address: int, data: Any, dtype: str = "f32", **rule: Any) -> None:
        name = f"t{len(self.tensors)}"
        self.tensors[name] = Tensor(np.asarray(data))
        whole = self.blocks[block]
        rule = {
            "rows": (0, whole.rows),
            "cols": (0, whole.cols),
            "pitch": np.asarray(data).shape[-1],
            "step": 1,
            "count": (1, np.asarray(data).size),
            "offset": 0,
            "per_row": 0,
            "per_col": 0,
            "stride": (0, 1),
        } | rule
        self.inits.append(Init(block=block, address=address, dtype=dtype, tensor=name, **rule))

    def port(
        self,
        name: str,
        direction: str,
        lanes: list[tuple[int, int, int, int]],
        features: int,
        shape: tuple[int | str, ...] = (),
        dtype: str = "f32",
        limit: int | None = None,
    ) -> None:
        """lanes: (x, y, side, colour)."""
        block = -(-features // len(lanes))
        parts = [
            PortLane(X0 + x, Y0 + y, side, colour, i * block, min(block, features - i * block))
            for i, (x, y, side, colour) in enumerate(lanes)
        ]
        shape = shape or ("batch", "seq", features)
        self.ports.append(Port(name, direction, dtype, shape, features, tuple(parts), limit))

    def image(self, max_seq: int = 16, slots: int = 2) -> Image:
        return Image(
            self.target,
            self.programs,
            self.blocks,
            np.array([(p, tuple(i), tuple(o)) for p, i, o in self.cores], CORE),
            np.array(self.routes, ROUTE),
            self.inits,
            self.tensors,
            self.ports,
            max_seq,
            slots,
        )


def take(queue: int, extent: int) -> list[Instr]:
    """Header to address 0, then `extent` elements to address 16."""
    return [Mov(HEADER, In(queue, 1, I32)), Mov(Mem(16, F32, extent), In(queue, extent))]


def give(queue: int, source: Mem) -> list[Instr]:
    assert isinstance(source.extent, int)
    return [Mov(Out(queue, 1, I32), HEADER), Mov(Out(queue, source.extent), source)]


def core_image(body: Sequence[Instr], n_in: int, n_out: int, **options: Any) -> Image:
    """One core on the west edge: x comes in from the west on queue 2, y leaves to the north on queue 2."""
    wafer = Wafer()
    data = options.pop("data", None)
    fifos = options.pop("fifos", ())
    tasks = options.pop("tasks", ())
    block = wafer.block("one", 0, 0, 1, 1)
    wafer.core(block, 0, 0, wafer.program(body, *tasks, fifos=fifos), {2: 0}, {2: 1})
    wafer.route(0, 0, 0, bit(WEST), bit(RAMP))
    wafer.route(0, 0, 1, bit(RAMP), bit(NORTH))
    wafer.port("x", "in", [(0, 0, WEST, 0)], n_in)
    wafer.port("y", "out", [(0, 0, NORTH, 1)], n_out)
    for address, values in (data or {}).items():
        wafer.init(block, address, values, {2: "f16", 4: "f32"}[values.itemsize])
    return wafer.image(**options)


def matvec_image(w: Any, storage: Dtype = F32, dtype: str = "f32") -> Image:
    """y = x W on 2 x 2 cores, W [k, n] cut into four tiles: rows multicast x, columns chain partial sums south."""
    k, n = w.shape[0] // 2, w.shape[1] // 2
    wafer = Wafer()
    block = wafer.block("matvec", 0, 0, 2, 2)
    x, y, tile = Mem(16, storage, k), Mem(256, F32, n), 1024
    row = Mem(tile, storage, n, 1, Reg(0), n * storage.size)
    work: list[Instr] = [
        Mov(HEADER, In(2, 1, I32)),
        Mov(x, In(2, k)),
        Mov(y, Const(0.0)),
        Loop(Reg(0), k, (Fmac(y, Mem(16, storage, 1, 1, Reg(0), storage.size), row),)),
    ]
    top = wafer.program([*work, Mov(Out(3, n), y)], data=8192)
    end = [Binary("add", y, y, In(3, n)), *give(2, y)]
    bottom = wafer.program([*work, *end], data=8192)
    for c in range(2):
        wafer.core(block, 0, c, top, {2: 0}, {3: 2})
        wafer.core(block, 1, c, bottom, {2: 0, 3: 2}, {2: 1})
    wafer.route(0, 0, 0, bit(WEST), bit(EAST) | bit(RAMP), h=2)
    wafer.route(1, 0, 0, bit(WEST), bit(RAMP), h=2)
    wafer.route(0, 0, 2, bit(RAMP), bit(SOUTH), w=2)
    wafer.route(0, 1, 2, bit(NORTH), bit(RAMP), w=2)
    wafer.route(0, 1, 1, bit(RAMP), bit(SOUTH), w=2)
    wafer.route(0, 2, 1, bit(NORTH), bit(SOUTH), w=2, h=30)
    stride = (2 * n, 1)
    rule = {"pitch": n, "count": (k, n), "per_row": k * 2 * n, "per_col": n, "stride": stride}
    wafer.init(block, tile, w, storage.value, **rule)
    wafer.port("x", "in", [(0, r, WEST, 0) for r in range(2)], 2 * k, dtype=dtype)
    wafer.port("y", "out", [(c, 31, SOUTH, 1) for c in range(2)], 2 * n, dtype=dtype)
    return wafer.image()


def chain_image(length: int, n: int) -> Image:
    """`length` blocks of one core, each adding its number to what it passes east."""
    wafer = Wafer()
    for i in range(length):
        block = wafer.block(f"link{i}", i, 0, 1, 1)
        body = [*take(2, n), Binary("add", Mem(16, F32, n), Mem(16, F32, n), Const(float(i)))]
        program = wafer.program([*body, *give(2, Mem(16, F32, n))])
        wafer.core(block, 0, 0, program, {2: i % 2}, {2: (i + 1) % 2})
        wafer.route(i, 0, i % 2, bit(WEST), bit(RAMP))
        wafer.route(i, 0, (i + 1) % 2, bit(RAMP), bit(EAST if i + 1 < length else NORTH))
    wafer.port("x", "in", [(0, 0, WEST, 0)], n)
    wafer.port("y", "out", [(length - 1, 0, NORTH, length % 2)], n)
    return wafer.image()


def fifo_image(n: int, tokens: int) -> Image:
    """One core with two tasks: one fills a ring of `tokens` tokens, the other drains it."""
    words = n + 1
    fill = [Mov(Fifo(0, words, I32), In(2, words, I32))]
    drain = [Mov(Out(2, words, I32), Fifo(0, words, I32))]
    return core_image(fill, n, n, tasks=(drain,), fifos=(FifoDef(64, tokens * words),))


def history_image(slots: int = 2, max_seq: int = 4) -> Image:
    """y[t] = sum of x[0..t] of the sequence, from a cache in the core's memory; caches start with rubbish."""
    from runtime.isa import Alu, Load

    entry = Mem(256, F32, 1, 1, Reg(3), 4)
    body: list[Instr] = [
        *take(2, 1),
        Load(Reg(0), HEADER),
        Alu("and", Reg(1), Reg(0), (1 << 20) - 1),
        Alu("and", Reg(2), Reg(0), 255 << 20),
        Alu("shr", Reg(2), Reg(2), 20),
        Alu("mul", Reg(2), Reg(2), max_seq),
        Alu("add", Reg(3), Reg(2), Reg(1)),
        Mov(entry, Mem(16, F32)),
        Mov(Mem(20, F32), Const(0.0)),
        Alu("add", Reg(4), Reg(1), 1),
        Loop(
            Reg(5),
            Reg(4),
            (Alu("add", Reg(3), Reg(2), Reg(5)), Binary("add", Mem(20, F32), Mem(20, F32), entry)),
        ),
        *give(2, Mem(20, F32)),
    ]
    rubbish = np.full(slots * max_seq, 1e9, np.float32)
    return core_image(body, 1, 1, data={256: rubbish}, max_seq=max_seq, slots=slots)


def deadlock_image() -> Image:
    """Two cores that each want the other's token before they send their own."""
    wafer = Wafer()
    block = wafer.block("pair", 0, 0, 1, 2)
    left = wafer.program([*take(2, 2), Mov(Mem(64, F32, 2), In(3, 2)), Mov(Out(3, 2), Mem(16, F32, 2))])
    right = wafer.program([Mov(Mem(64, F32, 2), In(3, 2)), Mov(Out(3, 2), Mem(64, F32, 2))])
    wafer.core(block, 0, 0, left, {2: 0, 3: 2}, {3: 3})
    wafer.core(block, 0, 1, right, {3: 3}, {3: 2})
    wafer.route(0, 0, 0, bit(WEST), bit(RAMP))
    wafer.route(0, 0, 3, bit(RAMP), bit(EAST))
    wafer.route(1, 0, 3, bit(WEST), bit(RAMP))
    wafer.route(1, 0, 2, bit(RAMP), bit(WEST))
    wafer.route(0, 0, 2, bit(EAST), bit(RAMP))
    wafer.port("x", "in", [(0, 0, WEST, 0)], 2)
    return wafer.image()


def crossing_image(n: int) -> Image:
    """Two cores three routers apart that each send n words before they take the other's."""
    wafer = Wafer()
    blocks = [wafer.block(name, x, 0, 1, 1) for name, x in (("left", 0), ("right", 3))]
    left: list[Instr] = [
        Mov(Mem(0, I32), In(2, 1, I32)),
        Mov(Out(3, n), Mem(64, F32, n)),
        Mov(Mem(64, F32, n), In(3, n)),
    ]
    right = wafer.program([Mov(Out(3, n), Mem(64, F32, n)), Mov(Mem(64, F32, n), In(3, n))])
    wafer.core(blocks[0], 0, 0, wafer.program(left), {2: 0, 3: 2}, {3: 3})
    wafer.core(blocks[1], 0, 0, right, {3: 3}, {3: 2})
    wafer.route(0, 0, 0, bit(WEST), bit(RAMP))
    for colour, start, end, towards, origin in ((3, 0, 3, EAST, WEST), (2, 3, 0, WEST, EAST)):
        wafer.route(start, 0, colour, bit(RAMP), bit(towards))
        wafer.route(1, 0, colour, bit(origin), bit(towards), w=2)
        wafer.route(end, 0, colour, bit(origin), bit(RAMP))
    wafer.port("x", "in", [(0, 0, WEST, 0)], 1)
    return wafer.image()
