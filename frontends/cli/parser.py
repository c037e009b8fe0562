"""argparse with a way out: what may have been meant, and where help is."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Collection, Sequence
from typing import Any, NoReturn

_CHOICE = re.compile(r"invalid choice: '(?P<word>[^']*)' \(choose from (?P<known>.*)\)", re.DOTALL)
_MISSING = ("the following arguments are required", "one of the arguments")


class Parser(argparse.ArgumentParser):
    """The namespace it fills has itself, or the parser of the verb that was named, as `parser`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.set_defaults(parser=self)

    def error(self, message: str) -> NoReturn:
        """One line after the usage, with exit code 2."""
        found = _CHOICE.search(message)
        if found:
            message += suggestion(found["word"], [word.strip(" '\"") for word in found["known"].split(",")])
        elif message.startswith(_MISSING):
            message += f"; see {self.prog} --help"
        super().error(message)

    def refuse(self, unknown: Sequence[str]) -> NoReturn:
        """These words of the command line fit nowhere."""
        options = [option for action in self._actions for option in action.option_strings]
        near = "".join(suggestion(word.split("=")[0], options) for word in unknown if word.startswith("-"))
        self.error(f"unrecognized arguments: {' '.join(unknown)}{near or f'; see {self.prog} --help'}")


def suggestion(word: str, known: Collection[str]) -> str:
    """`; did you mean ...?`, or nothing if no known word is near."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""
