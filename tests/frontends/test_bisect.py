"""`wsec bisect` names the pass and the layer of a planted miscompile, and nothing where there is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from planted import plant
from small import SMALL

from compiler.driver import Options
from compiler.ir.passes import no_progress
from frontends.cli.find.bisect import Suspect, by_layer, by_pass
from frontends.cli.main import main

RUN: dict[str, Any] = {"tokens": 6, "batch": 1, "seed": 0, "threads": 2, "progress": no_progress}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_nothing_is_wrong_with_a_right_compiler(gpt: Path, precision: str) -> None:
    suspect = by_pass(gpt, Options(precision=precision, **SMALL), **RUN)
    assert suspect.culprit is None, suspect
    assert suspect.tried[0] == "import"
    assert {"simplify", "fuse-attention", "lower-to-flow", "size", "place", "route"} <= set(suspect.tried)


def test_nothing_is_wrong_with_the_legacy_exporter(legacy_gpt: Path) -> None:
    assert by_pass(legacy_gpt, Options(**SMALL), **RUN).culprit is None


def test_the_pass_that_miscompiles(gpt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    suspect = by_pass(gpt, Options(**SMALL), **RUN)
    assert suspect.culprit == "wrong-fold"
    assert suspect.tried[-1] == "dead-code"
    assert suspect.layer is not None
    assert suspect.layer.op == "graph.binary"
    assert suspect.value.startswith("add")


def test_the_layer_that_is_wrong(gpt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    passed = by_pass(gpt, Options(**SMALL), **RUN)
    suspect = by_layer(gpt, Options(**SMALL), **RUN)
    assert suspect.culprit is not None
    assert suspect.culprit.endswith("(graph)")
    assert suspect.value == passed.value


def test_what_only_the_machine_gets_wrong(gpt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel whose programs compute something else than its op says: no interpreter sees it."""
    from compiler.kernels.join import Join
    from compiler.kernels.table import _KERNELS

    right = _KERNELS["flow.join"]
    monkeypatch.setitem(_KERNELS, "flow.join", lambda op, a: Join(right(op, a).blocks, "sub"))  # type: ignore[attr-defined]
    suspect: Suspect = by_pass(gpt, Options(**SMALL), **RUN)
    assert suspect.culprit == "codegen"
    assert suspect.layer is not None
    assert suspect.layer.op == "join0"


def test_command_line(gpt: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    flags = ["--tokens", "4", "--target", "mini-32x32", "--deterministic-limit", "0.3"]
    assert main(["bisect", str(gpt), *flags]) == 0
    assert capsys.readouterr().out.startswith("nothing breaks: ")
    plant(monkeypatch, which=2)
    assert main(["bisect", str(gpt), *flags]) == 5
    assert capsys.readouterr().out.startswith("the first pass that breaks the model: wrong-fold\nvalue add")
    assert main(["bisect", str(gpt), "--by", "layer", "--json", *flags]) == 5
    told = json.loads(capsys.readouterr().out)
    assert told["by"] == "layer"
    assert told["layer"]["level"] == "graph"
