"""Which transformer layers every kernel works for, told from attention kernels and what stands between them."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.image import Image
from runtime.lone import gates
from runtime.report import notes

BETWEEN = ("lookup", "join", "switch")  # kinds behind which a layer may begin


@dataclass(frozen=True)
class Layers:
    """Layers `first` to `last` of the model, which share one set of kernels; one, unless the image is folded.

    `number`: of the set, from 0.
    """

    number: int
    first: int
    last: int

    @property
    def text(self) -> str:
        return f"{self.first}" if self.first == self.last else f"{self.first} to {self.last}"


def layers(image: Image) -> list[Layers | None]:
    """By block, the layers it works for. None: outside the layers, or there is no attention."""
    sets = _sets(image)
    passes = {gate: passes for gate, passes, _ in gates(image, notes(image, "loops")).values()}
    found: dict[int | None, Layers | None] = {None: None}
    first = 0
    for number in sorted({n for n in sets if n is not None}):
        following = first + max(passes.get(block, 1) for block, n in enumerate(sets) if n == number)
        found[number] = Layers(number, first, following - 1)
        first = following
    return [found[number] for number in sets]


def _sets(image: Image) -> list[int | None]:
    """By block, the number of the set of kernels it belongs to.

    Blocks stand in the order of the program. A set begins behind the last join, lookup or switch before its attention,
    the last one ends with the last join or switch.
    """
    kinds = [block.kind for block in image.blocks]
    attention = [i for i, kind in enumerate(kinds) if kind == "attention"]
    if not attention:
        return [None] * len(kinds)
    between = [i for i, kind in enumerate(kinds) if kind in BETWEEN]
    begins = [max((i for i in between if i < at), default=-1) + 1 for at in attention]
    last = max((i for i in between if kinds[i] != "lookup"), default=len(kinds))
    return [sum(begin <= i for begin in begins) - 1 if begins[0] <= i <= last else None for i in range(len(kinds))]
