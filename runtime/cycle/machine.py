"""The cycle machine: the functional machine's interface, with a clock."""

from __future__ import annotations

import numpy as np

from runtime.cycle import engine
from runtime.cycle.build import build
from runtime.cycle.deadlock import deadlock_error
from runtime.cycle.divide import divide
from runtime.cycle.network import TWO_INPUTS
from runtime.cycle.state import (
    D_COLOUR,
    D_FIRST,
    D_HERE,
    F_LINK,
    FINE,
    K_LISTED,
    K_SINCE,
    K_SPENT,
    L_WORDS,
    LINKS,
    N_AT,
    N_CYCLE,
    N_FAULT,
    N_OWN,
    R_HIGH,
    T_ENDS,
    T_FIRST_END,
    T_FIRST_WORD,
    T_LAST_END,
    T_TIME,
)
from runtime.cycle.threads import Runner
from runtime.fabric import window_of
from runtime.faults import MachineFault
from runtime.image import Image
from runtime.loader import Loaded, load
from runtime.machine import Counts, Progress, Words, core_fault
from runtime.state import (
    R_HEAD,
    R_TAIL,
    S_INSTRUCTIONS,
    S_MACS,
    S_WORDS,
    T_CORE,
    T_LAST,
    T_MOVED,
    T_NEXT,
    X_CODE,
    X_TASK,
)


class CycleMachine:
    """Executes an image cycle by cycle with up to `threads` threads; `clock` tells where time went. Neither bits nor
    cycles depend on the number of threads.

    merge: routes of one colour may run into one another. Whether their words meet, which is a fault, is a question of
    time, and results may be, too; so compiled programs never need it.
    Raises InputError, IllegalImageError or MachineFault if the image cannot be loaded.
    """

    def __init__(self, image: Image, threads: int = 2, *, merge: bool = False) -> None:
        self.loaded: Loaded = load(image, 1, timed=True, merge=merge)
        self.state, self.clock = build(self.loaded)
        self.began = 0
        self._runner: Runner | None = None  # until it has run
        self.divide(threads)

    def divide(self, threads: int) -> None:
        """Run with up to so many threads from now on; the machine is at rest or has not begun."""
        self.state, self.clock, part = divide(self.loaded, self.state, self.clock, threads)
        self.clock.core[:, K_LISTED] = -1
        if self._runner is None:  # every core that has a task starts it at cycle 0
            units = np.unique(self.state.task[: len(self.state.task) - self._lanes, T_CORE])
            for p in range(len(self.clock.now)):
                engine.start(self.clock, p, units[part[units] == p])

    @property
    def _lanes(self) -> int:
        return len(self.loaded.senders) + len(self.loaded.receivers)

    @property
    def cycle(self) -> int:
        """The cycle the machine has come to."""
        return int(self.clock.now[:, N_CYCLE].max())

    def begin(self) -> None:
        """Count cycles, words and marks from now on; the machine is at rest."""
        self.began = self.cycle
        self.clock.core[:, K_SPENT:] = 0
        self.clock.core[:, K_SINCE] = self.cycle
        self.clock.link[:, L_WORDS] = 0
        self.state.ring[:, R_HIGH] = 0
        self.state.task[:, T_ENDS] = 0
        self.state.task[:, [T_FIRST_WORD, T_FIRST_END, T_LAST_END]] = -1

    @property
    def counts(self) -> Counts:
        totals = self.state.stats.sum(axis=0)
        return Counts(int(totals[S_INSTRUCTIONS]), int(totals[S_WORDS]), int(totals[S_MACS]))

    def feed(self, sent: list[Words], wanted: list[int], progress: Progress | None = None) -> list[Words]:
        """As `runtime.machine.Machine.feed`; `clock.received` then holds the cycle of every word that came back."""
        loaded, task = self.loaded, self.state.task
        lengths, wants = np.array([len(words) for words in sent], np.int64), np.array(wanted, np.int64)
        host_in = np.concatenate([*sent, np.zeros(1, np.int32)]).astype(np.int32)
        total = int(wants.sum())
        self.state = self.state._replace(host_in=host_in, host_out=np.zeros(total + 1, np.int32))
        self.clock = self.clock._replace(received=np.zeros(total + 1, np.int64))
        task[loaded.senders, T_LAST] = np.cumsum(lengths)
        task[loaded.senders, T_NEXT] = np.cumsum(lengths) - lengths
        task[loaded.receivers, T_LAST] = np.cumsum(wants)
        task[loaded.receivers, T_NEXT] = np.cumsum(wants) - wants
        task[np.concatenate([loaded.senders, loaded.receivers]), T_TIME] = FINE * self.cycle
        self._run(progress, total)
        if self._unfinished():
            raise deadlock_error(loaded, self.state, self.clock, lengths, wants)
        return np.split(self.state.host_out[:-1], np.cumsum(wants)[:-1])

    def run_to_rest(self) -> int:
        """Run a program that needs no host until nothing can move; the cycle then. Raises MachineFault."""
        self._run(None, 0)
        return self.cycle

    def _run(self, progress: Progress | None, wanted: int) -> None:
        task, receivers, now = self.state.task, self.loaded.receivers, self.clock.now
        first = task[receivers, T_NEXT].sum()

        def report() -> None:
            if progress is not None:
                progress(int(task[receivers, T_NEXT].sum() - first), wanted)

        now[:, [N_AT, N_OWN]] = self.cycle
        self._runner = self._runner or Runner()
        self._runner.run(self.state, self.clock, report)
        if now[:, N_FAULT + X_CODE].any():
            raise self._fault()

    def _unfinished(self) -> bool:
        """Whether the host misses words, words are left anywhere, or a task waits inside its body."""
        ring, task = self.state.ring, self.state.task
        left = ring[:, R_HEAD] != ring[:, R_TAIL]
        waits = (task[:, T_NEXT] < task[:, T_LAST]).any() or (task[:, T_MOVED] > 0).any()
        return bool(left.any() or waits or self.clock.node[:, D_HERE].any())

    def _fault(self) -> MachineFault:
        """The fault of the first task that has one."""
        faults = self.clock.now[self.clock.now[:, N_FAULT + X_CODE] > 0, N_FAULT:]
        fault = faults[np.argmin(faults[:, X_TASK])]
        if fault[X_CODE] == TWO_INPUTS:
            return self._two_inputs(int(fault[X_TASK]))
        # A core with one task may be ahead of the clock; its task's time is then that of the row at fault.
        return core_fault(self.loaded, fault, max(self.cycle, int(self.state.task[fault[X_TASK], T_TIME])))

    def _two_inputs(self, stage: int) -> MachineFault:
        node, window = self.clock.node[stage], window_of(self.loaded.image.target)
        y, x = divmod(int(self.clock.fan[node[D_FIRST], F_LINK]) // LINKS, window.width)
        return MachineFault(
            "wavelets of one colour come to this router from two sides in one cycle",
            code="two-inputs",
            x=x + window.x0,
            y=y + window.y0,
            colour=int(node[D_COLOUR]),
            inside=f"cycle {self.cycle}",
        )
