"""`wsec reduce`: small models that fail as large ones do."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
from planted import plant
from small import SMALL

import wsec
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
