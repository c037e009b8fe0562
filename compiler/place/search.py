"""The search for placements: annealed slicing trees from many seeds, in rounds, on several threads.

A round is a fixed list of chains, each with its own seed and schedule, so the outcome depends neither on the number of
threads nor on which chain ends first. Under a wall-clock limit a chain's temperature follows the clock; under a
deterministic one it follows the number of moves.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from compiler.place.anneal import State, Weights, anneal, expand, new_state, start
from compiler.place.bounds import Bounds
from compiler.place.layout import Ints
from compiler.place.problem import Floats, Placement
from compiler.place.rows import Longs, cut, orders, rows_tree
from compiler.place.slicing import DEPTH, KEY
from compiler.place.tables import Builder, Choice, settle

CHUNK = 8192  # moves between two looks at the clock
LIMITS, LIMITS_WITH_ADAPTERS = 160, 40  # of one list of time limits: rows of protocols take memory
ORDERS = 4  # of kernels, tried for rows
GOOD_LIMITS = 12  # time limits at which orders other than the first are tried
HEATS = (0.05, 0.036)  # start temperatures of chains, as multiples of `heat_unit`
COOLING = 0.01  # end temperature of a chain as a share of its start
FEW_NETS = 40
NEAR = 0.05  # a chain's time limits differ from its seed's by at most this share
TRIAL, REHEAT = 0.012, 0.01  # start temperatures of the trials and of the second round, as multiples of `heat_unit`
OVERFLOW = 0.03  # price of a core that sticks out, as a share of the score's bound


@dataclass(frozen=True)
class Seed:
    """A tree and the index of its time limit, with the score of what it stands for."""

    cost: float
    limit: int
    tree: Ints


@dataclass(frozen=True)
class Chain:
    """One annealing run: from where, with which random numbers, from which temperature down.

    With `near` it keeps to time limits near its seed's, so that chains from different seeds explore different layouts:
    a hot chain left alone tends to drift to slow kernels, which have room and short wires.
    """

    seed: Seed
    number: int
    hot: float
    near: bool = False


@dataclass
class Effort:
    """What may be spent: until `deadline` (of `time.perf_counter`) or, without one, `moves` per chain."""

    deadline: float | None
    moves: int


class Search:
    """Annealing for one problem and one list of time limits."""

    def __init__(self, builder: Builder, bounds: Bounds, limits: Floats) -> None:
        problem = builder.problem
        self.builder, self.bounds = builder, bounds
        self.choice: Choice = builder.choice(limits)
        self.tables = self.choice.tables
        self._scratch: State | None = None
        self.kernels = len(problem.kernels)
        self.width = problem.region.width + problem.margin
        self.height = problem.region.height + problem.margin
        weights = problem.objective
        scale = max(bounds.score, 1.0)
        # Of what one move changes: less, the more nets there are, down to a share that all larger problems have.
        crowd = math.sqrt(max(1.0, FEW_NETS / max(1, len(problem.nets))))
        self.heat_unit = crowd * math.sqrt(max(weights.wire * bounds.wire, 0.01 * scale) * scale)
        overflow = max(OVERFLOW * scale, 2 * HEATS[0] * self.heat_unit)
        self.weights = Weights(float(weights.time), float(weights.wire), float(weights.adapter), overflow)

    def state(self, seed: Seed, number: int) -> State:
        state = new_state(self.tables, seed.tree.copy(), seed.limit, number)
        start(self.tables, state, self.width, self.height, self.weights)
        return state

    def seeds(self, seed: int) -> list[Seed]:
        """Rows for several orders and time limits, cheapest first without counting adapters; never empty."""
        found: dict[bytes, Seed] = {}
        limits = list(range(len(self.tables.limits)))
        for order in orders(self.kernels, self.builder.problem.nets, ORDERS, seed):
            for t in limits:
                candidate = self._rows(order, t)
                known = found.get(candidate.tree.tobytes())
                if known is None or candidate.cost < known.cost:
                    found[candidate.tree.tobytes()] = candidate
            best = sorted(found.values(), key=lambda s: s.cost)
            limits = sorted({s.limit for s in best[:GOOD_LIMITS]})
        return best

    def _rows(self, order: Longs, t: int) -> Seed:
        """The rows of one order and limit; where none fit, about as many as each has kernels."""
        rank = np.argsort(order)
        starts = cut(order, rank, self.tables.part[t], self.tables.wide, self.tables.net, self.width, self.height)
        tree = rows_tree(order.tolist(), starts.tolist() if len(starts) else self._even(order))
        if self._scratch is None:
            self._scratch = new_state(self.tables, tree, t, 0)
        self._scratch.trees[0] = tree
        self._scratch.limit[:] = t
        start(self.tables, self._scratch, self.width, self.height, self.weights._replace(adapter=0.0))
        return Seed(float(self._scratch.cost[0]), t, tree)

    def _even(self, order: Longs) -> list[int]:
        """Where rows begin when about as many are made as each has kernels."""
        count = max(1, round(math.sqrt(len(order))))
        return [round(i * len(order) / count) for i in range(count + 1)]

    def run(self, chains: Sequence[Chain], effort: Effort, workers: int, report: Callable[[], None]) -> list[State]:
        """Anneal the chains on `workers` threads, one after the other on each; their states in order."""
        states = [self.state(chain.seed, chain.number) for chain in chains]
        waves = -(-len(chains) // workers)
        begin = time.perf_counter()

        def one(index: int) -> None:
            deadline = None
            if effort.deadline is not None:
                share = (effort.deadline - begin) / waves
                deadline = begin + share * (index // workers + 1)
            if chains[index].near:
                limit = float(self.tables.limits[chains[index].seed.limit])
                states[index].span[:] = np.searchsorted(self.tables.limits, (limit * (1 - NEAR), limit * (1 + NEAR)))
            self._anneal(states[index], chains[index].hot, Effort(deadline, effort.moves))

        with ThreadPoolExecutor(workers) as pool:
            for future in [pool.submit(one, index) for index in range(len(chains))]:
                future.result()
                report()
        return states

    def _anneal(self, state: State, hot: float, effort: Effort) -> None:
        begin, done = time.perf_counter(), 0
        fraction = 0.0
        while fraction < 1.0:
            moves = CHUNK
            if effort.deadline is None:
                moves = min(CHUNK, effort.moves - done)
                done += moves
                after = done / effort.moves
            else:
                now = time.perf_counter()
                after = (now - begin) / max(effort.deadline - begin, 1e-9)
                if after >= 1.0:
                    break
            heats = hot * COOLING**fraction, hot * COOLING ** min(after, 1.0)
            anneal(self.tables, state, self.width, self.height, self.weights, moves, *heats)
            fraction = after

    def placement(self, state: State) -> Placement | None:
        """The best legal layout a chain met, protocols settled; None if it met none."""
        if state.cost[1] >= 1e29:
            return None
        expand(self.tables, state, self.width, self.height, self.weights)
        region = self.builder.problem.region
        shapes = settle(self.builder, self.choice, [int(row) for row in state.row[0]])
        return Placement(
            tuple(shapes),
            tuple(int(x) + region.x for x in state.place[:, 0]),
            tuple(int(y) + region.y for y in state.place[:, 1]),
        )

    def adopt(self, other: Search, state: State) -> Seed:
        """The best tree of another search's chain as a seed of this one."""
        tree = state.trees[2].copy()
        known = {tuple(values): i for i, values in enumerate(self.tables.keys.tolist())}
        for v in range(self.kernels):
            if tree[DEPTH, v]:
                key = known.get(tuple(other.tables.keys[tree[KEY, v]].tolist()))
                tree[DEPTH, v] = 0 if key is None else tree[DEPTH, v]
                tree[KEY, v] = 0 if key is None else key
        limit = float(other.tables.limits[state.limit[2]])
        index = int(np.searchsorted(self.tables.limits, limit - 1e-9))
        return Seed(float(state.cost[1]), min(index, len(self.tables.limits) - 1), tree)
