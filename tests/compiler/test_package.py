"""The last module as an image, and what happens if somebody edited it badly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from compiler.driver import Options, build, lower
from compiler.ir.core import Op
from compiler.ir.parser import parse_module
from compiler.ir.printer import print_module
from compiler.resources import ResourceStore
from runtime import target as targets
from runtime.errors import InputError
from runtime.geometry import RAMP, bit
from runtime.image import Image
from runtime.isa import Mem, operands, walk
from tests.random_gpt import Shape, random_gpt

MINI = targets.load("mini-32x32")
# More logits than the host has channels, so that a relane is there too.
SHAPE = Shape(layers=1, heads=3, head_dim=4, hidden=20, vocab=23, positions=9)


def lowered(precision: str = "fp32") -> tuple[Op, ResourceStore]:
    module, resources = random_gpt(SHAPE, 1)
    lower(module, resources, Options("mini-32x32", precision=precision, slots=3, deterministic_limit=0))
    return module, resources


@pytest.fixture(scope="module")
def core() -> tuple[Op, ResourceStore]:
    return lowered()


@pytest.fixture(scope="module")
def image(core: tuple[Op, ResourceStore]) -> Image:
    return build(*core, MINI, {"tool": "test"})


def test_blocks_number_their_cores_without_gaps(image: Image) -> None:
    first = 0
    for block in image.blocks:
        assert block.first == first
        first += block.rows * block.cols
    assert len(image.cores) == first
    assert set(image.cores["program"]) == set(range(len(image.programs)))


def test_a_core_has_colours_for_the_queues_of_its_program(image: Image) -> None:
    for core in image.cores:
        program = image.programs[core["program"]]
        for named, bound in ((program.input_names, core["inq"]), (program.output_names, core["outq"])):
            assert {q for q, _ in named} == set(np.flatnonzero(bound >= 0))


def test_every_router_has_one_rule_per_colour(image: Image) -> None:
    seen: set[tuple[int, int, int]] = set()
    for x, y, w, h, colour, inputs, outputs in image.routes.tolist():
        assert inputs and outputs and inputs.bit_count() == 1
        cells = {(colour, x + i, y + j) for i in range(w) for j in range(h)}
        assert not cells & seen
        seen |= cells
    assert sorted(image.routes.tolist()) == image.routes.tolist()


def test_bound_queues_meet_a_route_at_their_router(image: Image) -> None:
    rules = {
        (x + i, y + j, colour): (inputs, outputs)
        for x, y, w, h, colour, inputs, outputs in image.routes.tolist()
        for i in range(w) for j in range(h)
    }  # fmt: skip
    for block in image.blocks:
        for r, c in np.ndindex(block.rows, block.cols):
            core, place = image.cores[block.first + r * block.cols + c], block.at(r, c)
            assert all(rules[*place, colour][1] & bit(RAMP) for colour in core["inq"] if colour >= 0)
            assert all(rules[*place, colour][0] == bit(RAMP) for colour in core["outq"] if colour >= 0)


def test_ports_and_options(image: Image) -> None:
    ids, logits = sorted(image.ports, key=lambda port: port.direction)
    assert (ids.name, ids.dtype, ids.shape, ids.features, ids.limit) == ("ids", "i64", ("batch", "seq"), 1, 23)
    assert (logits.name, logits.dtype, logits.shape, logits.limit) == ("logits", "f32", ("batch", "seq", 23), None)
    assert [(lane.start, lane.size) for lane in ids.lanes] == [(0, 1)]
    assert sum(lane.size for lane in logits.lanes) == logits.features == 23
    assert (image.max_seq, image.slots) == (9, 3)


def test_the_manifest_has_provenance_report_and_remarks(image: Image) -> None:
    assert image.manifest["provenance"] == {"tool": "test"}
    report = image.manifest["report"]
    assert report.keys() >= {"size", "place", "route", "remarks"}
    assert report["remarks"].keys() == {block.name for block in image.blocks if block.kind == "fifo"}


def test_every_tensor_is_copied_somewhere(image: Image) -> None:
    assert {init.tensor for init in image.inits} == image.tensors.keys()


def test_fp16_weights_are_stored_as_fp16() -> None:
    image = build(*lowered("fp16"), MINI, {})
    kinds = {init.tensor: {other.dtype for other in image.inits if other.tensor == init.tensor} for init in image.inits}
    assert {"f16"} in kinds.values() and {"f32"} in kinds.values() and {"i32"} in kinds.values()
    numpy = {"f16": np.float16, "f32": np.float32, "i32": np.int32}
    for name, wanted in kinds.items():
        if len(wanted) == 1:
            assert image.tensors[name].data.dtype == numpy[next(iter(wanted))]


def test_memory_operands_stay_inside_their_program(image: Image) -> None:
    for program in image.programs:
        for task in program.tasks:
            for operand in (operand for instr in walk(task.body) for operand in operands(instr)):
                assert not isinstance(operand, Mem) or operand.address < program.data_bytes


def edit(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda attrs: attrs.update({key: value})


@pytest.mark.parametrize(
    ("op", "change", "message"),
    [
        ("builtin.module", lambda attrs: attrs.pop("options"), "no options max_seq and slots"),
        ("core.block", edit("rows", 1 << 40), "no rectangle of"),
        ("core.block", edit("cols", 0), "no rectangle of"),
        ("core.block", edit("orientation", 8), "no rectangle of"),
        ("core.alu", edit("fn", "xor"), "'xor' is not one of"),
        ("core.mem", edit("dtype", "bool"), "'bool' is not one of a core"),
        ("fabric.channel", edit("tree", "4,1 E2*; 9,9 *"), "does not start at a router of the tree"),
    ],
)
def test_edited_text(
    core: tuple[Op, ResourceStore], op: str, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    """Text that parses but means nothing is bad input, not a crash."""
    module = parse_module(print_module(core[0]))
    change(next(inner for inner in module.walk() if inner.name == op).attrs)
    with pytest.raises(InputError, match=message):
        build(module, core[1], MINI, {})


def test_a_route_no_table_can_hold_is_refused() -> None:
    module, store = lowered("fp32")
    channel = module.body.find("fabric.channel")[0]
    channel.attrs["colour"] = 256
    with pytest.raises(InputError, match="colour = 256"):
        build(module, store, MINI, {})
