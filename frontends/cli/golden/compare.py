"""A model's numbers against its baseline: one row a number, each with what was allowed and a verdict."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from frontends.cli.golden.baseline import HISTORY, Baseline, Change, Recorded, require_sound
from frontends.cli.golden.measure import Measured
from frontends.cli.golden.policy import Metric, Rule, rounded, rule_of
from frontends.cli.golden.writing import ordered

SAME, WITHIN, BETTER = "same", "within", "better"
WORSE, TOO_GOOD, UNRECORDED, GONE = "WORSE", "TOO GOOD", "NOT RECORDED", "GONE"
FAILED = (WORSE, TOO_GOOD, UNRECORDED, GONE)
MOST_CHANGES = 10  # that history tells of one update


@dataclass(frozen=True)
class Row:
    """One number: `old` as recorded, `new` as measured (None: there is none), and the range that is allowed for it."""

    metric: Metric
    old: float | None
    new: float | None
    low: float | None
    high: float | None
    verdict: str

    @property
    def failed(self) -> bool:
        return self.verdict in FAILED

    @property
    def change(self) -> float | None:
        """(new - old) / old, where that is a number."""
        if self.old is None or self.new is None or not self.old or not math.isfinite(self.new):
            return None
        return (self.new - self.old) / self.old


@dataclass(frozen=True)
class Comparison:
    """A model against its baseline. `notes`, without a verdict: what else is not as it was recorded, and in which core
    the first wrong number arises, if layers were compared and one is wrong."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not any(row.failed for row in self.rows)

    @property
    def improved(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.verdict == BETTER)


def compare(baseline: Baseline, measured: Measured) -> Comparison:
    """Every number of either side gets a row."""
    metrics = ordered(dict.fromkeys([*baseline.metrics, *measured.values]))
    rows = [_row(m, baseline.metrics.get(m), measured.values.get(m), measured.limits.get(m, math.inf)) for m in metrics]
    # Values are rounded before they are compared; the check is not.
    rows = [dataclasses.replace(row, verdict=WORSE) if row.metric in measured.outside else row for row in rows]
    return Comparison(tuple(rows), _notes(baseline, measured))


def geomeans(comparisons: Iterable[Comparison]) -> dict[Metric, float]:
    """Per number of a whole model (not of outputs and layers), new over old as geometric mean over all models."""
    ratios: dict[Metric, list[float]] = {}
    for row in (row for comparison in comparisons for row in comparison.rows if not row.metric.of):
        if row.old and row.new and math.isfinite(row.new):
            ratios.setdefault(row.metric, []).append(row.new / row.old)
    return {metric: math.exp(math.fsum(map(math.log, found)) / len(found)) for metric, found in ratios.items()}


def _row(metric: Metric, recorded: Recorded | None, new: float | None, limit: float) -> Row:
    """`limit`: never more than this, whatever the baseline allows."""
    if recorded is None:
        return Row(metric, None, new, None, None, UNRECORDED)
    rule = rule_of(metric)
    low, high = _allowed(recorded, rule, limit)
    if new is None:
        return Row(metric, recorded.value, None, low, high, GONE)
    return Row(metric, recorded.value, new, low, high, _verdict(recorded.value, new, low, high, limit, rule))


def _allowed(recorded: Recorded, rule: Rule, limit: float) -> tuple[float | None, float | None]:
    """The range, open where better is fine; in whole numbers for what is counted."""
    value, worse = recorded.value, recorded.worse.of(recorded.value)
    better = math.inf if recorded.better is None else recorded.better.of(value)
    low, high = (value - worse, value + better) if rule.higher_is_better else (value - better, value + worse)
    high = min(high, limit)
    low, high = _end(low, rule, math.ceil), _end(high, rule, math.floor)
    return (low if math.isfinite(low) else None), (high if math.isfinite(high) else None)


