"""Writing files that are either complete or not there."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from runtime.errors import InputError

# What numpy raises for files that are no arrays, are cut off, or claim a size that cannot be.
UNREADABLE = (ValueError, OSError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error)


def write_text(path: Path, text: str) -> None:
    """Write `text`. Raises InputError if that is impossible."""
    write_whole(path, lambda file: file.write(text.encode()))


def append_text(path: Path, text: str) -> None:
    """Add `text` at the end of a file, which others may add to as well. Raises InputError if that is impossible."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise InputError(f"cannot write: {error.strerror}", code="cannot-write", where=str(path)) from None


def write_npz(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Write arrays by name; same arrays, same bytes. Raises InputError if that is impossible."""

    def put(file: IO[bytes]) -> None:
        # numpy.savez takes names as keywords, some of which it has taken itself, and notes the time.
        with zipfile.ZipFile(file, "w") as archive:
            for name, array in arrays.items():
                with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)

    write_whole(path, put)


def write_whole(path: Path, put: Callable[[IO[bytes]], object]) -> None:
    """Write what `put` writes, under another name until it is complete; into a device or pipe at once.

    Raises InputError if that is impossible, and what `put` raises.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if path.exists() and not path.is_file():  # renaming would put a file in place of the device
            with path.open("wb") as file:
                put(file)
            return
        try:
            with temporary.open("xb") as file:
                put(file)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"cannot write: {error.strerror}", code="cannot-write", where=str(path)) from None


def read_array(path: Path) -> np.ndarray[Any, Any]:
    """The array in a .npy file. Raises InputError if there is none, or one of Python objects."""
    array = _load(path)
    if not isinstance(array, np.ndarray):
        raise InputError("holds several arrays, not one", code="bad-array", where=str(path), hint="use --inputs")
    return array


def read_npz(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays in a .npz file, by name. Raises InputError if there are none, or one of Python objects."""
    archive = _load(path)
    if isinstance(archive, np.ndarray):
        raise InputError("holds one array, not arrays by name", code="bad-array", where=str(path), hint="use --input")
    try:
        with archive:
            return {name: archive[name] for name in archive.files}
    except UNREADABLE as error:
        raise _unreadable(path, error) from None


def _load(path: Path) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise InputError("no such file", code="no-such-file", where=str(path)) from None
    except UNREADABLE as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return InputError(f"not a file of plain numpy arrays: {reason}", code="bad-array", where=str(path))
