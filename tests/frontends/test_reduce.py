"""`wsec reduce`: small models that fail as large ones do."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from planted import plant
from small import SMALL

import wsec
from frontends.cli.find import reduce
from frontends.cli.main import main

FLAGS = ["--target", "mini-32x32", "--deterministic-limit", "0.3", "--tokens", "4"]


def ops(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(str(path)).graph.node]


def test_a_miscompiled_sum_is_all_that_is_left(
    gpt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    small = tmp_path / "small.onnx"
    assert main(["reduce", str(gpt), "-o", str(small), *FLAGS]) == 2  # nothing fails yet
    assert "does-not-fail" in capsys.readouterr().err
    assert not small.exists()
    plant(monkeypatch, which=0)
    assert main(["reduce", str(gpt), "-o", str(small), "--json", *FLAGS]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["failure"] == "numbers"
    assert told["before"] > 50
    assert "Add" in ops(small)
    assert len(ops(small)) == told["after"] <= 4
    assert not wsec.check(small, tokens=4, **SMALL).passed
    monkeypatch.undo()
    assert wsec.check(small, tokens=4, **SMALL).passed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.onnx"]


def test_by_the_exit_code_of_a_command(gpt: Path, tmp_path: Path, capsys: Any) -> None:
    """Whatever has a Gelu fails: it and what makes its type known are left."""
    script = tmp_path / "check.py"
    script.write_text(
        "import onnx, sys\n"
        "sys.exit(3 if any(n.op_type == 'Gelu' for n in onnx.load(sys.argv[1], load_external_data=False).graph.node)"
        " else 0)\n"
    )
    small = tmp_path / "small.onnx"
    command = f"{sys.executable} {script} {{}}"
    assert main(["reduce", str(gpt), "-o", str(small), "--check", command]) == 0
    assert ops(small) == ["Gelu"]
    assert "exit 3" in capsys.readouterr().out
    onnx.checker.check_model(str(small))


def test_errors(gpt: Path, tmp_path: Path, capsys: Any) -> None:
    small = str(tmp_path / "small.onnx")
    assert main(["reduce", str(gpt), "-o", small, "--check", "false", "--precision", "fp16"]) == 2
    assert main(["reduce", str(gpt), "-o", small, "--check", "no-such-command-here"]) == 2
    assert "bad-command" in capsys.readouterr().err
    assert main(["reduce", str(gpt), "-o", str(gpt)]) == 1
    assert main(["reduce", str(tmp_path / "none.onnx"), "-o", small]) == 1
    assert main(["reduce", str(gpt), "-o", small, "--check", "'"]) == 2
    assert "bad-command" in capsys.readouterr().err
    assert main(["reduce", str(gpt), "-o", small, "--target", "nowhere"]) == 1  # not what every model fails with
    assert "bad-target" in capsys.readouterr().err
    assert not Path(small).exists()


def copied(gpt: Path, folder: Path) -> Path:
    for file in (gpt, gpt.with_name(f"{gpt.name}.data")):
        shutil.copy(file, folder)
    return folder / gpt.name


def has_gather(tmp_path: Path) -> str:
    """A command that fails for models with a Gather, such as looking up embeddings."""
    script = tmp_path / "check.py"
    script.write_text(
        "import onnx, sys\n"
        "sys.exit(any(n.op_type == 'Gather' for n in onnx.load(sys.argv[1], load_external_data=False).graph.node))\n"
    )
    return f"{sys.executable} {script}"


def table(model: Path) -> Any:
    """The table that the model's Gather looks in."""
    proto = onnx.load(str(model))
    name = next(node.input[0] for node in proto.graph.node if node.op_type == "Gather")
    return numpy_helper.to_array(next(tensor for tensor in proto.graph.initializer if tensor.name == name))


@pytest.mark.parametrize("fits", [True, False])
def test_external_weights_go_along(gpt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fits: bool) -> None:
    """Into the model, or where no file could hold them into a data file."""
    if not fits:
        monkeypatch.setattr(reduce, "LARGEST_INSIDE", 1000)
    model, small = copied(gpt, tmp_path), tmp_path / "out" / "small.onnx"
    small.parent.mkdir()
    assert main(["reduce", str(model), "-o", str(small), "--check", has_gather(tmp_path)]) == 0
    assert ops(small) == ["Gather"]
    inside = {} if fits else {"small.onnx.data"}
    assert {path.name for path in small.parent.iterdir()} == {"small.onnx", *inside}
    assert np.array_equal(table(small), table(gpt))
    onnxruntime.InferenceSession(str(small), providers=["CPUExecutionProvider"])


def test_no_file_of_the_model_is_written(gpt: Path, tmp_path: Path, capsys: Any) -> None:
    model = copied(gpt, tmp_path)
    data = model.with_name(f"{model.name}.data")
    before = model.read_bytes(), data.read_bytes()
    for output in (model, data):
        assert main(["reduce", str(model), "-o", str(output), "--check", "false"]) == 1
        assert "same-file" in capsys.readouterr().err
    assert (model.read_bytes(), data.read_bytes()) == before
    # A data file that is called as a file of ours might be.
    named = data.rename(tmp_path / "candidate.onnx")
    proto = onnx.load(str(model), load_external_data=False)
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = named.name
    model.write_bytes(proto.SerializeToString())
    assert main(["reduce", str(model), "-o", str(tmp_path / "s.onnx"), "--check", has_gather(tmp_path)]) == 0
    assert named.read_bytes() == before[1]
