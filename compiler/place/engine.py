"""The placement engine: bounds, seeds, annealing in rounds, exact improvement. `solve` is all a caller needs.

Anytime: a legal placement is kept from the first chain on. With a deterministic limit the same problem, seed and limit
give the same placement on any machine and number of workers; with a wall clock they need not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from compiler.place.anneal import State
from compiler.place.bounds import Bounds, bounds, free_area
from compiler.place.polish import polish
from compiler.place.problem import Improvement, Placement, Problem, Result, Terms, check_legal, terms
from compiler.place.search import HEATS, LIMITS, LIMITS_WITH_ADAPTERS, NEAR, REHEAT, TRIAL, Chain, Effort, Search, Seed
from compiler.place.slicing import FIRST as FIRST_CHILD
from compiler.place.slicing import NEXT
from compiler.place.tables import Builder
from runtime.errors import LimitError

TRIALS = 6  # chains of the trials
# Chains of the first round: many kernels need long ones rather than many.
CHAINS, CHAINS_OF_MANY, MANY = 4, 2, 64
# How the time is shared out: trials of different seeds, first round, second round (from the best of the first), exact
# improvement.
TRIAL_SHARE, FIRST, SECOND, EXACT = 0.15, 0.50, 0.22, 0.13
# The search looks at times up to the bound and LEAST_SPAN of it and SPAN times the share that wire has in the score.
SPAN, LEAST_SPAN, MOST_SPAN = 3.0, 0.06, 1.5
SETUP_TIMES = 3  # a second list of time limits is made where this many times its cost are left
WINDOW = 0.02  # the second round's time limits reach this far around the best one
# A deterministic limit of 1 buys about what a second of one core does: moves for `kernels` kernels.
MOVES_PER_UNIT = 1e6
PRICE_OF_MOVE, PRICE_PER_KERNEL = 1.3, 0.07  # microseconds
DEFAULT_LIMIT = 60.0

Progress = Callable[[str, Terms | None, float], None]
"""Called with a stage, the best terms so far and the bound of the score."""


@dataclass
class _Log:
    """The best placement so far, when it was found, and what stages took."""

    problem: Problem
    begin: float
    progress: Progress | None
    bound: float = 0.0
    best: Placement | None = None
    terms: Terms | None = None
    lines: list[Improvement] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def offer(self, placement: Placement | None, stage: str) -> None:
        if placement is None:
            return
        found = terms(self.problem, placement)
        if self.terms is None or found.score < self.terms.score:
            check_legal(self.problem, placement)
            self.best, self.terms = placement, found
            self.lines.append(Improvement(time.perf_counter() - self.begin, stage, found))

    def stage(self, name: str, since: float) -> float:
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - since
        self.tell(name)
        return now

    def tell(self, name: str) -> None:
        if self.progress:
            self.progress(name, self.terms, self.bound)


def solve(
    problem: Problem,
    *,
    seed: int = 0,
    time_limit: float | None = None,
    deterministic_limit: float | None = None,
    workers: int = 2,
    progress: Progress | None = None,
) -> Result:
    """The best placement found within `time_limit` (wall clock) or `deterministic_limit` (about), both in seconds.

    Raises InfeasibleError where it is proved that nothing fits, LimitError if no legal placement was met.
    """
    begin = time.perf_counter()
    if time_limit is None and deterministic_limit is None:
        deterministic_limit = DEFAULT_LIMIT
    log = _Log(problem, begin, progress)
    builder = Builder(problem)
    limit = bounds(builder)
    log.bound = limit.score
    now = log.stage("bounds", begin)
    deadline = None if time_limit is None else begin + time_limit
    rounds = _Rounds(problem, builder, limit, seed, workers, deadline, deterministic_limit, log)
    now = log.stage("seeds", now)
    starts = rounds.trials()
    now = log.stage("trials", now)
    winners = rounds.first(starts)
    now = log.stage("first round", now)
    rounds.second(winners)
    now = log.stage("second round", now)
    solver_bound = None
    if log.best is not None:
        solver_bound = polish(
            problem, builder, log.best,
            deadline=deadline, deterministic=EXACT * (deterministic_limit or 0.0), seed=seed,
            offer=lambda placement, name: log.offer(placement, name), best=lambda: log.best,
            tell=lambda: log.tell("exact"),
        )  # fmt: skip
        log.stage("exact", now)
    if log.best is None or log.terms is None:
        raise LimitError(
            "no legal placement was found within the limit", code="placement-limit",
            hint="raise --time-limit or --deterministic-limit, or give a larger region",
        )  # fmt: skip
    used = sum(shape.width * shape.height for shape in log.best.shapes)
    return Result(
        placement=log.best,
        terms=log.terms,
        time_bound=limit.time,
        bound=limit.score,
        solver_bound=solver_bound,
        utilisation=used / max(1, free_area(problem)),
        seconds={name: round(value, 3) for name, value in log.seconds.items()},
        log=tuple(log.lines),
    )


class _Rounds:
    """The rounds of annealing: trials of many seeds, long chains from the best, once more around the best of those."""

    def __init__(
        self,
        problem: Problem,
        builder: Builder,
        limit: Bounds,
        seed: int,
        workers: int,
        deadline: float | None,
        deterministic: float | None,
        log: _Log,
    ) -> None:
        self.problem, self.builder, self.limit, self.log = problem, builder, limit, log
        self.seed, self.workers, self.deadline = seed, workers, deadline
        self.chains = CHAINS if len(problem.kernels) < MANY else CHAINS_OF_MANY
        price = PRICE_OF_MOVE + PRICE_PER_KERNEL * len(problem.kernels)
        self.moves = int((deterministic or 0.0) * MOVES_PER_UNIT / price)
        weights = problem.objective
        wire = weights.wire * limit.wire / max(weights.time * limit.time, 1e-9)
        span = min(LEAST_SPAN + SPAN * wire, MOST_SPAN)
        self.most = LIMITS_WITH_ADAPTERS if weights.adapter else LIMITS
        begin = time.perf_counter()
        self.search = Search(builder, limit, builder.limits(limit.time, limit.time * (1 + span), self.most))
        self.setup = time.perf_counter() - begin  # seconds
        self.starts = self.search.seeds(seed)
        self.log.offer(self.search.placement(self.search.state(self.starts[0], 0)), "rows")

    def _effort(self, share: float, chains: int) -> Effort:
        """`share` of the whole; of a wall clock, what is left of it in proportion."""
        if self.deadline is None:
            return Effort(None, max(1, int(self.moves * share * 2 / chains)))
        now = time.perf_counter()
        rest = {TRIAL_SHARE: 1.0, FIRST: 1.0 - TRIAL_SHARE, SECOND: SECOND + EXACT}[share]
        return Effort(now + max(0.0, self.deadline - now) * share / rest, 0)

    def _run(self, search: Search, chains: list[Chain], effort: Effort, name: str) -> list[State]:
        states = search.run(chains, effort, self.workers, lambda: self.log.tell(name))
        for state in states:
            self.log.offer(search.placement(state), name)
        return states

    def trials(self) -> list[Seed]:
        """Short chains from seeds with different numbers of rows; where they came to, cheapest first."""
        chains = [
            Chain(start, self._number(i), TRIAL * self.search.heat_unit) for i, start in enumerate(self._distinct())
        ]
        states = self._run(self.search, chains, self._effort(TRIAL_SHARE, len(chains)), "trials")
        seeds = [self.search.adopt(self.search, state) for state in states]
        return sorted(seeds, key=lambda s: s.cost)

    def first(self, starts: list[Seed]) -> list[State]:
        """Chains from the best start and the next at a clearly different time; the first two stay near theirs."""
        limits = self.search.tables.limits
        apart = [s for s in starts if abs(limits[s.limit] / limits[starts[0].limit] - 1) > NEAR]
        pair = [starts[0], (apart or starts[1:] or starts)[0]]
        chains = [
            Chain(pair[i % 2], self._number(TRIALS + i), HEATS[i // 2 % len(HEATS)] * self.search.heat_unit, i < 2)
            for i in range(self.chains)
        ]
        states = self._run(self.search, chains, self._effort(FIRST, self.chains), "first round")
        return sorted(states, key=lambda state: float(state.cost[1]))

    def _distinct(self) -> list[Seed]:
        """The best seed of each number of rows."""
        best: dict[int, Seed] = {}
        for start in self.starts:
            rows, child = 0, start.tree[FIRST_CHILD, len(self.problem.kernels)]
            while child >= 0:
                rows, child = rows + 1, start.tree[NEXT, child]
            best.setdefault(rows, start)
        return list(best.values())[:TRIALS]

    def second(self, states: list[State]) -> None:
        """The best two states cooled again with all time limits around theirs, or with the same where time is short."""
        chains_of = states[:2]
        found = [state for state in chains_of if state.cost[1] < 1e29] or chains_of[:1]
        limit = float(self.search.tables.limits[found[0].limit[2]])
        low, high = max(self.limit.time, limit * (1 - WINDOW)), limit * (1 + WINDOW)
        fine = self.search
        if self.deadline is None or self.deadline - time.perf_counter() > SETUP_TIMES * self.setup:
            fine = Search(self.builder, self.limit, np.union1d(self.builder.limits(low, high, self.most), [limit]))
        seeds = [fine.adopt(self.search, state) for state in found]
        chains = [
            Chain(start, self._number(TRIALS + self.chains + i), REHEAT * fine.heat_unit)
            for i, start in enumerate([*seeds, *seeds][:2])
        ]
        self._run(fine, chains, self._effort(SECOND, len(chains)), "second round")

    def _number(self, index: int) -> int:
        return self.seed * 1000 + index + 1
