"""Random modules over every declared op, made from the declarations alone.

The modules are legal as text goes: numbers of values, kinds of attributes, scopes. What an op's own `verify` hook asks
for beyond that (streams of equal width, known functions) is not respected; switch the hooks off with `without_hooks`.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from hypothesis import strategies as st

import compiler.dialects
from compiler.ir.core import DTYPES, Attr, Block, DsdType, Loc, Op, Region, StreamType, Symbol, TensorType, Type, Value
from compiler.ir.defs import REGISTRY, Attribute, OpDef

for _found in pkgutil.iter_modules(compiler.dialects.__path__):
    importlib.import_module(f"compiler.dialects.{_found.name}")


@contextmanager
def without_hooks() -> Iterator[None]:
    """Declarations without their `verify` hooks, for as long as the block lasts."""
    declared = dict(REGISTRY)
    REGISTRY.update({name: dataclasses.replace(definition, verify=None) for name, definition in declared.items()})
    try:
        yield
    finally:
        REGISTRY.update(declared)


# Names as models have them, and as strangers could: quotes, backslashes, newlines, keywords, any letters, none at all.
names = st.one_of(
    st.sampled_from(
        ["seq", "x", "f32", "loc", "true", "inf", "dsd", "/h.0/attn/MatMul", 'a"b\\', "\n\x1b[31m", "> x {", ""]
    ),
    st.text(max_size=8),
)
dtypes = st.sampled_from(DTYPES)
types: st.SearchStrategy[Type] = st.one_of(
    st.builds(TensorType, st.lists(st.one_of(st.integers(0, 1 << 40), names), max_size=4).map(tuple), dtypes),
    st.integers(1, 1 << 20).flatmap(lambda n: st.builds(StreamType, st.just(n), st.integers(0, n), dtypes)),
    st.just(DsdType()),
)
scalars: dict[type, st.SearchStrategy[Attr]] = {
    bool: st.booleans(),
    int: st.integers(),
    float: st.floats(),
    str: names,
    Symbol: st.builds(Symbol, names),
    Type: types,
}
attributes: st.SearchStrategy[Attr] = st.recursive(
    st.one_of(*scalars.values()),
    lambda inner: st.one_of(st.lists(inner, max_size=3).map(tuple), st.dictionaries(names, inner, max_size=3)),
    max_leaves=6,
)
kinds: dict[Any, st.SearchStrategy[Any]] = {
    **scalars,
    tuple: st.lists(attributes, max_size=3).map(tuple),
    Mapping: st.dictionaries(names, attributes, max_size=3),
}
locations = st.builds(Loc, st.lists(names, max_size=2).map(tuple))


@st.composite
def attribute_values(draw: st.DrawFn, declared: Mapping[str, Attribute]) -> dict[str, Attr]:
    """Attributes as declared: optional ones sometimes absent, defaults sometimes kept, in any order."""
    chosen: dict[str, Attr] = {}
    for key, spec in draw(st.permutations(sorted(declared.items()))):
        wanted = spec.kind if isinstance(spec.kind, tuple) else (spec.kind,)
        choices = [st.sampled_from(spec.choices)] if spec.choices else [kinds[kind] for kind in wanted]
        if spec.default is not None:
            choices.append(st.just(spec.default))
        if not spec.optional or draw(st.booleans()):
            chosen[key] = draw(st.one_of(choices))
    return chosen


def _count(draw: st.DrawFn, declared: tuple[str, ...]) -> int:
    """How many values to make for `declared` names, of which the last may end in `*`."""
    if declared and declared[-1].endswith("*"):
        return len(declared) - 1 + draw(st.integers(0, 3))
    return len(declared)


@st.composite
def ops(draw: st.DrawFn, definition: OpDef, visible: list[Value], depth: int) -> Op:
    """An op of this kind that reads `visible` values, of which there is at least one."""
    return Op(
        definition.name,
        [draw(st.sampled_from(visible)) for _ in range(_count(draw, definition.operands))],
        [draw(types) for _ in range(_count(draw, definition.results))],
        draw(attribute_values(definition.attrs)),
        [draw(regions(visible, depth + 1)) for _ in range(definition.regions)],
        draw(locations),
    )


@st.composite
def regions(draw: st.DrawFn, outer: list[Value], depth: int, first: OpDef | None = None) -> Region:
    """A region with arguments and up to four ops, the first of them a `first`."""
    block = Block()
    visible = [*outer, *(block.add_arg(draw(types)) for _ in range(draw(st.integers(0 if outer else 1, 2))))]
    definitions = sorted(REGISTRY.values(), key=lambda definition: definition.name)
    flat = [definition for definition in definitions if not definition.regions]
    count = draw(st.integers(0, 3))
    chosen = [draw(st.sampled_from(definitions if depth < 3 else flat)) for _ in range(count)]
    for definition in [first, *chosen] if first else chosen:
        op = block.append(draw(ops(definition, visible, depth)))
        visible.extend(op.results)
    return Region(block)


@st.composite
def modules(draw: st.DrawFn, first: OpDef) -> Op:
    """A module whose first op is a `first`."""
    region = draw(regions([], 0, first))
    attrs = draw(attribute_values(REGISTRY["builtin.module"].attrs))
    return Op("builtin.module", attrs=attrs, regions=[region], loc=draw(locations))
