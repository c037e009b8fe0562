"""The public face: what it lists exists, and costs nothing to look at."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

import wsec
from runtime.errors import InputError

ROOT = Path(__file__).parent.parent
HEAVY = ("numpy", "numba", "onnx", "onnxruntime", "ortools", "torch", "transformers", "lark", "networkx", "rich")


def test_the_list_is_true() -> None:
    assert wsec.__all__ == sorted(wsec.__all__, key=lambda name: (name[0].islower(), name))
    assert all(hasattr(wsec, name) for name in wsec.__all__)
    public = {name for name, value in vars(wsec).items() if callable(value) and not name.startswith("_")}
    assert public - set(wsec.__all__) <= {"Path", "Any"}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["compile", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys, wsec\n"
        f"sys.argv = ['wsec', *{arguments!r}]\n"
        "try:\n    wsec.main()\nexcept SystemExit as end:\n    assert end.code == 0\n"
        f"print('heavy:', *(name for name in {HEAVY!r} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "heavy:"


def test_help_is_quick() -> None:
    best = min(_seconds([sys.executable, "wsec.py", "--help"]) for _ in range(3))
    assert best < 0.3


def _seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    return time.perf_counter() - began


def test_errors_have_one_base() -> None:
    with pytest.raises(wsec.WsecError) as caught:
        wsec.load("no-such-file.wse")
    assert isinstance(caught.value, InputError)
    assert caught.value.exit_code == 1
