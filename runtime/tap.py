"""Listening to a running image: the words that leave output queues of cores, copied as they leave, in their order.

A tap is passive: it has no queue, takes no room and wakes nobody, so what runs has the same bits with and without it. A
word that leaves a core is at the ends of its route at once on the functional machine; what arrives at an input queue is
what the source traced to it by the router tables sent, see `sources_of`. Memory is bounded: the host feeds no more
tokens at a time than the tap has room for, and what was heard is handed on after each feed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtime.errors import InputError
from runtime.loader import Loaded
from runtime.state import C_OUT, P_FIRST, P_LEFT, P_ROOM, TAP_COLUMNS, State

Array = np.ndarray[Any, Any]

WORDS = 1 << 24  # room of a tap, in words of 4 bytes


@dataclass(frozen=True)
class Source:
    """An output queue to listen to: core number, queue, and the words it sends for a token (more are counted only)."""

    core: int
    queue: int
    words: int


# Told after each feed: the tokens' headers [tokens], and by source the words [tokens, words] it sent as int32.
Listener = Callable[[Array, list[Array]], None]


class Tap:
    """Listens to `sources`. Raises InputError if not even the words of one token fit."""

    def __init__(self, sources: Sequence[Source], listener: Listener) -> None:
        self.sources = tuple(sources)
        self._listener = listener
        per_token = sum(source.words for source in self.sources)
        if per_token > WORDS:
            raise InputError(
                f"{per_token:,} words a token are more than the {WORDS:,} a tap has room for", code="tap-too-large"
            )
        self.tokens = WORDS // max(1, per_token)
        self._state: State | None = None
        self._trees = np.zeros(0, np.int64)

    def attach(self, state: State) -> State:
        """The state with this tap on it. Raises InputError for a queue that sends nothing."""
        cores, queues = (np.array([getattr(s, key) for s in self.sources], np.int64) for key in ("core", "queue"))
        self._trees = state.core[cores, C_OUT + queues]
        if (self._trees < 0).any():
            bad = self.sources[int(np.argmax(self._trees < 0))]
            raise InputError(f"output queue {bad.queue} of core number {bad.core} has no colour", code="tap-unbound")
        words = np.array([source.words for source in self.sources], np.int64) * self.tokens
        tap = np.zeros((len(state.first) - 1, TAP_COLUMNS), np.int64)
        tap[self._trees, P_FIRST], tap[self._trees, P_ROOM] = np.cumsum(words) - words, words
        self._state = state._replace(tap=tap, tapped=np.zeros(int(words.sum()), np.int32))
        return self._state

    def clear(self) -> None:
        """Forget what was heard: a feed begins."""
        assert self._state is not None
        self._state.tap[:, P_LEFT] = 0

    def hand_on(self, headers: Array) -> None:
        """Give the listener what the feed of these tokens made cores send.

        Raises InputError if a source sent another number of words than the caller said.
        """
        assert self._state is not None
        count, rows = len(headers), self._state.tap[self._trees]
        wanted = np.array([source.words for source in self.sources], np.int64) * count
        if (rows[:, P_LEFT] != wanted).any():
            bad = int(np.argmax(rows[:, P_LEFT] != wanted))
            source = self.sources[bad]
            message = f"core number {source.core} sent {rows[bad, P_LEFT]} words on output queue {source.queue}"
            raise InputError(f"{message}, not {source.words} for each of {count} tokens", code="tap-words")
        tapped = self._state.tapped
        self._listener(
            headers,
            [
                tapped[first : first + size].reshape(count, -1)
                for first, size in zip(rows[:, P_FIRST].tolist(), wanted.tolist(), strict=True)
            ],
        )


def sources_of(loaded: Loaded) -> tuple[Array, Array]:
    """By ring (the cores' bound input queues, then host output lanes) what fills it, from the router tables traced.

    Returns units (cores, then the host's input lanes; -1: nothing) and their output queues, -1 for host lanes.
    """
    units, queues = np.nonzero(loaded.state.core[:, C_OUT : C_OUT + 6] >= 0)
    trees = loaded.state.core[units, C_OUT + queues]
    unit, queue = np.full(len(loaded.wires.first) - 1, -1), np.full(len(loaded.wires.first) - 1, -1)
    unit[trees], queue[trees] = units, np.where(units < loaded.cores, queues, -1)
    counts = np.diff(loaded.wires.first)
    ring_unit, ring_queue = np.full(len(loaded.owner), -1), np.full(len(loaded.owner), -1)
    ring_unit[loaded.wires.sinks] = np.repeat(unit, counts)
    ring_queue[loaded.wires.sinks] = np.repeat(queue, counts)
    return ring_unit, ring_queue
