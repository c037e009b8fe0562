"""An error planted in one core is found at that core, in every kind of kernel, and in no other."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, save
from planted_cores import block_of, in_memory, in_program, program_of, swap
from small import SMALL

import wsec
from compiler.kernels.base import CHAIN_OUT, STREAM_OUT, region_address
from frontends.cli.find import layers
from frontends.cli.find.executed import Standing
from frontends.cli.find.scene import Scene
from frontends.cli.find.walk import first_wrong_core
from runtime.check import HEADER, Finding, Layer
from runtime.image import Image
from runtime.isa import Binary, Const, Dtype, Fifo, Fmac, In, Instr, Map, Mem, Mov, Out, Program, Reduce, walk

TOKENS = 20
HEADS = 4


@pytest.fixture(scope="module")
def images(gpt: Path) -> dict[str, Image]:
    """A core for every position; and few cores, which keep several positions each."""
    return {
        "many": wsec.compile(gpt, precision="fp16", **SMALL),
        "few": wsec.compile(gpt, optimize="latency", **SMALL),
    }


def finding(model: Path, image: Image) -> Finding:
    report = wsec.check(model, image, tokens=TOKENS, batch=2, layers=True, level="executed")
    assert report.finding is not None
    return report.finding


def found_at(model: Path, image: Image, name: str, r: int, c: int) -> Finding:
    told = finding(model, image)
    _, block = block_of(image, name)
    assert (told.kernel, told.core) == (name, block.at(r, c)), told.text
    return told


# ---- Ways in which a program may be wrong ----


def sends_negative(queue: int, task: str) -> Callable[[Program], Program]:
    """The first block that goes to a queue, negated."""

    def change(instr: Instr) -> Instr | None:
        if isinstance(instr, Mov) and isinstance(instr.dst, Out) and instr.dst.queue == queue:
            return Map("neg", instr.dst, instr.a) if instr.dst.dtype is Dtype.F32 else None
        return None

    return lambda program: swap(program, task, change)


def feeds_negative(program: Program) -> Program:
    """A token's words behind its header, negated."""

    def change(instr: Instr) -> tuple[Instr, ...] | None:
        if not isinstance(instr, Mov) or not isinstance(instr.dst, Out) or not isinstance(instr.a, Fifo):
            return None
        header, words = (
            [dataclasses.replace(part, extent=extent, dtype=dtype) for part in (instr.dst, instr.a)]
            for extent, dtype in ((1, Dtype.I32), (instr.dst.extent - 1, Dtype.F32))
        )
        return Mov(*header), Map("neg", *words)

    return swap(program, "send", change)


def keeps_its_header(program: Program) -> Program:
    """Each token's header is read and forgotten: all go on under the first one, zeros."""
    x = region_address(program, "x")

    def change(instr: Instr) -> Instr | None:
        if isinstance(instr, Mov) and isinstance(instr.dst, Mem) and isinstance(instr.a, In):
            return dataclasses.replace(instr, dst=dataclasses.replace(instr.dst, address=x))
        return None

    return swap(program, "main", change)


def leaves_one_out(program: Program) -> Program:
    """The last element of the block is not in the mean."""

    def change(instr: Instr) -> Instr | None:
        if isinstance(instr, Reduce) and isinstance(instr.a, Mem) and isinstance(instr.a.extent, int):
            return dataclasses.replace(instr, a=dataclasses.replace(instr.a, extent=instr.a.extent - 1))
        return None

    return swap(program, "measure", change)


def another_epsilon(program: Program) -> Program:
    def change(instr: Instr) -> Instr | None:
        if isinstance(instr, Binary) and instr.op == "add" and isinstance(instr.b, Const):
            return dataclasses.replace(instr, b=Const(instr.b.value + 1e-3))
        return None

    return swap(program, "measure", change)


def another_scale(program: Program) -> Program:
    """The query is scaled otherwise."""

    def change(instr: Instr) -> Instr | None:
        if isinstance(instr, Binary) and isinstance(instr.b, Const):
            return dataclasses.replace(instr, b=Const(1.5 * instr.b.value))
        return None

    return swap(program, "attend", change)


