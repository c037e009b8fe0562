"""`wsec check --layers`, bisect and baselines where layers share kernels: every layer is looked at as if alone."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from planted_cores import block_of, flipped, in_memory
from small import SMALL, TINY
from test_cores import found, tile_of

import wsec as public
from compiler import pipelines
from compiler.driver import Options
from compiler.ir.core import Op
from compiler.ir.passes import PASSES, Pass, PassContext, no_progress, register
from compiler.kernels.attention import Attention
from compiler.kernels.base import region_address
from compiler.kernels.gate import Gate
from frontends.cli.find.bisect import by_layer, by_pass
from runtime.check import CheckReport, Layer
from runtime.image import Image
from runtime.imagefile import write_image

RUN: dict[str, Any] = {"tokens": 6, "batch": 1, "seed": 0, "threads": 1, "progress": no_progress}


@pytest.fixture(scope="module")
def four(models: Path) -> Path:
    """A GPT-2 of four layers."""
    path = models / "shared4.onnx"
    public.export("cerebras-gpt-111m", path, seed=3, **{**TINY, "layers": 4})
    return path


@pytest.fixture(scope="module")
def alone(four: Path) -> CheckReport:
    """Every layer with kernels of its own."""
    return looked(four, tokens=7, batch=2, **SMALL)


@pytest.fixture(scope="module")
def image(four: Path) -> Image:
    """All four with one set."""
    return public.compile(four, precision="fp16", fold=4, **SMALL)


def looked(model: Path, image: Image | None = None, **options: Any) -> CheckReport:
    return public.check(model, image, layers=True, threads=1, **options)


def at(report: CheckReport, level: str) -> list[Layer]:
    return [layer for layer in report.layers if layer.level == level]


def names_of(layers: list[Layer]) -> list[tuple[str, str]]:
    return [(layer.name, layer.where) for layer in layers]


@pytest.mark.parametrize(("fold", "precision", "slots"), [(2, "fp32", 2), (4, "fp16", 1)])
def test_shared_kernels_have_a_row_for_every_layer(
    four: Path, alone: CheckReport, fold: int, precision: str, slots: int
) -> None:
    report = looked(four, tokens=7, batch=2, fold=fold, precision=precision, slots=slots, **SMALL)
    assert report.passed, [layer for layer in report.layers if not layer.passed]
    for level in ("graph", "placed", "executed"):
        assert names_of(at(report, level)) == names_of(at(alone, level))
    executed = at(report, "executed")
    # Bounds that no error comes near would notice nothing.
    assert all(max(layer.share or 0 for layer in part) > 1e-2 for part in (executed[:10], executed[-10:]))
    assert {layer.pass_number for layer in executed} == {None, *range(fold)}
    attention = [layer for layer in executed if layer.op.startswith("attention")]
    assert [layer.where for layer in attention] == [f"transformer.h.{n}.attn" for n in range(4)]
    assert [(layer.op, layer.pass_number) for layer in attention] == [
        (f"attention{n - n % fold}", n % fold) for n in range(4)
    ]


def in_layer(image: Image, name: str, place: tuple[int, int], number: int, k: int, e: int) -> tuple[Image, int]:
    """The image with another weight in row k, column e of a core's tile of one layer, and that weight's address."""
    _, block = block_of(image, name)
    program = image.programs[image.cores["program"][block.first + place[0] * block.cols + place[1]]]
    (region,) = [region for region in program.regions if region.name == "w"]
    tile = tile_of(image, name, *place)
    assert k < tile.count and e < tile.width and region.bytes % 4 == 0
    element = number * region.bytes // 4 // 2 + tile.start(k) + e * tile.step
    changed = in_memory(image, name, *place, "w", element, flipped(0x0060))
    return changed, region_address(program, "w") + 2 * element


@pytest.mark.parametrize(("number", "place"), [(0, (0, 0)), (2, (1, 1)), (3, (2, 0))])
def test_one_byte_of_one_layers_weight(four: Path, image: Image, number: int, place: tuple[int, int]) -> None:
    changed, address = in_layer(image, "matvec4", place, number, k=1, e=1)
    report = looked(four, changed, tokens=8, level="executed")
    assert [(layer.op, layer.pass_number) for layer in report.layers if layer.wrong] == [("matvec4", number)]
    finding = found(report)
    _, block = block_of(image, "matvec4")
    assert finding.core == block.at(*place)
    assert (finding.cause, finding.kernel, finding.pass_number) == ("weight", "matvec4", number)
    assert finding.where == f"transformer.h.{number}.mlp.c_proj"
    assert f"kernel matvec4 pass {number}: " in finding.text
    assert "row 1, column 1" in finding.text
    assert f"(byte {address} of its memory)" in finding.text


@dataclasses.dataclass(frozen=True)
class WrongShare(Pass):
    """Exchanges the weights of the second and third layer that share the product after GELU."""

    name = "wrong-share"
    summary = "a miscompile for tests"

    def run(self, module: Op, ctx: PassContext) -> None:
        for op in module.body.find("flow.matvec"):
            if op.attrs.get("sym_name") == "matvec4":
                first, second, *others = op.attrs["later"]  # type: ignore[misc]
                op.attrs["later"] = (second, first, *others)


def plant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the pass behind fold, for one test."""
    if WrongShare.name not in PASSES:
        register(WrongShare)
    monkeypatch.setitem(pipelines.PHASES, "flow", f"{pipelines.PHASES['flow']},wrong-share")


