"""Constant tensors, kept outside the IR's text and known by the hash of their contents.

A tensor is an array in memory or a range of a file; a range is hashed in chunks (holes of sparse files unread) and
mapped only while somebody looks at it, so a model's weights are never in memory all at once. Files of weights are in
the safetensors layout: 8 bytes (little-endian length of the header), a JSON header {name: {dtype, shape,
data_offsets}}, then the bytes of the tensors.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from compiler.ir.core import Op, Symbol
from compiler.ir.defs import resource_def
from runtime import digest
from runtime.errors import InputError
from runtime.extents import extents
from runtime.image import Source

Array = np.ndarray[Any, np.dtype[Any]]

# Element types by their IR name, as stored: little-endian.
_NUMPY: dict[str, np.dtype[Any]] = {
    "f32": np.dtype("<f4"),
    "f16": np.dtype("<f2"),
    "i64": np.dtype("<i8"),
    "i32": np.dtype("<i4"),
    "bool": np.dtype("?"),
}
_SAFETENSORS = {"f32": "F32", "f16": "F16", "i64": "I64", "i32": "I32", "bool": "BOOL"}
_FROM_SAFETENSORS = {theirs: ours for ours, theirs in _SAFETENSORS.items()}
_CHUNK = 1 << 22  # bytes hashed or copied at a time
_MAX_HEADER = 100_000_000  # bytes; the limit of the safetensors library
_MAX_NAMED = 10  # tensors named in a message


class TensorInfo(NamedTuple):
    """What is known of a tensor without looking at it. `hint` is its name in the model, for people."""

    shape: tuple[int, ...]
    dtype: str
    sha256: str
    hint: str


@dataclass(frozen=True)
class _Range:
    """Bytes of a file, from `offset` on; `digest` is theirs if they are many."""

    path: Path
    offset: int
    digest: str


@dataclass(frozen=True)
class _Entry:
    info: TensorInfo
    data: Array | _Range

    @property
    def nbytes(self) -> int:
        return _nbytes(self.info.shape, self.info.dtype)


class ResourceStore:
    """Tensors by name; the name is `w` and the first 12 hex digits of the hash of dtype, shape and bytes.

    That hash is the SHA-256 of `dtype[shape]`, a line feed, and the bytes; instead of more than `digest.CHUNK` bytes
    their `runtime.digest` in hexadecimal, so that huge files need not be read by one thread, nor holes at all.
    """

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    def add(self, array: Array, hint: str = "") -> str:
        """Keep `array`, by reference if it is read-only, else a copy; returns its name.

        Raises InputError for an element type the IR does not have.
        """
        dtype = _dtype_of(array, hint)
        data = np.array(array, dtype=_NUMPY[dtype], order="C", copy=True if array.flags.writeable else None)
        data.flags.writeable = False
        small = data.nbytes <= digest.CHUNK
        sha256 = _digest(dtype, data.shape, data.tobytes() if small else digest.of_array(data).encode())
        return self._enter(_Entry(TensorInfo(data.shape, dtype, sha256, hint), data))

    def add_mapped(self, path: Path, offset: int, dtype: str, shape: Sequence[int], hint: str = "") -> str:
        """Keep the tensor whose row-major little-endian elements start at byte `offset` of a file; returns its name.

        The bytes are read once, in chunks, for the hash. Raises InputError if the file does not hold them.
        """
        shape = tuple(map(int, shape))
        if dtype not in _NUMPY or offset < 0 or any(dim < 0 for dim in shape):
            raise _bad_file(path, f"no tensor of {dtype} {list(shape)} can be at byte {offset}")
        size = _nbytes(shape, dtype)
        with _reading(path) as file:
            available = os.fstat(file.fileno()).st_size
            if offset + size > available:
                raise _bad_file(path, f"{hint or 'a tensor'} needs bytes {offset} to {offset + size} of {available}")
            file.seek(offset)
            small = size <= digest.CHUNK
            contents = file.read(size) if small else digest.of_file(file.fileno(), offset, size).encode()
        info = TensorInfo(shape, dtype, _digest(dtype, shape, contents), hint)
        return self._enter(_Entry(info, _Range(path, offset, "" if small else contents.decode())))

    def get(self, name: str) -> Array:
        """The tensor, read-only. One in a file is mapped now, and unmapped when the array is let go.

        Raises KeyError if there is none, InputError if its file has gone.
        """
        entry = self._entries[name]
        if isinstance(entry.data, np.ndarray):
            return entry.data
        dtype, shape = _NUMPY[entry.info.dtype], entry.info.shape
        if entry.nbytes == 0:
            return np.frombuffer(b"", dtype).reshape(shape)
        with _reading(entry.data.path) as file:
            if entry.data.offset + entry.nbytes > os.fstat(file.fileno()).st_size:
                raise _bad_file(entry.data.path, "the file has shrunk since it was first read")
            return np.memmap(file, dtype, "r", entry.data.offset, shape)

    def info(self, name: str) -> TensorInfo:
        """Shape, dtype, hash and hint. Raises KeyError if there is no such tensor."""
        return self._entries[name].info

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def in_model(self, name: str) -> bool:
        """Whether the tensor is a range of a model's own data file, not made by a pass or read from a safetensors file.

        Raises KeyError if there is none.
        """
        data = self._entries[name].data
        return isinstance(data, _Range) and data.path.suffix != ".safetensors"

    def source(self, name: str) -> Source | None:
        """Where a tensor of more than `digest.CHUNK` bytes lies in a file; None for others.

        Raises KeyError if there is no such tensor.
        """
        data = self._entries[name].data
        if not isinstance(data, _Range) or not data.digest:
            return None
        return Source(data.path, data.offset, data.digest)

    def is_zero(self, name: str) -> bool:
        """Whether all bytes are zeros. Stops at the first that is not; holes of sparse files are not read.

        Raises KeyError if there is none, InputError if its file has gone.
        """
        entry = self._entries[name]
        if isinstance(entry.data, np.ndarray):
            return not entry.data.reshape(-1).view(np.uint8).any()
        with _reading(entry.data.path) as file:
            for start, end, hole in extents(file.fileno(), entry.data.offset, entry.nbytes):
                if not hole and any(chunk.strip(b"\0") for chunk in _file_chunks(file, start, end - start)):
                    return False
        return True

    def merge(self, other: ResourceStore) -> None:
        """Take over the tensors of `other` that are not here yet, by reference."""
        for name in other:
            self._enter(other._entries[name])

    def declare(self, module: Op, name: str) -> Symbol:
        """Make sure `module` has a `builtin.resource` for tensor `name`, at its top; returns the reference to it."""
        resources = module.body.find(resource_def.name)
        if all(op.attrs["sym_name"] != name for op in resources):
            shape, dtype, sha256, hint = self.info(name)
            op = resource_def(sym_name=name, shape=shape, dtype=dtype, sha256=sha256, hint=hint)
            op.parent = module.body
            module.body.ops.insert(len(resources), op)
        return Symbol(name)

    def resolve(self, module: Op) -> None:
        """Check that every `builtin.resource` of `module` is here, as declared. Raises InputError naming the others."""
        absent: list[str] = []
        for op in module.walk():
            if resource_def.matches(op) and not self._agrees(op):
                hint = op.attrs["hint"]
                absent.append(f"{op.attrs['sym_name']}{f' ({hint})' if hint else ''}")
        if not absent:
            return
        named = ", ".join(absent[:_MAX_NAMED])
        more = f" and {len(absent) - _MAX_NAMED} more" if len(absent) > _MAX_NAMED else ""
        raise InputError(
            f"{len(absent)} constant tensors are not at hand: {named}{more}",
            code="missing-weights",
            hint="give the model with --weights",
        )

    def save(self, path: Path, names: Iterable[str]) -> None:
        """Write tensors as a safetensors file, one chunk at a time; the file appears only when it is complete.

        Same tensors, same bytes. Raises KeyError for an unknown name, InputError if the file cannot be written.
        """
        # Widest elements first, so that every tensor is aligned.
        entries = {name: self._entries[name] for name in names}
        order = sorted(entries, key=lambda name: (-_NUMPY[entries[name].info.dtype].itemsize, name))
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("xb") as file:
                file.write(_header([(name, entries[name]) for name in order]))
                for name in order:
                    file.writelines(_memory_chunks(self.get(name)))
            temporary.replace(path)
        except OSError as error:
            raise InputError(f"cannot write: {error.strerror}", code="cannot-write", where=str(path)) from None
        finally:
            temporary.unlink(missing_ok=True)

    def attach_safetensors(self, path: Path) -> dict[str, str]:
        """Add every tensor of a safetensors file, without loading it; returns {name in the file: name here}.

        Raises InputError if the file is cut off, not of this layout, or holds an element type the IR does not have.
        """
        start, header = _read_header(path)
        return {
            name: self.add_mapped(path, start + begin, dtype, shape, hint=name)
            for name, (begin, dtype, shape) in sorted(header.items())
        }

    def _enter(self, entry: _Entry) -> str:
        name = f"w{entry.info.sha256[:12]}"
        present = self._entries.setdefault(name, entry)
        if present.info.sha256 != entry.info.sha256:  # 48 bits do not stop somebody who wants this to happen
            raise InputError(
                f"tensors {present.info.hint!r} and {entry.info.hint!r} differ but have the same name {name}",
                code="resource-collision",
            )
        return name

    def _agrees(self, op: Op) -> bool:
        entry = self._entries.get(str(op.attrs["sym_name"]))
        declared = (op.attrs["shape"], op.attrs["dtype"], op.attrs["sha256"])
        return entry is not None and declared == (entry.info.shape, entry.info.dtype, entry.info.sha256)


def _dtype_of(array: Array, hint: str) -> str:
    for name, dtype in _NUMPY.items():
        if array.dtype.newbyteorder("<") == dtype:
            return name
    raise InputError(
        f"tensor {hint!r} has elements of {array.dtype}; known: {', '.join(_NUMPY)}", code="bad-dtype", where=hint
    )


def _nbytes(shape: Sequence[int], dtype: str) -> int:
    return math.prod(shape) * _NUMPY[dtype].itemsize


def _digest(dtype: str, shape: tuple[int, ...], contents: bytes) -> str:
    return hashlib.sha256(f"{dtype}{list(shape)}\n".encode() + contents).hexdigest()


def _memory_chunks(array: Array) -> Iterator[memoryview]:
    data = array.reshape(-1).view(np.uint8).data
    return (data[start : start + _CHUNK] for start in range(0, len(data), _CHUNK))


def _file_chunks(file: IO[bytes], offset: int, size: int) -> Iterator[bytes]:
    file.seek(offset)
    for start in range(0, size, _CHUNK):
        yield file.read(min(_CHUNK, size - start))


@contextmanager
def _reading(path: Path) -> Iterator[IO[bytes]]:
    """`path` opened for reading, with InputError for whatever the system says against it."""
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror}", code="cannot-read", where=str(path)) from None


def _bad_file(path: Path, message: str) -> InputError:
    return InputError(message, code="bad-weights", where=str(path))


# ---- The safetensors layout ---------------------------------------------------------------------------------------


def _header(entries: Iterable[tuple[str, _Entry]]) -> bytes:
    fields: dict[str, Any] = {}
    end = 0
    for name, entry in entries:
        begin, end = end, end + entry.nbytes
        info = entry.info
        fields[name] = {"dtype": _SAFETENSORS[info.dtype], "shape": info.shape, "data_offsets": [begin, end]}
    text = json.dumps(fields, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _read_header(path: Path) -> tuple[int, dict[str, tuple[int, str, tuple[int, ...]]]]:
    """Where the tensors' bytes start, and {name: (first byte from there, dtype, shape)}."""
    with _reading(path) as file:
        available = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if available < 8 or length > min(available - 8, _MAX_HEADER):
            raise _bad_file(path, "not a safetensors file, or cut off: its header is longer than the file")
        text = file.read(length)
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        raise _bad_file(path, "not a safetensors file: its header is not JSON") from None
    if not isinstance(header, dict):
        raise _bad_file(path, "not a safetensors file: its header is not an object")
    header.pop("__metadata__", None)
    return 8 + length, {name: _read_entry(path, name, fields) for name, fields in header.items()}


def _read_entry(path: Path, name: str, fields: Any) -> tuple[int, str, tuple[int, ...]]:
    match fields:
        case {"dtype": str(theirs), "shape": [*shape], "data_offsets": [begin, end]}:
            numbers = [*shape, begin, end]
        case _:
            raise _bad_file(path, f"tensor {name!r} has no dtype, shape and data_offsets")
    if any(type(number) is not int or number < 0 for number in numbers):
        raise _bad_file(path, f"tensor {name!r} has a size that is not a natural number")
    dtype = _FROM_SAFETENSORS.get(theirs)
    if dtype is None:
        known = ", ".join(_FROM_SAFETENSORS)
        raise _bad_file(path, f"tensor {name!r} has elements of {theirs}; known: {known}")
    if end - begin != _nbytes(shape, dtype):
        raise _bad_file(path, f"tensor {name!r} of {theirs} {shape} cannot take {end - begin} bytes")
    return begin, dtype, tuple(shape)
