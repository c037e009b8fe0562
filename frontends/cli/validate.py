"""`wsec validate`: the independent proof that an image is legal."""

from __future__ import annotations

import argparse
from pathlib import Path

from frontends.cli.arguments import Verbs, add_json, add_verb
from frontends.cli.console import Console
from runtime.errors import IllegalImageError

DESCRIPTION = """\
Walk the tables of an image and check every rule of the machine: placement, programs, memory, routes, colours, rates,
and that it can never deadlock. Shares no code with the compiler. Exits with 7 if a rule is broken.

No rule depends on the weights' values. Those in the image are compared with their hash; those in a file beside it only
with --weights."""


def register(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    parser = add_verb(verbs, common, "validate", "prove an image legal", DESCRIPTION, run)
    parser.add_argument("image", type=Path, metavar="model.wse")
    parser.add_argument("--weights", action="store_true", help="read weights in other files, too, to check their hash")
    add_json(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    from runtime.imagefile import read_image, verify_weights
    from runtime.validate import validate

    console.progress("reading the image")
    image = read_image(args.image)
    verify_weights(args.image, referenced=args.weights)
    console.progress("validating")
    report = validate(image)
    if args.json:
        console.json({"schema": 1, "image": args.image.name, **report.to_json()})
    elif report.ok:
        console.out(f"{args.image}: legal")
        for name, value in report.facts.items():
            if not isinstance(value, dict):
                console.out(f"  {name.replace('_', ' '):18} {round(value) if isinstance(value, float) else value}")
    else:
        console.out(f"{args.image}: {sum(report.counts.values())} violations\n{report.text()}")
    return 0 if report.ok else IllegalImageError.exit_code
