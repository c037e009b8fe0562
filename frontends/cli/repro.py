"""`wsec repro`: a failing run in one file, and its replay."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from frontends.cli.arguments import (
    Verbs,
    add_compiler_options,
    add_json,
    add_verb,
    given_options,
    natural,
    options_from,
    require_folder,
)
from frontends.cli.console import Console
from runtime.errors import NumericsError, UsageError
from runtime.text import safe

DESCRIPTION = """\
wsec repro model.onnx [options] -o F.zip   run, and pack the run: model, options, versions, and how it ended; if a pass
                                           crashed, the IR before it
wsec repro run F.zip                       replay it; exits with 0 if it ends as it did then, else with 5

A file from strangers is safe to replay: members are read by name and within limits, no path in it is used. When a pass
crashes, `wsec compile` packs the run by itself."""


def register(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    parser = add_verb(verbs, common, "repro", "pack a failing run in one file, or replay it", DESCRIPTION, run)
    parser.add_argument("words", nargs="+", metavar="model.onnx | run F.zip")
    parser.add_argument("-o", "--output", type=Path, metavar="F.zip", help="the file to write")
    parser.add_argument("--no-weights", action="store_true", help="leave the weights out; replays make random ones")
    parser.add_argument("--check", action="store_true", help="run `wsec check` as well: its verdict belongs to the run")
    parser.add_argument("--tokens", type=natural, default=8, metavar="N", help="of the check (8)")
    add_compiler_options(parser, seed=True)
    add_json(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    given = given_options(args)
    if args.words[0] == "run":
        if len(args.words) != 2 or given or args.output is not None:
            raise UsageError(
                "`wsec repro run` takes one file and nothing else: all options are in it", code="bad-option"
            )
        return _replay(Path(args.words[1]), args, console)
    if len(args.words) != 1 or args.output is None:
        raise UsageError("one model and -o F.zip are wanted", code="bad-option")
    options = options_from(given)
    require_folder(args.output)

    from frontends.cli.find.repro import Check, pack

    check = Check(args.tokens) if args.check else None
    weights = not args.no_weights
    outcome = pack(Path(args.words[0]), options, args.output, weights=weights, check=check, progress=console.progress)
    if args.json:
        console.json({"schema": 1, "file": str(args.output), "outcome": asdict(outcome), "weights": weights})
    else:
        left_out = "" if weights else ", without weights"
        console.out(f"{args.output}: {args.output.stat().st_size:,} bytes{left_out}; the run ended so: {safe(outcome)}")
    return 0


def _replay(path: Path, args: argparse.Namespace, console: Console) -> int:
    from frontends.cli.find.repro import replay

    result = replay(path, console.progress)
    if args.json:
        console.json({"schema": 1, "same": result.same, **asdict(result)})
    else:
        made = " (with random weights)" if result.made_weights else ""
        console.out(f"then, wsec {safe(result.version)}: {safe(result.then)}\nnow{made}: {safe(result.now)}")
        console.out("the run ends as it did" if result.same else "the run ends in another way")
    return 0 if result.same else NumericsError.exit_code
