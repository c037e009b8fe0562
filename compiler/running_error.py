"""Values beside bounds of how far fp32 may be from them: running error analysis (Higham, Accuracy and Stability of
Numerical Algorithms, section 3.3).

Write a computation with `Near` as a core does it, an operation for every instruction, and the result says what comes
out if nothing is rounded, and how far the core's fp32 words may be from that, for these very operands. Every bound
carries the errors of both operands in full and adds one rounding of what is rounded, at most `U` of it, or below fp32's
normal numbers `SUBNORMAL`. Values are fp64, whose own rounding is 2^-29 of that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from compiler.bounds import ROUTINE, Array, U

SUBNORMAL = 2.0**-150  # the rounding error of an fp32 subnormal


@dataclass(frozen=True)
class Near:
    """An fp32 array that is within `error` of `value`, elementwise; both fp64 arrays that broadcast."""

    value: Array
    error: Array

    @staticmethod
    def exact(value: Array | float) -> Near:
        """What is there as it is: a word that was received, or an element of memory."""
        exact = np.asarray(value, np.float64)
        return Near(exact, np.zeros(exact.shape))

    @staticmethod
    def constant(value: Array | float) -> Near:
        """What the compiler rounded to fp32."""
        return Near.exact(value)._rounded()

    def __add__(self, other: Near) -> Near:
        return Near(self.value + other.value, self.error + other.error)._rounded()

    def __sub__(self, other: Near) -> Near:
        return Near(self.value - other.value, self.error + other.error)._rounded()

    def __mul__(self, other: Near) -> Near:
        a, b = np.abs(self.value), np.abs(other.value)
        error = self.error * b + other.error * a + self.error * other.error
        return Near(self.value * other.value, error)._rounded()

    def __matmul__(self, other: Near) -> Near:
        """Sums of products from 0 on, in any order."""
        a, b = np.abs(self.value), np.abs(other.value)
        rounded = self.value.shape[-1] + 1
        gamma = rounded * U / (1 - rounded * U)
        error = self.error @ (b + other.error) + a @ other.error
        error += gamma * ((a + self.error) @ (b + other.error)) + rounded * SUBNORMAL
        return Near(self.value @ other.value, error)

    def maximum(self, other: Near) -> Near:
        """The larger one. No error of one that cannot be the larger counts."""
        value = np.maximum(self.value, other.value)
        high = np.maximum(self.value + self.error, other.value + other.error)
        low = np.maximum(self.value - self.error, other.value - other.error)
        return Near(value, _between(low, value, high))

    def sum(self, axis: int = -1) -> Near:
        """From 0 on, element after element along an axis, which stays with length 1."""
        count = self.value.shape[axis]
        gamma = count * U / (1 - count * U)
        sizes = np.sum(np.abs(self.value) + self.error, axis=axis, keepdims=True)
        error = np.sum(self.error + np.zeros(self.value.shape), axis=axis, keepdims=True)
        return Near(self.value.sum(axis=axis, keepdims=True), error + gamma * sizes)

    def exp(self) -> Near:
        """By the library routine; of minus infinity it is 0."""
        value = np.exp(self.value)
        return Near(value, _times(value, np.expm1(self.error)))._routine()

    def reciprocal(self) -> Near:
        """Infinitely far off if the divisor may be 0."""
        least = np.abs(self.value) - self.error
        with np.errstate(divide="ignore", invalid="ignore"):
            error = np.where(least > 0, self.error / (np.abs(self.value) * least), np.inf)
            return Near(1 / self.value, error)._rounded()

    def rsqrt(self) -> Near:
        """One over the square root, of which both are rounded. Infinitely far off if the operand may be 0."""
        least = self.value - self.error
        with np.errstate(divide="ignore", invalid="ignore"):
            value = 1 / np.sqrt(self.value)
            error = np.where(least > 0, 1 / np.sqrt(least) - value, np.inf)
        return Near(value, error)._rounded()._rounded()

    def half(self) -> Near:
        """Stored in fp16. Rounding is monotonous, so it is known which fp16 numbers may come out: mostly one."""
        with np.errstate(over="ignore"):
            low, value, high = (
                x.astype(np.float16).astype(np.float64)
                for x in (self.value - self.error, self.value, self.value + self.error)
            )
        return Near(value, _between(low, value, high))

    def _rounded(self) -> Near:
        with np.errstate(invalid="ignore"):
            size = np.abs(self.value) + self.error
            own = np.where(np.isfinite(self.value), U * size + SUBNORMAL, 0)
        return Near(self.value, self.error + own)

    def _routine(self) -> Near:
        return Near(self.value, self.error + ROUTINE * (np.abs(self.value) + self.error) + 2 * SUBNORMAL)


def _between(low: Array, value: Array, high: Array) -> Array:
    """How far what lies between `low` and `high` may be from the value; infinities that are equal are not apart."""
    with np.errstate(invalid="ignore"):
        return np.maximum(np.where(high == value, 0, high - value), np.where(low == value, 0, value - low))


def _times(value: Array, factor: Array) -> Array:
    """Their product, where 0 makes all 0."""
    with np.errstate(invalid="ignore"):
        return np.where(value == 0, 0, value * factor)
