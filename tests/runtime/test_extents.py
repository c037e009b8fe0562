"""Holes of sparse files."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from runtime.extents import extents

PAGE = 4096
BIG = 1 << 20


def parts(path: Path, offset: int, length: int) -> list[tuple[int, int, bool]]:
    with path.open("rb") as file:
        return list(extents(file.fileno(), offset, length))


@pytest.fixture
def sparse(tmp_path: Path) -> Path:
    """A megabyte of hole, one page of data, a megabyte of hole."""
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.seek(BIG)
        file.write(b"\1" * PAGE)
        os.truncate(file.fileno(), 2 * BIG + PAGE)
    if path.stat().st_blocks * 512 > BIG:
        pytest.skip("no sparse files here")
    return path


def test_holes_and_data_alternate(sparse: Path) -> None:
    end = 2 * BIG + PAGE
    assert parts(sparse, 0, end) == [(0, BIG, True), (BIG, BIG + PAGE, False), (BIG + PAGE, end, True)]


def test_only_the_range_asked_for(sparse: Path) -> None:
    assert parts(sparse, 10, 100) == [(10, 110, True)]
    assert parts(sparse, BIG + 5, 7) == [(BIG + 5, BIG + 12, False)]
    assert parts(sparse, BIG - 5, 10) == [(BIG - 5, BIG, True), (BIG, BIG + 5, False)]
    assert parts(sparse, 10, 0) == []


def test_a_file_without_holes_is_all_data(tmp_path: Path) -> None:
    path = tmp_path / "dense"
    path.write_bytes(bytes(3 * PAGE))
    assert parts(path, 5, 2 * PAGE) == [(5, 5 + 2 * PAGE, False)]


def test_where_holes_are_unknown_everything_is_data(sparse: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: int) -> int:
        raise OSError(errno.EINVAL, "no such whence")

    monkeypatch.setattr(os, "lseek", refuse)
    assert parts(sparse, 3, BIG) == [(3, 3 + BIG, False)]
