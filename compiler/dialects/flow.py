"""`flow`: kernels and the streams between them.

`lower-to-flow` writes the ops with streams whose block is not chosen, unless the order of features depends on it (q,
k and v of a head on one lane); `size` chooses blocks and the shape attributes (`tiles`, `finishers`,
`spread`, `across`, `tokens`, `blocks`); `place`
adds `x`, `y` and `orientation`. Every op but `flow.fork`, which is only wires, is one kernel and carries a `sym_name`
that the later levels and all reports use.

Layers that are alike may share one set of kernels (`fold`): it stands between a `flow.gate` and a `flow.switch`, and
its ops say how many `passes` a token makes. The stream from the switch back to the gate is no value, since values are
defined before they are used: the switch names its gate instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compiler.ir.core import Attr, IRError, Op, StreamType, Symbol, Value, same_attr
from compiler.ir.defs import Attribute, OpDef, define

STORAGE = ("f32", "f16")
MOST_PASSES = 1 << 12  # of a token through a kernel: layers of a model
# Attributes of every kernel op: set by lower-to-flow, and by place.
COMMON: Mapping[str, Attribute] = {
    "sym_name": Attribute(str, doc="the kernel's name"),
    "x": Attribute(int, optional=True, doc="west-most column, set by place"),
    "y": Attribute(int, optional=True, doc="north-most row, set by place"),
    "orientation": Attribute(int, optional=True, doc="0..7, see runtime.geometry.Orientation; set by place"),
    "passes": Attribute(int, optional=True, doc="how often a token comes through: layers that share the kernel"),
    "later": Attribute(tuple, optional=True, doc="for each pass but the first, the constants that differ in it"),
}


def _streams(op: Op) -> None:
    for value in (*op.operands, *op.results):
        if not isinstance(value.type, StreamType):
            raise IRError(f"{op.name} at {op.loc}: works on streams, not on {value.type}")
    _passes(op)


def _passes(op: Op) -> None:
    """Every pass but the first has an entry in `later`, which names other constants, and tokens come as often on all
    streams to a kernel as it says."""
    passes, later = op.attrs.get("passes", 1), op.attrs.get("later", ())
    if not isinstance(passes, int) or not 1 <= passes <= MOST_PASSES:
        raise IRError(f"{op.name} at {op.loc}: a token cannot pass {passes} times, only 1 to {MOST_PASSES}")
    if not isinstance(later, tuple) or (later and len(later) != passes - 1):
        raise IRError(f"{op.name} at {op.loc}: `later` wants an entry for each of {passes - 1} passes")
    for entry in later:
        if not isinstance(entry, Mapping) or not all(_alike(value, op.attrs.get(key)) for key, value in entry.items()):
            raise IRError(f"{op.name} at {op.loc}: {entry!r} in `later` does not fit the op: only constants may differ")
    if passes > 1 and op.name in ("flow.input", "flow.output"):
        raise IRError(f"{op.name} at {op.loc}: a token passes the host's ports once, not {passes} times")
    wanted = 1 if op.name == "flow.gate" else passes
    for value in op.operands if op.name != "flow.fork" else ():
        if _times(value) != wanted:
            raise IRError(f"{op.name} at {op.loc}: takes a token {wanted} times, but it comes {_times(value)} times")


def _times(value: Value) -> Attr:
    """How often a token comes on a stream; forks are only wires."""
    op = value.op
    while op is not None and op.name == "flow.fork" and op.operands:
        op = op.operands[0].op
    return 1 if op is None or op.name == "flow.switch" else op.attrs.get("passes", 1)


def _alike(a: Attr, b: Attr | None) -> bool:
    """The same but for constants."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_alike, a, b))
    return b is not None and (same_attr(a, b) or (isinstance(a, Symbol) and isinstance(b, Symbol)))


def _same_features(op: Op) -> None:
    _streams(op)
    streams = [value.type for value in (*op.operands, *op.results)]
    if len({(s.features, s.lanes) for s in streams if isinstance(s, StreamType)}) > 1:
        raise IRError(f"{op.name} at {op.loc}: its streams must have the same features and lanes, not {streams}")


def _end(op: Op) -> None:
    _same_features(op)
    if passes_of(op) < 2:
        raise IRError(f"{op.name} at {op.loc}: kernels that tokens pass once have no gate and no switch")


def _gate(op: Op) -> None:
    _end(op)
    if op.parent is not None:
        name = Symbol(name_of(op))
        count = sum(other.name == "flow.switch" and other.attrs.get("gate") == name for other in op.parent.ops)
        if count != 1:
            raise IRError(f"{op.name} at {op.loc}: {count} switches send tokens back to it, not one")


