"""From a kernel whose output is wrong to the core where the error enters, with got and wanted.

1. The worst element belongs to a lane, and so to a core, a place in the block it sends, and a colour.
2. Headers: what stands there goes by them, so a kernel before it, or this one, that sent others is to blame.
3. Routes (`routes.py`): every lane into the kernel must come from the core the compiler meant.
4. Cores (`walk.py`): those with a part in the lane, each held to what it received (`stages.py`, and a file for each
   kind of kernel).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from frontends.cli.find.executed import Standing, should_be
from frontends.cli.find.levels import difference
from frontends.cli.find.routes import misrouted
from frontends.cli.find.scene import Scene, position_of, token_of, worst
from frontends.cli.find.walk import first_wrong_core
from runtime.check import HEADER, Finding, Layer
from runtime.stream import MAX_POSITIONS, MAX_SLOTS, POSITION_BITS, header


def locate(scene: Scene, kernel: Standing, layer: Layer) -> Finding:
    """The core at which the error of a wrong kernel enters, as closely as can be told."""
    finding = _worst_word(scene, kernel, layer)
    found = misrouted(scene, kernel, finding) or _astray(scene, kernel, finding)
    return replace(found or first_wrong_core(scene, kernel, finding) or finding, pass_number=layer.pass_number)


def _astray(scene: Scene, kernel: Standing, finding: Finding) -> Finding | None:
    """The first lane of this kernel or one before it that sent tokens under another header."""
    order = {known.step: number for number, known in enumerate(scene.kernels)}
    strays = [stray for stray in scene.streams.strays.values() if order[stray.kernel.step] <= order[kernel.step]]
    if not strays:
        return None
    stray = min(strays, key=lambda stray: (order[stray.kernel.step], stray.lane))
    source = stray.kernel.sources[stray.lane]
    x, y = position_of(stray.kernel, source.core)
    colour = int(scene.image.cores["outq"][source.core, source.queue])
    token = tuple(int(i) for i in np.unravel_index(stray.token, scene.streams.axes))
    text = (
        f"the error enters at core ({x}, {y}), kernel {stray.kernel.name}, which sends lane {stray.lane}'s block for "
        f"{token_of((*token, 0))} on colour {colour} under the header of {_named(stray.got)}, not of "
        f"{_named(stray.wanted)}"
    )
    return replace(
        finding,
        kernel=stray.kernel.name,
        token=token,
        element=HEADER,
        lane=stray.lane,
        core=(x, y),
        colour=colour,
        got=float(stray.got),
        wanted=float(stray.wanted),
        cause="header",
        text=f"{finding.text}\n  {text}",
    )


def _named(word: int) -> str:
    slot, position = word >> POSITION_BITS & MAX_SLOTS - 1, word & MAX_POSITIONS - 1
    told = f"slot {slot}, position {position}"
    return told if word == header(slot, position) else f"no token (0x{word & 0xFFFFFFFF:08x})"


def _worst_word(scene: Scene, kernel: Standing, layer: Layer) -> Finding:
    got = scene.streams.get(kernel.step)
    wanted, bound = should_be(kernel.step, scene.streams, scene.run)
    place = worst(difference(got, wanted), bound)
    lane, element = divmod(place[-1], kernel.sources[0].words - 1)
    source = kernel.sources[lane]
    x, y = position_of(kernel, source.core)
    colour = int(scene.image.cores["outq"][source.core, source.queue])
    return Finding(
        kernel=kernel.name,
        where=layer.where,
        token=place[:-1],
        element=element,
        lane=lane,
        core=(x, y),
        colour=colour,
        got=float(got[place]),
        wanted=float(wanted[place]),
        cause="kernel",
        text=f"{token_of(place)}, {layer.where}, kernel {layer.maker}: core ({x}, {y}) sends element {element} of lane "
        f"{lane}'s block on colour {colour}: got {got[place]:.7g}, wanted {wanted[place]:.7g}",
    )
