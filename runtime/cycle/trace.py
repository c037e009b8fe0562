"""A window of cycles and a rectangle of cores as a trace that Perfetto and chrome://tracing show.

A process for each kernel with a thread for each core: what it executed or waited for; and a process for the links with
a thread for each: the wavelets on it. One microsecond of the viewer is one cycle. Idle cores are gaps.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtime.assembly import instruction_text
from runtime.cycle.machine import CycleMachine
from runtime.cycle.state import (
    BUSY,
    G_COLOUR,
    G_SINCE,
    G_UNIT,
    G_UNTIL,
    G_WORD,
    IDLE,
    K_FIRST,
    K_REASON,
    K_SINCE,
    K_TASKS,
    K_TRACED,
    LINKS,
    LOG_COLUMNS,
    N_BOTTOM,
    N_FROM,
    N_LEFT,
    N_LOGGED,
    N_LOST,
    N_RIGHT,
    N_TOP,
    N_UNTIL,
    REASONS,
)
from runtime.errors import InputError
from runtime.fabric import window_of
from runtime.report import LINKS as LINK_NAMES
from runtime.state import T_PC
from runtime.text import safe

Array = np.ndarray[Any, Any]

EVENTS = 200_000  # about 30 MB of JSON


@dataclass(frozen=True)
class Window:
    """What to trace: cycles [first, last), cores and routers of a rectangle (x, y, columns, rows) of the fabric (None:
    all), and at most so many events."""

    first: int
    last: int
    rectangle: tuple[int, int, int, int] | None = None
    events: int = EVENTS


def begin(machine: CycleMachine, window: Window) -> None:
    """Trace this window from now on, on one thread, so that the events that find room are the same ones on any machine.

    Raises InputError if no core of the image is in it.
    """
    loaded = machine.loaded
    usable = window_of(loaded.image.target)
    x, y, columns, rows = window.rectangle or (usable.x0, usable.y0, usable.width, usable.height)
    inside = (loaded.x >= x) & (loaded.x < x + columns) & (loaded.y >= y) & (loaded.y < y + rows)
    if not inside.any():
        place = f"columns {x} to {x + columns - 1}, rows {y} to {y + rows - 1}"
        raise InputError(f"no core of the image is in {place}", code="no-core", hint="see `wsec inspect`")
    log = np.full((1 + window.events, LOG_COLUMNS), -1, np.int64)
    machine.divide(1)
    machine.clock = clock = machine.clock._replace(log=log)
    clock.core[:, K_TRACED] = -1
    clock.core[: loaded.cores, K_TRACED][inside] = 0
    clock.now[0, [N_FROM, N_UNTIL, N_LOGGED, N_LOST]] = window.first, window.last, 1, 0
    clock.now[0, [N_LEFT, N_RIGHT, N_TOP, N_BOTTOM]] = (
        *(x - usable.x0, x + columns - usable.x0),
        *(y - usable.y0, y + rows - usable.y0),
    )


def chrome(machine: CycleMachine, window: Window) -> dict[str, Any]:
    """What was traced in Chrome's trace event format; `otherData` says what is not in it."""
    log = machine.clock.log[1 : machine.clock.now[0, N_LOGGED]]
    spans = np.concatenate([log[log[:, G_UNIT] >= 0], _unfinished(machine)])
    spans = spans[(spans[:, G_UNTIL] > window.first) & (spans[:, G_SINCE] < window.last)]
    words = log[log[:, G_UNIT] < 0]
    events = [*_spans(machine, spans, window), *_words(machine, words)]
    return {
        "displayTimeUnit": "ns",
        "otherData": {"unit": "1 us is 1 cycle", **left_out(machine, window)},
        "traceEvents": events,
    }


def _unfinished(machine: CycleMachine) -> Array:
    """What traced cores have been doing since the clock last looked at them: entries like the log's."""
    core, task = machine.clock.core, machine.state.task
    units = np.flatnonzero((core[:, K_TRACED] >= 0) & (core[:, K_REASON] != IDLE) & (core[:, K_SINCE] <= machine.cycle))
    rows = np.where(core[units, K_TASKS] == 1, task[core[units, K_FIRST], T_PC], -1)
    ends = np.full(len(units), machine.cycle + 1)
    return np.column_stack([units, rows, core[units, K_REASON], core[units, K_SINCE], ends])


