"""The contest's kernel graphs (`.kgraph`): a header, nodes, edges, one a line.

    (*                                      header: key=value lines
    test=NAME  width=633  height=633  wdeltat=1  wlength=10  wadapter=100  memlimit=24576
    *)
    input[ 0] n=[112 112 128] name='k0'     not placed; edges to and from it cost nothing
    conv[1] W=14 H=14 R=1 S=1 C=1024 K=512 T=1 U=1 name='k1'
    dblock[5] f=2048 h=7 w=7 name='k5'      formal arguments F H W, though in small letters
    conv[1]:y -> dblock[5]:x, shape:[14][14][512]

Files come from strangers: sizes are bounded, and whatever is wrong is told with its line. Independent of `scorer`,
which reads the same files its own way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import InputError

MAX_BYTES = 4 << 20
MAX_LINE = 4096  # characters
MAX_NODES = 10_000
MAX_SIDE = 1 << 14  # of the region, and every formal argument: sums and products then fit 64 bits

HEADER = ("test", "width", "height", "wdeltat", "wlength", "wadapter", "memlimit")
ARGUMENTS = {"conv": "HWRSCKTU", "dblock": "HWF", "cblock": "HWF", "input": "", "output": ""}
RESERVED = "kmap"  # what a .paint calls the union of all kernels

NODE = re.compile(r"(\w+)\s*\[\s*(\d+)\s*\]")
FIELD = re.compile(r"(\w+)=(\[[^\]]*\]|'[^']*'|\S+)")
EDGE = re.compile(r"(\w+)\s*\[\s*(\d+)\s*\]\s*:\s*\w+\s*->\s*(\w+)\s*\[\s*(\d+)\s*\]\s*:\s*\w+\s*(?:,.*)?")
NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)


@dataclass(frozen=True)
class Kernel:
    """A kernel to place: `conv` with H W R S C K T U, `dblock` or `cblock` with H W F."""

    kind: str
    name: str
    formal: dict[str, int]


@dataclass(frozen=True)
class Edge:
    """A connection that counts, between indices into `Case.kernels`."""

    source: int
    sink: int


@dataclass(frozen=True)
class Case:
    """One case: the grid in tiles, the weights of the score's terms, the memory of a tile in words, the graph."""

    name: str
    width: int
    height: int
    time_weight: int
    wire_weight: int
    adapter_weight: int
    memory: int
    kernels: tuple[Kernel, ...]
    edges: tuple[Edge, ...]


@dataclass(frozen=True)
class Node:
    """A node as it stands in the file; `kernel` is its place in `Case.kernels`, or -1 for inputs and outputs."""

    kind: str
    line: int
    kernel: int


def read_case(path: Path) -> Case:
    """Read a `.kgraph`. Raises InputError with file and line for whatever is wrong with it."""
    return parse_case(_text(path), str(path))


def parse_case(text: str, where: str = "kgraph") -> Case:
    """Parse the text of a `.kgraph`; `where` names it in messages. Raises InputError."""
    return _Parser(where).case(text)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise InputError("no such file", code="no-such-file", where=str(path)) from None
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror}", code="cannot-read", where=str(path)) from None
    if len(data) > MAX_BYTES:
        raise InputError(f"larger than {MAX_BYTES:,} bytes", code="too-large", where=str(path))
    try:
        return data.decode("ascii")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputError("not plain ASCII text", code="bad-kgraph", where=f"{path}:{line}") from None


