"""Reading baselines. Files may come from strangers: everything is checked, and no path leads out of a file's folder."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from frontends.cli.golden.baseline import (
    HISTORY,
    REASON_LENGTH,
    SCHEMA,
    Baseline,
    Change,
    Recorded,
    Run,
    reason_text,
    require_sound,
)
from frontends.cli.golden.options import CHOICES, DEFAULTS, LARGEST, OPTIONS, inside, is_file, shown
from frontends.cli.golden.policy import RULES, Metric, Tolerance
from runtime.errors import InputError
from runtime.text import safe

MOST_BYTES = 1 << 19
LONGEST_LINE = 1 << 13  # bytes; a key of many dots costs tomllib the square of their number
MOST_TOKENS = 1 << 20
PERCENT = re.compile(r"(\d{1,6}(?:\.\d{1,12})?) ?%")


def read_baseline(path: Path) -> Baseline:
    """Raises InputError, with the entry that is wrong, for a file that is missing, malformed, or wider than policy."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise _bad(f"larger than {MOST_BYTES >> 10} KiB")
        data = path.read_bytes()
        if any(len(line) > LONGEST_LINE for line in data.splitlines()):
            raise _bad(f"a line has more than {LONGEST_LINE} bytes")
        return from_toml(tomllib.loads(data.decode()), path.parent)
    except FileNotFoundError:
        raise InputError(
            "there is no baseline", code="no-baseline", where=str(path), hint="wsec golden update MODEL --reason TEXT"
        ) from None
    except RecursionError:
        raise InputError("nested too deeply", code="bad-baseline", where=str(path)) from None
    except (ValueError, OSError) as error:  # among them what tomllib and decoding raise
        raise InputError(_first_line(error), code="bad-baseline", where=str(path)) from None
    except InputError as error:
        raise InputError(error.message, code=error.code, where=str(path), hint=error.hint) from None


def from_toml(data: Mapping[str, Any], folder: Path) -> Baseline:
    """Check what a file says. `folder`: where it lies, and where the files it names must be. Raises InputError."""
    fields = {"schema", "model", "model_sha256", "reason", "made_with", "options", "run", "history"}
    sections = {section for section, _ in RULES}
    _only(data, fields | sections, "the file")
    if data.get("schema") != SCHEMA:
        raise _bad(f"schema {safe(data.get('schema'))}; this wsec reads {SCHEMA}")
    options = _options(_dict(data, "options"), folder)
    metrics = {metric: _read_recorded(metric, entry) for metric, entry in _metrics(data)}
    if not any(metric.section == "output" for metric in metrics):
        raise _bad("there is no [output] with an error: it would hold no numbers")
    for metric, recorded in metrics.items():
        require_sound(metric, recorded, str(options["precision"]))
    history = tuple(_read_change(entry) for entry in _list(data, "history"))
    if not history or data.get("reason") != history[0].reason:
        raise _bad("reason is not that of the first [[history]]")
    return Baseline(
        model=_string(data, "model"),
        model_sha256=_string(data, "model_sha256"),
        options=options,
        run=_run(_dict(data, "run")),
        made_with={name: _string(_dict(data, "made_with"), name) for name in _dict(data, "made_with")},
        metrics=metrics,
        history=history,
    )


