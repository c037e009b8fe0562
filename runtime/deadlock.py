"""Why the machine stopped: every core that waits inside its body, or else what the host waits for."""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.assembly import instruction_text
from runtime.errors import DeadlockError
from runtime.isa import Mem, Reduce, operands
from runtime.loader import Loaded
from runtime.state import R_DEPTH, R_HEAD, R_TAIL, T_CORE, T_DONE, T_LAST, T_MOVED, T_NEXT, T_PC, T_ROOM, T_WAIT
from runtime.text import safe

Array = np.ndarray[Any, Any]

LISTED = 20  # at most so many cores, lanes or queues are listed


def named(names: tuple[tuple[int, str], ...], queue: int) -> str:
    """` (name)` of a queue that has one."""
    name = dict(names).get(queue)
    return f" ({safe(name)})" if name else ""


def unit_text(loaded: Loaded, unit: int) -> str:
    """A core's coordinates, or the host's lane."""
    if unit < 0:
        return "nothing: no route leads there"
    if unit < loaded.cores:
        return f"core ({loaded.x[unit]}, {loaded.y[unit]})"
    lane = unit - loaded.cores
    inputs = len(loaded.lanes_in)
    return loaded.lane_text("in", lane) if lane < inputs else loaded.lane_text("out", lane - inputs)


def _remaining(loaded: Loaded, task: int) -> tuple[int, str]:
    """Words the waiting instruction still has to move, and its text."""
    state = loaded.state
    instr = loaded.code.source[int(state.task[task, T_PC])]
    assert instr is not None
    parts = [part for part in operands(instr)[isinstance(instr, Reduce) :] if not isinstance(part, Mem)]
    extent = max((getattr(part, "extent", 1) for part in parts), default=1)
    return extent - int(state.task[task, T_DONE]), instruction_text(loaded.place(task).program, instr)


def _channel_text(loaded: Loaded, task: int) -> str:
    """The queue or FIFO a task waits on, and who should act."""
    state, ring = loaded.state, int(loaded.state.task[task, T_WAIT])
    unit = int(state.task[task, T_CORE])
    cores, program = loaded.image.cores, loaded.image.programs[loaded.image.cores["program"][unit]]
    room, queue = bool(state.task[task, T_ROOM]), int(loaded.queue[ring])
    if ring >= loaded.fifos:
        return f"fifo {ring - loaded.first_fifo(unit)} to have {'room' if room else 'words'}"
    if not room:
        colour = cores["inq"][unit, queue]
        source = unit_text(loaded, int(loaded.writer[ring]))
        return f"input queue {queue}{named(program.input_names, queue)}, colour {colour}, filled by {source}"
    out = loaded.output_queue(unit, ring)
    reader = unit_text(loaded, int(loaded.owner[ring]))
    full = f"the queue of {reader} is full ({state.ring[ring, R_DEPTH]} words)"
    return f"output queue {out}{named(program.output_names, out)}, colour {cores['outq'][unit, out]}: {full}"


def task_text(loaded: Loaded, task: int, missing: str) -> str:
    """A task that waits, its instruction, and what that is missing."""
    place = loaded.place(task)
    words, text = _remaining(loaded, task)
    onnx = (
        f" [{safe(', '.join(place.block.onnx[:3]))}{', ...' if len(place.block.onnx) > 3 else ''}]"
        if place.block.onnx
        else ""
    )
    return (
        f"core ({place.x}, {place.y}) kernel {safe(place.block.name)}{onnx} task {safe(place.task)}: "
        f"`{text}` wants {words} more words, waits for {missing}"
    )


def lane_lines(loaded: Loaded, tasks: Array, direction: str, lengths: Array) -> list[str]:
    """The host's lanes that are not done."""
    task = loaded.state.task
    verb = "sent" if direction == "in" else "received"
    lines = []
    for lane, t in enumerate(tasks):
        left = int(task[t, T_LAST] - task[t, T_NEXT])
        if left:
            lines.append(f"{loaded.lane_text(direction, lane)}: {verb} {lengths[lane] - left} of {lengths[lane]} words")
    return lines


def _queue_lines(loaded: Loaded) -> list[str]:
    """Words that nobody took."""
    ring = loaded.state.ring
    count = (ring[:, R_TAIL] - ring[:, R_HEAD]) % (2 * ring[:, R_DEPTH])
    lines = []
    for r in np.flatnonzero(count):
        queue = f"input queue {loaded.queue[r]}" if loaded.queue[r] >= 0 else "a FIFO" if r >= loaded.fifos else "lane"
        lines.append(f"{unit_text(loaded, int(loaded.owner[r]))}: {count[r]} words left in {queue}")
    return lines


def deadlock_error(loaded: Loaded, sent: Array, wanted: Array) -> DeadlockError:
    """The error that says what waits. sent, wanted: words of each input and output lane in this call."""
    task = loaded.state.task
    stuck = np.flatnonzero((task[:, T_MOVED] > 0) & (task[:, T_WAIT] >= 0))
    host = lane_lines(loaded, loaded.receivers, "out", wanted)
    if len(stuck):
        head = f"tasks that wait for ever inside their bodies: {len(stuck)}"
        lines = [task_text(loaded, int(t), _channel_text(loaded, int(t))) for t in stuck[:LISTED]]
    elif host:
        head, lines = "every core is idle, but the host has not got all its words", host
    else:
        head, lines = "the host has all its words, but some were not used up", _queue_lines(loaded)
        lines += lane_lines(loaded, loaded.senders, "in", sent)
    if len(stuck) and not host:
        head += "; the host has all its words"
    count = len(stuck) if len(stuck) else len(lines)
    more = [f"... and {count - LISTED} more"] if count > LISTED else []
    message = "\n  ".join([head, *lines[:LISTED], *more])
    return DeadlockError(message, code="deadlock", hint="the image is wrong: run `wsec validate` on it")
