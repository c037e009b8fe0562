"""A baseline: the numbers a model was accepted with, how far each may move, how they came about, and why they changed.

This file is the data and what must hold of it; `baseline_file` is its text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from frontends.cli.golden.policy import Metric, Rule, Tolerance, rule_of
from runtime.check import TOLERANCES
from runtime.errors import InputError
from runtime.text import safe

SCHEMA = 1
HISTORY = 10  # changes whose reasons are kept
REASON_LENGTH = 400
LARGEST = 2.0**53  # whole numbers beyond are no longer exact


@dataclass(frozen=True)
class Recorded:
    """A value and how far a new one may be from it: on the worse side, and, if `better` is given, on the other too."""

    value: float
    worse: Tolerance
    better: Tolerance | None = None


@dataclass(frozen=True)
class Run:
    """What is executed: random inputs of `batch` sequences of `tokens` from `seed`, and one of `cycle_tokens` on the
    cycle machine (0: none). `layers`: whether the values inside the model are compared as well."""

    tokens: int = 16
    batch: int = 1
    seed: int = 0
    cycle_tokens: int = 0
    layers: bool = False


@dataclass(frozen=True)
class Change:
    """One update: its reason, the version that measured, and which values went from what to what."""

    reason: str
    wsec: str
    changed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Baseline:
    """All of a baseline file. `options`: compiler options by name that are not the default, and `target` and
    `precision` always. `made_with`: versions that numbers may depend on. `history`: the newest first."""

    model: str
    model_sha256: str
    options: Mapping[str, Any]
    run: Run
    made_with: Mapping[str, str]
    metrics: Mapping[Metric, Recorded]
    history: tuple[Change, ...] = field(default=())

    @property
    def precision(self) -> str:
        return str(self.options["precision"])


def reason_text(reason: str) -> str:
    """A reason as one line. Raises InputError if it says nothing or is longer than a line should be."""
    text = safe(" ".join(reason.split()))
    if not any(character.isalnum() for character in text):
        raise InputError("the reason is empty", code="no-reason", hint="say in a few words why the numbers change")
    if len(text) > REASON_LENGTH:
        raise InputError(f"the reason has {len(text)} characters, at most {REASON_LENGTH} fit", code="no-reason")
    return text


def require_sound(metric: Metric, recorded: Recorded, precision: str) -> None:
    """Raises InputError for a value that cannot have been measured, and a tolerance wider than the policy's."""
    rule = rule_of(metric)
    _require_value(metric, recorded.value, rule, precision)
    for side, tolerance in (("worse", recorded.worse), ("better", recorded.better)):
        if tolerance is not None and not (math.isfinite(tolerance.amount) and tolerance.amount >= 0):
            raise _wrong(f"{metric}: tolerance {side} = {tolerance.amount} is no number from 0 on")
    allowed, widest = recorded.worse.of(recorded.value), rule.widest_of(recorded.value, precision)
    if allowed > widest:
        raise InputError(
            f"{metric}: worse = {recorded.worse} allows {allowed:g} from {recorded.value:g}; policy is {widest:g}",
            code="tolerance-too-wide",
            hint="narrow it, or accept the new value: wsec golden update --reason TEXT",
        )


def _require_value(metric: Metric, value: float, rule: Rule, precision: str) -> None:
    if not (math.isfinite(value) and 0 <= value < LARGEST):
        raise _wrong(f"{metric}: {value} was never measured")
    if rule.whole and value != int(value):
        raise _wrong(f"{metric}: {value} is not whole")
    if rule.higher_is_better and value > 1:
        raise _wrong(f"{metric}: a share of {value} is above 1")
    if metric.name == "share" and value > 1:
        raise _wrong(f"{metric}: a kernel's error of {value:g} times its bound is wrong, not a baseline")
    if metric.name == "error" and value > TOLERANCES[precision]:
        raise _wrong(
            f"{metric}: an error of {value:g} is outside the tolerance of {precision}, {TOLERANCES[precision]:g}"
        )


def _wrong(message: str) -> InputError:
    return InputError(message, code="bad-baseline")