class _Parser:
    """Reads the lines in order; remembers where it is for messages."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.line = 0
        self.header: dict[str, str] = {}
        self.header_lines: dict[str, int] = {}
        self.nodes: dict[int, Node] = {}
        self.names: dict[str, int] = {}
        self.kernels: list[Kernel] = []
        self.edges: list[Edge] = []

    def fail(self, message: str, line: int | None = None, hint: str = "") -> InputError:
        number = self.line if line is None else line
        return InputError(message, code="bad-kgraph", where=f"{self.where}:{number}", hint=hint)

    def case(self, text: str) -> Case:
        for line in self._meaningful(text):
            if "->" in line:
                self._edge(line)
            else:
                self._node(line)
        if not self.kernels:
            raise self.fail("there is no kernel to place")
        self._refuse_cycles()
        return Case(
            self._entry("test"),
            self._number(self._entry("width"), "width", self.header_lines["width"]),
            self._number(self._entry("height"), "height", self.header_lines["height"]),
            self._weight("wdeltat"),
            self._weight("wlength"),
            self._weight("wadapter"),
            self._number(self._entry("memlimit"), "memlimit", self.header_lines["memlimit"], most=1 << 40),
            tuple(self.kernels),
            tuple(self.edges),
        )

    def _meaningful(self, text: str) -> Iterator[str]:
        """Lines that are neither empty nor comment; what stands in a comment over several lines goes to the header."""
        opened = 0
        for self.line, raw in enumerate(text.splitlines(), start=1):
            if len(raw) > MAX_LINE:
                raise self.fail(f"the line is longer than {MAX_LINE:,} characters")
            line = raw.strip()
            if opened:
                if "(*" in line:
                    raise self.fail(f"a comment in a comment: the one of line {opened} has no end *)")
                body, closing, rest = line.partition("*)")
                self._header_line(body.strip())
                opened = 0 if closing else opened
                line = rest.strip() if closing else ""
            elif line.startswith("(*"):
                _, closing, rest = line.partition("*)")
                if not closing:
                    opened = self.line
                    self._header_line(line[2:].strip())
                line = rest.strip() if closing else ""
            if line:
                yield line
        if opened:
            raise self.fail("the comment that starts here has no end *)", opened)

    def _header_line(self, line: str) -> None:
        for entry in line.split():
            key, equals, value = entry.partition("=")
            if not equals:
                continue  # prose
            if key in self.header:
                raise self.fail(f"{key} is given twice, first in line {self.header_lines[key]}")
            self.header[key], self.header_lines[key] = value, self.line

    def _entry(self, key: str) -> str:
        if not self.header.get(key):
            needed = ", ".join(f"{name}=" for name in HEADER)
            raise self.fail(f"the header has no {key}=", self.header_lines.get(key, 1), f"it needs {needed}")
        return self.header[key]

    def _number(self, text: str, what: str, line: int | None = None, *, least: int = 1, most: int = MAX_SIDE) -> int:
        if not text.isdecimal() or len(text) > 15:
            kind = "above 0" if least else "from 0 on"
            raise self.fail(f"{what}={text[:40]} is not a whole number {kind}", line)
        value = int(text)
        if not least <= value <= most:
            raise self.fail(f"{what}={text} is outside {least} ... {most:,}", line)
        return value

    def _weight(self, key: str) -> int:
        return self._number(self._entry(key), key, self.header_lines.get(key), least=0, most=1 << 30)

    def _node(self, line: str) -> None:
        head = NODE.match(line)
        if head is None:
            raise self.fail(f"neither a node nor an edge: {line[:60]!r}", hint="such as: conv[1] H=14 ... name='k1'")
        kind, index = head[1], self._index(head[2])
        if kind not in ARGUMENTS:
            known = ", ".join(ARGUMENTS)
            raise self.fail(f"unknown kernel type {kind[:40]!r}", hint=f"known are {known}")
        if index in self.nodes:
            other = self.nodes[index]
            raise self.fail(f"index {index} is taken by {other.kind}[{index}] in line {other.line}")
        if len(self.nodes) == MAX_NODES:
            raise self.fail(f"more than {MAX_NODES:,} nodes")
        values, name = self._fields(line[head.end() :], kind)
        if kind in ("input", "output"):
            self.nodes[index] = Node(kind, self.line, -1)
            return
        self.nodes[index] = Node(kind, self.line, len(self.kernels))
        self._claim(name, f"{kind}[{index}]")
        self.kernels.append(Kernel(kind, name, self._formal(values, kind)))

    def _index(self, digits: str) -> int:
        if len(digits) > 9:
            raise self.fail(f"index {digits[:20]} is too large")
        return int(digits)

    def _fields(self, text: str, kind: str) -> tuple[dict[str, str], str]:
        """The key=value fields by capital key, and the last name."""
        values: dict[str, str] = {}
        name, end = "", 0
        for field in FIELD.finditer(text):
            self._refuse_between(text[end : field.start()])
            end = field.end()
            key, value = field[1], field[2]
            if key == "name":
                name = value.strip("'")
            elif key.upper() in values:
                raise self.fail(f"{key} is given twice")
            elif kind in ("input", "output") or key.upper() in ARGUMENTS[kind]:
                values[key.upper()] = value
            else:
                raise self.fail(f"{kind} has no argument {key[:40]}", hint=f"it has {' '.join(ARGUMENTS[kind])}")
        self._refuse_between(text[end:])
        return values, name

    def _refuse_between(self, text: str) -> None:
        if text.strip():
            raise self.fail(f"{text.strip()[:40]!r} is not of the form key=value")

    def _claim(self, name: str, node: str) -> None:
        if not name:
            raise self.fail(f"{node} has no name='...'")
        if not NAME.fullmatch(name) or name == RESERVED:
            raise self.fail(f"{name[:40]!r} cannot be a kernel's name", hint="letters, digits and _, a letter first")
        if name in self.names:
            raise self.fail(f"the name {name} is taken in line {self.names[name]}")
        self.names[name] = self.line

    def _formal(self, values: dict[str, str], kind: str) -> dict[str, int]:
        missing = [key for key in ARGUMENTS[kind] if key not in values]
        if missing:
            raise self.fail(f"{kind} lacks {', '.join(missing)}", hint=f"it needs {' '.join(ARGUMENTS[kind])}")
        formal = {key: self._number(values[key], key) for key in ARGUMENTS[kind]}
        if kind == "conv" and formal["T"] != formal["U"]:
            raise self.fail("T and U differ; the contest's formulas know one stride only")
        if kind != "conv" and formal["F"] % 4:
            raise self.fail(f"F={formal['F']} of a {kind} is not a multiple of 4")
        odd = [key for key in "HW" if kind == "cblock" and formal[key] % 2]
        if odd:
            raise self.fail(f"{odd[0]}={formal[odd[0]]} of a cblock is odd, and the contest's formulas halve it")
        return formal

    def _edge(self, line: str) -> None:
        match = EDGE.fullmatch(line)
        if match is None:
            raise self.fail(f"not an edge: {line[:60]!r}", hint="such as: conv[1]:y -> conv[2]:x, shape:[14][14][512]")
        source, sink = self._end(match[1], match[2]), self._end(match[3], match[4])
        if source.kind == "output" or sink.kind == "input":
            raise self.fail("an edge leaves an output or enters an input")
        if source.kernel >= 0 and sink.kernel >= 0:
            self.edges.append(Edge(source.kernel, sink.kernel))

    def _end(self, kind: str, digits: str) -> Node:
        index = self._index(digits)
        node = self.nodes.get(index)
        if node is None:
            raise self.fail(f"unknown node {kind[:40]}[{index}]")
        if node.kind != kind:
            raise self.fail(f"unknown node {kind[:40]}[{index}]: line {node.line} says {node.kind}[{index}]")
        return node

    def _refuse_cycles(self) -> None:
        """Raises InputError that walks round a cycle, if there is one: peel off kernels nobody waits for."""
        waiting = [0] * len(self.kernels)
        readers: list[list[int]] = [[] for _ in self.kernels]
        for edge in self.edges:
            waiting[edge.sink] += 1
            readers[edge.source].append(edge.sink)
        ready = [kernel for kernel, count in enumerate(waiting) if not count]
        for kernel in ready:
            for reader in readers[kernel]:
                waiting[reader] -= 1
                if not waiting[reader]:
                    ready.append(reader)
        left = {kernel for kernel, count in enumerate(waiting) if count}
        if not left:
            return
        # Every kernel left has a writer among those left: walking backwards must come round.
        writer = {edge.sink: edge.source for edge in self.edges if edge.source in left and edge.sink in left}
        trail = [min(left)]
        while trail[-1] not in trail[:-1]:
            trail.append(writer[trail[-1]])
        cycle = trail[trail.index(trail[-1]) :][::-1]
        names = [self.kernels[kernel].name for kernel in cycle]
        shown = names if len(names) <= 9 else [*names[:8], "...", names[-1]]
        raise self.fail(f"the kernels form a cycle: {' -> '.join(shown)}", self.names[names[0]])
