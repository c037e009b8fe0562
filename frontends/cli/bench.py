"""`wsec bench`: microbenchmarks on the cycle machine, and its error against published measurements."""

from __future__ import annotations

import argparse
from typing import Any

from frontends.cli.arguments import Verbs, add_json, add_verb, natural
from frontends.cli.console import Console

DESCRIPTION = """\
Microbenchmarks as real images through the cycle machine, on cores that have the fabric to themselves. Prints cycles and
where core-cycles went. `wsec bench validate` holds the machine to every published figure within reach."""


def register(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    parser = add_verb(verbs, common, "bench", "microbenchmarks of the cycle machine", DESCRIPTION, run)
    kinds = parser.add_subparsers(title="microbenchmarks", metavar="BENCH", required=True, dest="bench")

    def add(name: str, summary: str) -> argparse.ArgumentParser:
        kind: argparse.ArgumentParser = kinds.add_parser(name, help=summary, description=summary, parents=[common])
        add_json(kind)
        kind.add_argument("--target", default="cs2", metavar="NAME|FILE", help="machine to take the numbers of (cs2)")
        return kind

    reduce = add("reduce", "sum of a vector over a row of cores")
    reduce.add_argument("--algorithm", choices=("chain", "tree", "two-phase", "star"), default="chain")
    reduce.add_argument(
        "--group", type=natural, metavar="S", help="two-phase: cores in a group (about the square root)"
    )
    _sizes(add("broadcast", "a vector to a row of cores"), cores=512, words=4096)
    _sizes(reduce, cores=512, words=4096)
    grid = add("reduce2d", "sum of a vector over a rectangle of cores")
    grid.add_argument(
        "--algorithm", choices=("x-y", "snake"), default="x-y", help="chains along rows and a column (x-y)"
    )
    for kind in (grid, add("broadcast2d", "a vector to a rectangle of cores")):
        _sizes(kind, rows=16, cols=16, words=256)
    _vector(add("vector", "one vector instruction on memory"))
    matvec = add("matvec", "a matrix-vector product over a rectangle of cores, token after token")
    _sizes(matvec, rows=8, cols=8, k=512, n=512, tokens=8)
    matvec.add_argument("--dtype", choices=("f32", "f16"), default="f16", help="of the matrix; sums are fp32 (f16)")
    gemm = add("gemm", "the published local-tile GEMM: K / rows x N / cols and M on every core, no communication")
    _sizes(gemm, rows=16, cols=12)
    gemm.add_argument("--m", type=natural, default=64, metavar="M", help="(64)")
    gemm.add_argument("--k", type=natural, metavar="K", help="(48 a row)")
    gemm.add_argument("--n", type=natural, metavar="N", help="(64 a column)")
    gemm.add_argument("--aligned", action="store_true", help="operands on different banks, which the published are not")
    add("validate", "every published figure within reach, and the machine's error")


def _sizes(parser: argparse.ArgumentParser, **sizes: int) -> None:
    for name, default in sizes.items():
        parser.add_argument(f"--{name}", type=natural, default=default, metavar=name[0].upper(), help=f"({default})")


def _vector(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--op", choices=("mul", "add", "mov", "fmac"), default="mul", help="fmac: scalar x vector (mul)"
    )
    parser.add_argument("--dtype", choices=("f32", "f16", "mixed"), default="f32", help="mixed: fp16 into fp32 (f32)")
    _sizes(parser, n=5124)
    parser.add_argument("--same-bank", action="store_true", help="operands at the same alignment: their banks conflict")
    parser.add_argument("--stride", type=int, metavar="S", help="of the operands, in elements (1)")


def run(args: argparse.Namespace, console: Console) -> int:
    from runtime import target

    base = target.load(args.target)
    if args.bench == "validate":
        return _validate(args, console, base)
    from runtime.bench import suite

    if args.bench == "gemm":
        args.k, args.n = args.k or 48 * args.rows, args.n or 64 * args.cols
    own = ("run", "parser", "json", "quiet", "verbose", "target", "bench")
    arguments = {name: value for name, value in vars(args).items() if name not in own}
    result = suite.run(args.bench, base, arguments)
    if args.json:
        console.json({"schema": 1, "bench": args.bench, "target": args.target, **arguments, **result})
    else:
        console.out(_text(args.bench, result))
    return 0


def _text(bench: str, result: dict[str, Any]) -> str:
    spent = result["core_cycles"]
    total = max(1, sum(spent.values()))
    shares = ", ".join(f"{name.replace('_', ' ')} {count / total:.1%}" for name, count in spent.items() if count)
    token = f", {result['cycles_per_token']:,.1f} a token" if "cycles_per_token" in result else ""
    return f"{bench}: {result['cycles']:,} cycles{token}\n  {result['cores']:,} cores: {shares}"


def _validate(args: argparse.Namespace, console: Console, base: Any) -> int:
    import dataclasses

    from runtime.bench import published
    from runtime.bench.validate import table
    from runtime.text import table as text_table

    rows = table(base, console.progress)
    failed = [row for row in rows if not row.passed]
    if args.json:
        figures = [{**dataclasses.asdict(row), "passed": row.passed} for row in rows]
        summary = {"schema": 1, "target": args.target, "passed": len(rows) - len(failed), "failed": len(failed)}
        console.json({**summary, "figures": figures, "not_modelled": list(published.NOT_MODELLED)})
        return 0
    head = ("figure", "published", "ours", "error", "pass mark", "verdict")
    lines = [
        (row.what, f"{row.published:,.6g}" if row.published < 1e5 else f"{row.published:,.0f}", f"{row.ours:,.6g}",
         f"{row.error:+.2%}", f"{row.tolerance:.1%}" if row.tolerance else "exact", "pass" if row.passed else "FAIL")
        for row in rows
    ]  # fmt: skip
    notes = "\n".join(f"  {row.what}: {row.note}" for row in rows if row.note)
    sources = "\n".join(f"  {source}" for source in dict.fromkeys(row.source for row in rows))
    missing = "\n".join(f"  {text}" for text in published.NOT_MODELLED)
    console.out(
        f"{text_table(head, lines)}\n\n{len(rows) - len(failed)} of {len(rows)} pass\n\nnotes\n{notes}\n\n"
        f"sources\n{sources}\n\nwhat is not modelled\n{missing}"
    )
    return 0
