"""graph -> flow: tensors become streams of tokens, ops become kernels.

Accepted is the normal form the graph passes leave: ids looked up in constant tables, layer norms, products with
constant matrices (bias and activation absorbed), causal attention over columns of such products, elementwise ops,
sums of streams. Permutations of features (the q, k, v columns of every head) are absorbed into the matvec that makes
them. Everything else is reported in one error that lists each op with its ONNX nodes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from compiler.dialects import flow
from compiler.ir.core import Attr, Block, Loc, Op, StreamType, Symbol, TensorType, Type, Value
from compiler.ir.passes import Pass, PassContext, register
from runtime.errors import InputError
from runtime.isa import BINARY, MAPS
from runtime.stream import MAX_POSITIONS, MAX_SLOTS

COMMUTATIVE = ("add", "mul", "max", "min")


class _Unsupported(Exception):
    """This op does not fit; the text says why."""


@register
@dataclass(frozen=True)
class LowerToFlow(Pass):
    """Turn the graph into kernels and streams."""

    name: ClassVar[str] = "lower-to-flow"
    summary: ClassVar[str] = "turn tensors into streams of tokens and ops into kernels"

    precision: str = "fp32"
    max_seq: int = 0  # 0: as many positions as the model has
    slots: int = 1

    def run(self, module: Op, ctx: PassContext) -> None:
        if self.precision not in ("fp32", "fp16"):
            raise InputError(f"precision {self.precision!r}; there are fp32 and fp16", code="bad-option")
        if not 1 <= self.slots <= MAX_SLOTS:
            raise InputError(f"{self.slots} slots; there may be 1 to {MAX_SLOTS}", code="bad-option")
        if not 0 <= self.max_seq <= MAX_POSITIONS:
            raise InputError(
                f"{self.max_seq} positions; there may be 1 to {MAX_POSITIONS}, 0 for the model's own", code="bad-option"
            )
        _Lowering(module, self).run()


class _Lowering:
    """One run over one module; `streams` maps graph values to flow values, `columns` to parts of matvecs."""

    def __init__(self, module: Op, options: LowerToFlow) -> None:
        self.module = module
        self.options = options
        self.storage = "f32" if options.precision == "fp32" else "f16"
        self.block = Block()
        self.streams: dict[Value, Value] = {}
        self.columns: dict[Value, tuple[Value, int, int]] = {}  # slice -> (stream of a matvec, start, end)
        self.positions: dict[Value, Op] = {}  # rows of a position table -> its gather
        self.counts: dict[str, int] = {}
        self.max_seq = options.max_seq

    def run(self) -> None:
        graph_ops = [op for op in self.module.body.ops if op.dialect == "graph"]
        self.max_seq = self.max_seq or _positions(graph_ops)
        problems: list[tuple[Op, str]] = []
        for op in graph_ops:
            try:
                self.lower(op)
            except _Unsupported as reason:
                problems.append((op, str(reason)))
        self._check_leftovers(graph_ops, problems)
        self._drop_unread()
        for op in reversed(graph_ops):
            op.erase()
        for op in self.block.ops:
            self.module.body.append(op)
        self.module.attrs["options"] = {
            "precision": self.options.precision,
            "max_seq": self.max_seq,
            "slots": self.options.slots,
        }

    def _check_leftovers(self, graph_ops: list[Op], problems: list[tuple[Op, str]]) -> None:
        if problems:
            # An op that only misses an operand another problem would have made is not news.
            told = [(op, text) for op, text in problems if text != MISSING] or problems
            lines = [f"  {op.name} ({op.loc}): {text}" for op, text in told]
            raise InputError(
                "\n".join([f"{len(told)} ops of the model cannot be mapped to kernels:", *lines]),
                code="unsupported-graph",
                hint=KERNELS,
            )
        if not any(op.name == "graph.output" for op in graph_ops):
            raise InputError("the model has no outputs", code="no-output")

    def _drop_unread(self) -> None:
        """Remove products whose columns attention took over, and inputs nobody reads."""
        for op in reversed(list(self.block.ops)):
            if op.name in ("flow.matvec", "flow.input") and not op.result.uses:
                op.erase()

    def lower(self, op: Op) -> None:
        lowering = LOWERINGS.get(op.name)
        if lowering is None:
            raise _Unsupported("no kernel does this")
        lowering(self, op)

    # What each op becomes, see LOWERINGS.

    def _nothing(self, op: Op) -> None:
        """Readers look at the graph op itself."""

    def _input(self, op: Op) -> None:
        type = _tensor(op.result)
        if type.dtype in ("f32", "f16"):
            features = type.shape[-1] if type.shape else 1
            if not isinstance(features, int):
                raise _Unsupported(f"the last axis of input {op.attrs['name']!r} must have a fixed size")
            self.emit_input(op, features, type, {})
        elif type.dtype != "i64":
            raise _Unsupported(f"input {op.attrs['name']!r} has element type {type.dtype}")

    def _slice(self, op: Op) -> None:
        source = self.stream(op.operands[0])
        type, a = _tensor(op.operands[0]), op.attrs
        if source.op is None or source.op.name != "flow.matvec" or source.op.attrs["activation"]:
            raise _Unsupported("only the columns of a product with a constant matrix can be taken apart")
        if a["axis"] != len(type.shape) - 1:
            raise _Unsupported("slices along a token axis are not supported")
        self.columns[op.result] = (source, _int(a["start"]), _int(a["end"]))

    def emit_input(self, op: Op, features: int, type: TensorType, attrs: dict[str, Attr]) -> Value:
        dtype = "i32" if type.dtype == "i64" else "f32"
        port: Value = self.emit(
            flow.input_def, op.loc, StreamType(features, 0, dtype),
            name=op.attrs["name"], shape=type.shape, dtype=type.dtype, **attrs,
        )  # fmt: skip
        self.streams[op.result] = port
        return port

    def _gather(self, op: Op) -> None:
        table, ids = op.operands
        name, type = self.constant(table), _tensor(table)
        if name is None or len(type.shape) != 2:
            raise _Unsupported("rows can be picked from a constant matrix only")
        if ids.op is not None and ids.op.name == "graph.shape_value" and ids.op.attrs["kind"] == "positions":
            self.positions[op.result] = op
            return
        if ids.op is None or ids.op.name != "graph.input":
            raise _Unsupported("rows can be picked by a graph input or by position only")
        rows, features = _int(type.shape[0]), _int(type.shape[1])
        port = self.streams.get(ids)
        if port is None:
            port = self.emit_input(ids.op, 1, _tensor(ids), {"limit": rows})
        elif port.op is not None:
            port.op.attrs["limit"] = min(rows, _int(port.op.attrs["limit"]))
        self.streams[op.result] = self.emit(
            flow.lookup_def, op.loc, StreamType(features, 0, "f32"), port,
            tables=(name,), counts=(rows,), storage=self.storage,
        )  # fmt: skip

    def _matmul(self, op: Op) -> None:
        name, type = self.constant(op.operands[1]), _tensor(op.operands[1])
        if name is None or len(type.shape) != 2:
            raise _Unsupported("a product must be with a constant matrix on the right")
        x = self.stream(op.operands[0])
        transposed = bool(op.attrs["transpose_b"])
        n = _int(type.shape[0 if transposed else 1])
        self.streams[op.result] = self.emit(
            flow.matvec_def, op.loc, StreamType(n, 0, "f32"), x,
            weights=(name,), transposed=(transposed,), columns=(n,), biases=("",), starts=(0,), counts=(n,),
            storage=self.storage,
        )  # fmt: skip

    def _layer_norm(self, op: Op) -> None:
        x, scale, bias = self.stream(op.operands[0]), self.constant(op.operands[1]), self.constant(op.operands[2])
        features = flow.stream(x.type).features
        if (
            scale is None
            or bias is None
            or _elements(op.operands[1]) != features
            or _elements(op.operands[2]) != features
        ):
            raise _Unsupported("scale and bias must be constant vectors, one element per feature")
        self.streams[op.result] = self.emit(
            flow.norm_def, op.loc, x.type, x, scale=scale, bias=bias, epsilon=op.attrs["epsilon"]
        )

    def _unary(self, op: Op) -> None:
        x, fn = self.stream(op.operands[0]), op.attrs["fn"]
        if fn not in MAPS:
            raise _Unsupported(f"cores have no routine for {fn}")
        if self.absorbable(op.operands[0], x):
            self.absorb(op, x, activation=fn)
        else:
            self.streams[op.result] = self.emit(flow.map_def, op.loc, x.type, x, fn=fn)

    def _binary(self, op: Op) -> None:
        fn = op.attrs["fn"]
        if fn not in BINARY:
            raise _Unsupported(f"cores cannot compute {fn} of two values")
        a, b = op.operands
        if fn == "add" and (a in self.positions or b in self.positions):
            self._add_positions(op)
        elif self.constant(b) is not None:
            self._with_constant(op, a, b, swapped=False)
        elif self.constant(a) is not None:
            self._with_constant(op, b, a, swapped=fn not in COMMUTATIVE)
        else:
            x, y = self.stream(a), self.stream(b)
            if _tensor(a).shape != _tensor(b).shape:
                raise _Unsupported(f"streams of shapes {_tensor(a).shape} and {_tensor(b).shape} cannot be combined")
            self.streams[op.result] = self.emit(flow.join_def, op.loc, x.type, x, y, fn=fn)

    def _add_positions(self, op: Op) -> None:
        rows, x = op.operands if op.operands[0] in self.positions else op.operands[::-1]
        lookup = self.stream(x).op
        if lookup is None or lookup.name != "flow.lookup" or len(_list(lookup.attrs["tables"])) != 1:
            raise _Unsupported("position rows can only be added to the rows of a token table")
        gather = self.positions[rows]
        table = self.constant(gather.operands[0])
        shape = _tensor(gather.operands[0]).shape
        if shape[1] != flow.stream(lookup.result.type).features or table is None:
            raise _Unsupported("token table and position table differ in width")
        lookup.attrs["tables"] = (*_list(lookup.attrs["tables"]), table)
        lookup.attrs["counts"] = (*_list(lookup.attrs["counts"]), self._positions_used(_int(shape[0]), gather))
        lookup.loc = lookup.loc.merged(gather.loc, op.loc)
        self.streams[op.result] = lookup.result

    def _positions_used(self, rows: int, gather: Op) -> int:
        if self.max_seq > rows:
            raise InputError(
                f"the model has {rows} positions, {self.max_seq} are asked for",
                code="max-seq", where=str(gather.loc), hint=f"use --max-seq {rows} or less",
            )  # fmt: skip
        return self.max_seq

    def _with_constant(self, op: Op, x: Value, constant: Value, *, swapped: bool) -> None:
        source, name, size = self.stream(x), self.constant(constant), _elements(constant)
        features = flow.stream(source.type).features
        last = _tensor(constant).shape[-1] if _tensor(constant).shape else 1
        if name is None or size not in (1, features) or size != last:
            raise _Unsupported(f"a constant of shape {_tensor(constant).shape} does not fit {features} features")
        if op.attrs["fn"] == "add" and size == features and self.absorbable(x, source) and _bias_free(source):
            self.absorb(op, source, biases=(name,))
        else:
            self.streams[op.result] = self.emit(
                flow.map_def, op.loc, source.type, source,
                fn=op.attrs["fn"], constant=name, constant_size=size, swapped=swapped,
            )  # fmt: skip

    def _attention(self, op: Op) -> None:
        if not op.attrs["causal"]:
            raise _Unsupported("only causal attention is supported")
        heads, head_dim = _int(op.attrs["heads"]), _int(op.attrs["head_dim"])
        parts = [self.part(value, heads * head_dim) for value in op.operands]
        producers = list(dict.fromkeys(part[0].op for part in parts))
        if len({producer.operands[0] for producer in producers if producer is not None}) != 1:
            raise _Unsupported("query, key and value must be computed from the same stream")
        groups: dict[str, list[Attr]] = {key: [] for key in ("weights", "transposed", "columns", "biases")}
        for part in parts:
            assert part[0].op is not None
            for key, values in groups.items():
                values.append(_list(part[0].op.attrs[key])[0])
        loc = op.loc.merged(*(producer.loc for producer in producers if producer is not None))
        assert producers[0] is not None
        qkv = self.emit(
            flow.matvec_def, loc, StreamType(3 * heads * head_dim, 3 * head_dim, "f32"), producers[0].operands[0],
            **{key: tuple(values) for key, values in groups.items()},
            starts=tuple(part[1] for part in parts), counts=(heads * head_dim,) * 3, storage=self.storage,
        )  # fmt: skip
        self.streams[op.result] = self.emit(
            flow.attention_def, op.loc, StreamType(heads * head_dim, 0, "f32"), qkv,
            heads=heads, head_dim=head_dim, scale=op.attrs["scale"], max_seq=self.max_seq,
            slots=self.options.slots, storage=self.storage,
        )  # fmt: skip

    def part(self, value: Value, width: int) -> tuple[Value, int]:
        """(stream of a matvec, first column): which columns of a product `value` is."""
        stream, start, end = self.columns.get(value) or (self.stream(value), 0, width)
        producer = stream.op
        if producer is None or producer.name != "flow.matvec" or producer.attrs["activation"] or end - start != width:
            raise _Unsupported("query, key and value must be columns of products with constant matrices")
        return stream, start

    def _output(self, op: Op) -> None:
        x, type = self.stream(op.operands[0]), _tensor(op.operands[0])
        self.emit(flow.output_def, op.loc, None, x, name=op.attrs["name"], shape=type.shape, dtype=type.dtype)

    # Helpers.

    def stream(self, value: Value) -> Value:
        found = self.streams.get(value)
        if found is None:
            if value.op is not None and value.op.name in ("graph.constant", "graph.input", "graph.shape_value"):
                raise _Unsupported(f"{value.op.name} ({value.op.loc}) cannot be used here")
            if value in self.columns:
                raise _Unsupported("columns taken out of a product can only be query, key and value of attention")
            raise _Unsupported(MISSING)
        return found

    def constant(self, value: Value) -> Symbol | None:
        if value.op is None or value.op.name != "graph.constant":
            return None
        symbol = value.op.attrs["value"]
        return symbol if isinstance(symbol, Symbol) else None

    def absorbable(self, value: Value, stream: Value) -> bool:
        """Is `value` a product nobody else reads, without an activation yet?"""
        producer = stream.op
        if producer is None or producer.name != "flow.matvec" or producer.attrs["activation"]:
            return False
        return len(value.users) == 1 and not stream.uses

    def absorb(self, op: Op, stream: Value, **attrs: Attr) -> None:
        """Let the matvec that makes `stream` do `op` as well."""
        assert stream.op is not None
        stream.op.attrs.update(attrs)
        stream.op.loc = stream.op.loc.merged(op.loc)
        self.streams[op.result] = stream

    def emit(self, definition: Any, loc: Loc, type: Type | None, *operands: Value, **attrs: Attr) -> Any:
        """Append a kernel; its result, if it has one."""
        kind = definition.name.removeprefix("flow.")
        number = self.counts.get(kind, 0)
        self.counts[kind] = number + 1
        types = [] if type is None else [type]
        op = self.block.append(definition(*operands, types=types, loc=loc, sym_name=f"{kind}{number}", **attrs))
        return op.result if type is not None else None


MISSING = "an operand could not be computed"
KERNELS = (
    "there are kernels for lookups in tables, layer norms, products with constant matrices, causal attention, "
    "elementwise ops with constants, and sums of two values"
)
LOWERINGS: dict[str, Callable[[_Lowering, Op], None]] = {
    "graph.constant": _Lowering._nothing,
    "graph.shape_value": _Lowering._nothing,
    "graph.input": _Lowering._input,
    "graph.output": _Lowering._output,
    "graph.gather": _Lowering._gather,
    "graph.matmul": _Lowering._matmul,
    "graph.slice": _Lowering._slice,
    "graph.attention": _Lowering._attention,
    "graph.layer_norm": _Lowering._layer_norm,
    "graph.unary": _Lowering._unary,
    "graph.binary": _Lowering._binary,
}


def _positions(ops: list[Op]) -> int:
    """How many positions the model has: rows of its position table, else 2048."""
    for op in ops:
        if (
            op.name == "graph.gather"
            and op.operands[1].op is not None
            and op.operands[1].op.name == "graph.shape_value"
        ):
            return _int(_tensor(op.operands[0]).shape[0])
    return min(2048, MAX_POSITIONS)


def _bias_free(stream: Value) -> bool:
    assert stream.op is not None
    return not any(_list(stream.op.attrs["biases"]))


def _tensor(value: Value) -> TensorType:
    assert isinstance(value.type, TensorType)
    return value.type


def _elements(value: Value) -> int:
    count = 1
    for dim in _tensor(value).shape:
        count *= dim if isinstance(dim, int) else 0
    return count


def _int(value: object) -> int:
    if not isinstance(value, int):
        raise _Unsupported(f"a fixed size is wanted, not {value}")
    return value


def _list(value: Attr) -> tuple[Attr, ...]:
    assert isinstance(value, tuple)
    return value
