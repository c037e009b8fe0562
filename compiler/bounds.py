"""How far a correct implementation of an op may be from another: bounds derived from its actual operands, no tuning.

u = 2^-24 and s = 2^-11 are the unit roundoffs of fp32 and fp16, gamma(n) = n u / (1 - n u) bounds n roundings in a row
(Higham, Accuracy and Stability of Numerical Algorithms, ch. 3; mixed precision: Blanchard, Higham, Lopez, Mary and
Pranesh, SIAM J. Sci. Comput. 42(3), 2020). For y = x w, a sum of n products of fp16-rounded operands accumulated in
fp32 in any order:

    |error| <= (2 s + s^2 + gamma(n) (1 + 2 s)) |x| |w|

evaluated on the |x| |w| of this very token, so it knows about shapes and scales. Here are the formulas for each kind of
op; `compiler.flow_bounds` and `compiler.graph_bounds` apply them to ops. An error `e` that an operand has already is
carried through to first order. Everything is elementwise; infinity means that no bound is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

U = 2.0**-24
S = 2.0**-11
TINY = 2.0**-25  # the rounding error of an fp16 subnormal
ROUTINE = 8 * U  # relative: 3 units in the last place (see `runtime.mathlib`), and one rounding of the argument


@dataclass(frozen=True)
class Rounding:
    """What differs between the two sides. `sides`: how many of them compute in fp32, the others being exact.

    `half`: one side rounds stored operands to fp16, the other does not. `machine`: one side is the machine, and both
    round. It adds up tile by tile, so a term passes fewer additions than there are terms; and what is rounded to fp16
    inside the op (softmax weights) differs in its last bits, and so may come out a unit apart.
    """

    sides: int = 1
    half: bool = False
    machine: bool = False
    storage: bool = False  # of the op: fp16

    @property
    def stored(self) -> float:
        """Relative error of an operand for being stored."""
        return S if self.half else 0.0

    @property
    def tiny(self) -> float:
        """Absolute error of an operand for being stored, near zero."""
        return TINY if self.half else 0.0

    def gamma(self, count: int) -> float:
        """Of `count` fp32 roundings in a row, on every side that rounds."""
        return self.sides * count * U / (1 - count * U)

    @property
    def one(self) -> float:
        """Of a single fp32 rounding."""
        return self.sides * U


def product(length: int, rounding: Rounding) -> float:
    """The factor of |x| |w| in the error of a dot product of `length` with as many additions."""
    s = rounding.stored
    return 2 * s + s * s + rounding.gamma(length) * (1 + 2 * s)


# Functions of one value with the largest slope each has anywhere. gelu: 1.129 at sqrt(2), its tanh form 1.1294.
SLOPES = {
    "neg": 1.0,
    "abs": 1.0,
    "relu": 1.0,
    "tanh": 1.0,
    "sigmoid": 0.25,
    "erf": 1.1284,
    "gelu_erf": 1.13,
    "gelu_tanh": 1.13,
}
EXACT = ("neg", "abs", "relu")
# Their value is the argument times a factor that may be the small difference of two ones: the error is absolute.
SCALED_BY_ARGUMENT = ("gelu_erf", "gelu_tanh")


def unary(fn: str, size: Array, y: Array, e: Array, rounding: Rounding) -> Array:
    """Of y = fn(x), where `size` bounds |x| and `e` the error of x."""
    if fn not in SLOPES and np.any(e):
        return np.full(np.shape(y), np.inf)
    if fn in EXACT:
        return np.asarray(e)
    scale = size if fn in SCALED_BY_ARGUMENT else np.abs(y)
    return np.asarray(SLOPES.get(fn, 0.0) * e + rounding.sides * ROUTINE * scale)


def binary(fn: str, a: Array, b: Array, y: Array, errors: tuple[Array, Array], rounding: Rounding) -> Array:
    """Of y = a fn b, elementwise."""
    ea, eb = errors
    own = rounding.one * np.abs(y)
    if fn in ("add", "sub"):
        return np.asarray(ea + eb + own)
    if fn == "mul":
        return np.asarray(ea * np.abs(b) + eb * np.abs(a) + ea * eb + own)
    if fn in ("max", "min"):
        return np.maximum(ea, eb) + np.zeros_like(own)
    if np.any(ea) or np.any(eb):
        return np.full(np.shape(y), np.inf)
    return own if fn == "div" else np.asarray(rounding.sides * ROUTINE * np.abs(y))


def layer_norm(x: Array, e: Array, y: Array, scale: Array, bias: Array, epsilon: float, rounding: Rounding) -> Array:
    """Of y = (x - mean) / sqrt(variance + epsilon) * scale + bias over the last axis."""
    n = x.shape[-1]
    centred = np.abs(x - x.mean(axis=-1, keepdims=True))
    mean_error = rounding.gamma(n + 4) * _mean(np.abs(x)) + _mean(e)
    error = rounding.one * centred + mean_error + e
    variance = _mean(centred * centred) + epsilon
    moved = 2 * _mean(centred * (e + mean_error)) + _mean((e + mean_error) ** 2)
    relative = 0.5 * (rounding.gamma(2 * n + 20) + moved / variance) + rounding.sides * ROUTINE
    factor = np.abs(scale) / np.sqrt(variance)
    whole = error * (1 + relative) + centred * (relative + 3 * rounding.one)
    return np.asarray(factor * whole + 2 * rounding.one * (np.abs(y) + np.abs(bias)))


def _mean(values: Array) -> Array:
    return np.asarray(np.mean(values, axis=-1, keepdims=True))


def attention(
    qkv: tuple[Array, Array, Array], errors: tuple[Array, Array, Array], scale: float, causal: bool, spread: int,
    rounding: Rounding,
) -> Array:  # fmt: skip
    """Of softmax(scale q k^T) v for one head, [positions, head_dim] each; partials of `spread` cores are merged.

    A score's error is a factor of its weight, and of the sum all weights are divided by.
    """
    (q, k, v), (eq, ek, ev) = (tuple(a.astype(np.float64) for a in three) for three in (qkv, errors))
    d, seq = q.shape[-1], len(q)
    seen = np.tri(seq, dtype=np.bool_) if causal else np.ones((seq, seq), np.bool_)
    scores = np.where(seen, scale * (q @ k.T), -np.inf)
    p = np.exp(scores - scores.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    size = abs(scale) * (np.abs(q) @ np.abs(k).T)
    off = product(d + 4, rounding) * size
    off += abs(scale) * (eq @ np.abs(k).T + np.abs(q) @ ek.T + eq @ ek.T)
    off += rounding.tiny * (np.abs(k).sum(axis=-1) + abs(scale) * np.abs(q).sum(axis=-1)[:, None] + d * rounding.tiny)
    worst = np.where(seen, off + 2 * rounding.one * size, 0).max(axis=-1, keepdims=True)
    flips = 2 * S if rounding.machine and rounding.storage else 0.0
    merges = rounding.gamma(8 * spread) if spread > 1 else 0.0
    with np.errstate(over="ignore"):  # an error of hundreds in a score bounds nothing
        relative = 2 * np.expm1(2 * worst)
    relative = relative + 2 * (rounding.stored + flips) + 2 * rounding.sides * ROUTINE
    relative = relative + 2 * rounding.gamma(seq + 8) + merges
    near_zero = TINY if rounding.storage else 0.0
    result = (p @ np.abs(v)) * relative + p @ (ev + rounding.stored * np.abs(v) + rounding.tiny)
    return np.asarray(result + 2 * near_zero * (seen @ np.abs(v)))
