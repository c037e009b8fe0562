"""Comparisons as text, JSON and Markdown."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from frontends.cli.golden.compare import SAME, Comparison, Row, geomeans
from frontends.cli.golden.policy import rule_of
from frontends.cli.golden.store import Result
from runtime.text import safe, table

SCHEMA = 1
HEAD = ("", "recorded", "now", "change", "allowed", "verdict")
MARKDOWN = re.compile(r"([\\`*_\[\]|~])")


def text(result: Result, *, everything: bool = False, advice: bool = True) -> str:
    """A headline, the rows that moved (or all of them), the notes, and with `advice` the command that accepts it."""
    comparison = result.comparison
    shown = [row for row in comparison.rows if everything or row.verdict != SAME]
    parts = [headline(result)]
    if shown:
        parts.append(table(HEAD, [cells(row) for row in shown]))
    parts.extend(f"note: {note}" for note in comparison.notes)
    if advice and not result.written and (comparison.improved or not comparison.passed):
        why = "better than recorded; to hold it" if comparison.passed else "if it is meant to be"
        parts.append(f"{why}: wsec golden update {safe(result.model)} --reason TEXT")
    return "\n".join(parts)


def together(results: Sequence[Result]) -> str:
    """What several models come to as a whole; empty if nothing moved, or there is only one."""
    means = geomeans(result.comparison for result in results)
    moved = {metric: mean for metric, mean in means.items() if abs(mean - 1) >= 5e-5}  # else two digits show nothing
    if len(results) < 2 or not moved:
        return ""
    rows = [(str(metric), f"{100 * (mean - 1):+.2f} %") for metric, mean in moved.items()]
    return f"{len(results)} models together\n{table(('', 'geometric mean'), rows)}"


def headline(result: Result, name: str = "") -> str:
    """One line; the model is called `name`, or by its path."""
    comparison = result.comparison
    failed = sum(row.failed for row in comparison.rows)
    counts = [(failed, "outside"), (len(comparison.improved), "better")]
    told = ", ".join(f"{count} {word}" for count, word in counts if count) or "as recorded"
    return f"{safe(name or result.model)}: {'FAIL' if failed else 'pass'}: {len(comparison.rows)} numbers, {told}"


def cells(row: Row) -> tuple[str, ...]:
    change = "" if row.change is None or row.verdict == SAME else f"{100 * row.change:+.1f} %"
    return (str(row.metric), number(row.old), number(row.new), change, allowed(row), row.verdict)


def allowed(row: Row) -> str:
    """The allowed range as text. Only what is counted may reach its ends."""
    least, most = ("at least", "at most") if rule_of(row.metric).whole else ("above", "below")
    sides = []
    if row.low is not None:
        sides.append(f"{least} {number(row.low)}")
    if row.high is not None:
        sides.append("0" if row.high == 0 else f"{most} {number(row.high)}")
    return ", ".join(sides)


def number(value: float | None) -> str:
    """Counts with thousands separated; shares and errors with four digits."""
    if value is None:
        return "-"
    if not math.isfinite(value):
        return str(value)
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.1f}" if value >= 1000 else f"{value:.4g}"


def to_json(result: Result) -> dict[str, Any]:
    """One model, with the text of its rules; what is not finite becomes null."""
    return {
        "model": safe(result.model),
        "baseline": safe(result.path),
        "passed": result.comparison.passed,
        "reason": result.baseline.history[0].reason,
        "written": result.written,
        "notes": list(result.comparison.notes),
        "metrics": [
            {
                "metric": str(row.metric),
                "meaning": rule_of(row.metric).text,
                "recorded": row.old,
                "measured": row.new if row.new is not None and math.isfinite(row.new) else None,
                "low": row.low,
                "high": row.high,
                "verdict": row.verdict.lower(),
                "passed": not row.failed,
            }
            for row in result.comparison.rows
        ],
    }


def markdown(results: Iterable[Result], errors: Iterable[tuple[str, str]] = ()) -> str:
    """A section with a table per model, for the summary page of a CI service. errors: model and message."""
    parts = [_section(headline(result, Path(result.model).name), result.comparison) for result in results]
    parts += [f"### {escaped(model)}: error\n\n{escaped(message)}\n" for model, message in errors]
    return "\n".join(parts)


def _section(head: str, comparison: Comparison) -> str:
    lines = ["| " + " | ".join(HEAD) + " |", "| :-- | --: | --: | --: | --: | :-- |"]
    for row in comparison.rows:
        verdict = f"**{row.verdict}**" if row.failed else row.verdict
        lines.append("| " + " | ".join([*map(escaped, cells(row)[:-1]), verdict]) + " |")
    notes = [f"- {escaped(note)}" for note in comparison.notes]
    return "\n".join([f"### {escaped(head)}", "", *lines, "", *notes, ""])


def escaped(value: object) -> str:
    """Text as Markdown that shows it as it is: names come from models."""
    return MARKDOWN.sub(r"\\\1", html.escape(safe(value), quote=False))
