"""`wsec reduce`: a failing model becomes a small one that fails in the same way."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from frontends.cli.arguments import (
    Verbs,
    add_compiler_options,
    add_json,
    add_random_inputs,
    add_verb,
    given_options,
    options_from,
    require_folder,
)
from frontends.cli.console import Console
from runtime.errors import UsageError, WsecError

if TYPE_CHECKING:
    from compiler.driver import Options
    from frontends.cli.find.reduce import Judge

DESCRIPTION = """\
Shrink an ONNX model that fails to a small one that fails in the same way: cut it to one inner output, then to inputs as
near to it as possible, then leave nodes out.

It fails if `wsec check` with the given options does: numbers outside the tolerance, or an error (its code is what must
stay the same). With --check CMD, the model's file takes the place of {} in CMD, or comes last; its exit code counts."""


def register(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    parser = add_verb(verbs, common, "reduce", "shrink a model that fails", DESCRIPTION, run)
    parser.add_argument("model", type=Path, metavar="model.onnx")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="small.onnx", help="the model to write")
    parser.add_argument("--check", metavar="CMD", help="a command that fails (is not 0) for the model, instead")
    parser.add_argument("--layers", action="store_true", help="a value inside outside its bound is a failure, too")
    add_random_inputs(parser, tokens=8)
    add_compiler_options(parser, seed=False)
    add_json(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    given = given_options(args)
    options = options_from(given)
    require_folder(args.output)
    if args.check is not None and (given or args.layers):
        raise UsageError("--check CMD decides alone: give the options to CMD", code="bad-option")
    words = _command(args.check) if args.check is not None else []

    from dataclasses import asdict

    from frontends.cli.find.reduce import command_judge, reduce

    judge = command_judge(words) if words else check_judge(args, options)
    result = reduce(args.model, args.output, judge, console.progress)
    if args.json:
        console.json({"schema": 1, "model": str(args.output), **asdict(result)})
    else:
        console.out(
            f"{args.output}: {result.after} of {result.before} nodes, fails as before ({result.failure}); "
            f"{result.tried} models tried"
        )
    return 0


def _command(text: str) -> list[str]:
    """The words of a command. Raises UsageError if there are none, or a quotation does not end."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"--check: {error}", code="bad-command") from None
    if not words:
        raise UsageError("--check names no command", code="bad-command")
    return words


def check_judge(args: argparse.Namespace, options: Options) -> Judge:
    """By `wsec check`: the code of its error, or that numbers are outside.

    Raises InputError for a target that does not exist, and the judge UsageError for options that make no sense: with
    these every model fails, and reducing would say nothing of this one.
    """
    from compiler.driver import DEFAULT_TARGET
    from frontends.cli.toolchain import Inside, check_model
    from runtime import target

    target.load(options.target or DEFAULT_TARGET)
    inside = Inside() if args.layers else None

    def judge(path: Path) -> str:
        try:
            report = check_model(
                path, options=options, tokens=args.tokens, batch=args.batch, seed=args.seed, inside=inside
            )
        except UsageError:
            raise
        except WsecError as error:
            return error.code
        return "" if report.passed else "numbers"

    return judge
