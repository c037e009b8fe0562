"""Elementwise arithmetic as polynomials, so that a formula matches however its exporter spelled it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isclose

from compiler.dialects import graph
from compiler.ir.core import Op, Value
from compiler.passes.patterns import producer, scalar, unwrap_casts
from compiler.resources import ResourceStore

# Exponents of the variables -> coefficient: 2*x*t + 3 over (x, t) is {(1, 1): 2, (0, 0): 3}.
Polynomial = Mapping[tuple[int, ...], float]

MAX_DEPTH = 8  # ops between a formula's root and its variables; the longest known (tanh GELU) has 7
MAX_POWER = 4


def polynomial(
    value: Value, variables: Sequence[Value], resources: ResourceStore, depth: int = MAX_DEPTH
) -> Polynomial | None:
    """`value` as a polynomial in `variables`, or None if it is anything else. Float casts count as nothing."""
    value = unwrap_casts(value)
    if value in variables:
        return {tuple(int(value is variable) for variable in variables): 1.0}
    number = scalar(value, resources)
    if number is not None:
        return {(0,) * len(variables): number}
    op = value.op
    if op is None or depth == 0:
        return None
    if producer(value, graph.unary_def, "neg"):
        inner = polynomial(op.operands[0], variables, resources, depth - 1)
        return None if inner is None else _scaled(inner, -1.0)
    if not graph.binary_def.matches(op):
        return None
    a, b = (polynomial(operand, variables, resources, depth - 1) for operand in op.operands)
    return None if a is None or b is None else _combined(op, a, b)


def same_polynomial(p: Polynomial | None, q: Polynomial, tolerance: float) -> bool:
    """Have `p` and `q` the same terms, with coefficients within the relative `tolerance`?"""
    return p is not None and p.keys() == q.keys() and all(isclose(p[key], q[key], rel_tol=tolerance) for key in p)


def _combined(op: Op, a: Polynomial, b: Polynomial) -> Polynomial | None:
    number = _number(b)
    match op.attrs["fn"]:
        case "add":
            return _sum(a, b)
        case "sub":
            return _sum(a, _scaled(b, -1.0))
        case "mul":
            return _product(a, b)
        case "div" if number:
            return _scaled(a, 1.0 / number)
        case "pow" if number is not None and number in range(1, MAX_POWER + 1):
            result = a
            for _ in range(int(number) - 1):
                result = _product(result, a)
            return result
    return None


def _number(p: Polynomial) -> float | None:
    """The value of a polynomial without variables."""
    return next(iter(p.values())) if len(p) == 1 and not any(next(iter(p))) else None


def _scaled(p: Polynomial, factor: float) -> Polynomial:
    return {key: coefficient * factor for key, coefficient in p.items()}


def _sum(p: Polynomial, q: Polynomial) -> Polynomial:
    total = {key: p.get(key, 0.0) + q.get(key, 0.0) for key in {**p, **q}}
    return {key: coefficient for key, coefficient in total.items() if coefficient}


def _product(p: Polynomial, q: Polynomial) -> Polynomial:
    total: Polynomial = {}
    for key_p, c_p in p.items():
        for key_q, c_q in q.items():
            total = _sum(total, {tuple(map(sum, zip(key_p, key_q, strict=True))): c_p * c_q})
    return total
