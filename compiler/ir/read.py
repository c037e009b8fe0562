"""Modules from people: read, and held to all rules of the IR, with the line of what breaks one."""

from __future__ import annotations

from pathlib import Path

from compiler.ir.core import Op
from compiler.ir.parser import parse_module, read_text
from compiler.ir.verifier import verify
from runtime.errors import InputError


def read_module(text: str, filename: str) -> Op:
    """The valid module written in `text`. Raises InputError that says where the text is not IR, or not valid."""
    lines: dict[Op, int] = {}
    module = parse_module(text, filename=filename, lines=lines)
    verify(module, where=filename, error=InputError, lines=lines)
    return module


def read_file(path: Path) -> Op:
    """The valid module in a `.wir` file. Raises InputError if it cannot be read, is not IR, or not valid."""
    return read_module(read_text(path), str(path))
