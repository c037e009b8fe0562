"""The maze search: its reachability test against the search itself."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.route.search import FIXED, FREE, Scratch, connected, search

WIDTH, HEIGHT, CAPACITY = 17, 13, 10


def found(rng: np.random.Generator, blocked: float) -> tuple[bool, bool]:
    """Whether there is a path on a random grid with some routers taken and links full: as told, and by the search."""
    cells = WIDTH * HEIGHT
    owner = np.where(rng.random(cells) < blocked, FIXED, FREE).astype(np.int32)
    load = np.where(rng.random((4, cells)) < blocked / 2, CAPACITY, 0).astype(np.int32)
    ends = rng.choice(cells, size=5, replace=False)
    starts, goals = ends[:2], ends[2:]
    scratch, nothing = Scratch(cells), np.zeros(cells, np.int32)
    scratch.now = 1
    told = connected(WIDTH, cells, starts, goals, owner, load, 1, CAPACITY, scratch.stamp, scratch.queues, scratch.now)
    scratch.now = 2
    x, y = goals % WIDTH, goals // WIDTH
    bounds = int(x.min()), int(y.min()), int(x.max()), int(y.max())
    cost, _ = search(
        WIDTH, cells, starts, goals, bounds, 7, owner, nothing, nothing, np.zeros(1, np.int64), load,
        np.zeros_like(load), 1, CAPACITY, 0, 1 << 30, scratch.distance, scratch.stamp, scratch.member, scratch.parent,
        scratch.now,
    )  # fmt: skip
    return told, cost >= 0


@pytest.mark.parametrize("blocked", [0.3, 0.4, 0.5])
def test_connected_is_what_the_search_finds(blocked: float) -> None:
    rng = np.random.default_rng(5)
    results = [found(rng, blocked) for _ in range(300)]
    assert all(told == by_search for told, by_search in results)
    assert 10 < sum(told for told, _ in results) < 295
