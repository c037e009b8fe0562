"""The IR on one page: types, attributes, values, ops, blocks, locations.

A module is a tree. An `Op` has a dialect-qualified name (`graph.matmul`), operands and results (SSA `Value`s), named
attributes, regions and a location. A `Region` is one `Block` (no dialect here has branches); a block has arguments and
a list of ops. Everything printable is one of these or one of the attribute kinds listed at `Attr`.

The core knows no dialect, no file format and no library. What an op may look like is declared in `compiler.ir.defs`;
text is written by `compiler.ir.printer` and read by `compiler.ir.parser`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

MOST_NAMES = 16  # of a location that are told; kernels that layers share come from hundreds of nodes


class IRError(Exception):
    """An op, type or attribute that breaks a rule of the IR; the text names the op and its location."""


@dataclass(frozen=True)
class Loc:
    """Where an op came from: the ONNX node names it works for (several after a fusion, none when synthesised)."""

    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        more = len(self.names) - MOST_NAMES
        return "+".join([*self.names[:MOST_NAMES], *([f"{more} more"] if more > 0 else [])]) or "unknown"

    def merged(self, *others: Loc) -> Loc:
        """This location and `others`, each name once, in order of first appearance."""
        names = dict.fromkeys(self.names)
        for other in others:
            names.update(dict.fromkeys(other.names))
        return Loc(tuple(names))


UNKNOWN = Loc()


# Names that need no quotes in the text.
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def quoted(text: str) -> str:
    """`text` as the IR's string literal: JSON, pure ASCII, so that a stranger's name cannot disturb a terminal."""
    return json.dumps(text)


def identifier(name: str) -> str:
    """`name` as it is if it is a plain identifier, else quoted."""
    return name if _IDENTIFIER.fullmatch(name) else quoted(name)


@dataclass(frozen=True)
class Type:
    """Base of all types: frozen values that check themselves on construction; `str` is their text in the IR."""


DTYPES = ("f32", "f16", "i64", "i32", "bool")


@dataclass(frozen=True)
class TensorType(Type):
    """A tensor; a dimension is an int, or the name of a symbolic one (`batch`, `seq`)."""

    shape: tuple[int | str, ...]
    dtype: str

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise IRError(f"tensor type: unknown element type {self.dtype!r}; known: {', '.join(DTYPES)}")
        if any(isinstance(dim, int) and dim < 0 for dim in self.shape):
            raise IRError(f"tensor type: negative dimension in {self.shape}")

    def __str__(self) -> str:
        dims = (identifier(dim) if isinstance(dim, str) else str(dim) for dim in self.shape)
        return f"tensor<{' x '.join((*dims, self.dtype))}>"


@dataclass(frozen=True)
class StreamType(Type):
    """Tokens in time: each is `features` elements in blocks of `block` on neighbouring lanes (0: not chosen yet).

    Lane `l` carries the elements `[l*block, min((l+1)*block, features))`.
    """

    features: int
    block: int
    dtype: str

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise IRError(f"stream type: unknown element type {self.dtype!r}; known: {', '.join(DTYPES)}")
        if self.features < 1 or not 0 <= self.block <= self.features:
            raise IRError(f"stream type: {self.features} features in blocks of {self.block} is not a stream")

    @property
    def lanes(self) -> int:
        """How many lanes the token lies on; 0 while the block is not chosen."""
        return -(-self.features // self.block) if self.block else 0

    def __str__(self) -> str:
        block = f", block {self.block}" if self.block else ""
        return f"stream<{self.features} x {self.dtype}{block}>"


@dataclass(frozen=True)
class DsdType(Type):
    """A data structure descriptor: an operand of a core's vector instruction (memory, queue, FIFO, register)."""

    def __str__(self) -> str:
        return "dsd"


@dataclass(frozen=True)
class Symbol:
    """A reference by name to an op that carries `sym_name` (a resource, a program); printed `@name`."""

    name: str


# Attribute values. Tuples are lists in the text, mappings are `{k = v}`; both may nest.
Attr = bool | int | float | str | Symbol | Type | tuple["Attr", ...] | Mapping[str, "Attr"]


_PLAIN = (int, str, bool, float, Symbol)


def is_attr(value: object) -> bool:
    """May `value` be an attribute? Checked to the innermost element."""
    if type(value) in _PLAIN:  # the most, and quicker than isinstance
        return True
    if isinstance(value, tuple):
        return all(map(is_attr, value))
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and is_attr(item) for key, item in value.items())
    return isinstance(value, bool | int | float | str | Symbol | Type)


