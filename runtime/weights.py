"""The weights section: one valid safetensors blob, written as a stream and read as a memory map."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from runtime.digest import TreeHash
from runtime.errors import InputError
from runtime.extents import is_hole
from runtime.image import Tensor

DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "I32": np.dtype("<i4")}
CODES = {dtype: code for code, dtype in DTYPES.items()}
ALIGN = 64
CHUNK = 1 << 22  # elements converted and written at a time
HOLE = 1 << 16  # bytes of zeros in one piece that are worth a hole
MAX_HEADER = 1 << 24

Array = np.ndarray[Any, Any]


def bad_weights(message: str) -> InputError:
    return InputError(f"weights: {message}", code="bad-image")


def head(tensors: dict[str, Tensor]) -> tuple[bytes, list[str], int]:
    """The blob's header, the order of its tensors (wider types first: all are aligned), and the bytes of its data."""
    dtypes = {name: _dtype(name, tensor) for name, tensor in tensors.items()}
    order = sorted(tensors, key=lambda name: (-dtypes[name].itemsize, name))
    entries: dict[str, Any] = {}
    end = 0
    for name in order:
        data, dtype = tensors[name].data, dtypes[name]
        start, end = end, end + data.size * dtype.itemsize
        entries[name] = {"dtype": CODES[dtype], "shape": list(data.shape), "data_offsets": [start, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % ALIGN)
    return len(text).to_bytes(8, "little") + text, order, end


def _dtype(name: str, tensor: Tensor) -> np.dtype[Any]:
    """The element type the blob has. Raises InputError for one it cannot have."""
    dtype = (tensor.stored or tensor.data.dtype).newbyteorder("<")
    if dtype not in CODES:
        raise InputError(
            f"tensor {name!r} has dtype {tensor.data.dtype}; an image holds f32, f16 and i32", code="bad-dtype"
        )
    return dtype


def write(tensors: dict[str, Tensor], file: BinaryIO) -> str:
    """Write the blob where `file` stands, piece by piece, and return its `runtime.digest`.

    No tensor is ever copied whole; what is zeros becomes a hole of the file. Raises OSError.
    """
    header, order, _ = head(tensors)
    sink = _Sink(file)
    sink.put(header)
    for name in order:
        tensor, dtype = tensors[name], _dtype(name, tensors[name])
        for piece in _pieces(tensor.data) if tensor.source is None else _pieces_of_source(tensor):
            if piece is None:
                sink.skip(CHUNK * dtype.itemsize)
                continue
            with np.errstate(over="ignore"):
                sink.put(np.ascontiguousarray(piece, dtype=dtype).reshape(-1).view(np.uint8).data)
    return sink.finish()


class _Sink:
    """Writes and hashes; runs of zeros are skipped over in the file."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.digest = TreeHash()
        self.skipped = 0

    def put(self, data: bytes | memoryview) -> None:
        if len(data) >= HOLE and not np.frombuffer(data, np.uint8).any():
            self.skip(len(data))
            return
        self._leap()
        self.digest.update(data)
        self.file.write(data)

    def skip(self, length: int) -> None:
        self.skipped += length

    def finish(self) -> str:
        self._leap()
        self.file.truncate(self.file.tell())
        return self.digest.hexdigest()

    def _leap(self) -> None:
        if self.skipped:
            self.digest.zeros(self.skipped)
            self.file.seek(self.skipped, 1)
            self.skipped = 0


def _pieces_of_source(tensor: Tensor) -> Iterator[Array | None]:
    """Parts of a tensor that lies in a file, CHUNK elements each but the last; None for a whole part in a hole.

    Read, not mapped, so that what was written does not stay in memory.
    """
    assert tensor.source is not None
    size, dtype = tensor.data.size, tensor.data.dtype
    with tensor.source.path.open("rb") as file:
        for start in range(0, size, CHUNK):
            offset = tensor.source.offset + start * dtype.itemsize
            count = min(CHUNK, size - start)
            if count == CHUNK and is_hole(file.fileno(), offset, count * dtype.itemsize):
                yield None
                continue
            file.seek(offset)
            piece = np.fromfile(file, dtype, count)
            if piece.size < count:
                raise InputError("the weights have been cut off", code="bad-weights", where=str(tensor.source.path))
            yield piece


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
