"""Runs the parts of a machine: each in a thread of its own, or all in turn on one.

Parts meet after every cycle, so one whose thread has to wait for a processor holds up all. Where other programs want
the processors, one thread is faster; which way parts are run changes no result.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from runtime.cycle import engine
from runtime.cycle.state import Clocks
from runtime.state import State

CYCLES = 1 << 13  # executed between two reports of progress
SHORTEST = 0.02  # seconds after which a time says something
ENOUGH = 0.8  # of the time that threads have to have had a processor
ALONE = 16  # times on one thread before it is tried again with all


class Runner:
    """Remembers whether threads had processors of their own the last time."""

    def __init__(self) -> None:
        self._alone = 0

    def run(self, state: State, clock: Clocks, report: Callable[[], None]) -> None:
        """Run until nothing can ever move again, or a fault; `report` is called now and then."""
        with ThreadPoolExecutor(max(1, len(clock.now) - 1)) as pool:
            while not self._some(pool, state, clock):
                report()

    def _some(self, pool: ThreadPoolExecutor, state: State, clock: Clocks) -> bool:
        """Run up to CYCLES cycles; whether that was the end."""
        parts = len(clock.now)
        if parts == 1 or self._alone:
            self._alone = max(0, self._alone - 1)
            return bool(engine.run(state, clock, 0, parts, CYCLES))
        began = time.perf_counter()
        others = [pool.submit(_run_part, state, clock, p) for p in range(1, parts)]
        ended, had = _run_part(state, clock, 0)
        had = min([had, *(other.result()[1] for other in others)])
        taken = time.perf_counter() - began
        if taken > SHORTEST and had < ENOUGH * taken:
            self._alone = ALONE
        return ended


def _run_part(state: State, clock: Clocks, part: int) -> tuple[bool, float]:
    """Whether it has come to the end, and the seconds for which the thread had a processor."""
    began = time.thread_time()
    try:
        ended = bool(engine.run(state, clock, part, part + 1, CYCLES))
    except BaseException:
        clock.pace[-1, 0] = 1  # the others would wait for ever
        raise
    return ended, time.thread_time() - began
