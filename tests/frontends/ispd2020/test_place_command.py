"""`wsec place` and `wsec score` as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from frontends.cli.main import main
from tests.frontends.ispd2020.cases import resnet


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "ours.kgraph"
    path.write_text(resnet(256, blocks=(1, 1)))
    return path


def test_the_scorer_agrees_with_the_placer(graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paint = graph.with_suffix(".paint")
    assert main(["place", str(graph), "-o", str(paint), "--deterministic-limit", "0.2", "--json"]) == 0
    placed = json.loads(capsys.readouterr().out)
    assert main(["score", str(graph), str(paint), "--json"]) == 0
    scored = json.loads(capsys.readouterr().out)
    for key in ("max_time", "wire_length", "adapters", "score"):
        assert placed[key] == pytest.approx(scored[key])
    assert placed["bound"] <= placed["score"]
    assert placed["score"] == pytest.approx(sum(placed["terms"].values()))
    assert main(["score", str(graph), str(paint)]) == 0
    assert "legal" in capsys.readouterr().out


def test_same_bytes_on_one_and_two_threads(graph: Path) -> None:
    texts = []
    for threads in ("1", "2"):
        paint = graph.with_suffix(f".{threads}.paint")
        limits = ["--deterministic-limit", "0.1", "--threads", threads]
        assert main(["place", str(graph), "-o", str(paint), *limits]) == 0
        texts.append(paint.read_bytes())
    assert texts[0] == texts[1]


def test_moved_kernels_are_refused(graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paint = graph.with_suffix(".paint")
    assert main(["place", str(graph), "-o", str(paint), "--deterministic-limit", "0.1"]) == 0
    lines = paint.read_text().splitlines()
    places = [i for i, line in enumerate(lines) if "place(" in line]
    lines[places[0]] = lines[places[1]].replace("k2 :", "k1 :")
    paint.write_text("\n".join(lines))
    capsys.readouterr()
    assert main(["score", str(graph), str(paint)]) == 1
    assert "overlap" in capsys.readouterr().err


def test_bad_input_has_a_message_and_a_code(graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["place", str(graph.with_name("none.kgraph"))]) == 1
    assert main(["place", str(graph), "--time-limit", "0"]) == 2
    assert main(["place", str(graph), "--seed", "-1"]) == 2
    assert main(["place", str(graph), "-o", str(graph), "--deterministic-limit", "0.1"]) == 2
    graph.write_text("(*\ntest=x\n*)\nconv[1] H=a name='k'\n")
    assert main(["place", str(graph)]) == 1
    assert "kgraph:4" in capsys.readouterr().err


def test_a_graph_that_does_not_fit_is_infeasible(graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph.write_text(resnet(256, blocks=(1, 1), width=8, height=8))
    assert main(["place", str(graph), "-o", str(graph.with_suffix(".paint")), "--time-limit", "5"]) == 3
    assert "8 x 8" in capsys.readouterr().err
    assert not graph.with_suffix(".paint").exists()
