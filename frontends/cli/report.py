"""`wsec report`: what a compiled image costs, and where; as text, as a page, and against another image."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from frontends.cli.arguments import Verbs, add_json, add_verb, natural, require_folder
from frontends.cli.console import Console
from runtime.errors import UsageError

SECTIONS = ("summary", "place", "route", "memory", "solver")
TOP = 5
DESCRIPTION = """\
What a compiled image costs, and where: predicted interval and latency, utilisation, the slowest kernels, the longest
wires, the hottest links, colours per router, memory per core by owner, and what the searches said of themselves. All
from the image alone; run `wsec validate` first on an image you do not trust.

--html writes one file for a browser, which fetches nothing: the wafer as a map by kernel, layer, memory, link load and
colours, every kernel and core with its ONNX nodes, memory, wires and program. --run adds what a cycle run measured,
--ir the IR after each pass. --diff says what changed between two images."""


def register(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    parser = add_verb(verbs, common, "report", "costs of an image", DESCRIPTION, run)
    parser.add_argument("image", type=Path, metavar="model.wse", nargs="?")
    parser.add_argument("--diff", type=Path, nargs=2, metavar=("OLD.wse", "NEW.wse"), help="compare two images")
    parser.add_argument("--section", choices=SECTIONS, help="only this one (all)")
    parser.add_argument("--top", type=natural, metavar="N", help=f"entries in each list ({TOP}; of a difference 20)")
    parser.add_argument(
        "--html", type=Path, nargs="?", const=Path(), metavar="FILE",
        help="write a page for a browser (MODEL.html, or diff.html, in this folder)",
    )  # fmt: skip
    parser.add_argument(
        "--run", type=Path, metavar="FILE", dest="run_file",
        help="into the page: what `wsec run --engine cycle --run-json FILE` measured",
    )  # fmt: skip
    parser.add_argument("--ir", type=Path, metavar="DIR", help="into the page: what `wsec compile --dump-ir DIR` wrote")
    add_json(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    _require_sense(args)
    if args.html is not None:
        if args.html == Path():
            args.html = Path("diff.html" if args.diff else f"{args.image.stem}.html")
        require_folder(args.html)
    if args.diff:
        return _difference(args, console)
    return _page(args, console) if args.html is not None else _report(args, console)


def _require_sense(args: argparse.Namespace) -> None:
    """Raises UsageError for options that do not go together."""
    if args.html is not None and args.html.suffix == ".wse":
        raise UsageError(
            f"--html {args.html} would write over an image", code="bad-option", hint="name the image first"
        )
    if (args.image is None) == (args.diff is None):
        raise UsageError("one image, or --diff and two", code="bad-option", hint="wsec report model.wse")
    if args.html is None or args.diff:
        for option in ("run_file", "ir"):
            if getattr(args, option) is not None:
                flag = f"--{option.removesuffix('_file')}"
                raise UsageError(f"{flag} goes into the page of one image: it needs --html", code="bad-option")
    if args.section and (args.html is not None or args.diff):
        raise UsageError("--section is for the text of one image", code="bad-option", where="--section")


def _report(args: argparse.Namespace, console: Console) -> int:
    from runtime import report, report_text
    from runtime.imagefile import read_image

    data = report.report(read_image(args.image), args.top or TOP)
    sections = (args.section,) if args.section else SECTIONS
    if args.json:
        console.json({"schema": data["schema"], "image": str(args.image), **{name: data[name] for name in sections}})
    else:
        console.out(report_text.text(data, sections))
    return 0


def _page(args: argparse.Namespace, console: Console) -> int:
    from frontends.cli.files import write_text
    from runtime.page.data import Extras
    from runtime.page.html import report_html
    from runtime.page.runs import read_run
    from runtime.page.stages import read_folder

    found = None if args.run_file is None else read_run(args.run_file)
    stages = () if args.ir is None else read_folder(args.ir)
    data = _data(args.image, console, Extras(run=found, run_file=str(args.run_file or ""), stages=stages))
    text = report_html(data)
    write_text(args.html, text)
    if args.json:
        console.json({"schema": 1, "image": str(args.image), "html": str(args.html), "bytes": len(text.encode())})
    else:
        console.out(f"{args.html}: {len(text.encode()):,} bytes; open it in a browser")
    return 0


def _difference(args: argparse.Namespace, console: Console) -> int:
    from frontends.cli.files import write_text
    from runtime.page import compare_text
    from runtime.page.compare import compare
    from runtime.page.html import difference_html

    old, new = (_data(path, console) for path in args.diff)
    found = compare(old, new)
    written: dict[str, Any] = {}
    if args.html is not None:
        text = difference_html(old, new, found)
        write_text(args.html, text)
        written = {"html": str(args.html), "bytes": len(text.encode())}
    if args.json:
        console.json({**found, **written})
    elif args.html is not None:
        console.out(f"{args.html}: {written['bytes']:,} bytes; open it in a browser")
    else:
        console.out(compare_text.text(found, old, new, args.top or 20))
    return 0


def _data(path: Path, console: Console, extras: Any = None) -> dict[str, Any]:
    from runtime.imagefile import read_image
    from runtime.page.data import NOTHING, page_data

    console.progress(f"reading {path.name}")
    image = read_image(path)
    console.progress("describing every core")
    return page_data(image, path.name, extras or NOTHING)
