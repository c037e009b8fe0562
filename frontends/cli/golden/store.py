"""Checking models against their baselines, and accepting new ones: what command line and pytest plugin share."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compiler.ir.passes import Progress, no_progress
from frontends.cli.arguments import require_folder
from frontends.cli.golden.baseline import Baseline, Run, reason_text
from frontends.cli.golden.compare import Comparison, compare, updated
from frontends.cli.golden.measure import Measured, measure
from frontends.cli.golden.options import DEFAULTS, inside, is_file, shown
from frontends.cli.golden.reading import read_baseline
from frontends.cli.golden.writing import ordered, write_baseline
from frontends.cli.version import VERSION
from runtime.errors import InputError, NumericsError, UsageError

SUFFIX = ".golden.toml"


@dataclass(frozen=True)
class Result:
    """A model beside its baseline. `written`: whether the file was changed."""

    model: Path
    path: Path
    baseline: Baseline
    measured: Measured
    comparison: Comparison
    written: bool = False


def baseline_path(model: Path, folder: Path | None = None) -> Path:
    """Where a model's baseline lies unless told otherwise: beside it, or in `folder`."""
    return (folder or model.parent) / f"{model.stem}{SUFFIX}"


def check(
    model: Path,
    path: Path,
    *,
    options: Mapping[str, Any] | None = None,
    run: Mapping[str, Any] | None = None,
    threads: int = 2,
    progress: Progress = no_progress,
) -> Result:
    """Measure a model as its baseline says. `options` and `run`: what it must say of them, where given.

    Raises InputError for a bad baseline and one with other settings, and what `measure` raises.
    """
    baseline = read_baseline(path)
    _require_same(baseline, path, options or {}, run or {})
    measured = measure(model, baseline.options, baseline.run, folder=path.parent, threads=threads, progress=progress)
    return Result(model, path, baseline, measured, compare(baseline, measured))


def _require_same(baseline: Baseline, path: Path, options: Mapping[str, Any], run: Mapping[str, Any]) -> None:
    wanted_options, wanted_run = settings(baseline, options, run, path.parent)
    old = {**DEFAULTS, **baseline.options, **dataclasses.asdict(baseline.run)}
    new = {**DEFAULTS, **wanted_options, **dataclasses.asdict(wanted_run)}
    differ = [f"{name} = {old[name]}, not {new[name]}" for name in old if old[name] != new[name]]
    if differ:
        raise InputError(
            f"it was made with {'; '.join(differ)}",
            code="other-settings",
            where=str(path),
            hint="update it, or give every combination of settings a baseline of its own",
        )


def update(
    model: Path,
    path: Path,
    reason: str,
    *,
    options: Mapping[str, Any],
    run: Mapping[str, Any],
    threads: int = 2,
    progress: Progress = no_progress,
) -> Result:
    """Accept what the model comes to now. `options` and `run` hold what is to change; the rest stays as recorded.

    The file is written only if something changed. Raises InputError without a reason, without a folder for the file,
    for a malformed baseline and for files that do not lie with it; NumericsError if numbers are outside the tolerance.
    """
    reason = reason_text(reason)
    require_folder(path)
    old = read_baseline(path) if path.exists() else None
    wanted = settings(old, options, run, path.parent)
    measured = measure(model, *wanted, folder=path.parent, threads=threads, progress=progress)
    require_numbers(model, measured)
    new = updated(old, measured, reason, VERSION)
    if old is not None and dataclasses.replace(new, history=old.history) == old:
        return Result(model, path, old, measured, compare(old, measured))
    write_baseline(path, new)
    return Result(model, path, new, measured, compare(old or new, measured), written=True)


def split(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings by name as those of the run and those of the compiler."""
    names = {field.name for field in dataclasses.fields(Run)}
    return (
        {name: value for name, value in given.items() if name in names},
        {name: value for name, value in given.items() if name not in names},
    )


def settings(
    old: Baseline | None, options: Mapping[str, Any], run: Mapping[str, Any], folder: Path
) -> tuple[dict[str, Any], Run]:
    """The recorded settings with the given ones over them; files by their path from the baseline's folder."""
    for name in options:
        if name not in DEFAULTS:
            raise UsageError(
                f"a baseline has no option {name}", code="bad-option", hint=f"there are: {', '.join(DEFAULTS)}"
            )
    given = {
        name: inside(name, Path(value), folder) if is_file(name, value) else value for name, value in options.items()
    }
    recorded = old.options if old else {}
    return shown({**recorded, **given}), dataclasses.replace(old.run if old else Run(), **run)


def require_numbers(model: Path, measured: Measured) -> None:
    """Raises NumericsError if an error is outside the tolerance of the check: no reason makes wrong numbers right."""
    for metric in ordered(measured.outside):
        raise NumericsError(
            f"{metric} is {measured.values[metric]:.2e}, allowed {measured.limits[metric]:.0e}; nothing is written",
            code="outside-tolerance",
            where=str(model),
            hint="`wsec check --layers` shows where the error enters; a baseline is for numbers that are right",
        )
