"""The meaning of flow ops, against formulas and loops written otherwise, and against the machine in fp16."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.dialects import core, flow
from compiler.driver import Options, lower
from compiler.flow_interpreter import run_flow
from compiler.graph_interpreter import Array, run_graph
from compiler.ir.core import Op
from runtime.errors import InputError
from tests.compiler.kernels.harness import Bench, numbers
from tests.random_gpt import Shape, random_gpt


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def run(bench: Bench, y: Op, shape: tuple[int | str, ...], dtype: str = "f32", **inputs: Array) -> Array:
    bench.module.body.append(flow.output_def(y.result, sym_name="out", name="y", shape=shape, dtype=dtype))
    return run_flow(bench.module, bench.resources, inputs)["y"]


def test_every_phase_means_the_same(rng: np.random.Generator) -> None:
    shape = Shape(layers=1, heads=3, head_dim=4, hidden=20, vocab=23, positions=9)
    module, resources = random_gpt(shape, 1)
    ids = {"ids": rng.integers(0, 23, (2, 9))}
    graph = run_graph(module, resources, ids)["logits"]
    results = []
    for phase in ("flow", "size", "place", "route"):
        lower(module, resources, Options("mini-32x32", deterministic_limit=0), to=phase)
        results.append(run_flow(module, resources, ids)["logits"])
    assert all(np.array_equal(result, results[0]) for result in results)
    assert np.abs(results[0] - graph).max() <= 2e-6 * np.abs(graph).max()
    lower(module, resources, Options())
    with pytest.raises(InputError, match="no meaning as a flow op"):
        run_flow(module, resources, ids)


def test_groups_share_every_lane(rng: np.random.Generator) -> None:
    """Two matrices, lanes of three columns: two of the first, one of the second; the last lane is shorter."""
    first, second, bias, x = numbers(rng, 4, 4), numbers(rng, 2, 4), numbers(rng, 2), numbers(rng, 5, 4)
    bench = Bench()
    y = bench.kernel(
        flow.matvec_def, bench.stream("x", 4, 1, shape=("batch", 4)), features=6, block=3,
        weights=(bench.weight(first), bench.weight(second)), transposed=(False, True), columns=(4, 2),
        biases=("", bench.weight(bias)), starts=(0, 0), counts=(4, 2), storage="f32",
    )  # fmt: skip
    a, b = x @ first, x @ second.T + bias
    wanted = np.stack([a[:, 0], a[:, 1], b[:, 0], a[:, 2], a[:, 3], b[:, 1]], axis=1)
    np.testing.assert_allclose(run(bench, y, ("batch", 6), x=x), wanted, rtol=1e-5, atol=1e-6)


def attention_bench(heads: int, d: int, spread: int, storage: str) -> tuple[Bench, Op]:
    bench = Bench(max_seq=16)
    y = bench.kernel(
        flow.attention_def, bench.stream("x", 3 * heads * d, heads), features=heads * d, block=d, heads=heads,
        head_dim=d, scale=0.4, max_seq=16, slots=1, spread=spread, storage=storage,
    )  # fmt: skip
    return bench, y


def test_attention_is_a_loop_over_heads_and_positions(rng: np.random.Generator) -> None:
    heads, d = 2, 3
    bench, y = attention_bench(heads, d, 4, "f32")
    x = numbers(rng, 2, 7, 3 * heads * d)
    got = run(bench, y, ("batch", "seq", heads * d), x=x)
    for row, t, h in np.ndindex(2, 7, heads):
        q, k, v = (x[row, : t + 1, (3 * h + part) * d : (3 * h + part + 1) * d] for part in range(3))
        weights = np.exp(0.4 * k.astype(np.float64) @ q[t])
        np.testing.assert_allclose(got[row, t, h * d : (h + 1) * d], weights @ v / weights.sum(), rtol=1e-5, atol=1e-6)


def test_fp16_attention_rounds_where_the_cores_do(rng: np.random.Generator) -> None:
    """The machine's result, to fp32 roundings; another share of the cache per core rounds other weights."""
    x = numbers(rng, 1, 12, 24)
    bench, y = attention_bench(2, 4, 3, "f16")
    machine = bench.session(y).run(x=x)["y"]
    errors = []
    for spread in (3, 1):
        bench, y = attention_bench(2, 4, spread, "f16")
        got = run(bench, y, ("batch", "seq", 8), x=x)
        errors.append(np.abs(got - machine).max() / np.abs(machine).max())
    assert errors[0] <= 1e-6 < 1e-5 < errors[1]


