"""Kernels whose cores pass on or combine what they hear, element by element: relane, and those of one core a lane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from compiler.kernels.base import CHAIN_IN, CHAIN_OUT, STREAM_OUT
from compiler.kernels.line import Line
from compiler.kernels.relane import Relane, Role
from frontends.cli.find.stages import Stage, Step, Why, Work, Wrong, passes_on

Array = np.ndarray[Any, Any]


def relane_stages(work: Work, made: Relane, lane: int) -> list[Stage]:
    """Of the group of cores that a lane of the output belongs to: what each passes on, and splitting, keeps."""
    group = made.groups[lane if made.merge else lane // made.ratio]
    (x,) = work.given
    stages: list[Stage] = []
    hears: tuple[tuple[int, int], ...] = ()
    for number, c in enumerate(group):
        role = made.role(0, c)
        assert isinstance(role, Role)
        place = f"{number + 1} of the {len(group)} in its group"
        own = x[..., made.blocks.start(c) : made.blocks.start(c) + role.own]
        if made.merge:
            queue = CHAIN_OUT if role.after else STREAM_OUT
            stages.append(Stage(0, c, queue, role.before + role.own, not role.after, place, _appending(own), hears))
        else:
            whole = x[..., made.blocks.start(c) : made.blocks.start(c) + role.own + role.after]
            stages.append(Stage(0, c, STREAM_OUT, role.own, True, place, _cut(whole, 0, role.own), hears))
            if role.after:
                stages.append(Stage(0, c, CHAIN_OUT, role.after, True, place, _cut(whole, role.own, None), hears))
        hears = ((len(stages) - 1, CHAIN_IN),)
    return stages


def _appending(own: Array) -> Step:
    return lambda heard: passes_on(np.concatenate([*heard, own], axis=-1))


def _cut(whole: Array, start: int, end: int | None) -> Step:
    """Of what was heard, or by the first core received."""
    return lambda heard: passes_on((heard[0] if heard else whole)[..., start:end])


def line_stages(work: Work, made: Line, lane: int, queue: int, wanted: tuple[Array, Array]) -> list[Stage]:
    """The one core that makes a lane, on `queue`; `wanted` is what the kernel should have sent, and the bound."""
    block = slice(made.blocks.start(lane), made.blocks.start(lane) + made.blocks.size(lane))

    def step(_: Sequence[Array]) -> tuple[Array, Array]:
        return wanted[0][..., block], wanted[1][..., block]

    def why(wrong: Wrong) -> Why | None:
        received = [x[..., block][wrong.at] for x in work.given]
        return Why("core", f"it received {' and '.join(f'{value:.7g}' for value in received)}")

    place = f"which alone makes lane {lane}"
    return [Stage(lane, 0, queue, made.blocks.size(lane), True, place, step, why=why)]
