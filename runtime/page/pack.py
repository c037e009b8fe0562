"""Arrays and texts inside JSON: deflated and in base64, as `assets/pack.js` reads them.

The same values give the same text.
"""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Packed = dict[str, Any]

LEVEL = 9


def pack_array(values: Array) -> Packed:
    """Integers of any shape, row by row, in the narrowest unsigned type that holds them.

    Raises ValueError for a negative number: shift those.
    """
    values = np.asarray(values)
    if values.size and values.min() < 0:
        raise ValueError("negative numbers are not packed")
    highest = int(values.max(initial=0))
    size = 1 if highest < 1 << 8 else 2 if highest < 1 << 16 else 4
    if highest >= 1 << 32:
        raise ValueError(f"{highest} does not fit into 32 bits")
    return {"kind": f"u{size}", "count": int(values.size), "data": _deflated(values.astype(f"<u{size}").tobytes())}


def pack_levels(values: Array) -> Packed:
    """Like `pack_array`, for rasters of few different numbers: the numbers, and an index for every cell."""
    levels, index = np.unique(np.asarray(values), return_inverse=True)
    return {"levels": pack_array(levels), "index": pack_array(index.reshape(-1))}


def pack_json(value: object) -> Packed:
    """Whatever JSON holds, for parts that a page reads when somebody asks for them."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return {"kind": "json", "data": _deflated(text.encode())}


def _deflated(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data, LEVEL)).decode("ascii")
