"""`wsec bisect`: the first pass or layer that breaks a model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from frontends.cli.arguments import (
    Verbs,
    add_compiler_options,
    add_json,
    add_random_inputs,
    add_threads,
    add_verb,
    given_options,
    options_from,
)
from frontends.cli.console import Console
from runtime.errors import NumericsError
from runtime.text import safe

if TYPE_CHECKING:
    from frontends.cli.find.bisect import Suspect

DESCRIPTION = """\
Find the first pass, or the first layer, that breaks a model. Exits with 5 if one does, with 0 if none.

--by pass   run the compiler pass by pass and, after each, the module in the interpreter of its level, beside
            onnxruntime: every value both have must be within its bounds. What follows routing is judged by running it.
--by layer  the first layer that is wrong, from the graph down to the machine; `wsec check --layers` shows all."""


def register(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    parser = add_verb(verbs, common, "bisect", "the first pass or layer that breaks a model", DESCRIPTION, run)
    parser.add_argument("model", type=Path, metavar="model.onnx")
    parser.add_argument("--by", choices=("pass", "layer"), default="pass", help="what to look for (pass)")
    add_random_inputs(parser, tokens=8)
    add_threads(parser)
    add_compiler_options(parser, seed=False)
    add_json(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    options = options_from(given_options(args))

    from frontends.cli.find.bisect import by_layer, by_pass

    search = by_pass if args.by == "pass" else by_layer
    suspect = search(
        args.model, options, tokens=args.tokens, batch=args.batch, seed=args.seed, threads=args.threads,
        progress=console.progress,
    )  # fmt: skip
    if args.json:
        console.json(suspect.to_json())
    else:
        console.out(as_text(suspect))
    return 0 if suspect.culprit is None else NumericsError.exit_code


def as_text(suspect: Suspect) -> str:
    """The answer, the value that shows it, and what is fine."""
    fine = f"{len(suspect.tried)} {'passes' if suspect.by == 'pass' else 'layers'} are fine"
    if suspect.culprit is None:
        return f"nothing breaks: {fine}"
    lines = [f"the first {suspect.by} that breaks the model: {safe(suspect.culprit)}"]
    layer = suspect.layer
    if layer is None:
        lines.append(f"output {safe(suspect.value)} of the machine is outside its tolerance")
    elif layer.wrong:
        lines.append(
            f"value {safe(layer.name)} ({safe(layer.where)}) by {safe(layer.maker)}: off by {layer.isolated:.1e} of "
            f"the largest, {layer.share:,.3g} times what rounding explains"
        )
    else:
        lines.append(f"value {safe(layer.name)} ({safe(layer.where)}) is off by {layer.max_rel:.1e} of the largest")
    names = f": {', '.join(map(safe, suspect.tried))}" if suspect.by == "pass" else ""
    return "\n".join([*lines, f"{fine} before it{names}"])
