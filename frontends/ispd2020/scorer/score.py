"""Legality and score of a `.paint` for a `.kgraph`, in exact arithmetic.

    score = wdeltat * MT + wlength * WL + wadapter * AC

MT is the largest time of a kernel. WL sums |dx| + |dy| between the centres of the two rectangles of every edge, AC
counts for every edge [h differs] + [w differs] + [last c of the source differs from the first c of the sink]. Edges of
`input` and `output` cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from frontends.ispd2020.scorer.costs import Cost, cost
from frontends.ispd2020.scorer.files import CONVOLUTIONS, FORMAL, Graph, Node, Paint, Painted, read_graph, read_paint
from runtime.errors import InputError

SHOWN = 5  # violations named in a message


@dataclass(frozen=True)
class Score:
    """The terms and their weighted sum. `used` and `area` are tiles under kernels and tiles in all."""

    time: Fraction
    wire: Fraction
    adapters: int
    score: Fraction
    kernels: int
    used: int
    area: int


@dataclass(frozen=True)
class Placed:
    """A kernel on the grid: the tiles [x, x + width) x [y, y + height), and what adapters depend on."""

    name: str
    line: int
    x: int
    y: int
    width: int
    height: int
    cost: Cost
    h: int
    w: int
    first_c: int
    last_c: int

    @property
    def text(self) -> str:
        """Name and rectangle, for messages."""
        return f"{self.name} [{self.x}, {self.x + self.width}) x [{self.y}, {self.y + self.height})"


def score_files(graph: Path, paint: Path) -> Score:
    """Judge the placement in `paint`. Raises InputError if a file is malformed or the placement illegal."""
    return judge(read_graph(graph), read_paint(paint), str(paint))


def judge(graph: Graph, paint: Paint, where: str = "paint") -> Score:
    """The score of a placement. Raises InputError that names the first broken rules, each with its line."""
    broken = _membership(graph, paint)
    if not broken:
        placed = {name: _placed(node, paint.kernels[name]) for name, node in graph.nodes.items()}
        broken = _geometry(graph, list(placed.values()))
    if broken:
        shown = "".join(f"\n  line {line}: {message}" for line, message in broken[:SHOWN])
        more = f"\n  and {len(broken) - SHOWN} more" if len(broken) > SHOWN else ""
        raise InputError(f"illegal placement:{shown}{more}", code="illegal-placement", where=where)
    time = max((kernel.cost.time for kernel in placed.values()), default=Fraction(0))
    wire = Fraction(sum(_doubled_length(placed[u], placed[v]) for u, v in graph.edges), 2)
    adapters = sum(_adapters(placed[u], placed[v]) for u, v in graph.edges)
    weights = graph.header
    return Score(
        time,
        wire,
        adapters,
        weights["wdeltat"] * time + weights["wlength"] * wire + weights["wadapter"] * adapters,
        len(placed),
        sum(kernel.width * kernel.height for kernel in placed.values()),
        weights["width"] * weights["height"],
    )


def _membership(graph: Graph, paint: Paint) -> list[tuple[int, str]]:
    """Kernels that are missing, foreign, unplaced, twice or not in the union, or whose formal arguments are changed."""
    broken: list[tuple[int, str]] = []
    for name, node in graph.nodes.items():
        painted = paint.kernels.get(name)
        if painted is None:
            broken.append((paint.union_line, f"{name} of the graph is not there"))
            continue
        formal = painted.numbers[: len(FORMAL[painted.kind])]
        if (painted.kind, formal) != (node.kind, node.formal):
            asked = f"{node.kind}({' '.join(map(str, node.formal))} ...)"
            broken.append((painted.line, f"{name} is {painted.kind}({' '.join(map(str, formal))} ...), not {asked}"))
        if painted.at is None:
            broken.append((painted.line, f"{name} is not placed"))
        if paint.union.count(name) != 1:
            broken.append((paint.union_line, f"{name} is {paint.union.count(name)} times in the union"))
    for name, painted in paint.kernels.items():
        if name not in graph.nodes:
            broken.append((painted.line, f"{name} is no kernel of the graph"))
    for name in paint.union:
        if name not in paint.kernels:
            broken.append((paint.union_line, f"{name[:40]} in the union has not been defined"))
    return broken


def _placed(node: Node, painted: Painted) -> Placed:
    assert painted.at is not None
    execution = painted.numbers[len(node.formal) :]
    count = CONVOLUTIONS[node.kind]
    h, w, cs, ks = execution[0], execution[1], execution[2 : 2 + count], execution[2 + count :]
    found = cost(node.kind, node.formal, h, w, cs, ks)
    width, height = (found.height, found.width) if painted.turned else (found.width, found.height)
    return Placed(node.name, painted.placed_line, *painted.at, width, height, found, h, w, cs[0], cs[-1])


def _geometry(graph: Graph, kernels: list[Placed]) -> list[tuple[int, str]]:
    """Kernels that leave the grid, overlap, or need more memory than a tile has."""
    width, height, memory = (graph.header[key] for key in ("width", "height", "memlimit"))
    broken: list[tuple[int, str]] = []
    for kernel in kernels:
        if min(kernel.x, kernel.y) < 0 or kernel.x + kernel.width > width or kernel.y + kernel.height > height:
            broken.append((kernel.line, f"{kernel.text} leaves the grid of {width} x {height}"))
        if kernel.cost.memory > memory:
            broken.append((kernel.line, f"{kernel.name} needs {float(kernel.cost.memory):,.2f} of {memory:,} words"))
    active: list[Placed] = []  # kernels that reach over the current x
    for kernel in sorted(kernels, key=lambda kernel: kernel.x):
        active = [other for other in active if other.x + other.width > kernel.x]
        broken += [
            (max(kernel.line, other.line), f"{other.text} and {kernel.text} overlap")
            for other in active
            if other.y < kernel.y + kernel.height and kernel.y < other.y + other.height
        ]
        active.append(kernel)
    return sorted(broken)


def _doubled_length(u: Placed, v: Placed) -> int:
    """Twice the Manhattan distance of the centres: a whole number."""
    return abs(2 * u.x + u.width - 2 * v.x - v.width) + abs(2 * u.y + u.height - 2 * v.y - v.height)


def _adapters(u: Placed, v: Placed) -> int:
    return (u.h != v.h) + (u.w != v.w) + (u.last_c != v.first_c)
