"""The data of collectives: core i has the elements (i + j) % 7, so every sum is exact in fp32 whatever its order."""

from __future__ import annotations

import numpy as np

from runtime.bench.layout import DATA, Layout
from runtime.bench.measure import Array
from runtime.errors import InputError, NumericsError
from runtime.isa import Dtype, Mem
from runtime.target import Target

PERIOD = 7


def vector_layout(cols: int, rows: int, words: int, base: Target, data_bytes: int = 0) -> Layout:
    """cols x rows cores with their vectors. Raises InputError for fewer than two cores or no words, or if they do not
    fit."""
    if cols * rows < 2 or words < 1:
        raise InputError("a collective takes two cores and one word at least", code="bench-size")
    layout = Layout(cols, rows, data_bytes or DATA + 4 * words, base)
    layout.fill(DATA, np.arange(cols * rows + words) % PERIOD, (1, words), per=(1, cols))
    return layout


def own(words: int) -> Mem:
    """A core's vector."""
    return Mem(DATA, Dtype.F32, words)


def first_vector(words: int) -> Array:
    """Core 0's vector."""
    return np.arange(words) % PERIOD


def total(cores: int, words: int) -> Array:
    """The sum of all cores' vectors."""
    whole, rest = divmod(cores, PERIOD)
    # Over whole periods every element sums to 0 + 1 + ... + 6.
    result = np.full(words, whole * (PERIOD * (PERIOD - 1) // 2))
    for core in range(cores - rest, cores):
        result += (np.arange(words) + core) % PERIOD
    return result


def check(got: Array, expected: Array) -> None:
    """Raises NumericsError if a collective left other numbers than it should."""
    if not np.array_equal(got, expected.astype(np.float32)):
        raise NumericsError("the microbenchmark's result is wrong", code="bench-result")
