"""Machine faults: what a core or a router cannot do, found while loading or running an image."""

from __future__ import annotations

from runtime.errors import IllegalImageError
from runtime.geometry import DIRECTION_NAMES


class MachineFault(IllegalImageError):
    """The image makes the machine do what it cannot, at core or router (x, y), with the wavelet's colour if any."""

    def __init__(
        self,
        message: str,
        *,
        code: str,
        x: int,
        y: int,
        colour: int | None = None,
        direction: int | None = None,
        inside: str = "",
    ) -> None:
        place = f"core ({x}, {y})"
        if colour is not None:
            place += f" colour {colour}"
        if direction is not None:
            place += f" {DIRECTION_NAMES[direction]}"
        if inside:
            place += f", {inside}"
        hint = "the image is wrong: run `wsec validate` on it"
        super().__init__(message, code=code, where=place, hint=hint)
        self.x, self.y, self.colour, self.direction = x, y, colour, direction
