"""The weights section: one valid safetensors blob, written as a stream and read as a memory map."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from runtime.errors import InputError
from runtime.image import Tensor

DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "I32": np.dtype("<i4")}
CODES = {dtype: code for code, dtype in DTYPES.items()}
ALIGN = 64
CHUNK = 1 << 22  # elements converted and written at a time
MAX_HEADER = 1 << 24

Array = np.ndarray[Any, Any]


def bad_weights(message: str) -> InputError:
    return InputError(f"weights: {message}", code="bad-image")


def head(tensors: dict[str, Tensor]) -> tuple[bytes, list[str], int]:
    """The blob's header, the order of its tensors (wider types first: all are aligned), and the bytes of its data."""
    order = sorted(tensors, key=lambda name: (-tensors[name].data.dtype.itemsize, name))
    entries: dict[str, Any] = {}
    end = 0
    for name in order:
        data = tensors[name].data
        dtype = data.dtype.newbyteorder("<")
        if dtype not in CODES:
            raise InputError(
                f"tensor {name!r} has dtype {data.dtype}; an image holds f32, f16 and i32", code="bad-dtype"
            )
        start, end = end, end + data.size * dtype.itemsize
        entries[name] = {"dtype": CODES[dtype], "shape": list(data.shape), "data_offsets": [start, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % ALIGN)
    return len(text).to_bytes(8, "little") + text, order, end


def write(tensors: dict[str, Tensor], put: Callable[[Any], Any]) -> None:
    """Give the blob to `put` piece by piece; no tensor is ever copied whole."""
    header, order, _ = head(tensors)
    put(header)
    for name in order:
        data = tensors[name].data
        for piece in _pieces(data):
            put(np.ascontiguousarray(piece, dtype=data.dtype.newbyteorder("<")).reshape(-1).view(np.uint8).data)


def _pieces(data: Array) -> Iterator[Array]:
    """Parts of `data` in row-major order, at most CHUNK elements each."""
    if data.size <= CHUNK:
        yield data
    elif data.ndim == 1 or data.flags.c_contiguous:
        flat = data.reshape(-1)
        for start in range(0, flat.size, CHUNK):
            yield flat[start : start + CHUNK]
    else:
        for row in data:
            yield from _pieces(row)


def read(blob: Array) -> dict[str, Tensor]:
    """The tensors of a blob (uint8, usually a read-only memory map), as views of it. Raises InputError."""
    if blob.size < 8:
        raise bad_weights("no header")
    length = int.from_bytes(blob[:8].tobytes(), "little")
    if length > min(MAX_HEADER, blob.size - 8):
        raise bad_weights("the header is longer than the section")
    if (8 + length) % ALIGN:
        raise bad_weights("the data is not aligned")
    try:
        entries = json.loads(blob[8 : 8 + length].tobytes())
    except (ValueError, RecursionError):
        raise bad_weights("the header is not JSON") from None
    if not isinstance(entries, dict):
        raise bad_weights("the header is not a table")
    data = blob[8 + length :]
    tensors = {name: Tensor(_tensor(name, entry, data)) for name, entry in entries.items()}
    _require_exact_cover(entries, data.size)
    return tensors


def _tensor(name: str, entry: Any, data: Array) -> Array:
    fields = {"dtype", "shape", "data_offsets"}
    if not isinstance(entry, dict) or entry.keys() != fields or entry["dtype"] not in list(DTYPES):
        raise bad_weights(f"tensor {name!r} has no known dtype, shape and offsets")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _sizes(shape) or len(shape) > 8 or not _sizes(offsets) or len(offsets) != 2:
        raise bad_weights(f"tensor {name!r} has a bad shape or bad offsets")
    dtype = DTYPES[entry["dtype"]]
    start, end = offsets
    if end > data.size or end - start != math.prod(shape) * dtype.itemsize or start % dtype.itemsize:
        raise bad_weights(f"tensor {name!r}: shape {shape} does not fit bytes {start}..{end}")
    tensor: Array = data[start:end].view(dtype).reshape(shape)
    return tensor


def _sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 1 << 53 for item in value)


def _require_exact_cover(entries: dict[str, Any], size: int) -> None:
    """As in every safetensors file, the tensors fill the data without gap or overlap."""
    end = 0
    for start, stop in sorted(tuple(entry["data_offsets"]) for entry in entries.values()):
        if start != end:
            raise bad_weights("tensors overlap or leave a gap")
        end = stop
    if end != size:
        raise bad_weights("bytes after the last tensor")
