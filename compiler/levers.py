"""What would make a model fit, found out by trying: lower it with other options as far as its sizes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from compiler.ir.core import Op
from compiler.passes.layers import find_layers
from compiler.size.sizing import Sizer
from runtime import target as targets
from runtime.errors import InfeasibleError, InputError, Lever
from runtime.target import Target

Flow = Callable[[Any], Op]
"""The module at phase flow under the given compiler options."""


def levers(lower: Flow, options: Any, target: Target) -> tuple[Lever, ...]:
    """Changes of `options` (of `compiler.driver`) under which the model fits, each of them tried."""
    trial = _Trial(lower, target, min(options.max_cores or target.cores, target.cores))
    found: list[Lever] = []
    now = trial.cores(options)
    if now is not None and trial.limit < now <= target.cores:
        found.append(Lever(f"--max-cores {now}", "fits", True))
    half = dataclasses.replace(options, precision="fp16")
    if options.precision != "fp16" and (cores := trial.fits(half)):
        found.append(Lever("--precision fp16", f"fits on {cores} cores", True))
    if longest := trial.longest(options):
        found.append(Lever(f"--max-seq {longest}", "fits; one more does not", True))
    elif options.precision != "fp16" and not found and (longest := trial.longest(half)):
        found.append(Lever(f"--precision fp16 --max-seq {longest}", "fits; one more does not", True))
    if options.fold == 1 and (folded := trial.folded(options)):
        layers, cores = folded
        found.append(Lever(f"--fold {layers}", f"fits on {cores} cores, one token at a time in {layers} layers", True))
    for name in targets.names():
        other = targets.load(name)
        if other.cores > target.cores and not options.max_cores:
            cores = _Trial(lower, other, other.cores).fits(options)
            found += [Lever(f"--target {name}", f"fits on {cores} cores", True)] if cores else []
    return tuple(found)


@dataclasses.dataclass
class _Trial:
    lower: Flow
    target: Target
    limit: int

    def cores(self, options: Any) -> int | None:
        """Cores the model needs under these options; None if no sizes are found."""
        try:
            module = self.lower(options)
            sizing = Sizer([op for op in module.body.ops if op.dialect == "flow"], self.target).smallest()
        except (InfeasibleError, InputError):
            return None
        return None if sizing is None else sizing.cores

    def fits(self, options: Any) -> int | None:
        """Cores the model needs if they are there."""
        cores = self.cores(options)
        return cores if cores is not None and cores <= self.limit else None

    def folded(self, options: Any) -> tuple[int, int] | None:
        """The fewest layers that must share kernels for the model to fit, and the cores it then needs; None if sharing
        does not help."""
        module = self.lower(options)
        layers = len(find_layers([op for op in module.body.ops if op.dialect == "flow"]).alike)
        for fold in range(2, layers + 1):
            if layers % fold == 0 and (cores := self.fits(dataclasses.replace(options, fold=fold))):
                return fold, cores
        return None

    def longest(self, options: Any) -> int | None:
        """The longest sequence that fits, by bisection below what was asked for; None if not even one token does."""
        module = self.lower(options)
        asked = max((int(str(op.attrs["max_seq"])) for op in module.body.ops if op.name == "flow.attention"), default=0)
        if asked < 2 or not self.fits(dataclasses.replace(options, max_seq=1)):
            return None
        low, high = 1, asked
        while high - low > 1:
            middle = (low + high) // 2
            if self.fits(dataclasses.replace(options, max_seq=middle)):
                low = middle
            else:
                high = middle
        return low
