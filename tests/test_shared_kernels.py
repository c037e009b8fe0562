"""Layers that share kernels, to the last bit: numbers, both modes of the machine, proofs, predictions, mistakes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wsec
from compiler.dialects import flow
from compiler.driver import Options, build, lower
from compiler.graph_interpreter import run_graph
from compiler.ir.core import Block, Op, Value
from compiler.ir.parser import parse_module
from compiler.ir.printer import print_module
from compiler.resources import ResourceStore
from runtime.image import Image
from runtime.imagefile import write_image
from runtime.isa import Loop, Program
from runtime.layers import Layers, layers
from runtime.report import report
from runtime.session import load
from runtime.validate import validate
from tests.random_gpt import Shape, random_gpt

TOLERANCE = {"fp32": 2e-5, "fp16": 5e-3}  # as `wsec check`
MINI = Options("mini-64x64")
GPT = Shape(layers=4, heads=2, head_dim=8, hidden=24, vocab=31, positions=12)
WIDE = Shape(layers=3, heads=3, head_dim=7, hidden=50, vocab=67, positions=30, activation="relu", tied=False)
LONG = Shape(layers=6, heads=2, head_dim=20, hidden=70, vocab=23, positions=40)  # products that are loops


def module_at(phase: str, shape: Shape, options: Options) -> tuple[Op, ResourceStore]:
    module, resources = random_gpt(shape, 7)
    lower(module, resources, options, to=phase)
    return module, resources


def image_of(module: Op, resources: ResourceStore, options: Options) -> Image:
    target = lower(module, resources, options)
    image = build(module, resources, target, {})
    checked = validate(image)
    assert checked.ok, checked.text()
    return image


def compiled(shape: Shape, options: Options) -> Image:
    return image_of(*random_gpt(shape, 7), options)


def tokens(shape: Shape, batch: int = 2) -> np.ndarray[Any, Any]:
    return np.random.default_rng(11).integers(0, shape.vocab, (batch, shape.positions))


def bits(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return array.view(np.int32)


@pytest.fixture(scope="module")
def image() -> Image:
    """Four layers, two at a time."""
    return compiled(GPT, dataclasses.replace(MINI, fold=2, slots=2))


@pytest.mark.parametrize(
    ("shape", "fold", "precision", "slots"),
    [
        (GPT, 4, "fp32", 1),
        (GPT, 2, "fp16", 3),
        (WIDE, 3, "fp32", 2),
        (LONG, 6, "fp16", 2),
        (LONG, 3, "fp32", 1),
        (LONG, 2, "fp16", 1),
    ],
)
def test_numbers_are_those_of_the_graph(shape: Shape, fold: int, precision: str, slots: int) -> None:
    """Prefill of several sequences, then decode, in both modes of the machine."""
    module, resources = random_gpt(shape, 7)
    ids = tokens(shape, batch=3)
    wanted = run_graph(module, resources, {"ids": ids})["logits"]
    whole = image_of(module, resources, dataclasses.replace(MINI, fold=fold, precision=precision, slots=slots))
    assert sum(block.kind == "attention" for block in whole.blocks) == shape.layers // fold
    got = load(whole, threads=1).run(ids=ids)["logits"]
    assert np.abs(got - wanted).max() <= TOLERANCE[precision] * np.abs(wanted).max()
    session, some = load(whole, threads=1), min(slots, len(ids))
    parts = [session.run(ids=ids[:some, :4])] + [
        session.append(ids=ids[:some, i : i + 1]) for i in range(4, ids.shape[1])
    ]
    assert np.array_equal(bits(np.concatenate([part["logits"] for part in parts], axis=1)), bits(got[:some]))
    timed = load(whole, engine="cycle").run(ids=ids[:1])["logits"]
    assert np.array_equal(bits(timed), bits(got[:1]))


def unfolded(module: Op) -> None:
    """Give every layer of a sized module kernels of its own again, with the same shapes."""
    old, new, values = module.body, Block(), dict[Value, Value]()
    ops = [op for op in old.ops if op.dialect == "flow"]

    def copy(op: Op, number: int, suffix: str) -> None:
        attrs: dict[str, Any] = {**flow.in_pass(op.attrs, number)}
        if "sym_name" in attrs:
            attrs["sym_name"] += suffix
        types = [value.type for value in op.results]
        made = new.append(Op(op.name, [values[value] for value in op.operands], types, attrs, loc=op.loc))
        values.update(zip(op.results, made.results, strict=True))

    while ops:
        op = ops.pop(0)
        if op.name != "flow.gate":
            copy(op, 0, "")
            continue
        values[op.result] = values[op.operands[0]]
        end = next(i for i, other in enumerate(ops) if other.name == "flow.switch")
        for number in range(flow.passes_of(op)):
            for inner in ops[:end]:
                copy(inner, number, f".{number}")
            values[op.result] = values[ops[end].result] = values[ops[end].operands[0]]
        del ops[: end + 1]
    for op in reversed([op for op in old.ops if op.dialect == "flow"]):
        op.erase()
    for op in new.ops:
        old.append(op)
    del module.attrs["strips"]  # they would not hold so many kernels


@pytest.mark.parametrize(("shape", "precision"), [(GPT, "fp32"), (GPT, "fp16"), (WIDE, "fp32")])
def test_bits_are_those_of_layers_with_kernels_of_their_own(shape: Shape, precision: str) -> None:
    options = dataclasses.replace(MINI, fold=shape.layers, precision=precision, deterministic_limit=0.0)
    shared, (module, resources) = compiled(shape, options), module_at("size", shape, options)
    unfolded(module)
    alone = image_of(module, resources, options)
    assert sum(block.kind == "attention" for block in alone.blocks) == shape.layers
    assert sum(block.kind == "attention" for block in shared.blocks) == 1
    ids = tokens(shape)
    logits = [load(image, threads=1).run(ids=ids)["logits"] for image in (shared, alone)]
    assert np.array_equal(bits(logits[0]), bits(logits[1]))


def test_a_model_agrees_with_onnxruntime(models: Path) -> None:
    path = models / "four.onnx"
    wsec.export("cerebras-gpt-111m", path, layers=4, width=48, heads=3, vocab=101, ctx=32)
    for fold, precision in ((2, "fp16"), (4, "fp32")):
        checked = wsec.check(path, tokens=20, batch=2, fold=fold, precision=precision, target="mini-64x64")
        assert checked.passed and checked.outputs, checked


def test_threads_and_compilations_change_no_bit(image: Image, tmp_path: Path) -> None:
    options, ids = dataclasses.replace(MINI, fold=2, slots=2), tokens(GPT)
    logits = [load(image, threads=n).run(ids=ids)["logits"] for n in (1, 2)]
    assert np.array_equal(bits(logits[0]), bits(logits[1]))
    module, resources = module_at("size", GPT, options)
    resumed = parse_module(print_module(module))  # through the text
    for number, other in enumerate((image, image_of(resumed, resources, options))):
        write_image(other, tmp_path / f"{number}.wse")
    assert (tmp_path / "0.wse").read_bytes() == (tmp_path / "1.wse").read_bytes()


# What is predicted


def test_the_report_knows_of_loops(image: Image) -> None:
    summary = report(image)["summary"]
    assert [(loop["gate"], loop["switch"], loop["passes"]) for loop in summary["loops"]] == [
        ("gate0", "switch0", 2), ("gate1", "switch1", 2),
    ]  # fmt: skip
    assert summary["latency_cycles"] > sum(2 * loop["pass_cycles"] for loop in summary["loops"])
    assert summary["interval_cycles"] >= max(loop["pass_cycles"] for loop in summary["loops"])
    assert summary["optimised_for"] == "latency"


def test_kernels_are_told_by_their_layers(image: Image) -> None:
    """Those from gate to switch work for two layers, those before and behind for none."""
    found = dict(zip((block.name for block in image.blocks), layers(image), strict=True))
    kinds = {name: block.kind for name, block in zip(found, image.blocks, strict=True)}
    names = list(found)
    for number, first in enumerate((0, 2)):
        inside = names[names.index(f"gate{number}") : names.index(f"switch{number}") + 1]
        assert {found[name] for name in inside} == {Layers(number, first, first + 1)}
        assert sum(kinds[name] == "attention" for name in inside) == 1
    outside = [*names[: names.index("gate0")], *names[names.index("switch1") + 1 :]]
    assert outside and all(found[name] is None for name in outside)


@pytest.mark.parametrize("fold", [2, 4])
def test_the_machine_takes_about_as_long_as_predicted(fold: int) -> None:
    """Closed forms are for full caches, so the last tokens of a sequence count."""
    shape = dataclasses.replace(GPT, positions=40)
    whole = compiled(shape, dataclasses.replace(MINI, fold=fold))
    summary = report(whole)["summary"]
    session = load(whole, engine="cycle")
    session.run(ids=tokens(shape, 1))
    assert session.timing is not None and session.timing.per_token is not None
    assert 0.75 < session.timing.per_token / summary["interval_cycles"] < 1.05
    session.run(ids=tokens(shape, 1)[:, :-1])
    session.append(ids=tokens(shape, 1)[:, -1:])
    assert session.timing.first_token is not None
    assert 0.75 < session.timing.first_token / summary["latency_cycles"] < 1.05


@pytest.mark.parametrize(
    "notes", [3, {"gate0": 7}, {"gate0": {"switch": []}}, {"gate0": {"switch": "gate0", "passes": "x"}}]
)
def test_notes_of_strangers_are_no_loops(image: Image, notes: object) -> None:
    told = {**image.manifest["report"], "loops": notes}
    summary = report(dataclasses.replace(image, manifest={**image.manifest, "report": told}))["summary"]
    assert summary["loops"] == [] and summary["latency_cycles"] is None


# Mistakes of a compiler


def with_programs(image: Image, kind: str, change: Callable[[Program], Program]) -> Image:
    programs = [change(p) if p.name.startswith(kind) else p for p in image.programs]
    assert programs != image.programs
    return dataclasses.replace(image, programs=programs)


def counted(program: Program, more: int) -> Program:
    """The loop of a gate or switch turns more often."""
    (task,) = program.tasks
    body = tuple(
        dataclasses.replace(instr, count=instr.count + more)
        if isinstance(instr, Loop) and isinstance(instr.count, int) else instr
        for instr in task.body
    )  # fmt: skip
    return dataclasses.replace(program, tasks=(dataclasses.replace(task, body=body),))


def turned(program: Program) -> Program:
    """The schedule of a gate or switch the other way round."""
    (task,) = program.tasks
    return dataclasses.replace(program, tasks=(dataclasses.replace(task, body=task.body[::-1]),))


@pytest.mark.parametrize("kind", ["gate", "switch"])
@pytest.mark.parametrize("more", [-1, 1])
def test_a_schedule_that_is_off_by_one_is_refused(image: Image, kind: str, more: int) -> None:
    assert "rate" in validate(with_programs(image, kind, lambda program: counted(program, more))).counts


def test_a_schedule_that_both_ends_count_alike_is_refused(image: Image) -> None:
    """Gate and switch agree with each other then, but the kernels between them do not."""
    both = with_programs(with_programs(image, "gate", lambda p: counted(p, 1)), "switch", lambda p: counted(p, 1))
    assert "rate" in validate(both).counts


@pytest.mark.parametrize("kind", ["gate", "switch"])
def test_a_schedule_the_wrong_way_round_is_a_deadlock(image: Image, kind: str) -> None:
    found = validate(with_programs(image, kind, turned))
    assert "deadlock" in found.counts, found.text()


def test_layers_with_each_others_weights_give_other_numbers(image: Image) -> None:
    """The same bytes in the same cores, two layers swapped."""
    number = next(i for i, block in enumerate(image.blocks) if block.kind == "norm")
    names = list(dict.fromkeys(init.tensor for init in image.inits if init.block == number and init.count[1] > 1))
    swapped = {names[0]: names[2], names[2]: names[0]}
    inits = [
        dataclasses.replace(init, tensor=swapped.get(init.tensor, init.tensor)) if init.block == number else init
        for init in image.inits
    ]
    other = dataclasses.replace(image, inits=inits)
    assert validate(other).ok
    ids = tokens(GPT)
    assert not np.allclose(load(other).run(ids=ids)["logits"], load(image).run(ids=ids)["logits"], rtol=1e-3)


# The command line


def test_the_command_line_says_which_numbers_would_do(wsec: Any, gpt: Path, tmp_path: Path) -> None:
    refused = wsec("compile", gpt, "-o", tmp_path / "x.wse", "--target", "mini-32x32", "--fold", "3")
    assert refused.code == 1 and "3 does not divide the 2 layers that are alike" in refused.err
    assert "--fold may be 2" in refused.err and not list(tmp_path.glob("*"))
    assert wsec("compile", gpt, "--fold", "0").code == 2


def test_the_command_line_shows_loops(wsec: Any, gpt: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.wse"
    assert wsec("compile", gpt, "-o", path, "--target", "mini-32x32", "--fold", "2").code == 0
    told = wsec("report", path, "--section", "summary")
    assert told.code == 0 and "kernels by 2 layers each, 1 times; a pass takes up to" in told.out
    checked = wsec("check", gpt, path, "--tokens", "12")
    assert checked.code == 0, checked.err
