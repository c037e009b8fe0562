"""What happens to elements: memory reads and writes with f16 conversion, arithmetic over short f32 vectors."""

from __future__ import annotations

from typing import Any

from runtime import mathlib
from runtime.encode import FN_BINARY, FN_MAP, FN_REDUCE
from runtime.jit import called, inlined
from runtime.mathlib import narrow, widen

ADD, SUB, MUL, DIV, MAX, MIN = (FN_BINARY[name] for name in ("add", "sub", "mul", "div", "max", "min"))
RSUM, RMAX = FN_REDUCE["rsum"], FN_REDUCE["rmax"]
NEG, ABS, EXP, LOG, SQRT, RSQRT, RECIPROCAL = (
    FN_MAP[name] for name in ("neg", "abs", "exp", "log", "sqrt", "rsqrt", "reciprocal")
)
RELU, TANH, SIGMOID, ERF, GELU_ERF = (FN_MAP[name] for name in ("relu", "tanh", "sigmoid", "erf", "gelu_erf"))

Int = Any  # inside compiled code: a 64-bit integer


@called
def read_memory(floats: Any, halves: Any, half: bool, first: Int, step: Int, out: Any) -> None:
    """out[i] = element first + i*step, widened if f16."""
    count = len(out)
    if half and step == 1:
        source16 = halves[first : first + count]
        for i in range(count):
            out[i] = widen(source16[i])
    elif half:
        for i in range(count):
            out[i] = widen(halves[first + i * step])
    elif step == 1:
        source = floats[first : first + count]
        for i in range(count):
            out[i] = source[i]
    else:
        for i in range(count):
            out[i] = floats[first + i * step]


@called
def write_memory(floats: Any, halves: Any, half: bool, first: Int, step: Int, values: Any) -> None:
    """element first + i*step = values[i], rounded if f16."""
    count = len(values)
    if half and step == 1:
        target16 = halves[first : first + count]
        for i in range(count):
            target16[i] = narrow(values[i])
    elif half:
        for i in range(count):
            halves[first + i * step] = narrow(values[i])
    elif step == 1:
        target = floats[first : first + count]
        for i in range(count):
            target[i] = values[i]
    else:
        for i in range(count):
            floats[first + i * step] = values[i]


@called
def axpy(floats: Any, halves: Any, half: bool, dst: Int, scale: Any, src: Int, count: Int) -> None:
    """floats[dst + i] += scale * (element src + i): the machine's inner loop."""
    target = floats[dst : dst + count]
    if half:
        source16 = halves[src : src + count]
        for i in range(count):
            target[i] += scale * widen(source16[i])
    else:
        source = floats[src : src + count]
        for i in range(count):
            target[i] += scale * source[i]


@called
def combine(fn: Int, a: Any, b: Any) -> None:
    """a[i] = a[i] op b[i]."""
    count = len(a)
    if fn == ADD:
        for i in range(count):
            a[i] += b[i]
    elif fn == SUB:
        for i in range(count):
            a[i] -= b[i]
    elif fn == MUL:
        for i in range(count):
            a[i] *= b[i]
    elif fn == DIV:
        for i in range(count):
            a[i] /= b[i]
    elif fn == MAX:
        for i in range(count):
            a[i] = mathlib.maximum(a[i], b[i])
    else:
        for i in range(count):
            a[i] = mathlib.minimum(a[i], b[i])


@inlined
def binary(fn: Int, a: Any, b: Any) -> Any:
    """a op b: what `combine` does to one element."""
    if fn == ADD:
        return a + b
    if fn == SUB:
        return a - b
    if fn == MUL:
        return a * b
    if fn == DIV:
        return a / b
    if fn == MAX:
        return mathlib.maximum(a, b)
    return mathlib.minimum(a, b)


@called
def fold(fn: Int, start: Any, a: Any) -> Any:
    if fn == RSUM:
        for i in range(len(a)):
            start += a[i]
    else:
        for i in range(len(a)):
            start = mathlib.maximum(start, a[i])
    return start


@called
def scalar_map(fn: Int, x: Any) -> Any:
    """One of the scalar library's routines."""
    if fn == NEG:
        return mathlib.neg(x)
    if fn == ABS:
        return mathlib.absolute(x)
    if fn == EXP:
        return mathlib.exp(x)
    if fn == LOG:
        return mathlib.log(x)
    if fn == SQRT:
        return mathlib.sqrt(x)
    if fn == RSQRT:
        return mathlib.rsqrt(x)
    if fn == RECIPROCAL:
        return mathlib.reciprocal(x)
    if fn == RELU:
        return mathlib.relu(x)
    if fn == TANH:
        return mathlib.tanh(x)
    if fn == SIGMOID:
        return mathlib.sigmoid(x)
    if fn == ERF:
        return mathlib.erf(x)
    if fn == GELU_ERF:
        return mathlib.gelu_erf(x)
    return mathlib.gelu_tanh(x)
