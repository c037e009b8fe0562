"""Files by which users steer placement: places of kernels, and constraints.

A placement names a kernel a line, `kernel x y orientation`, or is the JSON object
`{"schema": 1, "kernels": {"kernel": {"x": 0, "y": 0, "orientation": 0}}}`. (x, y) is the north-west corner in fabric
coordinates. The orientation is the sum of 1 (transposed), then 2 (mirrored in x), then 4 (mirrored in y).

Constraints stand a line each; a pattern may hold `*` and `?` and is compared with the kernel's name and with the names
of the ONNX nodes it works for:

    region attention*,norm1 0 0 200 994      each of these kernels lies inside x y columns rows
    keep-out 300 100 50 50                   no kernel covers x y columns rows; routes may

A hash starts a comment; blanks, hashes and quotes in a word stand in JSON's quotes.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from compiler.floorplan import Placed
from compiler.ir.core import Attr
from compiler.place.constraints import Constraints, common
from runtime.defects import Rect
from runtime.errors import InputError
from runtime.geometry import Orientation

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_WORD = re.compile(rf'\s*(?:(#.*)|((?:{_QUOTED.pattern}|[^\s#"])+))')
PLACEMENT_HINT = "a line is `kernel x y orientation`, the orientation from 0 to 7"
CONSTRAINT_HINT = "a line is `region PATTERN[,PATTERN] x y columns rows` or `keep-out x y columns rows`"


@dataclass(frozen=True)
class FixedKernel:
    """A kernel and its place; `where` is the file and line."""

    kernel: str
    x: int
    y: int
    orientation: int
    where: str


@dataclass(frozen=True)
class Region:
    """Every kernel that matches one of the patterns lies inside the box."""

    patterns: tuple[str, ...]
    box: Rect
    where: str


@dataclass(frozen=True)
class KeepOut:
    """No kernel covers the box."""

    box: Rect
    where: str


@dataclass(frozen=True)
class Demands:
    """What the files say. With `allow_unused`, what matches no kernel is passed over."""

    fixed: tuple[FixedKernel, ...] = ()
    regions: tuple[Region, ...] = ()
    keep_out: tuple[KeepOut, ...] = ()
    allow_unused: bool = False


# Files


def read_placement(path: str | Path) -> tuple[FixedKernel, ...]:
    """The places in a file of either form. Raises InputError naming file and line."""
    text, origin = _text(path), Path(path).name
    found = list(_json_places(text, origin) if text.lstrip().startswith("{") else _places(text, origin))
    seen: dict[str, str] = {}
    for place in found:
        if place.kernel in seen:
            raise _bad(f"{place.kernel} has a place already, at {seen[place.kernel]}", place.where)
        seen[place.kernel] = place.where
    return tuple(found)


def read_constraints(path: str | Path) -> tuple[tuple[Region, ...], tuple[KeepOut, ...]]:
    """The constraints in a file. Raises InputError naming file and line."""
    regions: list[Region] = []
    keep_out: list[KeepOut] = []
    for where, words in _lines(_text(path), Path(path).name):
        kind, *rest = words
        if kind == "region" and len(rest) == 5:
            patterns = tuple(rest[0].split(","))
            if not all(patterns):
                raise _bad(f"an empty pattern in {rest[0]!r}", where, CONSTRAINT_HINT)
            regions.append(Region(patterns, _box(rest[1:], where), where))
        elif kind == "keep-out" and len(rest) == 4:
            keep_out.append(KeepOut(_box(rest, where), where))
        else:
            raise _bad(f"not a constraint: {' '.join(words)[:80]!r}", where, CONSTRAINT_HINT)
    return tuple(regions), tuple(keep_out)


def placement_text(names: Sequence[str], places: Sequence[Placed], *, as_json: bool) -> str:
    """A placement as `read_placement` reads it."""
    if as_json:
        kernels = {
            name: {"x": place.x, "y": place.y, "orientation": place.orientation.code}
            for name, place in zip(names, places, strict=True)
        }
        return json.dumps({"schema": 1, "kernels": kernels}, indent=1) + "\n"
    words = [name if re.fullmatch(r"[^\s#\",{]+", name) else json.dumps(name) for name in names]
    width = max(map(len, words), default=0)
    lines = [
        f"{word:<{width}} {place.x:>4} {place.y:>4} {place.orientation.code}"
        for word, place in zip(words, places, strict=True)
    ]
    return "\n".join(["# kernel x y orientation", *lines, ""])


def _text(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise _bad("not a text file", str(path)) from None
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror}", code="no-file", where=str(path)) from None


def _bad(message: str, where: str, hint: str = "") -> InputError:
    return InputError(message, code="bad-constraint", where=where, hint=hint)


def _lines(text: str, origin: str) -> Iterator[tuple[str, list[str]]]:
    """File and line, and the words, of every line that has any."""
    for number, line in enumerate(text.splitlines(), 1):
        where, words, at = f"{origin}:{number}", [], 0
        while line[at:].strip():
            match = _WORD.match(line, at)
            if match is None:
                raise _bad(f"a quote without end: {line[at:].strip()[:60]}", where)
            at = match.end()
            if match[2]:
                words.append(_unquoted(match[2], where))
        if words:
            yield where, words


def _unquoted(word: str, where: str) -> str:
    try:
        return _QUOTED.sub(lambda piece: str(json.loads(piece[0])), word)
    except ValueError:
        raise _bad(f"not a quoted word: {word[:60]}", where) from None


def _numbers(words: Sequence[str], where: str, hint: str) -> list[int]:
    try:
        return [int(word) for word in words]
    except ValueError:
        raise _bad(f"not whole numbers: {' '.join(words)[:60]}", where, hint) from None


def _box(words: Sequence[str], where: str) -> Rect:
    x, y, columns, rows = _numbers(words, where, CONSTRAINT_HINT)
    if columns < 1 or rows < 1:
        raise _bad(f"a rectangle of {columns} x {rows} cores", where)
    return x, y, columns, rows


def _places(text: str, origin: str) -> Iterator[FixedKernel]:
    for where, words in _lines(text, origin):
        if len(words) != 4:
            raise _bad(f"{len(words)} words", where, PLACEMENT_HINT)
        yield _fixed(words[0], _numbers(words[1:], where, PLACEMENT_HINT), where)


def _fixed(name: str, numbers: Sequence[object], where: str) -> FixedKernel:
    x, y, orientation = (number if type(number) is int else -1 for number in numbers)
    if x < 0 or y < 0 or not 0 <= orientation < 8:
        raise _bad(
            f"no place of {name}: x {numbers[0]}, y {numbers[1]}, orientation {numbers[2]}", where, PLACEMENT_HINT
        )
    return FixedKernel(name, x, y, orientation, where)


def _json_places(text: str, origin: str) -> Iterator[FixedKernel]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, item in pairs:
            if name in found:
                raise _bad(f"{name} stands twice", origin)
            found[name] = item
        return found

    try:
        value = json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        line = f":{error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise _bad(f"not JSON: {getattr(error, 'msg', error)}", f"{origin}{line}") from None
    if value.get("schema") != 1 or not isinstance(value.get("kernels"), dict):
        raise _bad("no placement: expected an object with schema 1 and kernels", origin)
    for name, place in value["kernels"].items():
        where = f"{origin}: {name}"
        if not isinstance(place, dict) or place.keys() != {"x", "y", "orientation"}:
            raise _bad("a place has x, y and orientation", where)
        yield _fixed(name, [place["x"], place["y"], place["orientation"]], where)


# The module carries the demands from the command line to the pass, and through a stop between.


def to_attr(demands: Demands) -> Attr:
    """The demands as an attribute of a module."""
    return {
        "fixed": tuple((f.kernel, f.x, f.y, f.orientation, f.where) for f in demands.fixed),
        "regions": tuple((r.patterns, r.box, r.where) for r in demands.regions),
        "keep_out": tuple((k.box, k.where) for k in demands.keep_out),
        "allow_unused": demands.allow_unused,
    }


def from_attr(value: Any) -> Demands:
    """The demands in a module's attribute (None: there are none). Raises InputError for one somebody edited wrongly."""
    if value is None:
        return Demands()
    try:
        fixed = tuple(_fixed(str(f[0]), f[1:4], str(f[4])) for f in value["fixed"])
        regions = tuple(Region(tuple(map(str, r[0])), _rect(r[1]), str(r[2])) for r in value["regions"])
        keep_out = tuple(KeepOut(_rect(k[0]), str(k[1])) for k in value["keep_out"])
        return Demands(fixed, regions, keep_out, value["allow_unused"] is True)
    except (KeyError, TypeError, ValueError, IndexError):
        raise _bad("the module's attribute `constraints` is malformed", "") from None


