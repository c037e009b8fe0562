"""A cycle run (`wsec run --engine cycle --run-json FILE`) of the image on the page: where the cycles went.

The file comes from outside: whatever does not fit the image is an InputError.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from runtime.cycle.state import REASONS
from runtime.errors import InputError
from runtime.image import Image
from runtime.page.pack import Array, pack_array

Json = dict[str, Any]
MAX_BYTES = 1 << 30
SUMMARY = ("cycles", "tokens", "first_token_cycles", "cycles_per_token", "tokens_per_second")
MEASURED = ("interval_cycles", "work_cycles", "latency_cycles")


def read_run(path: Path) -> Any:
    """The JSON of a run file. Raises InputError if it is none."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError("is too large for a run file", code="bad-run", where=str(path))
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("no such file", code="no-such-file", where=str(path)) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"is not a run file: {error}", code="bad-run", where=str(path)) from None


def run(image: Image, data: Any, where: str) -> Json:
    """What a page shows of a run: its summary, measured cycles per kernel, and their reasons per kernel and core.

    `spent[reason]` has a number per core of the core table. Raises InputError if `data`, read from `where`, is not
    about this image.
    """
    reader = _Reader(where)
    timing = reader.item(data, "timing", dict)
    measured = reader.item(timing, "kernels", list)
    by_core = reader.item(data, "cores", list)
    reader.require(len(measured) == len(by_core) == len(image.blocks), "its kernels are not the image's")
    spent = np.zeros((len(image.cores), len(REASONS)), np.int64)
    kernels = []
    for block, entry, cores in zip(image.blocks, measured, by_core, strict=True):
        same = reader.item(entry, "kernel", str) == reader.item(cores, "kernel", str) == block.name
        box = reader.item(entry, "box", list)
        reader.require(same and box == [block.x, block.y, *block.size], "its kernels are not the image's")
        columns = reader.item(cores, "spent", dict)
        count = block.rows * block.cols
        for number, reason in enumerate(REASONS):
            spent[block.first : block.first + count, number] = reader.counts(columns, reason, count)
        kernels.append({name: reader.number(entry, name) for name in MEASURED})
    for block, kernel in zip(image.blocks, kernels, strict=True):
        kernel["spent"] = spent[block.first : block.first + block.rows * block.cols].sum(axis=0).tolist()
    return {
        "reasons": list(REASONS),
        **{name: reader.number(timing, name) for name in SUMMARY},
        "kernels": kernels,
        "spent": [pack_array(column) for column in spent.T],
    }


class _Reader:
    """Takes values out of a file's JSON and complains about others."""

    def __init__(self, where: str) -> None:
        self.where = where

    def require(self, holds: bool, message: str) -> None:
        if not holds:
            raise InputError(
                f"is not a run of this image: {message}",
                code="bad-run",
                where=self.where,
                hint="wsec run model.wse --engine cycle --run-json FILE writes one",
            )

    def item(self, data: Any, key: str, kind: type) -> Any:
        self.require(isinstance(data, dict) and isinstance(data.get(key), kind), f"it has no {key!r}")
        return data[key]

    def number(self, data: Json, key: str) -> int | float | None:
        """A number that is not negative, or None."""
        value = data.get(key)
        known = value is None or (type(value) in (int, float) and 0 <= value < 1 << 53)
        self.require(known, f"{key!r} is not a number")
        return value

    def counts(self, columns: Json, reason: str, count: int) -> Array:
        """Cycles of each core of a kernel for one reason."""
        values: Sequence[Any] = self.item(columns, reason, list)
        fit = len(values) == count and all(type(value) is int and 0 <= value < 1 << 32 for value in values)
        self.require(fit, f"its cycles by reason are not those of {count} cores")
        return np.array(values, np.int64)
