"""The machine's state as flat arrays: what the interpreter reads and writes.

One buffer holds every core's memory and the words in every input queue. Units (see `runtime.loader`), tasks, rings,
trees (one per source of wavelets) and ready groups are numbered densely; a row of a table is one of them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]

# Columns of `core`: first 32-bit word and bytes of its memory, rings of its input queues, trees of its output queues,
# ring of its FIFO 0 (the others follow).
C_BASE, C_BYTES, C_IN = 0, 1, 2
C_OUT = C_IN + 8
C_FIFO = C_OUT + 6
CORE_COLUMNS = C_FIFO + 1

# Columns of `task`: row of the next instruction, elements of it already done, unit, words moved since the top of the
# body, ready group, ring waited for (-1: not waiting) and whether for room in it. Host tasks: next word, end of words.
T_PC, T_DONE, T_CORE, T_MOVED, T_GROUP, T_WAIT, T_ROOM, T_NEXT, T_LAST = range(9)
TASK_COLUMNS = 9

# Columns of `ring`: counters of the words taken and put, modulo twice the depth, so that full and empty differ; depth;
# first word; task that waits for words and task that waits for room (-1: none), unused between partitions.
R_HEAD, R_TAIL, R_DEPTH, R_BASE, R_READER, R_WRITER = range(6)
RING_COLUMNS = 8  # one cache line

# Columns of `group`: a ring buffer of ready tasks inside `ready`.
G_BASE, G_CAPACITY, G_FIRST, G_COUNT = range(4)

# Columns of `away`: the number of tasks listed, and the first of them.
AWAY_COUNT, AWAY_FIRST = 0, 8

# Columns of `stats`, a row per partition.
S_INSTRUCTIONS, S_WORDS, S_MACS = range(3)
STAT_COLUMNS = 8  # one cache line

# Columns of `fault`, a row per partition.
X_CODE, X_TASK, X_PC, X_VALUE = range(4)

# Columns of `tap`, a row per tree: first word in `tapped`, room there, words that have left since the last feed began.
P_FIRST, P_ROOM, P_LEFT = range(3)
TAP_COLUMNS = 3

CHUNK = 256  # elements a vector instruction handles at a time


class State(NamedTuple):
    """Everything the interpreter touches. `words`, `floats`, `halves` are one buffer seen as i32, f32 and f16 bits."""

    code: Array  # i64 [rows, encode.COLUMNS]
    words: Array  # i32
    floats: Array  # f32
    halves: Array  # u16
    core: Array  # i64 [units, CORE_COLUMNS]
    task: Array  # i64 [tasks, TASK_COLUMNS]
    reg: Array  # i64 [tasks, REGISTERS], holding 32-bit integers
    ring: Array  # i64 [rings, RING_COLUMNS]
    cross: Array  # u8 [rings]: reader and writer are in different partitions
    first: Array  # i64 [trees + 1]: tree t fills rings sinks[first[t]:first[t+1]]
    sinks: Array  # i64
    ready: Array  # i64
    group: Array  # i64 [groups, 4]
    span: Array  # i64 [partitions + 1]: groups of each partition
    away: Array  # i64 [partitions, 8 + ends of crossing rings]: tasks that wait on other partitions, after their number
    host_in: Array  # i32, words the host sends
    host_out: Array  # i32, words the host has received
    scratch: Array  # f32 [partitions, 3, CHUNK]
    stats: Array  # i64 [partitions, STAT_COLUMNS]
    fault: Array  # i64 [partitions, 8]
    tap: Array  # i64 [trees, TAP_COLUMNS], or no rows: nobody listens
    tapped: Array  # i32, words that have left the trees listened to
