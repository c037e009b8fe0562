"""`wsec inspect`: what is in an image, a model or a module."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

from frontends.cli.arguments import Verbs, add_json, add_verb
from frontends.cli.console import Console
from runtime.errors import UsageError
from runtime.text import table

DESCRIPTION = """\
An image (.wse): kernels, cores, memory by owner, colours, ports; with --core one core's program as text, its memory map
and its routes; with --picture the placed wafer. A model (.onnx): inputs, outputs and ops. A module (.wir): its ops."""


def register(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    parser = add_verb(verbs, common, "inspect", "what is in a file", DESCRIPTION, run)
    parser.add_argument("file", type=Path, metavar="FILE.wse|.onnx|.wir")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--core", metavar="X,Y", help="show the core at these fabric coordinates")
    what.add_argument("--picture", action="store_true", help="draw the placed wafer")
    add_json(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    if args.file.suffix in (".onnx", ".wir") and (args.core or args.picture):
        raise UsageError("--core and --picture show images (.wse)", code="bad-option", where=str(args.file))
    data, text = _SHOW.get(args.file.suffix, _image)(args)
    if args.json:
        console.json({"schema": 1, **data})
    else:
        console.out(text)
    return 0


def _model(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    from frontends.cli.lint import as_json, as_text
    from frontends.onnx.import_graph import lint

    report = lint(args.file)
    return as_json(report), as_text(report)


def _module(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    import compiler.pipelines  # noqa: F401 - declares all ops
    from compiler.ir.parser import parse_file

    module = parse_file(args.file)
    counts = Counter(op.name for op in module.walk())
    data = {
        "phase": module.attrs.get("phase"),
        "target": module.attrs.get("target"),
        "ops": dict(sorted(counts.items())),
    }
    head = f"{args.file}: phase {data['phase'] or 'unknown'}, target {data['target'] or 'none yet'}"
    return data, f"{head}\n\n{table(('op', 'count'), sorted(counts.items()))}"


def _image(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    import sys

    from runtime import inspect
    from runtime.imagefile import read_image
    from runtime.picture import wafer_picture

    image = read_image(args.file)
    if args.core:
        core = inspect.core_detail(image, *_coordinates(args.core))
        return core, inspect.core_text(core)
    data = inspect.summary(image)
    text = wafer_picture(image, colour=sys.stdout.isatty()) if args.picture else inspect.summary_text(data)
    return data, text


def _coordinates(text: str) -> tuple[int, int]:
    try:
        x, y = map(int, text.split(","))
    except ValueError:
        raise UsageError(f"{text!r} is not X,Y", code="bad-option", where="--core") from None
    return x, y


_SHOW = {".onnx": _model, ".wir": _module}
