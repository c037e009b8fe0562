"""Errors meant for people. Every layer raises these; the command line prints them and exits with `exit_code`.

This file imports nothing of ours, so every folder may import it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class WsecError(Exception):
    """What is wrong (`message`), where (`where`: file, line, ONNX node, core), and what to do about it (`hint`).

    `code` is a short stable name such as `unsupported-op`; tools may match on it.
    """

    exit_code = 8

    def __init__(self, message: str, *, code: str, where: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        where = f"{self.where}: " if self.where else ""
        text = f"{where}error[{self.code}]: {self.message}"
        return f"{text}\n  hint: {self.hint}" if self.hint else text


class InputError(WsecError):
    """Bad input: a file, a model, an array, an option's value that does not fit the model."""

    exit_code = 1


class UsageError(WsecError):
    """The command line makes no sense."""

    exit_code = 2


@dataclass(frozen=True)
class Shortage:
    """A resource that falls short. `demands` names who wants how much of it, the largest first; it may be cut short.

    `proof` says how one can be sure, or that a search found no way.
    """

    resource: str
    where: str
    demand: int
    supply: int
    proof: str
    demands: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Lever:
    """Something the user can do, and what it would come to; `tried`: the compiler has seen that it helps."""

    option: str
    effect: str
    tried: bool


class InfeasibleError(WsecError):
    """It does not fit the target: what is short, how that is known, and what would help."""

    exit_code = 3

    def __init__(
        self,
        message: str,
        *,
        code: str,
        where: str = "",
        hint: str = "",
        shortages: Sequence[Shortage] = (),
        levers: Sequence[Lever] = (),
    ) -> None:
        super().__init__(message, code=code, where=where, hint=hint)
        self.shortages = tuple(shortages)
        self.levers = tuple(levers)


class LimitError(WsecError):
    """A search limit was reached without an answer."""

    exit_code = 4


class NumericsError(WsecError):
    """Results differ from the reference by more than the tolerance."""

    exit_code = 5


class DeadlockError(WsecError):
    """Cores wait for ever."""

    exit_code = 6


class IllegalImageError(WsecError):
    """The validator found an image that breaks a rule of the machine."""

    exit_code = 7
