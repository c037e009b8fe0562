"""Text for terminals: names from models made harmless, and aligned tables."""

from __future__ import annotations

from collections.abc import Sequence


def safe(text: object) -> str:
    """A name from a model as one printable line: control and other invisible characters are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def table(head: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> str:
    """Aligned columns, numbers to the right."""
    cells = [[safe(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    right = [bool(rows) and all(isinstance(row[i], int | float) for row in rows) for i in range(len(head))]
    lines = []
    for row in cells:
        padded = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)
