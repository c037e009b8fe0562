"""flow -> flow: layers that are alike share one set of kernels, and a token comes once for each of them.

Of every `layers` consecutive layers the first one's kernels stay, between a `flow.gate` and a `flow.switch`, and take
the constants of the others. A kernel then has the cores of several, so a token is sooner through it, but it is the only
one on its way between the gate and the switch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from compiler.dialects import flow
from compiler.ir.core import Attr, Block, Op, Symbol, same_attr
from compiler.ir.passes import Pass, PassContext, register
from compiler.passes.layers import Layer, Layers, find_layers
from runtime.errors import InputError


@register
@dataclass(frozen=True)
class Fold(Pass):
    """Sets of kernels for several layers each."""

    name: ClassVar[str] = "fold"
    summary: ClassVar[str] = "let layers that are alike share kernels"

    layers: int = 1  # that share one set

    def run(self, module: Op, ctx: PassContext) -> None:
        if self.layers < 1:
            raise InputError(f"{self.layers} layers cannot share kernels; use 1 or more", code="bad-option")
        if self.layers == 1:
            return
        if module.body.find("flow.gate"):
            message = "layers of this module share kernels already"
            raise InputError(message, code="cannot-fold", hint="fold the module as it was before")
        found = find_layers([op for op in module.body.ops if op.dialect == "flow"])
        if not found.alike or len(found.alike) % self.layers:
            raise _uneven(found, self.layers)
        # From the last to the first: a set reads what the layer before it makes, while that is still there.
        for first in reversed(range(0, len(found.alike), self.layers)):
            _share(module.body, found.alike[first : first + self.layers], first // self.layers)
        options = module.attrs.get("options", {})
        assert isinstance(options, Mapping)
        module.attrs["options"] = {**options, "fold": self.layers}


def _uneven(found: Layers, wanted: int) -> InputError:
    count = len(found.alike)
    if not count:
        message = "no two layers in a row have the same kernels, so none can share them"
        return InputError(message, code="cannot-fold", hint="leave --fold out")
    ends = [flow.name_of(_kernels(found.alike[i])[i]) for i in (0, -1)]
    message = f"{wanted} does not divide the {count} layers that are alike, from {ends[0]} to {ends[1]}"
    if found.differs:
        message += "; not like them: " + "; ".join(found.differs)
    choices = ", ".join(str(n) for n in range(2, count + 1) if count % n == 0)
    return InputError(message, code="cannot-fold", hint=f"--fold may be {choices}")


def _kernels(layer: Layer) -> list[Op]:
    return [op for op in layer.ops if flow.is_kernel(op)]


def _share(block: Block, layers: Sequence[Layer], number: int) -> None:
    """Put the kernels of the first of `layers` between a gate and a switch, and remove the others."""
    first, last, passes = layers[0], layers[-1], len(layers)
    readers = list(last.exit.uses)
    for ops in zip(*(layer.ops for layer in layers), strict=True):
        if flow.is_kernel(ops[0]):
            _merge(ops)
    loc = first.ops[0].loc.merged(*(op.loc for op in first.ops))
    gate = flow.gate_def(first.entry, types=[first.entry.type], loc=loc, sym_name=f"gate{number}", passes=passes)
    for op in first.ops:
        for index, value in enumerate(op.operands):
            if value is first.entry:
                op.set_operand(index, gate.result)
    block.insert_before(first.ops[0], gate)
    switch = flow.switch_def(
        first.exit,
        types=[first.exit.type],
        loc=loc,
        sym_name=f"switch{number}",
        passes=passes,
        gate=Symbol(f"gate{number}"),
    )
    for user, index in readers:
        user.set_operand(index, switch.result)
    for layer in reversed(layers[1:]):
        for op in reversed(layer.ops):
            op.erase()
    block.ops.insert(block.ops.index(first.ops[-1]) + 1, switch)
    switch.parent = block


def _merge(ops: Sequence[Op]) -> None:
    """Give the first of kernels that are alike what the others have of their own."""
    own, *others = ops
    keys = [key for key in own.attrs if key != "sym_name" and not all(_same(own, op, key) for op in others)]
    later: tuple[Attr, ...] = tuple({key: op.attrs[key] for key in keys} for op in others)
    own.attrs.update(passes=len(ops), **({"later": later} if keys else {}))
    own.loc = own.loc.merged(*(op.loc for op in others))


def _same(a: Op, b: Op, key: str) -> bool:
    return same_attr(a.attrs[key], b.attrs[key])