def test_fp16_rounds_operands_of_products_only(rng: np.random.Generator) -> None:
    w, bias, x = numbers(rng, 6, 5), numbers(rng, 5), numbers(rng, 3, 6)
    bench = Bench()
    y = bench.kernel(
        flow.matvec_def, bench.stream("x", 6, 2, shape=("batch", 6)), features=5, block=5, weights=(bench.weight(w),),
        transposed=(False,), columns=(5,), biases=(bench.weight(bias),), starts=(0,), counts=(5,), storage="f16",
    )  # fmt: skip
    wanted = x.astype(np.float16).astype(np.float64) @ w.astype(np.float16).astype(np.float64) + bias
    np.testing.assert_allclose(run(bench, y, ("batch", 5), x=x), wanted, rtol=1e-6, atol=1e-6)


def test_norm_follows_its_formula(rng: np.random.Generator) -> None:
    scale, bias, x = numbers(rng, 1, 7), numbers(rng, 7), numbers(rng, 4, 7)
    bench = Bench()
    y = bench.kernel(
        flow.norm_def, bench.stream("x", 7, 3, shape=("batch", 7)), features=7, block=3, scale=bench.weight(scale),
        bias=bench.weight(bias), epsilon=0.1,
    )  # fmt: skip
    wide = x.astype(np.float64)
    wanted = (wide - wide.mean(1, keepdims=True)) / np.sqrt(wide.var(1, keepdims=True) + 0.1) * scale + bias
    np.testing.assert_allclose(run(bench, y, ("batch", 7), x=x), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("tokens", [(), (4,), (2, 5), (2, 3, 5)])
def test_axes_before_the_features_are_tokens(rng: np.random.Generator, tokens: tuple[int, ...]) -> None:
    """Features may have several axes, of which the input has others than the output."""
    x = numbers(rng, *tokens, 2, 6)
    names = ("a", "b", "c")[: len(tokens)]
    bench = Bench()
    y = bench.kernel(flow.map_def, bench.stream("x", 12, 2, shape=(*names, 2, 6)), features=12, block=6, fn="neg")
    got = run(bench, y, (*names, 4, 3), "f16", x=x)
    assert got.dtype == np.float16
    assert np.array_equal(got, -x.reshape(*tokens, 4, 3).astype(np.float16))


@pytest.mark.parametrize("shape", [("batch",), ("batch", "seq")])
def test_positions_count_along_the_last_of_several_token_axes(rng: np.random.Generator, shape: tuple[str, ...]) -> None:
    tokens, positions = numbers(rng, 9, 4), numbers(rng, 6, 4)
    ids = rng.integers(0, 9, (3, 6)[: len(shape)])
    bench = Bench()
    source = bench.stream("ids", 1, 1, shape=shape, dtype="i64", limit=9)
    tables = (bench.weight(tokens), bench.weight(positions))
    y = bench.kernel(flow.lookup_def, source, features=4, block=4, tables=tables, counts=(9, 6), storage="f32")
    got = run(bench, y, (*shape, 4), ids=ids)
    assert np.array_equal(got, tokens[ids] + (positions if len(shape) == 2 else positions[0]))


def test_bad_inputs(rng: np.random.Generator) -> None:
    bench = Bench()
    source = bench.stream("ids", 1, 1, shape=("batch", "seq"), dtype="i64", limit=9)
    table = bench.weight(numbers(rng, 9, 4))
    bench.kernel(flow.lookup_def, source, features=4, block=4, tables=(table,), counts=(9,), storage="f32")
    for inputs, code in (({}, "missing-input"), ({"ids": np.array([[9]])}, "index-out-of-range"),
                         ({"ids": np.array([[-1]])}, "index-out-of-range")):  # fmt: skip
        with pytest.raises(InputError) as caught:
            run_flow(bench.module, bench.resources, inputs)
        assert caught.value.code == code


def test_an_op_of_another_level() -> None:
    bench = Bench()
    bench.module.body.append(core.region_def(name="x", owner="buffer", address=0, bytes=4))
    with pytest.raises(InputError, match=r"core\.region"):
        run_flow(bench.module, bench.resources, {})
