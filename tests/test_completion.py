"""Completion scripts know every verb and option, and bash completes with its one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from frontends.cli.completion import SHELLS, Command, commands
from frontends.cli.main import parser


@pytest.fixture(scope="module")
def root() -> Command:
    return commands(parser())


def completed(root: Command, folder: Path, *words: str) -> list[str]:
    """What bash offers for the last of `words`."""
    script = SHELLS["bash"](root)
    line = " ".join(f"'{word}'" for word in words)
    ask = f'COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); _wsec; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", f"{script}\n{ask}"], cwd=folder, capture_output=True, text=True, check=True)
    assert not done.stderr
    return done.stdout.split()


def test_the_parser_is_seen_whole(root: Command) -> None:
    compile_verb = next(command for command in root.walk() if command.path == ("compile",))
    precision = next(option for option in compile_verb.options if "--precision" in option.flags)
    assert precision.values == ("fp32", "fp16") and "fp16" in precision.help
    assert next(o for o in compile_verb.options if "--quiet" in o.flags).values is None
    assert ("bench", "reduce") in [command.path for command in root.walk()]


@pytest.mark.parametrize("shell", SHELLS)
def test_scripts_have_every_verb_and_option(wsec: Any, root: Command, shell: str) -> None:
    script = wsec("completion", shell).out
    for command in root.walk():
        assert all(word in script for word in command.path)
        for option in command.options:
            for flag in option.flags:
                fish = f" -l {flag[2:]} " if flag.startswith("--") else f" -s {flag[1:]} "
                assert (fish if shell == "fish" else flag) in script


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes(root: Command, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    (tmp_path / "folder").mkdir()
    assert completed(root, tmp_path, "wsec", "comp") == ["compile", "completion"]
    assert completed(root, tmp_path, "wsec", "compile", "--prec") == ["--precision"]
    assert completed(root, tmp_path, "wsec", "compile", "--precision", "fp") == ["fp32", "fp16"]
    assert completed(root, tmp_path, "wsec", "compile", "mod") == ["model.onnx"]
    assert completed(root, tmp_path, "wsec", "compile", "--dump-ir", "f") == ["folder"]
    assert completed(root, tmp_path, "wsec", "compile", "--max-seq", "") == []
    assert completed(root, tmp_path, "wsec", "explain", "") == []
    assert completed(root, tmp_path, "wsec", "-q", "bench", "red") == ["reduce", "reduce2d"]
    assert "--algorithm" in completed(root, tmp_path, "wsec", "bench", "reduce", "--")
    assert "tree" in completed(root, tmp_path, "wsec", "bench", "reduce", "--algorithm", "")
    assert completed(root, tmp_path, "wsec", "completion", "") == list(SHELLS)
    assert "--verify-diagnostics" not in completed(root, tmp_path, "wsec", "compile", "--")


@pytest.mark.parametrize("shell", SHELLS)
def test_shells_accept_their_scripts(root: Command, tmp_path: Path, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = tmp_path / "script"
    script.write_text(SHELLS[shell](root))
    subprocess.run([shell, "-n", str(script)], check=True)
