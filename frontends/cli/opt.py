"""`wsec opt`: passes on IR text."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from frontends.cli.arguments import Verbs, add_no_locations, add_verb, require_folder
from frontends.cli.console import Console
from runtime.errors import NumericsError, UsageError, WsecError
from runtime.text import table

if TYPE_CHECKING:
    from compiler.ir.core import Op
    from compiler.ir.passes import Pass
    from frontends.cli.expected import Diagnostic

DESCRIPTION = """\
Run a pipeline of passes on a .wir file of any phase, e.g. -p "simplify,place{seed=3}". See --list-passes.

Passes that look at weights find them as `wsec compile` does. The module's phase stays what it was.

With --verify-diagnostics the file says which errors it expects, in the line that causes them:
  graph.output(%9) {name = "y"}          // expected-error {{%9 is not defined here}}
  // expected-error@+1 {{bad-ir-text}}   (one line further down)
  // expected-error@unknown {{needs}}    (in no line, such as a pass's error)
The exit code is 5 unless every one of them came, and no other."""


def register(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    parser = add_verb(verbs, common, "opt", "run passes on IR text", DESCRIPTION, run)
    parser.add_argument("module", nargs="?", metavar="FILE.wir|-", help="IR text; - is stdin")
    parser.add_argument("-p", "--passes", default="", metavar="PIPELINE", help='"pass,pass{option=value option=value}"')
    parser.add_argument("-o", "--output", default="-", metavar="FILE", help="where the result goes (-: stdout)")
    parser.add_argument("--target", metavar="NAME|FILE", help="machine for passes that need one (the module's, or cs2)")
    parser.add_argument(
        "--weights", type=Path, metavar="PATH", help="where the constants are: model, folder, safetensors"
    )
    parser.add_argument("--split-input-file", action="store_true", help="lines `// -----` part modules of their own")
    parser.add_argument("--list-passes", action="store_true", help="list all passes with their options, and exit")
    parser.add_argument("--syntax", action="store_true", help="print the reference of all ops (Markdown), and exit")
    look = parser.add_argument_group("looking at it")
    add_no_locations(look)
    for when in ("before", "after"):
        look.add_argument(
            f"--print-ir-{when}", action="append", default=[], metavar="PASS",
            help=f"print the module {when} this pass on stderr; may be given again",
        )  # fmt: skip
    look.add_argument("--print-ir-after-all", action="store_true", help="print the module after each pass on stderr")
    look.add_argument(
        "--time-passes", action="store_true", help="print seconds and numbers of ops of every pass on stderr"
    )
    test = parser.add_argument_group("testing")
    test.add_argument(
        "--verify-each", choices=("on", "off"), default="on", help="verify the module after each pass (on)"
    )
    test.add_argument("--verify-diagnostics", action="store_true", help="hold errors against those the file expects")
    test.add_argument(
        "--roundtrip", action="store_true", help="print and read back before the first and after each pass"
    )


def run(args: argparse.Namespace, console: Console) -> int:
    import compiler.pipelines  # noqa: F401 - enters all passes
    from compiler.ir.passes import PASSES, describe, parse_pipeline
    from frontends.cli.expected import parts
    from frontends.cli.files import write_text

    if args.list_passes:
        console.out("\n".join(describe(PASSES[name]) for name in sorted(PASSES)))
        return 0
    if args.syntax:
        from compiler.ir.syntax import syntax_page

        console.out(syntax_page(), end="")
        return 0
    if args.module is None:
        raise UsageError("no module given", code="no-input", hint="name a .wir file, or - for stdin")
    if args.output != "-":
        require_folder(Path(args.output))
    passes = parse_pipeline(args.passes)
    _require_in(passes, [*args.print_ir_before, *args.print_ir_after])
    text = _read(args.module)
    texts = parts(text) if args.split_input_file else [text]
    if args.verify_diagnostics:
        return _verify_diagnostics(args, console, passes, texts)
    results = [_transform(args, console, passes, _parse(args, part)) for part in texts]
    printed = "// -----\n".join(results)
    if args.output == "-":
        console.out(printed, end="")
    else:
        write_text(Path(args.output), printed)
    return 0


def _require_in(passes: Iterable[Pass], names: Iterable[str]) -> None:
    there = {step.name for step in passes}
    for name in names:
        if name not in there:
            message = f"there is no pass {name!r} in the pipeline, so nothing to print"
            raise UsageError(message, code="unused-pass", hint=f"it has: {', '.join(sorted(there)) or 'no passes'}")


def _read(name: str) -> str:
    from compiler.ir.parser import read_text

    return sys.stdin.read() if name == "-" else read_text(Path(name))


def _parse(args: argparse.Namespace, text: str) -> Op:
    """The module, valid if --verify-each is on."""
    from compiler.ir.parser import parse_module
    from compiler.ir.read import read_module

    filename = _filename(args)
    return read_module(text, filename) if args.verify_each == "on" else parse_module(text, filename=filename)


def _filename(args: argparse.Namespace) -> str:
    return "<stdin>" if args.module == "-" else str(args.module)


def _transform(args: argparse.Namespace, console: Console, passes: list[Pass], module: Op) -> str:
    """The text of the module after the passes."""
    from compiler.ir.instrument import HEAD, PassTimes
    from compiler.ir.passes import Hook, PassContext, PassManager
    from compiler.ir.printer import print_module
    from frontends.cli.weights import find_weights
    from runtime import target as targets

    folder = Path() if args.module == "-" else Path(args.module).parent
    resources = find_weights(module, folder, args.weights)
    target = targets.load(args.target or str(module.attrs.get("target", "cs2")))
    target = targets.with_defects(target, module.attrs.get("defects", target.defects), "the module")
    times = PassTimes(module)

    def show(when: str, step: Pass) -> None:
        wanted = args.print_ir_before if when == "before" else args.print_ir_after
        if step.name in wanted or (when == "after" and args.print_ir_after_all):
            console.err(f"// {when} {step.name}\n{print_module(module, locations=args.locations)}")

    def look(index: int, step: Pass, _changed: Op, _seconds: float) -> None:
        show("after", step)
        if index + 1 < len(passes):
            show("before", passes[index + 1])

    def read_back(_index: int, step: Pass, _changed: Op, _seconds: float) -> None:
        _round_trip(module, f"after pass {step.name}")

    hooks: list[Hook] = [times, look, *([read_back] if args.roundtrip else [])]
    if args.roundtrip:
        _round_trip(module, "as it was read")
    if passes:
        show("before", passes[0])
    try:
        context = PassContext(resources, target, console.progress)
        PassManager(passes, hooks, verify=args.verify_each == "on").run(module, context)
    except WsecError as error:
        if isinstance(error.__cause__, KeyError):
            resources.resolve(module)  # a constant that is not at hand explains it better
        raise
    if args.time_passes:
        console.err(table(HEAD, times.rows()))
    return print_module(module, locations=args.locations)


def _round_trip(module: Op, when: str) -> None:
    """Raises WsecError if printing the module and reading that gives another: a fault of printer or parser."""
    from compiler.ir.compare import compare
    from compiler.ir.parser import parse_module
    from compiler.ir.printer import print_module

    found = compare(module, parse_module(print_module(module)))
    if not found.same:
        raise WsecError(
            f"read back from its own text, the module is another\n{found.differences[0].text()}",
            code="round-trip",
            where=f"the module {when}",
            hint="this is a fault of wsec; please report it with the module",
        )


def _verify_diagnostics(args: argparse.Namespace, console: Console, passes: list[Pass], texts: list[str]) -> int:
    from frontends.cli.expected import disagreements, expected

    wanted = [diagnostic for text in texts for diagnostic in expected(text)]
    problems = [
        problem
        for text in texts
        for problem in disagreements(expected(text), _diagnostics(args, console, passes, text))
    ]
    if problems:
        raise NumericsError(
            "\n  ".join(["errors are not as expected:", *problems]), code="other-errors", where=_filename(args)
        )
    modules, errors = (f"{n} {what}{'s' * (n != 1)}" for n, what in ((len(texts), "module"), (len(wanted), "error")))
    console.out(f"{_filename(args)}: {modules}, {errors} expected and seen")
    return 0


def _diagnostics(args: argparse.Namespace, console: Console, passes: list[Pass], text: str) -> list[Diagnostic]:
    """The errors that reading, verifying and transforming a module come to: the first that stops it, but all of the
    verifier's."""
    from compiler.ir.parser import parse_module
    from compiler.ir.verifier import located_violations
    from frontends.cli.expected import Diagnostic

    lines: dict[Op, int] = {}
    try:
        module = parse_module(text, filename="", lines=lines)
        found = [Diagnostic(lines.get(op, 0), f"invalid-ir: {said}") for op, said in located_violations(module)]
        if not found:
            _transform(args, console, passes, module)
    except WsecError as error:
        place = error.where.split(":")  # the parser's are `:line:column`
        line = int(place[1]) if len(place) == 3 and place[0] == "" else 0
        return [Diagnostic(line, f"{error.code}: {error.message}")]
    return found
