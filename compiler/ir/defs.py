"""Declaring ops: name, operands, results, attributes, regions and a check, in one place.

    matmul = define("graph.matmul", "y = a @ b over the last two axes", operands=("a", "b"), results=("y",),
                    attrs={"transpose_b": Attribute(bool, default=False)}, verify=_same_inner_dimension)
    op = matmul(a, b, types=[TensorType((4, 8), "f32")], transpose_b=True, loc=node_loc)

Printer, parser, verifier and the reference page (`compiler.ir.syntax`) read the same declaration, so they cannot
disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from compiler.ir.core import UNKNOWN, Attr, IRError, Loc, Op, Region, Symbol, Type, Value, is_attr

# Kinds an attribute may have: Python types of `core.Attr`; `tuple` is any list, `Mapping` any dictionary.
Kind = type | tuple[type, ...]


@dataclass(frozen=True)
class Attribute:
    """One attribute of an op: its kind, its default (None: it is required), and its choices, if it has only some."""

    kind: Kind
    default: Attr | None = None
    optional: bool = False
    doc: str = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class OpDef:
    """The declaration of an op. A name in `operands` or `results` that ends in `*` takes any number of values.

    `named_by` is the attribute after which the text calls the op's only result.
    """

    name: str
    summary: str
    operands: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    attrs: Mapping[str, Attribute] = field(default_factory=dict)
    regions: int = 0
    verify: Callable[[Op], None] | None = None
    named_by: str = "sym_name"

    def __call__(
        self,
        *operands: Value,
        types: Sequence[Type] = (),
        regions: Sequence[Region] = (),
        loc: Loc = UNKNOWN,
        **attrs: Any,
    ) -> Op:
        """Build the op, filling in defaults. Raises IRError if it breaks its declaration."""
        filled = {key: spec.default for key, spec in self.attrs.items() if spec.default is not None}
        filled.update(attrs)
        op = Op(self.name, operands, types, filled, regions, loc)
        self.check(op)
        return op

    def check(self, op: Op) -> None:
        """Raise IRError unless `op` has the declared number of values, and attributes of the declared kinds."""
        for what, names, values in (("operand", self.operands, op.operands), ("result", self.results, op.results)):
            if not _count_fits(names, len(values)):
                wanted = f"{what}s ({', '.join(names) or 'none'})"
                raise IRError(f"{op.name} at {op.loc}: takes {wanted}, got {len(values)}")
        if len(op.regions) != self.regions:
            raise IRError(f"{op.name} at {op.loc}: has {len(op.regions)} regions, declared with {self.regions}")
        for key, value in op.attrs.items():
            spec = self.attrs.get(key)
            if spec is None:
                known = ", ".join(self.attrs) or "none"
                raise IRError(f"{op.name} at {op.loc}: has no attribute {key!r}; it has: {known}")
            if not _is_kind(value, spec.kind) or not is_attr(value):
                raise IRError(f"{op.name} at {op.loc}: attribute {key!r} cannot be {value!r}")
            if spec.choices and value not in spec.choices:
                raise IRError(f"{op.name} at {op.loc}: {key} is {value!r}, not of {', '.join(spec.choices)}")
        if len(op.attrs) < len(self.attrs):
            for key, spec in self.attrs.items():
                if key not in op.attrs and not spec.optional:
                    raise IRError(f"{op.name} at {op.loc}: attribute {key!r} is missing")
        if self.verify is not None:
            self.verify(op)

    @cached_property
    def implied_attrs(self) -> dict[str, Attr]:
        """Defaults of the attributes every such op has: the text leaves them out."""
        return {k: spec.default for k, spec in self.attrs.items() if spec.default is not None and not spec.optional}

    def matches(self, op: Op | None) -> bool:
        """Is `op` this kind of op?"""
        return op is not None and op.name == self.name


def _count_fits(names: tuple[str, ...], count: int) -> bool:
    if names and names[-1].endswith("*"):
        return count >= len(names) - 1
    return count == len(names)


def _is_kind(value: object, kind: Kind) -> bool:
    if type(value) is kind:  # the most, and quicker
        return True
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if isinstance(value, bool):
        return bool in kinds
    return isinstance(value, tuple(k for k in kinds if k is not bool))


REGISTRY: dict[str, OpDef] = {}


def define(
    name: str,
    summary: str,
    *,
    operands: tuple[str, ...] = (),
    results: tuple[str, ...] = (),
    attrs: Mapping[str, Attribute] | None = None,
    regions: int = 0,
    verify: Callable[[Op], None] | None = None,
    named_by: str = "sym_name",
) -> OpDef:
    """Declare an op and enter it in the registry. Raises IRError if the name is taken."""
    if name in REGISTRY:
        raise IRError(f"op {name} is declared twice")
    REGISTRY[name] = OpDef(name, summary, operands, results, attrs or {}, regions, verify, named_by)
    return REGISTRY[name]


module_def = define(
    "builtin.module",
    "the whole program at one level; `phase` says which",
    regions=1,
    attrs={
        "sym_name": Attribute(str, optional=True),
        "phase": Attribute(str, optional=True, doc="the last phase it has finished"),
        "passes": Attribute(int, optional=True, doc="passes of the next phase it has behind it"),
        "source": Attribute(Mapping, optional=True, doc="the model it was imported from: file name and sha256"),
        "target": Attribute(str, optional=True),
        "options": Attribute(Mapping, optional=True),
        "defects": Attribute(tuple, optional=True, doc="dead cores of the target, see runtime.defects"),
        "constraints": Attribute(Mapping, optional=True, doc="of the placement to come, see compiler.place.demands"),
        "strips": Attribute(Mapping, optional=True, doc="the strips size chose: width, length, count"),
        "report": Attribute(Mapping, optional=True),
    },
)

resource_def = define(
    "builtin.resource",
    "a constant tensor kept outside the text, known by the hash of its bytes",
    attrs={
        "sym_name": Attribute(str),
        "shape": Attribute(tuple),
        "dtype": Attribute(str),
        "sha256": Attribute(str),
        "hint": Attribute(str, default="", doc="the initializer's name in the model, for people"),
    },
)

__all__ = ["REGISTRY", "Attribute", "OpDef", "Symbol", "define", "module_def", "resource_def"]
