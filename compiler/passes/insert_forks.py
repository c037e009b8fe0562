"""flow -> flow: a stream with several readers goes through a `flow.fork`; uneven branches get a `flow.fifo`.

A fork is one multicast tree, so it moves on only when all its branches do. Where branches meet again in a join, the
shorter one must hold the tokens the longer one has in flight, or the pipeline stalls: it gets a fifo, whose capacity
`size` chooses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from compiler.dialects import flow
from compiler.ir.core import Op, Value
from compiler.ir.passes import Pass, PassContext, register
from runtime.errors import InputError


@register
@dataclass(frozen=True)
class InsertForks(Pass):
    """Make multicast and the buffering it needs explicit."""

    name: ClassVar[str] = "insert-forks"
    summary: ClassVar[str] = "make multicast explicit and put a fifo on the shorter branch of every join"

    def run(self, module: Op, ctx: PassContext) -> None:
        block = module.body
        if block.find("flow.fork") or block.find("flow.fifo"):
            raise InputError("the module has forks and fifos already", code="pass-order")
        for op in list(block.ops):
            if flow.is_kernel(op):
                for value in op.results:
                    _fork(value)
        depth = _depths(block.ops)
        number = 0
        for join in block.find("flow.join"):
            longest = max(depth[value] for value in join.operands)
            for index, value in enumerate(join.operands):
                # A join hears its first operand to the end before the second, so a second one on the same wire waits.
                same_wire = index == 1 and value.op is not None and value.op.name == "flow.fork"
                if depth[value] < longest or same_wire:
                    fifo = flow.fifo_def(value, types=[value.type], loc=join.loc, sym_name=f"fifo{number}")
                    block.insert_before(join, fifo)
                    join.set_operand(index, fifo.result)
                    number += 1


def _fork(value: Value) -> None:
    uses = list(value.uses)
    if len(uses) < 2:
        return
    assert value.op is not None and value.op.parent is not None
    block = value.op.parent
    fork = flow.fork_def(value, types=[value.type] * len(uses), loc=value.op.loc)
    block.ops.insert(block.ops.index(value.op) + 1, fork)
    fork.parent = block
    for (user, index), branch in zip(uses, fork.results, strict=True):
        user.set_operand(index, branch)


def _depths(ops: list[Op]) -> dict[Value, int]:
    """Kernels on the longest way from an input to each stream."""
    depth: dict[Value, int] = {}
    for op in ops:
        reached = max((depth[value] for value in op.operands), default=0) + flow.is_kernel(op)
        depth.update(dict.fromkeys(op.results, reached))
    return depth
