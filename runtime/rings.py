"""Rings of words between tasks, and the waiting and waking of the tasks at their ends (columns: `runtime.state`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.jit import inlined
from runtime.state import (
    G_BASE,
    G_CAPACITY,
    G_COUNT,
    G_FIRST,
    R_BASE,
    R_DEPTH,
    R_HEAD,
    R_HEAD_SEEN,
    R_READER,
    R_TAIL,
    R_TAIL_SEEN,
    R_WRITER,
    T_GROUP,
    T_ROOM,
    T_WAIT,
    State,
)

Int = Any  # inside compiled code: a 64-bit integer


@inlined
def ready_words(ring: Any, r: Int) -> Int:
    """Words the reader may take."""
    count = ring[r, R_TAIL_SEEN] - ring[r, R_HEAD]
    return count if count >= 0 else count + 2 * ring[r, R_DEPTH]


@inlined
def free_words(ring: Any, r: Int) -> Int:
    """Words the writer may put."""
    count = ring[r, R_TAIL] - ring[r, R_HEAD_SEEN]
    depth = ring[r, R_DEPTH]
    return depth - (count if count >= 0 else count + 2 * depth)


@inlined
def wake(task: Any, group: Any, ready: Any, t: Int) -> None:
    """Put a task on its group's ready list. It waits on one ring at most, so it is there at most once."""
    task[t, T_WAIT] = -1
    group = group[task[t, T_GROUP]]
    place = group[G_FIRST] + group[G_COUNT]
    if place >= group[G_CAPACITY]:
        place -= group[G_CAPACITY]
    ready[group[G_BASE] + place] = t
    group[G_COUNT] += 1


@inlined
def wait_on(task: Any, ring: Any, t: Int, r: Int, room: Int) -> None:
    task[t, T_WAIT] = r
    task[t, T_ROOM] = room
    ring[r, R_WRITER if room else R_READER] = t


@inlined
def advance(ring: Any, r: Int, counter: Int, count: Int) -> Int:
    value = ring[r, counter] + count
    limit = 2 * ring[r, R_DEPTH]
    value = value - limit if value >= limit else value
    ring[r, counter] = value
    return value


@inlined
def taken(s: State, r: Int, count: Int) -> None:
    """The reader has taken `count` words."""
    head = advance(s.ring, r, R_HEAD, count)
    if s.cross[r]:
        return
    s.ring[r, R_HEAD_SEEN] = head
    writer = s.ring[r, R_WRITER]
    if writer >= 0:
        s.ring[r, R_WRITER] = -1
        wake(s.task, s.group, s.ready, writer)


@inlined
def given(s: State, r: Int, count: Int) -> None:
    """The writer has put `count` words."""
    tail = advance(s.ring, r, R_TAIL, count)
    if s.cross[r]:
        return
    s.ring[r, R_TAIL_SEEN] = tail
    reader = s.ring[r, R_READER]
    if reader >= 0:
        s.ring[r, R_READER] = -1
        wake(s.task, s.group, s.ready, reader)


@inlined
def slot(ring: Any, r: Int, counter: Int, offset: Int) -> Int:
    """Place inside the ring of the word `offset` after a counter."""
    place = ring[r, counter] + offset
    depth = ring[r, R_DEPTH]
    while place >= depth:
        place -= depth
    return place


@inlined
def tree_room(ring: Any, first: Any, sinks: Any, tree: Int) -> tuple[Int, Int]:
    """Words all sinks of a tree have room for, and the first sink that has none (-1 if all have some)."""
    least = np.int64(1) << 40
    for i in range(first[tree], first[tree + 1]):
        r = sinks[i]
        room = free_words(ring, r)
        if room == 0:
            return 0, r
        least = min(least, room)
    return least, -1


@inlined
def read_ring(floats: Any, ring: Any, r: Int, offset: Int, out: Any) -> None:
    base, depth = ring[r, R_BASE], ring[r, R_DEPTH]
    place = slot(ring, r, R_HEAD, offset)
    for i in range(len(out)):
        out[i] = floats[base + place]
        place += 1
        if place == depth:
            place = 0


@inlined
def write_ring(floats: Any, ring: Any, r: Int, offset: Int, values: Any) -> None:
    base, depth = ring[r, R_BASE], ring[r, R_DEPTH]
    place = slot(ring, r, R_TAIL, offset)
    for i in range(len(values)):
        floats[base + place] = values[i]
        place += 1
        if place == depth:
            place = 0
