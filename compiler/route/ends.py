"""Proof that what starts and ends at each router does not alone ask for too much."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler.floorplan import Footprint, Net, Placed
from compiler.route.channels import Region, Wanted
from runtime.errors import InfeasibleError, Shortage

Array = npt.NDArray[Any]


def check_ends(
    kernels: Sequence[Footprint], placed: Sequence[Placed], nets: Sequence[Net], channels: Sequence[Wanted],
    region: Region, used: Array, colours: int, capacity: int,
) -> None:  # fmt: skip
    """Raise InfeasibleError for a lane heavier than a link, or a router at which more lanes end than have colours.

    `used[c]` colours of router c are the kernels' own.
    """
    demand = used.copy()
    for channel in channels:
        np.add.at(demand, channel.reserved, 1)
        if channel.words > capacity:
            message = f"{channel.words} words per token on one lane, the limit is {capacity}"
            where = f"{nets[channel.net].name} lane {channel.lane}"
            proof = "every word of the lane crosses the link behind its source"
            short = Shortage("words per token on a link", where, channel.words, capacity, proof)
            raise InfeasibleError(
                message, code="link-overloaded", where=where, hint="use more lanes", shortages=[short]
            )
    cell = int(demand.argmax())
    if demand[cell] <= colours:
        return
    wants: Counter[str] = Counter()  # kernels by their own routes, nets by the lanes that start or end there
    for channel in channels:
        if (channel.reserved == cell).any():
            wants[nets[channel.net].name] += 1
    x, y = region.at(cell)
    for kernel, place in zip(kernels, placed, strict=True):
        left, top, w, h = place.box(kernel)
        if left <= x < left + w and top <= y < top + h:
            wants[kernel.name] += int(used[cell])
    where = f"router ({x}, {y})"
    proof = "no two of them may share a colour at one router"
    raise InfeasibleError(
        f"lanes that start or end here need {demand[cell]} colours, the target has {colours}",
        code="colours-exhausted",
        where=where,
        shortages=[Shortage("colours", where, int(demand[cell]), colours, proof, tuple(wants.most_common()))],
    )
