"""Showing names that came from a file: they are data, so control characters never reach a terminal."""

from __future__ import annotations


def shown(name: str) -> str:
    """`name` as it is if printable, else quoted and escaped."""
    return name if name.isprintable() else repr(name)
