"""The pytest plugin, in pytest sessions of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as xml

import pytest

from frontends.cli.golden import store

ROOT = Path(__file__).parents[2]
TEST = """
def test_model(wsec_golden):
    run = dict(tokens=6, cycle_tokens=3, layers=True)
    numbers = wsec_golden("perceptron.onnx", target="mini-32x32", deterministic_limit=0.3, **run)
    assert numbers["cost.cores"] > 100
"""
UPDATE = "--wsec-update-golden"


@pytest.fixture
def repository(pytester: pytest.Pytester, recorded: store.Result) -> pytest.Pytester:
    """A folder with the perceptron and a test that holds it; no baseline yet."""
    (pytester.path / "perceptron.onnx").write_bytes(recorded.model.read_bytes())
    pytester.makepyfile(TEST)
    return pytester


def run(repository: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """In this process, so that numba's functions are loaded once."""
    return repository.runpytest_inprocess("-p", "frontends.cli.pytest_plugin", *arguments)


def baseline(repository: pytest.Pytester) -> Path:
    return repository.path / "perceptron.golden.toml"


def test_without_a_baseline_it_fails_and_says_what_to_do(repository: pytest.Pytester) -> None:
    result = run(repository)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*no-baseline*", f'*pytest {UPDATE} "REASON"*'])
    assert "During handling" not in result.stdout.str()
    assert not baseline(repository).exists()


def test_update_then_hold(repository: pytest.Pytester, recorded: store.Result) -> None:
    run(repository, UPDATE, "first baseline").assert_outcomes(passed=1)
    assert baseline(repository).read_bytes() == recorded.path.read_bytes()
    run(repository).assert_outcomes(passed=1)


def test_worse_fails_with_a_table_and_better_passes_with_a_hint(
    repository: pytest.Pytester, recorded: store.Result
) -> None:
    text = recorded.path.read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if line.startswith("cores"))
    baseline(repository).write_text(text.replace(line, 'cores = { value = 9, worse = "2 %" }'), encoding="utf-8")
    result = run(repository)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*recorded*now*change*allowed*", "*cost.cores*9*WORSE*", f"*{UPDATE}*"])
    assert "Traceback" not in result.stdout.str() and "golden/store.py" not in result.stdout.str()
    baseline(repository).write_text(text.replace(line, 'cores = { value = 9999, worse = "2 %" }'), encoding="utf-8")
    result = run(repository)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*baselines that could be updated*", "perceptron cost.cores 9999 -> *, better"])


def test_a_worse_number_passes_once_it_is_accepted(repository: pytest.Pytester, recorded: store.Result) -> None:
    text = recorded.path.read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if line.startswith("cores"))
    baseline(repository).write_text(text.replace(line, 'cores = { value = 9, worse = "2 %" }'), encoding="utf-8")
    run(repository, UPDATE, "more cores").assert_outcomes(passed=1)
    assert '"cost.cores 9 -> ' in baseline(repository).read_text(encoding="utf-8")
    run(repository).assert_outcomes(passed=1)


def test_numbers_are_junit_properties(repository: pytest.Pytester, recorded: store.Result) -> None:
    baseline(repository).write_bytes(recorded.path.read_bytes())
    run(repository, "--junit-xml=out.xml").assert_outcomes(passed=1)
    found = xml.parse(repository.path / "out.xml").getroot().iter("property")
    values = {entry.get("name"): entry.get("value") for entry in found}
    assert values["wsec.perceptron.cost.cores"] == str(recorded.measured.values[("cost", "", "cores")])  # type: ignore[index]
    assert len(values) == len(recorded.measured.values)


def test_files_are_found_from_the_test_file(repository: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    (repository.path / "dead.txt").write_text("20 20\n", encoding="utf-8")
    repository.makepyfile(
        'def test_model(wsec_golden):\n    wsec_golden("perceptron.onnx", target="mini-32x32", defects="dead.txt")'
    )
    run(repository, UPDATE, "a hole").assert_outcomes(passed=1)
    assert 'defects = "dead.txt"' in baseline(repository).read_text(encoding="utf-8")
    (repository.path / "elsewhere").mkdir()
    monkeypatch.chdir(repository.path / "elsewhere")
    run(repository, str(repository.path)).assert_outcomes(passed=1)


def test_another_model_passes_and_is_told(repository: pytest.Pytester, recorded: store.Result) -> None:
    text = recorded.path.read_text(encoding="utf-8")
    digest = recorded.baseline.model_sha256
    baseline(repository).write_text(text.replace(digest, "0" * len(digest)), encoding="utf-8")
    result = run(repository)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["perceptron: the model is not the one that was recorded"])


def test_tables_for_a_summary_page(repository: pytest.Pytester, recorded: store.Result) -> None:
    run(repository, "--wsec-markdown=summary.md").assert_outcomes(failed=1)
    baseline(repository).write_bytes(recorded.path.read_bytes())
    run(repository, "--wsec-markdown=summary.md").assert_outcomes(passed=1)
    error, table = (repository.path / "summary.md").read_text(encoding="utf-8").split("### ")[1:]
    assert error.startswith("perceptron.onnx: error") and "no-baseline" in error
    assert "| cost.cores |" in table


def test_other_settings_than_recorded_fail(repository: pytest.Pytester, recorded: store.Result) -> None:
    baseline(repository).write_bytes(recorded.path.read_bytes())
    repository.makepyfile('def test_model(wsec_golden):\n    wsec_golden("perceptron.onnx", tokens=7)')
    result = run(repository)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*other-settings*tokens = 6, not 7*"])
    repository.makepyfile('def test_model(wsec_golden):\n    wsec_golden("perceptron.onnx")')
    run(repository).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ('"none.onnx", baseline="perceptron.golden.toml"', "none.onnx"),
        ('"perceptron.onnx", tartget="cs2"', "no option tartget"),
        ('"perceptron.onnx", precision="fp16"', "precision = fp32, not fp16"),
    ],
)
def test_mistakes_are_told_in_a_line(
    repository: pytest.Pytester, recorded: store.Result, call: str, words: str
) -> None:
    baseline(repository).write_bytes(recorded.path.read_bytes())
    repository.makepyfile(f"def test_model(wsec_golden):\n    wsec_golden({call})")
    result = run(repository)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*{words}*"])
    assert "Traceback" not in result.stdout.str()


def test_wrong_numbers_cannot_be_accepted(repository: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    from runtime.session import Session

    real = Session.run
    monkeypatch.setattr(Session, "run", lambda *a, **k: {name: array * 1.001 for name, array in real(*a, **k).items()})
    repository.makepyfile('def test_model(wsec_golden):\n    wsec_golden("perceptron.onnx", target="mini-32x32")')
    result = run(repository, UPDATE, "so it is")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*nothing is written*"])
    assert not baseline(repository).exists()


def test_the_plugin_costs_nothing_until_it_is_used() -> None:
    """pytest loads it wherever wsec is installed."""
    heavy = ("numpy", "numba", "onnx", "onnxruntime", "ortools", "torch", "lark", "compiler", "runtime")
    code = f"import sys, frontends.cli.pytest_plugin; print(*(name for name in {heavy!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not done.stdout.split()


def test_the_command_line_needs_neither_pytest_nor_torch(recorded: store.Result) -> None:
    absent = "import sys\nfor name in ('pytest', 'torch', 'transformers', 'onnxscript'): sys.modules[name] = None\n"
    command = [sys.executable, "-c", f"{absent}import wsec\nsys.exit(wsec.main())", "golden", "check", recorded.model]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "as recorded" in done.stdout
