"""What every core and every router of the usable wafer is, as rasters that deflate to little.

A raster runs row by row over the target's usable rectangle. Cores of one role are alike, so that most of a wafer is a
few hundred classes of cores.
"""

from __future__ import annotations

import numpy as np

from runtime.image import Image
from runtime.page.pack import Packed, pack_array, pack_levels
from runtime.tables import usable_raster
from runtime.wires import Wires


def cores(image: Image) -> Packed:
    """Classes of cores that share program and colours. `cell`: 0 where no kernel lies, else the class, from 1.

    Per class: `program` (0: idle, else its number, from 1), and the colours of input and output queues (0: unused, else
    the colour + 1), `inq[class * queues + queue]`.
    """
    kinds, number = np.unique(image.cores, return_inverse=True)
    return {
        "cell": pack_array(usable_raster(image, number.reshape(-1) + 1)),
        "program": pack_array(kinds["program"].astype(np.int64) + 1),
        "inq": pack_array(kinds["inq"].astype(np.int64) + 1),
        "outq": pack_array(kinds["outq"].astype(np.int64) + 1),
        "queues": {"inq": kinds["inq"].shape[1], "outq": kinds["outq"].shape[1]},
    }


def loads(wires: Wires) -> list[Packed]:
    """Words per token on the links N, E, S, W, to the core and from the core of every router."""
    return [pack_levels(load) for load in wires.load]


def routes(image: Image) -> dict[str, Packed]:
    """The router table, column by column; `x` and `y` count from the fabric's corner."""
    return {name: pack_array(image.routes[name]) for name in image.routes.dtype.names or ()}
