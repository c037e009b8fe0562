"""From core to core of a wrong kernel, the way the words go, to the first that sends something else than it should.

The image runs once more with a tap on the output queues of the cores that have a part in the wrong lane. Each is held
to what it should send for the words it *received*, so no other core need be right.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compiler.kernels.attention import Attention
from compiler.kernels.line import Line
from compiler.kernels.lookup import Lookup
from compiler.kernels.matvec import Matvec
from compiler.kernels.norm import Norm
from compiler.kernels.relane import Relane
from frontends.cli.find.columns import lookup_stages, product_stages
from frontends.cli.find.executed import Standing, received, should_be
from frontends.cli.find.heads import head_stages
from frontends.cli.find.lanes import line_stages, relane_stages
from frontends.cli.find.levels import difference
from frontends.cli.find.norms import norm_stages
from frontends.cli.find.scene import Scene, token_of, worst
from frontends.cli.find.stages import Stage, Work, Wrong
from runtime.check import Finding
from runtime.session import Session
from runtime.state import C_IN
from runtime.tap import Source, Tap

Array = np.ndarray[Any, Any]


def first_wrong_core(scene: Scene, kernel: Standing, finding: Finding) -> Finding | None:
    """The first core on the way to the finding's lane that hears a wrong core or sends a wrong word; None if none is
    seen to."""
    stages = stages_of(scene, kernel, finding.lane)
    walk = _Walk(scene, kernel, finding, stages, _listen(scene, kernel, stages))
    for number in range(len(stages)):
        found = walk.misled(number) or walk.wrong_words(number)
        if found is not None:
            return found
    return None


def stages_of(scene: Scene, kernel: Standing, lane: int) -> list[Stage]:
    """What the cores of a kernel send that have a part in an output lane, in the order in which words pass."""
    made = kernel.kernel
    work = Work(kernel.op, made, received(kernel.step, scene.streams, scene.run), scene.run, kernel.address)
    if isinstance(made, Matvec):
        return product_stages(work, made, lane)
    if isinstance(made, Lookup):
        return lookup_stages(work, made, lane)
    if isinstance(made, Norm):
        return norm_stages(work, made)
    if isinstance(made, Attention):
        return head_stages(work, made, lane)
    if isinstance(made, Relane):
        return relane_stages(work, made, lane)
    assert isinstance(made, Line), f"no way to look into a kernel of kind {made.kind}"
    return line_stages(work, made, lane, kernel.sources[lane].queue, should_be(kernel.step, scene.streams, scene.run))


def _listen(scene: Scene, kernel: Standing, stages: Sequence[Stage]) -> list[Array]:
    """What every stage sent in the kernel's pass, [tokens, words] without headers: a run of its own."""
    sources = [Source(_core(kernel, s), s.queue, kernel.times * (s.words + s.header)) for s in stages]
    pieces: list[list[Array]] = [[] for _ in sources]

    def listener(_headers: Array, words: list[Array]) -> None:
        for stage, found, piece in zip(stages, pieces, words, strict=True):
            passes = piece.reshape(len(piece), kernel.times, -1)
            found.append(passes[:, kernel.turn, int(stage.header) :].copy())

    given: dict[str, Any] = dict(scene.inputs)
    Session(scene.image, scene.threads, tap=Tap(sources, listener)).run(**given)
    return [np.concatenate(found) for found in pieces]


def _core(kernel: Standing, stage: Stage) -> int:
    return kernel.block.first + stage.r * kernel.block.cols + stage.c


@dataclass(frozen=True)
class _Walk:
    """What was heard of the stages; `finding` is what was known before."""

    scene: Scene
    kernel: Standing
    finding: Finding
    stages: Sequence[Stage]
    sent: Sequence[Array]

    def misled(self, number: int) -> Finding | None:
        """Whether a route inside the kernel brings the core the words of another than meant."""
        loaded, units, queues = self.scene.wires
        core = _core(self.kernel, self.stages[number])
        for other, queue in self.stages[number].hears:
            meant = self.stages[other]
            if queue < 0:
                continue
            ring = int(loaded.state.core[core, C_IN + queue])
            unit = int(units[ring])
            if (unit, int(queues[ring])) == (_core(self.kernel, meant), meant.queue):
                continue
            colour = int(self.scene.image.cores["inq"][core, queue])
            heard = f"core {self.scene.core_at(unit)}" if 0 <= unit < loaded.cores else "no core"
            text = f"hears {heard} on colour {colour}, not core {self._here(other)}: the route is wrong"
            return self._told(number, text, cause="route", colour=colour)
        return None

    def wrong_words(self, number: int) -> Finding | None:
        """Whether the core sends something else than follows from what it heard."""
        stage, sent = self.stages[number], self._values(number)
        heard = [self._values(other).astype(np.float64) for other, _ in stage.hears]
        wanted, bound = stage.step(heard)
        errors = difference(sent, wanted)
        if not (errors > bound).any():
            return None
        place = worst(errors, bound)
        why = stage.why(Wrong(heard, sent, wanted, place))
        text = (
            f"{stage.name(place[-1])} of what it sends for {token_of(place)}: got {sent[place]:.7g}, wanted "
            f"{wanted[place]:.7g}; rounding explains {bound[place]:.1e}"
        )
        if why is not None:
            text += f"\n  {why.text}"
        return self._told(
            number, text, place, float(sent[place]), float(wanted[place]), cause=why.cause if why is not None else ""
        )

    def _values(self, number: int) -> Array:
        """What a stage sent, [token axes.., words]."""
        values = self.sent[number].view(self.scene.streams.get(self.kernel.step).dtype)
        return values.reshape(*self.scene.streams.axes, values.shape[1])

    def _here(self, number: int) -> tuple[int, int]:
        x, y = self.kernel.block.at(self.stages[number].r, self.stages[number].c)
        return int(x), int(y)

    def _told(
        self, number: int, text: str, place: tuple[int, ...] = (), got: float = np.nan, wanted: float = np.nan,
        cause: str = "", colour: int = -1,
    ) -> Finding:  # fmt: skip
        """The finding at this core. Its cause, if it is not given: whether what it sends leaves the kernel."""
        stage = self.stages[number]
        core = _core(self.kernel, stage)
        ends = [(source.core, source.queue) for source in self.kernel.sources]
        lane = ends.index((core, stage.queue)) if (core, stage.queue) in ends else None
        where = f"the error enters at core {self._here(number)}, {stage.place}: {text}"
        return dataclasses.replace(
            self.finding,
            token=place[:-1] or self.finding.token,
            element=place[-1] if place else self.finding.element,
            lane=self.finding.lane if lane is None else lane,
            core=self._here(number),
            colour=colour if colour >= 0 else int(self.scene.image.cores["outq"][core, stage.queue]),
            got=got,
            wanted=wanted,
            cause=cause or ("chain" if lane is None else "core"),
            text=f"{self.finding.text}\n  {where}",
        )
