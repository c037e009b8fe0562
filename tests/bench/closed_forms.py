"""The compiler's closed forms against the cycle machine over a large sweep of shapes; prints ratios, asserts nothing.

Lanes are so few that none shares a link with another on its way, which would be the wires' time and not the kernel's.

python tests/bench/closed_forms.py [KIND ...]     KIND: matvec attention norm fifo join map relane
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import mean

sys.path.insert(0, str(Path(__file__).parents[1] / "compiler" / "kernels"))
from test_timing import Make, attention, join, matvec, measure, norm, pointwise, relane

from compiler.dialects import flow

MEMORY = 40_000  # bytes of weights that a core has room for


def shapes(kind: str) -> Iterator[tuple[str, Make]]:
    """Every shape of a kind, by a name that tells it."""
    if kind == "matvec":
        for k, n, rows, cols in itertools.product((32, 128, 320), (16, 96, 384), (2, 8), (1, 4)):
            for storage, size in (("f32", 4), ("f16", 2)):
                if k * n * size // (rows * cols) > MEMORY:
                    continue
                yield f"{k}x{n} over {rows}x{cols} {storage}", matvec(k, n, rows, cols, storage)
    elif kind == "attention":
        for heads, d, spread in itertools.product((1, 3), (8, 32, 64), (1, 3, 7)):
            storage = "f16" if d > 32 else "f32"
            yield f"{heads} heads of {d} over {spread}", attention(heads, d, spread, storage)
    elif kind == "norm":
        for n, lanes in itertools.product((24, 96, 480), (1, 4, 12)):
            yield f"{n} over {lanes}", norm(n, lanes)
    elif kind == "join":
        for n, lanes in itertools.product((24, 96, 480), (1, 4)):
            yield f"{n} over {lanes}", join(n, lanes)
    elif kind == "relane":
        for block, lanes, merge in itertools.product((1, 2, 8, 20), (2, 4, 6, 12), (True, False)):
            name = f"{'merging' if merge else 'splitting'} {lanes} lanes of {block}"
            yield name, relane(block * lanes, lanes, lanes, merge)
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
    main(sys.argv[1:] or ["matvec", "attention", "norm", "fifo", "join", "map", "relane"])
