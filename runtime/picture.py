"""A small picture of the placed wafer for the terminal: the bounding box of all kernels, a colour per kernel kind."""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.image import Image
from runtime.text import safe

# Pairs of 256-colour codes, bright and dark: kernels of one kind alternate, so that neighbours can be told apart.
PALETTE = ((39, 25), (208, 130), (77, 28), (170, 90), (220, 136), (51, 30), (203, 88), (147, 61), (156, 64), (181, 95))
RESET = "\x1b[0m"
EMPTY = -1


def wafer_picture(image: Image, width: int = 72, colour: bool = True) -> str:
    """The picture, at most `width` characters wide, with a legend.

    With `colour`, a character shows two groups of cores, one above the other, in ANSI colours; without, one group as a
    letter. A group shows the kernel that has most of its cores; a letter in lower case is another kernel of that kind.
    """
    if not image.blocks:
        return "no kernels"
    kinds = sorted({block.kind for block in image.blocks})
    cells, left, top = _cells(image, kinds)
    height, columns = cells.shape
    scale = max(1, -(-columns // width))
    down = scale if colour else 2 * scale  # a character is about twice as high as wide
    groups = _reduce(cells, scale, down, 2 * len(kinds))
    lines = _coloured(groups) if colour else _plain(groups)
    head = (
        f"{columns} x {height} cores at ({left},{top}) of {safe(image.target.name)}; one cell is {scale} x {down} cores"
    )
    legend = "  ".join(_legend(i, kind, image, colour) for i, kind in enumerate(kinds))
    if len(image.blocks) > len(kinds):
        legend += f"; every second kernel of a kind in {'a darker shade' if colour else 'small letters'}"
    return "\n".join([head, *lines, legend])


def _cells(image: Image, kinds: list[str]) -> tuple[Any, int, int]:
    """Over the bounding box of all blocks, int32[height, width]: 2*kind + shade of the kernel there; and its corner."""
    left, top = min(b.x for b in image.blocks), min(b.y for b in image.blocks)
    right = max(b.x + b.size[0] for b in image.blocks)
    bottom = max(b.y + b.size[1] for b in image.blocks)
    cells = np.full((bottom - top, right - left), EMPTY, np.int32)
    seen = dict.fromkeys(kinds, 0)
    for block in image.blocks:
        width, height = block.size
        x, y = block.x - left, block.y - top
        cells[y : y + height, x : x + width] = 2 * kinds.index(block.kind) + seen[block.kind] % 2
        seen[block.kind] += 1
    return cells, left, top


def _reduce(cells: Any, across: int, down: int, values: int) -> Any:
    """The commonest value of every group of down x across cells, EMPTY only where every cell is."""
    height, width = cells.shape
    padded = np.full((-(-height // down) * down, -(-width // across) * across), EMPTY, np.int32)
    padded[:height, :width] = cells
    groups = padded.reshape(padded.shape[0] // down, down, padded.shape[1] // across, across)
    counts = np.stack([(groups == value).sum(axis=(1, 3)) for value in range(values)])
    return np.where(counts.max(axis=0) > 0, counts.argmax(axis=0), EMPTY)


def _plain(groups: Any) -> list[str]:
    return ["".join(" " if value == EMPTY else _letter(int(value)) for value in row).rstrip() for row in groups]


def _letter(value: int) -> str:
    letter = chr(ord("A") + value // 2 % 26)
    return letter.lower() if value % 2 else letter


def _coloured(groups: Any) -> list[str]:
    """Two rows of groups per line."""
    if len(groups) % 2:
        groups = np.concatenate([groups, np.full((1, groups.shape[1]), EMPTY)])
    return [_line(groups[i], groups[i + 1]) for i in range(0, len(groups), 2)]


def _line(upper: Any, lower: Any) -> str:
    """Half blocks; a style is written only where it changes."""
    text, current = "", RESET
    for style, character in map(_half_block, upper, lower):
        text += character if style == current else style + character
        current = style
    return text.rstrip() + (RESET if current != RESET else "")


def _half_block(upper: int, lower: int) -> tuple[str, str]:
    """Style and character: an upper half in the upper group's colour on a background of the lower group's."""
    if upper == EMPTY and lower == EMPTY:
        return RESET, " "
    if upper == EMPTY:
        return f"{RESET}\x1b[38;5;{_code(lower)}m", "▄"
    background = RESET if lower == EMPTY else f"\x1b[48;5;{_code(lower)}m"
    return f"{background}\x1b[38;5;{_code(upper)}m", "▀"


def _code(value: int) -> int:
    return PALETTE[value // 2 % len(PALETTE)][value % 2]


def _legend(number: int, kind: str, image: Image, colour: bool) -> str:
    kernels = sum(block.kind == kind for block in image.blocks)
    mark = f"\x1b[38;5;{_code(2 * number)}m█{RESET}" if colour else _letter(2 * number)
    return f"{mark} {safe(kind)} ({kernels})"
