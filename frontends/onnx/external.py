"""Where external tensor data lies, checked: a model may only name regular files inside its own folder."""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from frontends.onnx.text import shown
from runtime.errors import InputError

# Backslashes, NUL, drive letters and URLs: never part of a portable relative path.
FORBIDDEN = re.compile(r"[\\\0]|^[A-Za-z]:|://")
DIGITS = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True)
class FileRange:
    """Bytes [offset, offset + length) of a regular file, known to be there when the model was loaded."""

    path: Path
    offset: int
    length: int


def locate(model: Path, tensor: str, entries: Mapping[str, str], needed: int) -> FileRange:
    """The file range of one external tensor of `needed` bytes; `entries` are its key-value pairs in the model.

    Raises InputError if the location leaves the model's folder, the file is missing or no regular file, or the bytes
    are not exactly as many as the tensor's shape and element type need.
    """
    where = f"{model}: tensor {shown(tensor)}"
    path = _inside(model, entries.get("location", ""), where)
    offset = _integer(entries.get("offset", "0"), "offset", where)
    length = _integer(entries.get("length", str(needed)), "length", where)
    if length != needed:
        raise InputError(
            f"shape and element type need {needed} bytes, the model says {length}", code="tensor-size", where=where
        )
    size = _regular_file_size(path, where)
    if offset + length > size:
        raise InputError(
            f"external data {shown(path.name)} ends at byte {size}, the tensor at byte {offset + length}",
            code="external-data-short",
            where=where,
            hint="the data file is truncated, or belongs to another model",
        )
    return FileRange(path, offset, length)


def _inside(model: Path, location: str, where: str) -> Path:
    relative = PurePosixPath(location)
    if not location or FORBIDDEN.search(location) or relative.is_absolute() or ".." in relative.parts:
        raise _escape(location, where)
    path = (model.parent / relative).resolve()
    # A cache that keeps model and data as links into one store is fine: then both really lie in the same folder.
    allowed = {model.parent.resolve(), model.resolve().parent}
    if not any(path.is_relative_to(folder) for folder in allowed):
        raise _escape(location, where)
    return path


def _escape(location: str, where: str) -> InputError:
    return InputError(
        f"external data at {shown(location)!r} is outside the model's folder",
        code="external-data-outside",
        where=where,
        hint="external data must be a plain file name relative to the model",
    )


def _integer(text: str, what: str, where: str) -> int:
    if not DIGITS.fullmatch(text):
        raise InputError(f"{what} {shown(text)!r} is not a byte count", code="external-data-entry", where=where)
    return int(text)


def _regular_file_size(path: Path, where: str) -> int:
    try:
        status = path.stat()
    except (OSError, ValueError):
        raise InputError(
            f"external data {shown(path.name)} is missing",
            code="external-data-missing",
            where=where,
            hint="keep the data file beside the model",
        ) from None
    if not stat.S_ISREG(status.st_mode):
        raise InputError(
            f"external data {shown(path.name)} is not a regular file", code="external-data-missing", where=where
        )
    return status.st_size
