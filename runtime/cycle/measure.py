"""Where the cycles of a call went, taken from the clock's counters while the machine is at rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from runtime import fabric
from runtime.cycle.machine import CycleMachine
from runtime.cycle.state import (
    BUSY,
    CONFLICT,
    DEPENDENCY,
    K_REASON,
    K_SINCE,
    K_SPENT,
    L_WORDS,
    LINKS,
    P_OUT,
    R_HIGH,
    REASONS,
    T_ENDS,
    T_FIRST_END,
    T_FIRST_WORD,
    T_LAST_END,
)
from runtime.image import Block
from runtime.loader import Loaded
from runtime.report import predicted_cycles
from runtime.state import C_FIFO, R_DEPTH, T_CORE

Array = np.ndarray[Any, Any]

KINDS = ("input", "output", "fifo")  # of queues
WORKING = (BUSY, CONFLICT, DEPENDENCY)  # reasons for which a core does not wait for others


@dataclass(frozen=True)
class QueueMark:
    """The fullest queue of one kind among a kernel's cores: `kind` is input, output or fifo, `number` its number there,
    `name` the program's name for it.

    depth: words it holds, those on its ramp included; high: most words there were in one of them at a time;
    full: cores where it was full at some time, of `cores` that have it.
    """

    kind: str
    number: int
    name: str
    depth: int
    high: int
    full: int
    cores: int


@dataclass(frozen=True)
class KernelTiming:
    """One kernel in a call. Cycles; None where a run has too few tokens, or the image notes no closed form.

    interval: between two tokens, the mean over the call at its slowest task; what a kernel waits for counts too. work:
    cycles per token of its busiest core without waiting, the shortest interval the kernel could have. latency: from
    its first word to the end of its last core's first token. predicted_*: the compiler's closed forms, for full caches.
    spent [reasons]: core-cycles by reason (`runtime.cycle.state.REASONS`). busiest: the core with most work, and
    busiest_spent its cycles by reason.
    """

    block: Block
    cores: int
    interval: float | None
    work: float | None
    latency: int | None
    predicted_interval: int | None
    predicted_latency: int | None
    spent: Array
    busiest: tuple[int, int]
    busiest_spent: Array
    queues: tuple[QueueMark, ...]


@dataclass(frozen=True)
class Timing:
    """One call of `run` or `append`. Cycles count from its start, at which the machine was at rest.

    cycles: until the machine is at rest again. tokens [tokens]: when each one's last word was at the host.
    spent [cores, reasons]: cycles of each core of the core table by reason; every row adds up to `cycles`.
    links [6, rows, columns]: wavelets on the links N, E, S, W, to the core, from the core of every router of the usable
    wafer, whose corner is `origin`. clock_ghz: the target's.
    """

    cycles: int
    tokens: Array
    spent: Array
    links: Array
    origin: tuple[int, int]
    clock_ghz: float
    kernels: tuple[KernelTiming, ...]

    @property
    def first_token(self) -> int | None:
        """Cycles until the first token was complete."""
        return int(self.tokens[0]) if len(self.tokens) else None

    @property
    def per_token(self) -> float | None:
        """Cycles from token to token in steady state: the mean over the last half of the tokens; None for one token."""
        last = len(self.tokens) - 1
        first = last // 2
        return float(self.tokens[last] - self.tokens[first]) / (last - first) if last > first else None

    @property
    def tokens_per_second(self) -> float | None:
        """At the target's clock, in steady state; of a lone token, one at a time."""
        cycles = self.per_token or self.first_token
        return self.clock_ghz * 1e9 / cycles if cycles else None


def measure(machine: CycleMachine, tokens: Array) -> Timing:
    """The timing since `machine.begin`. tokens: when each token was complete, in cycles from there."""
    loaded, clock = machine.loaded, machine.clock
    cycles = machine.cycle - machine.began
    spent = clock.core[: loaded.cores, K_SPENT : K_SPENT + len(REASONS)].copy()
    reason, since = clock.core[: loaded.cores, K_REASON], clock.core[: loaded.cores, K_SINCE]
    # A core's time is noted when something happens to it: the rest has been as it is.
    spent[np.arange(len(spent)), reason] += machine.cycle - since
    window = fabric.window_of(loaded.image.target)
    routers = window.width * window.height
    links = clock.link[: routers * LINKS, L_WORDS].reshape(window.height, window.width, LINKS)
    return Timing(
        cycles=cycles,
        tokens=tokens,
        spent=spent,
        links=np.moveaxis(links, 2, 0).copy(),
        origin=(window.x0, window.y0),
        clock_ghz=loaded.image.target.clock_ghz,
        kernels=_kernels(machine, spent, max(1, len(tokens))),
    )


