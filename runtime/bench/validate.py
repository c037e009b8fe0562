"""The error table: what is published of the hardware and its simulator, and what this machine does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from runtime.bench import behaviour, formulas, published, suite
from runtime.bench.published import Figure
from runtime.target import Target

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Row:
    """One line: `ours` against `published`. error: relative; of a row over many points the worst. tolerance: the
    largest error that passes."""

    what: str
    published: float
    ours: float
    error: float
    tolerance: float
    source: str
    note: str = ""

    @property
    def passed(self) -> bool:
        return abs(self.error) <= self.tolerance


@dataclass(frozen=True)
class Sweep:
    """Points (cores or sides, words) at which a formula of the reduce paper is held to the machine."""

    name: str
    bench: str
    arguments: dict[str, Any]
    formula: Callable[..., float]
    sides: tuple[tuple[int, ...], ...]
    words: tuple[int, ...]
    source: str = published.PAPER

    def points(self) -> Iterator[tuple[dict[str, Any], float]]:
        """Arguments of the microbenchmark and the formula's cycles, for T_R = 2."""
        names = ("rows", "cols") if self.bench.endswith("2d") else ("cores",)
        for sides, words in product(self.sides, self.words):
            arguments = self.arguments | dict(zip(names, sides, strict=True)) | {"words": words}
            yield arguments, self.formula(*sides, words, RAMP)


RAMP = 2  # T_R as the paper measured it
LINES = tuple((1 << k,) for k in range(2, 10))
WORDS = (1, 4, 16, 64, 256, 1024, 4096, 8192)
DERIVED = "derived from the paper's terms, see runtime/bench/formulas.py"
SQUARES = ((4, 4), (16, 16), (4, 32))
SWEEPS = (
    Sweep("broadcast", "broadcast", {}, formulas.broadcast, LINES, WORDS),
    Sweep("chain", "reduce", {"algorithm": "chain"}, formulas.chain, LINES, WORDS),
    Sweep("tree", "reduce", {"algorithm": "tree"}, formulas.tree, LINES, WORDS),
    Sweep("tree's longest path", "reduce", {"algorithm": "tree"}, formulas.tree_path, LINES, WORDS, DERIVED),
    Sweep("star, 64 words and more", "reduce", {"algorithm": "star"}, formulas.star, LINES[:7], WORDS[3:6]),
    Sweep("star, up to 16 words", "reduce", {"algorithm": "star"}, formulas.star, LINES, WORDS[:3]),
    Sweep("2-D broadcast", "broadcast2d", {}, formulas.broadcast_grid, SQUARES, WORDS[:6]),
    Sweep("2-D reduce, x then y", "reduce2d", {"algorithm": "x-y"}, formulas.x_then_y, SQUARES, WORDS[:6]),
    Sweep("2-D reduce, snake", "reduce2d", {"algorithm": "snake"}, formulas.snake, SQUARES, WORDS[:6]),
)


def _named(figure: Figure) -> str:
    words = [str(value) if name in ("algorithm", "op", "dtype") else f"{name} {value}"
             for name, value in figure.arguments.items() if value is not False]  # fmt: skip
    return f"{figure.bench} {', '.join(words)}".replace("same_bank True", "same banks")


def _figure(figure: Figure, base: Target) -> Row:
    ours = suite.run(figure.bench, base, figure.arguments)["cycles"]
    error = ours / figure.cycles - 1
    return Row(_named(figure), figure.cycles, ours, error, figure.tolerance, figure.source)


def _rate(base: Target, **arguments: Any) -> float:
    """Elements a cycle of a vector instruction, from what 256 elements more take."""
    few, many = (suite.run("vector", base, arguments | {"n": n})["cycles"] for n in (256, 512))
    return 256 / float(many - few)


def _exact(what: str, wanted: float, ours: float, source: str) -> Row:
    return Row(what, wanted, ours, ours / wanted - 1, 0.0, source)


def sweep_row(sweep: Sweep, base: Target) -> Row:
    """The point of a sweep with the largest error; the note counts those within the tolerance."""
    tolerance = published.FORMULA_TOLERANCE
    points = [(arguments, formula, suite.run(sweep.bench, base, arguments)["cycles"])
              for arguments, formula in sweep.points()]  # fmt: skip
    errors = [ours / formula - 1 for _, formula, ours in points]
    worst = max(range(len(points)), key=lambda i: abs(errors[i]))
    arguments, formula, ours = points[worst]
    at = ", ".join(f"{name} {value}" for name, value in arguments.items() if name != "algorithm")
    within = sum(abs(error) <= tolerance for error in errors)
    note = f"worst of {len(points)} points, {within} within {tolerance:.0%}"
    return Row(f"formula {sweep.name}: {at}", formula, ours, errors[worst], tolerance, sweep.source, note)


def _smallest(rows: list[Row]) -> Row:
    """The published group with the fewest cycles has the fewest here, too."""
    groups = [float(figure.arguments["group"]) for figure in published.TWO_PHASE]
    best = min(range(len(rows)), key=lambda i: rows[i].published)
    ours = min(range(len(rows)), key=lambda i: rows[i].ours)
    return _exact("two-phase: best of these groups", groups[best], groups[ours], published.REDUCE_DATA)


def table(base: Target, progress: Progress = lambda what, done, total: None) -> list[Row]:
    """Every published figure within reach. A minute or two."""
    jobs: list[Callable[[], list[Row]]] = [
        lambda: [_figure(published.CHAIN, base)],
        lambda: _two_phase(base),
        lambda: [_figure(figure, base) for figure in published.VECTOR],
        lambda: [
            _exact(f"elements a cycle: {op} {dtype}", width, _rate(base, op=op, dtype=dtype), published.SIMD_DATA)
            for (op, dtype), width in published.SIMD.items()
        ],
        lambda: [
            _exact(
                f"elements a cycle: f16, stride {stride}",
                width,
                _rate(base, op="mov", dtype="f16", stride=stride),
                published.STRIDE_DATA,
            )
            for stride, width in published.STRIDES.items()
        ],
        lambda: [_figure(figure, base) for figure in published.GEMM],
        *[lambda sweep=sweep: [sweep_row(sweep, base)] for sweep in SWEEPS],
        lambda: _behaviours(base),
    ]
    rows: list[Row] = []
    for done, job in enumerate(jobs):
        progress("validating", done, len(jobs))
        rows += job()
    return rows


def _two_phase(base: Target) -> list[Row]:
    rows = [_figure(figure, base) for figure in published.TWO_PHASE]
    return [*rows, _smallest(rows)]


def _behaviours(base: Target) -> list[Row]:
    return [
        _exact(
            "wavelets held on the way through a core",
            published.REDIRECT,
            behaviour.redirect_capacity(base),
            published.REDIRECT_DATA,
        ),
        _exact(
            "one colour from two sides in a cycle is a fault",
            1,
            behaviour.faults_on_two_inputs(base),
            published.ARRIVAL_DATA,
        ),
    ]
