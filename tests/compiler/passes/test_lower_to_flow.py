"""Tensors to kernels: values stay, what can be absorbed is, and whatever does not fit is told completely."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compiler.dialects import flow, graph
from compiler.flow_interpreter import run_flow
from compiler.graph_interpreter import Array, run_graph
from compiler.ir.core import Op, Value
from compiler.ir.passes import PassContext, PassManager, parse_pipeline
from compiler.passes.lower_to_flow import LowerToFlow
from compiler.pipelines import PHASES
from compiler.resources import ResourceStore
from frontends.onnx.import_graph import import_model
from runtime.errors import InputError
from tests.compiler.graph_builder import GraphBuilder, random_inputs

SUMMATION = 2e-6  # of the largest value: what another order of fp32 additions costs on these sizes


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def lower(module: Op, resources: ResourceStore, inputs: dict[str, Array], bound: float = SUMMATION) -> list[str]:
    """Lower, and demand that every output is within `bound` of what the graph says. The kinds of ops there are now."""
    wanted = run_graph(module, resources, inputs)
    PassManager(parse_pipeline(PHASES["flow"])).run(module, PassContext(resources))
    got = run_flow(module, resources, inputs)
    assert got.keys() == wanted.keys()
    for name, reference in wanted.items():
        assert got[name].shape == reference.shape and got[name].dtype == reference.dtype
        assert np.abs(got[name] - reference).max() <= bound * np.abs(reference).max()
    return [op.name.removeprefix("flow.") for op in module.body.ops if op.dialect == "flow"]


def test_gpt(tiny_gpt: Path, rng: np.random.Generator) -> None:
    module, resources = import_model(tiny_gpt)
    PassManager(parse_pipeline(f"{PHASES['canonical']},{PHASES['fuse']}")).run(module, PassContext(resources))
    kinds = lower(module, resources, {"input_ids": rng.integers(0, 67, (2, 13))}, bound=4e-6)
    layer = ["fork", "norm", "matvec", "attention", "matvec", "fifo", "join"]
    layer += ["fork", "norm", "matvec", "matvec", "fifo", "join"]
    assert kinds == ["input", "lookup", *layer, *layer, "norm", "matvec", "output"]
    assert module.attrs["options"] == {"precision": "fp32", "max_seq": 16, "slots": 1}
    lookup, up = module.body.find("flow.lookup")[0], module.body.find("flow.matvec")[2]
    assert lookup.attrs["counts"] == (67, 16)
    assert up.attrs["activation"] == "gelu_erf" and all(up.attrs["biases"])  # type: ignore[arg-type]
    assert all(op.loc.names for op in module.body.ops if flow.is_kernel(op))


def test_bias_and_activation_are_absorbed(rng: np.random.Generator) -> None:
    b = GraphBuilder()
    x = b.input("x", ("batch", 6))
    for k, n in ((6, 9), (9, 4)):
        weight, bias = b.constant(rng.standard_normal((n, k))), b.constant(rng.standard_normal((1, n)))
        x = b.unary("gelu_tanh", b.binary("add", bias, b.matmul(x, weight, transpose_b=True)))
    b.output(b.unary("relu", x))
    kinds = lower(b.module, b.resources, random_inputs(rng, x=(3, 6)))
    assert kinds == ["input", "matvec", "matvec", "map", "output"]
    assert b.module.body.find("flow.matvec")[0].loc.names == ("n5", "n6", "n7")


def test_a_product_read_twice_absorbs_nothing(rng: np.random.Generator) -> None:
    b = GraphBuilder()
    y = b.matmul(b.input("x", ("batch", 5)), b.constant(rng.standard_normal((5, 4))))
    b.output(b.unary("tanh", y), "tanh")
    b.output(b.binary("add", y, b.constant(rng.standard_normal(4))), "sum")
    b.output(y, "plain")
    kinds = lower(b.module, b.resources, random_inputs(rng, x=(3, 5)))
    assert kinds == ["input", "matvec", "fork", "map", "output", "map", "output", "output"]


@pytest.mark.parametrize("fn", ["add", "sub", "mul", "div", "max", "min"])
@pytest.mark.parametrize("shape", [(), (1,), (7,), (1, 1, 7)])
@pytest.mark.parametrize("constant_first", [False, True])
def test_constants(rng: np.random.Generator, fn: str, shape: tuple[int, ...], constant_first: bool) -> None:
    b = GraphBuilder()
    x, constant = b.input("x", ("batch", "seq", 7)), b.constant(rng.standard_normal(shape))
    b.output(b.binary(fn, constant, x) if constant_first else b.binary(fn, x, constant))
    kinds = lower(b.module, b.resources, random_inputs(rng, x=(2, 3, 7)), bound=0.0)
    assert kinds == ["input", "map", "output"]


def test_a_chain_of_elementwise_ops(rng: np.random.Generator) -> None:
    b = GraphBuilder()
    x = b.input("x", ("batch", "seq", 5))
    y = b.unary("exp", b.binary("sub", b.constant(1.5), b.unary("tanh", x)))
    y = b.binary("div", b.constant(rng.standard_normal(5)), b.binary("add", b.unary("abs", y), 0.5))
    b.output(b.unary("sigmoid", b.binary("mul", y, y)))
    lower(b.module, b.resources, random_inputs(rng, x=(2, 4, 5)), bound=0.0)


@pytest.mark.parametrize("fn", ["add", "sub", "mul", "div", "max"])
@pytest.mark.parametrize("longer_first", [False, True])
def test_joins_of_unequal_branches(rng: np.random.Generator, fn: str, longer_first: bool) -> None:
    b = GraphBuilder()
    x = b.input("x", ("batch", "seq", 6))
    long = b.unary("tanh", b.matmul(b.unary("neg", x), b.constant(rng.standard_normal((6, 6)))))
    joined = b.binary(fn, long, x) if longer_first else b.binary(fn, x, long)
    b.output(b.binary("add", joined, b.unary("abs", x)))
    kinds = lower(b.module, b.resources, random_inputs(rng, x=(1, 4, 6)))
    assert (kinds.count("fork"), kinds.count("fifo"), kinds.count("join")) == (1, 2, 2)


def attention(b: GraphBuilder, q: Value, k: Value, v: Value, heads: int, head_dim: int, causal: bool = True) -> Value:
    shape = ("batch", "seq", heads * head_dim)
    return b.op(
        graph.attention_def, q, k, v, shape=shape, heads=heads, head_dim=head_dim, scale=head_dim**-0.5, causal=causal
    )


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_query_key_and_value_lie_head_by_head(rng: np.random.Generator, split: bool, bias: bool) -> None:
    heads, d, k = 3, 2, 5
    b = GraphBuilder()
    x = b.input("x", ("batch", "seq", k))

    def linear(n: int) -> Value:
        y = b.matmul(x, b.constant(rng.standard_normal((k, n))))
        return b.binary("add", y, b.constant(rng.standard_normal(n))) if bias else y

    if split:
        qkv = linear(3 * heads * d)
        parts = [b.slice(qkv, 2, i * heads * d, (i + 1) * heads * d) for i in range(3)]
    else:
        parts = [linear(heads * d) for _ in range(3)]
    b.output(attention(b, parts[0], parts[1], parts[2], heads, d))
    kinds = lower(b.module, b.resources, random_inputs(rng, x=(2, 6, k)))
    assert kinds == ["input", "matvec", "attention", "output"]
    (matvec,) = b.module.body.find("flow.matvec")
    assert flow.stream(matvec.result.type).block == 3 * d
    assert matvec.attrs["starts"] == ((0, heads * d, 2 * heads * d) if split else (0, 0, 0))


def test_a_key_that_is_also_an_output(rng: np.random.Generator) -> None:
    """The product attention takes over stays where something else reads it, later ops included."""
    b = GraphBuilder()
    x = b.input("x", ("batch", "seq", 4))
    q, k, v = (b.matmul(x, b.constant(rng.standard_normal((4, 4)))) for _ in "qkv")
    b.output(attention(b, q, k, v, 2, 2))
    b.output(k, "key")
    kinds = lower(b.module, b.resources, random_inputs(rng, x=(1, 5, 4)))
    assert kinds == ["input", "fork", "matvec", "matvec", "attention", "output", "output"]


def test_inputs_nobody_reads_are_left_out(rng: np.random.Generator) -> None:
    b = GraphBuilder()
    x, _ = b.input("x", ("batch", 3)), b.input("unused", ("batch", 2))
    b.output(b.unary("neg", x))
    assert lower(b.module, b.resources, random_inputs(rng, x=(2, 3), unused=(2, 2))) == ["input", "map", "output"]


def test_ids_in_two_tables_are_limited_by_the_shorter(rng: np.random.Generator) -> None:
    b = GraphBuilder()
    ids = b.input("ids", ("batch", "seq"), "i64")
    tables = (b.constant(rng.standard_normal((rows, 3))) for rows in (9, 7))
    first, second = (b.op(graph.gather_def, table, ids, shape=("batch", "seq", 3)) for table in tables)
    b.output(b.binary("mul", first, second))
    kinds = lower(b.module, b.resources, {"ids": rng.integers(0, 7, (2, 4))}, bound=0.0)
    assert kinds == ["input", "fork", "lookup", "lookup", "join", "output"]
    assert b.module.body.find("flow.input")[0].attrs["limit"] == 7


def embedding(rng: np.random.Generator, positions: int = 8) -> GraphBuilder:
    b = GraphBuilder()
    ids = b.input("ids", ("batch", "seq"), "i64")
    places = b.shape_value("positions", (1, "seq"), "i64")
    rows = b.op(graph.gather_def, b.constant(rng.standard_normal((11, 4))), ids, shape=("batch", "seq", 4))
    table = b.constant(rng.standard_normal((positions, 4)))
    b.output(b.binary("add", b.op(graph.gather_def, table, places, shape=(1, "seq", 4)), rows))
    return b


def test_positions_are_as_many_as_asked_for(rng: np.random.Generator) -> None:
    b = embedding(rng)
    ids = {"ids": rng.integers(0, 11, (2, 5))}
    wanted = b.run(**ids)["y"]
    b.apply(LowerToFlow(max_seq=5))
    (lookup,) = b.module.body.find("flow.lookup")
    assert lookup.attrs["counts"] == (11, 5)
    assert lookup.loc.names == ("n4", "n7", "n8")
    assert np.array_equal(run_flow(b.module, b.resources, ids)["y"], wanted)


def test_fp16_is_the_storage_of_every_kernel_that_has_one(tiny_gpt: Path, rng: np.random.Generator) -> None:
    module, resources = import_model(tiny_gpt)
    PassManager(parse_pipeline(f"{PHASES['canonical']},{PHASES['fuse']}")).run(module, PassContext(resources))
    ids = {"input_ids": rng.integers(0, 67, (1, 16))}
    wanted = run_graph(module, resources, ids)["logits"]
    PassManager([LowerToFlow(precision="fp16")]).run(module, PassContext(resources))
    stored = [op for op in module.body.ops if "storage" in op.attrs]
    assert {op.name for op in stored} == {"flow.lookup", "flow.matvec", "flow.attention"}
    assert all(op.attrs["storage"] == "f16" for op in stored)
    error = np.abs(run_flow(module, resources, ids)["logits"] - wanted).max() / np.abs(wanted).max()
    assert 2e-5 < error < 5e-3


def test_everything_unsupported_is_told_at_once(rng: np.random.Generator) -> None:
    b = GraphBuilder()
    x = b.input("x", ("batch", "seq", 4))
    b.input("open", ("batch", "seq"))
    ids = b.input("ids", ("batch", "seq"), "i64")
    wrong = {
        b.softmax(x): "no kernel",
        b.reduce("mean", x): "no kernel",
        b.binary("pow", x, 2.0): "cannot compute pow",
        b.matmul(x, x, transpose_b=True): "constant matrix on the right",
        b.binary("mul", x, b.constant(rng.standard_normal((4, 1)))): "does not fit 4 features",
        b.slice(x, 2, 0, 2): "only the columns of a product",
        b.binary("add", ids, ids): "graph.input (n2) cannot be used here",
        attention(b, x, x, x, 2, 2): "must be columns of products",
    }
    product = b.matmul(x, b.constant(rng.standard_normal((4, 6))))
    wrong[b.slice(product, 1, 0, 2)] = "along a token axis"
    part = b.slice(product, 2, 0, 3)
    wrong[b.unary("neg", part)] = "only be query, key and value"
    q, k, v = (b.matmul(x, b.constant(rng.standard_normal((4, 4)))) for _ in "qkv")
    wrong[attention(b, q, k, v, 2, 2, causal=False)] = "only causal"
    consequence = b.unary("neg", next(iter(wrong)))
    b.output(consequence)
    with pytest.raises(InputError) as caught:
        b.apply(LowerToFlow())
    error = caught.value
    assert (error.code, error.exit_code) == ("unsupported-graph", 1)
    lines = error.message.splitlines()
    assert lines[0].startswith(f"{len(wrong) + 1} ops")
    assert any("graph.input (n1)" in line and "last axis" in line for line in lines)
    for value, reason in wrong.items():
        assert value.op is not None
        assert any(f"({value.op.loc})" in line and reason in line for line in lines), (str(value.op.loc), reason)
    assert consequence.op is not None and f"({consequence.op.loc})" not in error.message


def test_a_model_without_outputs() -> None:
    b = GraphBuilder()
    b.unary("neg", b.input("x", ("batch", 3)))
    with pytest.raises(InputError, match="no outputs"):
        b.apply(LowerToFlow())


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"max_seq": 9}, "max-seq"),
        ({"max_seq": -1}, "bad-option"),
        ({"max_seq": (1 << 20) + 1}, "bad-option"),
        ({"precision": "fp8"}, "bad-option"),
        ({"slots": 0}, "bad-option"),
        ({"slots": 257}, "bad-option"),
    ],
)
def test_options_that_do_not_fit(rng: np.random.Generator, options: dict[str, int], code: str) -> None:
    with pytest.raises(InputError) as caught:
        embedding(rng).apply(LowerToFlow(**options))  # type: ignore[arg-type]
    assert caught.value.code == code
    assert code != "max-seq" or ("8 positions" in caught.value.message and "--max-seq 8" in caught.value.hint)
