"""Errors a test file expects, as comments beside what causes them:

    graph.output(%9) {name = "y"}                  // expected-error {{%9 is not defined here}}
    // expected-error@+1 {{bad-ir-text: unknown op}}
    %0 = graph.nonsense
    // expected-error@unknown {{does-not-fit}}

`@+N` and `@-N` mean a line further down or up, `@unknown` an error without a line, such as one from a pass. The text in
braces must occur in `code: message`. Every expected error must come, once, and no other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

SPLIT = re.compile(r"^// -----.*\n", re.MULTILINE)  # between the parts of a file
_EXPECTED = re.compile(r"//\s*expected-error(?:@(unknown|[+-]\d+))?\s*\{\{(.*?)\}\}")
_NO_LINE = 0


@dataclass(frozen=True)
class Diagnostic:
    """An error that came, or is expected, in a line (counted from 1; 0: in none)."""

    line: int
    text: str

    @property
    def place(self) -> str:
        return f"line {self.line}" if self.line else "no line"


def parts(text: str) -> list[str]:
    """The parts of a file, each behind so many empty lines that its own have the numbers they have in the file."""
    found, start = [], 0
    for match in [*SPLIT.finditer(text), None]:
        end = match.start() if match else len(text)
        found.append("\n" * text.count("\n", 0, start) + text[start:end])
        start = match.end() if match else end
    return found


def expected(text: str) -> list[Diagnostic]:
    """The errors that comments in `text` ask for."""
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        for where, wanted in _EXPECTED.findall(line):
            found.append(Diagnostic(_NO_LINE if where == "unknown" else number + int(where or 0), wanted))
    return found


def disagreements(wanted: Iterable[Diagnostic], came: Iterable[Diagnostic]) -> list[str]:
    """What was expected and did not come, and what came and was not expected."""
    left = list(came)
    problems = []
    for diagnostic in wanted:
        match = next((d for d in left if d.line == diagnostic.line and diagnostic.text in d.text), None)
        if match is None:
            problems.append(f"{diagnostic.place}: expected an error with {diagnostic.text!r}")
        else:
            left.remove(match)
    return problems + [f"{d.place}: not expected: {d.text}" for d in left]
