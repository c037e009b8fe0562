"""folded: one kernel for several layers, each with constants and caches of its own; a token comes once for every layer.

Rectangle, ports and routes are those of the kernel for one layer, whatever it is; `repeat` makes its programs.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np

from compiler.floorplan import InternalRoute, Lane
from compiler.kernels.base import ZEROS, Binding, Kernel, Rect
from compiler.kernels.repeat import home, lay_out, repeated
from runtime.image import Init
from runtime.isa import Dtype, Program
from runtime.target import Target


@dataclass(frozen=True)
class Folded(Kernel):
    """`one` is the kernel of the first of `passes` layers; `layer(i)` that of layer i, with other constants."""

    one: Kernel
    passes: int
    layer: Callable[[int], Kernel] = field(compare=False, repr=False)

    @property
    def kind(self) -> str:  # type: ignore[override]
        return self.one.kind

    @property
    def turned(self) -> bool | None:
        return self.one.turned

    @property
    def rows(self) -> int:
        return self.one.rows

    @property
    def cols(self) -> int:
        return self.one.cols

    def inputs(self) -> dict[str, tuple[Lane, ...]]:
        return self.one.inputs()

    def outputs(self) -> dict[str, tuple[Lane, ...]]:
        return self.one.outputs()

    def port_queues(self) -> dict[str, int]:
        return self.one.port_queues()

    def lane_queue(self, port: str, lane: int) -> int:
        return self.one.lane_queue(port, lane)

    def times(self, port: str) -> int:
        return self.passes

    def routes(self) -> tuple[InternalRoute, ...]:
        return tuple(replace(route, words=self.passes * route.words) for route in self.one.routes())

    def bindings(self, r: int, c: int) -> tuple[Binding, ...]:
        return self.one.bindings(r, c)

    def cuts(self, r: int) -> Sequence[int]:
        return self.one.cuts(r)

    def role(self, r: int, c: int) -> Hashable:
        return self.one.role(r, c)

    def telling_roles(self) -> Iterable[Hashable]:
        return self.one.telling_roles()

    @lru_cache(maxsize=64)  # noqa: B019 - kernels are small and frozen
    def program(self, role: Any) -> Program:
        return repeated(self.one.program(role), self.passes)

    def inits(self, role: Any, rect: Rect, program: Program) -> Iterator[Init]:
        """What is initialised for one layer, for each; memory that serves all of them once."""
        single = self.one.program(role)
        layout = lay_out(single, self.passes)
        for number in range(self.passes):
            for init in self.layer(number).inits(role, rect, single):
                region = home(init.address, layout)
                if number == 0 or region.stride:
                    yield replace(init, address=region.of_layer(init.address, number))
        for region in layout:
            if region.stride > region.old.bytes and region.old.owner == "weights":
                gap, end = region.stride - region.old.bytes, region.address + region.old.bytes
                kind = Dtype.F16 if gap % 4 else Dtype.F32
                count, pitch = (self.passes, gap // kind.size), region.stride // kind.size
                yield Init(0, rect.rows, rect.cols, end, kind.value, pitch, 1, count, ZEROS, 0, 0, 0, (0, 0))

    def address(self, role: Any, address: int, number: int) -> int:
        """Where a core keeps for layer `number` what the program for one layer has at an address."""
        return home(address, lay_out(self.one.program(role), self.passes)).of_layer(address, number)

    def constants(self) -> Mapping[str, np.ndarray[Any, Any]]:
        return self.one.constants()

    def scalars(self, program: Program) -> Mapping[int, int]:
        return self.one.scalars(program)

    def latency(self, target: Target) -> int:
        """Of one pass."""
        return self.one.latency(target) + self.one.layer_cycles(target)


def single(kernel: Kernel) -> Kernel:
    """The kernel for one layer."""
    return kernel.one if isinstance(kernel, Folded) else kernel


def for_layers(one: Kernel, passes: int) -> Kernel:
    """A kernel for layers whose constants are not of interest: what it costs does not depend on them."""
    return one if passes == 1 else Folded(one, passes, lambda _: one)
