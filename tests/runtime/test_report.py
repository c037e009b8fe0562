"""The report: its text on a small image, and its numbers against the validator, the compiler and plain counting."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from validate_images import F32, changed, echo_image, exchange_image, matvec_image

from runtime import report_text
from runtime.image import Image
from runtime.isa import Const, Dtype, Fmac, If, In, Loop, Mem, Program, Reg, Region, Task
from runtime.report import SECTIONS, report
from runtime.target import with_defects
from runtime.validate import validate
from runtime.wires import HOST, trace
from runtime.work import Work, work

NOTES = {
    "size": {
        "interval_cycles": 40,
        "area_bound_cycles": 32.0,
        "host_bound_cycles": 38,
        "slowest_kernel": "k",
        "tokens_per_second": 2.5,
    },
    "place": {"objective": 12, "bound": 9, "gap": 0.25, "status": "FEASIBLE", "box": [1, 1, 3, 2]},
}


def noted(image: Image) -> Image:
    cycles = {block.name: [40 - i, 100] for i, block in enumerate(image.blocks)}
    provenance = {"model": "small.onnx", "options": {"precision": "fp32"}}
    return changed(image, manifest={"report": {**NOTES, "cycles": cycles}, "provenance": provenance})


def test_text_of_a_small_image(golden: Callable[[str, str], None]) -> None:
    image = noted(echo_image())
    image = dataclasses.replace(image, target=with_defects(image.target, [(0, 0, 1, 1)], "here"))
    golden("report.txt", report_text.text(report(image), SECTIONS) + "\n")


def test_a_section_alone() -> None:
    text = report_text.text(report(noted(matvec_image())), ["memory"])
    assert text.startswith("memory\n") and "solver" not in text


@pytest.mark.parametrize("make", [matvec_image, echo_image, lambda: exchange_image(4)])
def test_an_image_without_notes_has_a_report(make: Callable[[], Image]) -> None:
    data = report(make())
    assert data["summary"]["interval_cycles"] is None
    assert "unknown" in report_text.text(data, SECTIONS)
    assert json.loads(json.dumps(data, allow_nan=False)) == data


def test_an_image_of_nothing() -> None:
    image = changed(
        matvec_image(), blocks=[], cores=matvec_image().cores[:0], routes=matvec_image().routes[:0], ports=[]
    )
    data = report(image)
    assert data["place"] == {"kernels": 0} and data["route"]["hottest_links"] == []
    report_text.text(data, SECTIONS)


HUGE = 10**400  # too much for a float


@pytest.mark.parametrize(
    "notes",
    [
        *(3, {"size": 7}, {"cycles": {"a": "x", "b": [1]}}, {"size": {"interval_cycles": "9"}}),
        *({"size": {"interval_cycles": HUGE}}, {"size": {"area_bound_cycles": HUGE}}, {"cycles": {"a": [1, HUGE]}}),
        {"cycles": {"a": [1, 1]}, "loops": {"a": {"switch": "b", "passes": HUGE, "pace_cycles": 1}}},
        {"cycles": {"a": [1, 1]}, "loops": {"a": {"switch": "b", "passes": 2, "pace_cycles": HUGE}}},
    ],
)
def test_notes_of_strangers_do_no_harm(notes: object) -> None:
    image = changed(echo_image(), manifest={"report": notes, "provenance": 4})
    report_text.text(report(image), SECTIONS)


def test_names_are_made_harmless() -> None:
    image = noted(echo_image())
    blocks = [dataclasses.replace(block, name=f"\x1b[31m{block.name}") for block in image.blocks]
    text = report_text.text(report(changed(image, blocks=blocks)), SECTIONS)
    assert "\x1b" not in text


def test_numbers_are_the_validators(gpt_image: Image) -> None:
    facts, data = validate(gpt_image).facts, report(gpt_image, top=3)
    route, memory = data["route"], data["memory"]
    assert route["hottest_links"][0]["words"] == facts["max_link_words"]
    assert route["channels"] == facts["channels"]
    assert route["hops"] == facts["hops"]
    assert route["words_per_token"] == facts["words"]
    assert route["colours"]["max"] == facts["max_colours"]
    assert memory["owners"]["all"]["max"] == facts["max_memory"] == memory["fullest"][0]["bytes"]
    assert data["summary"]["cores_used"] == facts["cores"]
    for entries in (
        route["hottest_links"],
        memory["fullest"],
        data["summary"]["slowest"],
        data["place"]["longest_wires"],
    ):
        assert len(entries) == 3


def test_loads_are_those_of_every_hop(gpt_image: Image) -> None:
    """Words times hops, and the sum over all links, are two ways to count."""
    wires = trace(gpt_image)
    assert len(wires.hops) == int((gpt_image.cores["inq"] >= 0).sum()) + sum(
        len(port.lanes) for port in gpt_image.ports if port.direction == "out"
    )
    alone = np.bincount(wires.end_channel, minlength=len(wires.source)) == 1
    single = alone[wires.end_channel]
    least = (wires.hops * wires.words[wires.end_channel])[single].sum()
    assert least <= wires.load[:4].sum() <= (wires.hops * wires.words[wires.end_channel]).sum() + wires.words.sum()
    out = wires.end_block == HOST
    assert out.sum() == sum(len(port.lanes) for port in gpt_image.ports if port.direction == "out")


def test_arithmetic_and_predictions(gpt_image: Image) -> None:
    summary = report(gpt_image, top=1000)["summary"]
    matrices = sum(
        data.size for data in (t.data for t in gpt_image.tensors.values()) if data.ndim == 2 and data.shape[0] >= 32
    )
    assert summary["flops_per_token"] > matrices  # two for a weight; embeddings are looked up, attention comes on top
    assert 0 < summary["utilisation_of_wafer"] < summary["utilisation_of_used"] < 1
    slowest = summary["slowest"]
    assert slowest[0]["interval_cycles"] == summary["interval_cycles"]
    assert {entry["kernel"] for entry in slowest} == {block.name for block in gpt_image.blocks}
    latencies = {name: pair[1] for name, pair in gpt_image.manifest["report"]["cycles"].items()}
    branches = [n for b in gpt_image.blocks for n in [latencies[b.name]] if b.kind != "fifo"]
    assert max(branches) < summary["latency_cycles"]
    # Norms, matvecs, attention and joins of both layers follow one another; only fifos stand beside.
    assert summary["latency_cycles"] > sum(branches)


def program(*body: Any) -> Program:
    regions = (Region("w", "weights", 0, 400), Region("c", "cache", 400, 64))
    return Program("p", (Task("main", body),), regions)


def test_work_counts_what_a_token_can_ask() -> None:
    i, n = Reg(0), Reg(1)
    weights, acc = Mem(0, F32, 10, index=i, scale=40), Mem(400, F32, 10)
    half = Mem(0, Dtype.F16, 10)
    assert work(program(Loop(i, 7, (Fmac(acc, weights, Const(2.0)),)))) == Work(0, 70)
    assert work(program(Fmac(acc, half, half), Fmac(acc, half, In(2, 10)))) == Work(10, 10)
    assert work(program(If(n, (Fmac(acc, weights, weights),)))) == Work(0, 10)
    # Unknown count: the region has room for 400 / 40 rows; unknown extent: for 64 / 4 elements.
    assert work(program(Loop(i, n, (Fmac(acc, weights, Const(2.0)),)))) == Work(0, 100)
    assert work(program(Fmac(Mem(400, F32, n), weights, weights))) == Work(0, 16)
