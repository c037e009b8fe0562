"""`wsec target`: the machines one can compile for."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frontends.cli.arguments import Verbs, add_json, add_verb, natural, require_folder
from frontends.cli.console import Console
from runtime.text import table

if TYPE_CHECKING:
    from runtime.target import Target

DESCRIPTION = """\
List the machines that ship with wsec, show the numbers of one, or make up a map of dead cores. A target is a
TOML file: `wsec target show cs2 > mine.toml`, change it, and give its path to --target.

A defect map is a text file, for --defects here and with `wsec compile`: a dead core a line as `x y`, a rectangle of
them as `x y columns rows`, in fabric coordinates; # starts a comment. The entry `defects` of a target file holds the
same as [[x, y, columns, rows], ...]. Kernels and routes go around dead cores."""


def register(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    parser = add_verb(verbs, common, "target", "machines to compile for", DESCRIPTION, run)
    what = parser.add_subparsers(title="what", metavar="list|show|defects", dest="what", required=True)
    add_json(what.add_parser("list", help="names and sizes", parents=[common]))
    show = what.add_parser("show", help="all numbers of one", parents=[common])
    show.add_argument("name", metavar="NAME|FILE")
    show.add_argument("--defects", metavar="FILE", help="a map of dead cores")
    add_json(show)
    lots = what.add_parser("defects", help="draw lots for a map of dead cores", parents=[common])
    lots.add_argument("name", metavar="NAME|FILE")
    lots.add_argument("--random", type=natural, required=True, metavar="N", help="number of dead cores")
    lots.add_argument("--seed", type=int, default=0, metavar="N", help="same seed, same map (0)")
    lots.add_argument("-o", "--output", type=Path, metavar="FILE", help="the map to write (stdout)")


def run(args: argparse.Namespace, console: Console) -> int:
    from runtime import target as targets

    if args.what == "list":
        return _list([targets.load(name) for name in targets.names()], args, console)
    target = targets.load(args.name)
    if args.what == "defects":
        return _draw_lots(target, args, console)
    if args.defects:
        from runtime import defects

        dead = defects.read(args.defects, target.fabric)
        target = targets.with_defects(target, (*target.defects, *dead), args.defects)
    if args.json:
        console.json({"schema": 1, **target.to_json(), "cores": target.cores, "dead_cores": target.dead_cores})
    else:
        console.out(_as_toml(target))
    return 0


def _list(known: list[Target], args: argparse.Namespace, console: Console) -> int:
    if args.json:
        entries: list[dict[str, Any]] = [target.to_json() for target in known]
        console.json({"schema": 1, "targets": entries})
        return 0
    rows: list[tuple[object, ...]] = [
        (t.name, f"{t.usable[2]} x {t.usable[3]}", t.cores, f"{t.memory_bytes // 1024} KiB") for t in known
    ]
    console.out(table(("target", "usable", "cores", "per core"), rows))
    return 0


def _as_toml(target: Target) -> str:
    """A target file. TOML writes words, numbers and lists of them as JSON does."""
    head = f"# {target.cores} usable cores, {target.dead_cores} of the usable rectangle are dead"
    return "\n".join([head, *(f"{name} = {json.dumps(value)}" for name, value in target.to_json().items())])


def _draw_lots(target: Target, args: argparse.Namespace, console: Console) -> int:
    from frontends.cli.files import write_text
    from runtime import defects

    dead = defects.draw_lots(args.random, args.seed, target.usable, target.fabric)
    text = defects.to_text(dead, f"{args.random} dead cores of {target.name}, seed {args.seed}")
    if args.output is None:
        console.out(text, end="")
    else:
        require_folder(args.output)
        write_text(args.output, text)
    return 0
