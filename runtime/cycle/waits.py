"""Who waits for whom, once nothing can move: from a task, hop by hop, to the task that would have to act.

A task waits at one queue or FIFO. Words it misses come along one way, on which they are either held up or not there;
room it misses is taken by words that some queue further on does not take. So each wait leads to one other task, or to
an end: the host, or nobody.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtime import fabric
from runtime.cycle.divide import whole
from runtime.cycle.state import (
    D_COLOUR,
    D_FANS,
    D_FEEDER,
    D_FIRST,
    D_HERE,
    D_PENDING,
    F_LINK,
    F_TO,
    K_FIRST,
    LINKS,
    P_LANES,
    P_OUT,
    P_RINGS,
    P_SOURCES,
    R_FEEDER,
    Clocks,
)
from runtime.deadlock import named, task_text, unit_text
from runtime.isa import Fifo, In, Out, Program, operands, walk
from runtime.loader import Loaded
from runtime.state import R_DEPTH, R_HEAD, R_TAIL, T_CORE, T_LAST, T_NEXT, T_ROOM, T_WAIT, State

Array = np.ndarray[Any, Any]

ROUTERS_LISTED = 8
DOES = {  # with the ends of queues and FIFOs
    "in": "takes words from input queue",
    "out": "puts words into output queue",
    "fifo in": "fills fifo",
    "fifo out": "empties fifo",
}


@dataclass(frozen=True)
class Wait:
    """Of one task: the story as lines, and the task that would have to act; None: the last line says why nobody can."""

    lines: tuple[str, ...]
    following: int | None


class Waits:
    """The waits of a machine at rest. sent, wanted: words of each input and output lane in this call."""

    def __init__(self, loaded: Loaded, state: State, clock: Clocks, sent: Array, wanted: Array) -> None:
        self.loaded = dataclasses.replace(loaded, state=state)
        self.task, self.ring = state.task, state.ring
        self.node, self.fan = whole(clock)
        self.first_task = clock.core[:, K_FIRST]
        self.sources, self.lanes = int(clock.now[0, P_SOURCES]), int(clock.now[0, P_LANES])
        self.rings, self.outputs = int(clock.now[0, P_RINGS]), int(clock.now[0, P_OUT])
        self.senders = np.argwhere(loaded.image.cores["outq"] >= 0)
        self.window = fabric.window_of(loaded.image.target)
        self.sent, self.wanted = sent, wanted
        self._known: dict[int, Wait] = {}

    def of(self, task: int) -> Wait:
        """The wait of a task that waits."""
        if task not in self._known:
            self._known[task] = self._wait(task)
        return self._known[task]

    def of_lane(self, lane: int) -> Wait:
        """Why a host output lane gets no more words."""
        fan = int(np.argmax(self.fan[:, F_TO] == -1 - self.rings - lane))
        return self._upstream(int(np.searchsorted(self.node[:, D_FIRST], fan, "right")) - 1)

    def missing_lanes(self) -> list[int]:
        """Host output lanes that have not got all words."""
        done = self.task[self.loaded.receivers]
        return np.flatnonzero(done[:, T_NEXT] < done[:, T_LAST]).tolist()

    def filled_rings(self) -> list[int]:
        """Input queues and FIFOs in which words are left."""
        some = self.ring[:, R_HEAD] != self.ring[:, R_TAIL]
        some[self.loaded.fifos - len(self.loaded.lanes_out) : self.loaded.fifos] = False
        return np.flatnonzero(some[: self.outputs]).tolist()

    def of_node(self, n: int) -> Wait:
        """What the words that a node holds wait for."""
        line = f"{self.node[n, D_HERE]} words are left in {self._place(n)}"
        return self._prefixed(line, self._downstream(n))

    def holding_nodes(self) -> list[int]:
        """Routers, output queues and host input lanes with words."""
        return np.flatnonzero(self.node[:, D_HERE]).tolist()

    def reader(self, ring: int) -> int | None:
        """The task that takes words from an input queue or a FIFO; None if no instruction does."""
        kind = "in" if ring < self.loaded.fifos else "fifo out"
        return self._user(int(self.loaded.owner[ring]), kind, self._number(ring))

    def words(self, ring: int) -> int:
        """Words in a ring."""
        return int((self.ring[ring, R_TAIL] - self.ring[ring, R_HEAD]) % (2 * self.ring[ring, R_DEPTH]))

    def _number(self, ring: int) -> int:
        """The number of a queue or FIFO on its core."""
        if ring >= self.outputs:
            return int(self.senders[ring - self.outputs, 1])
        if ring >= self.loaded.fifos:
            return ring - self.loaded.first_fifo(int(self.loaded.owner[ring]))
        return int(self.loaded.queue[ring])

    def _program(self, unit: int) -> Program:
        program: Program = self.loaded.image.programs[self.loaded.image.cores["program"][unit]]
        return program

    def _user(self, unit: int, kind: str, number: int) -> int | None:
        """The task of a core that uses an end of a queue or FIFO."""
        for place, task in enumerate(self._program(unit).tasks):
            for instr in walk(task.body):
                for i, part in enumerate(operands(instr)):
                    if _end(part, i) == (kind, number):
                        return int(self.first_task[unit]) + place
        return None

    def _wait(self, task: int) -> Wait:
        ring, room = int(self.task[task, T_WAIT]), bool(self.task[task, T_ROOM])
        unit, number = int(self.task[task, T_CORE]), self._number(ring)
        program = self._program(unit)
        if self.loaded.fifos <= ring < self.outputs:
            kind, what = ("fifo out", "room in") if room else ("fifo in", "words in")
            state = f"full with {self.words(ring)} words" if room else "empty"
            line = task_text(self.loaded, task, f"{what} fifo {number}{_region(program, number)}, {state}")
            return self._to_user((line,), unit, kind, number)
        cores = self.loaded.image.cores
        if room:
            name = f"output queue {number}{named(program.output_names, number)}, colour {cores['outq'][unit, number]}"
            line = task_text(self.loaded, task, f"room in {name}, full with {self.words(ring)} words")
            return self._prefixed(line, self._downstream(self.sources + ring - self.outputs))
        name = f"input queue {number}{named(program.input_names, number)}, colour {cores['inq'][unit, number]}"
        line = task_text(self.loaded, task, f"words in {name}, empty")
        feeder = int(self.ring[ring, R_FEEDER])
        if feeder < 0:
            return Wait((line, "no route leads there"), None)
        return self._prefixed(line, self._upstream(feeder))

    @staticmethod
    def _prefixed(line: str, wait: Wait) -> Wait:
        return Wait((line, *wait.lines), wait.following)

    def _to_user(self, lines: Sequence[str], unit: int, kind: str, number: int) -> Wait:
        task = self._user(unit, kind, number)
        return Wait((*lines, *([] if task is not None else [f"no task of the core {DOES[kind]} {number}"])), task)

    def _upstream(self, n: int) -> Wait:
        """Why a node has no words to hand on, or which of its fans hold up those it has."""
        empty: list[int] = []
        while not self.node[n, D_HERE]:
            if n >= self.lanes:
                lane = n - self.lanes
                where = self.loaded.lane_text("in", lane)
                return Wait((f"{where} would fill it, but the host has sent all its {self.sent[lane]} words",), None)
            if n >= self.sources:
                unit, queue = map(int, self.senders[n - self.sources])
                way = f" through {self._routers(empty)}, {'all ' if len(empty) > 1 else ''}empty" if empty else ""
                line = f"its words come from {unit_text(self.loaded, unit)}, output queue {queue}{way}"
                return self._to_user((line,), unit, "out", queue)
            empty.insert(0, n)
            n = int(self.node[n, D_FEEDER])
        held = self.node[n, D_HERE]
        line = f"words for it are held up: {held} in {self._place(n)}, which must also go another way"
        return self._prefixed(line, self._downstream(n))

    def _downstream(self, n: int) -> Wait:
        """What the word at the head of a node waits for: the first full queue on a way that it has still to go."""
        full = [n] if n < self.sources else []
        while True:
            pending, first = int(self.node[n, D_PENDING]), int(self.node[n, D_FIRST])
            blocked = next(k for k in range(self.node[n, D_FANS]) if pending >> k & 1)
            to = int(self.fan[first + blocked, F_TO])
            if to < 0:
                break
            n = to
            full.append(n)
        held = f"they are held in {self._routers(full)}, {'all ' if len(full) > 1 else ''}full" if full else ""
        ring = -1 - to
        if ring >= self.rings:
            lane = ring - self.rings
            where = self.loaded.lane_text("out", lane)
            return Wait((f"{held}, before {where}: the host has the {self.wanted[lane]} words it wants",), None)
        unit, queue = int(self.loaded.owner[ring]), self._number(ring)
        name = f"input queue {queue}{named(self._program(unit).input_names, queue)}"
        line = f"{held}, before {name} of {unit_text(self.loaded, unit)}, full with {self.words(ring)} words"
        return self._to_user((line,), unit, "in", queue)

    def _place(self, n: int) -> str:
        if n >= self.lanes:
            return self.loaded.lane_text("in", n - self.lanes)
        if n >= self.sources:
            unit, queue = map(int, self.senders[n - self.sources])
            return f"output queue {queue} of {unit_text(self.loaded, unit)}"
        return f"router {self._router(n)} on colour {self.node[n, D_COLOUR]}"

    def _router(self, n: int) -> str:
        row, column = divmod(int(self.fan[self.node[n, D_FIRST], F_LINK]) // LINKS, self.window.width)
        return f"({column + self.window.x0}, {row + self.window.y0})"

    def _routers(self, nodes: Sequence[int]) -> str:
        """Routers in the order in which words pass them."""
        places = [self._router(n) for n in nodes]
        if len(places) > ROUTERS_LISTED:
            half = ROUTERS_LISTED // 2
            places = [*places[:half], f"... {len(places) - 2 * half} more ...", *places[-half:]]
        return f"router{'s' if len(nodes) > 1 else ''} {' '.join(places)} on colour {self.node[nodes[0], D_COLOUR]}"


def _end(part: object, place: int) -> tuple[str, int] | None:
    """The end of a queue or FIFO that an instruction's operand is: `fifo in` is where words are put in."""
    if isinstance(part, In):
        return "in", part.queue
    if isinstance(part, Out):
        return "out", part.queue
    return ("fifo out" if place else "fifo in", part.fifo) if isinstance(part, Fifo) else None


def _region(program: Program, fifo: int) -> str:
    address = program.fifos[fifo].address
    names = (
        (address, region.name) for region in program.regions if region.owner == "fifo" and region.address == address
    )
    return named(tuple(names), address)
