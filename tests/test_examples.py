"""The examples run as their first lines say."""

from __future__ import annotations

import os
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
