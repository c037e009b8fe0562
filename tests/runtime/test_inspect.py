"""Inspection: dicts, their text, and the picture of the wafer."""

from __future__ import annotations

import dataclasses
import json

import pytest
from validate_images import changed, echo_image, edit_program, matvec_image

from runtime.errors import UsageError
from runtime.geometry import Orientation
from runtime.inspect import core_detail, core_text, summary, summary_text
from runtime.picture import wafer_picture


def test_summary_counts_kernels_cores_memory_and_colours() -> None:
    data = summary(matvec_image())
    assert data["cores"] == {"used": 6, "target": 6, "programs": 2}
    assert data["kernels"] == [
        {
            "name": "fc",
            "kind": "matvec",
            "x": 1,
            "y": 1,
            "width": 3,
            "height": 2,
            "cores": 6,
            "memory_max": 272,
            "onnx": ["/fc/MatMul"],
        }
    ]
    assert data["memory"]["weights"] == {"max": 16, "mean": 16.0}
    assert data["memory"]["all"] == {"max": 272, "mean": 240.0}
    assert data["colours"] == {"limit": 21, "max": 3, "routers": {"2": 3, "3": 3}}
    assert data["tensors"] == [{"name": "fc.weight", "dtype": "float32", "shape": [4, 6], "bytes": 96}]
    json.dumps(data)


def test_summary_text_names_everything() -> None:
    text = summary_text(summary(matvec_image()))
    for part in (
        "6 of 6 cores (100.0 %)",
        "fc      matvec",
        "/fc/MatMul",
        "batch x seq x 4",
        "fc.weight  float32  4 x 6",
    ):
        assert part in text
    assert "manifest.report.interval_cycles = 10" in text


def test_core_shows_program_memory_queues_and_routes() -> None:
    data = core_detail(matvec_image(), 2, 2)
    assert (data["status"], data["kernel"], data["row"], data["column"]) == ("running", "fc", 1, 1)
    assert [entry["owner"] for entry in data["memory"]] == ["buffer", "buffer", "buffer", "weights", "code", "queues"]
    assert sum(entry["bytes"] for entry in data["memory"]) == data["memory_used"]
    assert data["queues"][1] == {"direction": "in", "queue": 3, "name": "above", "colour": 1}
    assert data["routes"][0] == {"colour": 0, "from": "W", "to": "E+RAMP"}
    text = core_text(data)
    for part in ("core (2,2): row 1, column 1 of fc (matvec)", "ONNX nodes: /fc/MatMul", "task main", "48880 free"):
        assert part in text


def test_core_of_a_turned_block_is_found_where_it_lies() -> None:
    image = matvec_image()
    turned = changed(image, blocks=[dataclasses.replace(image.blocks[0], orientation=Orientation(3))])
    found = {(x, y): core_detail(turned, x, y) for x in (1, 2) for y in (1, 2, 3)}
    assert all(found[turned.blocks[0].at(d["row"], d["column"])] is d for d in found.values())


def test_idle_and_unused_places_and_places_beyond_the_fabric() -> None:
    image = matvec_image()
    cores = image.cores.copy()
    cores["program"][0] = -1
    assert "it is idle" in core_text(core_detail(changed(image, cores=cores), 1, 1))
    assert "core (0,0) is not used: no kernel lies there" in core_text(core_detail(image, 0, 0))
    with pytest.raises(UsageError, match=r"\(9,0\) is not on the 5 x 4 fabric"):
        core_detail(image, 9, 0)


def test_names_from_models_cannot_control_the_terminal() -> None:
    image = matvec_image()
    evil = "\x1b]0;title\x07[red]\u202e\n"
    image = edit_program(image, 1, name=evil)
    image = changed(
        image,
        blocks=[dataclasses.replace(image.blocks[0], name=evil, kind=evil, onnx=(evil,))],
        ports=[dataclasses.replace(port, name=evil) for port in image.ports],
        tensors={evil: image.tensors["fc.weight"]},
        manifest={evil: {evil: evil}},
    )
    picture = wafer_picture(image, 20, colour=False)
    text = summary_text(summary(image)) + core_text(core_detail(image, 2, 2)) + picture
    assert all(c == "\n" or c.isprintable() for c in text)
    assert "\\x1b]0;title" in text


def test_picture_in_letters() -> None:
    image = echo_image()
    assert wafer_picture(image, 40, colour=False) == "\n".join(
        ["2 x 1 cores at (1,1) of toy; one cell is 1 x 2 cores", "AB", "A fifo (1)  B relane (1)"]
    )
    same = changed(image, blocks=[dataclasses.replace(block, kind="map") for block in image.blocks])
    assert wafer_picture(same, 40, colour=False).split("\n")[1:] == [
        "Aa",
        "A map (2); every second kernel of a kind in small letters",
    ]


def test_picture_shrinks_to_the_width() -> None:
    image = matvec_image()
    wide = changed(image, blocks=[dataclasses.replace(image.blocks[0], rows=30, cols=200)])
    lines = wafer_picture(wide, 50, colour=False).split("\n")[1:-1]
    assert lines == ["A" * 50] * 4
    coloured = wafer_picture(wide, 50).split("\n")[1:-1]
    assert len(coloured) == 4 and all(line.count("▀") == 50 and line.endswith("\x1b[0m") for line in coloured)
