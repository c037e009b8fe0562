"""Text that is not IR is refused with file, line, column and what was expected instead."""

from __future__ import annotations

from pathlib import Path

import pytest

import compiler.dialects.core
import compiler.dialects.graph  # noqa: F401  the ops must be declared
from compiler.ir.parser import MAX_NESTING, parse_file, parse_module
from runtime.errors import InputError

INPUT = '%0 = graph.input {name = "x"} : tensor<f32>'


def refusal(text: str) -> InputError:
    with pytest.raises(InputError) as caught:
        parse_module(text, filename="m.wir")
    return caught.value


@pytest.mark.parametrize(
    ("body", "line", "column", "message"),
    [
        ("graph.output(%0 {", 3, 17, "found '{', expected ')' or ','"),
        ("%1 = graph.cast(%0) : tensor<4, f32>", 3, 23, "found 'tensor', expected a type"),
        ("%1 = graph.cast(%0) : tensor<4 x f33>", 3, 23, "unknown element type 'f33'"),
        ("graph.output(%0) {name == 1}", 3, 25, "found '=', expected an attribute's value"),
        ("graph.output(%0) {name = [1,]}", 3, 29, "found ']', expected an attribute's value"),
        ("graph.output(%0) {name = ;}", 3, 26, "found ';', expected an attribute's value"),
        ('graph.output(%0) {name = "\\q"}', 3, 26, "escape that JSON does not have"),
        ('graph.output(%0) {name = "y"} loc("\\q")', 3, 31, "escape that JSON does not have"),
        ('graph.output(%0) {name = "y}', 3, 26, "found '\"'"),
        ('graph.output(%0) {name = "y", name = "y"}', 3, 31, "'name' is given twice"),
        (f"%1 = graph.cast(%0) : tensor<{'9' * 5000} x f32>", 3, 23, "5000 digits is too long"),
        ('graph.output(%1) {name = "y"}', 3, 14, "%1 is not defined here"),
        (INPUT, 3, 1, "%0 is already defined"),
        ("%1 = graph.cats(%0) : tensor<f32>", 3, 6, "unknown op graph.cats; graph has: graph.attention, "),
        ("%1 = grahp.cast(%0) : tensor<f32>", 3, 6, "unknown op grahp.cast; the dialects are: builtin, core, "),
        ("%1, %2 = graph.cast(%0) : tensor<f32>", 3, 10, "defines 2 values but has 1 result types"),
        ("%1 = graph.cast(%0, %0) : tensor<f32>", 3, 6, "takes operands (x), got 2"),
        ("graph.cast(%0)", 3, 1, "takes results (y), got 0"),
        ("%1 = graph.cast(%0) : tensor<f32> {}", 3, 6, "has 1 regions, declared with 0"),
        ("graph.output(%0)", 3, 1, "attribute 'name' is missing"),
        ('graph.output(%0) {nmae = "y"}', 3, 1, "has no attribute 'nmae'; it has: name"),
        ("graph.output(%0) {name = 1}", 3, 1, "attribute 'name' cannot be 1"),
        ('%1 = graph.unary(%0) {fn = "sinh"} : tensor<f32>', 3, 6, "fn is 'sinh', not of abs, neg"),
    ],
)
def test_where_and_what(body: str, line: int, column: int, message: str) -> None:
    error = refusal(f"builtin.module {{\n{INPUT}\n{body}\n}}\n")
    assert error.code == "bad-ir-text"
    assert error.where == f"m.wir:{line}:{column}"
    assert message in error.message


def test_the_caret_stands_under_the_column() -> None:
    *_, source, caret = str(refusal("builtin.module {\n    graph.output(%9)\n}")).splitlines()
    assert source == "      graph.output(%9)"
    assert caret.index("^") == source.index("%9")


def test_long_lines_are_cut_around_the_column() -> None:
    padding = " " * 5000
    text = f"builtin.module {{ {padding} graph.output(%9) {padding} }}"
    *_, source, caret = str(refusal(text)).splitlines()
    assert len(source) < 150
    assert caret.index("^") == source.index("%9")


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert "\x1b" not in str(refusal("builtin.module {\n\x1b[31m\n}"))


def test_a_value_is_not_visible_outside_its_region() -> None:
    task = 'core.task {name = "t"} { %1 = core.const {value = 1.0} : dsd }'
    assert "%1 is not defined here" in refusal(f"builtin.module {{ {task} core.mov(%1, %1) }}").message
    parse_module(f"builtin.module {{ {task} {task} }}")  # and its name is free again


@pytest.mark.parametrize("text", ["", "builtin.module {", "builtin.module {phase"])
def test_the_end_of_the_text(text: str) -> None:
    assert "found the end of the text" in refusal(text).message


def test_text_after_the_module() -> None:
    assert "found 'x', expected 'resources' or '{' or the end of the text" in refusal("builtin.module {} x").message


def test_the_outermost_op_is_a_module() -> None:
    assert "outermost op is graph.input" in refusal('%0 = graph.input {name = "x"} : tensor<f32>').message


@pytest.mark.parametrize("opening", ["[", "{a = ", "[{a = "])
def test_deeply_nested_attributes_are_refused(opening: str) -> None:
    assert f"nested more than {MAX_NESTING} deep" in refusal("builtin.module {report = " + opening * 100_000).message


def test_deeply_nested_regions_are_refused() -> None:
    assert f"nested more than {MAX_NESTING} deep" in refusal("builtin.module {" * 100_000).message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read: No such file"):
        parse_file(tmp_path / "absent.wir")


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "m.wir").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not a text file"):
        parse_file(tmp_path / "m.wir")


def test_a_file_names_itself_in_errors(tmp_path: Path) -> None:
    (tmp_path / "m.wir").write_text("builtin.module (")
    with pytest.raises(InputError) as caught:
        parse_file(tmp_path / "m.wir")
    assert caught.value.where == f"{tmp_path / 'm.wir'}:1:17"
