"""ONNX in, logits out, against onnxruntime: the whole toolchain on models that take seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save
from small import SMALL

import wsec
from compiler.driver import Options
from compiler.ir.parser import parse_file
from compiler.pipelines import PHASE_NAMES
from frontends.cli.exactness import is_exact
from frontends.cli.toolchain import finish_image, open_module
from frontends.onnx.import_graph import import_model
from runtime import defects
from runtime import target as targets
from runtime.image import Image
from runtime.imagefile import write_image
from runtime.report import report

ROOT = Path(__file__).parent.parent
IDS = np.array([[5, 66, 0, 17, 33, 2, 41, 9], [60, 1, 1, 30, 8, 12, 64, 25]])


def image_bytes(image: Image, folder: Path) -> bytes:
    write_image(image, folder / "image.wse")
    return (folder / "image.wse").read_bytes()


def assert_passes(model: Path, image: Image | None = None, **options: object) -> None:
    report = wsec.check(model, image, **options)  # type: ignore[arg-type]
    assert report.passed, report
    assert report.outputs


def test_fp32_agrees_with_onnxruntime(gpt: Path, gpt_image: Image) -> None:
    assert_passes(gpt, gpt_image, tokens=24)
    assert_passes(gpt, gpt_image, tokens=9, batch=3, seed=1)


def test_fp16_agrees_with_onnxruntime(gpt: Path) -> None:
    assert_passes(gpt, tokens=24, precision="fp16", **SMALL)


def test_legacy_export_agrees_with_onnxruntime(legacy_gpt: Path) -> None:
    assert_passes(legacy_gpt, tokens=24, batch=2, **SMALL)


def test_checker_notices_a_wrong_weight(gpt: Path, gpt_image: Image) -> None:
    """The verdict is not a formality: one element of one bias is enough."""
    name = next(name for name, tensor in gpt_image.tensors.items() if tensor.data.shape == (96,))
    data = gpt_image.tensors[name].data.copy()
    data[70] += 0.05
    tensors = {**gpt_image.tensors, name: type(gpt_image.tensors[name])(data)}
    assert not wsec.check(gpt, _replaced(gpt_image, tensors=tensors), tokens=8).passed


def _replaced(image: Image, **fields: object) -> Image:
    return Image(**{**vars(image), **fields})  # type: ignore[arg-type]


def test_tokens_one_at_a_time_give_the_same_bits(gpt_image: Image) -> None:
    together = wsec.load(gpt_image).run(input_ids=IDS)["logits"]
    session = wsec.load(gpt_image)
    parts = [session.run(input_ids=IDS[:, :1])]
    parts += [session.append(input_ids=IDS[:, i : i + 1]) for i in range(1, IDS.shape[1])]
    assert np.array_equal(together, np.concatenate([part["logits"] for part in parts], axis=1))


def test_prefill_then_decode_gives_the_same_bits(gpt_image: Image) -> None:
    together = wsec.load(gpt_image).run(input_ids=IDS)["logits"]
    session = wsec.load(gpt_image)
    session.run(input_ids=IDS[:, ::-1])  # an earlier sequence leaves nothing behind
    first = session.run(input_ids=IDS[:, :5])["logits"]
    rest = session.append(input_ids=IDS[:, 5:])["logits"]
    assert np.array_equal(together, np.concatenate([first, rest], axis=1))


def test_threads_do_not_matter(gpt_image: Image) -> None:
    one, two = (wsec.load(gpt_image, threads=n).run(input_ids=IDS)["logits"] for n in (1, 2))
    assert np.array_equal(one, two)


def test_rows_do_not_influence_each_other(gpt_image: Image) -> None:
    both = wsec.load(gpt_image).run(input_ids=IDS)["logits"]
    alone = wsec.load(gpt_image).run(input_ids=IDS[1:])["logits"]
    assert np.array_equal(both[1:], alone)


def test_placement_does_not_change_the_numbers(gpt: Path, gpt_image: Image, tmp_path: Path) -> None:
    """Another grid, another placement, other wires: the order of additions belongs to the kernels alone."""
    (tmp_path / "dead.txt").write_text("22 5\n", encoding="utf-8")
    options = {**SMALL, "target": "mini-64x64", "max_cores": 512, "defects": str(tmp_path / "dead.txt")}
    other = wsec.compile(gpt, slots=2, **options)
    assert [(block.x, block.y) for block in other.blocks] != [(block.x, block.y) for block in gpt_image.blocks]
    if [(b.rows, b.cols) for b in other.blocks] == [(b.rows, b.cols) for b in gpt_image.blocks]:
        same = [wsec.load(image).run(input_ids=IDS)["logits"] for image in (gpt_image, other)]
        assert np.array_equal(*same)
    assert_passes(gpt, other, tokens=8)


def test_two_processes_write_the_same_bytes(gpt: Path, tmp_path: Path) -> None:
    images = []
    for seed in ("1", "2"):
        output = tmp_path / f"{seed}.wse"
        command = [sys.executable, "wsec.py", "compile", str(gpt), "-o", str(output), "-q"]
        options = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]
        env = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([*command, *options], cwd=ROOT, env=env, check=True, capture_output=True)
        images.append(output.read_bytes())
    assert images[0] == images[1]


def test_resuming_from_any_phase_gives_the_same_bytes(gpt: Path, tmp_path: Path) -> None:
    options = Options(**SMALL)
    dump = gpt.parent / "dump"
    wanted = image_bytes(finish_image(open_module(gpt), options, dump=dump)[0], tmp_path)
    resumed = []
    for path in sorted(dump.glob("*.wir")):
        phase = parse_file(path).attrs["phase"]
        if phase in resumed:  # the dumps in the middle of a phase are for `wsec opt`
            continue
        resumed.append(phase)
        assert image_bytes(finish_image(open_module(path), options)[0], tmp_path) == wanted, phase
    assert resumed == list(PHASE_NAMES)


def test_awkward_shapes_on_a_small_grid(models: Path) -> None:
    """Features, heads and vocabulary that no power of two divides."""
    path = models / "d100.onnx"
    wsec.export("cerebras-gpt-111m", path, layers=2, width=100, heads=5, vocab=1003, ctx=64)
    assert_passes(path, tokens=12, **SMALL)


@pytest.mark.parametrize(
    ("preset", "width"),
    [("cerebras-gpt-256m", 1088), ("cerebras-gpt-2.7b", 2560)],
    ids=["17-heads-of-64", "32-heads-of-80"],
)
@pytest.mark.slow
def test_awkward_published_shapes(models: Path, preset: str, width: int) -> None:
    path = models / f"{preset}.onnx"
    wsec.export(preset, path, layers=2, ctx=64)
    image = wsec.compile(path)
    assert any(tensor.data.shape == (2 * 64, width) or width in tensor.data.shape for tensor in image.tensors.values())
    assert_passes(path, image, tokens=4)


def test_seventeen_heads_on_the_wafer(models: Path) -> None:
    """256M's shape with a small vocabulary and one layer: quick enough for every run."""
    path = models / "heads17.onnx"
    wsec.export("cerebras-gpt-256m", path, layers=1, vocab=211, ctx=32)
    assert_passes(path, tokens=4, target="cs2", max_cores=8192, deterministic_limit=0.3)


