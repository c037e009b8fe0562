"""Norms: sums of the blocks up the line, what comes of them back to all, and every core scales its block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compiler.kernels.base import BROADCAST_IN, BROADCAST_OUT, CHAIN_IN, CHAIN_OUT, STREAM_OUT
from compiler.kernels.norm import Norm
from compiler.running_error import Near
from frontends.cli.find.stages import Stage, Why, Work, Wrong

Array = np.ndarray[Any, Any]

SUMS = ("the mean", "the sum of squared deviations")
RESULT = ("the mean", "one over the deviation")


def norm_stages(work: Work, made: Norm) -> list[Stage]:
    """Of the whole line: the statistics from core to core, the result of the last, then what each core sends."""
    cores = [_Core(work, made, r) for r in range(made.rows)]
    last = made.rows - 1
    places = [f"{r + 1} of {made.rows} in the line" for r in range(made.rows)]
    stages: list[Stage] = []
    for r, core in enumerate(cores[:last]):
        hears = ((r - 1, CHAIN_IN),) if r else ()
        stages.append(Stage(r, 0, CHAIN_OUT, 2, False, places[r], core.sums, hears, SUMS.__getitem__))
    if last:
        hears = ((last - 1, CHAIN_IN),)
        stages.append(
            Stage(last, 0, BROADCAST_OUT, 2, False, places[last], cores[last].result, hears, RESULT.__getitem__)
        )
    for r, core in enumerate(cores):
        # The last core scales with what it sent the others; no route leads there.
        hears = ((last, BROADCAST_IN if r < last else -1),) if last else ()
        words = made.blocks.size(r)
        stages.append(Stage(r, 0, STREAM_OUT, words, True, places[r], core.scaled, hears, why=core.why))
    return stages


@dataclass(frozen=True)
class _Core:
    """Core `r` of the line, instruction by instruction as the kernel's program has them."""

    work: Work
    made: Norm
    r: int

    @property
    def _block(self) -> slice:
        start = self.made.blocks.start(self.r)
        return slice(start, start + self.made.blocks.size(self.r))

    @property
    def _x(self) -> Near:
        return Near.exact(self.work.given[0][..., self._block])

    def _parameter(self, name: str) -> Array:
        return self.work.run.resources.get(name).reshape(-1)[self._block].astype(np.float64)

    def _merged(self, heard: Sequence[Array]) -> tuple[Near, Near]:
        """Mean and sum of squared deviations of all blocks up to this core's."""
        x, own, above = self._x, self.made.blocks.size(self.r), self.made.blocks.start(self.r)
        mean = x.sum() * Near.constant(1 / own)
        square = x - mean
        spread = (square * square).sum()
        if not heard:
            return mean, spread
        mean_above, spread_above = (Near.exact(heard[0][..., i : i + 1]) for i in (0, 1))
        delta = mean - mean_above
        mean = mean_above + delta * Near.constant(own / (above + own))
        spread = spread + spread_above
        return mean, spread + delta * delta * Near.constant(above * own / (above + own))

    def sums(self, heard: Sequence[Array]) -> tuple[Array, Array]:
        return _pair(*self._merged(heard))

    def result(self, heard: Sequence[Array]) -> tuple[Array, Array]:
        return _pair(*self._result(heard))

    def _result(self, heard: Sequence[Array]) -> tuple[Near, Near]:
        mean, spread = self._merged(heard)
        variance = spread * Near.constant(1 / self.made.blocks.features)
        return mean, (variance + Near.constant(self.made.epsilon)).rsqrt()

    def _normal(self, heard: Sequence[Array]) -> Near:
        """The block without scale and bias; a lone core hears nothing and has found the result itself."""
        mean, factor = (Near.exact(heard[0][..., i : i + 1]) for i in (0, 1)) if heard else self._result(heard)
        return (self._x - mean) * factor

    def scaled(self, heard: Sequence[Array]) -> tuple[Array, Array]:
        scale, bias = (Near.exact(self._parameter(name)) for name in (self.made.scale, self.made.bias))
        y = self._normal(heard) * scale + bias
        return y.value, y.error

    def why(self, wrong: Wrong) -> Why | None:
        """One wrong element of scale or bias, if it explains all tokens."""
        element = wrong.at[-1]
        errors = (wrong.sent.astype(np.float64) - wrong.wanted)[..., element].reshape(-1)
        if errors.size < 2 or not np.isfinite(errors).all():
            return None
        normal = self._normal(wrong.heard).value[..., element].reshape(-1)
        for name, parameter, with_it in (
            ("scale", self.made.scale, normal),
            ("bias", self.made.bias, np.ones(errors.size)),
        ):
            change = float(with_it @ errors / (with_it @ with_it))
            if np.linalg.norm(errors - change * with_it) < 1e-2 * np.linalg.norm(errors):
                should = float(self._parameter(parameter)[element])
                text = f"as if element {element} of its {name} were {should + change:.5g}, not {should:.5g}"
                return Why("weight", text)
        return None


def _pair(first: Near, second: Near) -> tuple[Array, Array]:
    both = [np.broadcast_arrays(near.value, near.error) for near in (first, second)]
    return np.concatenate([both[0][0], both[1][0]], axis=-1), np.concatenate([both[0][1], both[1][1]], axis=-1)
