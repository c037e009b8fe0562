"""Dead cores of one wafer: reading, writing and drawing lots of defect maps.

A dead core has no processor, memory or router: no kernel may cover it and no route may pass it. A map is a text file,
one core or rectangle a line in fabric coordinates, x growing east and y south:

    # what follows a hash is a comment
    17 203
    400 12 3 2      x y columns rows

In a target, and so in an image, a map is a tuple of disjoint rectangles in one normal form, whatever the file's order.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runtime.errors import InputError

Rect = tuple[int, int, int, int]
"""(x, y, columns, rows) in fabric coordinates."""
Mask = npt.NDArray[np.bool_]


def read(path: str | Path, fabric: tuple[int, int]) -> tuple[Rect, ...]:
    """The map in a file, in normal form. `fabric` is (columns, rows). Raises InputError naming file and line."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError("not a text file", code="bad-defects", where=str(path)) from None
    except OSError as error:
        raise InputError(f"cannot read the defect map: {error.strerror}", code="no-file", where=str(path)) from None
    return parse(text, fabric, str(path))


def parse(text: str, fabric: tuple[int, int], origin: str) -> tuple[Rect, ...]:
    """The map in a text. Raises InputError naming `origin` and the line."""
    found: list[Rect] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if words:
            found.append(_rect(words, fabric, f"{origin}:{number}"))
    return normal_form(found, fabric)


def _rect(words: Sequence[str], fabric: tuple[int, int], where: str) -> Rect:
    hint = "a line is `x y` or `x y columns rows`"
    try:
        numbers = [int(word) for word in words]
    except ValueError:
        raise InputError(
            f"{' '.join(words)[:60]!r} is not whole numbers", code="bad-defects", where=where, hint=hint
        ) from None
    if len(numbers) not in (2, 4):
        raise InputError(f"{len(numbers)} numbers", code="bad-defects", where=where, hint=hint)
    x, y, columns, rows = numbers if len(numbers) == 4 else (*numbers, 1, 1)
    rect = (x, y, columns, rows)
    if not on_fabric(rect, fabric):
        message = f"{columns} x {rows} cores at ({x},{y}) are not on the fabric of {fabric[0]} x {fabric[1]}"
        raise InputError(message, code="bad-defects", where=where)
    return rect


def on_fabric(rect: Rect, fabric: tuple[int, int]) -> bool:
    """Whether a rectangle holds at least one core and only cores of the fabric."""
    x, y, columns, rows = rect
    return 0 <= x < x + columns <= fabric[0] and 0 <= y < y + rows <= fabric[1]


def to_text(defects: Iterable[Rect], head: str = "") -> str:
    """A map as text; `head` becomes a comment."""
    lines = [f"# {head}"] if head else []
    lines += [f"{x} {y}" if (w, h) == (1, 1) else f"{x} {y} {w} {h}" for x, y, w, h in defects]
    return "".join(f"{line}\n" for line in lines)


def normal_form(rects: Iterable[Rect], fabric: tuple[int, int]) -> tuple[Rect, ...]:
    """The same cores as disjoint rectangles: longest runs of each row, equal runs of successive rows joined."""
    rects = list(rects)
    if not rects:
        return ()
    dead = mask(rects, (0, 0, *fabric))
    edges = np.diff(np.pad(dead, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = np.nonzero(edges == 1)
    ends = np.nonzero(edges == -1)[1]
    growing: dict[tuple[int, int], list[int]] = {}  # (first column, end) -> [y, rows] of the last rectangle there
    found: list[tuple[int, int, list[int]]] = []
    for y, start, end in zip(rows.tolist(), starts.tolist(), ends.tolist(), strict=True):
        last = growing.get((start, end))
        if last is not None and last[0] + last[1] == y:
            last[1] += 1
        else:
            growing[start, end] = [y, 1]
            found.append((start, end, growing[start, end]))
    return tuple(
        sorted(((start, y, end - start, count) for start, end, (y, count) in found), key=lambda r: (r[1], r[0]))
    )


def mask(defects: Iterable[Rect], window: Rect) -> Mask:
    """bool[rows, columns] over the rectangle `window`: which cores are dead."""
    x0, y0, columns, rows = window
    dead = np.zeros((rows, columns), np.bool_)
    for x, y, w, h in defects:
        dead[max(0, y - y0) : max(0, y - y0 + h), max(0, x - x0) : max(0, x - x0 + w)] = True
    return dead


def count(defects: Iterable[Rect], window: Rect) -> int:
    """Dead cores inside the rectangle `window`, of a map in normal form."""
    x0, y0, columns, rows = window
    across = ((min(x + w, x0 + columns) - max(x, x0), min(y + h, y0 + rows) - max(y, y0)) for x, y, w, h in defects)
    return sum(w * h for w, h in across if w > 0 and h > 0)


def draw_lots(number: int, seed: int, usable: Rect, fabric: tuple[int, int]) -> tuple[Rect, ...]:
    """A map of `number` different dead cores of the rectangle `usable`; the same seed gives the same map.

    Raises InputError if there are not so many cores.
    """
    x, y, columns, rows = usable
    if not 0 <= number <= columns * rows:
        raise InputError(f"{number} dead cores of {columns * rows}", code="bad-defects")
    cells = random.Random(seed).sample(range(columns * rows), number)
    return normal_form([(x + cell % columns, y + cell // columns, 1, 1) for cell in cells], fabric)
