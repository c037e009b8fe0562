"""Kernels alone on the machine over the options that sizing chooses from, drawn at random, against numpy in fp64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from harness import TARGET, Bench, assert_close, numbers
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from compiler.dialects import flow
from compiler.ir.core import Op
from compiler.kernels.matvec import Matvec
from compiler.kernels.table import kernel_of
from compiler.size.shapes import MOST_LANES
from runtime.stream import Blocks

HOST = TARGET.host_channels  # the test's streams come from there and go there
# Drawn from the test's own name: the same cases on every machine.
swept = settings(max_examples=25, deadline=None, derandomize=True)


@st.composite
def blocks(draw: st.DrawFn, most: int = 10, longest: int = 40) -> Blocks:
    """Features on lanes, the last block often a ragged one."""
    features = draw(st.integers(1, longest))
    return Blocks.over(features, draw(st.integers(1, min(features, most))))


def matvec_op(
    bench: Bench, x: Blocks, y: Blocks, weights: tuple[Any, ...], biases: tuple[Any, ...], **attrs: Any
) -> Op:
    """A matvec whose groups have equal shares of the outputs, each its own weight."""
    groups, share = len(weights), y.features // len(weights)
    return bench.kernel(
        flow.matvec_def, bench.stream("x", x.features, x.lanes), features=y.features, block=y.block,
        weights=tuple(map(bench.weight, weights)), transposed=(False,) * groups, columns=(share,) * groups,
        biases=tuple("" if bias is None else bench.weight(bias) for bias in biases), starts=(0,) * groups,
        counts=(share,) * groups, **attrs,
    )  # fmt: skip


def hears_too_many(op: Op) -> bool:
    """A row of tiles that has more lanes than a core has queues; sizing leaves such shapes out."""
    kernel = kernel_of(op)
    assert isinstance(kernel, Matvec)
    return kernel.most_lanes > MOST_LANES


def gelu(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return values * 0.5 * (1 + np.vectorize(math.erf)(values / math.sqrt(2)))


@swept
@given(
    blocks(), blocks(), st.integers(1, 14), st.sampled_from(["", "edge", "diagonal"]), st.integers(0, 5), st.booleans(),
    st.booleans(), st.integers(0, 99),
)  # fmt: skip
def test_matvec(
    x: Blocks, y: Blocks, tiles: int, entry: str, finishers: int, half: bool, biased: bool, seed: int
) -> None:
    """More rows of tiles than lanes and fewer, every entry, the activation at the bottom or in finishers."""
    rng, bench = np.random.default_rng(seed), Bench()
    w, b = numbers(rng, x.features, y.features), numbers(rng, y.features)
    op = matvec_op(
        bench, x, y, (w,), (b if biased else None,), tiles=min(tiles, x.features), entry=entry, finishers=finishers,
        activation="gelu_erf" if finishers or seed % 2 else "", storage="f16" if half else "f32",
    )  # fmt: skip
    assume(not hears_too_many(op))
    tokens = numbers(rng, 2, 3, x.features)
    stored = np.float16 if half else np.float32
    wanted = tokens.astype(stored).astype(np.float64) @ w.astype(stored).astype(np.float64) + (b if biased else 0)
    if op.attrs["activation"]:
        wanted = gelu(wanted)
    assert_close(bench.session(op).run(x=tokens)["y"], wanted)


@swept
@given(blocks(), st.integers(1, 5), st.integers(1, 4), st.integers(1, 9), st.sampled_from(["edge", "diagonal"]),
       st.integers(1, 4), st.integers(0, 99))  # fmt: skip
def test_matvec_of_several_weights_side_by_side(
    x: Blocks, heads: int, d: int, tiles: int, entry: str, split: int, seed: int
) -> None:
    """Heads' q, k and v by lane, a head on one lane or cut into several, one of the groups without a bias."""
    assume(d % split == 0 and heads * split <= HOST)
    rng, bench, width = np.random.default_rng(seed), Bench(), heads * d
    weights = tuple(numbers(rng, x.features, width) for _ in range(3))
    biases = (numbers(rng, width), None, numbers(rng, width))
    y = Blocks(3 * width, 3 * d // split)
    op = matvec_op(bench, x, y, weights, biases, tiles=min(tiles, x.features), entry=entry, storage="f32")
    assume(not hears_too_many(op))
    tokens = numbers(rng, 1, 3, x.features)
    sums = [tokens.astype(np.float64) @ w + (0 if b is None else b) for w, b in zip(weights, biases, strict=True)]
    by_lane = np.stack([part.reshape(1, 3, heads * split, d // split) for part in sums], axis=3)
    assert_close(bench.session(op).run(x=tokens)["y"], by_lane.reshape(1, 3, -1))


def attention(x: np.ndarray[Any, Any], heads: int, d: int, scale: float) -> np.ndarray[Any, Any]:
    """Causal attention of [batch, seq, heads, 3, d]."""
    q, k, v = np.moveaxis(x.astype(np.float64), 3, 0)
    scores = np.einsum("bihd,bjhd->bhij", q, k) * scale
    scores = np.where(np.tril(np.ones(scores.shape[2:], bool)), scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return np.einsum("bhij,bjhd->bihd", weights, v).reshape(*x.shape[:2], heads * d)


def pieced(x: np.ndarray[Any, Any], pieces: int) -> np.ndarray[Any, Any]:
    """[batch, seq, heads, 3, d] as the lanes bring it: every piece has its share of q, k and v."""
    batch, seq, heads, three, d = x.shape
    cut = x.reshape(batch, seq, heads, three, pieces, d // pieces)
    return np.moveaxis(cut, 4, 3).reshape(batch, seq, -1)


@st.composite
def head_shapes(draw: st.DrawFn) -> tuple[int, int, int]:
    """(heads, spread, across): heads side by side with or without columns left over, or a head over several rows."""
    if draw(st.booleans()):
        columns, deep = draw(st.integers(1, 5)), draw(st.integers(2, 4))
        return draw(st.integers(1, 3)), columns * deep - 1, columns
    heads, spread, abreast = draw(st.integers(1, 5)), draw(st.integers(1, 6)), draw(st.integers(0, 3))
    return heads, spread, abreast * (1 + spread) + draw(st.integers(0, min(2, spread))) * bool(abreast)


@swept
@given(head_shapes(), st.integers(1, 4), st.integers(1, 3), st.booleans(), st.integers(0, 99))
def test_attention(shape: tuple[int, int, int], pieces: int, part: int, half: bool, seed: int) -> None:
    """Every shape of head, cut into pieces or not; a second sequence finds no trace of the first."""
    (heads, spread, across), d = shape, pieces * part
    assume(heads * pieces <= HOST)
    rng, bench = np.random.default_rng(seed), Bench(max_seq=9)
    x = numbers(rng, 2, 9, heads, 3, d)
    y = bench.kernel(
        flow.attention_def, bench.stream("x", 3 * heads * d, heads * pieces), features=heads * d, block=d, heads=heads,
        head_dim=d, scale=0.37, max_seq=9, slots=1, spread=spread, across=across, storage="f16" if half else "f32",
    )  # fmt: skip
    got = bench.session(y).run(x=pieced(x, pieces))["y"]
    # In fp16 the query, the cache and the softmax's weights are rounded to 2^-11.
    assert_close(got, attention(x, heads, d, 0.37), 4e-3 if half else 3e-6)


@swept
@given(blocks(most=14), st.integers(1, 6), st.integers(1, 7), st.integers(0, 99))
def test_norm(x: Blocks, tokens: int, seq: int, seed: int) -> None:
    """Two tasks and a FIFO between them, with room for one token up to more than there are."""
    assume(x.features > 1)
    rng, bench = np.random.default_rng(seed), Bench()
    scale, bias, values = numbers(rng, x.features), numbers(rng, x.features), numbers(rng, 2, seq, x.features)
    y = bench.kernel(
        flow.norm_def, bench.stream("x", x.features, x.lanes), features=x.features, block=x.block,
        scale=bench.weight(scale), bias=bench.weight(bias), epsilon=1e-2, tokens=tokens,
    )  # fmt: skip
    wide = values.astype(np.float64)
    centred = wide - wide.mean(-1, keepdims=True)
    assert_close(
        bench.session(y).run(x=values)["y"], centred / np.sqrt(wide.var(-1, keepdims=True) + 1e-2) * scale + bias
    )


@swept
@given(blocks(most=12), st.integers(1, 13), st.integers(0, 99))
def test_relane(x: Blocks, ratio: int, seed: int) -> None:
    """Lanes merged and split again, in groups that come out even or not, up to a single one; nothing is computed."""
    rng, bench = np.random.default_rng(seed), Bench()
    coarse = min(x.features, x.block * ratio)
    merged = bench.kernel(
        flow.relane_def, bench.stream("x", x.features, x.lanes), features=x.features, block=coarse, ratio=ratio,
        merge=True,
    )  # fmt: skip
    y = bench.kernel(flow.relane_def, merged, features=x.features, block=x.block, ratio=ratio, merge=False)
    values = numbers(rng, 2, 4, x.features)
    assert np.array_equal(bench.session(y).run(x=values)["y"], values)


@swept
@given(blocks(longest=20), st.integers(1, 40), st.integers(1, 15), st.integers(1, 40), st.integers(1, 15),
       st.booleans(), st.integers(0, 99))  # fmt: skip
def test_lookup(y: Blocks, words: int, own: int, places: int, held: int, half: bool, seed: int) -> None:
    """Tables spread over rows of cores, each table with its own share a core and a ragged rest."""
    assume(-(-words // own) + -(-places // held) <= 24)
    rng = np.random.default_rng(seed)
    bench, length = Bench(max_seq=places), min(places, 6)
    rows, positions = numbers(rng, words, y.features), numbers(rng, places, y.features)
    ids = rng.integers(0, words, (2, length))
    source = bench.stream("ids", 1, 1, shape=("batch", "seq"), dtype="i64", limit=words)
    op = bench.kernel(
        flow.lookup_def, source, features=y.features, block=y.block,
        tables=(bench.weight(rows), bench.weight(positions)), counts=(words, places),
        blocks=(min(own, words), min(held, places)), storage="f16" if half else "f32",
    )  # fmt: skip
    stored = np.float16 if half else np.float32
    wanted = rows.astype(stored).astype(np.float32)[ids] + positions.astype(stored).astype(np.float32)[:length]
    assert np.array_equal(bench.session(op).run(ids=ids)["y"], wanted)


@pytest.mark.parametrize("entry", ["", "edge", "diagonal"])
def test_rows_that_share_lanes_agree_exactly(entry: str) -> None:
    """Integers, so any lost, doubled or misplaced element is a difference: all counts of tiles, ragged ones too."""
    rng = np.random.default_rng(1)
    x, y = Blocks.over(23, 5), Blocks.over(13, 4)
    w = rng.integers(-3, 4, (23, 13)).astype(np.float32)
    tokens = rng.integers(-3, 4, (1, 3, 23)).astype(np.float32)
    for tiles in (1, 2, 3, 4, 6, 7, 11, 12, 23):
        bench = Bench()
        op = matvec_op(bench, x, y, (w,), (None,), tiles=tiles, entry=entry, storage="f32")
        assert np.array_equal(bench.session(op).run(x=tokens)["y"], tokens @ w), tiles
