"""What of a model is held, which way is worse, and how much worse a result may become.

A baseline file may change a tolerance, within what stands here as the widest: whoever reads the file in a review need
not ask whether a limit has been opened so far that nothing can fail any more.

Predicted and counted numbers are the same on every machine, so their tolerances only leave room for changes that are
not worth a new baseline. Errors are not: onnxruntime picks its order of summation by processor, which moves them by
fp32's noise (3e-7 to 3e-6 of the largest output). So twice the recorded error is allowed, or NOISE more where that is
less, and never more than the tolerance of `runtime.check`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from runtime.check import TOLERANCES

NOISE = 1e-6
NOISE_SHARE = 1 / 6  # of the tolerance of `runtime.check`, which is six times the noise of two correct results


class Metric(NamedTuple):
    """A number's place in a baseline: the section, of what (an output or a layer; empty for the whole), its name."""

    section: str
    of: str
    name: str

    def __str__(self) -> str:
        return ".".join(part for part in self if part)


@dataclass(frozen=True)
class Tolerance:
    """How far from the recorded value: `amount`, or that share of the value if `relative`."""

    amount: float
    relative: bool = False

    def of(self, value: float) -> float:
        """The distance allowed from `value`."""
        return abs(value) * self.amount if self.relative else self.amount

    def __str__(self) -> str:
        return f"{100 * self.amount:.10g} %" if self.relative else f"{self.amount:.10g}"


def percent(number: float) -> Tolerance:
    return Tolerance(number / 100, relative=True)


@dataclass(frozen=True)
class Rule:
    """One kind of number. `worse`: the tolerance of a new baseline. The widest a file may have is the larger of
    `widest` of the value and `widest_amount`. `noise`: how far an unchanged program's value may be elsewhere."""

    text: str
    worse: Tolerance
    widest: Tolerance
    widest_amount: float = 0.0
    whole: bool = True
    higher_is_better: bool = False
    noise: float = 0.0

    def default(self, value: float) -> Tolerance:
        """The tolerance of a new baseline, and of one whose tolerance nobody edited."""
        return self.worse if self.worse.of(value) >= self.noise else Tolerance(self.noise)

    def widest_of(self, value: float, precision: str) -> float:
        """The largest distance that a baseline may allow from `value`."""
        noise = TOLERANCES[precision] * NOISE_SHARE if self.noise else 0.0
        return max(self.widest.of(value), self.widest_amount, noise)


_GAP = Rule("what a search found over the least it could prove", percent(5), percent(50), whole=False)
_ERROR = Rule("max|err| / max|ref|", percent(100), percent(400), whole=False, noise=NOISE)
_ARGMAX = Rule(
    "share of rows whose largest element is in the same place",
    Tolerance(0.05), percent(0), 0.25, whole=False, higher_is_better=True,
)  # fmt: skip

RULES: Mapping[tuple[str, str], Rule] = {
    ("cost", "interval_cycles"): Rule("predicted cycles between two tokens", percent(2), percent(25)),
    ("cost", "latency_cycles"): Rule("predicted cycles of a lone token", percent(2), percent(25)),
    ("cost", "cores"): Rule("cores that run a program", percent(2), percent(25)),
    ("cost", "memory_peak_bytes"): Rule("bytes of the fullest core", percent(2), percent(25)),
    ("cost", "hottest_link_words"): Rule("words per token on the busiest link", percent(5), percent(50), 8),
    ("cost", "colours"): Rule("most colours in one router", Tolerance(1), percent(25), 2),
    ("solver", "interval_over_bound"): _GAP,
    ("solver", "wire_over_bound"): _GAP,
    ("measured", "first_token_cycles"): Rule("cycles until the first token is out", percent(2), percent(25)),
    ("measured", "cycles_per_token"): Rule("cycles per token, mean of the last half", percent(2), percent(25)),
    ("measured", "cycles"): Rule("cycles until nothing moves any more", percent(2), percent(25)),
    ("output", "error"): _ERROR,
    ("output", "argmax"): _ARGMAX,
    ("layer", "error"): _ERROR,
    ("layer", "share"): Rule("error of a kernel alone, of its derived bound", percent(50), percent(400), whole=False),
}


def rule_of(metric: Metric) -> Rule:
    """The rule of a metric that exists. Raises KeyError otherwise."""
    return RULES[metric.section, metric.name]


def rounded(value: float, rule: Rule) -> float:
    """A measured number as it is kept and compared: whole numbers as they are, others to four digits."""
    return float(round(value)) if rule.whole else float(f"{value:.3e}")
