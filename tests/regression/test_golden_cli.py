"""`wsec golden` as users meet it: files, messages, exit codes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as xml

import pytest
from small import SMALL

from frontends.cli.golden import store

ROOT = Path(__file__).parents[2]
FLAGS = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]


@pytest.fixture
def model(recorded: store.Result, tmp_path: Path) -> Path:
    """The perceptron and its baseline, to be changed."""
    shutil.copy(recorded.model, tmp_path)
    shutil.copy(recorded.path, tmp_path)
    return tmp_path / recorded.model.name


@pytest.fixture
def golden(wsec: Any) -> Any:
    """Runs `wsec golden ...`: exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        result = wsec("golden", *arguments)
        assert "Traceback" not in result.err
        return result.code, result.out, result.err

    return run


def edit(model: Path, *changes: tuple[str, str]) -> Path:
    """Change the baseline's text, as somebody with an editor would."""
    path = store.baseline_path(model)
    text = path.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path.write_text(text, encoding="utf-8")
    return path


def cores(model: Path) -> str:
    """The line of the cores, up to its tolerance."""
    text = store.baseline_path(model).read_text(encoding="utf-8")
    return next(line for line in text.splitlines() if line.startswith("cores"))


def test_a_worse_result_fails_and_a_better_one_passes(golden: Any, model: Path) -> None:
    """Told against a record of fewer cores the model is worse, against one of more it is better."""
    line = cores(model)
    number = int(line.split("value = ")[1].split(",")[0])
    edit(model, (line, line.replace(str(number), str(number // 2))))
    code, out, _ = golden("check", model)
    assert code == 5
    assert "FAIL" in out and "WORSE" in out and "cost.cores" in out
    edit(model, (cores(model), line.replace(str(number), str(number * 2))))
    code, out, _ = golden("check", model)
    assert code == 0
    assert "1 better" in out and "-50.0 %" in out and "wsec golden update" in out
    assert golden("check", model, "-q")[0] == 0


def test_a_slower_machine_fails_and_the_way_back_is_better(golden: Any, model: Path) -> None:
    """No edited record: the same model, compiled and executed again for a target whose hops take three cycles."""
    late = {
        "cost.latency_cycles",
        *(f"measured.{name}" for name in ("first_token_cycles", "cycles_per_token", "cycles")),
    }
    target = model.parent / "own.toml"
    fast = (ROOT / "runtime/targets/mini-32x32.toml").read_text(encoding="utf-8")
    slow = fast.replace("hop_cycles = 1", "hop_cycles = 3")
    assert slow != fast
    target.write_text(fast, encoding="utf-8")
    given = ["--target", target, "--cycle-tokens", "3", "--deterministic-limit", "0.3"]
    store.baseline_path(model).unlink()
    assert golden("update", model, "--reason", "fast", *given)[0] == 0
    assert 'target = "own.toml"' in store.baseline_path(model).read_text(encoding="utf-8")
    assert golden("check", model)[0] == 0
    target.write_text(slow, encoding="utf-8")
    code, out, _ = golden("check", model)
    assert code == 5
    worse = {line.split()[0] for line in out.splitlines() if line.endswith("  WORSE")}
    assert worse == late
    assert "if it is meant to be: wsec golden update" in out
    assert golden("update", model, "--reason", "a hop takes three cycles now")[0] == 0
    assert golden("check", model)[0] == 0
    target.write_text(fast, encoding="utf-8")
    code, out, _ = golden("check", model)
    assert code == 0
    better = {line.split()[0] for line in out.splitlines() if line.endswith("  better")}
    assert better == late
    assert "to hold it: wsec golden update" in out


def test_diff_shows_every_number_and_has_no_verdict(golden: Any, model: Path) -> None:
    line = cores(model)
    edit(model, (line, 'cores = { value = 7, worse = "2 %" }'))
    code, out, _ = golden("diff", model)
    assert code == 0
    for word in ("recorded", "now", "allowed", "WORSE", "cost.interval_cycles", "output.y.error", "measured.cycles"):
        assert word in out


def test_update_accepts_and_keeps_tolerances(golden: Any, model: Path) -> None:
    line = cores(model)
    path = edit(model, (line, "cores = { value = 7, worse = 1, better = 2 }"))
    code, out, _ = golden("update", model, "--reason", "seven was a dream")
    assert code == 0 and "written" in out
    text = path.read_text(encoding="utf-8")
    assert 'reason = "seven was a dream"' in text
    assert cores(model) == line.replace('worse = "2 %"', "worse = 1, better = 2")
    assert '"cost.cores 7 -> ' in text and 'reason = "first baseline"' in text
    assert golden("check", model)[0] == 0
    before = path.read_bytes()
    code, out, _ = golden("update", model, "--reason", "again")
    assert code == 0 and "not written" in out
    assert path.read_bytes() == before


def test_update_of_settings(golden: Any, model: Path) -> None:
    assert golden("update", model, "--reason", "longer", "--tokens", "9", "--cycle-tokens", "0", "--no-layers")[0] == 0
    text = store.baseline_path(model).read_text(encoding="utf-8")
    assert "tokens = 9" in text and "[measured]" not in text and "[layer" not in text
    assert 'target = "mini-32x32"' in text  # what is not given stays
    assert "run tokens: 6 recorded, 9 now" in text


def test_the_same_update_writes_the_same_bytes(golden: Any, model: Path, recorded: store.Result) -> None:
    path = store.baseline_path(model)
    path.unlink()
    given = ["--tokens", "6", "--cycle-tokens", "3", "--layers", "--threads", "1", *FLAGS]
    assert golden("update", model, "--reason", "first baseline", *given)[0] == 0
    assert path.read_bytes() == recorded.path.read_bytes()


def test_machine_readable_results(golden: Any, model: Path, tmp_path: Path) -> None:
    edit(model, (cores(model), 'cores = { value = 7, worse = "2 %" }'))
    other = tmp_path / "nothing.onnx"
    junit, summary = tmp_path / "junit.xml", tmp_path / "summary.md"
    summary.write_text("before\n")
    code, out, err = golden("check", model, other, "--json", "--junit", junit, "--markdown", summary)
    assert code == 1  # no baseline counts for more than a number
    assert "no-baseline" in err
    data = json.loads(out)
    assert data["schema"] == 1 and data["passed"] is False
    assert [entry["passed"] for entry in data["models"]] == [False, False]
    assert data["models"][1]["error"]["code"] == "no-baseline"
    metrics = {entry["metric"]: entry for entry in data["models"][0]["metrics"]}
    assert metrics["cost.cores"]["verdict"] == "worse" and metrics["cost.colours"]["passed"]
    assert [suite.get("errors") for suite in xml.fromstring(junit.read_text()).findall("testsuite")] == ["0", "1"]
    text = summary.read_text()
    assert text.startswith("before\n") and "| cost.cores |" in text and "nothing.onnx: error" in text


def test_baselines_in_a_folder_of_their_own(golden: Any, model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "baselines"
    assert golden("check", model, "--baselines", folder)[0] == 2
    folder.mkdir()
    store.baseline_path(model).rename(folder / "perceptron.golden.toml")
    assert golden("check", model, "--baselines", folder)[0] == 0
    assert golden("check", model, tmp_path / "sub" / model.name, "--baselines", folder)[0] == 2


@pytest.mark.parametrize(
    ("code", "words", "arguments"),
    [
        (2, "--reason", ["update", "MODEL"]),
        (1, "reason is empty", ["update", "MODEL", "--reason", " "]),
        (2, "time_limit", ["update", "MODEL", "--reason", "x", "--time-limit", "3"]),
        (1, "not in the baseline's folder", ["update", "MODEL", "--reason", "x", "--defects", "/dev/null"]),
        (2, "below zero", ["update", "MODEL", "--reason", "x", "--seed", "-1"]),
        (1, "no-baseline", ["check", "none.onnx"]),
        (1, "no-folder", ["check", "MODEL", "--junit", "no/such/folder.xml"]),
        (2, "check|update|diff", []),
    ],
)
def test_what_is_refused(golden: Any, model: Path, code: int, words: str, arguments: list[str]) -> None:
    before = {path: path.read_bytes() for path in model.parent.iterdir()}
    got, _, err = golden(*(str(model) if word == "MODEL" else word for word in arguments))
    assert got == code, err
    assert words in err
    assert {path: path.read_bytes() for path in model.parent.iterdir()} == before


def test_an_update_over_a_damaged_baseline_is_refused(golden: Any, model: Path) -> None:
    """It would lose its tolerances and its history."""
    path = edit(model, ("schema = 1", "schema = "))
    before = path.read_bytes()
    code, _, err = golden("update", model, "--reason", "anew")
    assert code == 1 and "bad-baseline" in err
    assert path.read_bytes() == before


def test_files_of_a_baseline_lie_with_it(golden: Any, model: Path) -> None:
    (model.parent / "dead.txt").write_text("20 20\n", encoding="utf-8")
    assert golden("update", model, "--reason", "a hole", "--defects", model.parent / "dead.txt")[0] == 0
    assert 'defects = "dead.txt"' in store.baseline_path(model).read_text(encoding="utf-8")
    assert golden("check", model)[0] == 0
