"""`wsec export`: a GPT from PyTorch to ONNX."""

from __future__ import annotations

import argparse
from pathlib import Path

from frontends.cli.arguments import Verbs, add_verb, natural, require_folder
from frontends.cli.console import Console

DESCRIPTION = """\
Build a Hugging Face GPT-2 style model and export it with torch.onnx.export.

-m takes a preset (cerebras-gpt-111m, -256m, -590m, -1.3b, -2.7b, -6.7b, -13b: published shape, random weights), a local
checkpoint folder, or a name on the Hugging Face hub. Needs: pip install 'wsec[gpt]'

--weights none writes the real graph at its real size with a sparse data file: no weights, no disk space. It compiles
like any other model; there is nothing to check it against."""


def register(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    parser = add_verb(verbs, common, "export", "PyTorch model to ONNX", DESCRIPTION, run)
    parser.add_argument(
        "-m", "--model", required=True, metavar="NAME|FOLDER|HUB", help="preset, checkpoint or hub name"
    )
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FILE", help="the ONNX file to write")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of a preset's random weights (0)")
    shape = parser.add_argument_group("shape of a preset (default: as published)")
    for name, what in (
        ("layers", "transformer blocks"), ("width", "features per token"), ("heads", "attention heads"),
        ("vocab", "token ids"), ("ctx", "longest sequence"),
    ):  # fmt: skip
        shape.add_argument(f"--{name}", type=natural, metavar="N", help=what)
    parser.add_argument(
        "--precision", choices=("fp32", "fp16"), default="fp32", help="of the weights in the file (fp32)"
    )
    parser.add_argument("--exporter", choices=("dynamo", "legacy"), default="dynamo", help="torch's exporter (dynamo)")
    parser.add_argument(
        "--weights", choices=("real", "none"), default="real", help="none: holes in a sparse file (real)"
    )
    parser.add_argument("--no-validate", action="store_true", help="do not compare the file with torch")


def run(args: argparse.Namespace, console: Console) -> int:
    from frontends.hf.export import export

    require_folder(args.output)
    report = export(
        args.model,
        args.output,
        seed=args.seed,
        layers=args.layers,
        width=args.width,
        heads=args.heads,
        vocab=args.vocab,
        ctx=args.ctx,
        precision=args.precision,
        exporter=args.exporter,
        weights=args.weights,
        validate=not args.no_validate,
        progress=console.progress,
    )
    if report.max_error is not None:
        agrees = f"max|err|/max|ref| against torch {report.max_error:.1e}"
    else:
        agrees = "no weights" if args.weights == "none" else "not validated"
    console.out(
        f"{report.path}: {report.parameters:,} parameters, {report.nodes} nodes, opset {report.opset}, {agrees}, "
        f"{report.seconds:.1f} s"
    )
    return 0
