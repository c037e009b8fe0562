"""Errors meant for people. Every layer raises these; the command line prints them and exits with `exit_code`.

This file imports nothing, so every folder may import it.
"""

from __future__ import annotations


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


class InfeasibleError(WsecError):
    """Proved: it does not fit the target."""

    exit_code = 3


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