def _rect(value: Sequence[Any]) -> Rect:
    x, y, columns, rows = value
    if not all(type(number) is int for number in (x, y, columns, rows)):
        raise ValueError
    return x, y, columns, rows


# What the demands mean for the kernels there are


def resolve(demands: Demands, names: Sequence[str], nodes: Sequence[Iterable[str]], usable: Rect) -> Constraints:
    """The demands by kernel index. `names` are the kernels', `nodes[i]` the ONNX nodes kernel i works for.

    Raises InputError for a demand that concerns no kernel or no usable core, unless that is allowed, and for regions
    that leave a kernel no core.
    """
    number = {name: index for index, name in enumerate(names)}
    fixed: dict[int, Placed] = {}
    regions: dict[int, Rect] = {}
    where: dict[int, str] = {}
    for place in demands.fixed:
        if place.kernel in number:
            fixed[number[place.kernel]] = Placed(place.x, place.y, Orientation(place.orientation))
            where[number[place.kernel]] = place.where
        elif not demands.allow_unused:
            raise _unused("kernel", place.kernel, names, place.where)
    known = [(name, *nodes[index]) for index, name in enumerate(names)]
    for region in demands.regions:
        for index in _matching(region, known, names, demands.allow_unused):
            regions[index] = common(regions.get(index, usable), region.box)
            where.setdefault(index, region.where)
            if not regions[index][2]:
                raise _bad(f"no usable core is in all regions of {names[index]}", region.where)
    for keep in demands.keep_out:
        if not common(keep.box, usable)[2] and not demands.allow_unused:
            raise _bad(f"the keep-out {keep.box} has no usable core", keep.where, "give --allow-unused-overrides")
    boxes = (common(keep.box, usable) for keep in demands.keep_out)
    return Constraints(fixed, regions, tuple(box for box in boxes if box[2]), where)


def _matching(
    region: Region, known: Sequence[tuple[str, ...]], names: Sequence[str], allow_unused: bool
) -> Iterator[int]:
    for pattern in region.patterns:
        found = [i for i, words in enumerate(known) if any(fnmatchcase(word, pattern) for word in words)]
        if not found and not allow_unused:
            raise _unused("pattern", pattern, names, region.where)
        yield from found


def _unused(what: str, text: str, names: Sequence[str], where: str) -> InputError:
    near = difflib.get_close_matches(text, names, n=3, cutoff=0.5) or sorted(names)[:3]
    listed = ", ".join(near)
    hint = f"near names: {listed}; or give --allow-unused-overrides"
    return InputError(f"the {what} {text!r} matches no kernel", code="unused-override", where=where, hint=hint)
