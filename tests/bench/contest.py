"""Prints the contest's table for a folder of kernel graphs: score, best published, ratio, bound, seconds.

    python tests/bench/contest.py FOLDER [--cases A,B] [--seeds 0,1,2] [--time-limit 60]

Each case is placed by `wsec place` in a process of its own and judged by `wsec score`. Best published scores of the
ISPD 2020 contest's public cases: the smallest of the contest winner CU.POKer, its journal version, and GigaPlacer.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PUBLISHED = {
    "A": 35685.5, "B": 66143.5, "C": 66727.5, "D": 35790.5, "E": 45807.0, "F": 81255.0, "G": 92835.0, "H": 53078.0
}  # fmt: skip


def wsec(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-c", "import sys, wsec; sys.exit(wsec.main())", *arguments, "--json", "-q"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="place a folder of contest cases and print the table")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", help="names without .kgraph, separated by commas (all)")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--time-limit", default="60")
    parser.add_argument("--threads", default="2")
    args = parser.parse_args()
    names = args.cases.split(",") if args.cases else sorted(path.stem for path in args.folder.glob("*.kgraph"))
    print(
        f"{'case':6}{'seed':>5}{'score':>11}{'published':>11}{'ratio':>8}{'bound':>11}{'MT':>11}{'WL':>9}{'AC':>5}{'s':>7}"
    )
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            for seed in args.seeds.split(","):
                graph, paint = args.folder / f"{name}.kgraph", Path(folder) / f"{name}.paint"
                start = time.perf_counter()
                placed = wsec(
                    "place", str(graph), "-o", str(paint), "--time-limit", args.time_limit,
                    "--seed", seed, "--threads", args.threads,
                )  # fmt: skip
                seconds = time.perf_counter() - start
                judged = wsec("score", str(graph), str(paint))
                best = PUBLISHED.get(name)
                ratio = f"{judged['score'] / best:8.4f}" if best else f"{'':8}"
                print(
                    f"{name:6}{seed:>5}{judged['score']:11.1f}{best or '':>11}{ratio}{placed['bound']:11.1f}"
                    f"{judged['max_time']:11.1f}{judged['wire_length']:9.1f}{judged['adapters']:5}{seconds:7.1f}",
                    flush=True,
                )
    print(f"{time.perf_counter() - began:.0f} s in all")


if __name__ == "__main__":
    main()
