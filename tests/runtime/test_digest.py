"""The hash of large data: the same bytes give the same digest, however they are given."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from runtime import digest
from runtime.digest import CHUNK, TreeHash, of_array, of_file


def plain(data: bytes) -> str:
    """The definition."""
    leaves = [hashlib.sha256(data[start : start + CHUNK]).digest() for start in range(0, len(data), CHUNK)]
    return hashlib.sha256(b"".join(leaves)).hexdigest()


def in_file(path: Path, offset: int, length: int) -> str:
    with path.open("rb") as file:
        return of_file(file.fileno(), offset, length)


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5])
def test_memory_file_and_stream_agree(tmp_path: Path, size: int) -> None:
    data = np.random.default_rng(size).integers(0, 256, size, np.uint8)
    (tmp_path / "f").write_bytes(b"before" + data.tobytes() + b"after")
    stream = TreeHash()
    for part in np.array_split(data, 7):
        stream.update(part)
    assert of_array(data) == plain(data.tobytes()) == in_file(tmp_path / "f", 6, size) == stream.hexdigest()


@pytest.mark.parametrize("offset", [0, 4096, CHUNK, CHUNK // 2 + 3])
def test_holes_count_as_zeros(tmp_path: Path, offset: int) -> None:
    path, length = tmp_path / "f", 6 * CHUNK + 11
    with path.open("wb") as file:
        file.write(b"x" * 4096)
        file.seek(3 * CHUNK + 4096)
        file.write(b"y" * 100)
        os.truncate(file.fileno(), offset + length)
    data = path.read_bytes()[offset : offset + length]
    assert in_file(path, offset, length) == plain(data)
    stream = TreeHash()
    stream.update(data[:100])
    stream.zeros(0)
    assert stream.hexdigest() == plain(data[:100])


def test_zeros_may_be_appended_unwritten() -> None:
    stream = TreeHash()
    stream.update(b"abc")
    stream.zeros(3 * CHUNK)
    stream.update(b"def")
    assert stream.hexdigest() == plain(b"abc" + bytes(3 * CHUNK) + b"def")


def test_holes_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f"
    with path.open("wb") as file:
        os.truncate(file.fileno(), 1 << 40)
    if path.stat().st_blocks:
        pytest.skip("no sparse files here")
    read: list[int] = []
    monkeypatch.setattr(digest, "_read", lambda _file, offset, length: read.append(offset) or bytes(length))
    in_file(path, 4096, 1 << 34)
    assert len(read) <= 1


def test_one_changed_byte_shows(tmp_path: Path) -> None:
    data = np.zeros(2 * CHUNK, np.uint8)
    before = of_array(data)
    data[-1] = 1
    assert of_array(data) != before
    assert of_array(data[:CHUNK]) != of_array(data[: CHUNK - 1])
