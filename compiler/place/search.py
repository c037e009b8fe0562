"""The search for placements near one time limit: rows as seeds, annealed slicing trees.

A chain has its own random numbers and schedule, so its outcome depends neither on the number of threads nor on which
chain ends first. Under a wall-clock limit a chain's temperature follows the clock; under a deterministic one it follows
the number of moves.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np

from compiler.place.anneal import NEVER, State, Weights, anneal, expand, new_state, start
from compiler.place.bounds import Bounds
from compiler.place.layout import Ints
from compiler.place.problem import Floats, Placement
from compiler.place.rows import Longs, cut, rows_tree
from compiler.place.slicing import DEPTH, KEY
from compiler.place.tables import Builder, Choice, settle

CHUNK = 8192  # moves between two looks at the clock
COOLING = 0.01  # end temperature of a chain as a share of its start
FEW_NETS = 40
HARD = 20.0  # price of a core that sticks out, as a multiple of the score's share of one line of cores


@dataclass(frozen=True)
class Seed:
    """A tree and its time limit, with the score of what it stands for, overflow (in cores) priced in."""

    cost: float
    over: int
    limit: float
    tree: Ints


@dataclass
class Effort:
    """What may be spent: until `deadline` (of `time.perf_counter`) or, without one, `moves` per chain."""

    deadline: float | None
    moves: int


class Search:
    """Annealing for one problem and one list of time limits."""

    def __init__(self, builder: Builder, bounds: Bounds, limits: Floats) -> None:
        problem = builder.problem
        self.builder = builder
        self.choice: Choice = builder.choice(limits)
        self.tables = self.choice.tables
        self.kernels = len(problem.kernels)
        self.width = problem.region.width + problem.margin
        self.height = problem.region.height + problem.margin
        weights = problem.objective
        scale = max(bounds.score, 1.0)
        # Of what one move changes: less, the more nets there are, down to a share that all larger problems have.
        crowd = math.sqrt(max(1.0, FEW_NETS / max(1, len(problem.nets))))
        self.heat_unit = crowd * math.sqrt(max(weights.wire * bounds.wire, 0.01 * scale) * scale)
        self.line = scale / min(self.width, self.height)
        self.weights = Weights(float(weights.time), float(weights.wire), float(weights.adapter), HARD * self.line)

    def state(self, seed: Seed, number: int) -> State:
        limit = min(int(np.searchsorted(self.tables.limits, seed.limit - 1e-9)), len(self.tables.limits) - 1)
        state = new_state(self.tables, seed.tree.copy(), limit, number)
        start(self.tables, state, self.width, self.height, self.weights)
        return state

    def rows(self, orders: list[Longs]) -> list[Seed]:
        """Rows of these orders at each of the limits, best first, adapters not counted."""
        state = self.blank()
        found = []
        for order in orders:
            rank = np.argsort(order)
            for t, limit in enumerate(self.tables.limits):
                part = self.tables.part[t]
                starts = cut(order, rank, part, self.tables.wide, self.tables.net, self.width, self.height)
                tree = rows_tree(order.tolist(), starts.tolist() if len(starts) else self._even(order))
                state.trees[0] = tree
                state.limit[:] = t
                start(self.tables, state, self.width, self.height, self.weights._replace(adapter=0.0))
                cost = float(state.cost[0] + state.over[0] * self.weights.overflow)
                found.append(Seed(cost, int(state.over[0]), float(limit), tree))
        return sorted(found, key=lambda seed: seed.cost)

    def blank(self) -> State:
        """A state of some tree, to be filled in."""
        order = np.arange(self.kernels)
        return new_state(self.tables, rows_tree(order.tolist(), self._even(order)), 0, 0)

    def _even(self, order: Longs) -> list[int]:
        """Where rows begin when about as many are made as each has kernels."""
        count = max(1, round(math.sqrt(len(order))))
        return [round(i * len(order) / count) for i in range(count + 1)]

    def anneal(self, state: State, hot: float, soft: float, effort: Effort) -> None:
        """Cool the state down from `hot`, in multiples of `heat_unit`, while the price of overflow goes up to HARD.

        With a `soft` price to begin with, little more than what the room is worth, a chain passes through layouts that
        do not fit.
        """
        hot *= self.heat_unit
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
            weights = self.weights._replace(overflow=self.line * soft * (HARD / soft) ** fraction)
            anneal(self.tables, state, self.width, self.height, weights, moves, *heats)
            fraction = after

    def placement(self, state: State) -> Placement | None:
        """The best legal layout a chain met, protocols settled; None if it met none."""
        if state.cost[1] >= NEVER:
            return None
        expand(self.tables, state, self.width, self.height, self.weights)
        region = self.builder.problem.region
        shapes = settle(self.builder, self.choice, [int(row) for row in state.row[0]])
        return Placement(
            tuple(shapes),
            tuple(int(x) + region.x for x in state.place[:, 0]),
            tuple(int(y) + region.y for y in state.place[:, 1]),
        )

    def limit(self, state: State) -> float:
        """The time limit of the best tree a chain met."""
        return float(self.tables.limits[state.limit[2]])

    def adopt(self, other: Search, state: State) -> Seed:
        """The best tree of another search's chain as a seed of this one."""
        tree = state.trees[2].copy()
        known = {tuple(values): i for i, values in enumerate(self.tables.keys.tolist())}
        for v in range(self.kernels):
            if tree[DEPTH, v]:
                key = known.get(tuple(other.tables.keys[tree[KEY, v]].tolist()))
                tree[DEPTH, v] = 0 if key is None else tree[DEPTH, v]
                tree[KEY, v] = 0 if key is None else key
        return Seed(float(state.cost[1]), 0, other.limit(state), tree)
