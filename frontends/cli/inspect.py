"""`wsec inspect`: what is in a file, whichever of ours it is."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from frontends.cli.arguments import Verbs, add_json, add_no_locations, add_verb
from frontends.cli.console import Console
from runtime.errors import UsageError

DESCRIPTION = """\
Say what is in a file; its contents, not its name, tell what it is.

A model (ONNX): inputs, outputs, ops, parameters, opsets, data files, and whether wsec can import it; no weights are
read. A module (.wir): phase, options, ops; with --fold its text with layers, lanes and other repetitions printed once.
An image (.wse): kernels, cores, memory by owner, colours, ports; with --core one core's program, memory map and routes;
with --picture the placed wafer. A run file (`wsec run --run-json`): cycles, kernels, stalls, links."""

TOP = 10  # kernels, queues and links of a run file
# Options that one kind of file has, by their name in the arguments.
ONLY = {"core": "image", "picture": "image", "fold": "module"}
NAMES = {"model": "a model", "module": "a module (.wir)", "image": "an image (.wse)", "run": "a run file"}


def register(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    parser = add_verb(verbs, common, "inspect", "what is in a file", DESCRIPTION, run)
    parser.add_argument("file", type=Path, metavar="FILE", help="model, module, image or run file")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--core", metavar="X,Y", help="of an image: the core at these fabric coordinates")
    what.add_argument("--picture", action="store_true", help="of an image: draw the placed wafer")
    what.add_argument("--fold", action="store_true", help="of a module: its text, repetitions folded; not for parsing")
    add_no_locations(parser)
    add_json(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    from frontends.cli.recognise import recognise

    kind = recognise(args.file)
    for option, wanted in ONLY.items():
        if getattr(args, option) and kind != wanted:
            message = f"--{option} shows {NAMES[wanted]}, and this is {NAMES[kind]}"
            raise UsageError(message, code="bad-option", where=str(args.file))
    data, text = _SHOW[kind](args)
    if args.json:
        console.json({"schema": 1, **data})
    else:
        console.out(text, end="" if text.endswith("\n") else "\n")
    return 0


def _model(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    from frontends.cli.facts import model_facts, model_text

    facts = model_facts(args.file)
    return facts, model_text(facts)


def _module(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    import compiler.pipelines  # noqa: F401 - declares all ops
    from compiler.ir.fold import folded_text
    from compiler.ir.parser import parse_file
    from frontends.cli.facts import module_facts, module_text

    module = parse_file(args.file)
    facts = module_facts(args.file, module)
    if args.fold:
        text = folded_text(module, locations=args.locations)
        return {**facts, "text": text}, text
    return facts, module_text(facts)


def _image(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    from runtime import inspect
    from runtime.imagefile import read_image
    from runtime.picture import wafer_picture

    image = read_image(args.file)
    if args.core:
        core = inspect.core_detail(image, *_coordinates(args.core))
        return {"kind": "image", **core}, inspect.core_text(core)
    data = inspect.summary(image)
    text = wafer_picture(image, colour=sys.stdout.isatty()) if args.picture else inspect.summary_text(data)
    return {"kind": "image", **data}, text


def _run(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    from frontends.cli.facts import run_facts, run_text

    facts = run_facts(args.file)
    return facts, run_text(facts, TOP)


def _coordinates(text: str) -> tuple[int, int]:
    try:
        x, y = map(int, text.split(","))
    except ValueError:
        raise UsageError(f"{text!r} is not X,Y", code="bad-option", where="--core") from None
    return x, y


_SHOW = {"model": _model, "module": _module, "image": _image, "run": _run}
