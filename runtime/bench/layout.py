"""Images of microbenchmarks: a rectangle of cores that start by themselves at cycle 0, joined by straight routes.

Nothing comes from the host, so the measured program has the fabric to itself; the target is the given machine cut to
the rectangle, without memcpy (all 24 colours and all queues).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from runtime.errors import InputError
from runtime.geometry import EAST, IDENTITY, NORTH, OPPOSITE, RAMP, SOUTH, STEP, WEST, bit
from runtime.image import CORE, ROUTE, Block, Image, Init, Tensor
from runtime.isa import INPUT_QUEUES, OUTPUT_QUEUES, Dtype, FifoDef, In, Instr, Mem, Mov, Program, Region, Task
from runtime.structure import COLOURS
from runtime.target import Target

Place = tuple[int, int]  # column, row

STOP_COLOUR = COLOURS - 1  # no route has it
STOP_WORD = 0  # address of the word a stopped task waits for; data begin above it
DATA = 16
MAX_BYTES = 1 << 30  # of all cores together
# The deepest queues first.
_OUTPUTS = (2, 3, 0, 1, 4, 5)


def bench_target(base: Target, cols: int, rows: int) -> Target:
    """`base` cut to a rectangle, without memcpy. Raises InputError if it has not so many cores."""
    if cols > base.fabric[0] or rows > base.fabric[1]:
        message = f"{cols} x {rows} cores; {base.name} has {base.fabric[0]} x {base.fabric[1]}"
        raise InputError(message, code="bench-size")
    return dataclasses.replace(
        base,
        name=f"{base.name}-bench",
        fabric=(cols, rows),
        usable=(0, 0, cols, rows),
        colours=COLOURS,
        input_queues=tuple(range(INPUT_QUEUES)),
        output_queues=tuple(range(OUTPUT_QUEUES)),
        defects=(),
    )


class Layout:
    """Collects cores, routes and memory contents. Places are (column, row); core (0, 0) is north-west."""

    def __init__(self, cols: int, rows: int, data_bytes: int, base: Target) -> None:
        """data_bytes: of every core. Raises InputError if the machine has not so many cores or so much memory."""
        self.target = bench_target(base, cols, rows)
        self.cols, self.rows, self.data_bytes = cols, rows, data_bytes
        self._check_memory(data_bytes)
        if data_bytes * cols * rows > MAX_BYTES:
            message = f"{data_bytes * cols * rows} bytes on {cols * rows} cores; microbenchmarks take {MAX_BYTES}"
            raise InputError(message, code="bench-size", hint="fewer cores or words")
        self._routes: dict[tuple[int, int, int], list[int]] = {}
        self._inputs: dict[Place, dict[int, int]] = {}  # colour -> queue
        self._outputs: dict[Place, dict[int, int]] = {}
        self._programs: dict[tuple[tuple[tuple[Instr, ...], ...], tuple[FifoDef, ...]], int] = {}
        self._program_of: dict[Place, int] = {}
        self._inits: list[Init] = []
        self._tensors: dict[str, Tensor] = {}

    def _check_memory(self, size: int) -> None:
        if size > self.target.memory_bytes:
            message = f"{size} bytes of data and code on a core, which has {self.target.memory_bytes}"
            raise InputError(message, code="bench-size", hint="fewer words or elements")

    # Wires

    def route(self, place: Place, colour: int, takes: int, gives: int) -> None:
        """Add port masks to a router's entry for a colour."""
        entry = self._routes.setdefault((*place, colour), [0, 0])
        entry[0] |= takes
        entry[1] |= gives

    def line(self, colour: int, source: Place, *readers: Place) -> None:
        """A straight route from a source to its farthest reader, all in one row or column, heard by all readers."""
        far = max(readers, key=lambda place: abs(place[0] - source[0]) + abs(place[1] - source[1]))
        dx, dy = far[0] - source[0], far[1] - source[1]
        direction = EAST if dx > 0 else WEST if dx < 0 else SOUTH if dy > 0 else NORTH
        place, takes = source, bit(RAMP)
        while True:
            gives = (0 if place == far else bit(direction)) | (bit(RAMP) if place in readers else 0)
            self.route(place, colour, takes, gives)
            if place == far:
                return
            place = (place[0] + STEP[direction][0], place[1] + STEP[direction][1])
            takes = bit(OPPOSITE[direction])

    def input(self, place: Place, colour: int) -> int:
        """The input queue of a colour at a core."""
        queues = self._inputs.setdefault(place, {})
        return queues.setdefault(colour, len(queues))

    def output(self, place: Place, colour: int) -> int:
        """The output queue of a colour at a core."""
        queues = self._outputs.setdefault(place, {})
        return queues.setdefault(colour, _OUTPUTS[len(queues)])

    # Cores

    def stop(self, place: Place) -> Instr:
        """The end of a task that would begin again by itself: it waits for a word that nobody sends."""
        return Mov(Mem(STOP_WORD, Dtype.F32), In(self.input(place, STOP_COLOUR), 1))

    def core(self, place: Place, *bodies: Sequence[Instr], fifos: tuple[FifoDef, ...] = ()) -> None:
        """Give a core its tasks, the main thread first."""
        key = (tuple(tuple(body) for body in bodies), fifos)
        self._program_of[place] = self._programs.setdefault(key, len(self._programs))

    def fill(
        self, address: int, data: Any, count: tuple[int, int], *, dtype: Dtype = Dtype.F32, pitch: int = 0,
        per: tuple[int, int] = (0, 0), stride: tuple[int, int] = (0, 1),
    ) -> None:  # fmt: skip
        """Initial memory of all cores, see `runtime.image.Init`; per: elements further per column and per row."""
        name = f"data{len(self._tensors)}"
        self._tensors[name] = Tensor(np.asarray(data, np.float32))
        self._inits.append(
            Init(
                0,
                (0, self.rows),
                (0, self.cols),
                address,
                dtype.value,
                pitch or count[1],
                1,
                count,
                name,
                0,
                per[1],
                per[0],
                stride,
            )
        )

    # Image

    def image(self) -> Image:
        """The image; its memory is checked here, the rest by the loader. Raises InputError if a core's does not fit."""
        region = (Region("data", "buffer", 0, self.data_bytes),)
        programs = [
            Program(f"p{number}", tuple(Task(f"t{i}", body) for i, body in enumerate(bodies)), region, fifos)
            for (bodies, fifos), number in self._programs.items()
        ]
        self._check_memory(max(program.data_bytes + program.code_bytes for program in programs))
        cores = np.zeros(self.cols * self.rows, CORE)
        cores["program"] = cores["inq"] = cores["outq"] = -1
        for (x, y), number in self._program_of.items():
            row = cores[y * self.cols + x]
            row["program"] = number
            for table, queues in (("inq", self._inputs), ("outq", self._outputs)):
                for colour, queue in queues.get((x, y), {}).items():
                    row[table][queue] = colour
        routes = [(x, y, 1, 1, colour, takes, gives) for (x, y, colour), (takes, gives) in self._routes.items()]
        block = Block("bench", "bench", 0, 0, self.rows, self.cols, IDENTITY, 0)
        return Image(
            self.target, programs, [block], cores, np.array(routes, ROUTE), self._inits, self._tensors, [], 1, 1
        )
