"""Closed forms of the reduce paper (Near-Optimal Wafer-Scale Reduce, HPDC 2024, arXiv 2404.15888), in cycles.

T = max(C, E/N + L) + (2*ramp + 1)*D for contention C, energy E over N links, distance L and depth D; `ramp` is T_R.
cores: P >= 2, words: B >= 1.
"""

from __future__ import annotations

from math import log2


def broadcast(cores: int, words: int, ramp: int) -> float:
    return words + cores + 2 * ramp


def star(cores: int, words: int, ramp: int) -> float:
    return words * (cores - 1) + 2 * ramp + 1


def chain(cores: int, words: int, ramp: int) -> float:
    return words + (2 * ramp + 2) * (cores - 1)


def tree(cores: int, words: int, ramp: int) -> float:
    rounds = log2(cores)
    spread = words * cores * rounds / (2 * (cores - 1)) + cores - 1
    return max(words * rounds, spread) + (2 * ramp + 1) * rounds


def tree_path(cores: int, words: int, ramp: int) -> float:
    """A tree's longest path, derived here and not published: in round k the root waits for a vector that sets out when
    its partner, 2^k cores away, has done the round before; rounds cannot overlap further. The published formula takes
    the larger of all vectors and all hops where this takes the larger in each round. For two cores it is the chain."""
    rounds = range(round(log2(cores)))
    return 1 + sum(max(words, 1 << k) for k in rounds) + (2 * ramp + 1) * len(rounds)


def broadcast_grid(rows: int, cols: int, words: int, ramp: int) -> float:
    return words + rows + cols - 2 + 2 * ramp + 1


def x_then_y(rows: int, cols: int, words: int, ramp: int) -> float:
    """Chain along rows, then along a column."""
    return chain(cols, words, ramp) * (cols > 1) + chain(rows, words, ramp) * (rows > 1)


def snake(rows: int, cols: int, words: int, ramp: int) -> float:
    return chain(rows * cols, words, ramp)
