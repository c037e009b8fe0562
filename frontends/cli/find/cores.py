"""From a kernel whose output is wrong to the core where the error enters, with got and wanted.

1. The worst element belongs to a lane, and so to a core, a place in the block it sends, and a colour.
2. Routes (`routes.py`): every lane into the kernel must come from the core the compiler meant.
3. Cores (`walk.py`): those with a part in the lane, each held to what it received (`stages.py`, and a file for each
   kind of kernel).
"""

from __future__ import annotations

from dataclasses import replace

from frontends.cli.find.executed import Standing, should_be
from frontends.cli.find.levels import difference
from frontends.cli.find.routes import misrouted
from frontends.cli.find.scene import Scene, position_of, token_of, worst
from frontends.cli.find.walk import first_wrong_core
from runtime.check import Finding, Layer


def locate(scene: Scene, kernel: Standing, layer: Layer) -> Finding:
    """The core at which the error of a wrong kernel enters, as closely as can be told."""
    finding = _worst_word(scene, kernel, layer)
    found = misrouted(scene, kernel, finding) or first_wrong_core(scene, kernel, finding) or finding
    return replace(found, pass_number=layer.pass_number)


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
