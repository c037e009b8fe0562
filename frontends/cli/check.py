"""`wsec check`: machine against onnxruntime."""

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
    require_own_folder,
)
from frontends.cli.console import Console
from runtime.errors import NumericsError, UsageError
from runtime.text import table

if TYPE_CHECKING:
    from runtime.check import CheckReport, Layer

DESCRIPTION = """\
Run the same random inputs on the machine and on onnxruntime and compare every output. Compiles the model first if no
image is given. The verdict is on max|err| / max|ref|: below 2e-5 with fp32 weights, 5e-3 with fp16, and 0 for a model
of small integers. Exits with 5 if an output is outside.

--layers compares every value inside the model that fusing left, too, at three levels: graph (ops in numpy), placed
(kernels in numpy) and executed (what a tap hears of the machine, which it does not change). Two readings:

accumulated  from the inputs on, against onnxruntime's value; the tolerance is that of outputs
isolated     this step alone, against a bound derived from its operands. At graph and placed it gets onnxruntime's own
             values. At executed nothing is fed to the machine: what the op means is computed from the words the
             kernel really received, with its own rounding of weights and operands and sums in fp64.

Kernels that layers share (--fold) have a row for every layer: `matvec1 pass 3` works for the fourth that shares it."""


def register(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    parser = add_verb(verbs, common, "check", "compare with onnxruntime", DESCRIPTION, run)
    parser.add_argument("model", type=Path, metavar="model.onnx")
    parser.add_argument("image", nargs="?", type=Path, metavar="model.wse", help="an image compiled from this model")
    add_random_inputs(parser, tokens=32)
    layers = parser.add_argument_group("inside the model")
    layers.add_argument("--layers", action="store_true", help="compare every value inside the model as well")
    layers.add_argument("--level", choices=("graph", "placed", "executed", "all"), help="of the values compared (all)")
    layers.add_argument("--mode", choices=("accumulated", "isolated", "both"), help="the reading (both)")
    layers.add_argument(
        "--save-values",
        type=Path,
        metavar="DIR",
        help="keep onnxruntime's values and what the kernels sent there as .npy, with index.json",
    )
    add_threads(parser)
    add_compiler_options(parser, seed=False)
    add_json(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    given = given_options(args)
    if args.image is not None and given:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UsageError(f"{flags} can have no effect on an image that is compiled already", code="option-too-late")
    if not args.layers and (args.level or args.mode or args.save_values):
        raise UsageError("--level, --mode and --save-values belong to --layers", code="bad-option")
    options = options_from(given)
    if args.save_values is not None:
        require_own_folder(args.save_values)

    from frontends.cli import toolchain
    from runtime.imagefile import read_image

    inside = toolchain.Inside(args.level or "all", args.mode or "both", args.save_values) if args.layers else None

    report = toolchain.check_model(
        args.model,
        read_image(args.image) if args.image is not None else None,
        options=options,
        tokens=args.tokens,
        batch=args.batch,
        seed=args.seed,
        threads=args.threads,
        inside=inside,
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
    lines = [
        f"{report.batch} x {report.tokens} tokens, {report.precision}, seed {report.seed}",
        table(head, rows),
        f"machine {report.machine_seconds:.2f} s, onnxruntime {report.reference_seconds:.4f} s: "
        f"{report.ratio:,.0f} times slower, every wavelet of every core executed",
    ]
    return "\n".join([*lines, *(["", layers_text(report)] if report.layers else [])])


def layers_text(report: CheckReport) -> str:
    """One row for each value: by level its accumulated error, and the error of its step alone over its bound."""
    levels = list(dict.fromkeys(layer.level for layer in report.layers))
    rows: dict[str, dict[str, Layer]] = {}
    for layer in report.layers:
        rows.setdefault(layer.name or layer.maker, {})[layer.level] = layer
    head = ("value", "what", "kernel", *(column for level in levels for column in (level, "of bound")), "")
    body = []
    for name, by_level in rows.items():
        last = by_level[max(by_level, key=levels.index)]
        cells = [cell for level in levels for cell in _cells(by_level.get(level))]
        bad = [level for level, layer in by_level.items() if not layer.passed]
        body.append((name, last.where, last.maker, *cells, f"FAIL {', '.join(bad)}" if bad else ""))
    told = [
        "level: max|err|/max|ref|, accumulated; of bound: error of the step alone over the bound derived for it, where "
        "more than 1 is wrong",
        table(head, body),
        f"{len(report.fused)} values of the model are fused away; onnxruntime's outputs move by "
        f"{report.observation:.1e} when the others are made visible",
        *(first_text(report, level) for level in levels),
    ]
    return "\n".join([*told, *([report.finding.text] if report.finding else [])])


def _cells(layer: Layer | None) -> tuple[str, str]:
    if layer is None:
        return "", ""
    grown = "" if layer.max_rel is None else f"{layer.max_rel:.1e}"
    return grown, "" if layer.share is None else f"{layer.share:.3g}"


def first_text(report: CheckReport, level: str) -> str:
    """Where the first error enters at a level, if one does."""
    layers = [layer for layer in report.layers if layer.level == level]
    wrong = next((layer for layer in layers if layer.wrong), None)
    drifted = next((layer for layer in layers if layer.drifted), None)
    if wrong is not None:
        return (
            f"{level}: the first wrong step is {wrong.maker} ({wrong.where}), value {wrong.name or 'of its own'}: off "
            f"by {wrong.isolated:.1e}, {wrong.share:,.3g} times what rounding explains"
        )
    if drifted is not None:
        return (
            f"{level}: no step alone is wrong, but value {drifted.name} ({drifted.where}) is off by "
            f"{drifted.max_rel:.1e}, the first beyond {drifted.tolerance:.0e}"
        )
    return f"{level}: all {len(layers)} values are within their bounds"