def _end(end: float, rule: Rule, whole: Callable[[float], int]) -> float:
    """An end of the range in the digits that values have: else a move by exactly the tolerance might miss it."""
    if not math.isfinite(end):
        return end
    return float(whole(round(end, 6))) if rule.whole else rounded(end, rule)


def _verdict(old: float, new: float, low: float | None, high: float | None, limit: float, rule: Rule) -> str:
    if not math.isfinite(new):
        return WORSE
    below, above = low is not None and new < low, high is not None and new > high
    if not rule.whole and new != old:  # moving by the whole tolerance is too much already; the check knows the limit
        below, above = below or new == low, above or (new == high and new < limit)
    if below or above:
        return WORSE if below == rule.higher_is_better else TOO_GOOD
    if new == old:
        return SAME
    if (new > old) != rule.higher_is_better:
        return WITHIN
    # An error moves on its own from processor to processor: half as large is news, unless that is noise itself.
    return WITHIN if rule.noise and not (new <= old / 2 and old - new >= rule.noise) else BETTER


def _notes(baseline: Baseline, measured: Measured) -> tuple[str, ...]:
    notes: list[str] = []
    if measured.check.finding is not None:
        notes.extend(line.strip() for line in measured.check.finding.text.splitlines())
    if baseline.model_sha256 != measured.model_sha256:
        notes.append("the model is not the one that was recorded: its weights or its graph changed")
    for name in dict.fromkeys([*baseline.made_with, *measured.made_with]):
        old, new = baseline.made_with.get(name, "none"), measured.made_with.get(name, "none")
        if old != new:
            notes.append(f"{name} {old} when it was recorded, {new} now")
    for what, old_side, new_side in (
        ("option", baseline.options, measured.options),
        ("run", dataclasses.asdict(baseline.run), dataclasses.asdict(measured.run)),
    ):
        for name in dict.fromkeys([*old_side, *new_side]):
            if old_side.get(name) != new_side.get(name):
                notes.append(
                    f"{what} {name}: {old_side.get(name, 'default')} recorded, {new_side.get(name, 'default')} now"
                )
    return tuple(notes)


def updated(old: Baseline | None, measured: Measured, reason: str, version: str) -> Baseline:
    """The baseline that accepts what was measured: new values, the old one's tolerances, one entry of history more.

    Raises InputError if an old tolerance is wider than the policy allows for the new value.
    """
    metrics = {}
    known: Mapping[Metric, Recorded] = old.metrics if old else {}
    for metric, value in measured.values.items():
        rule, before = rule_of(metric), known.get(metric)
        recorded = Recorded(value, rule.default(value))
        if before is not None and before != Recorded(before.value, rule.default(before.value)):  # somebody edited it
            recorded = dataclasses.replace(before, value=value)
        if measured.limits.get(metric) == 0:  # exact: there is nothing to allow
            recorded = dataclasses.replace(recorded, worse=dataclasses.replace(recorded.worse, amount=0.0))
        require_sound(metric, recorded, str(measured.options["precision"]))
        metrics[metric] = recorded
    change = Change(reason, version, tuple(_changed(old, measured)) if old else ())
    history = (change, *(old.history if old else ()))[:HISTORY]
    fields: dict[str, Any] = {
        name: getattr(measured, name) for name in ("model", "model_sha256", "options", "run", "made_with")
    }
    return Baseline(metrics=metrics, history=history, **fields)


def _changed(old: Baseline, measured: Measured) -> list[str]:
    """Lines for the history: which values go from what to what."""
    comparison = compare(old, measured)
    lines = [f"{row.metric} {_number(row.old)} -> {_number(row.new)}" for row in comparison.rows if row.old != row.new]
    lines += [note for note in comparison.notes if note.startswith(("option", "run"))]
    more = len(lines) - MOST_CHANGES
    return lines if more <= 0 else [*lines[: MOST_CHANGES - 1], f"and {more + 1} more"]


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.10g}"
