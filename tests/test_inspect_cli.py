"""`wsec inspect` goes by what is in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from frontends.cli.recognise import recognise
from runtime.errors import InputError
from runtime.imagefile import MAGIC

MODULE = """// a comment
builtin.module @mlp {phase = "import", source = {model = "m.onnx"}, options = {seed = 1}} {
  %x = graph.input {name = "x"} : tensor<batch x 4 x f32>
  graph.output(%x) {name = "y"} loc("out")
}
resources {
  builtin.resource @w1 {shape = [4, 4], dtype = "f16", sha256 = "", hint = "w"}
}
"""
SPENT = dict.fromkeys(("busy", "conflict", "dependency", "no_wavelet", "back_pressure", "idle"), 1)


def run_file(**changes: object) -> dict[str, Any]:
    """A small run file, as `wsec run --run-json` writes it."""
    timing = {
        "schema": 1,
        "target": "mini-32x32",
        "clock_ghz": 0.85,
        "cycles": 1234,
        "tokens": 2,
        "first_token_cycles": 600,
        "cycles_per_token": 500.0,
        "tokens_per_second": 1.7e6,
        "token_cycles": [600, 1100],
        "spent": SPENT,
        "kernels": [],
        "host": [],
        "links": {"hottest": []},
    }
    whole = {"schema": 1, "image": "m.wse", "engine": "cycle", "outputs": {}, "tokens": 2, "words": 10, "cores": []}
    return {**whole, "timing": timing, **changes}


@pytest.mark.parametrize(
    ("contents", "kind"),
    [
        (MAGIC + b"....", "image"),
        (b"\n  // first\n//\nbuiltin.module {\n}\n", "module"),
        (b'{"schema": 1}', "run"),
        (b"\x08\x0a\x12\x07pytorch", "model"),
    ],
)
def test_contents_tell_the_kind(tmp_path: Path, contents: bytes, kind: str) -> None:
    for name in ("file", "file.onnx", "file.wir", "file.wse", "file.txt"):
        (tmp_path / name).write_bytes(contents)
        assert recognise(tmp_path / name) == kind


def test_the_name_counts_where_contents_say_nothing(tmp_path: Path) -> None:
    for suffix, kind in ((".onnx", "model"), (".wir", "module"), (".wse", "image"), (".json", "run")):
        (tmp_path / f"m{suffix}").write_bytes(b"hello")
        assert recognise(tmp_path / f"m{suffix}") == kind
    (tmp_path / "m.txt").write_bytes(b"hello")
    with pytest.raises(InputError, match="unknown-file"):
        recognise(tmp_path / "m.txt")


def test_a_module_under_any_name(wsec: Any, tmp_path: Path) -> None:
    path = tmp_path / "dump"
    path.write_text(MODULE)
    told = wsec("inspect", path)
    assert told.code == 0
    for words in (
        "phase import",
        "from m.onnx",
        "seed 1",
        "1 constants of 32 bytes",
        "graph.output",
        "x: tensor<batch x",
    ):
        assert words in told.out
    data = json.loads(wsec("inspect", path, "--json").out)
    assert (data["kind"], data["name"], data["ops"]["graph.input"]) == ("module", "mlp", 1)
    assert data["outputs"] == [["y", "tensor<batch x 4 x f32>"]]


def test_a_hostile_module_is_shown_harmlessly(wsec: Any, tmp_path: Path) -> None:
    path = tmp_path / "m.wir"
    names = r'phase = "\u001b[2J", target = "\u001b[2J", source = {model = "\u001b[2J"}, options = {"\u001b[2J" = 1}'
    path.write_text(MODULE.replace('phase = "import", source = {model = "m.onnx"}, options = {seed = 1}', names))
    for options in ([], ["--fold"], ["--json"]):
        told = wsec("inspect", path, *options)
        assert told.code == 0 and "\x1b" not in told.out


def test_a_module_folded(wsec: Any, tmp_path: Path) -> None:
    path = tmp_path / "m.wir"
    path.write_text(MODULE)
    told = wsec("inspect", path, "--fold", "--no-locations")
    assert told.out.startswith("// Folded for reading") and told.out.endswith("// and 1 resources\n")
    assert "loc(" not in told.out
    assert json.loads(wsec("inspect", path, "--fold", "--json").out)["text"].count("loc(") == 1


def test_a_run_file(wsec: Any, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps(run_file()))
    told = wsec("inspect", path)
    assert told.code == 0
    assert "a run of m.wse, 2 tokens" in told.out and "500.0 cycles per token" in told.out
    data = json.loads(wsec("inspect", path, "--json").out)
    assert data["timing"]["cycles"] == 1234 and "cores" not in data


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "{}",
        '{"timing": 3}',
        "[" * 100_000,
        json.dumps({"timing": {}}),
        json.dumps(run_file(image=None, words="many")),
        json.dumps(run_file(outputs=[1])),
        json.dumps(run_file(timing={**run_file()["timing"], "kernels": [{}]})),
        json.dumps(run_file(timing={**run_file()["timing"], "spent": {"busy": "x"}})),
    ],
)
def test_what_is_no_run_file(refused: Any, tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    refused(1, ["bad-run", "run.json"], "inspect", tmp_path / "run.json")


def test_options_of_other_kinds(refused: Any, tmp_path: Path) -> None:
    path = tmp_path / "m.wir"
    path.write_text(MODULE)
    refused(2, ["--core shows an image", "this is a module"], "inspect", path, "--core", "1,1")
    (tmp_path / "m.wse").write_bytes(MAGIC)
    refused(2, ["--fold shows a module"], "inspect", tmp_path / "m.wse", "--fold")
    refused(1, ["bad-image"], "inspect", tmp_path / "m.wse")
    refused(1, ["no-such-file"], "inspect", tmp_path / "gone")
    refused(1, ["cannot-read"], "inspect", tmp_path)
