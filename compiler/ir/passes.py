"""Passes, pipelines written as text, and the manager that runs them.

    @register
    @dataclass(frozen=True)
    class Place(Pass):
        name = "place"
        summary = "give every kernel a rectangle"
        max_cores: int | None = None          # an option: `place{max-cores=4096}`

        def run(self, module: Op, ctx: PassContext) -> None: ...

A pipeline is `fuse,place{max-cores=4096 windows=3,5 solver="CP SAT"}`: passes separated by commas, options by spaces.
An option's kind is its annotation: bool, int, float, str, a tuple of one of these (items separated by commas), or
`kind | None`. A string needs quotes (JSON's) only if it holds other characters than letters, digits and `_ . / : + -`.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import time
import types
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from compiler.ir.core import Op
from compiler.ir.printer import print_module
from compiler.ir.verifier import verify
from compiler.resources import ResourceStore
from runtime.errors import InputError, UsageError, WsecError
from runtime.target import Target

# Told how far a long step is: what it does, steps done, steps in all.
Progress = Callable[[str, int, int], None]


def no_progress(what: str, done: int, total: int) -> None:
    """Tells nobody."""


@dataclass
class PassContext:
    """What passes share besides the module. `report` collects what people want to know of the compilation (JSON)."""

    resources: ResourceStore = field(default_factory=ResourceStore)
    target: Target | None = None
    progress: Progress = no_progress
    report: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Pass(ABC):
    """One step of a pipeline. Its fields are its options; `name` is what a pipeline calls it, in kebab-case."""

    name: ClassVar[str]
    summary: ClassVar[str]

    @abstractmethod
    def run(self, module: Op, ctx: PassContext) -> None:
        """Change `module` in place. Raises a WsecError for what the user can do something about."""


PASSES: dict[str, type[Pass]] = {}
P = TypeVar("P", bound=type[Pass])


def register(cls: P) -> P:
    """Enter a pass class in the registry. Raises TypeError if its name is taken or an option's kind is unknown."""
    if cls.name in PASSES:
        raise TypeError(f"two passes are called {cls.name}")
    for key, kind in _options(cls).items():
        if not _READERS.keys() >= set(_scalars(kind)):
            raise TypeError(f"pass {cls.name}: option {key} is a {kind}, which cannot be written in a pipeline")
    PASSES[cls.name] = cls
    return cls


def describe(cls: type[Pass]) -> str:
    """One pass in one line, for `--help`: `place{max-cores=none}: give every kernel a rectangle`."""
    options = [
        f"{_dashed(f.name)}={'...' if f.default is dataclasses.MISSING else _value_text(f.default)}"
        for f in dataclasses.fields(cls)
    ]
    braces = f"{{{' '.join(options)}}}" if options else ""
    return f"{cls.name}{braces}: {cls.summary}"


# ---- Pipelines as text --------------------------------------------------------------------------------------------

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_PASS = re.compile(rf"\s*([A-Za-z][\w-]*)\s*(?:\{{((?:{_QUOTED}|[^\"{{}}])*)\}})?\s*(,|\Z)")
_OPTION = re.compile(rf"\s*([A-Za-z][\w-]*)=((?:{_QUOTED}|[^\s\"])*)(?:\s+|\Z)")
_ITEM = re.compile(rf"({_QUOTED}|[^,\"]*)(,|\Z)")
_BARE = re.compile(r"[\w./:+-]+", re.ASCII)
_NONE = "none"
_BOOLS = {"true": True, "false": False}


def parse_pipeline(text: str, table: Mapping[str, type[Pass]] = PASSES) -> list[Pass]:
    """The passes `text` names, with their options. Raises UsageError that lists what there is instead."""
    passes: list[Pass] = []
    position = 0
    expects_more = bool(text.strip())
    while expects_more:
        match = _PASS.match(text, position)
        if match is None:
            raise _usage(
                f"cannot read the pipeline {text!r} from {text[position:]!r} on", "write: pass,pass{option=value}"
            )
        name, options, separator = match.groups()
        passes.append(_build(name, options or "", table))
        position = match.end()
        expects_more = separator == ","
    return passes


def pipeline_text(passes: Iterable[Pass]) -> str:
    """The text that `parse_pipeline` reads as `passes`. Options that have their default are left out."""
    return ",".join(map(_pass_text, passes))


def _pass_text(step: Pass) -> str:
    given = {f.name: getattr(step, f.name) for f in dataclasses.fields(step) if getattr(step, f.name) != f.default}
    options = " ".join(f"{_dashed(key)}={_value_text(value)}" for key, value in given.items())
    return f"{step.name}{{{options}}}" if options else step.name


def _value_text(value: Any) -> str:
    if value is None:
        return _NONE
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ",".join(map(_value_text, value))
    if isinstance(value, str):
        return value if _BARE.fullmatch(value) and value != _NONE else json.dumps(value)
    return repr(value)


def _build(name: str, options: str, table: Mapping[str, type[Pass]]) -> Pass:
    cls = table.get(name)
    if cls is None:
        raise _usage(f"there is no pass {name!r}{_near(name, table)}", f"the passes are: {', '.join(sorted(table))}")
    values: dict[str, Any] = {}
    position = 0
    while position < len(options.rstrip()):
        match = _OPTION.match(options, position)
        if match is None:
            raise _usage(f"pass {name}: cannot read the options {options!r}", "write: {option=value option=value}")
        key, value = _option(cls, match[1], match[2])
        if key in values:
            raise _usage(f"pass {name}: option {match[1]} is given twice")
        values[key] = value
        position = match.end()
    missing = [f.name for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING and f.name not in values]
    if missing:
        raise _usage(f"pass {name}: needs {', '.join(map(_dashed, missing))}")
    try:
        return cls(**values)
    except ValueError as error:
        raise _usage(f"pass {name}: {error}") from None


