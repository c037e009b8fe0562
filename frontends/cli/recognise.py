"""What kind of file one is, by what it holds; its name counts only where the contents say nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from runtime.errors import InputError

Kind = Literal["model", "module", "image", "run"]

INSTEAD: dict[Kind, str] = {
    "module": "it is IR text: call it .wir; `wsec compile`, opt and inspect take it",
    "image": "it is a compiled image: `wsec run`, validate, inspect, report and view take it",
}
_HEAD = 1 << 16  # bytes looked at
_SUFFIXES: dict[str, Kind] = {".onnx": "model", ".wir": "module", ".wse": "image", ".json": "run"}
_BLANK = re.compile(r"(\s+|//[^\n]*\n)+")
_ONNX_BEGINS = b"\x08"  # every exporter writes ir_version first: field 1, a variable-length integer


def recognise(path: Path) -> Kind:
    """The kind of the file at `path`. Raises InputError if it cannot be read, or if it is none of these."""
    from runtime.imagefile import MAGIC

    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except FileNotFoundError:
        raise InputError("no such file", code="no-such-file", where=str(path)) from None
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror}", code="cannot-read", where=str(path)) from None
    text = head.decode("utf-8", errors="replace")
    text = text[match.end() :] if (match := _BLANK.match(text)) else text
    if head.startswith(MAGIC):
        return "image"
    if text.startswith("builtin."):
        return "module"
    if text.startswith("{"):
        return "run"
    if head.startswith(_ONNX_BEGINS):
        return "model"
    if path.suffix in _SUFFIXES:
        return _SUFFIXES[path.suffix]  # whose reader says what is wrong
    raise InputError(
        "is no model, IR text, image or run file",
        code="unknown-file",
        where=str(path),
        hint="`wsec inspect` takes .onnx, .wir, .wse and what `wsec run --run-json` writes",
    )


def hint_instead(path: Path) -> str:
    """Where a model was wanted: what the file is, and who takes it; nothing if that does not help."""
    try:
        return INSTEAD.get(recognise(path), "")
    except InputError:
        return ""
