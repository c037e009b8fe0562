"""`wsec repro`: packing, replaying, what strangers may send, and what a crash leaves behind."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from planted import plant
from small import SMALL

from compiler import pipelines
from compiler.ir.core import Op
from compiler.ir.passes import PASSES, Pass, PassContext, register
from frontends.cli.main import main

FLAGS = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]


@dataclass(frozen=True)
class Crash(Pass):
    """Fails as a defect would."""

    name: ClassVar[str] = "crash"
    summary: ClassVar[str] = "a crash for tests"

    def run(self, module: Op, ctx: PassContext) -> None:
        raise ZeroDivisionError("planted")


@pytest.fixture
def crashing(monkeypatch: pytest.MonkeyPatch) -> None:
    if Crash.name not in PASSES:
        register(Crash)
    monkeypatch.setitem(pipelines.PHASES, "flow", f"{pipelines.PHASES['flow']},crash")


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_run_that_is_fine(gpt: Path, tmp_path: Path, capsys: Any) -> None:
    packed = tmp_path / "run.zip"
    assert main(["repro", str(gpt), "-o", str(packed), "--check", "--tokens", "3", *FLAGS]) == 0
    assert "ended so: fine" in capsys.readouterr().out
    assert set(members(packed)) == {"manifest.json", "model.onnx", "weights.bin"}
    again = tmp_path / "again.zip"
    main(["repro", str(gpt), "-o", str(again), "--check", "--tokens", "3", *FLAGS])
    assert packed.read_bytes() == again.read_bytes()
    capsys.readouterr()
    assert main(["repro", "run", str(packed)]) == 0
    assert "the run ends as it did" in capsys.readouterr().out


def test_wrong_numbers_are_replayed(gpt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    packed = tmp_path / "run.zip"
    plant(monkeypatch, which=0)
    assert main(["repro", str(gpt), "-o", str(packed), "--check", "--tokens", "3", "--json", *FLAGS]) == 0
    assert json.loads(capsys.readouterr().out)["outcome"]["code"] == "numbers"
    assert main(["repro", "run", str(packed)]) == 0
    capsys.readouterr()
    monkeypatch.undo()  # the defect is mended
    assert main(["repro", "run", str(packed), "--json"]) == 5
    told = json.loads(capsys.readouterr().out)
    assert (told["then"]["code"], told["now"]["code"], told["same"]) == ("numbers", "", False)


@pytest.mark.usefixtures("crashing")
def test_a_crash_packs_itself(gpt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    assert main(["compile", str(gpt), "-o", str(tmp_path / "model.wse"), *FLAGS]) == 8
    packed = tmp_path / "model.crash.zip"
    err = capsys.readouterr().err
    assert f"wsec repro run {packed}" in err
    assert "ZeroDivisionError: planted" in err
    inside = members(packed)
    assert set(inside) == {"manifest.json", "model.onnx", "module.wir"}
    assert b"flow.attention" in inside["module.wir"]
    assert len(packed.read_bytes()) < gpt.with_name("gpt.onnx.data").stat().st_size
    assert main(["repro", "run", str(packed)]) == 0  # with made weights
    assert "random weights" in capsys.readouterr().out
    elsewhere = tmp_path / "crashes"
    elsewhere.mkdir()
    flags = ["--crash-reproducers-to", str(elsewhere)]
    assert main(["compile", str(gpt), "-o", str(tmp_path / "model.wse"), *flags, *FLAGS]) == 8
    assert [path.name for path in elsewhere.iterdir()] == ["model.crash.zip"]
    monkeypatch.undo()
    assert main(["repro", "run", str(packed)]) == 5
    assert not (tmp_path / "model.wse").exists()


def test_files_that_options_name_travel_along(gpt: Path, tmp_path: Path) -> None:
    dead = tmp_path / "dead.txt"
    dead.write_text("22 5\n", encoding="utf-8")
    packed = tmp_path / "run.zip"
    assert main(["repro", str(gpt), "-o", str(packed), "--no-weights", "--defects", str(dead), *FLAGS]) == 0
    inside = members(packed)
    assert inside["defects.txt"] == b"22 5\n"
    assert str(tmp_path).encode() not in b"".join(inside.values())
    dead.unlink()
    assert main(["repro", "run", str(packed)]) == 0


@pytest.fixture(scope="module")
def good(gpt: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    packed = tmp_path_factory.mktemp("repro") / "good.zip"
    assert main(["repro", str(gpt), "-o", str(packed), "--no-weights", *FLAGS]) == 0
    return members(packed)


def zipped(path: Path, contents: dict[str, bytes], compress: tuple[str, ...] = ("manifest.json",)) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in contents.items():
            archive.writestr(name, data, zipfile.ZIP_DEFLATED if name in compress else zipfile.ZIP_STORED)
    return path


def edited(good: dict[str, bytes], change: Callable[[dict[str, Any]], None]) -> dict[str, bytes]:
    manifest = json.loads(good["manifest.json"])
    change(manifest)
    return {**good, "manifest.json": json.dumps(manifest).encode()}


def with_member(good: dict[str, bytes], name: str, data: bytes) -> dict[str, bytes]:
    sums = {name: hashlib.sha256(data).hexdigest()}
    return {**edited(good, lambda manifest: manifest["sha256"].update(sums)), name: data}


BAD: dict[str, Callable[[dict[str, bytes]], dict[str, bytes]]] = {
    "a path": lambda good: with_member(good, "../evil.txt", b"x"),
    "an absolute path": lambda good: with_member(good, "/tmp/evil.txt", b"x"),
    "a pickle": lambda good: with_member(good, "model.pkl", b"x"),
    "another model": lambda good: {**good, "model.onnx": good["model.onnx"] + b" "},
    "no model": lambda good: {"manifest.json": good["manifest.json"]},
    "no manifest": lambda good: {"model.onnx": good["model.onnx"]},
    "another schema": lambda good: edited(good, lambda m: m.update(schema=2)),
    "an unknown option": lambda good: edited(good, lambda m: m["options"].update(shell="rm")),
    "an option of another kind": lambda good: edited(good, lambda m: m["options"].update(max_seq="1")),
    "a check without end": lambda good: edited(good, lambda m: m.update(check={"tokens": 1 << 40})),
    "a manifest of nonsense": lambda good: {**good, "manifest.json": b"[" * 100_000},
    "a large manifest": lambda good: {**good, "manifest.json": b" " * (1 << 21)},
}


@pytest.mark.parametrize("what", sorted(BAD))
def test_what_strangers_may_not_send(what: str, good: dict[str, bytes], tmp_path: Path, capsys: Any) -> None:
    packed = zipped(tmp_path / "bad.zip", BAD[what](good))
    assert main(["repro", "run", str(packed)]) == 1
    err = capsys.readouterr().err
    assert "bad-reproducer" in err
    assert "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["bad.zip"]


def test_a_file_of_the_machine_is_never_opened(good: dict[str, bytes], tmp_path: Path, capsys: Any) -> None:
    """An option that names a file names nothing when it is replayed."""
    secret = tmp_path / "secret.txt"
    secret.write_text("not a map of dead cores", encoding="utf-8")
    packed = zipped(tmp_path / "p.zip", edited(good, lambda m: m["options"].update(defects=str(secret))))
    assert main(["repro", "run", str(packed)]) == 0
    assert "not a map" not in "".join(capsys.readouterr())


def test_a_bomb_is_refused(good: dict[str, bytes], tmp_path: Path, capsys: Any) -> None:
    packed = zipped(tmp_path / "bomb.zip", {**good, "weights.bin": bytes(1 << 24)}, ("weights.bin", "manifest.json"))
    assert main(["repro", "run", str(packed)]) == 1
    assert "compressed" in capsys.readouterr().err


def test_no_zip_at_all(tmp_path: Path, good: dict[str, bytes], capsys: Any) -> None:
    packed = zipped(tmp_path / "p.zip", good)
    packed.write_bytes(packed.read_bytes()[:-40])
    assert main(["repro", "run", str(packed)]) == 1
    assert main(["repro", "run", str(tmp_path / "none.zip")]) == 1
    assert main(["repro", "run", str(packed), "--precision", "fp16"]) == 2
    assert "bad-reproducer" in capsys.readouterr().err


def test_no_file_of_the_model_is_written(gpt: Path, tmp_path: Path, capsys: Any) -> None:
    model, data = tmp_path / gpt.name, tmp_path / f"{gpt.name}.data"
    model.write_bytes(gpt.read_bytes())
    data.write_bytes(gpt.with_name(data.name).read_bytes())
    for output in (model, data):
        before = output.read_bytes()
        assert main(["repro", str(model), "-o", str(output), *FLAGS]) == 1
        assert "same-file" in capsys.readouterr().err
        assert output.read_bytes() == before
