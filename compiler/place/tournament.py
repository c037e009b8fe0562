"""Which chains are run: many short ones, each near its own time limit, then ever fewer and longer ones.

How low a score can be had at a time limit is known only from trying, and chains that may choose among many limits drift
to slow kernels, which are easy to place. So rows are made at all time limits worth a thought; the best ones, at limits
clearly apart, are annealed at limits near theirs; and of every round the best go on.

Chains are numbered and seeded, and a round is a fixed list of chains: results depend neither on threads nor on timing
unless a wall clock limits them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from compiler.place.anneal import State
from compiler.place.bounds import Bounds, wire_bound
from compiler.place.problem import Placement
from compiler.place.rows import orders
from compiler.place.search import HARD, Effort, Search, Seed
from compiler.place.tables import Builder

ORDERS = 3  # of kernels, tried for rows
LIMITS = 8  # in a chain's range
SCAN, SCANS = 1.2, 40  # ratio of the limits at which rows are tried to find the range, and how many at most
MOST = 2.5  # the range's end, as a multiple of the bound, where no rows are legal
FINE = 40  # limits in the range at which rows are tried
SLIM = 0.01  # a chain's range reaches at least this far from its seed's limit, relatively


@dataclass(frozen=True)
class Mood:
    """How a chain begins: its temperature, in the search's units, and the price of overflow, in lines of cores."""

    hot: float
    soft: float


COOL, WARM, WILD = Mood(0.005, HARD), Mood(0.02, HARD), Mood(0.2, 1.0)


@dataclass(frozen=True)
class Round:
    """`seeds` go into it, each with a chain in every one of these moods, and `share` of the effort."""

    seeds: int
    share: float
    moods: tuple[Mood, ...]


ROUNDS = (
    Round(8, 0.25, (COOL, WILD)),
    Round(4, 0.20, (COOL, WARM)),
    Round(2, 0.20, (COOL, WARM)),
    Round(2, 0.22, (COOL, WARM)),
)
EXACT = 0.13  # share of the exact improvement that follows


@dataclass(frozen=True)
class Found:
    """Where a chain came to."""

    search: Search
    state: State

    @property
    def cost(self) -> float:
        return float(self.state.cost[1])

    @property
    def limit(self) -> float:
        return self.search.limit(self.state)


class Tournament:
    """The rounds for one problem."""

    def __init__(
        self,
        builder: Builder,
        bounds: Bounds,
        seed: int,
        workers: int,
        deadline: float | None,
        moves: int,
        offer: Callable[[Placement | None, str], None],
    ) -> None:
        self.builder, self.bounds, self.workers = builder, bounds, workers
        self.plain = Builder(builder.problem, protocols=False)
        self.deadline, self.moves, self.offer = deadline, moves, offer
        self.seed, self.count = seed, 0
        problem = builder.problem
        self.orders = orders(len(problem.kernels), problem.nets, ORDERS, seed)

    def scan(self) -> list[Seed]:
        """Rows over all time limits at which a placement could be better than the best rows, best first; offers one."""
        weights = self.builder.problem.objective
        best = math.inf
        limit = self.bounds.time
        for _ in range(SCANS):
            if weights.time * limit + weights.wire * wire_bound(self.plain, limit) >= best:
                break
            if math.isinf(best) and limit > MOST * self.bounds.time:
                break
            search = Search(self.plain, self.bounds, np.array([limit]))
            best = min([best] + [seed.cost for seed in search.rows(self.orders[:1]) if seed.over == 0])
            limit *= SCAN
        if weights.time and math.isfinite(best):  # wires are nowhere in the range shorter than at its end
            most = (best - weights.wire * wire_bound(self.plain, limit)) / weights.time
            limit = min(limit, max(self.bounds.time, most))
        search = Search(self.plain, self.bounds, self.plain.limits(self.bounds.time, limit, FINE))
        seeds = search.rows(self.orders)
        self.offer(search.placement(search.state(seeds[0], 0)), "rows")
        return seeds

    def run(self, seeds: list[Seed], tell: Callable[[str], None]) -> None:
        """All rounds."""
        width = math.log(max(seed.limit for seed in seeds) / min(seed.limit for seed in seeds))
        reach = max(SLIM, width / (2 * ROUNDS[0].seeds))
        # Without legal rows there is no knowing where placements begin to be legal: look everywhere.
        apart = reach if any(seed.over == 0 for seed in seeds) else 2 * reach
        chosen: list[Seed] = []
        for seed in seeds:
            if all(abs(math.log(seed.limit / other.limit)) > apart for other in chosen):
                chosen.append(seed)
        found: list[Found] = []
        rest = 1.0
        for number, stage in enumerate(ROUNDS):
            distinct = list({(chain.cost, chain.limit): chain for chain in reversed(found)}.values())[::-1]
            sources: Sequence[Found | Seed] = distinct[: stage.seeds] or chosen[: stage.seeds]
            effort = self._effort(stage, rest, len(sources))
            found += self._play(stage, sources, effort, max(SLIM, reach / 2**number), f"round {number + 1}", tell)
            found.sort(key=lambda chain: (chain.cost, int(chain.state.over[0])))
            rest -= stage.share

    def _effort(self, stage: Round, rest: float, sources: int) -> Effort:
        """The stage's share of the whole; of a wall clock, of what is left of it. Per chain where it is moves."""
        if self.deadline is None:
            return Effort(None, max(1, int(self.moves * stage.share / (sources * len(stage.moods)))))
        now = time.perf_counter()
        return Effort(now + max(0.0, self.deadline - now) * stage.share / rest, 0)

    def _play(
        self,
        stage: Round,
        sources: Sequence[Found | Seed],
        effort: Effort,
        reach: float,
        name: str,
        tell: Callable[[str], None],
    ) -> list[Found]:
        """Chains from each source, one source after the other on each thread; where they came to, in order."""
        waves = -(-len(sources) // self.workers)
        begin = time.perf_counter()
        first = self.count
        self.count += len(sources) * len(stage.moods)

        def one(index: int) -> list[Found]:
            deadline = None
            if effort.deadline is not None:
                deadline = begin + (effort.deadline - begin) / waves * (index // self.workers + 1)
            number = self.seed * 1000 + first + index * len(stage.moods)
            return self._chains(sources[index], stage.moods, number, reach, Effort(deadline, effort.moves))

        found = []
        with ThreadPoolExecutor(self.workers) as pool:
            for future in [pool.submit(one, index) for index in range(len(sources))]:
                for result in future.result():
                    found.append(result)
                    self.offer(result.search.placement(result.state), name)
                tell(name)
        return found

    def _chains(
        self, source: Found | Seed, moods: Sequence[Mood], number: int, reach: float, effort: Effort
    ) -> list[Found]:
        """One chain in each mood, at limits within `reach`; none where the time is over before tables are made."""
        if effort.deadline is not None and time.perf_counter() > effort.deadline:
            return []
        low, high = source.limit * (1 - reach), source.limit * (1 + reach)
        near = self.builder.limits(max(self.bounds.time, low), high, LIMITS)
        search = Search(self.builder, self.bounds, np.union1d(near, [source.limit]))
        seed = source if isinstance(source, Seed) else search.adopt(source.search, source.state)
        found = []
        for i, mood in enumerate(moods):
            state = search.state(seed, number + i)
            deadline = effort.deadline
            if deadline is not None:
                now = time.perf_counter()
                deadline = now + (deadline - now) / (len(moods) - i)
            search.anneal(state, mood.hot, mood.soft, Effort(deadline, effort.moves))
            found.append(Found(search, state))
        return found
