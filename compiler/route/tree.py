"""The text form of channels' trees (see compiler.dialects.fabric) to router entries and back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from runtime.errors import InputError
from runtime.geometry import DIRECTION_NAMES, OPPOSITE, RAMP, STEP, bit

Entry = tuple[int, int, int, int]  # x, y, inputs mask, outputs mask
Array = np.ndarray[Any, Any]

# No wafer is larger. Text from strangers must not fill the memory: a run is a few bytes for any number of routers.
MAX_ROUTERS = 1 << 20
MAX_ALL = 24 * MAX_ROUTERS  # of all trees together: a router has 24 colours
_SIDE = 1 << 16  # coordinates are below this

_BRANCH = re.compile(r"(\d{1,5}),(\d{1,5})(?:<([NESW]))?((?: [NESW]\d{1,5}\*?)*)( \*)?(?: >([NESW]))?", re.ASCII)
_RUN = re.compile(r"([NESW])(\d{1,5})(\*?)", re.ASCII)
_ONWARD = tuple(tuple(d for d in range(4) if mask >> d & 1) for mask in range(32))  # directions in an outputs mask


# ---- Writing ------------------------------------------------------------------------------------------------------


def to_text(entries: Iterable[Entry], source: tuple[int, int]) -> str:
    """Text of the tree that starts at router `source`; every router has one input and the tree has no loop."""
    routers: dict[tuple[int, int], int] = {}
    origin = 0
    for x, y, inputs, outputs in entries:
        routers[x, y] = outputs
        if (x, y) == source:
            origin = inputs
    start = origin.bit_length() - 1
    head = f"{source[0]},{source[1]}" + (f"<{DIRECTION_NAMES[start]}" if start != RAMP else "")
    branches: list[str] = []
    pending: list[tuple[tuple[int, int], int | None, str]] = [(source, None, head)]
    if routers[source] & bit(RAMP):
        branches.append(f"{head} *")
    for place, first, text in pending:
        words, forks = _follow(routers, place, first)
        pending += [(at, direction, f"{at[0]},{at[1]}") for at, direction in forks]
        if words:
            branches.append(" ".join([text, *words]))
    return "; ".join(branches)


def _follow(
    routers: dict[tuple[int, int], int], place: tuple[int, int], first: int | None
) -> tuple[list[str], list[tuple[tuple[int, int], int]]]:
    """Walk one branch from `place` (its first hop towards `first`, if given) to its end; what forks off on the way."""
    runs: list[tuple[int, int, bool]] = []  # direction, hops, whether every router gives the word to its core
    forks: list[tuple[tuple[int, int], int]] = []
    leaves = ""
    while True:
        onward = _ONWARD[routers[place]]
        if first is not None:
            direction, first = first, None
        elif onward:
            direction = onward[0]
            if len(onward) > 1:
                forks += [(place, other) for other in onward[1:]]
        else:
            break
        dx, dy = STEP[direction]
        following = (place[0] + dx, place[1] + dy)
        reached = routers.get(following)
        if reached is None:
            leaves = f">{DIRECTION_NAMES[direction]}"
            break
        place = following
        tapped = reached >> RAMP & 1 == 1
        if runs and runs[-1][0] == direction and runs[-1][2] is tapped:
            runs[-1] = direction, runs[-1][1] + 1, tapped
        else:
            runs.append((direction, 1, tapped))
    words = [f"{DIRECTION_NAMES[direction]}{hops}{'*' if tapped else ''}" for direction, hops, tapped in runs]
    return [*words, leaves] if leaves else words, forks


# ---- Reading ------------------------------------------------------------------------------------------------------


class Forest(NamedTuple):
    """Router entries of many trees, tree by tree in the order the text enters them; int64[entries] each."""

    tree: Array
    x: Array
    y: Array
    inputs: Array
    outputs: Array


def from_text(text: str) -> list[Entry]:
    """Router entries of one tree. Raises InputError if the text is none."""
    forest = expand([text])
    columns = (forest.x, forest.y, forest.inputs, forest.outputs)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def expand(texts: Sequence[str]) -> Forest:
    """Router entries of all trees at once. Raises InputError for a text that is none."""
    parsed = _Parsed()
    for number, text in enumerate(texts):
        parsed.tree(number, text)
    return parsed.expand()


class _Parsed:
    """Branches as runs, not yet hop by hop.

    A run is (tree, branch, x, y, direction, hops, tapped) from the router before it; hops = 0 enters the root, whose
    direction is the one its words come from. A mark is (tree, branch, x, y, outputs) to add at a router that an earlier
    branch, or the same one, has entered. A start is a mark without outputs where a branch begins.
    """

    def __init__(self) -> None:
        self.runs: list[tuple[int, int, int, int, int, int, int]] = []
        self.marks: list[tuple[int, int, int, int, int]] = []
        self.branches = 0
        self.routers = 0

    def tree(self, number: int, text: str) -> None:
        first, routers = self.branches, 1
        entering = RAMP
        for branch in text.split("; "):
            match = _BRANCH.fullmatch(branch)
            if match is None:
                raise _bad(f"not a branch of a channel's tree: {branch!r}")
            x, y = int(match[1]), int(match[2])
            if self.branches == first:
                root, entering = (x, y), DIRECTION_NAMES.index(match[3]) if match[3] else RAMP
                self.runs.append((number, first, x, y, entering, 0, 0))
            elif match[3] and ((x, y) != root or DIRECTION_NAMES.index(match[3]) != entering):
                raise _bad(f"the branch {branch!r} does not start where its tree does")
            else:
                self.marks.append((number, self.branches - 1, x, y, 0))
            for name, count, star in _RUN.findall(match[4]):
                direction, hops = DIRECTION_NAMES.index(name), int(count)
                routers += hops
                if hops:
                    self.runs.append((number, self.branches, x, y, direction, hops, 1 if star else 0))
                    self.marks.append((number, self.branches, x, y, bit(direction)))
                x, y = x + STEP[direction][0] * hops, y + STEP[direction][1] * hops
                if min(x, y) < 0 or max(x, y) >= _SIDE or routers > MAX_ROUTERS:
                    raise _bad(f"not a tree on a wafer: {branch!r} leads outside")
            last = (bit(RAMP) if match[5] else 0) | (bit(DIRECTION_NAMES.index(match[6])) if match[6] else 0)
            if last:
                self.marks.append((number, self.branches, x, y, last))
            self.branches += 1
        self.routers += routers
        if self.routers > MAX_ALL:
            raise _bad(f"trees of more than {MAX_ALL} routers in all")

    def expand(self) -> Forest:
        runs = np.array(self.runs, np.int64).reshape(-1, 7)
        number, branch, x0, y0, direction, hops, tapped = runs.T
        size = np.maximum(hops, 1)
        run = np.repeat(np.arange(len(runs)), size)
        step = np.arange(len(run)) - np.repeat(np.cumsum(size) - size, size) + (hops > 0)[run]
        dx, dy = np.array([*STEP, (0, 0)], np.int64).T
        x = x0[run] + dx[direction][run] * step
        y = y0[run] + dy[direction][run] * step
        came = np.where(hops > 0, np.array(OPPOSITE)[direction], direction)
        inputs = (1 << came)[run]
        onward = np.where(step < hops[run], (1 << direction)[run], 0)
        outputs = onward * (step > 0) | (tapped << RAMP)[run]
        # A router of a tree as one number; each may be entered once.
        key = (number[run] * _SIDE + y) * _SIDE + x
        order = np.argsort(key, kind="stable")
        ordered = key[order]
        twice = np.flatnonzero(ordered[1:] == ordered[:-1])
        if len(twice):
            raise _bad(f"not a tree: router {_place(int(ordered[twice[0]]))} is entered twice")
        marks = np.array(self.marks, np.int64).reshape(-1, 5)
        wanted = (marks[:, 0] * _SIDE + marks[:, 3]) * _SIDE + marks[:, 2]
        at = order[np.minimum(np.searchsorted(ordered, wanted), len(order) - 1)]
        absent = (key[at] != wanted) | (branch[run[at]] > marks[:, 1])
        if absent.any():
            key_of_branch = int(wanted[np.argmax(absent)])
            raise _bad(f"the branch at {_place(key_of_branch)} does not start at a router of the tree")
        np.bitwise_or.at(outputs, at, marks[:, 4])
        return Forest(number[run], x, y, inputs, outputs)


def _place(key: int) -> str:
    return f"{key % _SIDE},{key // _SIDE % _SIDE}"


def _bad(message: str) -> InputError:
    return InputError(message, code="bad-tree")
