"""Why nothing can ever move again: the waits of `runtime.cycle.waits` followed until they close or end.

The engine stops only when no word, core, timer or host lane has anything left to do, so this is exact: a run that is
merely long never comes here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtime.cycle.state import N_CYCLE, Clocks
from runtime.cycle.waits import Waits
from runtime.deadlock import lane_lines
from runtime.errors import DeadlockError
from runtime.loader import Loaded
from runtime.state import T_CORE, T_DONE, T_MOVED, T_WAIT, State
from runtime.text import safe

Array = np.ndarray[Any, Any]

STORIES = 3  # told in full
TASKS_TOLD = 12  # of one story; of a longer one its beginning and its end
STARTS = 1000  # waits followed


@dataclass(frozen=True)
class _Story:
    """Waits from task to task; if `closed`, the last one waits for the first."""

    tasks: tuple[int, ...]
    closed: bool

    @property
    def key(self) -> tuple[bool, int]:
        """The same for all stories that end alike."""
        return not self.closed, self.tasks[0] if self.closed else self.tasks[-1]


def deadlock_error(loaded: Loaded, state: State, clock: Clocks, sent: Array, wanted: Array) -> DeadlockError:
    """The error that tells it. sent, wanted: words of each input and output lane in this call."""
    waits = Waits(loaded, state, clock, sent, wanted)
    lanes = lane_lines(waits.loaded, loaded.receivers, "out", wanted)
    lanes += lane_lines(waits.loaded, loaded.senders, "in", sent)
    inside = np.flatnonzero(((state.task[:, T_MOVED] > 0) | (state.task[:, T_DONE] > 0)) & (state.task[:, T_WAIT] >= 0))
    lines = [f"nothing can ever move again after cycle {clock.now[:, N_CYCLE].max():,}"]
    lines += [f"  {line}" for line in _cut(lanes)]
    lines += [f"    {line}" for lane in waits.missing_lanes()[:1] for line in waits.of_lane(lane).lines]
    if len(inside):
        kernels = Counter(loaded.image.blocks[b].name for b in loaded.block[state.task[inside, T_CORE]])
        counted = _cut([f"{safe(name)}: {count}" for name, count in kernels.items()])
        lines.append(f"  tasks that wait inside their bodies: {len(inside)} ({', '.join(counted)})")
    stories = _stories(waits, inside)
    if not stories:
        lines += [f"  {line}" for node in waits.holding_nodes()[:STORIES] for line in waits.of_node(node).lines]
    for story in stories[:STORIES]:
        lines += _story_lines(waits, story)
    if len(stories) > STORIES:
        lines.append(f"... and {len(stories) - STORIES} more such chains of waits")
    message = "\n".join(lines)
    return DeadlockError(message, code="deadlock", hint="the image is wrong: run `wsec validate` on it")


def _stories(waits: Waits, inside: Array) -> list[_Story]:
    """One story for each end, the shortest that was found; closed ones first."""
    found: dict[tuple[bool, int], _Story] = {}
    for start in _starts(waits, inside):
        story = _follow(waits, start)
        old = found.get(story.key)
        if old is None or len(story.tasks) < len(old.tasks):
            found[story.key] = story
    return [found[key] for key in sorted(found)]


def _starts(waits: Waits, inside: Array) -> Iterator[int]:
    """Tasks that wait inside their bodies; readers of queues in which words are left; what the host waits for."""
    yield from inside[:STARTS].tolist()
    others = [waits.reader(ring) for ring in waits.filled_rings()[:STARTS]]
    others += [waits.of_lane(lane).following for lane in waits.missing_lanes()]
    others += [waits.of_node(node).following for node in waits.holding_nodes()[:STARTS]]
    yield from (task for task in others if task is not None)


def _follow(waits: Waits, start: int) -> _Story:
    place: dict[int, int] = {}
    task: int | None = start
    while task is not None and task not in place:
        place[task] = len(place)
        task = waits.of(task).following
    tasks = list(place)
    if task is None:
        return _Story(tuple(tasks), False)
    cycle = tasks[place[task] :]
    first = cycle.index(min(cycle))
    return _Story((*cycle[first:], *cycle[:first]), True)


def _story_lines(waits: Waits, story: _Story) -> list[str]:
    count, half = len(story.tasks), TASKS_TOLD // 2
    told = range(count) if count <= TASKS_TOLD else [*range(half), *range(count - half, count)]
    lines = ["a cycle of waits:" if story.closed else "waits that end:"]
    for place in told:
        if place == count - half and count > TASKS_TOLD:
            lines.append(f"  ... {count - 2 * half} more tasks, each waiting for the next ...")
        first, *others = waits.of(story.tasks[place]).lines
        lines.append(f"  {place + 1}. {first}")
        lines += [f"     {line}" for line in others]
    if story.closed:
        lines.append("     and that is 1. again: the cycle is closed")
    return lines


def _cut(lines: list[str], most: int = 8) -> list[str]:
    return lines if len(lines) <= most else [*lines[:most], f"... and {len(lines) - most} more"]
