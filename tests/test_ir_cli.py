"""Reading and comparing IR on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

MLP = """builtin.module @mlp {phase = "import"} {
  %x = graph.input {name = "x"} : tensor<batch x 4 x f32>
  %0 = graph.unary(%x) {fn = "relu"} : tensor<batch x 4 x f32> loc("/mlp/Relu")
  graph.output(%0) {name = "y"} loc("/mlp/Relu")
}
"""


@pytest.fixture
def mlp(tmp_path: Path) -> Path:
    path = tmp_path / "mlp.wir"
    path.write_text(MLP)
    return path


def test_diff_says_the_first_difference_and_how_many(wsec: Any, mlp: Path, tmp_path: Path) -> None:
    same, other = tmp_path / "same.wir", tmp_path / "other.wir"
    same.write_text(MLP.replace("%0", "%hidden"))
    other.write_text(MLP.replace('"relu"', '"tanh"').replace('"y"', '"z"'))
    agreed = wsec("diff", mlp, same)
    assert agreed.code == 0 and "are the same: 4 ops" in agreed.out
    found = wsec("diff", mlp, other)
    assert found.code == 5
    assert 'fn: "relu" -> "tanh"' in found.out and '"z"' not in found.out
    assert found.out.splitlines()[-1].split() == ["graph.unary", "1", "1", "1", "0", "0"]
    assert 'name: "y" -> "z"' in wsec("diff", mlp, other, "--max", "2").out
    assert wsec("diff", mlp, other, "--ignore", "fn", "--ignore", "name").code == 0


def test_diff_as_json(wsec: Any, mlp: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.wir"
    other.write_text(MLP.replace('loc("/mlp/Relu")\n  g', 'loc("/mlp/Other")\n  g'))
    data = json.loads(wsec("diff", mlp, other, "--json").out)
    assert (data["schema"], data["same"], data["ops"]) == (1, False, {"before": 4, "after": 4})
    assert data["by_op"] == [{"op": "graph.unary", "before": 1, "after": 1, "changed": 1, "removed": 0, "added": 0}]
    (difference,) = data["differences"]
    assert difference["details"] == ["loc: /mlp/Relu -> /mlp/Other"]
    assert wsec("diff", mlp, other, "--no-locations").code == 0


def test_diff_refuses_what_is_no_ir(refused: Any, mlp: Path, tmp_path: Path) -> None:
    refused(1, ["cannot-read", "gone.wir"], "diff", mlp, tmp_path / "gone.wir")
    (tmp_path / "image.wse").write_bytes(b"\x89PNG\xff")
    refused(1, ["bad-ir-text", "image.wse"], "diff", tmp_path / "image.wse", mlp)
