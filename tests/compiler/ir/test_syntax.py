"""The reference page is what the declarations say, and editors colour every word of IR text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import strategies
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import compiler.pipelines  # noqa: F401 - declares all ops
from compiler.ir.defs import REGISTRY
from compiler.ir.parser import parse_module
from compiler.ir.printer import print_module
from compiler.ir.syntax import syntax_page

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "compiler" / "dialects" / "SYNTAX.md"
EDITOR = ROOT / "examples" / "editor"
GRAMMAR = json.loads((EDITOR / "wir.tmLanguage.json").read_text())


def test_the_page_says_what_the_declarations_say(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--update-golden"):
        PAGE.write_text(syntax_page(), encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == syntax_page(), "ops changed: run pytest --update-golden on this file"


def test_every_op_and_attribute_is_on_the_page() -> None:
    sections = dict(part.split("`", 1) for part in syntax_page().split("\n### `")[1:])
    assert sections.keys() == REGISTRY.keys()
    for name, text in sections.items():
        assert REGISTRY[name].summary in text
        for key, attribute in REGISTRY[name].attrs.items():
            row = next((line for line in text.splitlines() if line.startswith(f"| `{key}` |")), "")
            assert key == "sym_name" or row
            assert ("must be there" in row) == (
                key != "sym_name" and not attribute.optional and attribute.default is None
            )
            assert all(f"`{choice}`" in text for choice in attribute.choices)


def test_the_example_on_the_page_is_ir() -> None:
    example = syntax_page().split("```\n")[1]
    assert print_module(parse_module(example)) == example


# ---- The grammar for editors ----------------------------------------------------------------------------------------

Scoped = tuple[str, str]  # a piece of text and the innermost name an editor gives it


def rules(patterns: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Patterns with what they include."""
    for pattern in patterns:
        if "include" in pattern:
            yield from rules([GRAMMAR["repository"][pattern["include"].removeprefix("#")]])
        elif "match" in pattern or "begin" in pattern:
            yield pattern
        else:
            yield from rules(pattern["patterns"])


def coloured(text: str) -> Iterator[Scoped]:
    """What an editor makes of `text`, line by line: of all patterns the one that matches first counts."""
    stack: list[dict[str, Any]] = [GRAMMAR]
    for line in text.splitlines():
        position = 0
        while position < len(line):
            open_rule = stack[-1]
            choices = [(rule, rule.get("match") or rule["begin"]) for rule in rules(open_rule["patterns"])]
            if "end" in open_rule:
                choices.insert(0, ({"name": open_rule["endCaptures"]["0"]["name"], "close": True}, open_rule["end"]))
            found = [
                (match, rule) for rule, pattern in choices if (match := re.compile(pattern).search(line, position))
            ]
            if not found:
                yield line[position:], ""
                break
            match, rule = min(found, key=lambda entry: entry[0].start())
            if match.start() > position:
                yield line[position : match.start()], ""
            yield from named(match, rule)
            if "begin" in rule:
                stack.append(rule)
            elif rule.get("close"):
                stack.pop()
            position = match.end()
    assert stack == [GRAMMAR], "something stayed open"


def named(match: re.Match[str], rule: dict[str, Any]) -> Iterator[Scoped]:
    if "captures" in rule:
        yield from ((match[int(group)], name["name"]) for group, name in rule["captures"].items())
    else:
        yield match[0], rule.get("name") or rule["beginCaptures"]["0"]["name"]


def assert_coloured(text: str) -> None:
    left = {piece for piece, name in coloured(text) if not name and piece.strip()}
    assert not left, f"no colour for {left}"


@pytest.mark.parametrize(
    "path",
    [*sorted(ROOT.glob("tests/golden/*.wir")), *sorted(ROOT.glob("tests/diagnostics/*.wir"))],
    ids=lambda p: p.stem,
)
def test_files_are_coloured_whole(path: Path) -> None:
    assert_coloured(path.read_text())


def test_words_have_the_names_themes_know() -> None:
    text = (
        'builtin.module @a {\n  %x.1 = flow.map @k (%0) {fn = "f = 1", "a b" = -1.5e-05, n = [true, inf]}'
        ' : stream<8 x f32, block 4> loc("n1",\n "n2") // x\n}\nresources {\n}\n%1: tensor<batch x "s + 1" x 4 x f16>'
    )
    names = {piece.strip(): name.removesuffix(".wir") for piece, name in coloured(text) if piece.strip()}
    assert (
        names
        | {
            "builtin": "entity.name.namespace",
            "module": "keyword.control",
            "@a": "entity.name.function",
            "%x.1": "variable.other",
            "fn": "entity.other.attribute-name",
            '"f = 1"': "string.quoted.double",
            '"a b"': "entity.other.attribute-name",
            "-1.5e-05": "constant.numeric",
            "true": "constant.language",
            "inf": "constant.numeric",
            "stream<": "storage.type",
            "f32": "storage.type.element",
            "block": "keyword.operator",
            "loc(": "keyword.other.location",
            '"n2"': "comment.block.location",
            "// x": "comment.line.double-slash",
            "resources": "keyword.other.resources",
            "batch": "variable.parameter",
            '"s + 1"': "string.quoted.double",
        }
        == names
    )


@pytest.fixture(scope="module")
def declarations_only() -> Iterator[None]:
    with strategies.without_hooks():
        yield


@pytest.mark.usefixtures("declarations_only")
def test_whatever_is_printed_is_coloured() -> None:
    @settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(sorted(REGISTRY)).flatmap(lambda name: strategies.modules(REGISTRY[name])))
    def check(module: Any) -> None:
        assert_coloured(print_module(module))

    check()


def test_the_extension_points_at_its_files() -> None:
    package = json.loads((EDITOR / "package.json").read_text())
    (language,), (grammar,) = package["contributes"]["languages"], package["contributes"]["grammars"]
    assert grammar["scopeName"] == GRAMMAR["scopeName"] and language["extensions"] == [".wir"]
    for name in (language["configuration"], grammar["path"]):
        json.loads((EDITOR / name).read_text())
