"""Why nothing can ever move again."""

from __future__ import annotations

from typing import Any

from runtime import deadlock


def deadlock_error(loaded: Any, state: Any, clock: Any, sent: Any, wanted: Any) -> Any:
    return deadlock.deadlock_error(loaded, sent, wanted)
