"""Naming the tensors that depend on the inputs' shapes only: positions, causal masks and the like."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from frontends.onnx.tensors import Array

# Added to a score, anything from here down is a mask: exporters use -1e4, the lowest finite number, or -infinity.
MASK_AT_MOST = -1e4


def _positions(array: Array) -> bool:
    return array.dtype.kind == "i" and array.ndim >= 1 and bool((array == np.arange(array.shape[-1])).all())


def _causal(array: Array) -> bool:
    return array.dtype.kind == "b" and _square(array) and bool((array == _seen(array)).all())


def _causal_additive(array: Array) -> bool:
    if array.dtype.kind != "f" or not _square(array) or not (array[..., 0, 1:] <= MASK_AT_MOST).all():
        return False  # the first row tells a weight from a mask without reading all of it
    seen = np.broadcast_to(_seen(array), array.shape)
    return bool((array[seen] == 0).all() and (array[~seen] <= MASK_AT_MOST).all())


def _all_true(array: Array) -> bool:
    return array.dtype.kind == "b" and bool(array.all())


def _zeros(array: Array) -> bool:
    return array.dtype.kind == "f" and not array.any()


def _square(array: Array) -> bool:
    # A single query and key would be any mask at all.
    return array.ndim >= 2 and array.shape[-1] == array.shape[-2] >= 2


def _seen(array: Array) -> Array:
    return np.tri(array.shape[-1], dtype=np.bool_)


# Patterns that no weight has by accident, so that they are recognised in constants too.
PATTERNS: dict[str, Callable[[Array], bool]] = {
    "positions": _positions,
    "causal": _causal,
    "causal_additive": _causal_additive,
}
UNIFORM: dict[str, Callable[[Array], bool]] = {"all_true": _all_true, "zeros": _zeros}
MIN_PATTERN_SIZE = 2


def classify(values: tuple[Array, ...], *, constant: bool) -> str | None:
    """The kind of `graph.shape_value` that these contents are in every probe, or None.

    `constant`: they come from constants alone; a bias of zeros is then just a bias.
    """
    kinds = PATTERNS if constant else {**PATTERNS, **UNIFORM}
    for kind, matches in kinds.items():
        big_enough = kind in UNIFORM or max(array.size for array in values) >= MIN_PATTERN_SIZE
        if big_enough and all(matches(array) for array in values):
            return kind
    return None


def uniform(values: tuple[Array, ...]) -> Array | None:
    """The one scalar that fills all of `values`, or None."""
    if any(array.size == 0 for array in values):
        return None
    first = values[0].reshape(-1)[0]
    return np.asarray(first) if all(bool((array == first).all()) for array in values) else None
