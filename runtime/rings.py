"""Rings of words between tasks, and the waiting and waking of the tasks at their ends (columns: `runtime.state`).

Threads share nothing but rings, each with one reader and one writer, so there is no data race:

* Words and R_TAIL are written by the writer's thread only, words before the tail that covers them (`store_release`).
  The reader loads the tail (`load_acquire`) before it reads the words, so it sees them.
* R_HEAD is written by the reader's thread only, after it has read the words. The writer loads the head before it
  writes over them. Each side reads its own counter without ceremony.
* R_DEPTH and R_BASE never change. R_READER and R_WRITER of a ring between partitions stay -1: its tasks wait on their
  own partition's list `away`, which `poll` looks through. A wake-up cannot be lost: every look reads the counters.
* All else (tasks, registers, core memory, FIFOs, ready lists, statistics) belongs to one core or one partition.

The machine is at rest after a round in which no task started: no counter moved in it, the threads met before it, and
each partition began it with an empty ready list and looked at every ring it waits on.

Inside a partition the same atomic accesses cost nothing: on x86 they are plain moves.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.atomics import load_acquire, store_release
from runtime.jit import called, inlined
from runtime.state import (
    AWAY_COUNT,
    AWAY_FIRST,
    G_BASE,
    G_CAPACITY,
    G_COUNT,
    G_FIRST,
    R_BASE,
    R_DEPTH,
    R_HEAD,
    R_READER,
    R_TAIL,
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
    count = load_acquire(ring, r, R_TAIL) - ring[r, R_HEAD]
    return count if count >= 0 else count + 2 * ring[r, R_DEPTH]


@inlined
def free_words(ring: Any, r: Int) -> Int:
    """Words the writer may put."""
    count = ring[r, R_TAIL] - load_acquire(ring, r, R_HEAD)
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
def wait_on(s: State, p: Int, t: Int, r: Int, room: Int) -> None:
    """Let task t of partition p wait for words in a ring, or for room."""
    s.task[t, T_WAIT] = r
    s.task[t, T_ROOM] = room
    if s.cross[r]:
        s.away[p, AWAY_FIRST + s.away[p, AWAY_COUNT]] = t
        s.away[p, AWAY_COUNT] += 1
    else:
        s.ring[r, R_WRITER if room else R_READER] = t


@called
def poll(s: State, p: Int) -> Int:
    """Wake the tasks of partition p whose wait for another partition is over; their number."""
    count, kept = s.away[p, AWAY_COUNT], np.int64(0)
    for i in range(AWAY_FIRST, AWAY_FIRST + count):
        t = s.away[p, i]
        r = s.task[t, T_WAIT]
        if (free_words(s.ring, r) if s.task[t, T_ROOM] else ready_words(s.ring, r)) > 0:
            wake(s.task, s.group, s.ready, t)
        else:
            s.away[p, AWAY_FIRST + kept] = t
            kept += 1
    s.away[p, AWAY_COUNT] = kept
    return count - kept


@inlined
def advance(ring: Any, r: Int, counter: Int, count: Int) -> None:
    value = ring[r, counter] + count
    limit = 2 * ring[r, R_DEPTH]
    store_release(ring, r, counter, value - limit if value >= limit else value)


@inlined
def _notify(s: State, r: Int, end: Int) -> None:
    """Wake the task that waits at an end of a ring; another partition's task polls instead."""
    t = s.ring[r, end]
    if t >= 0:
        s.ring[r, end] = -1
        wake(s.task, s.group, s.ready, t)


@inlined
def taken(s: State, r: Int, count: Int) -> None:
    """The reader has taken `count` words."""
    advance(s.ring, r, R_HEAD, count)
    _notify(s, r, R_WRITER)


@inlined
def given(s: State, r: Int, count: Int) -> None:
    """The writer has put `count` words."""
    advance(s.ring, r, R_TAIL, count)
    _notify(s, r, R_READER)


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
