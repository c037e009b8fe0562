"""`wsec view`: a picture of a compiled image."""

from __future__ import annotations

import argparse
from pathlib import Path

from frontends.cli.arguments import Verbs, add_verb, require_folder
from frontends.cli.console import Console

DESCRIPTION = """\
Draw placement and routes of an image as an SVG file for a browser: kernels in their colours with their names, bundles
of lanes as lines, dead cores, host ports. Kernels and bundles tell more under the mouse. `wsec inspect --picture`
draws in the terminal."""


def register(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    parser = add_verb(verbs, common, "view", "picture of an image", DESCRIPTION, run)
    parser.add_argument("image", type=Path, metavar="model.wse")
    parser.add_argument("--svg", type=Path, metavar="FILE", required=True, help="the file to write")
    parser.add_argument("--colour", choices=("kind", "layer"), default="kind", help="what colours the kernels (kind)")
    parser.add_argument("--heat", action="store_true", help="shade the routers by the load of their busiest link")


def run(args: argparse.Namespace, console: Console) -> int:
    require_folder(args.svg)

    from frontends.cli.files import write_text
    from runtime.imagefile import read_image
    from runtime.svg import picture

    text = picture(read_image(args.image), colour=args.colour, heat=args.heat)
    write_text(args.svg, text)
    console.out(f"{args.svg}: {len(text.encode()):,} bytes")
    return 0
