"""Pipelines as text, and what the pass manager promises."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.dialects import graph
from compiler.ir.core import IRError, Op, TensorType, module
from compiler.ir.parser import parse_file
from compiler.ir.passes import (
    PASSES,
    Pass,
    PassContext,
    PassManager,
    describe,
    dump_to,
    parse_pipeline,
    pipeline_text,
    register,
)
from runtime.errors import InfeasibleError, InputError, UsageError, WsecError


@dataclass(frozen=True)
class Note(Pass):
    name = "note"
    summary = "write options into the module"
    max_cores: int | None = None
    ratio: float = 1.0
    label: str = "none"
    fast: bool = False
    windows: tuple[int, ...] = ()
    tags: tuple[str, ...] | None = None
    corner: tuple[int, int] = (0, 0)

    def run(self, module: Op, ctx: PassContext) -> None:
        ctx.report.setdefault("labels", []).append(self.label)


@dataclass(frozen=True)
class Break(Pass):
    name = "break"
    summary = "fail in the way asked for"
    how: str

    def __post_init__(self) -> None:
        if self.how == "never":
            raise ValueError("it must break somehow")

    def run(self, module: Op, ctx: PassContext) -> None:
        if self.how == "user":
            raise InfeasibleError("too large", code="does-not-fit")
        if self.how == "crash":
            raise IRError("cannot")
        module.body.append(Op("no.op"))


TABLE: dict[str, type[Pass]] = {"note": Note, "break": Break}


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("", []),
        ("note", [Note()]),
        (" note , note{} ", [Note(), Note()]),
        ("note{max-cores=4096 ratio=1e-3 fast=true}", [Note(max_cores=4096, ratio=1e-3, fast=True)]),
        ("note{max_cores=none label=none}", [Note(max_cores=None, label="none")]),
        ('note{label="a, {b}=\\"c\\"" windows=3,-5}', [Note(label='a, {b}="c"', windows=(3, -5))]),
        ('note{tags="a,b",c,"none" windows= corner=1,2}', [Note(tags=("a,b", "c", "none"), corner=(1, 2))]),
        ("break{how=crash},note", [Break("crash"), Note()]),
    ],
)
def test_parse(text: str, passes: list[Pass]) -> None:
    assert parse_pipeline(text, TABLE) == passes


optional_integers = st.none() | st.integers()
notes = st.builds(
    Note,
    max_cores=optional_integers,
    ratio=st.floats(allow_nan=False),
    label=st.text(),
    fast=st.booleans(),
    windows=st.lists(st.integers()).map(tuple),
    tags=st.none() | st.lists(st.text()).map(tuple),
    corner=st.tuples(st.integers(), st.integers()),
)


@given(st.lists(notes | st.builds(Break, st.text().filter(lambda how: how != "never")), max_size=3))
def test_text_and_passes_are_inverse(passes: list[Pass]) -> None:
    assert parse_pipeline(pipeline_text(passes), TABLE) == passes


def test_defaults_are_left_out_of_the_text() -> None:
    assert pipeline_text([Note(), Note(max_cores=3, ratio=math.inf, tags=("a b",))]) == (
        'note,note{max-cores=3 ratio=inf tags="a b"}'
    )


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("nota", "there is no pass 'nota'; did you mean 'note'?", "the passes are: break, note"),
        ("note{max-core=1}", "no option 'max-core'; did you mean 'max-cores'?", "its options are: max-cores, ratio, "),
        ("note{max-cores=many}", "option max-cores must be an integer or none, not 'many'", ""),
        ("note{fast=yes}", "option fast must be true or false, not 'yes'", ""),
        ("note{windows=1,b}", "option windows must be an integer,.., not '1,b'", ""),
        ("note{corner=1,2,3}", "option corner must be an integer,an integer, not '1,2,3'", ""),
        ('note{label="\\q"}', "option label must be a string", ""),
        ("note{fast=true fast=true}", "option fast is given twice", ""),
        ("note{fast}", "cannot read the options 'fast'", "{option=value"),
        ("note,", "cannot read the pipeline 'note,' from '' on", "pass,pass{option=value}"),
        ("note{fast=true", "cannot read the pipeline", ""),
        ("note note", "cannot read the pipeline", ""),
        ("break", "needs how", ""),
        ("break{how=never}", "pass break: it must break somehow", ""),
    ],
)
def test_mistakes(text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_pipeline(text, TABLE)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_describe() -> None:
    assert describe(Break) == "break{how=...}: fail in the way asked for"
    assert describe(Note).startswith(
        'note{max-cores=none ratio=1.0 label="none" fast=false windows= tags=none corner=0,0}'
    )


def test_register_refuses_what_could_not_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Odd(Pass):
        name = "odd"
        summary = "has an option of an odd kind"
        table: dict[str, int] | None = None

        def run(self, module: Op, ctx: PassContext) -> None: ...

    with pytest.raises(TypeError, match="option table of Odd is a dict"):
        register(Odd)
    monkeypatch.setitem(PASSES, "note", Note)
    with pytest.raises(TypeError, match="two passes are called note"):
        register(Note)


def small_module() -> Op:
    m = module()
    x = m.body.append(graph.input_def(types=[TensorType((), "f32")], name="x")).result
    m.body.append(graph.output_def(x, name="y"))
    return m


def test_hooks_see_every_pass_in_order() -> None:
    seen: list[tuple[int, str, bool]] = []
    ctx, m = PassContext(), small_module()
    passes = parse_pipeline("note{label=a},note{label=b}", TABLE)
    PassManager(passes, [lambda index, step, at, s: seen.append((index, step.name, at is m and s >= 0))]).run(m, ctx)
    assert seen == [(0, "note", True), (1, "note", True)]
    assert ctx.report == {"labels": ["a", "b"]}


def test_dump(tmp_path: Path) -> None:
    PassManager([Note(), Note()], [dump_to(tmp_path / "ir")]).run(small_module(), PassContext())
    assert sorted(path.name for path in (tmp_path / "ir").iterdir()) == ["01-note.wir", "02-note.wir"]
    assert [op.name for op in parse_file(tmp_path / "ir" / "02-note.wir").walk()][1:] == ["graph.input", "graph.output"]


def failure(pipeline: str, error: type[WsecError], m: Op | None = None) -> WsecError:
    with pytest.raises(error) as caught:
        PassManager(parse_pipeline(pipeline, TABLE)).run(m or small_module(), PassContext())
    return caught.value


def test_a_crash_names_the_pass_and_those_before() -> None:
    error = failure("note{fast=true},note,break{how=crash},note", WsecError)
    assert (error.code, error.message) == ("pass-failed", "IRError: cannot")
    assert error.where == "pass break{how=crash} (after note{fast=true},note)"
    assert isinstance(error.__cause__, IRError)


def test_what_the_user_can_mend_passes_unchanged() -> None:
    assert failure("note,break{how=user}", InfeasibleError).code == "does-not-fit"


def test_invalid_ir_names_the_pass_that_left_it(tmp_path: Path) -> None:
    error = failure("break{how=invalid},note", WsecError)
    assert (error.code, error.where) == ("invalid-ir", "pass break{how=invalid}")
    manager = PassManager([Break("invalid")], [dump_to(tmp_path)])
    with pytest.raises(WsecError):
        manager.run(small_module(), PassContext())
    assert "no.op" in (tmp_path / "01-break.wir").read_text()


def test_an_invalid_module_is_bad_input() -> None:
    m = small_module()
    m.body.append(Op("no.op"))
    assert failure("note", InputError, m).code == "invalid-ir"


def test_the_verifier_can_be_left_out() -> None:
    m = small_module()
    PassManager([Break("invalid")], verify=False).run(m, PassContext())
    assert m.body.ops[-1].name == "no.op"
