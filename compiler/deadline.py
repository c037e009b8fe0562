"""How long searches may take, in wall-clock time, where the user set a limit."""

from __future__ import annotations

import math
import time

from runtime.errors import LimitError


class Deadline:
    """Begins to run when it is made; `seconds` may be infinite.

    A search that has a legal result ends with it when its part of the time has passed; one that has none goes on to the
    end of all of it, and then `check` says which phase that was.
    """

    def __init__(self, seconds: float = math.inf) -> None:
        self.seconds = seconds
        self.began = time.perf_counter()

    def left(self, share: float = 1.0) -> float:
        """Seconds until this share of the time has passed; below zero if it has."""
        return self.began + self.seconds * share - time.perf_counter()

    def passed(self, share: float = 1.0) -> bool:
        """Whether this share of the time is over."""
        return self.left(share) <= 0

    def check(self, phase: str, reached: str) -> None:
        """Raises LimitError if the time is over: `phase` has `reached` only so much."""
        if self.passed():
            message = f"the time limit of {self.seconds:g} s has passed in phase {phase}: {reached}"
            hint = "raise --time-limit, or make the search smaller with --max-cores"
            raise LimitError(message, code="time-limit", where=phase, hint=hint)


NEVER = Deadline()