def _switch(op: Op) -> None:
    if op.parent is not None:
        gate = gate_of(op)
        if (gate.attrs.get("passes"), gate.result.type) != (op.attrs.get("passes"), op.result.type):
            raise IRError(f"{op.name} at {op.loc}: its gate has other passes or another stream")
    _end(op)


def _same_element_counts(op: Op) -> None:
    _streams(op)
    streams = [value.type for value in (*op.operands, *op.results)]
    if len({s.features for s in streams if isinstance(s, StreamType)}) > 1:
        raise IRError(f"{op.name} at {op.loc}: changes the number of features: {streams}")


def _matvec(op: Op) -> None:
    _streams(op)
    lists = ("weights", "transposed", "columns", "biases", "starts", "counts")
    lengths = {key: len(value) for key in lists if isinstance(value := op.attrs[key], tuple)}
    if len(set(lengths.values())) != 1 or not lengths:
        raise IRError(f"{op.name} at {op.loc}: one entry per group is wanted in each list, got {lengths}")
    y, declared = stream(op.result.type), op.attrs["counts"]
    counts = [n for n in declared if isinstance(n, int)] if isinstance(declared, tuple) else []
    if sum(counts) != y.features:
        raise IRError(f"{op.name} at {op.loc}: groups of {counts} columns are not the features of {y}")
    if len(counts) > 1 and (not y.block or any(y.block * n % y.features for n in counts)):
        raise IRError(f"{op.name} at {op.loc}: groups of {counts} columns do not share out over the lanes of {y}")


STORAGE_ATTR = Attribute(str, doc="element type of weights, caches and multiplied operands", choices=STORAGE)

input_def = define(
    "flow.input",
    "a graph input entering from the host; `limit`: ids are below it",
    results=("y",),
    attrs={
        **COMMON,
        "name": Attribute(str),
        "shape": Attribute(tuple),
        "dtype": Attribute(str),
        "limit": Attribute(int, optional=True),
    },
    verify=_streams,
)
output_def = define(
    "flow.output",
    "a graph output leaving to the host",
    operands=("x",),
    attrs={
        **COMMON,
        "name": Attribute(str),
        "shape": Attribute(tuple),
        "dtype": Attribute(str),
        "pitch": Attribute(int, optional=True, doc="rows from one lane to the next, negative to run north"),
    },
    verify=_streams,
)
lookup_def = define(
    "flow.lookup",
    "y = tokens[id] (+ positions[position]); `blocks`: table rows per core, for each table",
    operands=("ids",),
    results=("y",),
    attrs={
        **COMMON,
        "tables": Attribute(tuple, doc="resources of the token table, then perhaps the position table"),
        "counts": Attribute(tuple, doc="rows of each table that are used"),
        "blocks": Attribute(tuple, optional=True),
        "storage": STORAGE_ATTR,
    },
    verify=_streams,
)
matvec_def = define(
    "flow.matvec",
    "y = activation(x W + bias); lane l of y has, group after group, its share of the group's columns",
    operands=("x",),
    results=("y",),
    attrs={
        **COMMON,
        "weights": Attribute(tuple, doc="the matrix of each group"),
        "transposed": Attribute(tuple, doc="is the group's matrix stored [n, k]?"),
        "columns": Attribute(tuple, doc="columns the group's matrix has in all"),
        "biases": Attribute(tuple, doc="the bias of each group, or an empty string"),
        "starts": Attribute(tuple, doc="the group's first column in its matrix"),
        "counts": Attribute(tuple, doc="the group's number of columns"),
        "activation": Attribute(str, default=""),
        "storage": STORAGE_ATTR,
        "tiles": Attribute(int, optional=True, doc="rows of cores over x; one per lane if not given"),
        "finishers": Attribute(int, optional=True, doc="cores below each column that share out the activation"),
        "entry": Attribute(
            str, optional=True, doc="edge or diagonal: the core of each row that hears the lanes for it"
        ),
    },
    verify=_matvec,
)
norm_def = define(
    "flow.norm",
    "LayerNorm over the features",
    operands=("x",),
    results=("y",),
    attrs={
        **COMMON,
        "scale": Attribute(Symbol),
        "bias": Attribute(Symbol),
        "epsilon": Attribute(float),
        "tokens": Attribute(int, optional=True, doc="tokens a core may hold while their sums are under way"),
    },
    verify=_same_features,
)
attention_def = define(
    "flow.attention",
    "causal attention; each head's lanes of x have shares of its [q, k, v]; `spread` cores share a head's cache",
    operands=("x",),
    results=("y",),
    attrs={
        **COMMON,
        "heads": Attribute(int),
        "head_dim": Attribute(int),
        "scale": Attribute(float),
        "max_seq": Attribute(int),
        "slots": Attribute(int),
        "spread": Attribute(int, optional=True),
        "across": Attribute(int, optional=True, doc="columns of the rectangle, if not spread"),
        "storage": STORAGE_ATTR,
    },
    verify=_streams,
)
map_def = define(
    "flow.map",
    "y = fn(x), or with `constant` y = x fn constant (`swapped`: constant fn x)",
    operands=("x",),
    results=("y",),
    attrs={
        **COMMON,
        "fn": Attribute(str),
        "constant": Attribute(Symbol, optional=True),
        "constant_size": Attribute(int, default=0),
        "swapped": Attribute(bool, default=False),
    },
    verify=_same_features,
)
join_def = define(
    "flow.join",
    "y = a fn b",
    operands=("a", "b"),
    results=("y",),
    attrs={**COMMON, "fn": Attribute(str)},
    verify=_same_features,
)
fork_def = define(
    "flow.fork", "the same stream to several readers: one multicast tree, no cores", operands=("x",), results=("ys*",),
    verify=_same_features,
)  # fmt: skip
fifo_def = define(
    "flow.fifo",
    "a stream held back while a longer branch works; `tokens`: its capacity, `reason`: why that is enough",
    operands=("x",),
    results=("y",),
    attrs={**COMMON, "tokens": Attribute(int, optional=True), "reason": Attribute(str, optional=True)},
    verify=_same_features,
)
relane_def = define(
    "flow.relane",
    "the same stream over another number of lanes, by merging `ratio` neighbours or splitting each",
    operands=("x",),
    results=("y",),
    attrs={**COMMON, "ratio": Attribute(int), "merge": Attribute(bool)},
    verify=_same_element_counts,
)