def another_slice(program: Program, which: int) -> Program:
    """Rows of the values are read from their second element on, by one of the instructions that read them."""
    values = region_address(program, "values")

    def change(instr: Instr) -> Instr | None:
        if isinstance(instr, Fmac) and isinstance(instr.b, Mem) and instr.b.address >= values:
            step = instr.b.dtype.size * instr.b.stride
            return dataclasses.replace(instr, b=dataclasses.replace(instr.b, address=instr.b.address + step))
        return None

    return swap(program, "attend", change, which)


def without(entry: int) -> Callable[[Program], Program]:
    """The weight of one of the core's entries is set to 0."""

    def change(instr: Instr) -> tuple[Instr, ...] | None:
        if isinstance(instr, Map) and instr.fn == "exp" and isinstance(instr.dst, Mem):
            dst = instr.dst
            place = dataclasses.replace(dst, address=dst.address + entry * dst.dtype.size, extent=1)
            return instr, Mov(place, Const(0.0))
        return None

    return lambda program: swap(program, "attend", change)


def adds_instead(program: Program) -> Program:
    """What came along the chain is not scaled, but added to."""

    def change(instr: Instr) -> Instr | None:
        return dataclasses.replace(instr, op="add") if isinstance(instr, Binary) and instr.op == "mul" else None

    return swap(program, "rescale", change)


def subtracts(program: Program) -> Program:
    def change(instr: Instr) -> Instr | None:
        return dataclasses.replace(instr, op="sub") if isinstance(instr, Binary) and instr.op == "add" else None

    return swap(program, "main", change)


# ---- Norms ----


@pytest.mark.parametrize(("region", "r"), [("scale", 0), ("scale", 3), ("bias", 4)])
def test_a_parameter_of_a_norm(gpt: Path, images: dict[str, Image], region: str, r: int) -> None:
    image = in_memory(images["many"], "norm1", r, 0, region, 2, lambda value: value + np.float32(0.01), "f32")
    told = found_at(gpt, image, "norm1", r, 0)
    assert (told.cause, told.lane, told.element) == ("weight", r, 2)
    assert f"element 2 of its {region}" in told.text


@pytest.mark.parametrize("r", [0, 2])
def test_an_element_left_out_of_the_mean(gpt: Path, images: dict[str, Image], r: int) -> None:
    told = found_at(gpt, in_program(images["many"], "norm2", r, 0, leaves_one_out), "norm2", r, 0)
    assert told.cause == "chain"
    assert told.element == 0
    assert "the mean" in told.text


def test_an_epsilon(gpt: Path, images: dict[str, Image]) -> None:
    told = found_at(gpt, in_program(images["many"], "norm0", 4, 0, another_epsilon), "norm0", 4, 0)
    assert told.cause == "chain"
    assert "one over the deviation" in told.text


# ---- Attention ----


def keeper(image: Image, head: int, number: int) -> tuple[int, int]:
    """Local core of one that keeps positions, in the order of the chain: its head's feeder stands before them."""
    _, block = block_of(image, "attention1")
    cells = [divmod(i, block.cols) for i in range(block.rows * block.cols)]
    feeders = [cell for cell in cells if program_of(image, "attention1", *cell).name.startswith("attention.feeder")]
    return cells[cells.index(feeders[head]) + 1 + number]


def spread_of(image: Image) -> int:
    _, block = block_of(image, "attention1")
    return block.rows * block.cols // HEADS - 1


@pytest.mark.parametrize(("kind", "head", "number"), [("many", 2, 7), ("many", 0, 0), ("few", 1, 1), ("few", 3, 0)])
def test_an_instruction_of_one_core(gpt: Path, images: dict[str, Image], kind: str, head: int, number: int) -> None:
    image = images[kind]
    r, c = keeper(image, head, number)
    told = found_at(gpt, in_program(image, "attention1", r, c, another_scale), "attention1", r, c)
    assert told.lane == head


@pytest.mark.parametrize(("kind", "number", "which"), [("many", 5, 2), ("few", 1, 0)])
def test_a_slice_of_the_cache(gpt: Path, images: dict[str, Image], kind: str, number: int, which: int) -> None:
    """A lone entry, in a group of two, has an instruction of its own."""
    r, c = keeper(images[kind], 1, number)
    image = in_program(images[kind], "attention1", r, c, partial(another_slice, which=which))
    found_at(gpt, image, "attention1", r, c)


