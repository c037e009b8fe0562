"""The compiler's closed forms against the cycle machine over a large sweep of shapes; prints ratios, asserts nothing.

python tests/bench/closed_forms.py [KIND ...]     KIND: matvec attention norm fifo join map
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import mean

sys.path.insert(0, str(Path(__file__).parents[1] / "compiler" / "kernels"))
from test_timing import Make, attention, join, matvec, measure, norm, pointwise

from compiler.dialects import flow


def shapes(kind: str) -> Iterator[tuple[str, Make]]:
    """Every shape of a kind, by a name that tells it."""
    if kind == "matvec":
        for k, n, rows, cols in itertools.product((32, 128, 320), (16, 96, 384), (2, 8), (1, 4)):
            for storage in ("f32", "f16"):
                yield f"{k}x{n} over {rows}x{cols} {storage}", matvec(k, n, rows, cols, storage)
    elif kind == "attention":
        for heads, d, spread in itertools.product((1, 3), (8, 32, 64), (1, 3, 7)):
            yield f"{heads} heads of {d} over {spread}", attention(heads, d, spread)
    elif kind == "norm":
        for n, lanes in itertools.product((24, 96, 480), (1, 4, 12, 24)):
            yield f"{n} over {lanes}", norm(n, lanes)
    elif kind == "join":
        for n, lanes in itertools.product((24, 96, 480), (1, 4, 8)):
            yield f"{n} over {lanes}", join(n, lanes)
    else:
        definition, attrs = {"fifo": (flow.fifo_def, {"tokens": 2}), "map": (flow.map_def, {"fn": "tanh"})}[kind]
        for n, lanes in itertools.product((24, 96, 480), (1, 4, 8)):
            yield f"{n} over {lanes}", pointwise(definition, n, lanes, **attrs)


def main(kinds: list[str]) -> None:
    print(f"{'kernel':40} {'interval':>9} {'machine':>9} {'ratio':>6} {'latency':>9} {'machine':>9} {'ratio':>6}")
    for kind in kinds:
        ratios = []
        for name, make in shapes(kind):
            found = measure(make)
            cells = []
            for predicted, measured in (found.interval, found.latency):
                cells.append(f"{predicted:9d} {measured:9.1f} {predicted / measured:6.2f}")
                ratios.append(abs(predicted / measured - 1))
            print(f"{kind + ' ' + name:40} {' '.join(cells)}", flush=True)
        print(f"{kind}: mean error {100 * mean(ratios):.1f} %, worst {100 * max(ratios):.1f} %")


if __name__ == "__main__":
    main(sys.argv[1:] or ["matvec", "attention", "norm", "fifo", "join", "map"])
