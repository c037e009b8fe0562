"""A baseline as TOML text: one line a number, in a fixed order, so that a diff shows what a change did."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from frontends.cli.files import write_text
from frontends.cli.golden.baseline import SCHEMA, Baseline, Change, Recorded
from frontends.cli.golden.policy import RULES, Metric, Tolerance
from runtime.text import safe

HEADER = """\
# Written by `wsec golden update`; it keeps tolerances, not comments. `worse` says how far a value may move the wrong
# way, in its own unit or as a share; with `better` too, an improvement beyond that must be accepted as well.
"""
BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def write_baseline(path: Path, baseline: Baseline) -> None:
    """Write the file, or leave the old one. Raises InputError if that is impossible."""
    write_text(path, to_text(baseline))


def to_text(baseline: Baseline) -> str:
    """The file's text: the same baseline, the same bytes."""
    top = {
        "schema": SCHEMA,
        "model": baseline.model,
        "model_sha256": baseline.model_sha256,
        "reason": baseline.history[0].reason,
    }
    parts = [HEADER + _entries(top)]
    parts.append(_table("made_with", baseline.made_with))
    parts.append(_table("options", baseline.options))
    parts.append(_table("run", dataclasses.asdict(baseline.run)))
    parts.extend(_metric_tables(baseline.metrics))
    parts.extend(_change(change) for change in baseline.history)
    return "\n".join(parts)


def _table(name: str, entries: Mapping[str, Any]) -> str:
    return f"[{name}]\n{_entries(entries)}"


def _entries(entries: Mapping[str, Any]) -> str:
    return "".join(f"{_key(name)} = {_value(value)}\n" for name, value in entries.items())


def _metric_tables(metrics: Mapping[Metric, Recorded]) -> Iterator[str]:
    tables: dict[str, list[str]] = {}
    for metric in ordered(metrics):
        head, key = _place(metric)
        tables.setdefault(head, []).append(f"{key} = {_recorded(metrics[metric])}\n")
    for head, lines in tables.items():
        yield f"[{head}]\n{''.join(lines)}"


def _place(metric: Metric) -> tuple[str, str]:
    """Table and key. There are few outputs with some numbers each, and many layers with a few: those are by number."""
    if metric.section == "layer":
        return f"layer.{metric.name}", _key(metric.of)
    return (f"{metric.section}.{_key(metric.of)}" if metric.of else metric.section), metric.name


def ordered(metrics: Iterable[Metric]) -> list[Metric]:
    """Metrics as a file and a report list them: by section and name as in the policy, outputs and layers as they come
    along in the model."""
    rank = {key: number for number, key in enumerate(RULES)}
    sections = {section: number for number, (section, _) in reversed(list(enumerate(RULES)))}
    given = list(metrics)
    place = {metric.of: number for number, metric in reversed(list(enumerate(given)))}

    def key(metric: Metric) -> tuple[int, int, int]:
        of, name = place[metric.of], rank[metric.section, metric.name]
        return (sections[metric.section], *((name, of) if metric.section == "layer" else (of, name)))

    return sorted(given, key=key)


def _recorded(recorded: Recorded) -> str:
    sides = {"value": recorded.value, "worse": recorded.worse, "better": recorded.better}
    inside = ", ".join(f"{name} = {_value(value)}" for name, value in sides.items() if value is not None)
    return f"{{ {inside} }}"


def _change(change: Change) -> str:
    lines = {"reason": change.reason, "wsec": change.wsec}
    changed = "".join(f"    {_value(line)},\n" for line in change.changed)
    return f"[[history]]\n{_entries(lines)}" + (f"changed = [\n{changed}]\n" if changed else "")


def _key(name: str) -> str:
    return name if BARE_KEY.fullmatch(name) else _value(name)


def _value(value: object) -> str:
    if isinstance(value, Tolerance):
        return _value(str(value)) if value.relative else _value(value.amount)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value == int(value) else repr(value)
    if isinstance(value, int):
        return str(value)
    # A basic string of TOML is one of JSON, but for DEL and lone surrogates.
    return json.dumps(safe(value), ensure_ascii=False).replace("\x7f", "\\u007F")
