"""An image becomes the machine's state: programs encoded, wires traced, memory filled, work divided.

*Units* are the cores in core-table order, then the host's input lanes, then its output lanes, each lane a unit with one
task of its own. *Rings* are the cores' bound input queues, then the host's output lanes, then the cores' FIFOs. For the
cycle engine the cores' bound output queues follow: a task writes to its own queue then, not to those of the readers,
and its ring has one place more, for the word that comes in the cycle in which one leaves a full queue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from runtime import defects, memory, structure
from runtime.encode import Code, encode
from runtime.errors import IllegalImageError
from runtime.fabric import Wires, connect
from runtime.faults import MachineFault
from runtime.image import Block, Image, PortLane
from runtime.isa import REGISTERS, Program
from runtime.partition import partition
from runtime.state import (
    AWAY_FIRST,
    C_BASE,
    C_BYTES,
    C_FIFO,
    C_IN,
    C_OUT,
    CHUNK,
    CORE_COLUMNS,
    G_BASE,
    G_CAPACITY,
    R_BASE,
    R_DEPTH,
    R_READER,
    R_WRITER,
    RING_COLUMNS,
    STAT_COLUMNS,
    T_CORE,
    T_GROUP,
    T_PC,
    T_WAIT,
    TAP_COLUMNS,
    TASK_COLUMNS,
    State,
)
from runtime.tables import core_blocks, core_positions, used_queues
from runtime.text import safe

Array = np.ndarray[Any, Any]

HOST_DEPTH = 64  # words of a host output lane's ring; the host always reads


@dataclass(frozen=True)
class Place:
    """Where a task is, for people; `start` is its first row of code."""

    x: int
    y: int
    block: Block
    program: Program
    task: str
    start: int


@dataclass(frozen=True)
class Loaded:
    """The state, and what is needed to feed it and to explain it. Host lanes are numbered in port order."""

    image: Image
    state: State
    code: Code
    x: Array  # [cores]
    y: Array
    block: Array  # [cores]
    owner: Array  # [rings]: unit that reads the ring
    queue: Array  # [rings]: its queue number; -1 for host lanes and FIFOs
    writer: Array  # [rings]: unit that writes the ring, -1 if nothing is routed to it
    wires: Wires  # rings that every output queue's words come to
    lanes_in: list[PortLane]
    lanes_out: list[PortLane]
    senders: Array  # tasks of the host's input lanes
    receivers: Array  # tasks of its output lanes

    @property
    def cores(self) -> int:
        return len(self.x)

    @property
    def fifos(self) -> int:
        """The first ring that is a FIFO."""
        return int(np.count_nonzero(self.queue >= 0)) + len(self.lanes_out)

    def first_fifo(self, unit: int) -> int:
        """The ring of a core's FIFO 0."""
        return int(self.state.core[unit, C_FIFO])

    def output_queue(self, unit: int, ring: int) -> int:
        """The output queue of a core whose words go to a ring."""
        first, sinks = self.state.first, self.state.sinks
        trees = self.state.core[unit, C_OUT:C_FIFO]
        return next(q for q, t in enumerate(trees) if t >= 0 and ring in sinks[first[t] : first[t + 1]])

    def place(self, task: int) -> Place:
        """Where a core's task is."""
        unit = int(self.state.task[task, T_CORE])
        number = int(self.image.cores["program"][unit])
        program = self.image.programs[number]
        own = task - int(np.searchsorted(self.state.task[:, T_CORE], unit))
        block = self.image.blocks[self.block[unit]]
        name, start = program.tasks[own].name, self.code.starts[number][own]
        return Place(int(self.x[unit]), int(self.y[unit]), block, program, name, start)

    def lane_text(self, direction: str, lane: int) -> str:
        """`host port logits lane 3`; lanes of a direction counted over all ports."""
        for port in self.image.ports:
            if port.direction != direction:
                continue
            if lane < len(port.lanes):
                return f"host port {safe(port.name)} lane {lane}"
            lane -= len(port.lanes)
        raise IndexError(lane)


