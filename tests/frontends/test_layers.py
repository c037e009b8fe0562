"""`wsec check --layers`: right models pass at every level, and a planted error is found where it is, not elsewhere."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import SMALL

import wsec
from frontends.cli.main import main
from runtime.check import CheckReport, Layer
from runtime.image import Image, Tensor
from runtime.imagefile import write_image


def at(report: CheckReport, level: str) -> list[Layer]:
    return [layer for layer in report.layers if layer.level == level]


def looked(model: Path, image: Image | None = None, **options: Any) -> CheckReport:
    return wsec.check(model, image, layers=True, **options)


def require_sound(report: CheckReport, levels: int = 3) -> None:
    assert report.passed, [layer for layer in report.layers if not layer.passed]
    assert len({layer.level for layer in report.layers}) == levels
    # Bounds that no error comes near would notice nothing.
    assert max(layer.share or 0.0 for layer in at(report, "executed")) > 1e-3
    assert report.observation < 2e-6


@pytest.fixture(scope="module")
def fp16_image(gpt: Path) -> Image:
    return wsec.compile(gpt, precision="fp16", **SMALL)


def test_fp32_agrees_at_every_level(gpt: Path, gpt_image: Image) -> None:
    report = looked(gpt, gpt_image, tokens=9, batch=2)
    require_sound(report)
    # Two layers of q k v, attention, two products and sums each, five norms, the table and the head.
    named = {layer.name for layer in at(report, "executed")}
    assert named == {layer.name for layer in at(report, "placed")}
    assert len(named) == 21
    assert "" not in named
    assert named <= {layer.name for layer in at(report, "graph")}
    assert report.fused
    assert not named & set(report.fused)


def test_fp16_agrees_at_every_level(gpt: Path, fp16_image: Image) -> None:
    report = looked(gpt, fp16_image, tokens=12)
    require_sound(report)
    shares = {layer.name: layer.share or 0.0 for layer in at(report, "placed")}
    assert 0.05 < max(shares.values()) <= 1


def test_values_have_their_names_with_the_legacy_exporter(legacy_gpt: Path) -> None:
    report = looked(legacy_gpt, tokens=7, batch=2, **SMALL)
    require_sound(report)
    assert len({layer.name for layer in at(report, "executed")}) == 21


def test_the_numbers_are_those_of_a_plain_check(gpt: Path, gpt_image: Image) -> None:
    plain = wsec.check(gpt, gpt_image, tokens=6)
    report = looked(gpt, gpt_image, tokens=6, level="executed")
    assert report.outputs == plain.outputs
    assert {layer.level for layer in report.layers} == {"executed"}


def test_modes_and_levels_are_the_ones_asked_for(gpt: Path, gpt_image: Image) -> None:
    report = looked(gpt, gpt_image, tokens=3, level="placed", mode="isolated")
    assert all(layer.max_rel is None and layer.share is not None for layer in report.layers)
    report = looked(gpt, gpt_image, tokens=3, level="graph", mode="accumulated")
    assert all(layer.max_rel is not None and layer.share is None for layer in report.layers)
    with pytest.raises(wsec.WsecError, match="bad-level"):
        looked(gpt, gpt_image, level="wafer")
    with pytest.raises(wsec.WsecError, match="bad-mode"):
        looked(gpt, gpt_image, mode="none")


def damaged(image: Image, shape: tuple[int, ...], place: tuple[int, ...], by: float) -> Image:
    """The image with one element of the first constant of this shape moved."""
    name = next(name for name, tensor in image.tensors.items() if tensor.data.shape == shape)
    data = image.tensors[name].data.copy()
    data[place] += by
    return dataclasses.replace(image, tensors={**image.tensors, name: Tensor(data)})


@pytest.mark.parametrize("by", [0.05, 1e-3])
def test_one_wrong_weight_is_one_wrong_step(gpt: Path, fp16_image: Image, by: float) -> None:
    """Even one that outputs do not show."""
    image = damaged(fp16_image, (32, 128), (3, 70), by)
    report = looked(gpt, image, tokens=8)
    assert {layer.where.rpartition(".")[2] for layer in report.layers if layer.wrong} == {"c_fc"}
    assert [layer.level for layer in report.layers if layer.wrong] == ["executed"]
    assert not report.passed


def test_a_lost_bias_element_is_seen_in_fp16(gpt: Path, fp16_image: Image) -> None:
    """End to end it is hidden below the rounding of weights."""
    image = damaged(fp16_image, (96,), (70,), 2e-3)
    assert wsec.check(gpt, image, tokens=8).passed
    report = looked(gpt, image, tokens=8, level="executed")
    assert [layer.where for layer in report.layers if layer.wrong] == ["transformer.h.0.attn.c_attn"]


def test_not_a_number_fails(gpt: Path, gpt_image: Image) -> None:
    image = damaged(gpt_image, (96,), (70,), np.nan)
    report = looked(gpt, image, tokens=2, level="executed")
    first = next(layer for layer in report.layers if not layer.passed)
    assert first.where == "transformer.h.0.attn.c_attn"
    assert first.share == np.inf
    json.dumps(report.to_json(), allow_nan=False)


def test_an_exact_model_has_no_room_for_errors(tmp_path: Path) -> None:
    from test_end_to_end import integer_mlp

    model = integer_mlp(tmp_path / "mlp.onnx")
    image = wsec.compile(model, **SMALL)
    report = looked(model, image, tokens=5)
    assert report.passed
    assert len(at(report, "executed")) == 2
    assert all(layer.tolerance == 0 and layer.bound == 0 and layer.max_rel == 0 for layer in report.layers)
    report = looked(model, damaged(image, (9,), (4,), 1.0), tokens=5, level="executed")
    assert [layer.passed for layer in report.layers] == [True, False]


def test_an_image_of_another_shape_is_refused(gpt: Path, gpt_image: Image) -> None:
    first = gpt_image.blocks[0]
    other = dataclasses.replace(gpt_image, blocks=[dataclasses.replace(first, name="other"), *gpt_image.blocks[1:]])
    with pytest.raises(wsec.WsecError, match="other-compiler"):
        looked(gpt, other, tokens=2)


def test_command_line(gpt: Path, gpt_image: Image, gpt_wse: Path, tmp_path: Path, capsys: Any) -> None:
    assert main(["check", str(gpt), str(gpt_wse), "--tokens", "4", "--layers", "--level", "executed"]) == 0
    out = capsys.readouterr().out
    assert "transformer.h.1.attn.c_proj" in out
    assert "executed: all 21 values are within their bounds" in out
    bad = tmp_path / "bad.wse"
    write_image(damaged(gpt_image, (32, 128), (3, 70), 1e-3), bad)
    saved = tmp_path / "values"
    flags = ["--tokens", "4", "--layers", "--json", "--save-values", str(saved)]
    assert main(["check", str(gpt), str(bad), *flags]) == 5
    report = json.loads(capsys.readouterr().out)
    assert next(layer["where"] for layer in report["layers"] if not layer["passed"]).endswith("c_fc")
    entries = json.loads((saved / "index.json").read_text())
    assert {path.name for path in saved.iterdir()} == {"index.json", *(entry["file"] for entry in entries)}
    values = {(e["level"], e["name"]): np.load(saved / e["file"], allow_pickle=False) for e in entries}
    head = next(e["name"] for e in reversed(entries) if e["level"] == "executed" and e["name"])  # of the last kernel
    sent, wanted = values["executed", head], values["onnxruntime", head]
    assert sent.dtype == wanted.dtype == np.float32
    assert np.abs(sent.reshape(-1) - wanted.reshape(-1)).max() < 1e-2 * np.abs(wanted).max()
    assert main(["check", str(gpt), str(gpt_wse), "--level", "graph"]) == 2


@pytest.mark.parametrize("option", [{"optimize": "latency"}, {"max_cores": 400}])
def test_kernels_are_those_of_the_image(gpt: Path, gpt_image: Image, option: dict[str, Any]) -> None:
    """Lowered again with the options that shaped them; an image that does not tell these is refused."""
    image = wsec.compile(gpt, **SMALL, **option)
    shapes = [[(block.rows, block.cols) for block in made.blocks] for made in (image, gpt_image)]
    assert shapes[0] != shapes[1]
    require_sound(looked(gpt, image, tokens=4))
    provenance = dict(image.manifest["provenance"])
    provenance["options"] = {key: value for key, value in provenance["options"].items() if key not in option}
    silent = dataclasses.replace(image, manifest={**image.manifest, "provenance": provenance})
    with pytest.raises(wsec.WsecError, match="other-compiler"):
        looked(gpt, silent, tokens=4)


def test_values_cannot_be_saved_in_a_file(gpt: Path, gpt_wse: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "there").write_text("mine")
    for folder in (tmp_path / "there", tmp_path / "no" / "values"):
        assert main(["check", str(gpt), str(gpt_wse), "--layers", "--save-values", str(folder)]) == 1
        assert "no-folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
