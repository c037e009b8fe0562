"""What the validator found: violations with code, place and message, and measured facts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from runtime.text import safe

MAX_PER_CODE = 20  # violations of one kind told in full; the rest are counted


@dataclass(frozen=True)
class Violation:
    """One broken rule. `code` is stable, `where` names a core, a router, a block or a program."""

    code: str
    message: str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.code}: {self.message}" if self.where else f"{self.code}: {self.message}"


@dataclass
class Report:
    """`violations` is empty exactly for a legal image; `counts` has the number of each code, also of untold ones."""

    violations: list[Violation] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not self.counts

    def add(self, code: str, message: str, where: str = "") -> None:
        self.counts[code] += 1
        if self.room(code):
            self.told[code] += 1
            self.violations.append(Violation(code, message, where))

    def room(self, code: str) -> int:
        """How many more violations of a kind will be told in full."""
        return MAX_PER_CODE - self.told[code]

    def add_untold(self, code: str, number: int) -> None:
        """Count `number` more violations of a kind without telling them."""
        if number:
            self.counts[code] += number

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "violations": [vars(violation) for violation in self.violations],
            "counts": dict(sorted(self.counts.items())),
            "facts": self.facts,
        }

    def text(self) -> str:
        """One line per violation, safe for a terminal, then how many of each kind were not told."""
        lines = [safe(violation) for violation in self.violations]
        for code, count in sorted(self.counts.items()):
            if count > MAX_PER_CODE:
                lines.append(f"... and {count - MAX_PER_CODE} more of {code}")
        return "\n".join(lines)


def at(x: int, y: int) -> str:
    """Coordinates as every message writes them."""
    return f"({x},{y})"
