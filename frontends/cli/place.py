"""`wsec place`: places a kernel graph of the ISPD 2020 contest with the compiler's own engine."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frontends.cli.arguments import Verbs, add_json, add_threads, add_verb, require_folder
from frontends.cli.console import Console
from runtime.errors import UsageError

if TYPE_CHECKING:
    from compiler.place.problem import Result, Terms
    from frontends.ispd2020.kgraph import Case

DESCRIPTION = """\
Choose the shape and the place of every kernel of an ISPD 2020 kernel graph and write them in the contest's form.

  score = wdeltat * MT + wlength * WL + wadapter * AC      (smaller is better)

MT is the largest time of a kernel in cycles, WL the wire length between centres in tiles, AC the number of adapters.
The bound is proved: no placement scores less. With --deterministic-limit the same input, seed and limit give the same
bytes on any machine and number of threads; with a wall clock they need not. `wsec score` judges the result with code
of its own."""
DEFAULT_SECONDS = 60.0


def register(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    parser = add_verb(verbs, common, "place", "place a contest kernel graph", DESCRIPTION, run)
    parser.add_argument("graph", type=Path, metavar="A.kgraph")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="the placement to write (A.paint, here)")
    limits = parser.add_mutually_exclusive_group()
    limits.add_argument("--time-limit", type=float, metavar="S", help=f"seconds in all ({DEFAULT_SECONDS:g})")
    limits.add_argument(
        "--deterministic-limit", type=float, metavar="X", help="about seconds of one core, but counted in moves"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the search (0)")
    add_threads(parser)
    add_json(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    output = args.output or Path(f"{args.graph.stem}.paint")
    require_folder(output)
    for name in ("time_limit", "deterministic_limit"):
        if getattr(args, name) is not None and getattr(args, name) <= 0:
            raise UsageError(f"--{name.replace('_', '-')} must be above zero", code="bad-option")
    if args.seed < 0:
        raise UsageError("--seed is below zero", code="bad-option")
    if output.exists() and args.graph.exists() and output.samefile(args.graph):
        raise UsageError("the output would overwrite the input", code="bad-output")

    from frontends.ispd2020.kgraph import read_case

    case = read_case(args.graph)

    from compiler.place.engine import solve
    from frontends.cli.files import write_text
    from frontends.ispd2020.paint import placement_text
    from frontends.ispd2020.problem import problem_of

    def progress(stage: str, best: Terms | None, bound: float) -> None:
        told = f"best {best.score:,.1f}, bound {bound:,.1f}" if best else f"bound {bound:,.1f}"
        console.progress(f"{stage}: {told}")

    seconds = args.time_limit or (None if args.deterministic_limit else DEFAULT_SECONDS)
    result = solve(
        problem_of(case),
        seed=args.seed,
        time_limit=seconds,
        deterministic_limit=args.deterministic_limit,
        workers=args.threads,
        progress=progress,
    )
    write_text(output, placement_text(case, result.placement))
    facts = summary(case, result)
    if args.json:
        console.json({"schema": 1, "case": case.name, "output": str(output), **facts})
    else:
        console.out(f"{output}: {text(case, facts)}")
    return 0


def summary(case: Case, result: Result) -> dict[str, Any]:
    """What people want to know of a placement, as JSON."""
    found = result.terms
    return {
        "kernels": len(case.kernels),
        "max_time": found.time,
        "wire_length": found.wire / 2,
        "adapters": found.adapters,
        "score": found.score,
        "terms": {
            "time": case.time_weight * found.time,
            "wire": case.wire_weight * found.wire / 2,
            "adapter": case.adapter_weight * found.adapters,
        },
        "bound": result.bound,
        "gap": result.gap,
        "time_bound": result.time_bound,
        "solver_bound": result.solver_bound,
        "utilisation": result.utilisation,
        "seconds": {**result.seconds, "all": round(sum(result.seconds.values()), 3)},
        "log": [
            {"seconds": round(line.seconds, 3), "stage": line.stage, "score": line.terms.score} for line in result.log
        ],
    }


def text(case: Case, facts: dict[str, Any]) -> str:
    """The summary for people."""
    terms, seconds = facts["terms"], facts["seconds"]
    stages = ", ".join(f"{name} {value:.1f}" for name, value in seconds.items() if name != "all")
    lines = [
        f"{facts['kernels']} kernels of {case.name} on {case.width} x {case.height} tiles",
        f"  score      {facts['score']:,.1f} = {terms['time']:,.1f} time + {terms['wire']:,.1f} wire + "
        f"{terms['adapter']:,.1f} adapters",
        f"  terms      MT {facts['max_time']:,.2f}, WL {facts['wire_length']:,.1f}, AC {facts['adapters']}",
        f"  bound      {facts['bound']:,.1f} proved (time alone {facts['time_bound']:,.1f}), gap {facts['gap']:.1%}",
        f"  tiles      {facts['utilisation']:.1%} used",
        f"  seconds    {stages}; all {seconds['all']:.1f}",
    ]
    if facts["solver_bound"] is not None:
        lines.insert(
            4,
            f"  solver     wire and adapters at this time and order: at least {facts['solver_bound']:,.1f} "
            f"of {terms['wire'] + terms['adapter']:,.1f}",
        )
    return "\n".join(lines)
