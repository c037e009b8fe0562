"""Prints the machine's error against the reduce paper's formulas over all powers of two, in percent.

    python tests/bench/reduce_formulas.py [--algorithm tree]

Figures are for reading; `wsec bench validate` judges a part of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from runtime import target
from runtime.bench import formulas
from runtime.bench.suite import run

FORMULAS: dict[str, Callable[[int, int, int], float]] = {
    "broadcast": formulas.broadcast,
    "chain": formulas.chain,
    "tree": formulas.tree,
    "star": formulas.star,
}
CORES = [1 << k for k in range(2, 10)]
WORDS = [1 << k for k in range(14)]
MOST = 1 << 19  # words times cores of a star, whose time is their product


def error(algorithm: str, cores: int, words: int) -> float:
    bench = "broadcast" if algorithm == "broadcast" else "reduce"
    cs2 = target.load("cs2")
    result = run(bench, cs2, {"algorithm": algorithm, "cores": cores, "words": words})
    return float(result["cycles"] / FORMULAS[algorithm](cores, words, cs2.ramp_cycles) - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description="the machine against the reduce paper's formulas")
    parser.add_argument("--algorithm", choices=FORMULAS, action="append")
    args = parser.parse_args()
    for algorithm in args.algorithm or FORMULAS:
        print(f"{algorithm}\n cores " + "".join(f"{words:>8}" for words in WORDS) + "  words")
        for cores in CORES:
            words = [w for w in WORDS if algorithm != "star" or w * cores <= MOST]
            print(f"{cores:>6} " + "".join(f"{error(algorithm, cores, w):8.1%}" for w in words), flush=True)


if __name__ == "__main__":
    main()
