"""The compiler options that a baseline may have, and the files among them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compiler.driver import DEFAULT_TARGET, Options
from runtime.errors import InputError
from runtime.text import safe

# Not `seed`, the placer's, as for `wsec check`, and not `time_limit`: what a wall clock allows differs every time.
OPTIONS = tuple(field.name for field in dataclasses.fields(Options) if field.name not in ("seed", "time_limit"))
DEFAULTS: Mapping[str, Any] = {
    name: value for name, value in dataclasses.asdict(Options(DEFAULT_TARGET)).items() if name in OPTIONS
}
FILE_OPTIONS = ("defects", "fix_placement", "constraints")
CHOICES = {"precision": ("fp32", "fp16"), "optimize": ("throughput", "latency")}
LARGEST = 1 << 31
TARGET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def shown(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those a file has: `target`, `precision`, and what is not the default."""
    return {
        name: options.get(name, default)
        for name, default in DEFAULTS.items()
        if name in ("target", "precision") or options.get(name, default) != default
    }


def is_file(name: str, value: Any) -> bool:
    """Whether the option names a file of the user's, which must lie with the baseline."""
    return (name in FILE_OPTIONS and bool(value)) or (name == "target" and not TARGET_NAME.fullmatch(str(value)))


def with_paths(options: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Options of a baseline in `folder` as the compiler takes them."""
    return {name: str(folder / value) if is_file(name, value) else value for name, value in options.items()}


def inside(name: str, path: Path, folder: Path) -> str:
    """The path of a file from the baseline's folder. Raises InputError if it lies elsewhere."""
    try:
        return str(path.resolve().relative_to(folder.resolve()))
    except (ValueError, OSError, RuntimeError):
        raise InputError(
            f"options.{name}: {safe(path)} is not in the baseline's folder",
            code="bad-option",
            hint="a baseline must hold on every machine, so files it needs lie with it",
        ) from None
