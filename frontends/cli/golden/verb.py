"""`wsec golden`: hold what models come to in baseline files."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frontends.cli.arguments import (
    Verbs,
    add_compiler_options,
    add_json,
    add_threads,
    add_verb,
    given_options,
    natural,
    require_folder,
    whole,
)
from frontends.cli.console import Console
from runtime.errors import NumericsError, UsageError, WsecError

if TYPE_CHECKING:
    from frontends.cli.golden.store import Result

DESCRIPTION = """\
Hold what a model came to: its errors against onnxruntime, predicted cycles, cores, memory, links, colours, the
searches' gaps, and, where asked, the error of every kernel (--layers) and measured cycles (--cycle-tokens). Each model
has a text file with the numbers, how much worse each may become, the options they were measured with, and the reason of
the last change.

  wsec golden update model.onnx --target mini-64x64 --reason "first baseline"
  wsec golden check model.onnx

`check` measures with the options of the file, and exits with 5 if a number is outside. What is better passes, and is
told. `update` accepts the new numbers, keeps edited tolerances, and refuses without a reason and when an output is
outside the tolerance of `wsec check`. `diff` is `check` without a verdict: all numbers, recorded, now and allowed."""


def register(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    parser = add_verb(verbs, common, "golden", "hold errors and costs in CI", DESCRIPTION, run)
    what = parser.add_subparsers(title="what", metavar="check|update|diff", dest="what", required=True)
    check = what.add_parser("check", help="compare models with their baselines", parents=[common])
    diff = what.add_parser("diff", help="the same, showing every number; always exits with 0", parents=[common])
    update = what.add_parser("update", help="accept what models come to now", parents=[common])
    for verb in (check, diff, update):
        verb.add_argument("models", nargs="+", type=Path, metavar="model.onnx")
        verb.add_argument(
            "--baselines", type=Path, metavar="DIR", help="where MODEL.golden.toml lies (beside the model)"
        )
        add_threads(verb)
        add_json(verb)
        verb.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML: a test case per number")
        verb.add_argument("--markdown", type=Path, metavar="FILE", help="append tables, as for a CI's summary page")
    update.add_argument("--reason", required=True, metavar="TEXT", help="why the numbers change; kept in the file")
    update.add_argument("--tokens", type=natural, metavar="N", help="length of the sequences to check (16)")
    update.add_argument("--batch", type=natural, metavar="N", help="number of sequences (1)")
    update.add_argument("--seed", type=whole, metavar="N", help="of the random inputs (0)")
    update.add_argument(
        "--cycle-tokens", type=whole, metavar="N", help="hold the measured cycles of N tokens too; 0: do not (0)"
    )
    update.add_argument(
        "--layers", action=argparse.BooleanOptionalAction, default=None, help="hold every kernel's error too (no)"
    )
    add_compiler_options(update, seed=False)


@dataclass
class Outcome:
    """What happened to the models of one command."""

    results: list[Result] = field(default_factory=list)
    errors: list[tuple[Path, WsecError]] = field(default_factory=list)


def run(args: argparse.Namespace, console: Console) -> int:
    from frontends.cli.golden import render, store

    if args.baselines is not None and not args.baselines.is_dir():
        raise UsageError("is not a folder", code="no-folder", where=str(args.baselines))
    for path in (args.junit, args.markdown):
        if path is not None:
            require_folder(path)
    paths = {model: store.baseline_path(model, args.baselines) for model in args.models}
    if len(set(paths.values())) < len(args.models):
        raise UsageError("two models have the same baseline", code="bad-option", where=str(args.baselines or ""))
    outcome = Outcome()
    for model, path in paths.items():
        try:
            result = _action(args, console)(model, path)
        except WsecError as error:
            console.err(f"wsec: {error}")
            outcome.errors.append((model, error))
            continue
        outcome.results.append(result)
        if not args.json:
            console.out(_told(args, result, render.text(result, everything=args.what == "diff")))
    if args.json:
        console.json(_json(outcome))
    elif whole := render.together(outcome.results):
        console.out(whole)
    _write(args, outcome)
    return _exit_code(args, outcome)


def _action(args: argparse.Namespace, console: Console) -> Callable[[Path, Path], Result]:
    from frontends.cli.golden import store

    if args.what != "update":
        return lambda model, path: store.check(model, path, threads=args.threads, progress=console.progress)
    names = ("tokens", "batch", "seed", "cycle_tokens", "layers")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    options = given_options(args)
    options.pop("seed", None)
    return lambda model, path: store.update(
        model, path, args.reason, options=options, run=given, threads=args.threads, progress=console.progress
    )


def _told(args: argparse.Namespace, result: Result, text: str) -> str:
    if args.what != "update":
        return text
    return f"{text}\n{result.path}: {'written' if result.written else 'nothing changed, not written'}"


def _json(outcome: Outcome) -> dict[str, Any]:
    from frontends.cli.golden import render
    from frontends.cli.golden.compare import geomeans

    errors = [
        {"model": str(model), "passed": False, "error": {"code": error.code, "message": error.message}}
        for model, error in outcome.errors
    ]
    models = [*map(render.to_json, outcome.results), *errors]
    means = geomeans(result.comparison for result in outcome.results)
    return {
        "schema": render.SCHEMA,
        "passed": all(model["passed"] for model in models),
        "geometric_means": {str(metric): mean for metric, mean in means.items()},
        "models": models,
    }


def _write(args: argparse.Namespace, outcome: Outcome) -> None:
    from frontends.cli.files import append_text, write_text
    from frontends.cli.golden import junit, render

    errors = [(str(model), str(error)) for model, error in outcome.errors]
    if args.junit is not None:
        write_text(args.junit, junit.junit(outcome.results, errors))
    if args.markdown is not None:
        append_text(args.markdown, render.markdown(outcome.results, errors))


def _exit_code(args: argparse.Namespace, outcome: Outcome) -> int:
    """That of the first model that could not be compared; 5 if only numbers are outside."""
    for _, error in outcome.errors:
        return error.exit_code
    passed = all(result.comparison.passed for result in outcome.results)
    return 0 if passed or args.what != "check" else NumericsError.exit_code
