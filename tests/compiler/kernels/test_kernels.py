"""Every kernel alone on the machine, against numpy in fp64, over shapes with ragged blocks and single lanes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from harness import Bench, assert_close, numbers

from compiler.dialects import flow
from runtime.stream import Blocks


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.mark.parametrize(
    ("k", "n", "lanes_in", "lanes_out"), [(12, 20, 4, 5), (13, 7, 4, 3), (5, 9, 1, 1), (8, 3, 8, 1), (9, 31, 2, 8)]
)
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("bias", "activation"), [(False, ""), (True, ""), (True, "gelu_erf")])
def test_matvec(
    rng: np.random.Generator, k: int, n: int, lanes_in: int, lanes_out: int, transposed: bool, bias: bool,
    activation: str,
) -> None:  # fmt: skip
    w, b, x = numbers(rng, k, n), numbers(rng, n), numbers(rng, 2, 3, k)
    bench = Bench()
    y = bench.kernel(
        flow.matvec_def, bench.stream("x", k, lanes_in), features=n, block=Blocks.over(n, lanes_out).block,
        weights=(bench.weight(np.ascontiguousarray(w.T) if transposed else w),), transposed=(transposed,), columns=(n,),
        biases=(bench.weight(b) if bias else "",), starts=(0,), counts=(n,), activation=activation, storage="f32",
    )  # fmt: skip
    wanted = x.astype(np.float64) @ w + (b if bias else 0.0)
    if activation:
        wanted = wanted * 0.5 * (1 + np.vectorize(math.erf)(wanted / math.sqrt(2)))
    assert_close(bench.session(y).run(x=x)["y"], wanted)


def test_matvec_groups_put_heads_side_by_side(rng: np.random.Generator) -> None:
    heads, d, k = 3, 4, 10
    w, b, x = numbers(rng, k, 3 * heads * d), numbers(rng, 3 * heads * d), numbers(rng, 1, 2, k)
    bench = Bench()
    y = bench.kernel(
        flow.matvec_def, bench.stream("x", k, 2), features=3 * heads * d, block=3 * d,
        weights=(bench.weight(w),) * 3, transposed=(False,) * 3, columns=(3 * heads * d,) * 3,
        biases=(bench.weight(b),) * 3, starts=(0, heads * d, 2 * heads * d), counts=(heads * d,) * 3, storage="f32",
    )  # fmt: skip
    flat = (x.astype(np.float64) @ w + b).reshape(1, 2, 3, heads, d)
    assert_close(bench.session(y).run(x=x)["y"], flat.swapaxes(2, 3).reshape(1, 2, -1))


@pytest.mark.parametrize(("n", "lanes"), [(12, 4), (13, 4), (7, 1), (10, 5)])
def test_norm(rng: np.random.Generator, n: int, lanes: int) -> None:
    scale, bias, x = numbers(rng, n), numbers(rng, n), numbers(rng, 2, 2, n) + np.float32(3)
    bench = Bench()
    y = bench.kernel(
        flow.norm_def, bench.stream("x", n, lanes), features=n, block=Blocks.over(n, lanes).block,
        scale=bench.weight(scale), bias=bench.weight(bias), epsilon=1e-5,
    )  # fmt: skip
    wide = x.astype(np.float64)
    wanted = (wide - wide.mean(-1, keepdims=True)) / np.sqrt(wide.var(-1, keepdims=True) + 1e-5) * scale + bias
    assert_close(bench.session(y).run(x=x)["y"], wanted)


def attention_reference(x: np.ndarray, heads: int, d: int, scale: float) -> np.ndarray:
    batch, seq, _ = x.shape
    q, k, v = np.moveaxis(x.astype(np.float64).reshape(batch, seq, heads, 3, d), 3, 0)
    scores = np.einsum("bihd,bjhd->bhij", q, k) * scale
    scores = np.where(np.tril(np.ones((seq, seq), bool)), scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return np.einsum("bhij,bjhd->bihd", weights, v).reshape(batch, seq, heads * d)


@pytest.mark.parametrize(("heads", "d", "spread", "seq"), [(2, 4, 3, 8), (1, 5, 1, 4), (3, 2, 4, 3), (2, 3, 2, 7)])
def test_attention(rng: np.random.Generator, heads: int, d: int, spread: int, seq: int) -> None:
    x = numbers(rng, 2, seq, 3 * heads * d) * np.float32(2)
    bench = Bench(max_seq=8)
    y = bench.kernel(
        flow.attention_def, bench.stream("x", 3 * heads * d, heads), features=heads * d, block=d, heads=heads,
        head_dim=d, scale=0.37, max_seq=8, slots=1, spread=spread, storage="f32",
    )  # fmt: skip
    assert_close(bench.session(y).run(x=x)["y"], attention_reference(x, heads, d, 0.37))


def test_attention_slots_keep_sequences_apart(rng: np.random.Generator) -> None:
    x = numbers(rng, 2, 6, 12)
    bench = Bench(max_seq=8, slots=2)
    y = bench.kernel(
        flow.attention_def, bench.stream("x", 12, 1), features=4, block=4, heads=1, head_dim=4, scale=0.5, max_seq=8,
        slots=2, spread=3, storage="f32",
    )  # fmt: skip
    session = bench.session(y)
    first, second = session.run(x=x[:, :3])["y"], session.append(x=x[:, 3:])["y"]
    assert_close(np.concatenate([first, second], axis=1), attention_reference(x, 1, 4, 0.5))


@pytest.mark.parametrize("blocks", [(5, 2), (23, 7)])
def test_lookup(rng: np.random.Generator, blocks: tuple[int, int]) -> None:
    tokens, positions = numbers(rng, 23, 9), numbers(rng, 8, 9)
    ids = rng.integers(0, 23, (2, 8))
    bench = Bench(max_seq=8)
    source = bench.stream("ids", 1, 1, shape=("batch", "seq"), dtype="i64", limit=23)
    y = bench.kernel(
        flow.lookup_def, source, features=9, block=4, tables=(bench.weight(tokens), bench.weight(positions)),
        counts=(23, 8), blocks=blocks, storage="f32",
    )  # fmt: skip
    assert np.array_equal(bench.session(y).run(ids=ids)["y"], tokens[ids] + positions)


def test_join_and_fifo_around_a_map(rng: np.random.Generator) -> None:
    x = numbers(rng, 1, 5, 11)
    bench = Bench()
    source = bench.stream("x", 11, 3)
    branch = bench.kernel(flow.map_def, source, features=11, block=4, fn="tanh")
    held = bench.kernel(flow.fifo_def, source, features=11, block=4, tokens=1)
    y = bench.kernel(flow.join_def, branch, held, features=11, block=4, fn="mul")
    assert_close(bench.session(y).run(x=x)["y"], np.tanh(x.astype(np.float64)) * x)


def test_a_stream_joined_with_itself(rng: np.random.Generator) -> None:
    x = numbers(rng, 1, 3, 6)
    bench = Bench()
    source = bench.stream("x", 6, 2)
    y = bench.kernel(flow.join_def, source, source, features=6, block=3, fn="mul")
    assert np.array_equal(bench.session(y).run(x=x)["y"], x * x)


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("size", [1, 7])
def test_map_with_a_constant(rng: np.random.Generator, swapped: bool, size: int) -> None:
    x, constant = numbers(rng, 1, 3, 7), numbers(rng, size)
    bench = Bench()
    y = bench.kernel(
        flow.map_def, bench.stream("x", 7, 3), features=7, block=3, fn="sub", constant=bench.weight(constant),
        constant_size=size, swapped=swapped,
    )  # fmt: skip
    assert np.array_equal(bench.session(y).run(x=x)["y"], constant - x if swapped else x - constant)


@pytest.mark.parametrize(("fine", "ratio"), [(6, 3), (7, 3), (5, 5), (4, 1)])
def test_relane_there_and_back(rng: np.random.Generator, fine: int, ratio: int) -> None:
    x = numbers(rng, 2, 3, 20)
    block = Blocks.over(20, fine).block
    coarse = min(20, block * ratio)
    bench = Bench()
    merged = bench.kernel(
        flow.relane_def, bench.stream("x", 20, fine), features=20, block=coarse, ratio=ratio, merge=True
    )
    y = bench.kernel(flow.relane_def, merged, features=20, block=block, ratio=ratio, merge=False)
    assert np.array_equal(bench.session(y).run(x=x)["y"], x)


def test_fp16_matvec_rounds_operands_only(rng: np.random.Generator) -> None:
    """Weights and x in fp16, products exact, sums in fp32: the simulated reference differs by fp32 roundings only."""
    w, x = numbers(rng, 40, 12), numbers(rng, 1, 4, 40)
    bench = Bench()
    y = bench.kernel(
        flow.matvec_def, bench.stream("x", 40, 5), features=12, block=4, weights=(bench.weight(w),),
        transposed=(False,), columns=(12,), biases=("",), starts=(0,), counts=(12,), storage="f16",
    )  # fmt: skip
    wanted = x.astype(np.float16).astype(np.float64) @ w.astype(np.float16).astype(np.float64)
    assert_close(bench.session(y).run(x=x)["y"], wanted)
