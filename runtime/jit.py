"""How the machine's routines are compiled. No fast-math anywhere: results are IEEE, operation by operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def inlined(function: Callable[..., Any]) -> Any:
    """Compiled into its callers."""
    return njit(error_model="numpy", _nrt=False, forceinline=True)(function)


def called(function: Callable[..., Any]) -> Any:
    """Compiled for compiled callers."""
    return njit(error_model="numpy", _nrt=False)(function)


def entry(function: Callable[..., Any]) -> Any:
    """Compiled for calls from Python, without the interpreter lock, kept on disk."""
    return njit(error_model="numpy", _nrt=False, nogil=True, cache=True)(function)
