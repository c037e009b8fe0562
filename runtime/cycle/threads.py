"""Runs the parts of a machine: each in a thread of its own, or all in turn on one.

Parts meet after every cycle, so one whose thread has to wait for a processor holds up all; where other programs want
the processors, or these share caches, one thread is faster. Both ways are tried now and then and the faster one is
kept for a while: which one it is changes no result.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from runtime.cycle import engine
from runtime.cycle.state import Clocks
from runtime.state import S_INSTRUCTIONS, S_WORDS, State

CYCLES = 1 << 13  # executed between two reports of progress
TRIAL = 1 << 10  # executed to see how fast a way is
KEPT = 16  # times CYCLES before both ways are tried again


class Runner:
    """Remembers which way was faster the last time."""

    def __init__(self) -> None:
        self._next = [True, False]  # ways still to be run: with all threads, or with one
        self._trying = True
        self._rates = {True: 0.0, False: 0.0}  # work a second

    def run(self, state: State, clock: Clocks, report: Callable[[], None]) -> None:
        """Run until nothing can ever move again, or a fault; `report` is called now and then."""
        with ThreadPoolExecutor(max(1, len(clock.now) - 1)) as pool:
            try:
                while not self._some(pool, state, clock):
                    report()
            except BaseException:
                _let_go(clock)
                raise

    def _some(self, pool: ThreadPoolExecutor, state: State, clock: Clocks) -> bool:
        """Run up to CYCLES cycles; whether that was the end."""
        parts = len(clock.now)
        if parts == 1:
            return bool(engine.run(state, clock, 0, 1, CYCLES))
        way, cycles = self._next.pop(0), TRIAL if self._trying else CYCLES
        began, before = time.perf_counter(), _work(state)
        if way:
            others = [pool.submit(_run_part, state, clock, p, cycles) for p in range(1, parts)]
            ended = _run_part(state, clock, 0, cycles)
            for other in others:
                other.result()
        else:
            ended = bool(engine.run(state, clock, 0, parts, cycles))
        self._rates[way] = (_work(state) - before) / max(1e-9, time.perf_counter() - began)
        if not self._next:
            faster = self._rates[True] >= self._rates[False]
            self._next = [faster] * KEPT if self._trying else [True, False]
            self._trying = not self._trying
        return ended


def _work(state: State) -> int:
    """Instructions executed and words sent so far."""
    return int(state.stats[:, [S_INSTRUCTIONS, S_WORDS]].sum())


def _run_part(state: State, clock: Clocks, part: int, cycles: int) -> bool:
    """Whether it has come to the end."""
    try:
        return bool(engine.run(state, clock, part, part + 1, cycles))
    except BaseException:
        _let_go(clock)
        raise


def _let_go(clock: Clocks) -> None:
    """End the threads that run other parts: they would wait for this one for ever."""
    clock.pace[-1, 0] = 1