def left_out(machine: CycleMachine, window: Window) -> dict[str, Any]:
    """What the trace covers, and what not: cores outside the rectangle, cycles that ran, events without room."""
    clock = machine.clock
    lost, traced = int(clock.now[0, N_LOST]), int((clock.core[:, K_TRACED] >= 0).sum())
    return {
        "cycles": [window.first, window.last],
        "cycles_run": machine.cycle,
        "cores": traced,
        "cores_left_out": machine.loaded.cores - traced,
        "events": int(clock.now[0, N_LOGGED]) - 1,
        "events_left_out": lost,
        "full_at_cycle": int(clock.log[-1, G_SINCE]) if lost else None,
    }


def _spans(machine: CycleMachine, spans: Array, window: Window) -> list[dict[str, Any]]:
    loaded = machine.loaded
    text = _Text(machine)
    units = np.unique(spans[:, G_UNIT])
    events: list[dict[str, Any]] = []
    for block in np.unique(loaded.block[units]).tolist():
        events.append(_name("process_name", block + 1, 0, safe(loaded.image.blocks[block].name)))
    for unit in units.tolist():
        events.append(_name("thread_name", int(loaded.block[unit]) + 1, unit, f"({loaded.x[unit]},{loaded.y[unit]})"))
    for unit, row, reason, since, until in spans.tolist():
        begin, end = max(since, window.first), min(until, window.last)
        task, instruction = text.of(unit, row)
        name = REASONS[reason].replace("_", " ")
        events.append(
            {
                "ph": "X",
                "pid": int(loaded.block[unit]) + 1,
                "tid": unit,
                "ts": begin,
                "dur": end - begin,
                "name": instruction if reason == BUSY and instruction else f"{name}: {instruction}".rstrip(": "),
                "cat": REASONS[reason],
                "args": {"task": task, "reason": name},
            }
        )
    return events


def _words(machine: CycleMachine, words: Array) -> list[dict[str, Any]]:
    window = window_of(machine.loaded.image.target)
    links = -1 - words[:, G_UNIT]
    events = [_name("process_name", 0, 0, "links")] if len(links) else []
    for link in np.unique(links).tolist():
        row, column = divmod(link // LINKS, window.width)
        name = f"({column + window.x0},{row + window.y0}) {LINK_NAMES[link % LINKS]}"
        events.append(_name("thread_name", 0, link, name))
    for link, entry in zip(links.tolist(), words.tolist(), strict=True):
        events.append(
            {
                "ph": "X",
                "pid": 0,
                "tid": link,
                "ts": entry[G_SINCE],
                "dur": 1,
                "name": f"colour {entry[G_COLOUR]}",
                "cat": "wavelet",
                "args": {"word": f"{entry[G_WORD] & 0xFFFFFFFF:#010x}"},
            }
        )
    return events


def _name(kind: str, pid: int, tid: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "pid": pid, "tid": tid, "name": kind, "args": {"name": name}}


class _Text:
    """Rows of code as (task, instruction), each made once."""

    def __init__(self, machine: CycleMachine) -> None:
        self.loaded = machine.loaded
        self.known: dict[int, tuple[str, str]] = {-1: ("", "")}

    def of(self, unit: int, row: int) -> tuple[str, str]:
        if row not in self.known:
            number = int(self.loaded.image.cores["program"][unit])
            program, starts = self.loaded.image.programs[number], self.loaded.code.starts[number]
            task = program.tasks[bisect_right(starts, row) - 1]
            instr = self.loaded.code.source[row]
            self.known[row] = safe(task.name), instruction_text(program, instr) if instr else "end of the body"
        return self.known[row]


def summary(data: dict[str, Any]) -> str:
    """What a trace has and lacks, in a line or two."""
    other = data["otherData"]
    first, last = other["cycles"]
    found = (
        f"{other['events']:,} events of cycles {first:,} to {min(last, other['cycles_run'] + 1) - 1:,} "
        f"on {other['cores']:,} cores and the links of their rectangle"
    )
    if other["cores_left_out"]:
        found += f"; {other['cores_left_out']:,} cores are outside it"
    if other["events_left_out"]:
        found += (
            f"; from cycle {other['full_at_cycle']:,} on {other['events_left_out']:,} events had no room: "
            "raise --trace-events or take a smaller window"
        )
    return found
