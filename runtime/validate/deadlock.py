"""Rule e: the image cannot deadlock, proved by executing one token abstractly.

*Model.* Every task is a Kahn process: blocking reads and writes, in a fixed order that depends on no data. A channel
is a bounded buffer per reader, of exactly the reader's input queue depth; a word enters a channel when every reader has
space, and then arrives everywhere at once. FIFOs hold their declared words. Each host lane is a process of its own: the
host offers and accepts words on every lane independently. Only the number of words is executed, not their values.

*Claim.* If one token runs to the end (every task completes one body), no schedule of any number of tokens deadlocks.

1. A network of such processes is conflict-free: every buffer has one writer and one reader per end, so a step that is
   possible stays possible whatever other steps are taken, and steps of different processes commute. Hence all maximal
   executions have the same steps; if one is infinite, none can get stuck.
2. Rates balance (rule d), so after one body of every task all buffers are empty again, as at the start. Repeating the
   found execution token after token is an infinite execution. By 1, no execution gets stuck.
3. The machine has more buffers than the model: output queues, and registers in the routers, per colour. Colours do not
   block each other on a link (each has its own buffer and the link serves all), so a wavelet whose readers have space
   arrives after finitely many cycles. The machine can therefore imitate the model's execution; being a conflict-free
   network itself, it too never gets stuck. Likewise a machine that takes the operands of a vector instruction one after
   the other can imitate the model, which moves a word only when all its operands are ready.

This subsumes the classic test for cycles among (link, colour) dependencies: such a cycle is harmless if it never fills,
which the execution decides exactly; and if the execution succeeds, no wavelet waits for ever for a buffer of a link.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from runtime.image import Image
from runtime.isa import INPUT_QUEUES, OUTPUT_QUEUES
from runtime.tables import Array, core_positions
from runtime.validate.programs import Move, Traffic, end_name
from runtime.validate.report import Report, at
from runtime.validate.routes import Channels, lanes

MAX_HOPS = 24  # of a cycle of waits told in full
STEPS = 1 << 24  # of the execution at a time: a second or less


@dataclass
class Network:
    """The image as processes and buffers, in flat arrays.

    Task t runs `moves[first[t]:end[t]]` (read end, read end, write end, words). Its read end e is buffer
    `read_base[t] + e`; its write end e is writer `write_base[t] + e`, which fills buffers `sinks[sink_first[w]:
    sink_first[w+1]]`. `reader` and `writer` are the task at either side of a buffer, -1 for the accepting host.
    """

    moves: Array
    first: Array
    end: Array
    read_base: Array
    write_base: Array
    sink_first: Array
    sinks: Array
    capacity: Array
    reader: Array
    writer: Array
    task_core: Array  # -1 for host lanes


def check_deadlock(image: Image, traffic: Sequence[Traffic], channels: Channels, report: Report) -> None:
    """Report the cycle of waits if one token does not run to its end. Rates must have been found balanced."""
    network = _build(image, traffic, channels)
    state = _begin(network)
    given = (
        *(network.moves, network.first, network.end, network.read_base, network.write_base),
        *(network.sink_first, network.sinks, network.capacity, network.reader, network.writer),
    )
    while _execute(*given, *state, STEPS):
        pass  # an interrupt is heard here
    done = int(state.cursor[2])
    if done < len(network.first):
        _Explainer(image, network, state.waits_for, state.waits_writing).tell(report, len(network.first) - done)


class _State(NamedTuple):
    """How far the execution is, by buffer (`fill`) and by task.

    `ring` holds the runnable tasks, each at most once (`queued`), from cursor[0] on cursor[1] many; cursor[2] are done.
    A task that is neither waits for buffer `waits_for`, to write it if `waits_writing`.
    """

    fill: Array
    at_move: Array
    left: Array
    waits_for: Array
    waits_writing: Array
    ring: Array
    queued: Array
    cursor: Array


def _begin(network: Network) -> _State:
    tasks = len(network.first)
    return _State(
        fill=np.zeros(len(network.capacity), np.int64),
        at_move=network.first.copy(),
        left=np.zeros(tasks, np.int64),
        waits_for=np.full(tasks, -1, np.int64),
        waits_writing=np.zeros(tasks, np.bool_),
        ring=np.arange(tasks),
        queued=np.ones(tasks, np.bool_),
        cursor=np.array([0, tasks, 0], np.int64),
    )


def _build(image: Image, traffic: Sequence[Traffic], channels: Channels) -> Network:
    cores, program = len(image.cores), image.cores["program"].astype(np.int64)
    fifos = max((len(p.fifos) for p in image.programs), default=0)
    reads, writes = INPUT_QUEUES + fifos, OUTPUT_QUEUES + fifos
    in_sizes = [1 + lane.size for _, lane in lanes(image, "in")]
    out_sizes = [1 + lane.size for _, lane in lanes(image, "out")]

    # Moves of every task of every program, then of the input lanes.
    traces: list[list[Move]] = [moves for t in traffic for moves in t.moves]
    traces += [[(-1, -1, 0, size)] for size in in_sizes]
    bounds = np.cumsum([0, *(len(moves) for moves in traces)])
    flat = np.array([move for moves in traces for move in moves], np.int64).reshape(-1, 4)
    tasks_of = np.array([*(len(t.moves) for t in traffic), 0], np.int64)  # the last: idle cores (program -1)
    trace_of = np.cumsum(tasks_of) - tasks_of

    # Tasks: those of core 0, of core 1, ..., then one per input lane.
    per_core = tasks_of[program]
    first_task = np.cumsum(per_core) - per_core
    host = np.full(len(in_sizes), -1)
    task_core = np.concatenate([np.repeat(np.arange(cores), per_core), host])
    on_core = task_core >= 0
    own = np.arange(len(task_core)) - np.append(first_task, 0)[task_core]
    trace = np.where(on_core, trace_of[np.append(program, -1)[task_core]] + own, 0)
    lane_numbers = np.arange(len(in_sizes))
    trace[~on_core] = len(traces) - len(in_sizes) + lane_numbers
    write_base = task_core * writes
    write_base[~on_core] = cores * writes + lane_numbers

    # Buffers: `reads` per core, then the output lanes, which hold a token. Writers: `writes` per core, then lanes.
    capacity = _capacities(image, reads, out_sizes)
    reader = _owners(image, [t.reader for t in traffic], reads, first_task, len(out_sizes))
    owner = _owners(image, [t.writer for t in traffic], writes, first_task, 0)
    owner = np.concatenate([owner, len(task_core) - len(in_sizes) + lane_numbers])
    pair_writer, pair_buffer = _connections(image, channels, reads, writes, fifos)
    writer = np.full(len(capacity), -1, np.int64)
    writer[pair_buffer] = owner[pair_writer]
    order = np.argsort(pair_writer, kind="stable")
    sink_first = np.searchsorted(pair_writer[order], np.arange(len(owner) + 1))
    return Network(
        moves=flat,
        first=bounds[trace],
        end=bounds[trace + 1],
        read_base=task_core * reads,
        write_base=write_base,
        sink_first=sink_first,
        sinks=pair_buffer[order],
        capacity=capacity,
        reader=reader,
        writer=writer,
        task_core=task_core,
    )


def _capacities(image: Image, reads: int, out_sizes: list[int]) -> Array:
    """Words each buffer holds: queue depths, then FIFO sizes; a token for an output lane."""
    table = np.zeros((len(image.programs) + 1, reads), np.int64)
    table[:, :INPUT_QUEUES] = image.target.input_depth
    for row, program in zip(table, image.programs, strict=False):
        for number, fifo in enumerate(program.fifos):
            row[INPUT_QUEUES + number] = fifo.words
    return np.concatenate([table[image.cores["program"]].reshape(-1), np.array(out_sizes, np.int64)])


def _owners(image: Image, ends: list[list[int]], width: int, first_task: Array, extra: int) -> Array:
    """The task that owns each end of each core, -1 for none, and `extra` ends of the host."""
    table = np.full((len(ends) + 1, width), -1, np.int64)
    for row, owners in zip(table, ends, strict=False):
        row[: len(owners)] = owners
    local = table[image.cores["program"]]
    tasks = np.where(local >= 0, local + first_task[:, None], -1)
    return np.concatenate([tasks.reshape(-1), np.full(extra, -1, np.int64)])


def _connections(image: Image, channels: Channels, reads: int, writes: int, fifos: int) -> tuple[Array, Array]:
    """Every pair of a writer and a buffer it fills: the channels' and the FIFOs'."""
    cores = len(image.cores)
    fed = channels.sink_channel >= 0
    writer = _renumber(channels.source[channels.sink_channel[fed]], OUTPUT_QUEUES, writes, cores)
    buffer = _renumber(channels.sink[fed], INPUT_QUEUES, reads, cores)
    core, fifo = np.divmod(np.arange(cores * fifos), max(fifos, 1))
    return (
        np.concatenate([writer, core * writes + OUTPUT_QUEUES + fifo]),
        np.concatenate([buffer, core * reads + INPUT_QUEUES + fifo]),
    )


def _renumber(ends: Array, width: int, new_width: int, cores: int) -> Array:
    """From `width` ends per core to `new_width`; host lanes follow the cores in both."""
    core, queue = np.divmod(ends, width)
    return np.where(core < cores, core * new_width + queue, ends - cores * width + cores * new_width)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _execute(
    moves: Any,
    first: Any,
    end: Any,
    read_base: Any,
    write_base: Any,
    sink_first: Any,
    sinks: Any,
    capacity: Any,
    reader: Any,
    writer: Any,
    fill: Any,
    at_move: Any,
    left: Any,
    waits_for: Any,
    waits_writing: Any,
    ring: Any,
    queued: Any,
    cursor: Any,
    steps: int,
) -> Any:
    """Go on until no task can, or for about so many steps; whether a task still can. See `Network` and `_State`."""
    tasks = len(first)
    head, count, done = cursor[0], cursor[1], cursor[2]
    while count > 0 and steps > 0:
        task = ring[head]
        head = head + 1 if head + 1 < tasks else 0
        count -= 1
        queued[task] = False
        waits_for[task] = -1
        while at_move[task] < end[task]:
            steps -= 1
            move = at_move[task]
            if left[task] == 0:
                left[task] = moves[move, 3]
            amount = left[task]
            for side in range(2):
                if moves[move, side] >= 0:
                    buffer = read_base[task] + moves[move, side]
                    amount = min(amount, fill[buffer])
                    if fill[buffer] == 0:
                        waits_for[task], waits_writing[task] = buffer, False
                        break
            if amount == 0:
                break
            lo, hi = 0, 0
            if moves[move, 2] >= 0:
                lo = sink_first[write_base[task] + moves[move, 2]]
                hi = sink_first[write_base[task] + moves[move, 2] + 1]
            for s in range(lo, hi):
                space = capacity[sinks[s]] - fill[sinks[s]]
                amount = min(amount, space)
                if space == 0:
                    waits_for[task], waits_writing[task] = sinks[s], True
                    break
            if amount == 0:
                break
            for side in range(2):
                if moves[move, side] >= 0:
                    buffer = read_base[task] + moves[move, side]
                    fill[buffer] -= amount
                    other = writer[buffer]
                    if other >= 0 and not queued[other] and waits_for[other] == buffer:
                        ring[(head + count) % tasks] = other
                        count += 1
                        queued[other] = True
            for s in range(lo, hi):
                fill[sinks[s]] += amount
                other = reader[sinks[s]]
                if other >= 0 and not queued[other] and waits_for[other] == sinks[s]:
                    ring[(head + count) % tasks] = other
                    count += 1
                    queued[other] = True
            left[task] -= amount
            if left[task] == 0:
                at_move[task] += 1
        if at_move[task] == end[task]:
            done += 1
    cursor[0], cursor[1], cursor[2] = head, count, done
    return count > 0


class _Explainer:
    """Names tasks and buffers, and walks from wait to wait until it closes a cycle."""

    def __init__(self, image: Image, network: Network, waits_for: Array, waits_writing: Array) -> None:
        self.image, self.network = image, network
        self.waits_for, self.waits_writing = waits_for, waits_writing
        self.x, self.y = core_positions(image)
        self.reads = INPUT_QUEUES + max((len(p.fifos) for p in image.programs), default=0)

    def tell(self, report: Report, stuck: int) -> None:
        cycle = self._cycle(int(np.flatnonzero(self.waits_for >= 0)[0]))
        hops = [self._wait(task, self._next(task)) for task in cycle[:MAX_HOPS]]
        if len(cycle) > MAX_HOPS:
            hops.append(f"... {len(cycle) - MAX_HOPS} more")
        text = ", which ".join([f"{self._task(cycle[0])} {hops[0]}", *hops[1:]])
        message = f"one token cannot run to its end, {stuck} tasks wait for ever: {text}"
        report.add("deadlock", message, self._task(cycle[0]))

    def _next(self, task: int) -> int:
        """The task that could end this task's wait. With balanced rates there is one, and it waits itself."""
        buffer = self.waits_for[task]
        return int(self.network.reader[buffer] if self.waits_writing[task] else self.network.writer[buffer])

    def _cycle(self, task: int) -> list[int]:
        path: dict[int, None] = {}
        while task not in path:
            path[task] = None
            task = self._next(task)
        tasks = list(path)
        return tasks[tasks.index(task) :]

    def _wait(self, task: int, other: int) -> str:
        buffer = int(self.waits_for[task])
        core, end = divmod(buffer, self.reads)
        place = f"{end_name(end, True)} of {at(int(self.x[core]), int(self.y[core]))}"
        if end < INPUT_QUEUES:
            place += f" (colour {self.image.cores['inq'][core, end]})"
        if self.waits_writing[task]:
            return f"waits for space in {place}, which {self._task(other)} must empty"
        return f"waits for words in {place} from {self._task(other)}"

    def _task(self, task: int) -> str:
        core = int(self.network.task_core[task])
        if core < 0:
            host = int(np.flatnonzero(self.network.task_core < 0)[0])
            return lanes(self.image, "in")[task - host][0]
        number = task - int(np.flatnonzero(self.network.task_core == core)[0])
        name = self.image.programs[self.image.cores["program"][core]].tasks[number].name
        return f"core {at(int(self.x[core]), int(self.y[core]))} task {name}"
