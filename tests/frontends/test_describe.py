"""What an ONNX file holds is told for any file that can be read at all, and no data file is opened."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_models import build, floats, mlp, saved, with_external

from frontends.onnx.describe import describe
from frontends.onnx.import_graph import lint
from runtime.errors import InputError


def test_facts_of_a_model(tmp_path: Path) -> None:
    facts = describe(saved(mlp("batch"), tmp_path / "m.onnx"))
    assert (facts.ir_version, facts.opsets, facts.functions) == (10, {"ai.onnx": 20}, 0)
    assert facts.inputs == [("x", "FLOAT[batch, 8]")] and facts.outputs == [("y", "FLOAT[batch, 5]")]
    assert facts.ops == {"Add": 1, "Gemm": 1, "MatMul": 1, "Relu": 1}
    assert facts.parameters == 12 * 8 + 12 + 12 * 5 + 5
    assert facts.tensors == {"FLOAT": (4, 4 * facts.parameters)}
    assert [tensor.name for tensor in facts.largest] == ["w1", "w2", "b1", "b2"]
    assert not facts.external and not facts.problems


def test_external_data_is_counted_and_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = mlp("batch")
    with_external(model, "w1", "weights.bin")
    with_external(model, "w2", "weights.bin", offset=400)
    path = saved(model, tmp_path / "m.onnx")
    (tmp_path / "weights.bin").write_bytes(bytes(1000))
    opened: list[str] = []
    real = builtins.open
    monkeypatch.setattr(builtins, "open", lambda file, *a, **k: opened.append(str(file)) or real(file, *a, **k))
    monkeypatch.setattr(np, "memmap", lambda *a, **k: opened.append("mapped"))
    facts = describe(path)
    assert facts.external == {"weights.bin": (2, 4 * (12 * 8 + 12 * 5))}
    assert not facts.problems and not [name for name in opened if "weights" in name or name == "mapped"]


@pytest.mark.parametrize(
    ("location", "words"),
    [("../secret", "outside the model's folder"), ("/etc/passwd", "outside"), ("gone.bin", "missing")],
)
def test_what_is_wrong_with_external_data_is_told(tmp_path: Path, location: str, words: str) -> None:
    model = mlp("batch")
    with_external(model, "w1", location)
    (problem,) = describe(saved(model, tmp_path / "m.onnx")).problems
    assert words in problem and "w1" in problem


def test_models_that_cannot_be_imported_are_described_all_the_same(tmp_path: Path) -> None:
    node = helper.make_node("Mystery", ["x"], ["y"], domain="org.example")
    model = build([node], {"x": [2]}, {"y": [2]}, {"big": floats(3)}, opset=3, domains=["org.example"])
    big = model.graph.initializer[0]
    big.dims[:] = [2**62, 2**62]
    big.data_type = 99
    model.graph.output.add(name="z").type.sequence_type.elem_type.tensor_type.elem_type = 1
    facts = describe(saved(model, tmp_path / "m.onnx"))
    assert facts.ops == {"org.example.Mystery": 1}
    assert facts.opsets == {"ai.onnx": 3, "org.example": 1}
    assert facts.largest[0].dtype == "type 99" and facts.largest[0].elements == 2**124
    assert facts.outputs[1] == ("z", "not a tensor")


def test_limits_hold(tmp_path: Path) -> None:
    model = build([helper.make_node("Relu", ["x"], ["y"], "n" * 5000)], {"x": [2]}, {"y": [2]})
    with pytest.raises(InputError, match="too-large"):
        describe(saved(model, tmp_path / "m.onnx"))
    (tmp_path / "m.onnx").write_bytes(b"\x08\x0a" + bytes(range(256)))
    with pytest.raises(InputError, match="not-onnx"):
        describe(tmp_path / "m.onnx")


def test_inspect_shows_a_hostile_model_harmlessly(wsec: Any, tmp_path: Path) -> None:
    model = build([helper.make_node("Relu", ["x"], ["y\x1b[31m"])], {"x": ["\x1b]0;n"]}, {"y\x1b[31m": [2]})
    model.producer_name = "\x1b[2J" + "x" * 10
    model.graph.initializer.append(onnx.numpy_helper.from_array(floats(2), "\x1bname" + "y" * 10_000))
    told = wsec("inspect", saved(model, tmp_path / "m.onnx"))
    assert told.code == 0
    assert "\x1b" not in told.out and max(map(len, told.out.splitlines())) < 300
    data = json.loads(wsec("inspect", tmp_path / "m.onnx", "--json").out)
    assert (data["kind"], data["parameters"]) == ("model", 2)


def test_numbers_without_axes_are_no_parameters(tmp_path: Path) -> None:
    model = build([helper.make_node("Mul", ["x", "half"], ["y"])], {"x": [2]}, {"y": [2]}, {"half": floats()})
    path = saved(model, tmp_path / "m.onnx")
    assert describe(path).parameters == lint(path).parameters == 0


def test_inspect_says_whether_it_can_be_imported(wsec: Any, tmp_path: Path) -> None:
    assert "wsec can import it" in wsec("inspect", saved(mlp("batch"), tmp_path / "m.onnx")).out
    unknown = build([helper.make_node("Mystery", ["x"], ["y"])], {"x": [2]}, {"y": [2]})
    told = wsec("inspect", saved(unknown, tmp_path / "u.onnx"))
    assert told.code == 0 and "cannot import it: 1 node" in told.out
    old = build([helper.make_node("Relu", ["x"], ["y"])], {"x": [2]}, {"y": [2]}, opset=3)
    assert "error[opset]" in wsec("inspect", saved(old, tmp_path / "o.onnx")).out
