"""SHA-256 of large data as a tree of two levels: the hash of the hashes of its chunks.

Chunks are hashed by several threads, and a chunk in a hole of a sparse file costs nothing: all chunks of zeros have the
same hash. The result depends on the bytes alone, wherever they lie.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from runtime.extents import extents

CHUNK = 1 << 22  # bytes
_ZEROS = hashlib.sha256(bytes(CHUNK)).digest()
_AT_ONCE = 64  # chunks given to the threads before their results are awaited


class TreeHash:
    """The digest of bytes given piece by piece, for data that is made while it is written."""

    def __init__(self) -> None:
        self._leaves = hashlib.sha256()
        self._leaf = hashlib.sha256()
        self._filled = 0

    def update(self, data: Any) -> None:
        """Append `data`, anything with the buffer protocol."""
        view = memoryview(data).cast("B")
        while len(view):
            part = view[: CHUNK - self._filled]
            self._leaf.update(part)
            self._filled += len(part)
            view = view[len(part) :]
            if self._filled == CHUNK:
                self._close()

    def zeros(self, length: int) -> None:
        """Append `length` bytes of zeros; whole chunks cost nothing."""
        while length:
            if not self._filled and length >= CHUNK:
                self._leaves.update(_ZEROS)
                length -= CHUNK
                continue
            part = min(length, CHUNK - self._filled)
            self.update(bytes(part))
            length -= part

    def hexdigest(self) -> str:
        """The digest of everything so far; nothing may be appended after it."""
        if self._filled:
            self._close()
        return self._leaves.hexdigest()

    def _close(self) -> None:
        self._leaves.update(self._leaf.digest())
        self._leaf = hashlib.sha256()
        self._filled = 0


def of_array(array: np.ndarray[Any, Any]) -> str:
    """Digest of the elements of a C-contiguous array as they lie in memory."""
    data = array.reshape(-1).view(np.uint8).data
    return _tree(len(data), lambda start, end: hashlib.sha256(data[start:end]).digest())


def of_file(descriptor: int, offset: int, length: int) -> str:
    """Digest of bytes [offset, offset + length) of an open file. Holes are not read; short files hash as they are.

    Raises OSError if the file cannot be read.
    """
    holes = [(start, end) for start, end, hole in extents(descriptor, offset, length) if hole]
    ahead: Iterator[tuple[int, int]] = iter(holes)
    hole = next(ahead, None)
    blank: set[int] = set()
    for start in range(0, length - CHUNK + 1, CHUNK):
        while hole is not None and hole[1] < offset + start + CHUNK:
            hole = next(ahead, None)
        if hole is not None and hole[0] <= offset + start:
            blank.add(start)

    def leaf(start: int, end: int) -> bytes:
        return _ZEROS if start in blank else hashlib.sha256(_read(descriptor, offset + start, end - start)).digest()

    return _tree(length, leaf)


def _tree(length: int, leaf: Callable[[int, int], bytes]) -> str:
    digest = hashlib.sha256()
    starts = range(0, length, CHUNK)
    if len(starts) <= 1:
        for _ in starts:
            digest.update(leaf(0, length))
        return digest.hexdigest()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for first in range(0, len(starts), _AT_ONCE):
            part = starts[first : first + _AT_ONCE]
            for leaf_digest in pool.map(leaf, part, (min(start + CHUNK, length) for start in part)):
                digest.update(leaf_digest)
    return digest.hexdigest()


def _read(descriptor: int, offset: int, length: int) -> bytes:
    """Up to `length` bytes at `offset`; fewer only at the end of the file."""
    data = os.pread(descriptor, length, offset)
    while len(data) < length:
        more = os.pread(descriptor, length - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data
