"""Reads `.kgraph` and `.paint` files for the scorer: only what takes part in the score."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runtime.errors import InputError

LIMIT = 8 << 20  # bytes; a .paint of ten thousand kernels has two
DIGITS = 9
FORMAL = {"conv": "HWCKRSTU", "dblock": "HWF", "cblock": "HWF"}
CONVOLUTIONS = {"conv": 1, "dblock": 3, "cblock": 4}


@dataclass(frozen=True)
class Node:
    """A kernel of the graph: its formal arguments in the order in which a .paint has them."""

    kind: str
    name: str
    formal: tuple[int, ...]


@dataclass(frozen=True)
class Graph:
    """A `.kgraph`: header numbers by key, kernels by name, edges between names of kernels."""

    header: dict[str, int]
    nodes: dict[str, Node]
    edges: list[tuple[str, str]]


@dataclass
class Painted:
    """What a `.paint` says of one kernel, and in which lines; `at` is (x, y), `turned` means R90."""

    kind: str
    numbers: tuple[int, ...]
    line: int
    at: tuple[int, int] | None = None
    turned: bool = False
    placed_line: int = 0


@dataclass(frozen=True)
class Paint:
    """A `.paint`: kernels by name, and the names in the union."""

    kernels: dict[str, Painted]
    union: list[str]
    union_line: int


def read_graph(path: Path) -> Graph:
    """Raises InputError with the line if something the score needs is missing or unclear."""
    header: dict[str, int] = {}
    nodes: dict[str, Node] = {}
    name_of: dict[tuple[str, int], str] = {}
    edges: list[tuple[str, str]] = []
    in_header = False
    for number, line in _lines(path):
        where = f"{path}:{number}"
        if in_header:
            key, equals, value = line.removesuffix("*)").partition("=")
            if equals and key.strip() != "test":
                header[key.strip()] = _integer(value, where)
            in_header = "*)" not in line
        elif line.startswith("(*"):
            in_header = "*)" not in line
        elif "->" in line:
            ends = line.split(",")[0].split("->")
            source, sink = (_reference(end.split(":")[0], where) for end in ends[:2])
            if source not in name_of or sink not in name_of:
                raise _bad("an edge between nodes that are not there", where)
            if {source[0], sink[0]}.isdisjoint({"input", "output"}):
                edges.append((name_of[source], name_of[sink]))
        else:
            reference, name, node = _node(line, where)
            if reference in name_of or (node and name in nodes):
                raise _bad(f"{reference[0]}[{reference[1]}] or its name {name} is there twice", where)
            name_of[reference] = name
            if node is not None:
                nodes[name] = node
    missing = {"width", "height", "wdeltat", "wlength", "wadapter", "memlimit"} - header.keys()
    if missing:
        raise _bad(f"the header lacks {', '.join(sorted(missing))}", f"{path}:1")
    return Graph(header, nodes, edges)


def _node(line: str, where: str) -> tuple[tuple[str, int], str, Node | None]:
    head, _, rest = line.partition("]")
    reference = _reference(f"{head}]", where)
    kind = reference[0]
    fields = dict(word.split("=", 1) for word in rest.split() if "=" in word)
    name = fields.pop("name", "").strip("'")  # the last of several
    if kind in ("input", "output"):
        return reference, name, None
    if kind not in FORMAL:
        raise _bad(f"unknown kernel type {kind[:40]}", where)
    values = {key.upper(): value for key, value in fields.items()}
    if not name or set(FORMAL[kind]) - values.keys():
        raise _bad(f"{kind} without a name or without {' '.join(FORMAL[kind])}", where)
    formal = tuple(_integer(values[key], where) for key in FORMAL[kind])
    if min(formal) < 1:
        raise _bad("an argument is not positive", where)
    return reference, name, Node(kind, name, formal)


def _reference(text: str, where: str) -> tuple[str, int]:
    """`conv[ 5]` as ("conv", 5)."""
    kind, bracket, index = text.strip().removesuffix("]").partition("[")
    if not bracket:
        raise _bad(f"{text.strip()[:40]!r} is not a node", where)
    return kind.strip(), _integer(index, where)


def read_paint(path: Path) -> Paint:
    """Raises InputError with the line for anything that is not of the contest's form."""
    kernels: dict[str, Painted] = {}
    union: list[str] | None = None
    union_line = 0
    for number, line in _lines(path):
        where = f"{path}:{number}"
        if line.startswith("include"):
            continue
        body, opening, inner = line.removesuffix(";").rstrip().partition("(")
        if not opening or not inner.endswith(")"):
            raise _bad(f"{line[:60]!r} is not NAME = TYPE(...), NAME : place(...) or kmap = union(...)", where)
        words = inner[:-1].split()
        if "=" in body:
            name, kind = (part.strip() for part in body.split("=", 1))
            if kind == "union":
                if union is not None:
                    raise _bad(f"a second union; the first is in line {union_line}", where)
                union, union_line = words, number
            elif name in kernels:
                raise _bad(f"{name[:40]} is there twice, first in line {kernels[name].line}", where)
            else:
                kernels[name] = _kernel(kind, words, number, where)
            continue
        name, _, verb = (part.strip() for part in body.partition(":"))
        if name not in kernels:
            raise _bad(f"{name[:40]} has not been defined", where)
        if verb == "place":
            _place(kernels[name], words, number, where)
        elif verb != "name":
            raise _bad(f"{verb[:40]!r} is neither name nor place", where)
    if union is None:
        raise _bad("there is no kmap = union(...)", str(path))
    return Paint(kernels, union, union_line)


def _kernel(kind: str, words: list[str], line: int, where: str) -> Painted:
    if kind not in FORMAL:
        raise _bad(f"unknown kernel type {kind[:40]!r}", where)
    wanted = len(FORMAL[kind]) + 2 + 2 * CONVOLUTIONS[kind]
    if len(words) != wanted:
        raise _bad(f"{kind} has {len(words)} arguments, not {wanted}", where)
    numbers = tuple(_integer(word, where) for word in words)
    if min(numbers) < 1:
        raise _bad("an argument is not positive", where)
    return Painted(kind, numbers, line)


def _place(kernel: Painted, words: list[str], line: int, where: str) -> None:
    if kernel.at is not None:
        raise _bad(f"placed twice, first in line {kernel.placed_line}", where)
    if len(words) != 3 or words[2] not in ("R0", "R90"):
        raise _bad("not place(X Y R0) or place(X Y R90)", where)
    kernel.at = (_integer(words[0], where), _integer(words[1], where))
    kernel.turned = words[2] == "R90"
    kernel.placed_line = line


def _lines(path: Path) -> list[tuple[int, str]]:
    """Numbered lines that are not empty."""
    try:
        with path.open("rb") as file:
            data = file.read(LIMIT + 1)
    except FileNotFoundError:
        raise InputError("no such file", code="no-such-file", where=str(path)) from None
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror}", code="cannot-read", where=str(path)) from None
    if len(data) > LIMIT:
        raise InputError(f"larger than {LIMIT:,} bytes", code="too-large", where=str(path))
    text = data.decode("ascii", errors="replace")
    return [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]


def _integer(text: str, where: str) -> int:
    text = text.strip()
    if not text.removeprefix("-").isdecimal() or len(text) > DIGITS or not text.isascii():
        raise _bad(f"{text[:40]!r} is not a whole number of at most {DIGITS} digits", where)
    return int(text)


def _bad(message: str, where: str) -> InputError:
    return InputError(message, code="bad-kgraph" if ".kgraph:" in where else "bad-paint", where=where)