@pytest.mark.parametrize(("kind", "number", "entry"), [("many", 3, 0), ("few", 0, 2), ("few", -1, 1)])
def test_a_position_left_out(gpt: Path, images: dict[str, Image], kind: str, number: int, entry: int) -> None:
    """The position is told too."""
    image = images[kind]
    spread = spread_of(image)
    number %= spread
    r, c = keeper(image, 2, number)
    told = found_at(gpt, in_program(image, "attention1", r, c, without(entry)), "attention1", r, c)
    assert told.cause == "cache"
    assert f"position {number + entry * spread} were left out" in told.text


def test_a_step_of_the_merge(gpt: Path, images: dict[str, Image]) -> None:
    r, c = keeper(images["many"], 3, 11)
    told = found_at(gpt, in_program(images["many"], "attention0", r, c, adds_instead), "attention0", r, c)
    assert told.cause == "chain"
    assert told.lane == 3


def test_a_feeder(gpt: Path, images: dict[str, Image]) -> None:
    """It sends on something else than it received: neither the cache nor the chain is to blame."""
    r, c = 10, 0
    assert program_of(images["many"], "attention0", r, c).name.startswith("attention.feeder")
    image = in_program(images["many"], "attention0", r, c, feeds_negative)
    told = found_at(gpt, image, "attention0", r, c)
    assert told.cause == "chain"
    assert "feeds" in told.text


def test_a_header(gpt: Path, images: dict[str, Image]) -> None:
    """Attention goes by the position in it, so that is wrong, but the product before is to blame."""
    block = next(block for block in images["many"].blocks if block.kind == "matvec")
    r = block.rows - 1
    told = found_at(gpt, in_program(images["many"], block.name, r, 0, keeps_its_header), block.name, r, 0)
    assert (told.cause, told.element, told.lane, told.token) == ("header", HEADER, 0, (0, 1))
    assert "under the header of slot 0, position 0, not of slot 0, position 1" in told.text


# ---- The others ----


@pytest.mark.parametrize("r", [0, 4])
def test_a_join(gpt: Path, images: dict[str, Image], r: int) -> None:
    told = found_at(gpt, in_program(images["many"], "join2", r, 0, subtracts), "join2", r, 0)
    assert told.cause == "core"
    assert told.lane == r
    assert "it received" in told.text


@pytest.fixture(scope="module")
def wide(models: Path) -> Path:
    """Functions of more lanes than the host has channels."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 29]) for name in ("x", "y")]
    nodes = [helper.make_node("Tanh", ["x"], ["a"]), helper.make_node("Exp", ["a"], ["y"])]
    graph = helper.make_graph(nodes, "wide", values[:1], values[1:])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), models / "wide.onnx")
    return models / "wide.onnx"


@pytest.fixture(scope="module")
def wide_image(wide: Path) -> Image:
    return wsec.compile(wide, **SMALL)


@pytest.mark.parametrize(
    ("name", "c", "queue", "task", "cause"),
    [
        ("input0.relane", 4, CHAIN_OUT, "main", "chain"),
        ("output0.relane", 2, CHAIN_OUT, "pass", "chain"),
        ("output0.relane", 3, STREAM_OUT, "pass", "core"),
    ],
)
def test_a_change_of_lanes(wide: Path, wide_image: Image, name: str, c: int, queue: int, task: str, cause: str) -> None:
    """Splitting, a core sends on something else; merging, one its own block, and one what it heard."""
    told = found_at(wide, in_program(wide_image, name, 0, c, sends_negative(queue, task)), name, 0, c)
    assert told.cause == cause
    assert told.got == -told.wanted


def test_a_function(wide: Path, wide_image: Image) -> None:
    def change(instr: Instr) -> Instr | None:
        return dataclasses.replace(instr, fn="sigmoid") if isinstance(instr, Map) else None

    told = found_at(
        wide, in_program(wide_image, "map0", 17, 0, partial(swap, task="main", change=change)), "map0", 17, 0
    )
    assert (told.cause, told.lane, told.element) == ("core", 17, 0)


def otherwise(instr: Instr) -> Instr | None:
    """An instruction on numbers that does something else."""
    if isinstance(instr, Binary):
        other = {"add": "sub", "sub": "add", "mul": "add"}.get(instr.op)
        return dataclasses.replace(instr, op=other) if other is not None else None
    if isinstance(instr, Fmac):
        return Binary("mul", instr.dst, instr.a, instr.b)
    if isinstance(instr, Reduce):
        return Reduce("rmax" if instr.op == "rsum" else "rsum", instr.dst, instr.a)
    if isinstance(instr, Mov) and not isinstance(instr.a, Const) and Dtype.I32 not in (instr.a.dtype, instr.dst.dtype):
        return Map("neg", instr.dst, instr.a)
    return None


@pytest.mark.parametrize("seed", range(10))
def test_the_core_that_is_named_is_the_one_that_was_changed(gpt: Path, images: dict[str, Image], seed: int) -> None:
    """Any instruction of any core, of those that make a kernel's output wrong: some change nothing that is used."""
    rng = np.random.default_rng(seed)
    image = images["many" if seed % 2 else "few"]
    blocks = [block for block in image.blocks if block.kind != "fifo"]
    for _ in range(8):
        block = blocks[rng.integers(len(blocks))]
        r, c = int(rng.integers(block.rows)), int(rng.integers(block.cols))
        program = program_of(image, block.name, r, c)
        tasks = [task.name for task in program.tasks for instr in walk(task.body) if otherwise(instr) is not None]
        if not tasks:
            continue
        chosen = int(rng.integers(len(tasks)))
        task = tasks[chosen]
        change = partial(swap, task=task, change=otherwise, which=chosen - tasks.index(task))
        bad = in_program(image, block.name, r, c, change)
        report = wsec.check(gpt, bad, tokens=9, layers=True, level="executed")
        if report.finding is not None:
            assert (report.finding.kernel, report.finding.core) == (block.name, block.at(r, c)), report.finding.text
            return
    pytest.fail("none of these changes was seen")


