"""Core programs as text, and how they lie on a kernel's cores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ir_equal import assert_same_ir

from compiler.dialects import fabric, flow
from compiler.driver import Options, lower
from compiler.ir.core import Op, Symbol
from compiler.ir.parser import parse_module
from compiler.ir.printer import print_module
from compiler.resources import ResourceStore
from tests.compiler.kernels.harness import Bench
from tests.random_gpt import Shape, random_gpt


@pytest.fixture(scope="module")
def gpt() -> tuple[Op, ResourceStore]:
    """A GPT of one layer at core level."""
    module, resources = random_gpt(Shape(layers=1, heads=3, head_dim=4, hidden=20, vocab=23, positions=9), 1)
    lower(module, resources, Options("mini-32x32", deterministic_limit=0))
    return module, resources


def test_a_small_matvec_in_text(golden: Callable[[str, str], None]) -> None:
    """2 x 2 cores with bias and activation, mirrored; placed and coloured by hand: only codegen can change it."""
    bench = Bench()
    weight, bias = np.arange(12, dtype=np.float32).reshape(4, 3), np.arange(4, dtype=np.float32)
    x = bench.stream("x", 3, 2)
    y = bench.kernel(
        flow.matvec_def, x, features=4, block=2, weights=(bench.weight(weight),), transposed=(True,), columns=(4,),
        biases=(bench.weight(bias),), starts=(0,), counts=(4,), activation="relu", storage="f16",
    )  # fmt: skip
    out = flow.output_def(y.result, sym_name="out", name="y", shape=("batch", "seq", 4), dtype="f32")
    bench.module.body.append(out)
    for op, place in ((x, (4, 1, 0)), (y, (8, 3, 2)), (out, (4, 6, 0))):
        op.attrs.update(zip(("x", "y", "orientation"), place, strict=True))
    for source, sink, lane, colour in (("in.x.y", "k1.x", 0, 4), ("in.x.y", "k1.x", 1, 4), ("k1.y", "out.x", 0, 5),
                                       ("k1.y", "out.x", 1, 6)):  # fmt: skip
        channel = fabric.channel_def(source=source, sinks=(sink,), lane=lane, colour=colour, words=3, tree="4,1 *")
        bench.module.body.append(channel)
    bench.run_passes("codegen,dead-code")
    golden("matvec.wir", print_module(bench.module))


def test_nothing_of_flow_is_left(gpt: tuple[Op, ResourceStore]) -> None:
    module, resources = gpt
    assert {op.dialect for op in module.body.ops} == {"builtin", "core", "fabric"}
    assert_same_ir(parse_module(print_module(module)), module)
    resources.resolve(module)


def cells(entry: Op) -> set[tuple[int, int]]:
    a: Any = entry.attrs
    return {(r, c) for r in range(*a["rows"]) for c in range(*a["cols"])}


def test_every_core_runs_one_program_and_its_queues_are_bound_once(gpt: tuple[Op, ResourceStore]) -> None:
    module, _ = gpt
    queues: dict[str, dict[str, set[int]]] = {}
    for program in module.body.find("core.program"):
        a: Any = program.attrs
        queues[a["sym_name"]] = {"in": {q for q, _ in a["inputs"]}, "out": {q for q, _ in a["outputs"]}}
    for block in module.body.find("core.block"):
        b: Any = block.attrs
        runs: dict[tuple[int, int], str] = {}
        for run in block.body.find("core.run"):
            program_name: Any = run.attrs["program"]
            assert not runs.keys() & cells(run)
            runs.update(dict.fromkeys(cells(run), program_name.name))
        assert runs.keys() == {(r, c) for r in range(b["rows"]) for c in range(b["cols"])}
        bound: Counter[tuple[tuple[int, int], str, int]] = Counter()
        for bind in block.body.find("core.bind"):
            bound.update((cell, str(bind.attrs["direction"]), int(str(bind.attrs["queue"]))) for cell in cells(bind))
        wanted = {(cell, way, q) for cell, name in runs.items() for way in ("in", "out") for q in queues[name][way]}
        assert bound.keys() == wanted and set(bound.values()) == {1}, b["sym_name"]


def test_equal_programs_are_one_and_every_program_is_run(gpt: tuple[Op, ResourceStore]) -> None:
    module, _ = gpt
    programs = module.body.find("core.program")
    bodies = [print_module(op).replace(str(op.attrs["sym_name"]), "") for op in programs]
    assert len(set(bodies)) == len(bodies)
    run = {entry.attrs["program"] for block in module.body.find("core.block") for entry in block.body.find("core.run")}
    assert run == {Symbol(str(op.attrs["sym_name"])) for op in programs}


def test_different_programs_of_one_name_are_numbered() -> None:
    """The scale of an attention is an immediate in its code, so two of them differ though their shapes agree."""
    bench = Bench()
    for i, scale in enumerate((0.5, 0.25, 0.5)):
        y = bench.kernel(
            flow.attention_def, bench.stream(f"x{i}", 12, 1), features=4, block=4, heads=1, head_dim=4, scale=scale,
            max_seq=4, slots=1, spread=1, storage="f32",
        )  # fmt: skip
        shape = ("batch", "seq", 4)
        bench.module.body.append(flow.output_def(y.result, sym_name=f"o{i}", name=f"y{i}", shape=shape, dtype="f32"))
    bench.run_passes("place{deterministic-limit=0},route,codegen")
    names = [op.attrs["sym_name"] for op in bench.module.body.find("core.program")]
    assert names == ["attention.feeder1x12", "attention.first.last.d4.e4", "attention.first.last.d4.e4.2"]
    blocks = bench.module.body.find("core.block")
    run: list[Any] = [block.body.find("core.run")[1].attrs["program"] for block in blocks]
    assert [symbol.name for symbol in run] == [names[1], names[2], names[1]]
