"""How the machine's routines are compiled. No fast-math anywhere: results are IEEE, operation by operation.

Compiled code neither allocates nor counts references (`_nrt`): the arrays it is given outlive the call, and counting
them would cost more than the work.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache

# Numba looks for changes only in the file of the function called from Python; these files are compiled into it.
_SOURCES = (
    "atomics.py",
    "banks.py",
    "cycle/build.py",
    "cycle/core.py",
    "cycle/engine.py",
    "cycle/lists.py",
    "cycle/log.py",
    "cycle/network.py",
    "cycle/state.py",
    "cycle/words.py",
    "elements.py",
    "encode.py",
    "execute.py",
    "fabric.py",
    "interpreter.py",
    "isa.py",
    "jit.py",
    "mathlib.py",
    "rings.py",
    "state.py",
)


def _digest() -> str:
    folder = Path(__file__).parent
    return hashlib.sha256(b"".join((folder / name).read_bytes() for name in _SOURCES)).hexdigest()


class _Cache(FunctionCache):  # type: ignore[misc]
    """Compiled code on disk, valid for exactly these sources."""

    digest = _digest()

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        return (*super()._index_key(sig, codegen), self.digest)


def inlined(function: Callable[..., Any]) -> Any:
    """Compiled into its callers."""
    return njit(error_model="numpy", _nrt=False, forceinline=True)(function)


def merged(function: Callable[..., Any]) -> Any:
    """As if written in its only caller. `inlined` functions are optimised alone and again in the caller of each caller,
    which takes most of the compiler's time where large ones are nested deep."""
    return njit(error_model="numpy", _nrt=False, inline="always")(function)


def called(function: Callable[..., Any]) -> Any:
    """Compiled for compiled callers."""
    return njit(error_model="numpy", _nrt=False)(function)


def entry(function: Callable[..., Any]) -> Any:
    """Compiled for calls from Python, without the interpreter lock, kept on disk."""
    dispatcher = njit(error_model="numpy", _nrt=False, nogil=True)(function)
    # Where no folder can be written, every process compiles anew.
    with contextlib.suppress(RuntimeError):
        dispatcher._cache = _Cache(function)
    return dispatcher
