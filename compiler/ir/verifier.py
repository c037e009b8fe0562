"""Checks that a module obeys the rules of the IR; it runs after every pass.

Every op fits its declaration; a value is used only after its definition, in the same block or in a region nested there;
the bookkeeping (parents, owners, uses) agrees with the tree; symbols are unique and every reference to one resolves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from compiler.ir.core import Block, IRError, Op, Value, symbols_in
from compiler.ir.defs import REGISTRY
from runtime.errors import WsecError

MAX_SHOWN = 20


def verify(
    module: Op,
    *,
    where: str = "",
    error: type[WsecError] = WsecError,
    lines: Mapping[Op, int] | None = None,
) -> None:
    """Raise `error`, with code `invalid-ir`, listing what is wrong with `module`; `where` says at which stage.

    Invalid IR is a fault of the compiler, hence a plain WsecError, unless a person wrote it (`error=InputError`); then
    `lines` can tell where ops stand in the text.
    """
    found = located_violations(module)
    if not found:
        return
    shown = [f"line {lines[op]}: {text}" if lines and op in lines else text for op, text in found[:MAX_SHOWN]]
    if len(found) > MAX_SHOWN:
        shown.append(f"and {len(found) - MAX_SHOWN} more")
    raise error("the IR is not valid:\n  " + "\n  ".join(shown), code="invalid-ir", where=where)


def violations(module: Op) -> list[str]:
    """What is wrong with `module`, each with op and location, in text order; empty if nothing is."""
    return [text for _, text in located_violations(module)]


def located_violations(module: Op) -> list[tuple[Op, str]]:
    """The same with the op each is about."""
    if module.name != "builtin.module":
        return [(module, f"{_at(module)}: the outermost op must be builtin.module")]
    tree = _Tree()
    found = list(tree.op(module, None))
    return found + list(_uses(tree.ops)) + list(_symbols(tree.ops))


# What checks yield.
Found = Iterator[tuple[Op, str]]


class _Tree:
    """Walks the ops in text order, knowing which values are visible."""

    def __init__(self) -> None:
        self.visible: set[Value] = set()
        self.ops: dict[Op, None] = {}

    def op(self, op: Op, parent: Block | None) -> Found:
        if op in self.ops:
            yield op, f"{_at(op)}: stands in the module twice"
            return
        self.ops[op] = None
        if op.parent is not parent:
            yield op, f"{_at(op)}: its parent is not the block that holds it"
        yield from _declaration(op)
        for index, value in enumerate(op.operands):
            if value not in self.visible:
                yield op, f"{_at(op)}: operand {index} is used before, or outside the region of, its definition"
        for region in op.regions:
            if region.parent is not op or region.block.parent is not region:
                yield op, f"{_at(op)}: a region's parent is not the op that holds it"
            yield from self.block(region.block, op)
        yield from _owners(op, op.results, op)

    def block(self, block: Block, holder: Op) -> Found:
        yield from _owners(holder, block.args, block)
        self.visible.update(block.args)
        for op in block.ops:
            yield from self.op(op, block)
            self.visible.update(op.results)
        self.visible.difference_update(block.args)
        for op in block.ops:
            self.visible.difference_update(op.results)


def _declaration(op: Op) -> Found:
    declaration = REGISTRY.get(op.name)
    if declaration is None:
        yield op, f"{_at(op)}: there is no such op"
        return
    try:
        declaration.check(op)
    except IRError as error:
        yield op, str(error)


def _owners(op: Op, values: list[Value], owner: Op | Block) -> Found:
    if any(value.owner is not owner or value.index != index for index, value in enumerate(values)):
        yield op, f"{_at(op)}: a value it defines names another owner or index"


def _uses(ops: dict[Op, None]) -> Found:
    """Every value's uses must be exactly the operands that read it, all of them in the module."""
    readers: dict[Value, set[tuple[Op, int]]] = {}
    for op in ops:
        for value in (*op.results, *(arg for region in op.regions for arg in region.block.args)):
            readers.setdefault(value, set())
        for index, value in enumerate(op.operands):
            readers.setdefault(value, set()).add((op, index))
    for value, expected in readers.items():
        if len(value.uses) == len(expected) and set(value.uses) == expected:
            continue
        holder = value.owner if isinstance(value.owner, Op) else _holder(value.owner)
        where = _at(holder) if holder is not None else "a detached block"
        yield (
            holder or next(iter(ops)),
            f"{where}: the uses of value {value.index} do not agree with the operands that read it",
        )


def _holder(block: Block) -> Op | None:
    return block.parent.parent if block.parent is not None else None


def _symbols(ops: dict[Op, None]) -> Found:
    names: dict[str, Op] = {}
    for op in ops:
        name = op.attrs.get("sym_name")
        if not isinstance(name, str):
            continue
        if name in names:
            yield op, f"{_at(op)}: symbol @{name} is already the name of {_at(names[name])}"
        names.setdefault(name, op)
    for op in ops:
        for attr in op.attrs.values():
            for symbol in symbols_in(attr):
                if symbol.name not in names:
                    yield op, f"{_at(op)}: no op is called @{symbol.name}"


def _at(op: Op) -> str:
    return f"{op.name} at {op.loc}"
