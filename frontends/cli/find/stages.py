"""What a kernel's cores send, one output queue after another, each with what it should send for what it received."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compiler.flow_interpreter import Run
from compiler.ir.core import Op
from compiler.kernels.base import Kernel

Array = np.ndarray[Any, Any]

# From what earlier stages sent it, [token axes.., words] each: what a core should send, and how far it may be from it.
Step = Callable[[Sequence[Array]], tuple[Array, Array]]


@dataclass(frozen=True)
class Work:
    """A kernel at work in a pass: its op, the kernel of the layer of that pass, and the streams it received.

    `address`: where a core of a role keeps what the program for one layer has at an address.
    """

    op: Op
    made: Kernel
    given: Sequence[Array]
    run: Run
    address: Callable[[Any, int], int]


@dataclass(frozen=True)
class Wrong:
    """A stage that is off: what it heard, what it sent and should have, and the worst place [token axes.., element]."""

    heard: Sequence[Array]
    sent: Array
    wanted: Array
    at: tuple[int, ...]


@dataclass(frozen=True)
class Why:
    """What seems to be wrong at a core, as `Finding.cause` calls it and in words."""

    cause: str
    text: str


Explain = Callable[[Wrong], Why | None]


def unexplained(_: Wrong) -> Why | None:
    return None


def by_number(element: int) -> str:
    return f"element {element}"


@dataclass(frozen=True)
class Stage:
    """Output queue `queue` of local core (r, c): a token's header if `header`, then `words` words.

    `hears`: earlier stages whose words come to it over routes of the kernel, with the queue they come to (-1: inside
    the core), in the order in which `step` takes them. `place` says which of the kernel's cores this is, `name` what an
    element is, and `why` what may explain that it is off.
    """

    r: int
    c: int
    queue: int
    words: int
    header: bool
    place: str
    step: Step
    hears: tuple[tuple[int, int], ...] = ()
    name: Callable[[int], str] = by_number
    why: Explain = unexplained


def passes_on(words: Array) -> tuple[Array, Array]:
    """Of a core that changes nothing."""
    return words, np.zeros(words.shape)
