"""fuse-attention: softmax(q k^T * scale + mask) v over split heads becomes `graph.attention` on [batch, seq, features].

The heads must be split as reshape [b, s, H*D] -> [b, s, H, D], transpose -> [b, H, s, D]; the scale may stand on q,
on k, on both or on the scores; the mask must be none or causal, known from its `shape_value`. The output is put back as
[b, H, s, D], whose inverse in the model `simplify` then cancels.
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.dialects import graph
from compiler.dialects.graph import tensor_type
from compiler.ir.core import Op, TensorType, Value
from compiler.ir.passes import Pass, PassContext, register
from compiler.passes.patterns import (
    Site,
    apply_rules,
    merged_location,
    orders,
    producer,
    uniform,
    unwrap_casts,
    with_constant,
)
from compiler.resources import ResourceStore

SPLIT = (0, 2, 1, 3)  # [b, s, H, D] <-> [b, H, s, D]
SPLIT_TRANSPOSED = (0, 2, 3, 1)  # [b, s, H, D] -> [b, H, D, s]
# An additive mask hides a key if it holds this or less: exp() of it is 0 in fp32 for any scores a model can have.
HIDDEN = -1e4


@dataclass(frozen=True)
class Heads:
    """`x` [b, s, heads*head_dim], times `scale`, split into heads."""

    x: Value
    heads: int
    head_dim: int
    scale: float


@dataclass(frozen=True)
class Scores:
    """q k^T (an op) times `scale`, masked or not."""

    product: Op
    scale: float
    causal: bool


@register
@dataclass(frozen=True)
class FuseAttention(Pass):
    name = "fuse-attention"
    summary = "turn softmax(q k^T) v over split heads into one attention"

    def run(self, module: Op, ctx: PassContext) -> None:
        apply_rules(module, [attention], ctx.resources)


def attention(op: Op, site: Site) -> Value | None:
    """`op` as attention, if it is the matmul of probabilities and values that ends one."""
    if not graph.matmul_def.matches(op) or op.attrs["transpose_b"]:
        return None
    softmax = producer(unwrap_casts(op.operands[0]), graph.softmax_def)
    scores = _scores(softmax.operands[0], site.resources) if softmax else None
    if scores is None:
        return None
    by_rows = bool(scores.product.attrs["transpose_b"])
    q = _heads(scores.product.operands[0], SPLIT, site.resources)
    k = _heads(scores.product.operands[1], SPLIT if by_rows else SPLIT_TRANSPOSED, site.resources)
    v = _heads(op.operands[1], SPLIT, site.resources)
    if q is None or k is None or v is None or not _agree(q, k, v) or v.scale != 1.0:
        return None
    return _build(site, op, q, k, v, scores.scale * q.scale * k.scale, scores.causal)


def _build(site: Site, op: Op, q: Heads, k: Heads, v: Heads, scale: float, causal: bool) -> Value:
    batch, seq, width = tensor_type(q.x).shape
    dtype = tensor_type(op.result).dtype
    location = merged_location(op, q.x, k.x, v.x)
    y = site.build(
        op,
        graph.attention_def,
        q.x,
        k.x,
        v.x,
        type=TensorType((batch, seq, width), dtype),
        loc=location,
        heads=q.heads,
        head_dim=q.head_dim,
        scale=scale,
        causal=causal or seq == 1,  # of a single key and query nothing is hidden either way
    )
    split = site.build(op, graph.reshape_def, y, type=TensorType((batch, seq, q.heads, q.head_dim), dtype))
    return site.build(op, graph.transpose_def, split, type=op.result.type, perm=SPLIT)


def _agree(q: Heads, k: Heads, v: Heads) -> bool:
    shapes = {(tensor_type(h.x).shape, h.heads, h.head_dim) for h in (q, k, v)}
    return len(shapes) == 1


def _heads(value: Value, perm: tuple[int, ...], resources: ResourceStore) -> Heads | None:
    """`value` as a scaled and split [b, s, H*D], or None."""
    value, outer = _unscaled(value, resources)
    transpose = producer(value, graph.transpose_def)
    if transpose is None or transpose.attrs["perm"] != perm:
        return None
    value, middle = _unscaled(transpose.operands[0], resources)
    reshape = producer(value, graph.reshape_def)
    if reshape is None:
        return None
    x, inner = _unscaled(reshape.operands[0], resources)
    whole, split = tensor_type(x).shape, tensor_type(value).shape
    if len(whole) != 3 or len(split) != 4 or whole[:2] != split[:2]:
        return None
    heads, head_dim = split[2:]
    if not isinstance(heads, int) or not isinstance(head_dim, int) or whole[2] != heads * head_dim:
        return None
    return Heads(x, heads, head_dim, outer * middle * inner)


def _unscaled(value: Value, resources: ResourceStore) -> tuple[Value, float]:
    """(value, scale) without multiplications and divisions by a scalar and float casts at its end."""
    scale = 1.0
    while True:
        value = unwrap_casts(value)
        op = producer(value, graph.binary_def)
        scaled = with_constant(op, resources) if op and op.attrs["fn"] in ("mul", "div") else None
        if op is None or scaled is None or tensor_type(scaled[0]).shape != tensor_type(value).shape:
            return value, scale
        value = scaled[0]
        scale = scale * scaled[1] if op.attrs["fn"] == "mul" else scale / scaled[1]


def _scores(value: Value, resources: ResourceStore) -> Scores | None:
    """`value` as masks over scaled q k^T, or None. A scale outside a mask would scale the mask too and is refused."""
    causal = False
    while (masked := _unmasked(unwrap_casts(value), resources)) is not None:
        value, hides = masked
        causal |= hides
    value, scale = _unscaled(value, resources)
    product = producer(value, graph.matmul_def)
    return Scores(product, scale, causal) if product else None


def _unmasked(value: Value, resources: ResourceStore) -> tuple[Value, bool] | None:
    """(scores, is the mask causal) if `value` is scores with a known mask over them, else None."""
    where = producer(value, graph.where_def)
    if where is not None:
        condition, scores, low = where.operands
        hidden = uniform(_unbroadcast(low), resources)
        kind = _condition(condition)
        if kind is None or hidden is None or hidden > HIDDEN or scores.type != value.type:
            return None
        return scores, kind == "causal"
    add = producer(value, graph.binary_def, "add")
    for scores, mask in orders(add) if add else ():
        causal = _additive(mask, resources)
        if causal is not None and scores.type == value.type:
            return scores, causal
    return None


def _additive(mask: Value, resources: ResourceStore) -> bool | None:
    """Is this additive mask causal (True), nothing (False), or something else (None)?"""
    mask = _unbroadcast(mask)
    kind = _kind(mask)
    if kind in ("causal_additive", "zeros"):
        return kind == "causal_additive"
    where = producer(mask, graph.where_def)
    if where is not None:
        condition, shown, hidden = where.operands
        low = uniform(_unbroadcast(hidden), resources)
        is_mask = _is_zero(_unbroadcast(shown), resources) and low is not None and low <= HIDDEN
        kind = _condition(condition)
        return kind == "causal" if is_mask and kind else None
    add = producer(mask, graph.binary_def, "add")
    if add is not None:
        parts = [_additive(part, resources) for part in add.operands]
        return None if None in parts else any(parts)
    return False if uniform(mask, resources) == 0.0 else None


def _condition(value: Value) -> str | None:
    """ "causal" or "all_true" if that is what this condition says, else None."""
    kind = _kind(_unbroadcast(value))
    return kind if kind in ("causal", "all_true") else None


def _kind(value: Value) -> str | None:
    op = producer(value, graph.shape_value_def)
    return str(op.attrs["kind"]) if op else None


def _is_zero(value: Value, resources: ResourceStore) -> bool:
    return _kind(value) == "zeros" or uniform(value, resources) == 0.0


def _unbroadcast(value: Value) -> Value:
    """`value` before expansions, float casts and unit axes in front: none of them changes what a mask hides."""
    while (op := unwrap_casts(value).op) is not None and (graph.expand_def.matches(op) or _moves_unit_axes(op)):
        value = op.operands[0]
    return unwrap_casts(value)


def _moves_unit_axes(op: Op) -> bool:
    """Is `op` a reshape that only adds or removes leading axes of size 1?"""
    if not graph.reshape_def.matches(op):
        return False
    before, after = tensor_type(op.operands[0]).shape, tensor_type(op.result).shape
    return before[-2:] == after[-2:] and all(dim == 1 for dim in (*before[:-2], *after[:-2]))
