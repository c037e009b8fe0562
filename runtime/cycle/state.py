"""What time adds to the machine's state, as flat arrays (see `runtime.state` for the rest).

*Nodes* hold wavelets between cores: one *stage* per router and colour that a source reaches, then one *source* per
output queue, then one per host input lane. A node hands the wavelet at its head to each of its *fans*: a stage, an
input queue's ring or a host output lane, each over one link. A link carries one wavelet a cycle.

Cores and routers are divided into *parts*, one a thread. Parts share nothing but the boxes for words that cross between
them and the pace; in a part, a *ghost* stands for each stage of another part that one of its nodes feeds.

Few wide tables, because compiled calls pass every array of a tuple by value. Rows that different threads write are
whole cache lines.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from runtime.encode import COLUMNS
from runtime.state import RING_COLUMNS, TASK_COLUMNS

Array = np.ndarray[Any, Any]

# Links of a router: towards N, E, S, W, up the ramp to its core, and down the ramp from it.
LINKS = 6
UP, DOWN = 4, 5

# More columns of `State.code`: see `runtime.timing.Cost`; whether the row uses queues or FIFOs.
C_SETUP, C_WIDTH, C_ELEMENT, C_FABRIC = (COLUMNS + i for i in range(4))
CODE_COLUMNS = COLUMNS + 4

# More columns of `State.task`: cycle from which it may issue (of a host lane: 1/1000 cycle from which it may move a
# word); 1 if its row is set up, 2 if the row's operands are known, too; bodies ended; cycles of its first word and of
# its first and last body's end. Of a vector instruction with the fabric whose operands are known: its elements, the
# ring it writes to, and of its destination and sources the kind, the first element (or the ring) and the step.
T_TIME, T_READY, T_ENDS, T_FIRST_WORD, T_FIRST_END, T_LAST_END, T_LENGTH, T_OUT, T_DST, T_A, T_B = (
    TASK_COLUMNS + i for i in (*range(9), 11, 14)
)
TIMED_TASK_COLUMNS = 32  # four cache lines

# More columns of `State.ring`: words on the ramp, most words seen, the node that fills it (-1: none).
R_INFLIGHT, R_HIGH, R_FEEDER = (RING_COLUMNS + i for i in range(3))
TIMED_RING_COLUMNS = 2 * RING_COLUMNS

# Columns of `core`: its first task and their number; the task in a *burst* (a vector instruction on memory that is
# executing) or -1, the burst's cycles left and the cycle they count from; the task served last; the cycle up to which
# its time is accounted for and the reason that holds since; the cycle it was last listed for; timer links; its last
# entry in the log (-1: it is not traced); then the cycles spent by reason.
(K_FIRST, K_TASKS, K_BURST, K_LEFT, K_AT, K_TURN, K_SINCE, K_REASON, K_LISTED, K_SLOT, K_NEXT, K_PREVIOUS,
 K_TRACED, K_SPENT) = range(14)  # fmt: skip

# What a core does in a cycle. CONFLICT: a slice of a vector instruction waits for a memory bank. DEPENDENCY: set-up,
# scalar code, branches and starts of tasks. NO_WAVELET: inside a token, none in the queue it needs. BACK_PRESSURE: no
# room in the queue it writes. IDLE: between tokens.
REASONS = ("busy", "conflict", "dependency", "no_wavelet", "back_pressure", "idle")
BUSY, CONFLICT, DEPENDENCY, NO_WAVELET, BACK_PRESSURE, IDLE = range(len(REASONS))
CLOCK_COLUMNS = 24  # three cache lines

# Columns of `node`: first fan and number of fans; mask of the fans that still want the word at the head; 0 or, if it
# is listed, 1 and above that the mask of the fans that asked for a link; colour; the node that fills it (-1: none);
# place of the head; words held and on their way; words held (of a source: words that have passed the ramp).
# Where routes run into one another: the next node that feeds the same stage (-1: none); the cycle after the last word
# arrived, modulo CYCLES. What the first fan leads to, and its link; then a stage's words.
(D_FIRST, D_FANS, D_PENDING, D_LISTED, D_COLOUR, D_FEEDER, D_HEAD, D_RESERVED, D_HERE,
 D_ALSO, D_ARRIVED, D_TO, D_LINK, D_HELD) = range(14)  # fmt: skip
CYCLES = 1 << 30
# Of a ghost, whose D_RESERVED counts the words of its stage: the stage, its part, the node that feeds it, that one's
# part, and the fan.
H_STAGE, H_PART, H_FEEDER, H_HOME, H_FAN = range(5)

# Columns of `fan`: a stage, or -1 - r for ring r, or -1 - rings - l for host output lane l; and the link.
F_TO, F_LINK = range(2)

# Columns of `link`: mask of the colours that wanted it last, in which cycle, modulo CYCLES; wavelets carried.
L_WANTED, L_AT, L_WORDS = range(3)
LINK_COLUMNS = 4

# Places in a part's `now`: the last cycle in which it did something; which of the two lists of nodes takes new ones;
# lengths of the lists of nodes and of cores; timers and events that are set.
N_CYCLE, N_INTO, N_NODES, N_CORES, N_TIMERS, N_EVENTS = 0, 1, 2, 4, 6, 7
# Cycles of the ramp, of a hop and of a taken branch; depth of a stage; banks; first source and first host lane among
# the nodes; number of rings; first ring that is an output queue; first task of the host's input lanes and of its output
# lanes; 1/1000 cycles between two words of a lane; first ghost among the nodes; number of the part.
(P_RAMP, P_HOP, P_BRANCH, P_DEPTH, P_BANKS, P_SOURCES, P_LANES, P_RINGS, P_OUT, P_SENDERS, P_RECEIVERS, P_GAP, P_GHOSTS,
 P_PART) = range(9, 23)  # fmt: skip
# The fault, see `runtime.state`.
N_FAULT = 24
# The trace: its cycles (from NO_TRACE: none), the routers whose links it has (columns and rows, half open) and the
# columns of routers in all; entries in the log, and entries that found no room there.
(N_FROM, N_UNTIL, N_LEFT, N_RIGHT, N_TOP, N_BOTTOM, N_COLUMNS, N_LOGGED, N_LOST) = range(32, 41)
# The cycle that all parts execute next, cycles they have met after, the cycle in which this part has something to do by
# itself, which boxes it fills (the others are being emptied), whether it has put anything in.
N_AT, N_TURN, N_OWN, N_BOX, N_SENT = range(41, 46)
NOW = 64  # whole pairs of cache lines
NO_TRACE = 1 << 60

# Columns of `log`. A span of a core's time: unit, row of code (-1: none), reason, first and past-the-last cycle. A word
# on a link: -1 - link, colour, word, cycle and the next. Entry 0 is none.
G_UNIT, G_ROW, G_REASON, G_SINCE, G_UNTIL = range(5)
G_COLOUR, G_WORD = G_ROW, G_REASON
LOG_COLUMNS = 5
FINE = 1000  # units of a host lane's time in a cycle

# Events: kind, number, word.
E_RING, E_RIPE, E_STAGE = range(3)

WHEEL = 4096  # cycles a timer can be set ahead
LINE = 64  # bytes of a cache line
PAIR = 2 * LINE  # processors fetch lines by twos
PACE = PAIR // 8  # columns of `pace`: cycles the part has ended; then its next one, noted in turn in two places
NEXT = 1
BOX = PAIR // 8  # entries of a box in a pair


class Clock(NamedTuple):
    """What the compiled engine has of one part beyond `runtime.state.State`."""

    now: Array  # i64 [NOW]
    wheel: Array  # i64 [WHEEL]: first core whose timer ends in a cycle, -1 if none
    cores: Array  # i32 [2, units]: cores listed for even and for odd cycles
    nodes: Array  # i32 [2, nodes]
    events: Array  # i32 [slots, 1 + capacity, 3]: of cycle % slots, a power of two; the first holds their number
    lanes: Array  # i32 [1 + lanes]: the part's host input lanes, after their number
    core: Array  # i64 [units, CLOCK_COLUMNS]
    node: Array  # i32 [nodes + ghosts, D_HELD + depth or more]
    fan: Array  # i32 [fans, 2]
    link: Array  # i32 [links, LINK_COLUMNS]
    boxes: Array  # i32 [2, parts, parts, 1 + capacity, 2]: from part to part; the first entry holds their number
    received: Array  # i64 [words]: cycle of every word the host received
    log: Array  # i64 [1 + entries, 5]


class Clocks(NamedTuple):
    """All parts: what `Clock` has, with a first axis for the part where each part has its own."""

    now: Array
    wheel: Array
    cores: Array
    nodes: Array
    events: Array
    lanes: Array
    core: Array
    node: Array
    fan: Array
    link: Array
    boxes: Array
    received: Array
    log: Array
    pace: Array  # i64 [parts + 1, PACE]; the last row's first column tells all to stop


def lines(shape: tuple[int, ...], dtype: type[np.generic]) -> Array:
    """Zeros whose first item begins a pair of cache lines."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.zeros(size + PAIR, np.uint8)
    first = -raw.ctypes.data % PAIR
    return raw[first : first + size].view(dtype).reshape(shape)
