"""The independent scorer against published figures, and against every way to break a placement."""

from __future__ import annotations

import ast
from fractions import Fraction
from pathlib import Path

import pytest
from cases import chain, kgraph, one_row, resnet

from frontends.ispd2020.kgraph import parse_case
from frontends.ispd2020.scorer.costs import cost
from frontends.ispd2020.scorer.score import Score, score_files
from runtime.errors import InputError

ROOT = Path(__file__).parents[3]

# The example of the contest's announcement.
THREE = chain(
    [
        "dblock[1] f=256 h=56 w=56 name='a'",
        "cblock[2] f=512 h=56 w=56 name='b'",
        "dblock[3] f=512 h=28 w=28 name='c'",
    ]
)
THREE_PAINT = """include "common.paint"
a = dblock( 56 56 256  4 4  8 8 8  8 64 16 )
b = cblock( 56 56 512  4 4  8 8 8 8  32 32 8 19 )
c = dblock( 28 28 512  4 4  8 8 8  8 32 8 )
a : name('a)
a : place(0 148 R0)
b : place(150 0 R0)
c : place(0 0 R90)
kmap = union( a b c )
"""


def score(folder: Path, graph: str, paint: str) -> Score:
    (folder / "x.kgraph").write_text(graph)
    (folder / "x.paint").write_text(paint)
    return score_files(folder / "x.kgraph", folder / "x.paint")


def test_three_kernels(tmp_path: Path) -> None:
    found = score(tmp_path, THREE, THREE_PAINT)
    assert (found.time, found.wire, found.adapters, found.score) == (50176, 517, 0, 50176 + 10 * 517)
    assert found.used == 144 * (264 + 273 + 144)


@pytest.mark.parametrize(
    ("kind", "formal", "arguments", "width", "memory"),
    [
        ("dblock", (56, 56, 256), (4, 4, (8, 8, 8), (8, 64, 16)), 264, 3264),
        ("cblock", (56, 56, 512), (4, 4, (8, 8, 8, 8), (32, 32, 8, 19)), 273, 6144),
        ("dblock", (28, 28, 512), (4, 4, (8, 8, 8), (8, 32, 8)), 144, 4160),
    ],
)
def test_costs(kind: str, formal: tuple[int, ...], arguments: tuple, width: int, memory: int) -> None:
    found = cost(kind, formal, *arguments)
    assert (found.width, found.height, found.time, found.memory) == (width, 144, 50176, memory)


def test_costs_are_exact() -> None:
    found = cost("conv", (5, 7, 3, 4, 3, 3, 2, 2), 2, 3, (2,), (3,))  # H W C K R S T U
    assert found.time == Fraction(3 * 3 * 2 * 2 * 9, 4)
    assert found.memory == Fraction(3, 2) * Fraction(4, 3) * 9 + Fraction(9, 3) * Fraction(7, 2) * Fraction(4, 3)
    assert (found.width, found.height) == (9, 18)


@pytest.mark.parametrize(
    ("features", "limit", "wire", "adapters"),
    [(16, 504, 211.5, 7), (16, 252, 423, 7), (256, 39312, 562, 11)],
)
def test_published_rows(tmp_path: Path, features: int, limit: int, wire: float, adapters: int) -> None:
    """Rows of a ResNet-50 with blocks as one kernel, as published for the contest (lean: a sixteenth of the width)."""
    graph = resnet(features)
    found = score(tmp_path, graph, one_row(parse_case(graph), limit))
    assert (found.time, found.wire, found.adapters) == (limit, wire, adapters)


def test_edges_of_inputs_and_outputs_cost_nothing(tmp_path: Path) -> None:
    edges = [
        ("dblock[1]", "cblock[2]"),
        ("cblock[2]", "dblock[3]"),
        ("input[0]", "dblock[1]"),
        ("dblock[3]", "output[9]"),
    ]
    nodes = [line for line in THREE.splitlines() if "name=" in line]
    graph = kgraph([*nodes, "input[0] n=[ 1 1 1 ] name='x' name='i'", "output[9] n=[1] name='o'"], edges)
    assert score(tmp_path, graph, THREE_PAINT).wire == 517


