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


def test_diff_tells_the_module_from_its_ops(wsec: Any, mlp: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.wir"
    other.write_text(MLP.replace('"import"', '"fuse"').replace('"relu"', '"tanh"'))
    told = wsec("diff", mlp, other).out
    assert 'the module itself:\n  phase: "import" -> "fuse"\n' in told
    assert 'fn: "relu" -> "tanh"' in told and "- builtin.module" not in told


def test_diff_as_json(wsec: Any, mlp: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.wir"
    other.write_text(MLP.replace('loc("/mlp/Relu")\n  g', 'loc("/mlp/Other")\n  g'))
    data = json.loads(wsec("diff", mlp, other, "--json").out)
    assert (data["schema"], data["same"], data["ops"]) == (1, False, {"before": 4, "after": 4})
    assert data["by_op"] == [{"op": "graph.unary", "before": 1, "after": 1, "changed": 1, "removed": 0, "added": 0}]
    (difference,) = data["differences"]
    assert difference["details"] == ['loc: "/mlp/Relu" -> "/mlp/Other"']
    assert wsec("diff", mlp, other, "--no-locations").code == 0


def test_diff_refuses_what_is_no_ir(refused: Any, mlp: Path, tmp_path: Path) -> None:
    refused(1, ["cannot-read", "gone.wir"], "diff", mlp, tmp_path / "gone.wir")
    (tmp_path / "image.wse").write_bytes(b"\x89PNG\xff")
    refused(1, ["bad-ir-text", "image.wse"], "diff", tmp_path / "image.wse", mlp)


TWO = """builtin.module {
  %x = graph.input {name = "x"} : tensor<4 x f32>
  %0 = graph.unary(%x) {fn = "relu"} : tensor<4 x f32> loc("a")
  %1 = graph.unary(%x) {fn = "relu"} : tensor<4 x f32> loc("b")
  %2 = graph.unary(%x) {fn = "exp"} : tensor<4 x f32> loc("c")
  %3 = graph.binary(%0, %1) {fn = "add"} : tensor<4 x f32>
  graph.output(%3) {name = "y"}
}
"""
BOTH = "common-subexpressions,dead-code"


@pytest.fixture
def two(tmp_path: Path) -> Path:
    path = tmp_path / "two.wir"
    path.write_text(TWO)
    return path


def test_opt_prints_before_and_after_the_passes_named(wsec: Any, refused: Any, two: Path) -> None:
    before = wsec("opt", two, "-p", BOTH, "--print-ir-before", "dead-code").err
    after = wsec("opt", two, "-p", BOTH, "--print-ir-after", "common-subexpressions").err
    assert before.startswith("// before dead-code\nbuiltin.module") and after.startswith("// after common-sub")
    assert before.split("\n", 1)[1] == after.split("\n", 1)[1]
    assert before.count("relu") == 1 and before.count("exp") == 1
    first = wsec("opt", two, "-p", BOTH, "--print-ir-before", "common-subexpressions", "--no-locations")
    assert first.err.count("relu") == 2 and "loc(" not in first.err + first.out
    assert wsec("opt", two, "-p", BOTH, "--print-ir-after-all").err.count("// after") == 2
    refused(2, ["no pass 'size'", "it has: dead-code"], "opt", two, "-p", "dead-code", "--print-ir-after", "size")


def test_opt_times_passes_and_counts_ops(wsec: Any, two: Path) -> None:
    rows = wsec("opt", two, "-p", BOTH, "--time-passes").err.splitlines()
    assert rows[0].split()[:3] == ["pass", "seconds", "ops"]
    assert rows[1].split()[0] == "common-subexpressions" and rows[1].split()[2:] == ["6", "graph.unary", "-1"]
    assert rows[2].split()[2:] == ["5", "graph.unary", "-1"]
    assert rows[3].split()[::2] == ["all", "5"]


def test_opt_reads_back_what_it_prints(wsec: Any, refused: Any, two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from compiler.ir import printer

    assert wsec("opt", two, "-p", BOTH, "--roundtrip").code == 0
    right = printer.attr_text
    monkeypatch.setattr(printer, "attr_text", lambda value, symbols=None: right(value, symbols).replace("exp", "erf"))
    refused(8, ["round-trip", "the module as it was read", 'fn: "e'], "opt", two, "--roundtrip")


def test_invalid_text_is_told_with_its_line(refused: Any, tmp_path: Path) -> None:
    path = tmp_path / "m.wir"
    path.write_text("builtin.module {\n  %0 = graph.constant {value = @w} : tensor<4 x f32>\n}\n")
    refused(1, ["invalid-ir", "m.wir", "line 2: graph.constant", "no op is called @w"], "opt", path)
    refused(1, ["invalid-ir", "m.wir", "line 2: graph.constant"], "compile", path, "-o", tmp_path / "m.wse")