def same_attr(a: Attr, b: Attr) -> bool:
    """Equal in kind and value: unlike with `==`, 1, 1.0 and True differ, 0.0 and -0.0 differ, and nan equals nan."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(same_attr, a, b))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same_attr(a[key], b[key]) for key in a)
    if isinstance(a, float) and isinstance(b, float):
        return float.__repr__(a) == float.__repr__(b)
    if isinstance(a, bool | float) or isinstance(b, bool | float):
        return type(a) is type(b) and a == b
    return a == b


def symbols_in(value: Attr) -> Iterator[Symbol]:
    """Every symbol in an attribute, nested ones too, in text order."""
    if isinstance(value, Symbol):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from symbols_in(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from symbols_in(item)


class Value:
    """One SSA value: the result `index` of an op, or argument `index` of a block."""

    __slots__ = ("index", "owner", "type", "uses")

    def __init__(self, type: Type, owner: Op | Block, index: int) -> None:
        self.type = type
        self.owner = owner
        self.index = index
        self.uses: list[tuple[Op, int]] = []

    @property
    def op(self) -> Op | None:
        """The op that defines this value, or None for a block argument."""
        return self.owner if isinstance(self.owner, Op) else None

    @property
    def users(self) -> list[Op]:
        """Ops that read this value, each once, in order of first use."""
        return list(dict.fromkeys(op for op, _ in self.uses))

    def replace_by(self, other: Value) -> None:
        """Make every reader of this value read `other`."""
        for op, index in list(self.uses):
            op.set_operand(index, other)


class Op:
    """One operation. Build it, then append it to a block; its operands must dominate it."""

    __slots__ = ("_operands", "attrs", "loc", "name", "parent", "regions", "results")

    def __init__(
        self,
        name: str,
        operands: Sequence[Value] = (),
        result_types: Sequence[Type] = (),
        attrs: Mapping[str, Attr] | None = None,
        regions: Sequence[Region] = (),
        loc: Loc = UNKNOWN,
    ) -> None:
        self.name = name
        self._operands: list[Value] = []
        self.results = [Value(type, self, index) for index, type in enumerate(result_types)]
        self.attrs: dict[str, Attr] = dict(attrs or {})
        self.regions = list(regions)
        self.loc = loc
        self.parent: Block | None = None
        for region in self.regions:
            region.parent = self
        for value in operands:
            self.add_operand(value)

    @property
    def operands(self) -> tuple[Value, ...]:
        return tuple(self._operands)

    @property
    def result(self) -> Value:
        """The only result."""
        if len(self.results) != 1:
            raise IRError(f"{self.name} has {len(self.results)} results, not one")
        return self.results[0]

    @property
    def dialect(self) -> str:
        return self.name.partition(".")[0]

    @property
    def body(self) -> Block:
        """The block of the only region."""
        if len(self.regions) != 1:
            raise IRError(f"{self.name} has {len(self.regions)} regions, not one")
        return self.regions[0].block

    def add_operand(self, value: Value) -> None:
        value.uses.append((self, len(self._operands)))
        self._operands.append(value)

    def set_operand(self, index: int, value: Value) -> None:
        self._operands[index].uses.remove((self, index))
        self._operands[index] = value
        value.uses.append((self, index))

    def drop_operands(self) -> None:
        """Stop reading anything (before this op is erased or rebuilt)."""
        for index, value in enumerate(self._operands):
            value.uses.remove((self, index))
        self._operands.clear()

    def erase(self) -> None:
        """Remove this op from its block. Raises IRError if a result is still read."""
        readers = [user.name for value in self.results for user in value.users]
        if readers:
            raise IRError(f"cannot erase {self.name} at {self.loc}: still read by {', '.join(readers)}")
        for inner in list(self.walk()):
            inner.drop_operands()
        if self.parent is not None:
            self.parent.ops.remove(self)
            self.parent = None

    def replace_by(self, *values: Value) -> None:
        """Redirect every reader of this op's results to `values`, then erase it."""
        if len(values) != len(self.results):
            raise IRError(f"{self.name} has {len(self.results)} results, {len(values)} replacements given")
        for old, new in zip(self.results, values, strict=True):
            old.replace_by(new)
        self.erase()

    def walk(self) -> Iterator[Op]:
        """This op, then every op nested in its regions, in text order."""
        yield self
        for region in self.regions:
            for op in list(region.block.ops):
                yield from op.walk()


@dataclass(eq=False)
class Block:
    """A straight line of ops with arguments; `parent` is the region that holds it."""

    args: list[Value] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    parent: Region | None = None

    def add_arg(self, type: Type) -> Value:
        value = Value(type, self, len(self.args))
        self.args.append(value)
        return value

    def append(self, op: Op) -> Op:
        op.parent = self
        self.ops.append(op)
        return op

    def insert_before(self, anchor: Op, op: Op) -> Op:
        op.parent = self
        self.ops.insert(self.ops.index(anchor), op)
        return op

    def find(self, name: str) -> list[Op]:
        """The direct children called `name`, in order."""
        return [op for op in self.ops if op.name == name]


class Region:
    """One block, owned by an op."""

    __slots__ = ("block", "parent")

    def __init__(self, block: Block | None = None) -> None:
        self.block = block if block is not None else Block()
        self.block.parent = self
        self.parent: Op | None = None


def module(attrs: Mapping[str, Attr] | None = None) -> Op:
    """A fresh, empty top-level `builtin.module`."""
    return Op("builtin.module", attrs=attrs, regions=[Region()])


def structurally_equal(a: Op, b: Op, *, locations: bool = True) -> bool:
    """Same ops, attributes, types and data flow; names of values do not matter."""
    numbers_a: dict[int, int] = {}
    numbers_b: dict[int, int] = {}

    def number(value: Value, numbers: dict[int, int]) -> int:
        return numbers.setdefault(id(value), len(numbers))

    def same(x: Op, y: Op) -> bool:
        if x.name != y.name or not same_attr(x.attrs, y.attrs) or (locations and x.loc != y.loc):
            return False
        if len(x.operands) != len(y.operands) or len(x.results) != len(y.results) or len(x.regions) != len(y.regions):
            return False
        pairs = [*zip(x.operands, y.operands, strict=True), *zip(x.results, y.results, strict=True)]
        if any(p.type != q.type or number(p, numbers_a) != number(q, numbers_b) for p, q in pairs):
            return False
        return all(same_block(r.block, s.block) for r, s in zip(x.regions, y.regions, strict=True))

    def same_block(p: Block, q: Block) -> bool:
        if len(p.args) != len(q.args) or len(p.ops) != len(q.ops):
            return False
        if any(
            u.type != v.type or number(u, numbers_a) != number(v, numbers_b)
            for u, v in zip(p.args, q.args, strict=True)
        ):
            return False
        return all(same(u, v) for u, v in zip(p.ops, q.ops, strict=True))

    return same(a, b)


Visitor = Callable[[Op], None]
