"""Runs a microbenchmark's image on the cycle machine until it comes to rest, and reads its clocks and memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.cycle.machine import CycleMachine
from runtime.cycle.state import (
    D_HERE,
    K_REASON,
    K_SINCE,
    K_SPENT,
    L_WORDS,
    REASONS,
    T_ENDS,
    T_FIRST_END,
    T_LAST_END,
    T_TIME,
)
from runtime.errors import DeadlockError
from runtime.image import Image
from runtime.state import C_BASE, R_HEAD, R_TAIL, T_CORE, T_DONE, T_MOVED, T_WAIT

Array = np.ndarray[Any, Any]


class Measured:
    """A finished run. Cycles count from the start of the machine, when every core begins to start its tasks."""

    def __init__(self, image: Image) -> None:
        self.target = image.target
        self.machine = CycleMachine(image, merge=True)
        self.machine.run_to_rest()
        self._check_finished()

    def _stopped(self) -> Array:
        """Tasks that wait for a word that nobody sends (`Layout.stop`)."""
        wait, writer = self.machine.state.task[:, T_WAIT], self.machine.loaded.writer
        reads = (wait >= 0) & (wait < len(writer))  # rings behind these are output queues, where tasks wait for room
        return reads & (writer[np.where(reads, wait, 0)] < 0)

    def _check_finished(self) -> None:
        """Every task has ended its body or stopped, and no word is left on the way."""
        state, clock = self.machine.state, self.machine.clock
        task = state.task
        between = (task[:, T_ENDS] > 0) & (task[:, T_MOVED] == 0) & (task[:, T_DONE] == 0)
        held = state.ring[:, R_HEAD] != state.ring[:, R_TAIL]
        loaded = self.machine.loaded
        held[loaded.fifos : len(loaded.owner)] = False  # a FIFO may hold a result
        left = held.any() or clock.node[:, D_HERE].any()
        if left or not (between | self._stopped()).all():
            core = int(task[np.argmin(between | self._stopped()), T_CORE])
            x, y = int(self.machine.loaded.x[core]), int(self.machine.loaded.y[core])
            raise DeadlockError("the microbenchmark is stuck", code="bench-stuck", where=f"core ({x}, {y})")

    @property
    def startup(self) -> int:
        """Cycles before a core's first element: the start of a task and the set-up of its first instruction."""
        return self.target.activation_cycles + self.target.vector_overhead_cycles

    def ends(self) -> Array:
        """The cycle after the last element of every core's work, [cores]; a stopped task has set up one more
        instruction."""
        task = self.machine.state.task
        setup = self.target.vector_overhead_cycles
        end = np.where(self._stopped(), task[:, T_TIME] - setup, task[:, T_LAST_END])
        result = np.zeros(self.machine.loaded.cores, np.int64)
        np.maximum.at(result, task[:, T_CORE], end)
        return result

    def body_ends(self, core: int) -> tuple[int, int]:
        """Cycles of the end of the first and of the last round of a core's main thread."""
        task = self.machine.state.task
        first = int(np.searchsorted(task[:, T_CORE], core))
        return int(task[first, T_FIRST_END]), int(task[first, T_LAST_END])

    def memory(self, core: int, address: int, count: int) -> Array:
        """fp32 words of a core's memory."""
        first = int(self.machine.state.core[core, C_BASE]) + address // 4
        return np.array(self.machine.state.floats[first : first + count])

    def report(self) -> dict[str, Any]:
        """What explains the cycles: core-cycles by reason until the machine is at rest, and traffic."""
        clock, cores = self.machine.clock, self.machine.loaded.cores
        since = clock.core[:cores, K_SINCE]
        end = max(self.machine.cycle, int(since.max()))
        spent = clock.core[:cores, K_SPENT : K_SPENT + len(REASONS)].sum(axis=0)
        np.add.at(spent, clock.core[:cores, K_REASON], end - since)
        return {
            "startup_cycles": self.startup,
            "machine_cycles": end,
            "cores": cores,
            "core_cycles": {reason: int(count) for reason, count in zip(REASONS, spent, strict=True)},
            "wavelet_hops": int(clock.link[:, L_WORDS].sum()),
            "busiest_link_wavelets": int(clock.link[:, L_WORDS].max(initial=0)),
            "instructions": self.machine.counts.instructions,
        }
