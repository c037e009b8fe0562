"""The functional machine: an image, loaded, to which the host feeds words and from which it takes words."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtime import execute, interpreter
from runtime.assembly import instruction_text
from runtime.deadlock import deadlock_error
from runtime.faults import MachineFault
from runtime.image import Image
from runtime.loader import Loaded, load
from runtime.state import (
    R_HEAD,
    R_TAIL,
    S_INSTRUCTIONS,
    S_MACS,
    S_WORDS,
    T_LAST,
    T_MOVED,
    T_NEXT,
    X_CODE,
    X_PC,
    X_TASK,
    X_VALUE,
)
from runtime.tap import Tap
from runtime.text import safe

Words = np.ndarray[Any, np.dtype[np.int32]]
Progress = Callable[[int, int], None]

BUDGET = 1 << 18  # task starts between two reports of progress; some tens of milliseconds
PATIENCE = 1000  # looks at the rings to other partitions before an idle partition pauses; a tenth of a millisecond
PAUSE = 1e-4  # seconds


@dataclass(frozen=True)
class Counts:
    """Work done since loading: instructions executed, words put into queues by cores, multiply-accumulates."""

    instructions: int
    words: int
    macs: int


class Machine:
    """Executes an image with up to `threads` threads; the bits of all results do not depend on how many.

    `tap` listens to words that cores send, which changes nothing of what runs. Raises InputError, IllegalImageError or
    MachineFault if the image cannot be loaded.
    """

    def __init__(self, image: Image, threads: int = 2, tap: Tap | None = None) -> None:
        self.loaded: Loaded = load(image, threads)
        self._state = self.loaded.state
        self._tap = tap
        if tap is not None:
            self._state = tap.attach(self._state)
        self._parts = len(self._state.span) - 1
        interpreter.start(self._state, np.arange(len(self._state.task) - self._host_tasks))

    @property
    def _host_tasks(self) -> int:
        return len(self.loaded.senders) + len(self.loaded.receivers)

    @property
    def counts(self) -> Counts:
        totals = self._state.stats.sum(axis=0)
        return Counts(int(totals[S_INSTRUCTIONS]), int(totals[S_WORDS]), int(totals[S_MACS]))

    def feed(self, sent: list[Words], wanted: list[int], progress: Progress | None = None) -> list[Words]:
        """Send words (bits) on every input lane and take the wanted number from every output lane.

        Lanes are in port order. `progress(received, wanted)` is called now and then. Ends when nothing can move.
        Raises MachineFault, and DeadlockError if words are missing or left over; the machine is then of no further use.
        """
        loaded, task = self.loaded, self._state.task
        lengths = np.array([len(words) for words in sent], np.int64)
        wants = np.array(wanted, np.int64)
        host_in = np.concatenate([*sent, np.zeros(1, np.int32)]).astype(np.int32)
        self._state = self._state._replace(host_in=host_in, host_out=np.zeros(int(wants.sum()) + 1, np.int32))
        task[loaded.senders, T_LAST] = np.cumsum(lengths)
        task[loaded.senders, T_NEXT] = np.cumsum(lengths) - lengths
        task[loaded.receivers, T_LAST] = np.cumsum(wants)
        task[loaded.receivers, T_NEXT] = np.cumsum(wants) - wants
        if self._tap is not None:
            self._tap.clear()
        interpreter.start(self._state, np.concatenate([loaded.senders, loaded.receivers]))
        self._run(progress, int(wants.sum()))
        if self._unfinished():
            raise deadlock_error(loaded, lengths, wants)
        return np.split(self._state.host_out[:-1], np.cumsum(wants)[:-1])

    def _unfinished(self) -> bool:
        """Whether the host misses words, words are left in a queue or unsent, or a task waits inside its body."""
        ring, task = self._state.ring, self._state.task
        left = ring[:, R_HEAD] != ring[:, R_TAIL]
        return bool(left.any() or (task[:, T_NEXT] < task[:, T_LAST]).any() or (task[:, T_MOVED] > 0).any())

    def _run(self, progress: Progress | None, wanted: int) -> None:
        """Rounds, until one in which no task started: then the machine is at rest (see `runtime.rings`)."""
        task, receivers = self._state.task, self.loaded.receivers
        first = task[receivers, T_NEXT].sum()

        def report() -> None:
            if progress is not None:
                progress(int(task[receivers, T_NEXT].sum() - first), wanted)

        with ThreadPoolExecutor(max(1, self._parts - 1)) as pool:
            started = 1
            while started:
                idle = [False] * self._parts
                others = [pool.submit(self._work, p, idle) for p in range(1, self._parts)]
                started = self._work(0, idle, report) + sum(other.result() for other in others)
        if self._state.fault[:, X_CODE].any():
            raise self._fault()

    def _work(self, p: int, idle: list[bool], report: Callable[[], None] = lambda: None) -> int:
        """Run partition p until all partitions seem idle; the number of task starts."""
        total = 0
        try:
            while True:
                started = int(interpreter.run(self._state, p, BUDGET, PATIENCE))
                idle[p] = started == 0
                total += started
                report()
                if all(idle):
                    return total
                if idle[p]:
                    time.sleep(PAUSE)
        finally:
            idle[p] = True  # lets the others end, also when this one was interrupted

    def _fault(self) -> MachineFault:
        """The fault of the first task that has one."""
        faults = self._state.fault[self._state.fault[:, X_CODE] > 0]
        return core_fault(self.loaded, faults[np.argmin(faults[:, X_TASK])])


def core_fault(loaded: Loaded, fault: Any, cycle: int | None = None) -> MachineFault:
    """The error for a row of `runtime.state.State.fault`."""
    code, message = execute.FAULTS[int(fault[X_CODE])]
    place = loaded.place(int(fault[X_TASK]))
    instr = loaded.code.source[int(fault[X_PC])]
    block, program, task = safe(place.block.name), safe(place.program.name), safe(place.task)
    text = f", instruction {fault[X_PC] - place.start} `{instruction_text(place.program, instr)}`" if instr else ""
    when = f", cycle {cycle}" if cycle is not None else ""
    return MachineFault(
        message.format(fault[X_VALUE]),
        code=code,
        x=place.x,
        y=place.y,
        inside=f"kernel {block}, program {program}, task {task}{text}{when}",
    )
