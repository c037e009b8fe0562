"""`wsec report`: what a compiled image costs, and where."""

from __future__ import annotations

import argparse
from pathlib import Path

from frontends.cli.arguments import Verbs, add_json, add_verb, natural
from frontends.cli.console import Console

SECTIONS = ("summary", "place", "route", "memory", "solver")
DESCRIPTION = """\
What a compiled image costs, and where: predicted interval and latency, utilisation, the slowest kernels, the longest
wires, the hottest links, colours per router, memory per core by owner, and what the searches said of themselves. All
from the image alone; run `wsec validate` first on an image you do not trust."""


def register(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    parser = add_verb(verbs, common, "report", "costs of an image", DESCRIPTION, run)
    parser.add_argument("image", type=Path, metavar="model.wse")
    parser.add_argument("--section", choices=SECTIONS, help="only this one (all)")
    parser.add_argument("--top", type=natural, default=5, metavar="N", help="entries in each list (5)")
    add_json(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    from runtime import report, report_text
    from runtime.imagefile import read_image

    data = report.report(read_image(args.image), args.top)
    sections = (args.section,) if args.section else SECTIONS
    if args.json:
        console.json({"schema": data["schema"], "image": str(args.image), **{name: data[name] for name in sections}})
    else:
        console.out(report_text.text(data, sections))
    return 0
