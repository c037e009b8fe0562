"""The clock's arrays for a loaded image: the graph of nodes and links, the costs of rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime import fabric
from runtime.cycle.state import (
    C_SETUP,
    CLOCK_COLUMNS,
    CODE_COLUMNS,
    D_ALSO,
    D_ARRIVED,
    D_COLOUR,
    D_FANS,
    D_FEEDER,
    D_FIRST,
    D_HELD,
    D_PENDING,
    DOWN,
    F_LINK,
    F_TO,
    FINE,
    IDLE,
    K_BURST,
    K_FIRST,
    K_LISTED,
    K_REASON,
    K_SLOT,
    K_TASKS,
    K_TRACED,
    L_AT,
    LINE,
    LINK_COLUMNS,
    LINKS,
    LOG_COLUMNS,
    N_COLUMNS,
    N_FROM,
    NO_TRACE,
    NOW,
    P_RAMP,
    R_FEEDER,
    T_FIRST_END,
    T_FIRST_WORD,
    T_LAST_END,
    T_TIME,
    TIMED_RING_COLUMNS,
    TIMED_TASK_COLUMNS,
    Clocks,
    lines,
)
from runtime.encode import DST, END, ENDLOOP, FIFO, IN, KIND, OP, OPERAND, OPERANDS, OUT, VECTOR, Code
from runtime.errors import IllegalImageError
from runtime.geometry import RAMP, STEP
from runtime.jit import entry
from runtime.loader import Loaded
from runtime.state import T_CORE, State
from runtime.target import Target
from runtime.timing import cost

Array = np.ndarray[Any, Any]

_STEPS = np.array(STEP, np.int64)
PLACE = -(1 << 30)


@entry
def _walk(
    sources: Array,
    outputs: Array,
    queues: Array,
    exits: Array,
    steps: Array,
    number: Array,
    stack: Array,
    node: Array,
    fan: Array,
    ring: Array,
    joins: Array,
) -> int:
    """Number the stages that sources (col, row, colour) reach and join them by fans; routes are known to be trees.

    A route that runs into another ends there: joins [0] counts them, and each of the others has a stage and the node
    that feeds it, too.

    number [rows, cols, colours] is work space filled with -1; a stage fed by a source has the feeder -2 - source. Sets
    D_FIRST, D_FANS, D_COLOUR and D_FEEDER. The number of stages.
    """
    height, width, _ = outputs.shape
    stages, fans = 0, 0
    for s in range(len(sources)):
        colour = sources[s, 2]
        stack[0, 0], stack[0, 1], stack[0, 2] = sources[s, 0], sources[s, 1], -2 - s
        top = 1
        while top:
            top -= 1
            col, row = stack[top, 0], stack[top, 1]
            if number[row, col, colour] >= 0:
                joins[0, 0] += 1
                joins[joins[0, 0], 0], joins[joins[0, 0], 1] = number[row, col, colour], stack[top, 2]
                continue
            number[row, col, colour] = stages
            node[stages, D_FEEDER], node[stages, D_COLOUR], node[stages, D_FIRST] = stack[top, 2], colour, fans
            mask = outputs[row, col, colour]
            for direction in range(5):
                if not mask >> direction & 1:
                    continue
                fan[fans, F_LINK] = (row * width + col) * LINKS + direction
                next_col, next_row = col + steps[direction % 4, 0], row + steps[direction % 4, 1]
                if direction == RAMP:
                    r = queues[row, col, colour]
                    fan[fans, F_TO] = -1 - r
                    ring[r, R_FEEDER] = stages
                elif 0 <= next_col < width and 0 <= next_row < height:
                    # Its number is not known before it is reached: the place stands for it.
                    fan[fans, F_TO] = PLACE - (next_row * width + next_col)
                    stack[top, 0], stack[top, 1], stack[top, 2] = next_col, next_row, stages
                    top += 1
                else:
                    for e in range(len(exits)):
                        if (
                            exits[e, 0] == col
                            and exits[e, 1] == row
                            and exits[e, 2] == direction
                            and exits[e, 3] == colour
                        ):
                            fan[fans, F_TO] = -1 - len(ring) - e
                fans += 1
            node[stages, D_FANS] = fans - node[stages, D_FIRST]
            stages += 1
    for n in range(stages):
        for f in range(node[n, D_FIRST], node[n, D_FIRST] + node[n, D_FANS]):
            if fan[f, F_TO] <= PLACE:
                place = PLACE - fan[f, F_TO]
                fan[f, F_TO] = number[place // width, place % width, node[n, D_COLOUR]]
    return stages


def _costs(code: Code, target: Target) -> Array:
    """Setup, width, element and fabric of every row of code: see `runtime.cycle.state`."""
    table = np.zeros((len(code.rows), CODE_COLUMNS - C_SETUP), np.int64)
    for row, (columns, instr) in enumerate(zip(code.rows, code.source, strict=True)):
        op = int(columns[OP])
        if op == ENDLOOP:
            table[row] = (target.branch_cycles, 1, 0, 0)
        elif op == END:
            table[row] = (target.activation_cycles, 1, 0, 0)
        elif instr is not None:
            each = cost(instr, target)
            kinds = [columns[DST + i * OPERAND + KIND] for i in range(columns[OPERANDS])]
            fabric = op == VECTOR and any(kind in (IN, OUT, FIFO) for kind in kinds)
            table[row] = (each.setup, each.width, each.element, fabric)
    return table


def build(loaded: Loaded) -> tuple[State, Clocks]:
    """The state with what time adds to it, and the clock at cycle 0, all tasks about to start, not yet divided (see
    `runtime.cycle.divide`)."""
    image, target = loaded.image, loaded.image.target
    window = fabric.window_of(target)
    _, outputs = fabric.tables(image, window)
    origin = np.array([window.x0, window.y0])
    xy = np.column_stack([loaded.x, loaded.y]) - origin
    readers, senders = np.argwhere(image.cores["inq"] >= 0), np.argwhere(image.cores["outq"] >= 0)
    queues = np.full(outputs.shape, -1, np.int32)
    queues[xy[readers[:, 0], 1], xy[readers[:, 0], 0], image.cores["inq"][tuple(readers.T)]] = np.arange(len(readers))
    out = np.column_stack([xy[senders[:, 0]], image.cores["outq"][tuple(senders.T)]])
    hosts = [(lane.x - window.x0, lane.y - window.y0, lane.colour) for lane in loaded.lanes_in]
    sources = np.concatenate([out, np.array(hosts, np.int64).reshape(-1, 3)]).astype(np.int64)
    exits = [(lane.x - window.x0, lane.y - window.y0, lane.side, lane.colour) for lane in loaded.lanes_out]
    depth = target.router_depth + target.hop_cycles - 1
    node = np.zeros((int(np.count_nonzero(outputs)) + len(sources), D_HELD + depth), np.int32)
    fan = np.zeros((int(np.unpackbits(outputs[outputs > 0]).sum()) + len(sources), 2), np.int32)
    state = _timed(loaded.state, _costs(loaded.code, target), target)
    number = np.full(outputs.shape, -1, np.int32)
    stack = np.zeros((window.width * window.height, 3), np.int64)
    ends = np.array(exits, np.int64).reshape(-1, 4)
    joins = np.zeros((1 + len(node), 2), np.int32)
    stages = _walk(sources, outputs, queues, ends, _STEPS, number, stack, node, fan, state.ring, joins)
    # Sources come after the stages, each with one fan: the stage of its own router.
    fans = int(node[:stages, D_FANS].sum())
    node, fan = _padded(node[: stages + len(sources)]), fan[: fans + len(sources)]
    node[stages:, D_FIRST], node[stages:, D_FANS] = fans + np.arange(len(sources)), 1
    node[stages:, D_COLOUR], node[stages:, D_FEEDER] = sources[:, 2], -1
    from_source = node[:stages, D_FEEDER] < -1
    node[:stages, D_FEEDER][from_source] = stages - 2 - node[:stages, D_FEEDER][from_source]
    node[:, D_ALSO] = node[:, D_ARRIVED] = -1
    _join(node, joins[1 : 1 + joins[0, 0]], stages)
    node[:, D_PENDING] = (1 << node[:, D_FANS]) - 1
    fan[fans:, F_TO] = number[sources[:, 1], sources[:, 0], sources[:, 2]]
    fan[fans:, F_LINK] = (sources[:, 1] * window.width + sources[:, 0]) * LINKS + DOWN
    # Host lanes come in by the wafer's outer links, which no table has a number for.
    routers = window.width * window.height
    fan[len(fan) - len(hosts) :, F_LINK] = routers * LINKS + np.arange(len(hosts))
    link = np.zeros((routers * LINKS + len(hosts), LINK_COLUMNS), np.int32)
    link[:, L_AT] = -1
    rings = len(state.ring)
    now = np.zeros((1, NOW), np.int64)
    now[0, P_RAMP : P_RAMP + 13] = (
        *(target.ramp_cycles, target.hop_cycles, target.branch_cycles, depth, target.memory_banks),
        *(stages, stages + len(senders), rings, rings - len(senders)),
        *(len(state.task) - len(loaded.lanes_in) - len(loaded.lanes_out), len(state.task) - len(loaded.lanes_out)),
        *(round(FINE / target.host_words_per_cycle), len(node)),
    )
    now[0, [N_FROM, N_COLUMNS]] = NO_TRACE, window.width
    capacity = 1 + rings + (stages if target.hop_cycles > 1 else 0)
    nothing = np.zeros(0, np.int32)
    clock = Clocks(
        now=now,
        wheel=nothing,
        cores=nothing,
        nodes=nothing,
        events=np.zeros((1, 1 << max(target.ramp_cycles, target.hop_cycles).bit_length(), capacity, 3), np.int32),
        lanes=nothing,
        boxes=nothing,
        pace=nothing,
        core=_cores(state.task[:, T_CORE], len(state.core), loaded.cores),
        node=node,
        fan=fan,
        link=link,
        received=np.zeros(1, np.int64),
        log=np.full((1, LOG_COLUMNS), -1, np.int64),
    )
    return state, clock


def _padded(table: Array) -> Array:
    """The table with rows of whole cache lines."""
    items = LINE // table.itemsize
    rows, columns = table.shape
    padded = lines((rows, -(-columns // items) * items), table.dtype.type)
    padded[:, :columns] = table
    return padded


def _join(node: Array, joins: Array, stages: int) -> None:
    """Note the nodes (a source s as -2 - s) that feed a stage beside its first feeder. Raises IllegalImageError."""
    for stage, code in joins:
        feeder = int(code if code >= 0 else stages - 2 - code)
        last = int(node[stage, D_FEEDER])
        while node[last, D_ALSO] >= 0:
            last = int(node[last, D_ALSO])
        if node[[last, feeder], D_FANS].max() > 1:
            message = "a multicast and another route of its colour run into one another"
            raise IllegalImageError(message, code="route-merge", where=f"colour {node[stage, D_COLOUR]}")
        node[last, D_ALSO] = feeder


def _timed(state: State, costs: Array, target: Target) -> State:
    """The state with the columns of `runtime.cycle.state`; what is shared stays shared."""
    tasks, rings = len(state.task), len(state.ring)
    task = lines((tasks, TIMED_TASK_COLUMNS), np.int64)
    task[:, : state.task.shape[1]] = state.task
    task[:, T_TIME] = np.where(task[:, T_CORE] >= 0, target.activation_cycles, 0)
    task[:, [T_FIRST_WORD, T_FIRST_END, T_LAST_END]] = -1
    ring = lines((rings, TIMED_RING_COLUMNS), np.int64)
    ring[:, : state.ring.shape[1]] = state.ring
    ring[:, R_FEEDER] = -1
    code = np.concatenate([state.code, costs], axis=1)
    return state._replace(code=code, task=task, ring=ring, reg=_padded(state.reg))


def _cores(owner: Array, units: int, cores: int) -> Array:
    table = lines((units, CLOCK_COLUMNS), np.int64)
    count = np.bincount(owner, minlength=units)
    table[:, K_FIRST], table[:, K_TASKS] = np.cumsum(count) - count, count
    table[cores:, K_TASKS] = 0  # the host's lanes are nodes
    table[:, [K_BURST, K_SLOT, K_LISTED, K_TRACED]] = -1
    table[:, K_REASON] = IDLE
    return table