def integer_mlp(path: Path, scale: float = 1.0) -> Path:
    """relu(x w1 + b1) w2 + b2 with small integers (times `scale`) for weights."""
    random = np.random.default_rng(5)
    shapes = {"w1": (12, 40), "b1": (40,), "w2": (40, 9), "b2": (9,)}
    weights = {name: (scale * random.integers(-3, 4, shape)).astype(np.float32) for name, shape in shapes.items()}
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"]),
        helper.make_node("Add", ["a", "b1"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("MatMul", ["c", "w2"], ["d"]),
        helper.make_node("Add", ["d", "b2"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 12])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 9])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_integer_models_agree_exactly(tmp_path: Path, precision: str) -> None:
    report = wsec.check(integer_mlp(tmp_path / "mlp.onnx"), tokens=7, precision=precision, **SMALL)
    (output,) = report.outputs
    assert output.tolerance == 0
    assert output.max_abs == 0
    assert report.passed


def test_exactness_is_claimed_only_where_nothing_can_round(tmp_path: Path, gpt: Path) -> None:
    exact = import_model(integer_mlp(tmp_path / "small.onnx"))
    assert is_exact(*exact, "fp32")
    assert is_exact(*exact, "fp16")
    large = import_model(integer_mlp(tmp_path / "large.onnx", scale=64.0))
    assert not is_exact(*large, "fp16")  # activations beyond 2^11
    larger = import_model(integer_mlp(tmp_path / "larger.onnx", scale=512.0))
    assert not is_exact(*larger, "fp32")  # sums beyond 2^24
    assert not is_exact(*import_model(integer_mlp(tmp_path / "half.onnx", scale=0.5)), "fp32")
    assert not is_exact(*import_model(gpt), "fp32")


