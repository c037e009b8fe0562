"""The text form of a channel's tree (see compiler.dialects.fabric) to router entries and back."""

from __future__ import annotations

import re
from collections.abc import Iterable

from runtime.errors import InputError
from runtime.geometry import DIRECTION_NAMES, OPPOSITE, RAMP, STEP, bit

Entry = tuple[int, int, int, int]  # x, y, inputs mask, outputs mask

_BRANCH = re.compile(r"(\d+),(\d+)(?:<([NESW]))?((?: [NESW]\d+\*?)*)( \*)?(?: >([NESW]))?")
_RUN = re.compile(r"([NESW])(\d+)(\*?)")


def to_text(entries: Iterable[Entry], source: tuple[int, int]) -> str:
    """Text of the tree that starts at router `source`; every router has one input and the tree has no loop."""
    routers = {(x, y): (inputs, outputs) for x, y, inputs, outputs in entries}
    start = routers[source][0].bit_length() - 1
    head = f"{source[0]},{source[1]}" + (f"<{DIRECTION_NAMES[start]}" if start != RAMP else "")
    branches: list[str] = []
    pending: list[tuple[tuple[int, int], int | None, str]] = [(source, None, head)]
    if routers[source][1] & bit(RAMP):
        branches.append(f"{head} *")
    while pending:
        place, first, text = pending.pop(0)
        words, place, forks = _follow(routers, place, first)
        pending += [(at, direction, f"{at[0]},{at[1]}") for at, direction in forks]
        branches.append(" ".join([text, *words]))
    return "; ".join(branch for branch in branches if " " in branch)


def _follow(
    routers: dict[tuple[int, int], tuple[int, int]], place: tuple[int, int], first: int | None
) -> tuple[list[str], tuple[int, int], list[tuple[tuple[int, int], int]]]:
    """Walk one branch from `place` (its first hop towards `first`, if given) to its end; what forks off on the way."""
    words: list[str] = []
    forks: list[tuple[tuple[int, int], int]] = []
    while True:
        outputs = routers[place][1]
        onward = [d for d in range(4) if outputs & bit(d)]
        if first is None:
            forks += [(place, d) for d in onward[1:] if (place[0] + STEP[d][0], place[1] + STEP[d][1]) in routers]
        direction = first if first is not None else (onward[0] if onward else None)
        first = None
        if direction is None:
            return words, place, forks
        following = (place[0] + STEP[direction][0], place[1] + STEP[direction][1])
        if following not in routers:
            return [*words, f">{DIRECTION_NAMES[direction]}"], place, forks
        place = following
        _extend(words, DIRECTION_NAMES[direction], bool(routers[place][1] & bit(RAMP)))


def _extend(words: list[str], direction: str, tapped: bool) -> None:
    """Lengthen the last run by one hop if it is of the same kind, else start a new one."""
    last = _RUN.fullmatch(words[-1]) if words else None
    if last is not None and last[1] == direction and bool(last[3]) == tapped:
        words[-1] = f"{direction}{int(last[2]) + 1}{last[3]}"
    else:
        words.append(f"{direction}1{'*' if tapped else ''}")


def from_text(text: str) -> list[Entry]:
    """Router entries of a tree. Raises InputError if the text is not one."""
    routers: dict[tuple[int, int], list[int]] = {}
    for branch in text.split("; "):
        match = _BRANCH.fullmatch(branch)
        if match is None:
            raise InputError(f"not a branch of a channel's tree: {branch!r}", code="bad-tree")
        place = (int(match[1]), int(match[2]))
        entering = DIRECTION_NAMES.index(match[3]) if match[3] else RAMP
        entry = routers.setdefault(place, [bit(entering), 0])
        for direction_name, count, star in _RUN.findall(match[4]):
            direction = DIRECTION_NAMES.index(direction_name)
            for _ in range(int(count)):
                routers[place][1] |= bit(direction)
                place = (place[0] + STEP[direction][0], place[1] + STEP[direction][1])
                entry = routers.setdefault(place, [bit(OPPOSITE[direction]), 0])
                entry[1] |= bit(RAMP) if star else 0
        if match[5]:
            entry[1] |= bit(RAMP)
        if match[6]:
            routers[place][1] |= bit(DIRECTION_NAMES.index(match[6]))
    return [(x, y, inputs, outputs) for (x, y), (inputs, outputs) in routers.items()]
