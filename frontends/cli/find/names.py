"""Which ONNX value an IR value is, by the names in locations.

A location lists the ONNX nodes an op works for in the order of their merging, and every pass puts the node whose output
the op computes last. So an op's result is the output of the last node in its location; of several such ops (a
product and its bias, a reshape moved away) the last in the text. Reshapes change nothing here: values are compared in
row-major order. Where layers share kernels, names are those that the layers had before (`Names`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compiler.dialects import flow
from compiler.flow_interpreter import Step, reads, side_by_side, steps
from compiler.ir.core import Op, Symbol, Value
from compiler.passes.layers import find_layers
from compiler.resources import ResourceStore
from frontends.onnx.load import LoadedModel

Array = np.ndarray[Any, Any]

# Ops that pass on what they read.
PASSING_ON = ("flow.fork", "flow.fifo", "flow.relane", "flow.gate", "flow.switch")
# Ops whose result is no value of the model, or the same as their operand.
UNNAMED = (
    *("builtin.resource", "graph.constant", "graph.shape_value", "graph.input", "graph.output"),
    *("flow.input", "flow.output", *PASSING_ON),
)


@dataclass(frozen=True)
class Named:
    """What a step computes: the ONNX value (empty if it is none), and what people call it (see `label`)."""

    value: str
    where: str


class Names:
    """Names for the steps of a module on its way down.

    Layers that share kernels have a location of all their nodes in common. So `note` the module while every layer still
    has its own; the kernels of the first layer keep their names when layers are folded.
    """

    def __init__(self, outputs: Mapping[str, tuple[str, ...]], resources: ResourceStore) -> None:
        self._outputs, self._resources = outputs, resources
        self._layers: list[Sequence[Named]] = []  # of each layer, in the order of its ops
        self._places: dict[str, tuple[int, int]] = {}  # by kernel: which op of which layer

    def note(self, module: Op) -> None:
        """Remember the layers of a flow module that share nothing yet; other modules are passed over."""
        ops = [op for op in module.body.ops if op.dialect == "flow"]
        if not ops or _shares(module):
            return
        values = value_names(module, self._outputs)
        alike = [layer.ops for layer in find_layers(ops).alike]
        self._layers = [[self._own(op, values) for op in layer] for layer in alike]
        self._places = {
            flow.name_of(op): (number, place)
            for number, layer in enumerate(alike)
            for place, op in enumerate(layer)
            if flow.is_kernel(op)
        }

    def of(self, module: Op) -> dict[Step, Named]:
        """Of every step of a `graph` or `flow` module."""
        values, shares = value_names(module, self._outputs), _shares(module)
        found: dict[Step, Named] = {}
        for step in steps(module):
            known = self._places.get(str(step.op.attrs.get("sym_name"))) if flow.passes_of(step.op) > 1 else None
            if known is not None:
                layer, place = known
                found[step] = self._layers[layer + step.number][place]
            elif shares and step.op.name in PASSING_ON:
                found[step] = Named("", found[maker_of(step)].where)
            else:
                found[step] = self._own(step.op, values)
        return found

    def _own(self, op: Op, values: Mapping[Value, str]) -> Named:
        return Named(values.get(op.results[0], "") if op.results else "", label(op, self._resources))


def _shares(module: Op) -> bool:
    return bool(module.body.find("flow.gate"))


def maker_of(step: Step) -> Step:
    """The step that made what a step reads first."""
    value, number = reads(step)[0]
    assert value.op is not None
    return Step(value.op, number)


def node_outputs(model: LoadedModel) -> dict[str, tuple[str, ...]]:
    """The outputs of every node by its name; nodes that share a name are left out."""
    outputs: dict[str, tuple[str, ...]] = {}
    twice = set()
    for node in model.nodes:
        if node.name in outputs:
            twice.add(node.name)
        outputs[node.name] = tuple(name for name in node.outputs if name)
    return {name: values for name, values in outputs.items() if name not in twice}


def value_names(module: Op, outputs: Mapping[str, tuple[str, ...]]) -> dict[Value, str]:
    """The ONNX name of every value of a `graph` or `flow` module that is one of the model's."""
    makers: dict[str, list[Op]] = {}
    for op in module.body.ops:
        if op.name not in UNNAMED and op.dialect in ("graph", "flow") and op.loc.names:
            makers.setdefault(op.loc.names[-1], []).append(op)
    names: dict[Value, str] = {}
    for node, ops in makers.items():
        values = outputs.get(node, ())
        if len(values) == 1:
            # A fused attention leaves layout ops of the same node behind it, which may go or stay.
            maker = next((op for op in ops if op.name.endswith(".attention")), ops[-1])
            if is_one_value(maker):
                names[maker.result] = values[0]
        elif len(values) == len(ops) and all(op.name == "graph.slice" for op in ops):  # a Split
            in_order = sorted(ops, key=lambda op: int(str(op.attrs["start"])))
            names.update(zip((op.result for op in in_order), values, strict=True))
    return names


def is_one_value(op: Op) -> bool:
    """Whether an op's result is one ONNX value, perhaps with its features in another order; not q, k, v of three."""
    if op.name != "flow.matvec":
        return True
    a: Any = op.attrs
    return len(a["weights"]) == 1 or (len(set(a["weights"])) == 1 and sum(a["counts"]) == a["columns"][0])


def arranged(op: Op, reference: Array, shape: tuple[int, ...]) -> Array | None:
    """The reference as the op's result has it, or None if the two cannot be the same value."""
    if reference.size != np.prod(shape):
        return None
    a: Any = op.attrs
    if op.name.endswith(".attention") and reference.ndim == 4:  # [batch, head, position, element]
        return reference.transpose(0, 2, 1, 3).reshape(shape)
    values = reference.reshape(shape)
    if op.name != "flow.matvec" or len(a["starts"]) == 1:
        return values
    spans = zip(a["starts"], a["counts"], strict=True)
    return side_by_side(op, [values[..., start : start + count] for start, count in spans])


def label(op: Op, resources: ResourceStore) -> str:
    """What people call an op: the name of the weights it works with if they have one, else its last ONNX node."""
    if op.name == "flow.attention" and op.operands[0].op is not None:
        return label(op.operands[0].op, resources).rpartition(".")[0] or _node(op)
    constants: list[object] = []
    for key in ("weights", "tables", "scale", "constant"):
        value = op.attrs.get(key)
        constants += value[:1] if isinstance(value, tuple) else [value]
    makers = [operand.op for operand in op.operands]
    constants += [m.attrs["value"] for m in makers if m is not None and m.name == "graph.constant"]
    hints = [resources.info(constant.name).hint for constant in constants if isinstance(constant, Symbol)]
    named = next((hint for hint in hints if hint.endswith((".weight", ".bias"))), "")
    if named:
        return named.rpartition(".")[0]
    return _node(op)


def _node(op: Op) -> str:
    return op.loc.names[-1] if op.loc.names else op.name


def op_name(op: Op) -> str:
    """The kernel's name, or the graph op's."""
    return flow.name_of(op) if "sym_name" in op.attrs else op.name
