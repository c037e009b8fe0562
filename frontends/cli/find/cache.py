"""Which position of an attention core's cache seems to be wrong, from what the core made of it.

Let a core add w_p and w_p v_p for every position p that it keeps, as parts of the sums S and O of the head. If one
weight is wrong by a, what is sent is off by a and a v_p; if one value is wrong by u, by 0 and w_p u, for all tokens
from p on with the same u. The last core divides: if it sends y for O / S, then O - y S is a (y - v_p), or -w_p u.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from frontends.cli.find.stages import Why

Array = np.ndarray[Any, Any]

EXPLAINED = 1e-2  # what a cause may leave of the error


@dataclass(frozen=True)
class Share:
    """What one core adds for the tokens of a sequence, all relative to the head's maximum so far.

    `weights` [tokens, entries], `values` [entries, d] and `totals` [tokens] (S) as they should be, of `positions`
    [entries]; `error` [tokens, 1 + d] of sum and weighted sum as sent; of the last core O - y S [tokens, d], with y in
    `sent`.
    """

    positions: Array
    weights: Array
    values: Array
    totals: Array
    error: Array
    sent: Array | None

    def along(self, entry: int) -> Array:
        """Where the error of an entry's weight leads, [tokens, 1 or d]."""
        value = self.values[entry]
        return np.concatenate([[1.0], value])[None] if self.sent is None else self.sent - value

    @property
    def of_values(self) -> Array:
        """The error of the weighted sum [tokens, d]."""
        return self.error[:, 1:] if self.sent is None else -self.error


@dataclass(frozen=True)
class _Cause:
    entry: int
    rest: float  # what is left of the error
    text: str


def wrong_position(share: Share, token: int, core: str) -> Why | None:
    """The one position that explains the errors of all tokens, by its weight (its key is wrong, or it was left out) or
    by its value; None if none does, or several do."""
    with np.errstate(all="ignore"):
        size = float(np.linalg.norm(share.error))
        if not np.isfinite(size) or size == 0:
            return None
        causes = [make(share, entry, token) for entry in range(len(share.positions)) for make in (_weight, _value)]
    good = [cause for cause in causes if cause.rest < EXPLAINED * size]
    if len({cause.entry for cause in good}) != 1:
        return None
    best = min(good, key=lambda cause: cause.rest)
    return Why("cache", f"as if of {core} position {share.positions[best.entry]} {best.text}")


def _weight(share: Share, entry: int, token: int) -> _Cause:
    """A weight of each token's own."""
    along = share.along(entry)
    off = np.sum(share.error * along, axis=-1) / np.sum(along * along, axis=-1)
    off[: share.positions[entry]] = 0  # these come before it
    rest = float(np.linalg.norm(share.error - off[:, None] * along))
    as_sent = share.weights[:, entry] + off
    should, has = (float(weights[token] / share.totals[token]) for weights in (share.weights[:, entry], as_sent))
    if np.linalg.norm(as_sent) < EXPLAINED * np.linalg.norm(off):
        return _Cause(entry, rest, f"were left out, which has {should:.4g} of the weight there")
    return _Cause(entry, rest, f"had {has:.4g} of the weight there, not {should:.4g}: its key is wrong, or its score")


def _value(share: Share, entry: int, _: int) -> _Cause:
    """A value that is wrong in the same way for all tokens, of which there must be several."""
    weights = share.weights[:, entry, None]
    wrong = share.of_values
    if np.count_nonzero(np.any(wrong != 0, axis=-1) & (weights[:, 0] > 0)) < 2:
        return _Cause(entry, np.inf, "")
    off = np.sum(wrong * weights, axis=0) / np.sum(weights * weights)
    by_value = weights * off
    explained = -by_value if share.sent is not None else np.concatenate([0 * weights, by_value], axis=-1)
    rest = float(np.linalg.norm(share.error - explained))
    element = int(np.argmax(np.abs(off)))
    should = float(share.values[entry, element])
    has = should + float(off[element])
    return _Cause(entry, rest, f"had the value {has:.5g}, not {should:.5g}, at element {element}")
