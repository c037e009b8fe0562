"""`wsec explain`: what an error code means and what can be done."""

from __future__ import annotations

import argparse
import difflib
import re
import textwrap
from typing import TYPE_CHECKING, NamedTuple

from frontends.cli.arguments import Verbs, add_json, add_verb
from frontends.cli.console import Console
from runtime.errors import UsageError
from runtime.text import table

if TYPE_CHECKING:
    from collections.abc import Mapping

DESCRIPTION = """\
Say what an error code means and what can be done: the word in brackets in `error[CODE]: ...`, or before the message in
what `wsec validate` prints. Without a code, list all."""

_BRACKETS = re.compile(r".*\[(.*)\].*")
_WIDTH = 100


class Entry(NamedTuple):
    """What leads to an error, and what to do about it."""

    cause: str
    remedy: str


def register(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    parser = add_verb(verbs, common, "explain", "what an error code means", DESCRIPTION, run)
    parser.add_argument("code", nargs="?", metavar="CODE", help="e.g. does-not-fit")
    add_json(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    entries = catalogue()
    if args.code is None:
        if args.json:
            codes = [{"code": code, **entry._asdict()} for code, entry in entries.items()]
            console.json({"schema": 1, "codes": codes})
        else:
            rows = [
                (code, textwrap.shorten(entry.cause, _WIDTH, placeholder=" ...")) for code, entry in entries.items()
            ]
            console.out(table(("code", "cause"), rows))
        return 0
    code = _BRACKETS.sub(r"\1", args.code)
    if code not in entries:
        near = difflib.get_close_matches(code, entries, n=3)
        hint = f"did you mean {', '.join(near)}?" if near else "`wsec explain` lists all codes"
        raise UsageError(f"there is no error code {code!r}", code="unknown-code", hint=hint)
    entry = entries[code]
    if args.json:
        console.json({"schema": 1, "code": code, **entry._asdict()})
    else:
        console.out("\n\n".join([code, *(textwrap.fill(text, _WIDTH) for text in entry)]))
    return 0


def catalogue() -> Mapping[str, Entry]:
    """All codes and what they mean, by topic."""
    import tomllib
    from importlib import resources

    text = (resources.files("frontends.cli") / "codes.toml").read_text(encoding="utf-8")
    return {code: Entry(**entry) for code, entry in tomllib.loads(text).items()}
