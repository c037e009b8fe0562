"""The fp32 scalar library of the cores, and fp16 conversion.

Only fp32 add, subtract, multiply, divide, square root, comparisons and exact bit operations are used: all are correctly
rounded by IEEE 754 and nothing is fused, so a result has the same bits on every host. Errors against the real function
are at most 3 units in the last place unless a docstring says otherwise; `log(x<0)` and `sqrt(x<0)` are NaN, and NaN in
gives NaN out. The polynomials are our own minimax fits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from runtime.jit import called, inlined

F = np.float32
ZERO, HALF, ONE, TWO = F(0), F(0.5), F(1), F(2)
INF, NAN = F(np.inf), F(np.nan)


@intrinsic  # type: ignore[untyped-decorator]
def bits(typingctx: Any, x: Any) -> Any:
    """The i32 with the bits of an f32."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(32))

    return types.int32(types.float32), codegen


@intrinsic  # type: ignore[untyped-decorator]
def from_bits(typingctx: Any, x: Any) -> Any:
    """The f32 with the bits of an i32."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), codegen


@inlined
def widen(h: Any) -> Any:
    """The f32 equal to the f16 with bits `h` (uint16). Without branches, so that loops over it become SIMD."""
    magnitude = np.int32(h & 0x7FFF)
    sign = np.int32((h & 0x8000) << 16)
    normal = (magnitude << 13) + 0x38000000
    # 0.5 + magnitude * 2**-24 has the magnitude in its lowest bits: exact for subnormals.
    subnormal = bits(from_bits(np.int32(magnitude | 0x3F000000)) - HALF)
    special = (magnitude << 13) | 0x7F800000
    value = special if magnitude >= 0x7C00 else (normal if magnitude >= 0x400 else np.int64(subnormal))
    return from_bits(np.int32(value | sign))


@inlined
def narrow(x: Any) -> Any:
    """The bits (uint16) of the f16 nearest to `x`, ties to even; overflow gives infinity, NaN stays NaN."""
    word = bits(x)
    magnitude = word & 0x7FFFFFFF
    sign = (word >> 16) & 0x8000
    normal = (magnitude - 0x38000000 + 0xFFF + ((magnitude >> 13) & 1)) >> 13
    # Adding 0.5 rounds to a multiple of 2**-24, the f16 subnormal step.
    subnormal = np.int64(bits(from_bits(np.int32(magnitude)) + HALF)) - 0x3F000000
    special = 0x7E00 if magnitude > 0x7F800000 else 0x7C00
    value = special if magnitude >= 0x47800000 else (normal if magnitude >= 0x38800000 else subnormal)
    return np.uint16(value | sign)


@inlined
def maximum(a: Any, b: Any) -> Any:
    """The larger; NaN if either is."""
    return a if (a > b or a != a) else b


@inlined
def minimum(a: Any, b: Any) -> Any:
    """The smaller; NaN if either is."""
    return a if (a < b or a != a) else b


@inlined
def neg(x: Any) -> Any:
    return -x


@inlined
def absolute(x: Any) -> Any:
    return from_bits(np.int32(bits(x) & 0x7FFFFFFF))


@inlined
def relu(x: Any) -> Any:
    return ZERO if x <= ZERO else x


@inlined
def sqrt(x: Any) -> Any:
    """Correctly rounded."""
    return np.sqrt(x)


@inlined
def reciprocal(x: Any) -> Any:
    """Correctly rounded."""
    return ONE / x


@inlined
def rsqrt(x: Any) -> Any:
    return ONE / np.sqrt(x)


LOG2E, LN2_HIGH, LN2_LOW = F(1.4426950408889634), F(0.693359375), F(-2.12194440e-4)  # HIGH * n is exact for |n| < 2**15
ROUNDER = F(12582912.0)  # 1.5 * 2**23: adding and subtracting it rounds to an integer
EXP_MAX, EXP_MIN = F(88.72284), F(-103.98)  # beyond: infinity, zero
E2, E3, E4, E5, E6, E7 = F(0.5), F(0.16666667), F(0.041666254), F(0.008333263), F(0.0013947225), F(0.0001991938)


@called
def exp(x: Any) -> Any:
    if x != x:
        return x
    if x > EXP_MAX:
        return INF
    if x < EXP_MIN:
        return ZERO
    n = (x * LOG2E + ROUNDER) - ROUNDER
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    tail = r * r * (E2 + r * (E3 + r * (E4 + r * (E5 + r * (E6 + r * E7)))))
    y = ONE + (r + tail)
    # Two exact scalings reach subnormal results with one rounding.
    exponent = np.int32(n)
    first = exponent >> 1
    return y * from_bits(np.int32((first + 127) << 23)) * from_bits(np.int32((exponent - first + 127) << 23))


SMALLEST_NORMAL, SUBNORMAL_SCALE, SUBNORMAL_SHIFT = F(2.0**-126), F(2.0**25), F(25)
SQRT_HALF_BITS = int(np.float32(0.70710678).view(np.int32))
L3, L4, L5, L6, L7 = F(0.3333331), F(-0.24999987), F(0.20002227), F(-0.16669251), F(0.14218658)
L8, L9, L10, L11 = F(-0.12384348), F(0.11872976), F(-0.11789808), F(0.06915368)


@called
def log(x: Any) -> Any:
    if x < ZERO or x != x:
        return NAN
    if x == ZERO:
        return -INF
    if x == INF:
        return x
    shift = ZERO
    if x < SMALLEST_NORMAL:
        x, shift = x * SUBNORMAL_SCALE, SUBNORMAL_SHIFT
    word = bits(x)
    exponent = (word - SQRT_HALF_BITS) >> 23
    n = F(exponent) - shift
    f = from_bits(np.int32(word - (exponent << 23))) - ONE  # in [sqrt(1/2) - 1, sqrt(2) - 1]
    high = f * (L8 + f * (L9 + f * (L10 + f * L11)))
    cubic = f * f * f * (L3 + f * (L4 + f * (L5 + f * (L6 + f * (L7 + high)))))
    return (f + (cubic + n * LN2_LOW - HALF * (f * f))) + n * LN2_HIGH


@called
def sigmoid(x: Any) -> Any:
    if x >= ZERO:
        return ONE / (ONE + exp(-x))
    e = exp(x)
    return e / (ONE + e)


TANH_SMALL, TANH_ONE = F(0.625), F(9.02)
T3, T5, T7, T9, T11 = F(-0.33333284), F(0.13331491), F(-0.053743497), F(0.020650579), F(-0.005717037)


@called
def tanh(x: Any) -> Any:
    a = absolute(x)
    if a < TANH_SMALL:
        z = x * x
        return x + x * (z * (T3 + z * (T5 + z * (T7 + z * (T9 + z * T11)))))
    y = ONE if a > TANH_ONE else ONE - TWO / (exp(TWO * a) + ONE)
    y = x if x != x else y
    return -y if x < ZERO else y


ERF_SMALL, ERF_ONE, ERFC_ZERO = F(0.9), F(3.95), F(10.1)
P1, P3, P5, P7 = F(0.12837917), F(-0.37612635), F(0.112837166), F(-0.02686055)
P9, P11, P13 = F(0.0052039004), F(-0.0008175476), F(8.509964e-05)
Q0, Q1, Q2, Q3, Q4 = F(-5.230652e-06), F(0.28222921), F(0.28065854), F(0.25500578), F(0.15050682)
Q5, Q6, Q7, Q8 = F(0.12254153), F(0.0013476926), F(-0.16695368), F(0.07503606)


@called
def erf_near(x: Any) -> Any:
    """erf for |x| < ERF_SMALL."""
    z = x * x
    return x + x * (P1 + z * (P3 + z * (P5 + z * (P7 + z * (P9 + z * (P11 + z * P13))))))


@called
def erfc_far(x: Any) -> Any:
    """1 - erf(x) for x >= ERF_SMALL, as exp(-x*x) times a polynomial in 1 / (1 + x/2)."""
    if x > ERFC_ZERO:
        return ZERO
    t = ONE / (ONE + HALF * x)
    high = t * (Q5 + t * (Q6 + t * (Q7 + t * Q8)))
    return exp(-(x * x)) * (Q0 + t * (Q1 + t * (Q2 + t * (Q3 + t * (Q4 + high)))))


@called
def erf(x: Any) -> Any:
    a = absolute(x)
    if a < ERF_SMALL:
        return erf_near(x)
    y = ONE if a > ERF_ONE else ONE - erfc_far(a)
    y = x if x != x else y
    return -y if x < ZERO else y


SQRT_HALF = F(0.7071067811865476)


@called
def gelu_erf(x: Any) -> Any:
    """x/2 * (1 + erf(x / sqrt(2))), within 1.5e-7 * |x|."""
    z = x * SQRT_HALF
    a = absolute(z)
    if a < ERF_SMALL:
        return HALF * x * (ONE + erf_near(z))
    if x != x:
        return x
    half_tail = HALF * erfc_far(a)
    if x > ZERO:
        return x - x * half_tail if half_tail > ZERO else x
    return x * half_tail if half_tail > ZERO else -ZERO


SQRT_8_OVER_PI, GELU_CUBIC, GELU_MIN = F(1.5957691216057308), F(0.044715), F(-20.0)


@called
def gelu_tanh(x: Any) -> Any:
    """x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3))) within 1.5e-7 * |x|, as x * sigmoid of twice the argument."""
    if x < GELU_MIN:
        return -ZERO
    return x * sigmoid(SQRT_8_OVER_PI * (x + GELU_CUBIC * (x * x * x)))
