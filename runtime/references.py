"""Weights that stay in files beside an image: which ones, and reading them safely.

An image from a stranger may only name regular files in its own folder or below, with all the bytes it claims. Their
contents are hashed when they are verified, not when they are mapped.
"""

from __future__ import annotations

import math
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from runtime.digest import of_file
from runtime.errors import InputError
from runtime.image import Source, Tensor
from runtime.text import safe

Keep = Literal["auto", "copy", "reference"]
AUTO_BYTES = 1 << 30  # of weights that lie in files; an image with less than that is worth being one file
DTYPES: dict[str, np.dtype[np.generic]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "I32": np.dtype("<i4")}
MAX_RANK = 8
MAX_REFERENCES = 20_000  # each is mapped, and a process has a limited number of mappings
# Backslashes, NUL, drive letters and URLs: never part of a portable relative path.
FORBIDDEN = re.compile(r"[\\\0]|^[A-Za-z]:|://")


@dataclass(frozen=True)
class Reference:
    """A tensor outside the image: its elements in file `file`, a path relative to the image's folder."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: str
    offset: int
    sha256: str

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * DTYPES[self.dtype].itemsize


def choose(tensors: Mapping[str, Tensor], folder: Path, keep: Keep) -> list[Reference]:
    """References for an image in `folder`: all tensors that lie in files there, or none (see `write_image`).

    Raises InputError if they are asked for, and large weights lie in files elsewhere.
    """
    if keep == "copy":
        return []
    home = folder.resolve()
    sources = {name: tensor.source for name, tensor in sorted(tensors.items()) if tensor.source is not None}
    far = [source.path for source in sources.values() if not source.path.is_relative_to(home)]
    if keep == "reference" and far:
        raise InputError(
            f"an image can only refer to weights in its own folder or below; these are in {min(far)}",
            code="weights-outside",
            where=str(folder),
            hint="write the image beside the model, or copy the weights into it",
        )
    # Unaligned elements, which no exporter writes, are copied.
    near = {
        name: source
        for name, source in sources.items()
        if source.path.is_relative_to(home) and not source.offset % tensors[name].data.itemsize
    }
    if keep == "auto" and sum(tensors[name].data.nbytes for name in near) <= AUTO_BYTES:
        return []
    codes = {dtype: code for code, dtype in DTYPES.items()}
    return [
        Reference(
            name=name,
            dtype=codes[tensors[name].data.dtype.newbyteorder("<")],
            shape=tensors[name].data.shape,
            file=source.path.relative_to(home).as_posix(),
            offset=source.offset,
            sha256=source.sha256,
        )
        for name, source in near.items()
    ]


def attach(references: Iterable[Reference], image: Path) -> dict[str, Tensor]:
    """The tensors that the image at `image` refers to, mapped read-only.

    Raises InputError for a reference that makes no sense, leaves the folder, or has no file with those bytes.
    """
    tensors: dict[str, Tensor] = {}
    for reference in references:
        if reference.name in tensors or len(tensors) >= MAX_REFERENCES:
            raise _bad(reference, image, "referred to twice, or one of too many", "bad-image")
        path = _checked(reference, image)
        try:
            data = np.memmap(path, DTYPES[reference.dtype], "r", reference.offset, reference.shape)
        except OSError as error:
            raise _bad(reference, image, f"cannot read its file: {error.strerror}", "no-file") from None
        tensors[reference.name] = Tensor(data, Source(path, reference.offset, reference.sha256))
    return tensors


def verify(references: Iterable[Reference], image: Path) -> None:
    """Compare what is referred to with its hashes; reads it, but for holes. Raises InputError if it differs."""
    for reference in references:
        path = _checked(reference, image)
        try:
            with path.open("rb") as file:
                found = of_file(file.fileno(), reference.offset, reference.nbytes)
        except OSError as error:
            raise _bad(reference, image, f"cannot read its file: {error.strerror}", "no-file") from None
        if found != reference.sha256:
            hint = "the file belongs to another model, or is damaged: compile again"
            raise _bad(reference, image, f"its bytes in {safe(reference.file)} do not match their sha256", hint=hint)


def _bad(reference: Reference, image: Path, message: str, code: str = "bad-weights", hint: str = "") -> InputError:
    return InputError(f"tensor {safe(reference.name)!r}: {message}", code=code, where=str(image), hint=hint)


def _checked(reference: Reference, image: Path) -> Path:
    """The file of a reference, known to be regular, in the image's folder or below, and long enough."""
    sizes = (*reference.shape, reference.offset)
    sane = reference.dtype in DTYPES and len(reference.shape) <= MAX_RANK and all(0 <= n < 1 << 53 for n in sizes)
    if not sane or not reference.nbytes or reference.offset % DTYPES[reference.dtype].itemsize:
        raise _bad(reference, image, "a reference with a bad type, shape or offset", "bad-image")
    path = _inside(reference, image)
    try:
        status = path.stat()
    except (OSError, ValueError):
        status = None
    if status is None or not stat.S_ISREG(status.st_mode):
        hint = "keep the model's data file where it was when the image was compiled, and the image beside it"
        message = f"its bytes are in {safe(reference.file)}, which is missing"
        raise _bad(reference, image, message, "external-data-missing", hint)
    end = reference.offset + reference.nbytes
    if end > status.st_size:
        hint = "the data file is truncated, or belongs to another model"
        message = f"{safe(reference.file)} ends at byte {status.st_size}, the tensor at byte {end}"
        raise _bad(reference, image, message, "external-data-short", hint)
    return path


def _inside(reference: Reference, image: Path) -> Path:
    location = reference.file
    relative, home = PurePosixPath(location), image.parent.resolve()
    bad = not location or FORBIDDEN.search(location) or relative.is_absolute() or ".." in relative.parts
    try:
        path = home if bad else (home / relative).resolve()
    except (OSError, RuntimeError):  # a loop of links
        path = home
    if path == home or not path.is_relative_to(home):
        message = f"its bytes are at {safe(location)!r}, outside the image's folder"
        raise _bad(reference, image, message, "external-data-outside")
    return path