@dataclass(frozen=True)
class _Units:
    """The program of every unit, and which units are the host's."""

    program: Array
    cores: int
    host_in: Array
    host_out: Array

    @property
    def count(self) -> int:
        return len(self.program)


@dataclass(frozen=True)
class _Rings:
    """Who reads and writes each ring; host lanes start at `lanes`, FIFOs at `fifos`."""

    owner: Array
    queue: Array
    writer: Array
    lanes: int
    fifos: int


def load(image: Image, threads: int, *, timed: bool = False, merge: bool = False) -> Loaded:
    """Check and load, for the cycle engine if `timed`; merge: see `runtime.fabric.connect`.

    Raises InputError, IllegalImageError and MachineFault.
    """
    structure.check(image)
    code = encode(image.programs)
    x, y = core_positions(image)
    _check_places(image, x, y)
    _check_bound(image, x, y)
    lanes_in = [lane for port in image.ports if port.direction == "in" for lane in port.lanes]
    lanes_out = [lane for port in image.ports if port.direction == "out" for lane in port.lanes]
    units = _units(image, len(lanes_in), len(lanes_out))
    senders = np.argwhere(image.cores["outq"] >= 0)
    readers = np.argwhere(image.cores["inq"] >= 0)
    outputs = np.column_stack([senders[:, 0], image.cores["outq"][tuple(senders.T)]])
    inputs = np.column_stack([readers[:, 0], image.cores["inq"][tuple(readers.T)]])
    wires = connect(image, np.column_stack([x, y]), inputs, outputs, lanes_in, lanes_out, merge=merge)

    rings = _number_rings(image, units, readers, np.concatenate([senders[:, 0], units.host_in]), wires)
    depth = np.array(image.target.input_depth)[rings.queue[: rings.lanes]]
    depth = np.concatenate([depth, np.full(len(lanes_out), HOST_DEPTH, np.int64)])
    outward = np.array(image.target.output_depth, np.int64)[senders[:, 1]] if timed else np.zeros(0, np.int64)
    if timed:
        outward += 1
    size = memory.core_bytes(image)
    buffer, base = memory.allocate(image, size, 4 * int(depth.sum() + outward.sum()))
    memory.fill(image, buffer, base, size)
    core = _core_table(image, units, readers, senders, rings, base, size)
    block = core_blocks(image)
    within = (rings.writer >= 0) & (rings.writer < units.cores) & (rings.owner < units.cores)
    blocks = partition(image, threads, block[rings.writer[within]], block[rings.owner[within]])
    parts = _unit_partitions(block, blocks, units, rings, wires)
    cross = (rings.writer >= 0) & (parts[rings.writer] != parts[rings.owner])
    task = _task_table(code, units)
    ring = _ring_table(image, units, rings, depth, core)
    first, sinks = wires.first, wires.sinks
    if timed:
        ring = np.concatenate([ring, _output_rings(outward, int(depth.sum()))])
        first, sinks = np.arange(len(outward) + 1), len(rings.owner) + np.arange(len(outward))
    group, span = _groups(block, blocks, units, parts, task)
    state = State(
        code=code.rows,
        words=buffer.view(np.int32),
        floats=buffer.view(np.float32),
        halves=buffer.view(np.uint16),
        core=core,
        task=task,
        reg=np.zeros((len(task), REGISTERS), np.int64),
        ring=ring,
        cross=cross.astype(np.uint8),
        first=first,
        sinks=sinks,
        ready=np.zeros(len(task), np.int64),
        group=group,
        span=span,
        away=np.zeros((len(span) - 1, AWAY_FIRST + 2 * int(cross.sum())), np.int64),
        host_in=np.zeros(1, np.int32),
        host_out=np.zeros(1, np.int32),
        scratch=np.zeros((len(span) - 1, 3, CHUNK), np.float32),
        stats=np.zeros((len(span) - 1, STAT_COLUMNS), np.int64),
        fault=np.zeros((len(span) - 1, 8), np.int64),
        tap=np.zeros((0, TAP_COLUMNS), np.int64),
        tapped=np.zeros(0, np.int32),
    )
    return Loaded(
        image=image,
        state=state,
        code=code,
        x=x,
        y=y,
        block=block,
        owner=rings.owner,
        queue=rings.queue,
        writer=rings.writer,
        wires=wires,
        lanes_in=lanes_in,
        lanes_out=lanes_out,
        senders=len(task) - len(lanes_in) - len(lanes_out) + np.arange(len(lanes_in)),
        receivers=len(task) - len(lanes_out) + np.arange(len(lanes_out)),
    )


