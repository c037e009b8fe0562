"""Attention: the cores of one head. The feeder sends a token on to the others; each of these forms its partial of the
cache it keeps, and merges it with what comes along their chain; the last one divides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compiler.flow_interpreter import sequence
from compiler.kernels.attention import Attention
from compiler.kernels.base import BROADCAST_IN, BROADCAST_OUT, CHAIN_IN, CHAIN_OUT, STREAM_OUT
from compiler.running_error import Near
from frontends.cli.find.cache import Share, wrong_position
from frontends.cli.find.stages import Stage, Why, Work, Wrong, by_number, passes_on
from runtime.isa import Dtype

Array = np.ndarray[Any, Any]


def head_stages(work: Work, made: Attention, head: int) -> list[Stage]:
    """Of the feeder, then of the cores that keep the cache, along their chain."""
    d, spread = made.head_dim, made.spread
    token = work.given[0][..., 3 * d * head : 3 * d * (head + 1)]
    r, c = made.core(head, 0)
    place = f"which feeds the {spread} others of head {head}"
    stages = [Stage(r, c, BROADCAST_OUT, 3 * d, True, place, lambda _: passes_on(token))]
    for number in range(spread):
        r, c = made.core(head, 1 + number)
        keeper = Keeper(made, number, work.given[0].shape)
        place = f"{1 + number} of {spread} that keep the cache of head {head}"
        last = number == spread - 1
        hears = ((0, BROADCAST_IN), *(((number, CHAIN_IN),) if number else ()))
        queue, words = (STREAM_OUT, d) if last else (CHAIN_OUT, 2 + d)
        named = by_number if last else _part
        stages.append(Stage(r, c, queue, words, last, place, keeper.step, hears, named, keeper.why))
    return stages


def _part(element: int) -> str:
    return ("the maximum", "the sum of weights")[element] if element < 2 else f"element {element - 2} of the sum"


@dataclass(frozen=True)
class Token:
    """What a core heard of all tokens, as it keeps it: q (scaled), k, v [sequences, positions, d]."""

    q: Array
    k: Array
    v: Array


@dataclass(frozen=True)
class Partial:
    """Of softmax over some positions: maximum and sum of weights [sequences, positions, 1], and the weighted sum of
    values [sequences, positions, d]."""

    maximum: Near
    total: Near
    out: Near


@dataclass(frozen=True)
class Keeper:
    """The core that keeps positions `number`, `number` + spread, ... of a head; `shape` is that of the stream.

    Computes as the kernel's program does, instruction by instruction, for all tokens at once.
    """

    made: Attention
    number: int
    shape: tuple[int, ...]

    @property
    def _last(self) -> bool:
        return self.number == self.made.spread - 1

    def step(self, heard: Sequence[Array]) -> tuple[Array, Array]:
        with np.errstate(all="ignore"):
            merged = self.merged(heard)
            if self._last:
                y = merged.out * merged.total.reciprocal()
                return self._shaped(y.value), self._shaped(y.error)
            parts = [np.broadcast_arrays(n.value, n.error) for n in (merged.maximum, merged.total, merged.out)]
            values, errors = (np.concatenate([part[i] for part in parts], axis=-1) for i in (0, 1))
            return self._shaped(values), self._shaped(errors)

    def why(self, wrong: Wrong) -> Why | None:
        """The position that explains it, from the sequence of the worst token."""
        rest, seq = int(np.ravel_multi_index(wrong.at[:-1], self.shape[:-1])), sequence(np.empty(self.shape))
        with np.errstate(all="ignore"):
            return wrong_position(self._share(wrong, rest // seq), rest % seq, "the cache here")

    def _share(self, wrong: Wrong, row: int) -> Share:
        token = self.token(wrong.heard)
        weights, own = self.own(token)
        top = self.merged(wrong.heard).maximum.value
        entries = weights.value * np.exp(own.maximum.value - top)
        values = token.v[:, self.positions(token)]
        sums = np.concatenate([entries.sum(axis=-1, keepdims=True), entries @ values], axis=-1)
        if len(wrong.heard) > 1:
            before = self.before(wrong.heard)
            coming = np.concatenate([before.total.value, before.out.value], axis=-1)
            sums = sums + coming * np.exp(before.maximum.value - top)
        sent = self.rows(wrong.sent.astype(np.float64))
        if self._last:
            error = sums[..., 1:] - sent * sums[..., :1]
        else:
            error = sent[..., 1:] * np.exp(sent[..., :1] - top) - sums
        answer = sent[row] if self._last else None
        return Share(self.positions(token), entries[row], values[row], sums[row, :, 0], error[row], answer)

    def _shaped(self, values: Array) -> Array:
        return values.reshape(*self.shape[:-1], values.shape[-1])

    def rows(self, words: Array) -> Array:
        """[sequences, positions, words]."""
        return words.reshape(-1, sequence(words), words.shape[-1])

    def token(self, heard: Sequence[Array]) -> Token:
        d, pieces = self.made.head_dim, self.made.pieces
        words = self.rows(heard[0])
        parts = words.reshape(*words.shape[:2], pieces, 3, d // pieces).transpose(3, 0, 1, 2, 4)
        q, k, v = parts.reshape(3, *words.shape[:2], d)
        scaled = (q * np.float64(np.float32(self.made.scale))).astype(np.float32)
        return Token(*(self._kept(x) for x in (scaled, k, v)))

    def _kept(self, x: Array) -> Array:
        """As the cores store it."""
        half = self.made.storage is Dtype.F16
        return x.astype(np.float32).astype(np.float16 if half else np.float32).astype(np.float64)

    def positions(self, token: Token) -> Array:
        """Those this core keeps."""
        return np.arange(self.number, token.k.shape[1], self.made.spread)

    def own(self, token: Token) -> tuple[Near, Partial]:
        """Weights [sequences, positions, entries] relative to the core's own maximum, and the core's partial of them:
        (-inf, 0, 0) while it has no entry."""
        at = self.positions(token)
        seen = at <= np.arange(token.q.shape[1])[:, None]
        scores = Near.exact(token.q) @ Near.exact(token.k[:, at].swapaxes(-1, -2))
        scores = Near(np.where(seen, scores.value, -np.inf), np.where(seen, scores.error, 0))
        maximum = Near(
            scores.value.max(axis=-1, keepdims=True, initial=-np.inf),
            scores.error.max(axis=-1, keepdims=True, initial=0),
        )
        some = np.isfinite(maximum.value)
        weights = (scores - Near(np.where(some, maximum.value, 0), maximum.error)).exp()
        weights = Near(weights.value, np.where(seen, weights.error, 0))
        if self.made.storage is Dtype.F16:
            weights = weights.half()
        return weights, Partial(maximum, weights.sum(), weights @ Near.exact(token.v[:, at]))

    def merged(self, heard: Sequence[Array]) -> Partial:
        """The core's own partial with that of the cores before, which is never empty: position 0 is the first's."""
        _, own = self.own(self.token(heard))
        if len(heard) == 1:
            return own
        before = self.before(heard)
        top = own.maximum.maximum(before.maximum)
        ours, theirs = ((part.maximum - top).exp() for part in (own, before))
        return Partial(top, own.total * ours + before.total * theirs, own.out * ours + before.out * theirs)

    def before(self, heard: Sequence[Array]) -> Partial:
        """What came along the chain."""
        words = self.rows(heard[1])
        return Partial(*(Near.exact(words[..., part]) for part in (slice(0, 1), slice(1, 2), slice(2, None))))
