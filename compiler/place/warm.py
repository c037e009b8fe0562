"""Compiling the annealer beside everything else, the first time after an install.

Numba takes some ten seconds of one processor for it, and as long again for what comes before it. So a child process
compiles it into the cache while this one makes rows; a time limit is kept whether or not that ends in time.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from typing import Any, Self

from numba import typeof

from compiler.place import jit
from compiler.place.anneal import anneal, expand
from compiler.place.bounds import bounds
from compiler.place.problem import FixedShapes, Kernel, Objective, Problem, Rectangle, Shape
from compiler.place.search import Search
from compiler.place.tables import Builder

POLL = 0.05  # seconds
_CHILD = "import sys; sys.path[:] = {path!r}; from compiler.place.warm import compile_annealer; compile_annealer()"


class Warmer:
    """Begins to compile when it is made, if there is no compiled annealer yet and a place to keep one.

    As a context manager it leaves no process behind, whatever happens meanwhile.
    """

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        if jit.is_kept(anneal) is False:
            command = [sys.executable, "-P", "-c", _CHILD.format(path=sys.path)]
            with contextlib.suppress(OSError):  # then this process compiles it
                self._child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._child is not None:
            self._child.kill()  # nothing, if it has ended
            self._child.wait()

    def wait(self, deadline: float | None) -> bool:
        """Whether the annealer is ready by `deadline` (of `time.perf_counter`); stops compiling it if not."""
        if self._child is None:
            return True
        while self._child.poll() is None:
            if deadline is not None and time.perf_counter() > deadline:
                self._stop()
                return False
            time.sleep(POLL)
        return True


def compile_annealer() -> None:
    """Compile for the types that every search has, whatever its problem, into the cache."""
    for function, arguments in signatures():
        function.compile(arguments)


def signatures() -> list[tuple[Any, tuple[Any, ...]]]:
    """The annealer's entries with the types they are called with."""
    kernel = Kernel("any", FixedShapes((Shape(1, 1, 1.0, 0.0, ((1, 1),), (1,), (1,)),)))
    problem = Problem(Rectangle(0, 0, 2, 2), (kernel, kernel), (), Objective())
    builder = Builder(problem)
    limit = bounds(builder)
    search = Search(builder, limit, builder.limits(limit.time, limit.time, 1))
    shared = (search.tables, search.blank(), search.width, search.height, search.weights)
    return [(f, tuple(map(typeof, (*shared, *rest)))) for f, rest in ((anneal, (1, 1.0, 1.0)), (expand, ()))]
