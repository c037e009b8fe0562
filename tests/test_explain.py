"""Every error code has its page in `wsec explain`, and no page is about a code that does not exist."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from frontends.cli.explain import catalogue

ROOT = Path(__file__).parent.parent
SOURCES = [*(path for name in ("runtime", "compiler", "frontends") for path in sorted((ROOT / name).rglob("*.py")))]
CODE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def constants(node: ast.expr | None) -> Iterator[str]:
    """The strings an expression may be."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from constants(node.body)
        yield from constants(node.orelse)


def takes_code(tree: ast.AST) -> dict[str, int]:
    """Functions with a parameter `code: str`, and its place among the arguments of a call."""
    found = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef):
            continue
        names = [a.arg for a in node.args.args if a.arg != "self"]
        for arg in node.args.args:
            if arg.arg == "code" and isinstance(arg.annotation, ast.Name) and arg.annotation.id == "str":
                found[node.name] = names.index("code")
    return found


def codes_in(path: Path) -> Iterator[str]:
    """Codes a file gives to errors: `code=`, arguments for a parameter `code`, its default, and tables of faults."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = takes_code(tree)
    if "validate" in path.parts:
        functions["add"] = 0  # of runtime.validate.report.Report
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            yield from (c for k in node.keywords if k.arg == "code" for c in constants(k.value))
            if name in functions and len(node.args) > functions[name]:
                yield from constants(node.args[functions[name]])
        elif isinstance(node, ast.FunctionDef) and node.name in functions:
            defaults = zip(reversed(node.args.args), reversed(node.args.defaults), strict=False)
            yield from (c for arg, default in defaults if arg.arg == "code" for c in constants(default))
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            if node.targets[0].id == "_CODE":
                yield from constants(node.value)
            elif node.targets[0].id == "FAULTS" and isinstance(node.value, ast.Tuple):
                yield from (c for row in node.value.elts if isinstance(row, ast.Tuple) for c in constants(row.elts[0]))


@pytest.fixture(scope="module")
def raised() -> dict[str, str]:
    """Every code in the source, and a file that has it."""
    found = {code: str(path.relative_to(ROOT)) for path in SOURCES for code in codes_in(path) if code}
    assert len(found) > 100
    return found


def test_every_code_is_explained(raised: dict[str, str]) -> None:
    missing = {code: where for code, where in raised.items() if code not in catalogue()}
    assert not missing, "write what they mean into frontends/cli/codes.toml"


def test_every_explanation_is_about_a_code(raised: dict[str, str]) -> None:
    assert not catalogue().keys() - raised.keys()


def test_explanations_are_sentences() -> None:
    for code, entry in catalogue().items():
        assert CODE.fullmatch(code)
        assert entry.cause.endswith(".")
        assert entry.remedy


def test_explain_tells_cause_and_remedy(wsec: Any) -> None:
    told = wsec("explain", "too-long")
    assert told.code == 0
    assert "more tokens than the image has positions" in told.out and "--max-seq" in told.out
    assert json.loads(wsec("explain", "too-long", "--json").out)["code"] == "too-long"


def test_a_code_may_be_copied_with_its_brackets(wsec: Any) -> None:
    assert wsec("explain", "error[too-long]:").out == wsec("explain", "too-long").out


def test_without_a_code_all_are_listed(wsec: Any) -> None:
    listed = wsec("explain").out
    assert all(code in listed for code in catalogue())
    assert {row["code"] for row in json.loads(wsec("explain", "--json").out)["codes"]} == catalogue().keys()


def test_an_unknown_code_suggests_others(refused: Any) -> None:
    refused(2, ["unknown-code", "did you mean too-long"], "explain", "too-lonk")


def test_an_error_says_how_to_learn_more(wsec: Any, tmp_path: Path) -> None:
    code = re.findall(r"error\[(.+?)\]", wsec("lint", tmp_path / "none.onnx").err)
    assert code == ["no-such-file"]
    assert wsec("explain", code[0]).code == 0
