"""What the command line says: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from rich.progress import TaskID

SECONDS_PER_LINE = 10.0
REDRAW_SECONDS = 0.1


class Console:
    """Results on stdout, progress on stderr: a bar if it is a terminal, otherwise a line every ten seconds.

    `progress` fits every layer: what is being done, steps done, steps in all (0: unknown). Use as a context manager,
    so that a bar never outlives its command.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self.quiet = quiet
        self.verbose = verbose
        self._began = self._last = time.monotonic()
        self._draw: Callable[[str, int, int], None] = self._line
        self._stop: Callable[[], None] = lambda: None
        self._period = SECONDS_PER_LINE
        self._what = ""

    def __enter__(self) -> Self:
        if not self.quiet and sys.stderr.isatty():
            self._start_bar()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def out(self, text: str, *, end: str = "\n") -> None:
        """A result, on stdout. Progress is over."""
        self._stop()
        print(text, end=end)

    def json(self, value: dict[str, Any]) -> None:
        """A result as one JSON object on stdout."""
        self.out(json_text(value))

    def err(self, text: str) -> None:
        """What was asked for beside the result, on stderr."""
        self._stop()
        print(text, file=sys.stderr)

    def progress(self, what: str, done: int = 0, total: int = 0) -> None:
        """Told by long steps how far they are."""
        now = time.monotonic()
        due = now - self._last >= self._period
        if self.quiet or not (due or (what != self._what and self._period == REDRAW_SECONDS)):
            return
        self._what, self._last = what, now
        self._draw(what, done, total)

    def _line(self, what: str, done: int, total: int) -> None:
        count = f" {done}/{total}" if total else ""
        print(f"[{time.monotonic() - self._began:.0f} s] {what}{count}", file=sys.stderr, flush=True)

    def _start_bar(self) -> None:
        from rich.console import Console as Terminal
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(),
            console=Terminal(stderr=True),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        tasks: dict[str, TaskID] = {}

        def draw(what: str, done: int, total: int) -> None:
            for other in tasks.keys() - {what}:
                bar.remove_task(tasks.pop(other))
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=None, count="")
            bar.update(tasks[what], completed=done, total=total or None, count=f"{done}/{total}" if total else "")

        bar.start()
        self._draw, self._stop, self._period = draw, bar.stop, REDRAW_SECONDS


def json_text(value: dict[str, Any]) -> str:
    """One JSON object; NaN and infinities are refused, since JSON has none."""
    return json.dumps(value, indent=1, allow_nan=False)
