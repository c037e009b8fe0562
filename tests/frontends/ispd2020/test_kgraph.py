"""The reader of kernel graphs: every form the contest's files take, and a message with the line for every other."""

from __future__ import annotations

from pathlib import Path

import pytest
from cases import chain, kgraph, resnet

from frontends.ispd2020.kgraph import Edge, parse_case, read_case
from runtime.errors import InputError

CONV = "conv[{}] H=14 W=14 R=1 S=1 C=64 K=32 T=1 U=1 name='k{}'"


def conv(index: int) -> str:
    return CONV.format(index, index)


def test_a_case() -> None:
    case = parse_case(kgraph([conv(1), "dblock[2] f=256 h=7 w=14 name='second'"], [("conv[1]", "dblock[2]")]))
    assert (case.name, case.width, case.height, case.memory) == ("ours", 633, 633, 24576)
    assert (case.time_weight, case.wire_weight, case.adapter_weight) == (1, 10, 100)
    assert case.kernels[0].formal == {"H": 14, "W": 14, "R": 1, "S": 1, "C": 64, "K": 32, "T": 1, "U": 1}
    assert case.kernels[1].kind == "dblock"
    assert case.kernels[1].name == "second"
    assert case.kernels[1].formal == {"F": 256, "H": 7, "W": 14}
    assert case.edges == (Edge(0, 1),)


def test_forms_of_the_contests_files() -> None:
    """Padded indices, tabs, two names, blanks in lists, no final newline, header on fewer lines."""
    text = kgraph(
        ["input[ 0]\tn=[ 9 9 3 ] name='x' name='k0'", "cblock[ 1] f=64 h=14 w=14 name='a' name='k1'", conv(22)],
        [("input[ 0]", "cblock[ 1]"), ("cblock[ 1]", "conv[22]")],
    )
    case = parse_case(text.replace("width=633\nheight=633", "width=633 height=633").replace(" -> ", "\t->\t").rstrip())
    assert [kernel.name for kernel in case.kernels] == ["k1", "k22"]
    assert case.edges == (Edge(0, 1),)


def test_inputs_and_outputs_are_not_placed_and_their_edges_do_not_count() -> None:
    case = parse_case(resnet(64))
    assert len(case.kernels) == 16
    assert case.edges == tuple(Edge(i, i + 1) for i in range(15))


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (kgraph([conv(1), "pool[2] h=3 name='k2'"], []), 13, "unknown kernel type 'pool'"),
        (kgraph([conv(1).replace("K=32 ", "")], []), 12, "conv lacks K"),
        (kgraph(["dblock[1] f=256 h=7 w=7 c=3 name='k1'"], []), 12, "dblock has no argument c"),
        (kgraph([conv(1), conv(1)], []), 13, "index 1 is taken by conv[1] in line 12"),
        (kgraph([conv(1), CONV.format(2, 1)], []), 13, "the name k1 is taken in line 12"),
        (kgraph([conv(1)], [("conv[1]", "conv[7]")]), 15, "unknown node conv[7]"),
        (kgraph([conv(1), conv(2)], [("conv[1]", "dblock[2]")]), 16, "line 13 says conv[2]"),
        (kgraph([conv(1)], []).replace("H=14", "H=0"), 12, "H=0 is outside"),
        (kgraph([conv(1)], []).replace("H=14", "H=-3"), 12, "H=-3 is not a whole number above 0"),
        (kgraph([conv(1)], []).replace("H=14", "H=1e3"), 12, "H=1e3 is not a whole number"),
        (kgraph([conv(1)], []).replace("H=14", "H=99999999999"), 12, "is outside"),
        (kgraph([conv(1)], []).replace("H=14", "H=14 H=14"), 12, "H is given twice"),
        (kgraph([conv(1)], []).replace(" name='k1'", ""), 12, "has no name"),
        (kgraph([conv(1)], []).replace("name='k1'", "name='kmap'"), 12, "cannot be a kernel's name"),
        (kgraph([conv(1)], []).replace("U=1", "U=2"), 12, "T and U differ"),
        (kgraph([conv(1)], []).replace("name='k1'", "name='k1' what"), 12, "'what' is not of the form key=value"),
        (kgraph(["dblock[1] f=255 h=7 w=7 name='k1'"], []), 12, "not a multiple of 4"),
        (kgraph(["cblock[1] f=256 h=7 w=7 name='k1'"], []), 12, "H=7 of a cblock is odd"),
        (kgraph([conv(1)], []).replace("memlimit=24576\n", ""), 1, "the header has no memlimit="),
        (kgraph([conv(1)], [], memlimit=0), 8, "memlimit=0 is outside"),
        (kgraph([conv(1)], [], width="wide"), 3, "width=wide is not a whole number above 0"),
        (kgraph([conv(1)], [], wlength=-1), 6, "wlength=-1 is not a whole number from 0 on"),
        (kgraph([conv(1)], []).replace("height=", "width=633\nheight="), 4, "width is given twice, first in line 3"),
        (kgraph([conv(1)], []).replace("*)", "", 1), 11, "the one of line 1 has no end"),
        (kgraph([conv(1)], []) + "conv[1] -> ", 15, "not an edge"),
        (kgraph([conv(1)], []) + "(* the end", 15, "has no end"),
        (kgraph([conv(1)], []) + "x" * 5000, 15, "longer than"),
        (kgraph([conv(1), "output[2] n=[1] name='k2'"], [("output[2]", "conv[1]")]), 16, "leaves an output"),
        (kgraph([], []), 13, "no kernel to place"),
        ("", 0, "no kernel to place"),
    ],
)  # fmt: skip
def test_malformed(text: str, line: int, words: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_case(text, "x.kgraph")
    assert words in caught.value.message
    assert caught.value.where == f"x.kgraph:{line}"


def test_a_cycle_is_walked_round() -> None:
    nodes = [conv(index) for index in range(1, 6)]
    edges = [("conv[1]", "conv[2]"), ("conv[2]", "conv[3]"), ("conv[3]", "conv[4]"), ("conv[4]", "conv[2]")]
    with pytest.raises(
        InputError, match=r"form a cycle: k2 -> k3 -> k4 -> k2|k3 -> k4 -> k2 -> k3|k4 -> k2 -> k3 -> k4"
    ):
        parse_case(kgraph(nodes, edges))


def test_a_long_chain_is_quick_and_needs_no_recursion() -> None:
    case = parse_case(chain([conv(index) for index in range(1, 5000)]))
    assert len(case.edges) == 4998


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"\x00" * 100, b"(*\nwidth=\xef\xbc\x96\n*)"])
def test_no_text_at_all(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.kgraph").write_bytes(data)
    with pytest.raises(InputError):
        read_case(tmp_path / "x.kgraph")


def test_too_large(tmp_path: Path) -> None:
    (tmp_path / "x.kgraph").write_bytes(b"\n" * (5 << 20))
    with pytest.raises(InputError, match="larger than"):
        read_case(tmp_path / "x.kgraph")


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no-such-file"):
        read_case(tmp_path / "x.kgraph")
