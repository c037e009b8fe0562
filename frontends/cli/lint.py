"""`wsec lint`: what of a model can be compiled, without compiling it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frontends.cli.arguments import Verbs, add_json, add_verb
from frontends.cli.console import Console
from runtime.text import safe, table

if TYPE_CHECKING:
    from frontends.onnx.import_graph import LintReport

DESCRIPTION = """\
List a model's inputs, outputs and ops, and everything that cannot be imported, by node name. No weight is read.
Exits with 1 if there is anything unsupported. Whether there are kernels for what is imported depends on how nodes are
joined: `wsec compile model.onnx --compile-to flow` tells, in seconds."""


def register(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    parser = add_verb(verbs, common, "lint", "what of an ONNX model is supported", DESCRIPTION, run)
    parser.add_argument("model", type=Path, metavar="model.onnx")
    add_json(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    from frontends.onnx.import_graph import lint

    report = lint(args.model)
    if args.json:
        console.json(as_json(report))
    else:
        console.out(as_text(report))
    return 1 if report.problems else 0


def as_json(report: LintReport) -> dict[str, Any]:
    """The report as one JSON object."""
    return {
        "schema": 1,
        "model": report.path.name,
        "opset": report.opset,
        "inputs": dict(report.inputs),
        "outputs": dict(report.outputs),
        "parameters": report.parameters,
        "supported": dict(report.supported),
        "unsupported": dict(report.unsupported),
        "problems": [vars(problem) for problem in report.problems],
    }


def as_text(report: LintReport) -> str:
    """The report for people."""
    lines = [f"{report.path}: opset {report.opset}, {report.parameters:,} parameters"]
    ports = [("input ", *port) for port in report.inputs] + [("output", *port) for port in report.outputs]
    lines += [f"{way}  {safe(name)}{': ' + kind if kind else ''}" for way, name, kind in ports]
    rows: list[tuple[object, ...]] = [(op, count, "") for op, count in report.supported.items()]
    rows += [(op, count, "not supported") for op, count in report.unsupported.items()]
    lines += ["", table(("op", "nodes", ""), rows)]
    if report.problems:
        lines += ["", f"{len(report.problems)} nodes cannot be imported:"]
    else:
        lines += ["", "all nodes can be imported; `wsec compile --compile-to flow` tells whether all become kernels"]
    for entry in report.problems:
        reason = safe(entry.reason) if entry.reason else f"no such op in domain {safe(entry.domain)}"
        lines.append(f"  {safe(entry.node)}: {safe(entry.op_type)}: {reason}")
    return "\n".join(lines)