def _check_places(image: Image, x: Array, y: Array) -> None:
    """Every core on the usable wafer, no two at one place."""
    left, top, columns, rows = image.target.usable
    outside = (x < left) | (y < top) | (x >= left + columns) | (y >= top + rows)
    place, counts = np.unique(x.astype(np.int64) << 32 | y, return_counts=True)
    if len(x) == 0:
        raise IllegalImageError("the image has no cores", code="no-cores")
    if outside.any():
        c = int(np.argmax(outside))
        raise MachineFault("outside the usable wafer", code="block-place", x=int(x[c]), y=int(y[c]))
    dead = defects.mask(image.target.defects, image.target.usable)[y - top, x - left]
    if dead.any():
        c = int(np.argmax(dead))
        raise MachineFault("a kernel covers this dead core", code="dead-core", x=int(x[c]), y=int(y[c]))
    if counts.max() > 1:
        twice = int(place[np.argmax(counts)])
        raise MachineFault("two blocks share it", code="block-overlap", x=twice >> 32, y=twice & 0xFFFFFFFF)


def _check_bound(image: Image, x: Array, y: Array) -> None:
    """Every queue a program uses has a colour at every core that runs it, and no colour fills two queues of a core."""
    program = image.cores["program"]
    for number, definition in enumerate(image.programs):
        for table, queues in zip(("inq", "outq"), used_queues(definition), strict=True):
            unbound = (program == number) & (image.cores[table][:, queues] < 0).any(axis=1)
            if unbound.any():
                c = int(np.argmax(unbound))
                message = f"program {definition.name} uses a queue that has no colour"
                raise MachineFault(message, code="queue-unbound", x=int(x[c]), y=int(y[c]))
    colours = np.sort(image.cores["inq"], axis=1)
    double = ((colours[:, 1:] == colours[:, :-1]) & (colours[:, 1:] >= 0)).any(axis=1)
    if double.any():
        c = int(np.argmax(double))
        raise MachineFault("two input queues have one colour", code="queue-colour", x=int(x[c]), y=int(y[c]))


def _units(image: Image, lanes_in: int, lanes_out: int) -> _Units:
    cores, programs = len(image.cores), len(image.programs)
    hosts = [np.full(lanes_in, programs), np.full(lanes_out, programs + 1)]  # see `encode`
    program = np.concatenate([image.cores["program"].astype(np.int64), *hosts])
    return _Units(program, cores, cores + np.arange(lanes_in), cores + lanes_in + np.arange(lanes_out))


def _fifos_per_unit(image: Image, units: _Units) -> Array:
    return np.array([len(program.fifos) for program in image.programs] + [0, 0, 0])[units.program]


def _number_rings(image: Image, units: _Units, readers: Array, sources: Array, wires: Wires) -> _Rings:
    """sources: the unit of each tree."""
    fifo_owner = np.repeat(np.arange(units.count), _fifos_per_unit(image, units))
    owner = np.concatenate([readers[:, 0], units.host_out, fifo_owner])
    queue = np.full(len(owner), -1)
    queue[: len(readers)] = readers[:, 1]
    writer = np.full(len(owner), -1)
    writer[wires.sinks] = np.repeat(sources, np.diff(wires.first))
    fifos = len(owner) - len(fifo_owner)
    writer[fifos:] = fifo_owner
    return _Rings(owner, queue, writer, len(readers), fifos)


