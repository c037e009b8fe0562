"""`wsec opt`: passes on IR text."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from frontends.cli.arguments import Verbs, add_verb, require_folder
from frontends.cli.console import Console
from runtime.errors import UsageError, WsecError
from runtime.text import table

if TYPE_CHECKING:
    from compiler.ir.core import Op

DESCRIPTION = """\
Run a pipeline of passes on a .wir file of any phase, e.g. -p "simplify,place{seed=3}". See --list-passes.

Passes that look at weights find them as `wsec compile` does. The module's phase stays what it was."""


def register(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    parser = add_verb(verbs, common, "opt", "run passes on IR text", DESCRIPTION, run)
    parser.add_argument("module", nargs="?", metavar="FILE.wir|-", help="IR text; - is stdin")
    parser.add_argument("-p", "--passes", default="", metavar="PIPELINE", help='"pass,pass{option=value option=value}"')
    parser.add_argument("-o", "--output", default="-", metavar="FILE", help="where the result goes (-: stdout)")
    parser.add_argument("--target", metavar="NAME|FILE", help="machine for passes that need one (the module's, or cs2)")
    parser.add_argument(
        "--weights", type=Path, metavar="PATH", help="where the constants are: model, folder, safetensors"
    )
    parser.add_argument(
        "--verify-each", choices=("on", "off"), default="on", help="verify the module after each pass (on)"
    )
    parser.add_argument("--print-ir-after-all", action="store_true", help="print the module after each pass on stderr")
    parser.add_argument("--time-passes", action="store_true", help="print the seconds of every pass on stderr")
    parser.add_argument("--list-passes", action="store_true", help="list all passes with their options, and exit")


def run(args: argparse.Namespace, console: Console) -> int:
    import compiler.pipelines  # noqa: F401 - enters all passes
    from compiler.ir.passes import PASSES, Hook, Pass, PassContext, PassManager, describe, parse_pipeline
    from compiler.ir.printer import print_module
    from frontends.cli.files import write_text
    from frontends.cli.weights import find_weights
    from runtime import target as targets

    if args.list_passes:
        console.out("\n".join(describe(PASSES[name]) for name in sorted(PASSES)))
        return 0
    if args.module is None:
        raise UsageError("no module given", code="no-input", hint="name a .wir file, or - for stdin")
    if args.output != "-":
        require_folder(Path(args.output))
    passes = parse_pipeline(args.passes)
    module, folder = _read(args.module)
    resources = find_weights(module, folder, args.weights)
    target = targets.load(args.target or str(module.attrs.get("target", "cs2")))
    target = targets.with_defects(target, module.attrs.get("defects", target.defects), "the module")
    seconds: list[tuple[str, float]] = []

    def show(_index: int, step: Pass, changed: Op, _seconds: float) -> None:
        console.err(f"// after {step.name}\n{print_module(changed)}")

    def clock(_index: int, step: Pass, _changed: Op, took: float) -> None:
        seconds.append((step.name, took))

    hooks: list[Hook] = [clock, show] if args.print_ir_after_all else [clock]
    context = PassContext(resources, target, console.progress)
    try:
        PassManager(passes, hooks, verify=args.verify_each == "on").run(module, context)
    except WsecError as error:
        if isinstance(error.__cause__, KeyError):
            resources.resolve(module)  # a constant that is not at hand explains it better
        raise
    text = print_module(module)
    if args.output == "-":
        console.out(text, end="")
    else:
        write_text(Path(args.output), text)
    if args.time_passes:
        console.err(table(("pass", "seconds"), [(name, round(took, 3)) for name, took in seconds]))
    return 0


def _read(name: str) -> tuple[Op, Path]:
    """The module, and the folder to look for its constants in."""
    from compiler.ir.parser import parse_file, parse_module

    if name == "-":
        return parse_module(sys.stdin.read(), filename="<stdin>"), Path()
    return parse_file(Path(name)), Path(name).parent
