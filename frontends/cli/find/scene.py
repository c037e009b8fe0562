"""What looking for a core needs, and how places are told: of a token, of an element, on the wafer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from compiler.flow_interpreter import Run
from compiler.passes.nets import Netlist
from frontends.cli.find.executed import Standing, Streams
from runtime.image import Image
from runtime.loader import Loaded, load
from runtime.tables import core_positions
from runtime.tap import sources_of

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Scene:
    """What looking for a core needs: the image as it ran, the kernels in it, what they sent, and the inputs."""

    image: Image
    netlist: Netlist
    kernels: Sequence[Standing]
    streams: Streams
    inputs: Mapping[str, Array]
    run: Run
    threads: int

    @cached_property
    def wires(self) -> tuple[Loaded, Array, Array]:
        """The image loaded, and what fills every ring: unit and output queue, see `runtime.tap.sources_of`."""
        loaded = load(self.image, 1)
        return loaded, *sources_of(loaded)

    def core_at(self, core: int) -> tuple[int, int]:
        """(x, y) of any core of the image."""
        x, y = core_positions(self.image)
        return int(x[core]), int(y[core])

    def standing(self, index: int, port: str = "") -> Standing | None:
        """A kernel of the netlist as it stands in the image, in its first pass (that leaves on `port`); None for a host
        port."""
        op = self.netlist.ops[index]
        return next((kernel for kernel in self.kernels if kernel.op is op and port in ("", kernel.port)), None)


def worst(errors: Array, bound: Array) -> tuple[int, ...]:
    """Where the error is largest in units of its bound; where that is infinite, where it is largest."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(errors > bound, np.where(bound > 0, errors / np.maximum(bound, 1e-300), errors), 0)
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(np.nan_to_num(share, nan=np.inf))), errors.shape))


def position_of(kernel: Standing, core: int) -> tuple[int, int]:
    x, y = kernel.block.at(*divmod(core - kernel.block.first, kernel.block.cols))
    return int(x), int(y)


def token_of(place: tuple[int, ...]) -> str:
    row, *rest = place[:-1]
    return f"sequence {row}, position {rest[-1]}" if rest else f"sequence {row}"