def _option(cls: type[Pass], name: str, text: str) -> tuple[str, Any]:
    key, kinds = name.replace("-", "_"), _options(cls)
    if key not in kinds:
        known = ", ".join(map(_dashed, kinds)) or "none"
        raise _usage(f"pass {cls.name}: there is no option {name!r}{_near(key, kinds)}", f"its options are: {known}")
    try:
        return key, _read(kinds[key], text)
    except ValueError:
        raise _usage(f"pass {cls.name}: option {name} must be {_kind_words(kinds[key])}, not {text!r}") from None


def _options(cls: type[Pass]) -> dict[str, Any]:
    """Option name -> its kind: the fields of the pass with their annotations evaluated."""
    hints = typing.get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls)}


def _read_bool(text: str) -> bool:
    if text not in _BOOLS:
        raise ValueError(text)
    return _BOOLS[text]


def _read_str(text: str) -> str:
    return str(json.loads(text)) if text.startswith('"') else text


_READERS: dict[Any, Callable[[str], Any]] = {bool: _read_bool, int: int, float: float, str: _read_str}


def _read(kind: Any, text: str) -> Any:
    """The value `text` spells. Raises ValueError."""
    if text == _NONE and _is_optional(kind):
        return None
    kind = _required(kind)
    if typing.get_origin(kind) is not tuple:
        return _READERS[kind](text)
    items = list(_split(text)) if text else []
    each = typing.get_args(kind)
    each = each[:1] * len(items) if each[-1] is Ellipsis else each
    return tuple(_READERS[scalar](item) for scalar, item in zip(each, items, strict=True))


def _split(text: str) -> Iterator[str]:
    """The items of a list; a comma in a quoted string is not the end of an item."""
    for match in _ITEM.finditer(text):
        yield match[1]
        if not match[2]:
            return


def _is_optional(kind: Any) -> bool:
    return type(None) in typing.get_args(kind) and typing.get_origin(kind) in (typing.Union, types.UnionType)


def _required(kind: Any) -> Any:
    """`kind` without `| None`."""
    return next(arg for arg in typing.get_args(kind) if arg is not type(None)) if _is_optional(kind) else kind


def _scalars(kind: Any) -> list[Any]:
    """What the items are: `[int]` for `int`, for `int | None` and for `tuple[int, ...]`."""
    kind = _required(kind)
    return [arg for arg in typing.get_args(kind) if arg is not Ellipsis] if typing.get_origin(kind) is tuple else [kind]


_KIND_WORDS = {bool: "true or false", int: "an integer", float: "a number", str: "a string"}


def _kind_words(kind: Any) -> str:
    words = ",".join(_KIND_WORDS[scalar] for scalar in _scalars(kind))
    if Ellipsis in typing.get_args(_required(kind)):
        words = f"{words},.."
    return f"{words} or {_NONE}" if _is_optional(kind) else words


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {_dashed(near[0])!r}?" if near else ""


def _usage(message: str, hint: str = "") -> UsageError:
    return UsageError(message, code="bad-pipeline", hint=hint)


# ---- Running ------------------------------------------------------------------------------------------------------

# Called after every pass: its place in the pipeline (from 0), the pass, the module, the seconds it took.
Hook = Callable[[int, Pass, Op, float], None]


@dataclass(frozen=True)
class PassManager:
    """Runs passes in order, calls the hooks and verifies the module after each."""

    passes: Sequence[Pass]
    hooks: Sequence[Hook] = ()
    verify: bool = True

    def run(self, module: Op, ctx: PassContext) -> None:
        """Run the pipeline on `module`, in place.

        Raises InputError if `module` is not valid to begin with, what a pass raises if it is a WsecError, and a
        WsecError `pass-failed` or `invalid-ir` that names the pass if a pass crashes or leaves invalid IR.
        """
        if self.verify:
            verify(module, error=InputError)
        for index, step in enumerate(self.passes):
            began = time.perf_counter()
            self._run(index, module, ctx)
            seconds = time.perf_counter() - began
            for hook in self.hooks:  # before the verifier, so that a dump shows what the verifier refuses
                hook(index, step, module, seconds)
            if self.verify:
                verify(module, where=self._place(index))

    def _run(self, index: int, module: Op, ctx: PassContext) -> None:
        try:
            self.passes[index].run(module, ctx)
        except WsecError:
            raise
        except Exception as error:
            raise WsecError(
                f"{type(error).__name__}: {error}",
                code="pass-failed",
                where=self._place(index),
                hint="this is a fault of the compiler, not of the model",
            ) from error

    def _place(self, index: int) -> str:
        before = pipeline_text(self.passes[:index])
        return f"pass {pipeline_text([self.passes[index]])}{f' (after {before})' if before else ''}"


def dump_to(directory: Path) -> Hook:
    """A hook that writes `NN-pass.wir` into `directory` after every pass, numbered from 01."""

    def dump(index: int, step: Pass, module: Op, _seconds: float) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{index + 1:02d}-{step.name}.wir").write_text(print_module(module), encoding="utf-8")

    return dump
