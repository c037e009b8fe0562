"""`wsec VERB ...`: reads the command line, runs one verb, and turns errors into one message and an exit code.

Verbs import what they need when they run, so that `wsec --help` is quick.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from frontends.cli import (
    bench,
    bisect,
    check,
    compile,
    completion,
    diff,
    explain,
    export,
    inspect,
    lint,
    opt,
    place,
    reduce,
    report,
    repro,
    run,
    score,
    target,
    validate,
    view,
)
from frontends.cli.console import Console, json_text
from frontends.cli.golden import verb as golden
from frontends.cli.parser import Parser
from frontends.cli.recognise import hint_instead
from frontends.cli.version import VERSION
from runtime.errors import InfeasibleError, InputError, WsecError
from runtime.text import table

DESCRIPTION = """\
wsec compiles a transformer saved as ONNX into a program for a wafer-scale engine (Cerebras CS-2), executes that
program core by core, and compares the result with onnxruntime."""

EPILOG = """\
a first run:
  wsec export -m cerebras-gpt-111m -o model.onnx
  wsec compile model.onnx -o model.wse
  wsec check model.onnx model.wse --tokens 16

exit codes:
  0 fine                              5 results outside the tolerance, files that differ
  1 bad input                         6 cores wait for ever (deadlock)
  2 the command line makes no sense   7 the validator found an illegal image
  3 proved not to fit the target      8 internal error
  4 a search limit was reached

`wsec explain CODE` says more about an error[CODE]."""

VERBS = (
    export,
    lint,
    compile,
    opt,
    diff,
    validate,
    inspect,
    report,
    view,
    target,
    run,
    check,
    golden,
    bisect,
    reduce,
    repro,
    bench,
    place,
    score,
    explain,
    completion,
)
INTERRUPTED = 130  # as shells report SIGINT
BROKEN_PIPE = 141  # as shells report SIGPIPE
INTERNAL = WsecError.exit_code


def parser() -> Parser:
    """The whole command line."""
    root = Parser(
        prog="wsec", description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    root.add_argument("--version", action="version", version=f"wsec {VERSION}")
    verbs = root.add_subparsers(title="verbs", metavar="VERB", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("-q", "--quiet", action="store_true", help="no progress and no notes on stderr")
    common.add_argument("-v", "--verbose", action="store_true", help="more detail; a traceback with internal errors")
    for verb in VERBS:
        verb.register(verbs, common)
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code (see `wsec --help`)."""
    args, unknown = parser().parse_known_args(arguments)
    if unknown:
        args.parser.refuse(unknown)
    try:
        with Console(quiet=args.quiet, verbose=args.verbose) as console:
            code: int = args.run(args, console)
            sys.stdout.flush()
            return code
    except WsecError as error:
        if args.verbose:
            traceback.print_exc()
        if error.code == "not-onnx" and not error.hint:
            error.hint = hint_instead(Path(error.where))
        return _fail(args, error)
    except KeyboardInterrupt:
        print("wsec: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Nobody reads on: keep the interpreter from complaining when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except (OSError, MemoryError) as error:  # which no verb foresaw: a name that cannot be, a full disk
        if args.verbose:
            traceback.print_exc()
        return _fail(args, _refused(error))
    except Exception as error:
        if args.verbose:
            traceback.print_exc()
        message = str(error).strip().splitlines()
        hint = "this is a fault of wsec; run again with -v and report what it prints"
        return _fail(args, WsecError(": ".join([type(error).__name__, *message[:1]]), code="internal", hint=hint))


def _refused(error: OSError | MemoryError) -> WsecError:
    """What the system did not do for us."""
    if isinstance(error, OSError):
        return InputError(error.strerror or str(error), code="system", where=str(error.filename or ""))
    return InputError(
        str(error) or "not enough memory", code="out-of-memory", hint="fewer tokens or sequences, or a smaller model"
    )


def _explained(error: InfeasibleError) -> str:
    """What falls short, for whom, and what would help, as tables."""
    parts = []
    for shortage in error.shortages:
        head = ("short of", "where", "demand", "supply", "missing")
        missing = max(0, shortage.demand - shortage.supply)
        numbers = (f"{number:,}" for number in (shortage.demand, shortage.supply, missing))
        row = (shortage.resource, shortage.where, *numbers)
        parts.append(f"{table(head, [row])}\n{shortage.proof}")
        if shortage.demands:
            rows = [(name, f"{amount:,}") for name, amount in shortage.demands]
            parts.append(table(("kernel", shortage.resource), rows))
    if error.levers:
        tried = [(lever.option, lever.effect, "tried" if lever.tried else "not tried") for lever in error.levers]
        parts.append(table(("what would help", "effect", ""), tried))
    return "".join(f"\n{part}\n" for part in parts)


def _fail(args: argparse.Namespace, error: WsecError) -> int:
    print(f"wsec: {error}", file=sys.stderr)
    fields: dict[str, object] = {"code": error.code, "message": error.message, "where": error.where, "hint": error.hint}
    if isinstance(error, InfeasibleError):
        fields |= {name: [dataclasses.asdict(e) for e in getattr(error, name)] for name in ("shortages", "levers")}
        print(_explained(error), end="", file=sys.stderr)
    if getattr(args, "json", False):
        print(json_text({"schema": 1, "error": fields, "exit_code": error.exit_code}))
    return error.exit_code
