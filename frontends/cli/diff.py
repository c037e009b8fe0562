"""`wsec diff`: what tells two IR files apart."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frontends.cli.arguments import Verbs, add_json, add_verb, natural
from frontends.cli.console import Console
from runtime.errors import NumericsError
from runtime.text import table

if TYPE_CHECKING:
    from compiler.ir.compare import Comparison

DESCRIPTION = """\
Compare two .wir files as programs: what values are called, layout, comments and the order of attributes do not matter.
Prints the first difference between ops, and how many there are by op. Exit code 0 if there is none, 5 if there are."""


def register(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    parser = add_verb(verbs, common, "diff", "compare two IR files", DESCRIPTION, run)
    parser.add_argument("before", type=Path, metavar="A.wir")
    parser.add_argument("after", type=Path, metavar="B.wir")
    parser.add_argument("--max", type=natural, default=1, metavar="N", help="differences to show in full (1)")
    parser.add_argument(
        "--ignore", action="append", default=[], metavar="ATTRIBUTE", help="pass over an attribute, e.g. report"
    )
    parser.add_argument(
        "--no-locations", dest="locations", action="store_false", help="pass over loc(..), the names of the ONNX nodes"
    )
    add_json(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    import compiler.pipelines  # noqa: F401 - declares all ops
    from compiler.ir.compare import compare
    from compiler.ir.parser import parse_file

    before, after = parse_file(args.before), parse_file(args.after)
    found = compare(before, after, locations=args.locations, ignore=args.ignore)
    if args.json:
        console.json({"schema": 1, "same": found.same, **_data(found)})
    else:
        console.out(_text(args, found))
    return 0 if found.same else NumericsError.exit_code


def _rows(found: Comparison) -> list[dict[str, Any]]:
    """By op: how many there are in either file, and how many differ."""
    differing = {difference.name for difference in found.differences}
    return [
        {
            "op": name,
            "before": found.before[name],
            "after": found.after[name],
            "changed": found.count("changed", name),
            "removed": found.count("removed", name),
            "added": found.count("added", name),
        }
        for name in sorted(found.before | found.after)
        if name in differing
    ]


def _data(found: Comparison) -> dict[str, Any]:
    return {
        "ops": {"before": found.before.total(), "after": found.after.total()},
        "by_op": _rows(found),
        "differences": [dataclasses.asdict(difference) for difference in found.differences],
    }


def _text(args: argparse.Namespace, found: Comparison) -> str:
    if found.same:
        return f"{args.before} and {args.after} are the same: {found.before.total():,} ops"
    counts = ", ".join(f"{found.count(kind):,} {kind}" for kind in ("changed", "removed", "added"))
    head = (
        f"{args.before} and {args.after} differ: {counts}, of {found.before.total():,} and {found.after.total():,} ops"
    )
    # The module's own attributes nearly always differ, and should not stand for what does in the program.
    own = [difference for difference in found.differences if difference.where == "the file"]
    inner = [difference for difference in found.differences if difference not in own]
    parts = ["\n".join(["the module itself:", *(f"  {detail}" for d in own for detail in d.details)])] if own else []
    parts += [difference.text() for difference in inner[: args.max]]
    rows = [tuple(row.values()) for row in _rows(found)]
    return "\n\n".join([head, *parts, table(("op", "before", "after", "changed", "removed", "added"), rows)])