def _options(given: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    _only(given, set(OPTIONS), "[options]")
    for name, value in given.items():
        default = DEFAULTS[name]
        if type(value) is not type(default) and not (isinstance(default, float) and type(value) is int):
            raise _bad(f"options.{name} is not of type {type(default).__name__}")
        if isinstance(value, int | float) and not 0 <= value <= LARGEST:
            raise _bad(f"options.{name} = {value} is out of range")
        if name in CHOICES and value not in CHOICES[name]:
            raise _bad(f"options.{name} is none of {', '.join(CHOICES[name])}")
        if is_file(name, value):
            inside(name, folder / value, folder)
    return shown(given)


def _run(given: Mapping[str, Any]) -> Run:
    _only(given, {field.name for field in dataclasses.fields(Run)}, "[run]")
    values = dataclasses.asdict(Run()) | dict(given)
    lowest = {"tokens": 1, "batch": 1, "seed": 0, "cycle_tokens": 0}
    for name, least in lowest.items():
        if type(values[name]) is not int or not least <= values[name] <= MOST_TOKENS:
            raise _bad(f"run.{name} is no whole number from {least} to {MOST_TOKENS}")
    if type(values["layers"]) is not bool:
        raise _bad("run.layers is not true or false")
    if values["tokens"] * values["batch"] > MOST_TOKENS:
        raise _bad(f"run: more than {MOST_TOKENS} tokens")
    return Run(**values)


def _metrics(data: Mapping[str, Any]) -> Iterator[tuple[Metric, Any]]:
    """Every metric of the file with what stands there for it; see `writing` for which is in which table."""
    for section in dict.fromkeys(section for section, _ in RULES):
        table = _dict(data, section) if section in data else {}
        names = {name for other, name in RULES if other == section}
        if section == "output":
            for of in table:
                inner = _dict(table, of)
                _only(inner, names, f"[output.{safe(of)}]")
                if names - inner.keys():
                    raise _bad(f"[output.{safe(of)}] has no {min(names - inner.keys())}")
                yield from ((Metric(section, safe(of), name), entry) for name, entry in inner.items())
            continue
        _only(table, names, f"[{section}]")
        if section == "layer":
            for name in table:
                yield from ((Metric(section, safe(of), name), entry) for of, entry in _dict(table, name).items())
            continue
        yield from ((Metric(section, "", name), entry) for name, entry in table.items())


def _read_recorded(metric: Metric, entry: Any) -> Recorded:
    if not isinstance(entry, dict):
        raise _bad(f"{metric} is not {{ value = ..., worse = ... }}")
    _only(entry, {"value", "worse", "better"}, str(metric))
    missing = {"value", "worse"} - entry.keys()
    if missing:
        raise _bad(f"{metric} has no {min(missing)}")
    better = _tolerance(metric, entry["better"]) if "better" in entry else None
    return Recorded(_number(metric, entry["value"]), _tolerance(metric, entry["worse"]), better)


def _number(metric: Metric, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e300:
        raise _bad(f"{metric}: {safe(value)[:40]} is not a number")
    return float(value)


def _tolerance(metric: Metric, value: Any) -> Tolerance:
    if isinstance(value, str):
        found = PERCENT.fullmatch(value)
        if found is None:
            raise _bad(f"{metric}: tolerance {safe(value)[:40]!r} is neither a number nor a share such as '2 %'")
        return Tolerance(float(found[1]) / 100, relative=True)
    return Tolerance(_number(metric, value))


def _read_change(entry: Any) -> Change:
    if not isinstance(entry, dict):
        raise _bad("an entry of history is not a table")
    _only(entry, {"reason", "wsec", "changed"}, "[[history]]")
    changed = _list(entry, "changed")
    if not all(isinstance(line, str) for line in changed):
        raise _bad("history.changed is not a list of lines")
    return Change(reason_text(_string(entry, "reason")), _string(entry, "wsec"), tuple(map(safe, changed)))


def _only(table: Mapping[str, Any], known: set[str], where: str) -> None:
    unknown = table.keys() - known
    if unknown:
        raise _bad(f"{where} has {safe(min(unknown))!r}, which this wsec does not know")


def _dict(table: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = _typed(table, name, dict, "a table")
    return found


def _list(table: Mapping[str, Any], name: str) -> list[Any]:
    found: list[Any] = _typed(table, name, list, "a list") if name in table else []
    if len(found) > HISTORY:
        raise _bad(f"{name} has {len(found)} entries, at most {HISTORY} are kept")
    return found


def _string(table: Mapping[str, Any], name: str) -> str:
    text: str = _typed(table, name, str, "a text")
    if len(text) > REASON_LENGTH:
        raise _bad(f"{name} has more than {REASON_LENGTH} characters")
    return safe(text)


def _typed(table: Mapping[str, Any], name: str, kind: type, text: str) -> Any:
    if name not in table:
        raise _bad(f"there is no {safe(name)}")
    if not isinstance(table[name], kind):
        raise _bad(f"{safe(name)} is not {text}")
    return table[name]


def _bad(message: str) -> InputError:
    return InputError(message, code="bad-baseline")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
