"""The IR of a compilation for the page: what each pass left, how many ops of which kind, and the text within bounds.

Works on text alone, since the machine's side knows no compiler.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from runtime.errors import InputError
from runtime.page.pack import pack_json

TEXT_BYTES = 1 << 20  # of one stage's text before it is packed
BETWEEN_BYTES = 1 << 18  # of a text inside a phase that is shown
LINE = 2000  # characters
TAIL = 200  # of these at the end of the line
KEPT = (400, 100, 30, 8)  # lines of a run of like lines, tried in turn until the text is short enough
MAX_FILES = 500
MAX_FILE_BYTES = 1 << 30

_OP = re.compile(r"^ *(?:%[^=]* = )?([a-z][\w-]*\.[\w-]+)(?:[ (:{]|$)", re.ASCII)
_PHASE = re.compile(r'\bphase = "([a-z]+)"', re.ASCII)
HEADER = 4000  # characters in which a module says its phase
_NAME = re.compile(r"(\d+)-([\w-]+)\.wir", re.ASCII)


@dataclass(frozen=True)
class Stage:
    """A module after a pass: its `text`, and the `seconds` of the pass where they are known."""

    name: str
    text: str
    seconds: float | None = None


def read_folder(folder: Path) -> list[Stage]:
    """The `NN-pass.wir` files of a `--dump-ir` folder, in order.

    Raises InputError if there are none, or if they cannot be read.
    """
    if not folder.is_dir():
        raise InputError("no such folder", code="no-such-file", where=str(folder))
    found = sorted((int(m[1]), m[2], path) for path in folder.iterdir() if (m := _NAME.fullmatch(path.name)))
    if not found:
        raise InputError(
            "holds no NN-pass.wir files", code="no-ir", where=str(folder), hint="compile with --dump-ir DIR makes them"
        )
    if len(found) > MAX_FILES or any(path.stat().st_size > MAX_FILE_BYTES for _, _, path in found):
        raise InputError("holds too many or too large files", code="no-ir", where=str(folder))
    try:
        return [Stage(name, path.read_text(encoding="utf-8")) for _, name, path in found]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read as text: {error}", code="no-ir", where=str(folder)) from None


def stages(found: Sequence[Stage]) -> list[dict[str, Any]]:
    """All stages with the phase they belong to, seconds, ops, and text, shortened if it is long.

    Texts between the ends of phases are there only if they are short; `text` is None for the others.
    """
    finished = [_finished(stage) for stage in found]
    entries: list[dict[str, Any]] = []
    for number, stage in enumerate(found):
        ends = number == 0 or finished[number] != finished[number - 1] or number + 1 == len(found)
        phase = next((name for name in finished[number:] if number and name != finished[number - 1]), finished[number])
        text, left_out = shortened(stage.text)
        kept = ends or (not left_out and len(stage.text) <= BETWEEN_BYTES)
        entries.append(
            {
                "name": stage.name,
                "phase": phase,
                "ends": ends,
                "seconds": stage.seconds,
                "ops": count_ops(stage.text),
                "characters": len(stage.text),
                "left_out": left_out,
                "text": pack_json(text) if kept else None,
            }
        )
    return entries


def _finished(stage: Stage) -> str:
    """The phase the module says it has finished; `import` before the first."""
    match = _PHASE.search(stage.text[:HEADER])
    return match[1] if match else "import"


def count_ops(text: str) -> dict[str, int]:
    """Ops by name, most frequent first."""
    counts = Counter(name for line in text.splitlines() if (name := _op(line)) and name != "builtin.module")
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _op(line: str) -> str:
    match = _OP.match(line[:400])
    return match[1] if match else ""


def shortened(text: str) -> tuple[str, int]:
    """The text with long lines and, if need be, runs of like ops cut short; and how many lines are left out."""
    lines = [_cut(line) for line in text.splitlines()]
    kept, left_out = lines, 0
    for most in KEPT:
        if sum(len(line) + 1 for line in kept) <= TEXT_BYTES:
            return "\n".join(kept), left_out
        kept, left_out = _folded(lines, most)
    size, fitting = 0, 0
    for line in kept:
        size += len(line) + 1
        if size > TEXT_BYTES:
            break
        fitting += 1
    if fitting < len(kept):
        left_out += len(kept) - fitting
        kept = [*kept[:fitting], f"... the rest, {len(kept) - fitting} lines, is left out here"]
    return "\n".join(kept), left_out


def _cut(line: str) -> str:
    """The line without its middle if it is long. Its end stays, because it may open a region."""
    if len(line) <= LINE:
        return line
    return f"{line[: LINE - TAIL]} ... {len(line) - LINE} characters are left out here ... {line[-TAIL:]}"


def _folded(lines: Sequence[str], most: int) -> tuple[list[str], int]:
    """Runs of ops of one name, equally indented and without regions, of which `most` stay."""
    kept: list[str] = []
    left_out = 0
    for (indent, op, opens), run in groupby(
        _statements(lines), lambda one: (_indent(one[0]), _op(one[0]), _opens(one))
    ):
        same = list(run)
        stay = same if opens or not op or len(same) <= most + 1 else same[:most]
        kept += [line for statement in stay for line in statement]
        if len(stay) < len(same):
            left_out += sum(map(len, same[most:]))
            kept.append(f"{' ' * indent}... {len(same) - most} more {op} are left out here")
    return kept, left_out


def _statements(lines: Sequence[str]) -> Iterator[list[str]]:
    """An op's first line with those that go on with it, further indented; every other line alone."""
    statement: list[str] = []
    for line in lines:
        goes_on = statement and _op(statement[0]) and not _op(line) and _indent(line) > _indent(statement[0])
        if not goes_on and statement:
            yield statement
            statement = []
        statement.append(line)
    if statement:
        yield statement


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _opens(statement: Sequence[str]) -> bool:
    return statement[-1].endswith("{")
