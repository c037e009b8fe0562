"""Rectangle, time and memory of a kernel with given arguments, exactly, by the formulas of the ISPD 2020 contest.

M. James et al., "ISPD 2020 Physical Mapping of Neural Networks on a Wafer-Scale Deep Learning Accelerator". A
convolution with formal arguments H W R S C K T, executed with h w c k, has

    height = h * w * (c + 1)        width = 3 * k
    time   = ceil(H/h) * ceil(W/w) * ceil(C/c) * ceil(K/k) * R * S / T^2
    memory = C/c * K/k * R * S + (W+S-1)/w * (H+R-1)/h * K/k            (words of a tile; real division)

A block is convolutions side by side that share h and w: height, time and memory are the largest, width is the sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Conv:
    """Formal arguments. H and W are fractions, since a cblock halves them."""

    H: Fraction
    W: Fraction
    R: int
    S: int
    C: int
    K: int
    T: int


@dataclass(frozen=True)
class Cost:
    """Size in tiles before turning, time in cycles, memory in words."""

    width: int
    height: int
    time: Fraction
    memory: Fraction


def convolutions(kind: str, formal: Sequence[int]) -> list[Conv]:
    """The convolutions of `conv` (H W C K R S T U), `dblock` or `cblock` (H W F), left to right."""
    H, W = Fraction(formal[0]), Fraction(formal[1])
    if kind == "conv":
        C, K, R, S, T = formal[2:7]
        return [Conv(H, W, R, S, C, K, T)]
    F = formal[2]
    if kind == "dblock":
        return [Conv(H, W, 1, 1, F, F // 4, 1), Conv(H, W, 3, 3, F // 4, F // 4, 1), Conv(H, W, 1, 1, F // 4, F, 1)]
    return [
        Conv(H, W, 1, 1, F // 2, F // 4, 1),
        Conv(H, W, 3, 3, F // 4, F // 4, 2),
        Conv(H / 2, W / 2, 1, 1, F // 4, F, 1),
        Conv(H, W, 1, 1, F // 2, F, 2),
    ]


def cost(kind: str, formal: Sequence[int], h: int, w: int, cs: Sequence[int], ks: Sequence[int]) -> Cost:
    """What a kernel costs with these execution arguments, one c and one k a convolution."""
    parts = list(zip(convolutions(kind, formal), cs, ks, strict=True))
    return Cost(
        sum(3 * k for k in ks),
        max(h * w * (c + 1) for c in cs),
        max(_time(conv, h, w, c, k) for conv, c, k in parts),
        max(_memory(conv, h, w, c, k) for conv, c, k in parts),
    )


def _time(v: Conv, h: int, w: int, c: int, k: int) -> Fraction:
    return Fraction(_up(v.H / h) * _up(v.W / w) * _up(Fraction(v.C, c)) * _up(Fraction(v.K, k)) * v.R * v.S, v.T**2)


def _memory(v: Conv, h: int, w: int, c: int, k: int) -> Fraction:
    weights = Fraction(v.C, c) * Fraction(v.K, k) * v.R * v.S
    inputs = (v.W + v.S - 1) / w * ((v.H + v.R - 1) / h) * Fraction(v.K, k)
    return weights + inputs


def _up(x: Fraction) -> int:
    return -(-x.numerator // x.denominator)