def test_turned_kernels_and_adapters(tmp_path: Path) -> None:
    node = "conv[{0}] H=4 W=4 R=1 S=1 C=8 K=8 T=1 U=1 name='k{0}'"
    paint = """k1 = conv( 4 4 8 8 1 1 1 1  2 1 3 2 )
k2 = conv( 4 4 8 8 1 1 1 1  1 1 4 1 )
k1 : place(0 0 R90)
k2 : place(8 0 R0)
kmap = union( k2 k1 )"""
    found = score(tmp_path, chain([node.format(1), node.format(2)], wlength=2), paint)
    # k1 is 6 wide and 8 high, turned 8 x 6; k2 is 3 x 5.
    assert found.wire == Fraction(19, 2) - 4 + 3 - Fraction(5, 2)
    assert found.adapters == 2
    assert found.score == 4 * 4 * 2 * 8 + 2 * 6 + 2 * 100


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("place(150 0 R0)", "place(361 0 R0)", ["line 7", "b [361, 634) x [0, 144)", "leaves the grid of 633 x 633"]),
        ("place(150 0 R0)", "place(-1 300 R0)", ["line 7", "b [-1, 272)", "leaves"]),
        ("place(150 0 R0)", "place(143 0 R0)", ["line 8", "c [0, 144) x [0, 144) and b [143, 416)", "overlap"]),
        ("c : place(0 0 R90)\n", "", ["line 4", "c is not placed"]),
        ("union( a b c )", "union( a b )", ["line 9", "c is 0 times"]),
        ("union( a b c )", "union( a b c c )", ["c is 2 times"]),
        ("union( a b c )", "union( a b c d )", ["d in the union"]),
        ("dblock( 56 56 256 ", "dblock( 56 56 252 ", ["line 2", "a is dblock(56 56 252 ...), not dblock(56 56 256"]),
        ("8 8 8  8 64 16", "8 8 8  1 1 1", ["a needs", "of 24,576 words"]),
        ("4 4  8 8 8  8 64 16", "4 4  8 8  8 64 16", ["dblock has 10 arguments, not 11"]),
        ("8 64 16", "8 64 0", ["not positive"]),
        ("8 64 16", "8 64 1.5", ["'1.5' is not a whole number"]),
        ("R90", "R45", ["x.paint:8", "R90"]),
        ("a : place(0 148 R0)", "a : place(0 148 R0)\na : place(0 148 R0)", ["placed twice", "line 6"]),
        ("b = cblock", "a = cblock", ["a is there twice"]),
        ("kmap = union( a b c )", "", ["no kmap"]),
        ("a : place", "z : place", ["z has not been defined"]),
        ("a : name('a)", "hello", ["x.paint:5", "hello"]),
    ],
)
def test_illegal(tmp_path: Path, old: str, new: str, words: list[str]) -> None:
    assert old in THREE_PAINT
    with pytest.raises(InputError) as caught:
        score(tmp_path, THREE, THREE_PAINT.replace(old, new))
    for word in words:
        assert word in str(caught.value)


def test_touching_is_fine(tmp_path: Path) -> None:
    score(tmp_path, THREE, THREE_PAINT.replace("place(150 0 R0)", "place(144 0 R0)"))
    score(tmp_path, THREE, THREE_PAINT.replace("place(150 0 R0)", "place(360 489 R0)"))


def test_shares_no_code_with_the_placer() -> None:
    imported = set()
    for path in (ROOT / "frontends/ispd2020/scorer").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(str(node.module))
    ours = {name for name in imported if name.split(".")[0] in ("compiler", "frontends", "runtime", "wsec")}
    assert {name for name in ours if not name.startswith("frontends.ispd2020.scorer.")} == {"runtime.errors"}
    assert "importlib" not in imported
