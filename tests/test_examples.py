"""The examples run as their first lines say."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(*arguments: str) -> str:
    command = [sys.executable, *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True).stdout


def test_mlp() -> None:
    assert "largest difference 0.0, allowed 0.0" in run("examples/mlp.py")


def test_one_core(gpt_wse: Path) -> None:
    assert "task main" in run("examples/one_core.py", str(gpt_wse))


@pytest.mark.parametrize("count", [1, 3])
def test_generate(gpt_wse: Path, count: int) -> None:
    lines = run("examples/generate.py", str(gpt_wse), "1,2,3", str(count)).splitlines()
    assert len(lines) == count + 1
    assert lines[-1].startswith("[1, 2, 3, ")


def test_ci(tmp_path: Path) -> None:
    """The example repository as its users have it: somewhere else, with wsec installed."""
    shutil.copytree(ROOT / "examples/ci", tmp_path, dirs_exist_ok=True)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", "-p", "pytest_wsec", "-p", "no:cacheprovider", "--junit-xml=results.xml"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
    assert 'name="wsec.block.cost.cores"' in (tmp_path / "results.xml").read_text(encoding="utf-8")


def test_ci_workflow_runs_commands_that_exist(tmp_path: Path) -> None:
    """The steps that `run` something of ours, in their order, by the shell."""
    shutil.copytree(ROOT / "examples/ci", tmp_path, dirs_exist_ok=True)
    workflow = (ROOT / "examples/ci/.github/workflows/wsec.yml").read_text(encoding="utf-8")
    lines = [line.strip() for line in workflow.splitlines()]
    steps = [line for line in lines if line.startswith(("python models", "wsec golden"))]
    assert len(steps) == 2
    env = {**os.environ, "PYTHONPATH": str(ROOT), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")}
    script = f'python() {{ "{sys.executable}" "$@"; }}\nwsec() {{ python -m wsec "$@"; }}\nset -e\n' + "\n".join(steps)
    subprocess.run(["bash", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert "| measured.cycles |" in (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert (tmp_path / "golden.xml").is_file()
