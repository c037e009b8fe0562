"""Placement and constraint files: both forms mean the same, mistakes are told by line, nothing is passed over."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.floorplan import Placed
from compiler.ir.core import is_attr
from compiler.place.demands import (
    Demands,
    FixedKernel,
    from_attr,
    placement_text,
    read_constraints,
    read_placement,
    resolve,
    to_attr,
)
from runtime.errors import InputError
from runtime.geometry import Orientation

USABLE = (4, 1, 750, 994)
NAMES = ("norm0", "norm1", "matvec0", "odd name")
NODES: tuple[tuple[str, ...], ...] = (("/h.0/ln",), (), ("/h.0/c_fc", "/h.0/act"), ())


def written(folder: Path, text: str, name: str = "file.txt") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=8),
        st.tuples(st.integers(0, 999), st.integers(0, 999), st.integers(0, 7)),
        min_size=1,
        max_size=4,
    ),
    st.booleans(),
)
def test_a_placement_round_trips(tmp_path_factory: pytest.TempPathFactory, places: object, as_json: bool) -> None:
    assert isinstance(places, dict)
    placed = [Placed(x, y, Orientation(code)) for x, y, code in places.values()]
    text = placement_text(list(places), placed, as_json=as_json)
    found = read_placement(written(tmp_path_factory.mktemp("p"), text))
    assert [(f.kernel, f.x, f.y, f.orientation) for f in found] == [(name, *place) for name, place in places.items()]


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("norm0 1 2\n", "file.txt:1", "3 words"),
        ("# c\nnorm0 1 2 8\n", "file.txt:2", "orientation 8"),
        ("norm0 1 -2 0\n", "file.txt:1", "y -2"),
        ("norm0 1 two 0\n", "file.txt:1", "two"),
        ("norm0 1 2 0\n\nnorm0 3 4 0\n", "file.txt:3", "at file.txt:1"),
        ('"norm0 1 2 0\n', "file.txt:1", "quote"),
        ('"no\\qrm0" 1 2 0\n', "file.txt:1", "quoted"),
        ('{"schema": 1,\n "kernels": {]}', "file.txt:2", "not JSON"),
        ('{"schema": 2, "kernels": {}}', "file.txt", "schema 1"),
        ('{"schema": 1, "kernels": {"a": {"x": 1, "y": 2}}}', "file.txt: a", "x, y and orientation"),
        ('{"schema": 1, "kernels": {"a": {"x": 1.5, "y": 2, "orientation": 0}}}', "file.txt: a", "x 1.5"),
        ('{"schema": 1, "kernels": {"a": {}, "a": {}}}', "file.txt", "a stands twice"),
        ("{" * 100_000, "file.txt", "not JSON"),
    ],
)
def test_bad_placements(tmp_path: Path, text: str, where: str, words: str) -> None:
    with pytest.raises(InputError) as error:
        read_placement(written(tmp_path, text))
    assert error.value.where.startswith(where)
    assert words in error.value.message


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("region norm0 1 2 3", "not a constraint"),
        ("keep-out 1 2 3", "not a constraint"),
        ("keepout 1 2 3 4", "not a constraint"),
        ("region norm0 1 2 3 x", "whole numbers"),
        ("keep-out 1 2 0 4", "0 x 4"),
        ("region a,,b 1 2 3 4", "empty pattern"),
    ],
)
def test_bad_constraints(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(InputError) as error:
        read_constraints(written(tmp_path, f"keep-out 1 1 1 1\n{line}\n"))
    assert error.value.where == "file.txt:2"
    assert words in error.value.message


def demands(folder: Path, constraints: str, *fixed: FixedKernel, allow: bool = False) -> Demands:
    regions, keep_out = read_constraints(written(folder, constraints))
    return Demands(fixed, regions, keep_out, allow)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x80")
    for name in ("binary", "missing", "."):
        for read in (read_placement, read_constraints):
            with pytest.raises(InputError):
                read(tmp_path / name)


def test_patterns_mean_kernels_and_onnx_nodes(tmp_path: Path) -> None:
    text = 'region norm*,"odd name" 0 0 100 200  # early\nregion /h.0/* 50 0 100 100\nkeep-out 0 0 10 10\n'
    found = resolve(demands(tmp_path, text, FixedKernel("norm1", 5, 6, 7, "f:1")), NAMES, NODES, USABLE)
    assert found.regions == {0: (50, 1, 50, 99), 1: (4, 1, 96, 199), 2: (50, 1, 100, 99), 3: (4, 1, 96, 199)}
    assert found.keep_out == ((4, 1, 6, 9),)
    assert found.fixed == {1: Placed(5, 6, Orientation(7))}
    assert found.where[1] == "f:1" and found.where[0] == "file.txt:1"


@pytest.mark.parametrize(
    ("text", "fixed", "words"),
    [
        ("region norm9 4 1 9 9", (), ["'norm9'", "file.txt:1", "near names: norm1, norm0"]),
        ("region norm0,mat? 4 1 9 9", (), ["'mat?'", "allow-unused-overrides"]),
        ("", (FixedKernel("matvec1", 0, 0, 0, "f:3"),), ["'matvec1'", "f:3", "near names: matvec0"]),
        ("keep-out 760 0 5 5", (), ["no usable core"]),
    ],
)
def test_what_matches_nothing_is_an_error_unless_allowed(
    tmp_path: Path, text: str, fixed: tuple[FixedKernel, ...], words: list[str]
) -> None:
    with pytest.raises(InputError) as error:
        resolve(demands(tmp_path, text, *fixed), NAMES, NODES, USABLE)
    assert all(word in str(error.value) for word in words)
    allowed = resolve(demands(tmp_path, text, *fixed, allow=True), NAMES, NODES, USABLE)
    assert not allowed.fixed and not allowed.keep_out


def test_regions_without_a_common_core(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no usable core is in all regions of norm0") as error:
        resolve(demands(tmp_path, "region norm0 4 1 9 9\nregion norm* 90 90 9 9\n"), NAMES, NODES, USABLE)
    assert error.value.where == "file.txt:2"


def test_a_module_carries_the_demands(tmp_path: Path) -> None:
    meant = demands(tmp_path, "region a,b 1 2 3 4\nkeep-out 5 6 7 8\n", FixedKernel("k", 1, 2, 3, "f:1"), allow=True)
    attr = to_attr(meant)
    assert is_attr(attr)
    assert from_attr(attr) == meant
    assert from_attr(None) == Demands()
    for wrong in ({}, {"fixed": (1,)}, {"fixed": (), "regions": ((("a",), (1, 2), "w"),), "keep_out": ()}, 3):
        with pytest.raises(InputError):
            from_attr(wrong)
