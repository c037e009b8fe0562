"""The picture: well-formed, the same every time, with every kernel and bundle, and safe whatever names a model has."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path

import pytest
from validate_images import changed, echo_image, matvec_image

from runtime import svg as drawn
from runtime.bundles import bundles
from runtime.image import Image
from runtime.layers import Layers, layers
from runtime.svg import picture
from runtime.target import with_defects
from runtime.wires import HOST, Tables, trace

NS = "{http://www.w3.org/2000/svg}"


def titles(svg: str, element: str) -> list[str]:
    found = ET.fromstring(svg).iter(f"{NS}{element}")
    return [str(title.text) for node in found for title in node.findall(f"{NS}title")]


@pytest.mark.parametrize("colour", ["kind", "layer"])
@pytest.mark.parametrize("heat", [False, True])
def test_every_kernel_and_bundle_is_there(gpt_image: Image, colour: str, heat: bool) -> None:
    svg = picture(gpt_image, colour=colour, heat=heat)
    assert svg == picture(gpt_image, colour=colour, heat=heat)
    kernels = [title.split(":")[0] for title in titles(svg, "rect") if " cores at " in title]
    assert kernels == [block.name for block in gpt_image.blocks]
    nets = bundles(gpt_image, Tables(gpt_image), trace(gpt_image))
    lines = [title for title in titles(svg, "path") if " lanes, " in title]
    assert len(lines) == len(nets) >= len(gpt_image.blocks)
    assert len(svg) < 6000 * len(gpt_image.blocks) + 20_000
    assert not re.search(r"(href|src|url)\s*[=(]", svg)  # self-contained
    assert ("busiest link" in svg) == heat


def test_ways_lead_from_kernel_to_kernel(gpt_image: Image) -> None:
    def inside(block: int, at: tuple[int, int]) -> bool:
        b = gpt_image.blocks[block]
        return 0 <= at[0] - b.x < b.size[0] and 0 <= at[1] - b.y < b.size[1]

    nets = bundles(gpt_image, Tables(gpt_image), trace(gpt_image))
    wires = trace(gpt_image)
    ends = wires.kernel_ends()
    assert sum(net.lanes for net in nets) == len(set(wires.end_channel[ends].tolist()))
    for net in nets:
        assert len(net.ways) == len(net.sinks)
        for sink, way in zip(net.sinks, net.ways, strict=True):
            assert net.source == HOST or inside(net.source, way[0])
            assert sink == HOST or inside(sink, way[-1])
            assert all((a[0] == b[0]) != (a[1] == b[1]) for a, b in pairwise(way))
    joined = {(net.source, sink) for net in nets for sink in net.sinks}
    pairs = zip(wires.source[wires.end_channel[ends]].tolist(), wires.end_block[ends].tolist(), strict=True)
    assert joined == set(pairs)


def test_names_are_data(gpt_image: Image) -> None:
    wicked = '</text><script>alert("1")</script>&\x00\x1b]'
    blocks = [dataclasses.replace(block, name=f"{wicked}{i}", kind=wicked) for i, block in enumerate(gpt_image.blocks)]
    ports = [dataclasses.replace(port, name=wicked) for port in gpt_image.ports]
    image = changed(gpt_image, blocks=blocks, ports=ports, manifest={"provenance": {"model": wicked}})
    root = ET.fromstring(picture(image))
    assert not list(root.iter(f"{NS}script"))
    assert any(wicked[:20] in str(node.text) for node in root.iter(f"{NS}text"))


def test_labels_that_fit_are_inside_and_none_stands_on_another(gpt_image: Image) -> None:
    svg = picture(gpt_image)
    texts = [str(node.text) for node in ET.fromstring(svg).iter(f"{NS}text")]
    named = [block for block in gpt_image.blocks if any(block.name in text for text in texts)]
    assert len(named) >= 0.8 * len(gpt_image.blocks)
    assert any(text.startswith("L1 ") for text in texts)


def test_dead_cores_in_view_are_drawn() -> None:
    image = echo_image()
    assert "dead" not in picture(image)
    near = dataclasses.replace(image, target=with_defects(image.target, [(0, 0, 1, 1)], "here"))
    assert picture(near).count("<title>dead cores</title>") == 1


@pytest.mark.parametrize("make", [matvec_image, echo_image])
def test_images_without_layers(make: object) -> None:
    assert callable(make)
    image = make()
    assert layers(image) == [None] * len(image.blocks)
    for colour in ("kind", "layer"):
        ET.fromstring(picture(image, colour=colour, heat=True))


def test_an_image_of_nothing() -> None:
    image = matvec_image()
    ET.fromstring(picture(changed(image, blocks=[], cores=image.cores[:0], routes=image.routes[:0], ports=[])))


def test_layers_follow_attention_and_joins(gpt_image: Image) -> None:
    of_layer = dict(zip((block.name for block in gpt_image.blocks), layers(gpt_image), strict=True))
    assert of_layer["lookup0"] is None
    for layer in (0, 1):
        kinds = sorted(b.kind for b in gpt_image.blocks if of_layer[b.name] == Layers(layer, layer, layer))
        attend, feed = ["norm", "matvec", "attention", "matvec"], ["norm", "matvec", "matvec"]
        assert kinds == sorted([*attend, "fifo", "join", *feed, "fifo", "join"])
    assert sum(layer is None for layer in of_layer.values()) >= 3  # lookup, last norm, head


def test_bytes_do_not_depend_on_hashing(gpt_wse: Path) -> None:
    script = (
        "import sys; from runtime.imagefile import read_image; from runtime.svg import picture; "
        "from runtime.report import report; image = read_image(sys.argv[1]); "
        "print(picture(image, heat=True), report(image))"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", script, str(gpt_wse)],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1] and len(said[0]) > 10_000


def in_layers(image: Image, count: int) -> Image:
    """As if its kernels were those of so many layers."""
    kinds = ["lookup", *(kind for _ in range(count) for kind in ("attention", "join"))]
    kinds += ["map"] * (len(image.blocks) - len(kinds))
    return changed(image, blocks=[dataclasses.replace(b, kind=k) for b, k in zip(image.blocks, kinds, strict=True)])


def words_of(svg: str) -> list[ET.Element]:
    return list(ET.fromstring(svg).iter(f"{NS}text"))


def test_the_legend_names_all_layers_if_they_are_few(gpt_image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    image = in_layers(gpt_image, 10)

    def named() -> list[str]:
        words = [str(text.text) for text in words_of(picture(image, colour="layer"))]
        return [word for word in words if word.startswith("layer ")]

    assert named() == [f"layer {i}" for i in range(10)]
    monkeypatch.setattr(drawn, "MOST_LAYERS", 4)
    assert named() == ["layer 0", "layer 3", "layer 6", "layer 9"]


@pytest.mark.parametrize("model", ["m.onnx", "cerebras-gpt-111m.onnx", "a-name-that-is-cut-since-it-is-so-long.onnx"])
def test_the_title_fits_the_legend(gpt_image: Image, model: str) -> None:
    named = changed(gpt_image, manifest={"provenance": {"model": model}})
    (title,) = [text for text in words_of(picture(named)) if text.attrib.get("font-weight") == "bold"]
    wide = 0.69 * float(title.attrib["font-size"]) * len(str(title.text))  # of bold letters, on average
    assert wide <= drawn.LEGEND + drawn.MARGIN
