"""`wsec bench` on the command line."""

from __future__ import annotations

import json

import pytest

from frontends.cli.main import main
from runtime.bench import validate

SMALL = (
    "reduce --algorithm chain --cores 8 --words 16",
    "reduce --algorithm tree --cores 8 --words 16",
    "reduce --algorithm two-phase --cores 8 --words 16 --group 4",
    "reduce --algorithm star --cores 8 --words 16",
    "broadcast --cores 8 --words 16",
    "reduce2d --rows 3 --cols 4 --words 16",
    "broadcast2d --rows 3 --cols 4 --words 16",
    "vector --op fmac --dtype mixed --n 64 --same-bank",
    "vector --op mov --dtype f16 --n 64 --stride 8",
    "matvec --rows 2 --cols 2 --k 16 --n 16 --dtype f16 --tokens 2",
    "gemm --rows 2 --cols 3 --m 4 --k 8 --n 12",
)


@pytest.mark.parametrize("line", SMALL)
def test_every_microbenchmark(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *line.split(), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["cycles"] > 0
    assert sum(result["core_cycles"].values()) >= result["cycles"]
    assert main(["bench", *line.split()]) == 0
    assert f"{result['cycles']:,} cycles" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("reduce --cores 1", 1),
        ("reduce --words 1000000000", 1),
        ("reduce --algorithm two-phase --cores 8 --group 9", 1),
        ("reduce2d --rows 2000", 1),
        ("vector --op mov --dtype mixed", 2),
        ("vector --n 100000000", 1),
        ("vector --target nowhere", 1),
        ("matvec --rows 3", 1),
        ("gemm --m 100000", 1),
    ],
)
def test_bad_sizes_are_explained(line: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *line.split()]) == code
    assert "error[" in capsys.readouterr().err


def test_validate_prints_its_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(validate, "SWEEPS", validate.SWEEPS[5:6])
    assert main(["bench", "validate", "--json", "-q"]) == 0
    result = json.loads(capsys.readouterr().out)
    failed = [figure["what"] for figure in result["figures"] if not figure["passed"]]
    assert [name.split(":")[0] for name in failed] == ["formula star, up to 16 words"]
    assert len(result["figures"]) == result["passed"] + result["failed"] > 30
    assert result["not_modelled"]
    assert main(["bench", "validate", "-q"]) == 0
    text = capsys.readouterr().out
    assert "pass mark" in text and "what is not modelled" in text and "FAIL" in text
