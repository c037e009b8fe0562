"""What the passes of a pipeline cost and change, as a hook of the pass manager."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from compiler.ir.core import Op
from compiler.ir.passes import Pass

_SHOWN = 3  # ops named in a row


class PassTime(NamedTuple):
    """One run of a pass: its seconds of wall clock, and how many ops of each kind there were before and after it."""

    name: str
    seconds: float
    before: Counter[str]
    after: Counter[str]

    def changes(self) -> list[tuple[str, int]]:
        """Ops of which there are more or fewer now, the largest change first."""
        names = self.before.keys() | self.after.keys()
        changes = [(name, self.after[name] - self.before[name]) for name in names]
        return sorted((c for c in changes if c[1]), key=lambda change: (-abs(change[1]), change[0]))

    def row(self) -> tuple[object, ...]:
        """Name, seconds, ops after it, what changed in words; for a table headed by `HEAD`."""
        changes = self.changes()
        words = [f"{name} {count:+,}" for name, count in changes[:_SHOWN]]
        more = [f"and {len(changes) - _SHOWN} more"] if len(changes) > _SHOWN else []
        return (self.name, round(self.seconds, 3), self.after.total(), ", ".join([*words, *more]))


HEAD = ("pass", "seconds", "ops", "more or fewer")


class PassTimes:
    """A hook that keeps a `PassTime` for every pass run on `module`."""

    def __init__(self, module: Op) -> None:
        self.passes: list[PassTime] = []
        self._now = count_ops(module)

    def __call__(self, _index: int, step: Pass, module: Op, seconds: float) -> None:
        before, self._now = self._now, count_ops(module)
        self.passes.append(PassTime(step.name, seconds, before, self._now))

    def rows(self) -> list[tuple[object, ...]]:
        """One row a pass, and their sum."""
        total = round(sum(step.seconds for step in self.passes), 3)
        return [*(step.row() for step in self.passes), ("all", total, self._now.total(), "")]


def count_ops(module: Op) -> Counter[str]:
    """How many ops of each kind a module holds."""
    return Counter(op.name for op in module.walk())
