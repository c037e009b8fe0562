"""The text form of a channel's tree (see compiler.dialects.fabric) to router entries and back."""

from __future__ import annotations

import re
from collections.abc import Iterable

from runtime.errors import InputError
from runtime.geometry import DIRECTION_NAMES, OPPOSITE, RAMP, STEP, bit

Entry = tuple[int, int, int, int]  # x, y, inputs mask, outputs mask

# No wafer is larger. Text from strangers must not fill the memory: a run is a few bytes for any number of routers.
MAX_ROUTERS = 1 << 20

_BRANCH = re.compile(r"(\d{1,5}),(\d{1,5})(?:<([NESW]))?((?: [NESW]\d{1,5}\*?)*)( \*)?(?: >([NESW]))?", re.ASCII)
_RUN = re.compile(r"([NESW])(\d{1,5})(\*?)", re.ASCII)


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
            forks += [(place, direction) for direction in onward[1:]]
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
            raise _bad(f"not a branch of a channel's tree: {branch!r}")
        place = (int(match[1]), int(match[2]))
        entering = bit(DIRECTION_NAMES.index(match[3]) if match[3] else RAMP)
        if not routers:
            routers[place] = [entering, 0]
        if place not in routers or (match[3] and routers[place][0] != entering):
            raise _bad(f"the branch {branch!r} does not start at a router of the tree")
        for direction_name, count, star in _RUN.findall(match[4]):
            for _ in range(int(count)):
                place = _enter(routers, place, DIRECTION_NAMES.index(direction_name))
                routers[place][1] |= bit(RAMP) if star else 0
        if match[5]:
            routers[place][1] |= bit(RAMP)
        if match[6]:
            routers[place][1] |= bit(DIRECTION_NAMES.index(match[6]))
    return [(x, y, inputs, outputs) for (x, y), (inputs, outputs) in routers.items()]


def _enter(routers: dict[tuple[int, int], list[int]], place: tuple[int, int], direction: int) -> tuple[int, int]:
    """Hop from a router of the tree to a new one."""
    following = (place[0] + STEP[direction][0], place[1] + STEP[direction][1])
    if following in routers or min(following) < 0 or len(routers) >= MAX_ROUTERS:
        raise _bad(f"not a tree on a wafer: router {following[0]},{following[1]} is entered twice, or is outside")
    routers[place][1] |= bit(direction)
    routers[following] = [bit(OPPOSITE[direction]), 0]
    return following


def _bad(message: str) -> InputError:
    return InputError(message, code="bad-tree")
