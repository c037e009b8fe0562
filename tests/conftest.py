"""Small GPTs and their images, made once per session."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small import SMALL, TINY

import wsec as public
from frontends.cli.main import main
from runtime.image import Image

pytest_plugins = ["pytester", "frontends.cli.pytest_plugin"]

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew instead of comparing")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`golden(name, text)` asserts that `text` is what `tests/golden/NAME` holds."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8"), "if this is meant to be, run pytest --update-golden"

    return compare


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for exported models."""
    pytest.importorskip("transformers")
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def gpt(models: Path) -> Path:
    """A two-layer GPT-2 as torch's exporter writes it."""
    path = models / "gpt.onnx"
    public.export("cerebras-gpt-111m", path, seed=3, **TINY)
    return path


@pytest.fixture(scope="session")
def legacy_gpt(models: Path) -> Path:
    """The same model from torch's legacy exporter."""
    path = models / "legacy.onnx"
    public.export("cerebras-gpt-111m", path, seed=3, exporter="legacy", **TINY)
    return path


@pytest.fixture(scope="session")
def gpt_image(gpt: Path) -> Image:
    """The GPT compiled in fp32, for two sequences at once."""
    return public.compile(gpt, slots=2, **SMALL)


@pytest.fixture(scope="session")
def gpt_wse(gpt_image: Image, models: Path) -> Path:
    """The same image as a file."""
    from runtime.imagefile import write_image

    path = models / "gpt.wse"
    write_image(gpt_image, path)
    return path


@dataclasses.dataclass
class Result:
    code: int
    out: str
    err: str


@pytest.fixture
def wsec(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command line; a usage error of argparse counts as its exit code."""

    def run(*arguments: object) -> Result:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run


@pytest.fixture
def refused(wsec: Any, tmp_path: Path) -> Any:
    """Runs a command that must fail: with this exit code, one message with these words, and no file written."""

    def run(code: int, words: list[str], *arguments: object) -> str:
        before = sorted(tmp_path.rglob("*"))
        result = wsec(*arguments)
        assert result.code == code, result.err
        assert result.err.startswith("wsec: ")
        assert "Traceback" not in result.err
        assert result.err.count("error[") == 1
        for word in words:
            assert word in result.err
        assert sorted(tmp_path.rglob("*")) == before
        return str(result.err)

    return run