gate_def = define(
    "flow.gate",
    "where a token enters kernels that several layers share: from `x`, then from the switch, `passes` times in all",
    operands=("x",),
    results=("y",),
    attrs=COMMON,
    verify=_gate,
)
switch_def = define(
    "flow.switch",
    "where it leaves them: after all passes but the last back to the gate, on a stream that only the two know of",
    operands=("x",),
    results=("y",),
    attrs={**COMMON, "gate": Attribute(Symbol)},
    verify=_switch,
)

KERNELS: tuple[OpDef, ...] = (
    input_def, output_def, lookup_def, matvec_def, norm_def, attention_def, map_def, join_def, fifo_def, relane_def,
    gate_def, switch_def,
)  # fmt: skip
KERNEL_NAMES = frozenset(definition.name for definition in KERNELS)


def is_kernel(op: Op) -> bool:
    """Is this a flow op that stands on the wafer?"""
    return op.name in KERNEL_NAMES


def stream(value_type: object) -> StreamType:
    """`value_type` as a stream type. Raises IRError if it is none."""
    if not isinstance(value_type, StreamType):
        raise IRError(f"a stream is wanted here, not {value_type}")
    return value_type


def outputs_of(op: Op) -> list[Op]:
    """The graph outputs that a kernel feeds without another in between."""
    found: list[Op] = []
    values = list(op.results) if op.name != "flow.relane" else []
    for value in values:  # grows: forks are only wires
        for user, _ in value.uses:
            if user.name == "flow.fork":
                values += user.results
            elif user.name == "flow.output":
                found.append(user)
    return found


def passes_of(op: Op) -> int:
    """How often a token comes through a kernel."""
    passes = op.attrs.get("passes", 1)
    assert isinstance(passes, int)
    return passes


def in_pass(attrs: Mapping[str, Attr], number: int) -> dict[str, Attr]:
    """The attributes of a kernel as they are in pass `number` (from 0), without what says that there are several."""
    later: Any = attrs.get("later", ())
    changed = later[number - 1] if number and later else {}
    return {**{key: value for key, value in attrs.items() if key not in ("passes", "later")}, **changed}


def gate_of(switch: Op) -> Op:
    """The gate to which a switch sends tokens back. Raises IRError if there is none before it in its block."""
    symbol = switch.attrs["gate"]
    assert isinstance(symbol, Symbol)
    for op in switch.parent.ops if switch.parent is not None else ():
        if op is switch:
            break
        if op.name == "flow.gate" and op.attrs.get("sym_name") == symbol.name:
            return op
    raise IRError(f"{switch.name} at {switch.loc}: there is no gate @{symbol.name} before it")


def switch_of(gate: Op) -> Op:
    """The switch that sends tokens back to a gate. Raises IRError if there is none in its block."""
    name = Symbol(name_of(gate))
    for op in gate.parent.ops if gate.parent is not None else ():
        if op.name == "flow.switch" and op.attrs.get("gate") == name:
            return op
    raise IRError(f"{gate.name} at {gate.loc}: no switch sends tokens back to it")


def name_of(op: Op) -> str:
    """The kernel's name."""
    name = op.attrs["sym_name"]
    assert isinstance(name, str)
    return name
