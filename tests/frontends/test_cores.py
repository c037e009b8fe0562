"""A planted error of an image is found down to its core, with got and wanted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted_cores import block_of, flipped, in_memory
from small import SMALL

import wsec
from compiler.kernels.attention import Attention
from compiler.kernels.tile import TileLayout
from runtime.check import CheckReport, Finding
from runtime.image import Image
from runtime.isa import Dtype


@pytest.fixture(scope="module")
def fp16_image(gpt: Path) -> Image:
    return wsec.compile(gpt, precision="fp16", **SMALL)


def looked(model: Path, image: Image) -> CheckReport:
    return wsec.check(model, image, tokens=8, layers=True, level="executed")


def found(report: CheckReport) -> Finding:
    assert report.finding is not None
    return report.finding


def tile_of(image: Image, name: str, r: int, c: int) -> TileLayout:
    """How a core's tile lies in its memory, from its program's name."""
    _, block = block_of(image, name)
    program = image.programs[image.cores["program"][block.first + r * block.cols + c]].name
    k, n = re.findall(r"\.k(\d+)\.n(\d+)", program)[0]
    return TileLayout.of(Dtype.F16, int(k), int(n))


@pytest.mark.parametrize(("r", "c", "k", "e"), [(0, 0, 1, 1), (3, 2, 2, 3), (1, 1, 0, 2)])
def test_one_byte_of_one_weight(gpt: Path, fp16_image: Image, r: int, c: int, k: int, e: int) -> None:
    """The low byte of an fp16 weight: a change of a few percent that no output shows."""
    tile = tile_of(fp16_image, "matvec4", r, c)
    assert k < tile.count
    assert e < tile.width
    element = tile.start(k) + e * tile.step
    image = in_memory(fp16_image, "matvec4", r, c, "w", element, flipped(0x0060))
    assert wsec.check(gpt, image, tokens=8).passed
    report = looked(gpt, image)
    assert [layer.op for layer in report.layers if layer.wrong] == ["matvec4"]
    finding = found(report)
    _, block = block_of(image, "matvec4")
    assert finding.core == block.at(r, c)
    assert (finding.cause, finding.kernel, finding.lane) == ("weight", "matvec4", c)
    assert finding.element == e
    assert f"row {k}, column {e}" in finding.text
    assert finding.got != finding.wanted


def test_a_row_of_the_table(gpt: Path, fp16_image: Image) -> None:
    """Of a token that is in the input."""
    ids = np.random.default_rng(0).integers(0, 67, (1, 8))
    _, block = block_of(fp16_image, "lookup0")
    width = -(-32 // block.cols)
    image = in_memory(fp16_image, "lookup0", 0, 0, "rows", width * int(ids[0, 3]) + 1, flipped(0x4000))
    finding = found(looked(gpt, image))
    assert finding.core == block.at(0, 0)
    assert (finding.cause, finding.kernel) == ("chain", "lookup0")
    assert finding.element == 1


def test_a_swapped_route(gpt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two heads hear one another's tokens. The image is legal: nothing but the numbers can tell."""
    straight = Attention.inputs

    def crossed(self: Attention) -> Any:
        lanes = straight(self)["x"]
        return {"x": (lanes[1], lanes[0], *lanes[2:])}

    monkeypatch.setattr(Attention, "inputs", crossed)
    image = wsec.compile(gpt, **SMALL)
    monkeypatch.undo()
    report = looked(gpt, image)
    finding = found(report)
    _, block = block_of(image, "attention0")
    assert (finding.cause, finding.kernel) == ("route", "attention0")
    assert finding.core == block.at(0, 0)
    assert "lane 1 of matvec1" in finding.text
    assert "not lane 0 of matvec1" in finding.text
    assert np.isfinite(finding.got)
    assert finding.got != finding.wanted


def test_a_healthy_image_has_no_finding(gpt: Path, fp16_image: Image) -> None:
    report = looked(gpt, fp16_image)
    assert report.passed
    assert report.finding is None


def test_the_machine_readable_finding(gpt: Path, fp16_image: Image) -> None:
    image = in_memory(fp16_image, "matvec2", 1, 0, "w", 0, flipped(0x8000))
    told = looked(gpt, image).to_json()["finding"]
    assert told["cause"] == "weight"
    assert told["kernel"] == "matvec2"
    assert told["where"] == "transformer.h.0.attn.c_proj"
