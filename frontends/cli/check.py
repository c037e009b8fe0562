"""`wsec check`: machine against onnxruntime."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from frontends.cli.arguments import (
    Verbs,
    add_compiler_options,
    add_json,
    add_threads,
    add_verb,
    given_options,
    natural,
    options_from,
)
from frontends.cli.console import Console
from runtime.errors import NumericsError, UsageError
from runtime.text import table

if TYPE_CHECKING:
    from runtime.check import CheckReport

DESCRIPTION = """\
Run the same random inputs on the machine and on onnxruntime and compare every output. Compiles the model first if no
image is given. The verdict is on max|err| / max|ref|: at most 2e-5 with fp32 weights, 5e-3 with fp16, and 0 for a model
of small integers. Exits with 5 if an output is outside."""


def register(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    parser = add_verb(verbs, common, "check", "compare with onnxruntime", DESCRIPTION, run)
    parser.add_argument("model", type=Path, metavar="model.onnx")
    parser.add_argument("image", nargs="?", type=Path, metavar="model.wse", help="an image compiled from this model")
    parser.add_argument("--tokens", type=natural, default=32, metavar="N", help="length of every sequence (32)")
    parser.add_argument("--batch", type=natural, default=1, metavar="N", help="number of sequences (1)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the random inputs (0)")
    add_threads(parser)
    add_compiler_options(parser, seed=False)
    add_json(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    given = given_options(args)
    if args.image is not None and given:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UsageError(f"{flags} can have no effect on an image that is compiled already", code="option-too-late")
    if args.seed < 0:
        raise UsageError("--seed is below zero", code="bad-option")
    options = options_from(given)

    from frontends.cli import toolchain
    from runtime.imagefile import read_image

    report = toolchain.check_model(
        args.model,
        read_image(args.image) if args.image is not None else None,
        options=options,
        tokens=args.tokens,
        batch=args.batch,
        seed=args.seed,
        threads=args.threads,
        progress=console.progress,
    )
    if args.json:
        console.json(report.to_json())
    else:
        console.out(as_text(report))
    return 0 if report.passed else NumericsError.exit_code


def as_text(report: CheckReport) -> str:
    """The report for people: a table of outputs, then the times."""
    head = ("output", "max abs", "max|err|/max|ref|", "max ULP", "mean ULP", "cosine", "argmax", "tolerance", "verdict")
    rows: list[tuple[object, ...]] = [
        (
            output.name,
            f"{output.max_abs:.2e}",
            f"{output.max_rel:.2e}",
            f"{output.max_ulp:.0f}",
            f"{output.mean_ulp:.2f}",
            f"{output.cosine:.8f}",
            f"{100 * output.argmax_agreement:.1f} %",
            f"{output.tolerance:.0e}" if output.tolerance else "exact",
            "pass" if output.passed else "FAIL",
        )
        for output in report.outputs
    ]
    return "\n".join(
        [
            f"{report.batch} x {report.tokens} tokens, {report.precision}, seed {report.seed}",
            table(head, rows),
            f"machine {report.machine_seconds:.2f} s, onnxruntime {report.reference_seconds:.4f} s: "
            f"{report.ratio:,.0f} times slower, every wavelet of every core executed",
        ]
    )
