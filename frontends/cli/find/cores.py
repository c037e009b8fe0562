"""From a kernel whose output is wrong to the core where the error enters, with got and wanted.

1. The worst element belongs to a lane, and so to a core, a place in the block it sends, and a colour.
2. Routes (`routes.py`): every lane into the kernel must come from the core the compiler meant.
3. Chains (`chains.py`): cores that pass partial results on, each held to what it received.
"""

from __future__ import annotations

from dataclasses import replace

from frontends.cli.find.chains import in_chain
from frontends.cli.find.executed import Standing, should_be
from frontends.cli.find.levels import difference
from frontends.cli.find.routes import misrouted
from frontends.cli.find.scene import Scene, position_of, token_of, worst
from runtime.check import Finding, Layer


def locate(scene: Scene, kernel: Standing, layer: Layer) -> Finding:
    """The core at which the error of a wrong kernel enters, as closely as can be told."""
    got = scene.streams.get(kernel.step)
    wanted, bound = should_be(kernel.step, scene.streams, scene.run)
    place = worst(difference(got, wanted), bound)
    lane, element = divmod(place[-1], kernel.sources[0].words - 1)
    source = kernel.sources[lane]
    x, y = position_of(kernel, source.core)
    colour = int(scene.image.cores["outq"][source.core, source.queue])
    finding = Finding(
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
    found = misrouted(scene, kernel, finding) or in_chain(scene, kernel, finding) or finding
    return replace(found, pass_number=layer.pass_number)