def test_two_layers_with_each_others_weights(four: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        plant(patch)
        image = public.compile(four, fold=4, **SMALL)
    report = looked(four, image, tokens=6, level="executed")
    wrong = [(layer.where, layer.pass_number) for layer in report.layers if layer.wrong]
    assert wrong == [("transformer.h.1.mlp.c_proj", 1), ("transformer.h.2.mlp.c_proj", 2)]
    assert (found(report).where, found(report).cause) == ("transformer.h.1.mlp.c_proj", "chain")


def test_bisect_finds_the_wrong_pass_and_layer(four: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    options = Options(fold=4, **SMALL)
    suspect = by_pass(four, options, **RUN)
    assert (suspect.culprit, suspect.tried[-1]) == ("wrong-share", "fold")
    assert suspect.layer is not None and suspect.layer.pass_number == 1
    other = by_layer(four, options, **RUN)
    assert other.culprit == "transformer.h.1.mlp.c_proj (placed)"
    assert other.value == suspect.value != ""


def test_bisect_finds_nothing_in_a_right_compiler(four: Path) -> None:
    suspect = by_pass(four, Options(fold=2, precision="fp16", **SMALL), **RUN)
    assert suspect.culprit is None, suspect
    assert {"fold", "size", "place", "route"} <= set(suspect.tried)


def test_a_swapped_route_of_all_layers(four: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    straight = Attention.inputs

    def crossed(self: Attention) -> Any:
        lanes = straight(self)["x"]
        return {"x": (lanes[1], lanes[0], *lanes[2:])}

    with monkeypatch.context() as patch:
        patch.setattr(Attention, "inputs", crossed)
        image = public.compile(four, fold=2, **SMALL)
    report = looked(four, image, tokens=6, level="executed")
    wrong = [layer.where for layer in report.layers if layer.wrong]
    assert wrong == [f"transformer.h.{n}.attn" for n in range(4)]
    finding = found(report)
    assert (finding.cause, finding.kernel, finding.pass_number) == ("route", "attention0", 0)
    assert "lane 1 of matvec1" in finding.text and "not lane 0 of matvec1" in finding.text


def test_a_swapped_route_back(four: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between switch and gate, where the stream is no value of the module. From the second layer on it shows."""
    straight = Gate.inputs

    def crossed(self: Gate) -> Any:
        lanes = straight(self)
        first, second, *others = lanes["back"]
        return {**lanes, "back": (second, first, *others)}

    with monkeypatch.context() as patch:
        patch.setattr(Gate, "inputs", crossed)
        image = public.compile(four, fold=4, **SMALL)
    report = looked(four, image, tokens=6, level="executed")
    assert [(layer.op, layer.pass_number) for layer in report.layers if layer.wrong] == [
        ("gate0", n) for n in (1, 2, 3)
    ]
    finding = found(report)
    assert (finding.cause, finding.kernel, finding.pass_number) == ("route", "gate0", 1)
    assert "lane 1 of switch0" in finding.text and "not lane 0 of switch0" in finding.text
    assert np.isfinite(finding.got)


def test_an_exact_perceptron(tmp_path: Path) -> None:
    """No attention, no sequence, nothing before the gate or behind the switch, and no room for errors."""
    random, path, size = np.random.default_rng(2), tmp_path / "mlp.onnx", 6
    nodes, weights = [], []
    for n in range(4):
        weights.append(numpy_helper.from_array(random.integers(-1, 2, (size, size)).astype(np.float32), f"w{n}"))
        nodes.append(helper.make_node("MatMul", [f"x{n}", f"w{n}"], [f"y{n}"], name=f"product{n}"))
        nodes.append(helper.make_node("Relu", [f"y{n}"], [f"x{n + 1}"], name=f"relu{n}"))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size]) for name in ("x0", "x4")]
    graph = helper.make_graph(nodes, "mlp", ends[:1], ends[1:], weights)
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()
    )
    image = public.compile(path, fold=4, **SMALL)
    report = looked(path, image, tokens=5)
    assert report.passed
    assert [(layer.name, layer.pass_number) for layer in at(report, "executed")] == [(f"x{n + 1}", n) for n in range(4)]
    assert all(layer.bound == layer.max_rel == 0 for layer in report.layers)


def test_command_line(wsec: Any, four: Path, image: Image, tmp_path: Path) -> None:
    path, saved = tmp_path / "x.wse", tmp_path / "values"
    write_image(image, path)
    flags = ["--tokens", "5", "--layers", "--level", "executed"]
    told = wsec("check", four, path, *flags)
    assert told.code == 0, told.err
    assert "executed: all 39 values are within their bounds" in told.out
    assert [f"attention0 pass {n}" in told.out for n in range(5)] == [True] * 4 + [False]
    report = json.loads(wsec("check", four, path, *flags, "--json", "--save-values", saved).out)
    layer = next(layer for layer in report["layers"] if layer["where"] == "transformer.h.3.mlp.c_proj")
    assert (layer["op"], layer["pass_number"]) == ("matvec4", 3)
    entries = json.loads((saved / "index.json").read_text())
    mine = [entry for entry in entries if entry.get("kernel") == "matvec4"]
    assert [entry["pass_number"] for entry in mine] == [0, 1, 2, 3]
    (wanted,) = [entry for entry in entries if entry["level"] == "onnxruntime" and entry["name"] == layer["name"]]
    got, wanted = (np.load(saved / entry["file"]).reshape(5, -1) for entry in (mine[3], wanted))
    assert np.abs(got - wanted).max() < 1e-2 * np.abs(wanted).max()


def test_a_baseline_holds_every_layer(wsec: Any, four: Path, tmp_path: Path) -> None:
    flags = ["--target", "mini-32x32", "--deterministic-limit", "0.3", "--fold", "4", "--tokens", "5", "--layers"]
    made = wsec("golden", "update", four, "--baselines", tmp_path, *flags, "--reason", "shared kernels")
    assert made.code == 0, made.err
    text = (tmp_path / "shared4.golden.toml").read_text()
    assert all(f"transformer.h.{n}.mlp.c_proj" in text for n in range(4))
    assert "pass" not in text.partition("[layer")[2]  # layers' own names suffice
    assert wsec("golden", "check", four, "--baselines", tmp_path).code == 0
