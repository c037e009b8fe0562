"""Small GPTs and their images, made once per session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from small import SMALL, TINY

import wsec
from runtime.image import Image

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
    wsec.export("cerebras-gpt-111m", path, seed=3, **TINY)
    return path


@pytest.fixture(scope="session")
def legacy_gpt(models: Path) -> Path:
    """The same model from torch's legacy exporter."""
    path = models / "legacy.onnx"
    wsec.export("cerebras-gpt-111m", path, seed=3, exporter="legacy", **TINY)
    return path


@pytest.fixture(scope="session")
def gpt_image(gpt: Path) -> Image:
    """The GPT compiled in fp32, for two sequences at once."""
    return wsec.compile(gpt, slots=2, **SMALL)


@pytest.fixture(scope="session")
def gpt_wse(gpt_image: Image, models: Path) -> Path:
    """The same image as a file."""
    from runtime.imagefile import write_image

    path = models / "gpt.wse"
    write_image(gpt_image, path)
    return path
