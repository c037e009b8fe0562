"""`wsec score`: judges a placement of an ISPD 2020 kernel graph, by code that shares nothing with the placer."""

from __future__ import annotations

import argparse
from pathlib import Path

from frontends.cli.arguments import Verbs, add_json, add_verb
from frontends.cli.console import Console

DESCRIPTION = """\
Check that a placement (.paint) of a contest kernel graph (.kgraph) is legal, and score it in exact arithmetic. Exits
with 1 and names the broken rules, with their lines, if it is not."""


def register(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    parser = add_verb(verbs, common, "score", "judge a contest placement", DESCRIPTION, run)
    parser.add_argument("graph", type=Path, metavar="A.kgraph")
    parser.add_argument("paint", type=Path, metavar="A.paint")
    add_json(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    from frontends.ispd2020.scorer.score import score_files

    score = score_files(args.graph, args.paint)
    if args.json:
        console.json(
            {
                "schema": 1,
                "legal": True,
                "max_time": float(score.time),
                "wire_length": float(score.wire),
                "adapters": score.adapters,
                "score": float(score.score),
                "kernels": score.kernels,
                "tiles_used": score.used,
                "tiles": score.area,
            }
        )
    else:
        console.out(
            f"{args.paint}: legal, {score.kernels} kernels on {score.used / score.area:.1%} of the tiles\n"
            f"  MT {float(score.time):,.2f}  WL {float(score.wire):,.1f}  AC {score.adapters}  "
            f"score {float(score.score):,.2f}"
        )
    return 0
