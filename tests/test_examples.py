"""The examples run as their first lines say."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runtime.imagefile import read_image, write_image

ROOT = Path(__file__).parent.parent


def run(*arguments: str) -> str:
    command = [sys.executable, *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True).stdout


def test_mlp() -> None:
    assert "largest difference 0.0, allowed 0.0" in run("examples/mlp.py")


def test_one_core(gpt_wse: Path) -> None:
    text = run("examples/one_core.py", str(gpt_wse))
    assert "task " in text and "fmac" in text  # a core that multiplies, and none that only passes words on


def test_one_core_where_the_host_sets_the_pace(gpt_wse: Path, tmp_path: Path) -> None:
    """As it does for a large vocabulary: then the slowest of all is a port, which has no core."""
    image = read_image(gpt_wse)
    image.manifest["report"]["size"]["slowest_kernel"] = "output0"
    write_image(image, tmp_path / "m.wse")
    assert run("examples/one_core.py", str(tmp_path / "m.wse")) == run("examples/one_core.py", str(gpt_wse))


@pytest.mark.parametrize("count", [1, 3])
def test_generate(gpt_wse: Path, count: int) -> None:
    lines = run("examples/generate.py", str(gpt_wse), "1,2,3", str(count)).splitlines()
    assert len(lines) == count + 1
    assert lines[-1].startswith("[1, 2, 3, ")


@pytest.mark.parametrize("script", ["generate.py", "one_core.py", "ci/models/make.py"])
def test_what_an_example_wants_is_told(script: str) -> None:
    command = [sys.executable, str(ROOT / "examples" / script)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 1 and f"python {'' if '/' in script else 'examples/'}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def ci(tmp_path: Path) -> Any:
    """The example repository as its users have it, somewhere else; runs a script there with wsec installed."""
    shutil.copytree(ROOT / "examples/ci", tmp_path, dirs_exist_ok=True)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")}
    commands = {"python": "", "pytest": "-m pytest -p frontends.cli.pytest_plugin", "wsec": "-m wsec"}
    functions = [f'{name}() {{ "{sys.executable}" {how} "$@"; }}' for name, how in commands.items()]

    def run(script: str) -> subprocess.CompletedProcess[str]:
        text = "\n".join([*functions, "set -e", script])
        return subprocess.run(["bash", "-c", text], cwd=tmp_path, env=env, capture_output=True, text=True)

    return run


def test_ci_workflow(ci: Any, tmp_path: Path) -> None:
    """What the workflow runs of ours."""
    workflow = (ROOT / "examples/ci/.github/workflows/wsec.yml").read_text(encoding="utf-8")
    steps = [line.split("- run: ")[1] for line in workflow.splitlines() if "- run: pytest" in line]
    assert len(steps) == 1
    done = ci(steps[0])
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout
    assert "| measured.cycles |" in (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert 'name="wsec.block.cost.cores"' in (tmp_path / "results.xml").read_text(encoding="utf-8")


def test_ci_commands_without_pytest(ci: Any) -> None:
    """Those of its README, in their order."""
    readme = (ROOT / "examples/ci/README.md").read_text(encoding="utf-8")
    lines = [line.strip() for line in readme.splitlines() if line.startswith(("    python", "    wsec"))]
    assert len(lines) == 4
    done = ci("\n".join(lines))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": pass: ") == 6 and done.stdout.count(".golden.toml: ") == 2  # better is a pass, too