def _kernels(machine: CycleMachine, spent: Array, tokens: int) -> tuple[KernelTiming, ...]:
    loaded, task = machine.loaded, machine.state.task
    image = loaded.image
    predicted = predicted_cycles(image)
    own = task[task[:, T_CORE] < loaded.cores]
    of_task = loaded.block[own[:, T_CORE]]
    marks = _marks(machine)
    kernels = []
    for number, block in enumerate(image.blocks):
        cores = slice(block.first, block.first + block.rows * block.cols)
        work = spent[cores][:, WORKING].sum(axis=1)
        busiest = int(np.argmax(work)) + block.first
        interval, latency = predicted.get(block.name, (None, None))
        tasks = own[of_task == number]
        kernels.append(
            KernelTiming(
                block=block,
                cores=int((image.cores["program"][cores] >= 0).sum()),
                interval=_interval(tasks, tokens),
                work=float(work.max()) / tokens if tokens else None,
                latency=_latency(tasks),
                predicted_interval=interval,
                predicted_latency=latency,
                spent=spent[cores].sum(axis=0),
                busiest=(int(loaded.x[busiest]), int(loaded.y[busiest])),
                busiest_spent=spent[busiest],
                queues=marks[number],
            )
        )
    return tuple(kernels)


def _interval(tasks: Array, tokens: int) -> float | None:
    """Of the slowest task; a task may repeat its body several times a token."""
    some = tasks[tasks[:, T_ENDS] > 1]
    if not len(some) or tokens < 2:
        return None
    bodies = np.maximum(1, some[:, T_ENDS] // tokens)
    spans = (some[:, T_LAST_END] - some[:, T_FIRST_END]) / (some[:, T_ENDS] - 1)
    return float((spans * bodies).max())


def _latency(tasks: Array) -> int | None:
    began, ended = tasks[:, T_FIRST_WORD], tasks[:, T_FIRST_END]
    if not (began >= 0).any() or not (ended >= 0).any():
        return None
    return int(ended.max() - began[began >= 0].min())


def _marks(machine: CycleMachine) -> list[tuple[QueueMark, ...]]:
    """By kernel: the rings of its cores, those of one name and depth together."""
    loaded, ring = machine.loaded, machine.state.ring
    kind, unit, number = rings(loaded, int(machine.clock.now[0, P_OUT]))
    own = kind >= 0
    program = np.full(len(kind), -1)
    program[own] = loaded.image.cores["program"][unit[own]]
    block = np.full(len(kind), -1)
    block[own] = loaded.block[unit[own]]
    # An output queue's ring has one place more than the queue, see `runtime.loader`.
    limit = ring[:, R_DEPTH] - (kind == KINDS.index("output"))
    keys = np.column_stack([block, program, kind, number, limit])[own]
    unique, which = np.unique(keys, axis=0, return_inverse=True)
    high = np.zeros(len(unique), np.int64)
    np.maximum.at(high, which, np.minimum(ring[own, R_HIGH], limit[own]))
    full = np.bincount(which, ring[own, R_HIGH] >= limit[own], len(unique)).astype(np.int64)
    cores = np.bincount(which, minlength=len(unique))
    merged: list[dict[tuple[Any, ...], QueueMark]] = [{} for _ in loaded.image.blocks]
    for (b, p, k, n, depth), most, at_limit, count in zip(
        unique.tolist(), high.tolist(), full.tolist(), cores.tolist(), strict=True
    ):
        name = _queue_name(loaded, p, k, n)
        old = merged[b].get((k, n, name, depth), QueueMark(KINDS[k], n, name, depth, 0, 0, 0))
        mark = QueueMark(KINDS[k], n, name, depth, max(old.high, most), old.full + at_limit, old.cores + count)
        merged[b][k, n, name, depth] = mark
    return [tuple(marks[key] for key in sorted(marks)) for marks in merged]


def rings(loaded: Loaded, first_output: int) -> tuple[Array, Array, Array]:
    """Of every ring its kind (index of KINDS, -1: a host lane), core, and number as a queue or FIFO of that core."""
    senders = np.argwhere(loaded.image.cores["outq"] >= 0)
    lanes = len(loaded.owner)
    kind = np.full(lanes + len(senders), -1)
    kind[:lanes][loaded.queue >= 0] = 0
    kind[first_output:], kind[loaded.fifos : first_output] = 1, 2
    unit = np.concatenate([loaded.owner, senders[:, 0]])
    number = np.concatenate([loaded.queue, senders[:, 1]])
    fifos = slice(loaded.fifos, first_output)
    number[fifos] = np.arange(first_output)[fifos] - loaded.state.core[unit[fifos], C_FIFO]
    return kind, unit, number


def _queue_name(loaded: Loaded, program: int, kind: int, number: int) -> str:
    if kind == 2:
        definition = loaded.image.programs[program].fifos[number]
        regions = loaded.image.programs[program].regions
        return next((r.name for r in regions if r.address == definition.address and r.owner == "fifo"), "")
    source = loaded.image.programs[program]
    return dict(source.input_names if kind == 0 else source.output_names).get(number, "")


def by_reason(spent: Array) -> dict[str, int]:
    """Cycles by reason, as words."""
    return dict(zip(REASONS, np.asarray(spent).tolist(), strict=True))