def test_dead_cores_are_gone_around_and_the_logits_stay(gpt: Path, tmp_path: Path) -> None:
    """Up to where an image stands without defects, one router in forty dies; the numbers are those of onnxruntime."""
    target = targets.load("mini-64x64")
    dead = defects.draw_lots(100, 3, target.usable, target.fabric)
    (tmp_path / "dead.txt").write_text(defects.to_text(dead), encoding="utf-8")
    options = {"target": "mini-64x64", "deterministic_limit": 0.3}
    whole = wsec.compile(gpt, **options)
    image = wsec.compile(gpt, defects=str(tmp_path / "dead.txt"), **options)
    assert image.target.defects == dead
    broken = wsec.validate(_replaced(whole, target=image.target))
    assert {"dead-core", "dead-router"} <= set(broken.counts)  # there was something to go around
    assert wsec.validate(image).ok
    assert_passes(gpt, image, tokens=24)


@pytest.mark.slow
def test_cerebras_gpt_111m_on_a_wafer_with_fifty_dead_cores(models: Path, tmp_path: Path) -> None:
    model = models / "111m.onnx"
    wsec.export("cerebras-gpt-111m", model, validate=False)
    target = targets.load("cs2")
    dead = defects.draw_lots(50, 1, target.usable, target.fabric)
    (tmp_path / "dead.txt").write_text(defects.to_text(dead), encoding="utf-8")
    image = wsec.compile(model, precision="fp16", defects=str(tmp_path / "dead.txt"))
    assert image.target.dead_cores == 50
    assert wsec.validate(image).ok
    assert_passes(model, image, tokens=4)


def test_sizes_for_latency_agree_with_onnxruntime_and_are_sooner_done(gpt: Path, tmp_path: Path) -> None:
    """With the wires as they were routed, not only as the size pass sees it; the same bytes twice."""
    options = {**SMALL, "target": "mini-64x64"}
    images = {optimize: wsec.compile(gpt, optimize=optimize, **options) for optimize in ("latency", "throughput")}
    quick, fast = (report(images[optimize])["summary"] for optimize in ("latency", "throughput"))
    assert (quick["optimised_for"], fast["optimised_for"]) == ("latency", "throughput")
    assert quick["latency_cycles"] < fast["latency_cycles"] and quick["interval_cycles"] >= fast["interval_cycles"]
    assert_passes(gpt, images["latency"], tokens=12)
    again = wsec.compile(gpt, optimize="latency", **options)
    assert image_bytes(images["latency"], tmp_path) == image_bytes(again, tmp_path)
    assert image_bytes(images["throughput"], tmp_path) == image_bytes(wsec.compile(gpt, **options), tmp_path)
