"""Passes, pipelines written as text, and the manager that runs them.

    @register
    @dataclass(frozen=True)
    class Place(Pass):
        name = "place"
        summary = "give every kernel a rectangle"
        max_cores: int | None = None          # an option: `place{max-cores=4096}`

        def run(self, module: Op, ctx: PassContext) -> None: ...

A pipeline is passes separated by commas, with their options in braces: `fuse,place{max-cores=4096 solver="CP SAT"}`.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from compiler.deadline import NEVER, Deadline
from compiler.ir.core import Op
from compiler.ir.options import QUOTED, kind_words, option_kinds, option_name, option_text, read_option
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
    """What passes share besides the module. `report` collects what people want to know of the compilation (JSON).

    `deadline` is for the searches: sizing, placing and routing.
    """

    resources: ResourceStore = field(default_factory=ResourceStore)
    target: Target | None = None
    progress: Progress = no_progress
    deadline: Deadline = NEVER
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
    option_kinds(cls)
    PASSES[cls.name] = cls
    return cls


def describe(cls: type[Pass]) -> str:
    """One pass in one line, for `--help`: `place{max-cores=none}: give every kernel a rectangle`."""
    options = [
        f"{option_name(f.name)}={'...' if f.default is dataclasses.MISSING else option_text(f.default)}"
        for f in dataclasses.fields(cls)
    ]
    braces = f"{{{' '.join(options)}}}" if options else ""
    return f"{cls.name}{braces}: {cls.summary}"


# ---- Pipelines as text --------------------------------------------------------------------------------------------

_PASS = re.compile(rf"\s*([A-Za-z][\w-]*)\s*(?:\{{((?:{QUOTED}|[^\"{{}}])*)\}})?\s*(,|\Z)")
_OPTION = re.compile(rf"\s*([A-Za-z][\w-]*)=((?:{QUOTED}|[^\s\"])*)(?:\s+|\Z)")


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
    options = " ".join(f"{option_name(key)}={option_text(value)}" for key, value in given.items())
    return f"{step.name}{{{options}}}" if options else step.name


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
        raise _usage(f"pass {name}: needs {', '.join(map(option_name, missing))}")
    try:
        return cls(**values)
    except ValueError as error:
        raise _usage(f"pass {name}: {error}") from None


def _option(cls: type[Pass], name: str, text: str) -> tuple[str, Any]:
    key, kinds = name.replace("-", "_"), option_kinds(cls)
    if key not in kinds:
        known = ", ".join(map(option_name, kinds)) or "none"
        raise _usage(f"pass {cls.name}: there is no option {name!r}{_near(key, kinds)}", f"its options are: {known}")
    try:
        return key, read_option(kinds[key], text)
    except ValueError:
        raise _usage(f"pass {cls.name}: option {name} must be {kind_words(kinds[key])}, not {text!r}") from None


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {option_name(near[0])!r}?" if near else ""


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


def dump_to(directory: Path, *, locations: bool = True) -> Hook:
    """A hook that writes `NN-pass.wir` into `directory` after every pass, numbered from 01."""

    def dump(index: int, step: Pass, module: Op, _seconds: float) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        text = print_module(module, locations=locations)
        (directory / f"{index + 1:02d}-{step.name}.wir").write_text(text, encoding="utf-8")

    return dump
