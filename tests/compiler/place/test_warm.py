"""The annealer compiled beside: for the right types, and never beyond a time limit."""

from __future__ import annotations

import signal
import subprocess
import time
from typing import Any

import pytest

from compiler.place import jit, warm
from compiler.place.anneal import anneal
from compiler.place.engine import solve
from compiler.place.problem import Problem
from frontends.ispd2020.kgraph import parse_case
from frontends.ispd2020.problem import problem_of
from tests.frontends.ispd2020.cases import resnet


@pytest.fixture
def problem() -> Problem:
    return problem_of(parse_case(resnet(256, blocks=(1, 1), wlength=10, wadapter=100)))


def test_searches_find_what_was_compiled(problem: Problem) -> None:
    warm.compile_annealer()
    compiled = {function: set(function.signatures) for function, _ in warm.signatures()}
    solve(problem, deterministic_limit=0.05, workers=1)
    assert compiled == {function: set(function.signatures) for function in compiled}
    assert jit.is_kept(anneal) in (True, None)


def test_a_time_limit_does_not_wait_for_the_compiler(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm, "_CHILD", "import time; time.sleep(60)")
    monkeypatch.setattr(jit, "is_kept", lambda function: False)
    begin = time.perf_counter()
    result = solve(problem, time_limit=2.0)
    assert time.perf_counter() - begin < 20
    assert result.terms.score >= result.bound


def test_a_child_that_fails_is_no_failure(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm, "_CHILD", "raise SystemExit(1)")
    monkeypatch.setattr(jit, "is_kept", lambda function: False)
    assert solve(problem, deterministic_limit=0.05).terms.score > 0


@pytest.mark.parametrize("step", ["bounds", "Tournament.scan"])
def test_no_process_is_left_behind(problem: Problem, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Whatever ends the search while the child compiles."""
    children: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def started(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        children.append(popen(*arguments, **options))
        return children[-1]

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", started)
    monkeypatch.setattr(warm, "_CHILD", "import time; time.sleep(60)")
    monkeypatch.setattr(jit, "is_kept", lambda function: False)
    monkeypatch.setattr(f"compiler.place.engine.{step}", interrupted)
    with pytest.raises(KeyboardInterrupt):
        solve(problem, deterministic_limit=0.05, workers=1)
    assert [child.returncode for child in children] == [-signal.SIGKILL]
