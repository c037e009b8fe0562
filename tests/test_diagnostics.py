"""The files of `tests/diagnostics` say which errors they cause; every dialect has one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import compiler.pipelines  # noqa: F401 - declares all ops
from compiler.ir.defs import REGISTRY
from frontends.cli.expected import Diagnostic, disagreements, expected, parts

FILES = sorted((Path(__file__).parent / "diagnostics").glob("*.wir"))
FLAGS = ("--split-input-file", "--verify-diagnostics")
MODULE = "builtin.module {\n}\n"


def test_every_dialect_has_a_file() -> None:
    assert {path.stem for path in FILES} >= {name.partition(".")[0] for name in REGISTRY}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_errors_are_as_expected(wsec: Any, path: Path) -> None:
    result = wsec("opt", path, *FLAGS)
    assert result.code == 0, result.err
    count = path.read_text().count("expected-error")
    assert count > 0
    assert f"{count} error" in result.out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (MODULE + "// expected-error {{nothing}}\n", ["line 3: expected an error with 'nothing'"]),
        ("builtin.module {\n  core.nope\n}\n", ["line 2: not expected: bad-ir-text: unknown op core.nope"]),
        (
            "// expected-error {{unknown op}}\n" + "builtin.module {\n  core.nope\n}\n",
            ["line 1: expected an error with 'unknown op'", "line 3: not expected"],
        ),
        (
            f"{MODULE}// -----\nbuiltin.modul {{}} {{}}\n",
            ["line 4: not expected: bad-ir-text: unknown op builtin.modul"],
        ),
    ],
)
def test_disagreement_is_told_with_its_line(refused: Any, tmp_path: Path, text: str, words: list[str]) -> None:
    path = tmp_path / "m.wir"
    path.write_text(text)
    refused(5, [*words, "other-errors", str(path)], "opt", path, *FLAGS)


def test_errors_of_passes_have_no_line(wsec: Any, tmp_path: Path) -> None:
    path = tmp_path / "m.wir"
    path.write_text(f"// expected-error@unknown {{{{bad-option: precision 'fp8'}}}}\n{MODULE}")
    result = wsec("opt", path, "-p", "lower-to-flow{precision=fp8}", *FLAGS)
    assert result.code == 0, result.err
    assert wsec("opt", path, *FLAGS).code == 5


def test_expectations_are_read_from_comments() -> None:
    text = "a // expected-error {{x}} expected-error\n// expected-error@-1 {{y}} // expected-error@unknown {{z}}\n"
    assert expected(text) == [Diagnostic(1, "x"), Diagnostic(1, "y"), Diagnostic(0, "z")]


def test_each_expectation_takes_one_error() -> None:
    twice = [Diagnostic(1, "same"), Diagnostic(1, "same")]
    assert not disagreements(twice, twice)
    assert len(disagreements(twice, twice[:1])) == 1
    assert len(disagreements(twice[:1], twice)) == 1


def test_parts_keep_their_line_numbers() -> None:
    first, second, third = parts("a\n// -----\nb\nc\n// ----- again\nd\n")
    assert (first, second.split("\n")[2], third.split("\n")[5]) == ("a\n", "b", "d")


def test_a_part_is_printed_for_each(wsec: Any, tmp_path: Path) -> None:
    path = tmp_path / "m.wir"
    path.write_text(f"{MODULE}// -----\n{MODULE}")
    assert wsec("opt", path, "--split-input-file").out == "builtin.module {\n}\n// -----\nbuiltin.module {\n}\n"
