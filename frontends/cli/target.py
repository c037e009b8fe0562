"""`wsec target`: the machines one can compile for."""

from __future__ import annotations

import argparse

from frontends.cli.arguments import Verbs, add_json, add_verb
from frontends.cli.console import Console
from runtime.text import table

DESCRIPTION = """\
List the machines that ship with wsec, or show the numbers of one. A target is a TOML file: copy one from
runtime/targets, change it, and give its path to --target."""


def register(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    parser = add_verb(verbs, common, "target", "machines to compile for", DESCRIPTION, run)
    what = parser.add_subparsers(title="what", metavar="list|show", dest="what", required=True)
    add_json(what.add_parser("list", help="names and sizes", parents=[common]))
    show = what.add_parser("show", help="all numbers of one", parents=[common])
    show.add_argument("name", metavar="NAME|FILE")
    add_json(show)


def run(args: argparse.Namespace, console: Console) -> int:
    from runtime import target as targets

    if args.what == "show":
        numbers = targets.load(args.name).to_json()
        if args.json:
            console.json({"schema": 1, **numbers})
        else:
            console.out("\n".join(f"{name} = {value}" for name, value in numbers.items()))
        return 0
    known = [targets.load(name) for name in targets.names()]
    if args.json:
        console.json({"schema": 1, "targets": [target.to_json() for target in known]})
        return 0
    rows: list[tuple[object, ...]] = [
        (t.name, f"{t.usable[2]} x {t.usable[3]}", t.cores, f"{t.memory_bytes // 1024} KiB") for t in known
    ]
    console.out(table(("target", "usable", "cores", "per core"), rows))
    return 0