# ---- Kernels that layers share ----


@pytest.fixture(scope="module")
def shared(gpt: Path) -> Image:
    """Two layers with one set of kernels."""
    return wsec.compile(gpt, fold=2, **SMALL)


@pytest.mark.parametrize("number", [0, 1])
def test_a_parameter_of_one_layers_norm(gpt: Path, shared: Image, number: int) -> None:
    name = next(block.name for block in shared.blocks if block.kind == "norm")
    (region,) = [region for region in program_of(shared, name, 1, 0).regions if region.name == "scale"]
    element = number * region.bytes // 2 // 4 + 1
    image = in_memory(shared, name, 1, 0, "scale", element, lambda value: value + np.float32(0.01), "f32")
    told = found_at(gpt, image, name, 1, 0)
    assert (told.cause, told.pass_number) == ("weight", number)
    assert "element 1 of its scale" in told.text


def test_a_core_of_a_shared_attention(gpt: Path, shared: Image) -> None:
    """Which is wrong in every pass; the first is named."""
    name = next(block.name for block in shared.blocks if block.kind == "attention")
    _, block = block_of(shared, name)
    r, c = block.rows - 1, block.cols - 1
    told = found_at(gpt, in_program(shared, name, r, c, another_scale), name, r, c)
    assert (told.pass_number, told.lane) == (0, HEADS - 1)


# ---- Nothing wrong ----


@pytest.mark.parametrize("kind", ["many", "few", "shared"])
def test_every_core_of_a_healthy_image_is_within_its_bound(
    gpt: Path, images: dict[str, Image], shared: Image, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = {**images, "shared": shared}[kind]
    assert wsec.check(gpt, image, tokens=TOKENS, batch=2, layers=True, level="executed").finding is None
    walked: list[str] = []

    def everywhere(scene: Scene, _kernel: Standing, _layer: Layer) -> None:
        for kernel in scene.kernels:
            for lane in sorted({0, len(kernel.sources) - 1}):
                nothing = Finding(kernel.name, "", (), 0, lane, (0, 0), 0, 0.0, 0.0, "kernel", "")
                wrong = first_wrong_core(scene, kernel, nothing)
                assert wrong is None, wrong.text
            walked.append(kernel.name)

    compare = layers.compare_executed
    monkeypatch.setattr(layers, "locate", everywhere)
    monkeypatch.setattr(
        layers, "compare_executed", lambda *a: [(k, dataclasses.replace(row, share=np.inf)) for k, row in compare(*a)]
    )
    wsec.check(gpt, image, tokens=TOKENS, batch=2, layers=True, level="executed")
    assert {name.rstrip("0123456789") for name in walked} >= {"lookup", "norm", "matvec", "attention", "join", "fifo"}
