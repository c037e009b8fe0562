"""The placement engine: bounds, rows, annealing in rounds, exact improvement. `solve` is all a caller needs.

Anytime: a legal placement is kept from the rows on. With a deterministic limit the same problem, seed and limit
give the same placement on any machine and number of workers; with a wall clock they need not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from compiler.place.bounds import bounds, free_area
from compiler.place.polish import polish
from compiler.place.problem import Improvement, Placement, Problem, Result, Terms, check_legal, terms
from compiler.place.tables import Builder
from compiler.place.tournament import EXACT, Tournament
from compiler.place.warm import Warmer
from runtime.errors import LimitError

# A deterministic limit of 1 buys about what a second of two cores does: moves, which take this many microseconds.
MOVES_PER_UNIT = 2e6
PRICE_OF_MOVE, PRICE_PER_KERNEL = 1.3, 0.06
DEFAULT_LIMIT = 60.0
SPARE = 0.04  # of a time limit, for what ends after a deadline: the last step of a chain or of the solver

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
    with Warmer() as warmer:
        builder = Builder(problem)
        limit = bounds(builder)
        log.bound = limit.score
        now = log.stage("bounds", begin)
        deadline = None if time_limit is None else begin + time_limit * (1 - SPARE)
        price = PRICE_OF_MOVE + PRICE_PER_KERNEL * len(problem.kernels)
        moves = int((deterministic_limit or 0.0) * MOVES_PER_UNIT / price)
        tournament = Tournament(builder, limit, seed, workers, deadline, moves, log.offer)
        seeds = tournament.scan()
        now = log.stage("rows", now)
        ready = warmer.wait(deadline)
    if ready:
        tournament.run(seeds, log.tell)
    now = log.stage("rounds", now)
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
