"""Defect maps: what is read is what was meant; and neither validator nor machine lets a dead core be used."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from validate_images import echo_image, matvec_image

from runtime import defects, loader
from runtime import target as targets
from runtime.defects import Rect
from runtime.errors import IllegalImageError, InputError
from runtime.image import Image
from runtime.imagefile import read_image, write_image
from runtime.validate import validate

FABRIC = (9, 7)
RECTS = st.lists(
    st.tuples(st.integers(0, 8), st.integers(0, 6), st.integers(1, 9), st.integers(1, 7)).filter(
        lambda rect: defects.on_fabric(rect, FABRIC)
    ),
    max_size=9,
)


def cells(rects: list[Rect] | tuple[Rect, ...]) -> list[tuple[int, int]]:
    return sorted((x + i, y + j) for x, y, w, h in rects for i in range(w) for j in range(h))


@given(RECTS)
def test_normal_form_keeps_the_cores_and_nothing_else(rects: list[Rect]) -> None:
    normal = defects.normal_form(rects, FABRIC)
    assert cells(normal) == sorted(set(cells(rects)))  # each once: the rectangles are disjoint
    assert defects.normal_form(reversed(rects), FABRIC) == normal
    assert defects.parse(defects.to_text(normal, "head"), FABRIC, "map") == normal
    window = (2, 1, 5, 4)
    inside = {(x, y) for x, y in cells(normal) if 2 <= x < 7 and 1 <= y < 5}
    assert defects.count(normal, window) == len(inside)
    assert {(x + 2, y + 1) for y, x in np.argwhere(defects.mask(normal, window)).tolist()} == inside


def test_a_map_is_read() -> None:
    text = "# a wafer\n\n 3 2\n4 2 # beside it\n0 0 2 3\n3 2\n"
    assert defects.parse(text, FABRIC, "map") == ((0, 0, 2, 3), (3, 2, 2, 1))


@pytest.mark.parametrize(
    ("line", "words"),
    [("3", "1 numbers"), ("3 4 5", "3 numbers"), ("3 x", "'3 x'"), ("9 0", "(9,0)"), ("-1 0", "(-1,0)"),
     ("8 0 2 1", "2 x 1"), ("0 0 0 1", "0 x 1")],
)  # fmt: skip
def test_a_bad_line_is_named(line: str, words: str) -> None:
    with pytest.raises(InputError) as error:
        defects.parse(f"0 0\n\n{line}\n", FABRIC, "map.txt")
    assert error.value.where == "map.txt:3"
    assert words in error.value.message


def test_files_that_are_no_maps(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x80")
    for name in ("binary", "missing", "."):
        with pytest.raises(InputError):
            defects.read(tmp_path / name, FABRIC)


def test_lots_are_drawn_among_the_usable_cores() -> None:
    target = targets.load("mini-32x32")
    dead = defects.draw_lots(50, 1, target.usable, target.fabric)
    assert len(set(cells(dead))) == 50 == defects.count(dead, target.usable)
    assert dead == defects.draw_lots(50, 1, target.usable, target.fabric)
    assert dead != defects.draw_lots(50, 2, target.usable, target.fabric)
    with pytest.raises(InputError):
        defects.draw_lots(1025, 1, target.usable, target.fabric)


@pytest.mark.parametrize("bad", [3, [[1, 2]], [[1, 2, 3, "4"]], [[0, 0, 40, 1]], [[0, 0, True, 1]], [[0, 0, 0, 1]]])
def test_a_target_with_impossible_defects(bad: object) -> None:
    entries = targets.load("mini-32x32").to_json() | {"defects": bad}
    with pytest.raises(targets.TargetError, match="here"):
        targets.from_dict(entries, "here")


def test_a_target_counts_its_dead_cores() -> None:
    target = targets.with_defects(targets.load("mini-32x32"), [[0, 0, 2, 2], [4, 1, 3, 2], [5, 2, 1, 1]], "here")
    assert target.defects == ((0, 0, 2, 2), (4, 1, 3, 2))
    assert (target.dead_cores, target.cores) == (6, 1024 - 6)  # the first four are not for programs


def with_dead(image: Image, *rects: Rect) -> Image:
    return dataclasses.replace(image, target=targets.with_defects(image.target, rects, "here"))


def test_an_image_keeps_its_defects(tmp_path: Path) -> None:
    image = with_dead(matvec_image(), (0, 0, 1, 1))
    write_image(image, tmp_path / "a.wse")
    assert read_image(tmp_path / "a.wse").target == image.target
    assert validate(image).ok
    plain = matvec_image()
    write_image(plain, tmp_path / "b.wse")
    assert b"defects" not in (tmp_path / "b.wse").read_bytes()  # older readers know no such entry


def test_an_image_with_a_malformed_map_is_refused(tmp_path: Path) -> None:
    image = dataclasses.replace(
        matvec_image(), target=dataclasses.replace(matvec_image().target, defects=((0, 0, 99, 1),))
    )
    write_image(image, tmp_path / "a.wse")
    with pytest.raises(InputError, match="not on the fabric"):
        read_image(tmp_path / "a.wse")


def used(image: Image) -> set[tuple[int, int]]:
    return {
        (x, y)
        for block in image.blocks
        for x, y, w, h in [(block.x, block.y, *block.size)]
        for x, y in cells([(x, y, w, h)])
    }


@pytest.mark.parametrize("make", [matvec_image, echo_image])
def test_every_core_of_an_image_must_live(make: object) -> None:
    assert callable(make)
    image = make()
    assert used(image)
    for x, y in used(image):
        dead = with_dead(image, (x, y, 1, 1))
        assert validate(dead).counts["dead-core"] == 1, (x, y)
        assert f"({x},{y})" in validate(dead).text()
        with pytest.raises(IllegalImageError) as error:
            loader.load(dead, 1)
        assert error.value.code == "dead-core"


def test_the_report_of_a_target_is_json() -> None:
    target = targets.with_defects(targets.load("mini-32x32"), [[4, 1, 1, 1]], "here")
    assert targets.from_dict(json.loads(json.dumps(target.to_json())), "again") == target
