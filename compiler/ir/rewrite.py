"""Greedy rewriting to a fixpoint, and removal of what nobody reads.

A pattern looks at one op, changes the IR around it through the `Rewriter`, and says whether it did:

    def double_negation(op: Op, rewriter: Rewriter) -> bool:
        inner = op.operands[0].op if is_negation(op) else None
        if inner is None or not is_negation(inner):
            return False
        rewriter.replace(op, inner.operands[0])
        return True
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence

from compiler.ir.core import Block, IRError, Op, Value, symbols_in

# A module of n ops may take this many rewrites per op (and a few more) before the patterns are said to run in circles.
REWRITES_PER_OP = 16


class Rewriter:
    """Changes the IR for a pattern, and remembers which ops are worth another look."""

    def __init__(self, ops: Iterable[Op]) -> None:
        self._queue: deque[Op] = deque(ops)
        self._queued: set[Op] = set(self._queue)
        self._erased: set[Op] = set()

    def insert_before(self, anchor: Op, op: Op) -> Op:
        """Put a new op in front of `anchor`; returns the op."""
        _block(anchor).insert_before(anchor, op)
        for inner in op.walk():
            self.revisit(inner)
        return op

    def replace(self, op: Op, *values: Value) -> None:
        """Redirect the readers of `op`'s results to `values`, then erase it."""
        readers = [user for result in op.results for user in result.users]
        _block(op)
        self._leave(op)
        op.replace_by(*values)
        for reader in readers:
            self.revisit(reader)

    def erase(self, op: Op) -> None:
        """Remove an op whose results nobody reads."""
        _block(op)
        self._leave(op)
        op.erase()

    def revisit(self, op: Op) -> None:
        """Look at `op` again; for patterns that change an attribute or an operand in place."""
        if op not in self._queued:
            self._queued.add(op)
            self._queue.append(op)

    def pop(self) -> Op | None:
        """The next op to look at, or None at the fixpoint."""
        while self._queue:
            op = self._queue.popleft()
            self._queued.discard(op)
            if op not in self._erased:
                return op
        return None

    def _leave(self, op: Op) -> None:
        """`op` goes: its producers may now match (they have a reader less), it and its inner ops no longer."""
        self._erased.update(op.walk())
        for value in op.operands:
            if value.op is not None:
                self.revisit(value.op)


Pattern = Callable[[Op, Rewriter], bool]


def rewrite(module: Op, patterns: Sequence[Pattern]) -> int:
    """Apply `patterns`, earlier ones first, to every op of `module` until none matches; returns how often one did.

    Ops are visited in text order, then again when a neighbour changed. Raises IRError if the patterns do not converge.
    """
    ops = list(module.walk())
    limit = REWRITES_PER_OP * (len(ops) + 16)
    rewriter = Rewriter(ops)
    count = 0
    while (op := rewriter.pop()) is not None:
        matched = next((pattern for pattern in patterns if pattern(op, rewriter)), None)
        if matched is None:
            continue
        count += 1
        if count > limit:
            raise IRError(
                f"{op.name} at {op.loc}: no fixpoint after {limit} rewrites; {matched.__name__} matches still"
            )
        rewriter.revisit(op)
    return count


def eliminate_dead(module: Op, *, side_effects: Collection[str] = ()) -> int:
    """Erase ops that define values nobody reads, then resources nobody names; returns how many ops went.

    An op without results stays, and so does an op that is, or holds, one of `side_effects` (names of ops).
    """
    dead: set[Op] = set()
    for op in reversed(list(module.walk())):
        if op.results and not any(value.uses for value in op.results) and not _acts(op, side_effects):
            op.drop_operands()
            dead.update(op.walk())
    _sweep(module, dead)
    used = {symbol.name for op in module.walk() for attr in op.attrs.values() for symbol in symbols_in(attr)}
    unused = {op for op in module.walk() if op.name == "builtin.resource" and op.attrs["sym_name"] not in used}
    _sweep(module, unused)
    return len(dead) + len(unused)


def _acts(op: Op, side_effects: Collection[str]) -> bool:
    return any(inner.name in side_effects for inner in op.walk())


def _sweep(module: Op, dead: set[Op]) -> None:
    """Take `dead` ops out of their blocks, all at once: linear, however many there are."""
    for op in dead:
        op.drop_operands()
    for op in module.walk():
        for region in op.regions:
            region.block.ops = [inner for inner in region.block.ops if inner not in dead]
    for op in dead:
        op.parent = None


def _block(op: Op) -> Block:
    if op.parent is None:
        raise IRError(f"{op.name} at {op.loc}: is in no block")
    return op.parent
