"""Tiny legal images for the tests of image file, inspection and validator, and helpers to break them."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np

from runtime import target as targets
from runtime.geometry import EAST, IDENTITY, NORTH, RAMP, SOUTH, WEST, bit
from runtime.image import CORE, ROUTE, Block, Image, Init, Port, PortLane, Tensor
from runtime.isa import (
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
from runtime.target import Target

N, E, S, W, R = (bit(d) for d in (NORTH, EAST, SOUTH, WEST, RAMP))
I32, F32 = Dtype.I32, Dtype.F32


def toy_target(columns: int, rows: int) -> Target:
    """A wafer of columns x rows usable cores, one router of margin all around."""
    mini = targets.load("mini-32x32")
    return dataclasses.replace(mini, name="toy", fabric=(columns + 2, rows + 2), usable=(1, 1, columns, rows))


def routes(*entries: tuple[int, int, int, int, int, int, int]) -> np.ndarray[Any, Any]:
    return np.array(list(entries), ROUTE)


def core(program: int, inq: dict[int, int], outq: dict[int, int]) -> Any:
    """One row of the core table."""
    row = np.zeros((), CORE)
    row["program"], row["inq"], row["outq"] = program, -1, -1
    for queue, colour in inq.items():
        row["inq"][queue] = colour
    for queue, colour in outq.items():
        row["outq"][queue] = colour
    return row


def matvec_program(name: str, below: bool) -> Program:
    """y = W^T x for a 2 x 2 tile; the lower core of a column adds what comes from the upper one."""
    head, x, acc = Mem(0, I32), Mem(4, F32, 2), Mem(12, F32, 2)
    body: list[Instr] = [
        Mov(head, In(2, 1, I32)),
        Mov(x, In(2, 2)),
        Mov(acc, Const(0.0)),
        Loop(Reg(0), 2, (Fmac(acc, Mem(4, F32, 1, 1, Reg(0), 4), Mem(20, F32, 2, 1, Reg(0), 8)),)),
    ]
    if below:
        body += [Mov(head, In(3, 1, I32)), Binary("add", acc, acc, In(3, 2))]
    body += [Mov(Out(2, 1, I32), head), Mov(Out(2, 2), acc)]
    regions = (
        Region("head", "buffer", 0, 4),
        Region("x", "buffer", 4, 8),
        Region("acc", "buffer", 12, 8),
        Region("w", "weights", 20, 16),
    )
    inputs = ((2, "x"), (3, "above")) if below else ((2, "x"),)
    return Program(name, (Task("main", tuple(body)),), regions, (), inputs, ((2, "y"),))


def matvec_image() -> Image:
    """y = W^T x, W 4 x 6, on 2 x 3 cores: x enters from the west, is multicast along rows, y leaves to the south."""
    columns, rows = 3, 2
    cores = [core(0, {2: 0}, {2: 1}) for _ in range(columns)] + [core(1, {2: 0, 3: 1}, {2: 2}) for _ in range(columns)]
    lanes_in = tuple(PortLane(1, 1 + r, WEST, 0, 2 * r, 2) for r in range(rows))
    lanes_out = tuple(PortLane(1 + c, 2, SOUTH, 2, 2 * c, 2) for c in range(columns))
    return Image(
        target=toy_target(columns, rows),
        programs=[matvec_program("matvec.top", False), matvec_program("matvec.bottom", True)],
        blocks=[Block("fc", "matvec", 1, 1, rows, columns, IDENTITY, 0, ("/fc/MatMul",))],
        cores=np.array(cores, CORE),
        routes=routes(
            (1, 1, 2, 2, 0, W, E | R),
            (3, 1, 1, 2, 0, W, R),
            (1, 1, 3, 1, 1, R, S),
            (1, 2, 3, 1, 1, N, R),
            (1, 2, 3, 1, 2, R, S),
        ),
        inits=[Init(0, (0, 2), (0, 3), 20, "f32", 2, 1, (2, 2), "fc.weight", 0, 12, 2, (6, 1))],
        tensors={"fc.weight": Tensor(np.arange(24, dtype=np.float32).reshape(4, 6))},
        ports=[
            Port("x", "in", "f32", ("batch", "seq", 4), 4, lanes_in),
            Port("y", "out", "f32", ("batch", "seq", 6), 6, lanes_out),
        ],
        max_seq=8,
        slots=1,
        manifest={"report": {"interval_cycles": 10}, "model": "toy"},
    )


def echo_image() -> Image:
    """One core with two tasks and a FIFO between them, and a second core that passes words on."""
    words = 5
    ring = Region("ring", "fifo", 0, 16)
    buffer = Program(
        "buffer",
        (
            Task("in", (Mov(Fifo(0, words), In(2, words)),)),
            Task("out", (Mov(Out(2, words), Fifo(0, words)),)),
        ),
        (ring,),
        (FifoDef(0, 4),),
    )
    wire = Program("wire", (Task("main", (Mov(Out(3, words), In(4, words)),)),))
    return Image(
        target=toy_target(2, 1),
        programs=[buffer, wire],
        blocks=[
            Block("a", "fifo", 1, 1, 1, 1, IDENTITY, 0),
            Block("b", "relane", 2, 1, 1, 1, IDENTITY, 1),
        ],
        cores=np.array([core(0, {2: 0}, {2: 1}), core(1, {4: 1}, {3: 0})], CORE),
        routes=routes((1, 1, 1, 1, 0, W, R), (1, 1, 1, 1, 1, R, E), (2, 1, 1, 1, 1, W, R), (2, 1, 1, 1, 0, R, E)),
        inits=[],
        tensors={},
        ports=[
            Port("x", "in", "f32", ("seq", 4), 4, (PortLane(1, 1, WEST, 0, 0, 4),)),
            Port("y", "out", "f32", ("seq", 4), 4, (PortLane(2, 1, EAST, 0, 0, 4),)),
        ],
        max_seq=8,
        slots=1,
    )


def exchange_image(words: int) -> Image:
    """Two cores that each send `words` before they receive: legal as long as the words fit the input queue."""
    memory = Mem(0, F32, words)
    body = (Mov(Out(2, words), memory), Mov(memory, In(2, words)))
    program = Program("exchange", (Task("main", body),), (Region("data", "buffer", 0, 4 * words),))
    return Image(
        target=toy_target(2, 1),
        programs=[program],
        blocks=[Block("pair", "map", 1, 1, 1, 2, IDENTITY, 0)],
        cores=np.array([core(0, {2: 1}, {2: 0}), core(0, {2: 0}, {2: 1})], CORE),
        routes=routes((1, 1, 1, 1, 0, R, E), (2, 1, 1, 1, 0, W, R), (2, 1, 1, 1, 1, R, W), (1, 1, 1, 1, 1, E, R)),
        inits=[],
        tensors={},
        ports=[],
        max_seq=8,
        slots=1,
    )


def changed(image: Image, **fields: Any) -> Image:
    """A deep copy of the image with fields replaced."""
    return dataclasses.replace(copy.deepcopy(image), **fields)


def edit_program(image: Image, number: int, **fields: Any) -> Image:
    """A copy with fields of one program replaced."""
    programs = list(image.programs)
    programs[number] = dataclasses.replace(programs[number], **fields)
    return changed(image, programs=programs)