def _core_table(
    image: Image, units: _Units, readers: Array, senders: Array, rings: _Rings, base: Array, size: Array
) -> Array:
    core = np.zeros((units.count, CORE_COLUMNS), np.int64)
    core[:, C_IN:C_FIFO] = -1
    core[: units.cores, C_BASE], core[: units.cores, C_BYTES] = base // 4, size
    core[readers[:, 0], C_IN + readers[:, 1]] = np.arange(len(readers))
    core[senders[:, 0], C_OUT + senders[:, 1]] = np.arange(len(senders))
    core[units.host_in, C_OUT] = len(senders) + np.arange(len(units.host_in))
    core[units.host_out, C_IN] = rings.lanes + np.arange(len(units.host_out))
    count = _fifos_per_unit(image, units)
    core[:, C_FIFO] = rings.fifos + np.cumsum(count) - count
    return core


def _ring_table(image: Image, units: _Units, rings: _Rings, depth: Array, core: Array) -> Array:
    ring = np.zeros((len(rings.owner), RING_COLUMNS), np.int64)
    ring[:, R_READER] = ring[:, R_WRITER] = -1
    ring[: rings.fifos, R_DEPTH], ring[: rings.fifos, R_BASE] = depth, np.cumsum(depth) - depth
    used = units.program[: units.cores]
    fifos = [(fifo.words, fifo.address // 4) for p in used[used >= 0] for fifo in image.programs[p].fifos]
    words, address = np.array(fifos, np.int64).reshape(-1, 2).T
    ring[rings.fifos :, R_DEPTH], ring[rings.fifos :, R_BASE] = (
        words,
        address + core[rings.owner[rings.fifos :], C_BASE],
    )
    return ring


def _output_rings(depth: Array, base: int) -> Array:
    """The rings of the cores' output queues, whose words lie from `base` on."""
    ring = np.zeros((len(depth), RING_COLUMNS), np.int64)
    ring[:, R_READER] = ring[:, R_WRITER] = -1
    ring[:, R_DEPTH], ring[:, R_BASE] = depth, base + np.cumsum(depth) - depth
    return ring


def _unit_partitions(block: Array, blocks: Array, units: _Units, rings: _Rings, wires: Wires) -> Array:
    """Host lanes go with a core at their other end."""
    parts = np.zeros(units.count, np.int64)
    parts[: units.cores] = blocks[block]
    writers = rings.writer[rings.lanes : rings.fifos]
    parts[units.host_out] = np.where((writers >= 0) & (writers < units.cores), parts[writers], 0)
    first_sink = wires.sinks[wires.first[-1 - len(units.host_in) : -1]]
    parts[units.host_in] = parts[rings.owner[first_sink]]
    return parts


def _task_table(code: Code, units: _Units) -> Array:
    """One row per task; tasks stand in unit order."""
    per_program = np.array([len(starts) for starts in code.starts] + [0])
    count = per_program[units.program]
    unit = np.repeat(np.arange(units.count), count)
    starts = np.array([row for starts in code.starts for row in starts], np.int64)
    first = np.cumsum(per_program) - per_program
    number = np.arange(len(unit)) - np.repeat(np.cumsum(count) - count, count)
    task = np.zeros((len(unit), TASK_COLUMNS), np.int64)
    task[:, T_WAIT] = -1
    task[:, T_CORE] = unit
    task[:, T_PC] = starts[first[units.program[unit]] + number]
    return task


def _groups(block: Array, blocks: Array, units: _Units, parts: Array, task: Array) -> tuple[Array, Array]:
    """Ready groups: per partition the host's input lanes, its blocks in order, the host's output lanes."""
    first_block = np.searchsorted(blocks, np.arange(blocks[-1] + 2))
    span = (first_block + 2 * np.arange(len(first_block))).astype(np.int64)
    of_blocks = np.arange(len(blocks)) + 2 * blocks + 1
    unit_group = np.concatenate([of_blocks[block], span[parts[units.host_in]], span[parts[units.host_out] + 1] - 1])
    task[:, T_GROUP] = unit_group[task[:, T_CORE]]
    group = np.zeros((span[-1], 4), np.int64)
    group[:, G_CAPACITY] = np.bincount(task[:, T_GROUP], minlength=len(group))
    group[:, G_BASE] = np.cumsum(group[:, G_CAPACITY]) - group[:, G_CAPACITY]
    return group, span
