"""How the placer's searches are compiled: for calls from Python without the interpreter lock, kept on disk."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit
from numba.core.caching import FunctionCache

F = TypeVar("F", bound=Callable[..., Any])

# Numba looks for changes only in the file of the function called from Python; these files are compiled into it.
_SOURCES = ("anneal.py", "jit.py", "layout.py", "moves.py", "rows.py", "slicing.py", "tables.py")


def _digest() -> str:
    folder = Path(__file__).parent
    return hashlib.sha256(b"".join((folder / name).read_bytes() for name in _SOURCES)).hexdigest()


class _Cache(FunctionCache):  # type: ignore[misc]
    """Compiled code on disk, valid for exactly these sources."""

    digest = _digest()

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        return (*super()._index_key(sig, codegen), self.digest)


def is_kept(function: Any) -> bool | None:
    """Whether compiled code of an entry is on disk; None if there is no folder for it."""
    cache = getattr(function, "_cache", None)
    if not isinstance(cache, _Cache):
        return None
    index = cache._cache_file._load_index()
    return any(key[-1] == cache.digest for key in index)


def called(function: F) -> F:
    """Compiled for compiled callers."""
    return cast(F, njit(error_model="numpy")(function))


def entry(function: F) -> F:
    """Compiled for calls from Python."""
    dispatcher = njit(error_model="numpy", nogil=True)(function)
    # Where no folder can be written, every process compiles anew.
    with contextlib.suppress(RuntimeError):
        dispatcher._cache = _Cache(function)
    return cast(F, dispatcher)
