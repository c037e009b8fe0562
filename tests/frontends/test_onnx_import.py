"""Whole models through the importer: what they compute, what shapes they have, what is told about them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from ir_equal import assert_same_ir
from onnx import helper
from onnx_models import build, floats, mlp, saved, with_external

from compiler.dialects import graph
from compiler.graph_interpreter import run_graph
from compiler.ir.core import Op, TensorType
from compiler.ir.defs import REGISTRY
from compiler.resources import ResourceStore
from frontends.onnx import probe
from frontends.onnx.import_graph import import_model, lint
from runtime.errors import InputError

TOLERANCE = {"fp16": 5e-3}
GPTS = ("dynamo", "legacy", "fp16", "static", "fused")


def histogram(module: Op) -> Counter[str]:
    return Counter(op.name for op in module.body.ops)


def input_dims(module: Op) -> dict[object, tuple[int | str, ...]]:
    return {op.attrs["name"]: graph.tensor_type(op.result).shape for op in module.body.find("graph.input")}


def shape_values(module: Op) -> dict[object, tuple[int | str, ...]]:
    return {op.attrs["kind"]: graph.tensor_type(op.result).shape for op in module.body.find("graph.shape_value")}


def assert_same_as_onnxruntime(path: Path, inputs: dict[str, np.ndarray], tolerance: float) -> None:
    module, store = import_model(path)
    for op in module.walk():
        REGISTRY[op.name].check(op)
    session = onnxruntime.InferenceSession(str(path))
    names = [output.name for output in session.get_outputs()]
    got = run_graph(module, store, inputs)
    for name, expected in zip(names, session.run(names, inputs), strict=True):
        assert got[name].shape == expected.shape and got[name].dtype == expected.dtype
        error = np.abs(got[name].astype(np.float64) - expected).max(initial=0)
        assert error <= tolerance * max(1.0, float(np.abs(expected).max(initial=0)))


@pytest.mark.parametrize("name", GPTS)
def test_a_gpt_computes_what_onnxruntime_does(tiny_gpts: dict[str, Path], name: str) -> None:
    for shape in ((1, 12),) if name in ("static", "fused") else ((1, 1), (2, 3), (3, 16)):
        ids = np.random.default_rng(0).integers(0, 67, shape)
        assert_same_as_onnxruntime(tiny_gpts[name], {"input_ids": ids}, TOLERANCE.get(name, 2e-5))


@pytest.mark.parametrize("name", ["dynamo", "legacy", "fp16"])
def test_shape_arithmetic_vanishes(tiny_gpts: dict[str, Path], name: str) -> None:
    module, _ = import_model(tiny_gpts[name])
    assert input_dims(module) == {"input_ids": ("batch", "seq")}
    assert shape_values(module) == {"positions": (1, "seq"), "causal_additive": ("batch", 1, "seq", "seq")}
    counts = histogram(module)
    assert (counts["graph.matmul"], counts["graph.softmax"], counts["graph.layer_norm"]) == (13, 2, 5)
    assert counts["graph.expand"] == counts["graph.cast"] == counts["graph.concat"] == counts["graph.where"] == 0


def test_static_axes_stay_numbers_and_the_mask_is_still_seen(tiny_gpts: dict[str, Path]) -> None:
    module, _ = import_model(tiny_gpts["static"])
    assert input_dims(module) == {"input_ids": (1, 12)}
    assert shape_values(module)["causal_additive"] == (1, 1, 12, 12)
    types = [value.type for op in module.body.ops for value in op.results]
    assert all(isinstance(dim, int) for type in types if isinstance(type, TensorType) for dim in type.shape)


def test_fused_attention_stays_fused(tiny_gpts: dict[str, Path]) -> None:
    module, _ = import_model(tiny_gpts["fused"])
    first, second = module.body.find("graph.attention")
    assert first.attrs == second.attrs
    assert first.attrs["causal"] is True and (first.attrs["heads"], first.attrs["head_dim"]) == (4, 8)
    assert first.attrs["scale"] == pytest.approx(8**-0.5, rel=1e-6)


@pytest.mark.parametrize("name", ["dynamo", "legacy", "fp16"])
def test_the_tied_table_is_stored_once(tiny_gpts: dict[str, Path], name: str) -> None:
    module, store = import_model(tiny_gpts[name])
    shapes = [store.info(resource).shape for resource in store]
    assert shapes.count((67, 32)) == 1 and (32, 67) not in shapes
    head = module.body.ops[-2]
    assert head.name == "graph.matmul" and head.attrs["transpose_b"] is True


def test_both_exporters_give_the_same_weights(tiny_gpts: dict[str, Path]) -> None:
    assert list(import_model(tiny_gpts["dynamo"])[1]) == list(import_model(tiny_gpts["legacy"])[1])


def test_the_same_file_gives_the_same_module(tiny_gpts: dict[str, Path]) -> None:
    assert_same_ir(import_model(tiny_gpts["legacy"])[0], import_model(tiny_gpts["legacy"])[0])


def test_every_op_is_located_at_a_node_or_value_of_the_model(tiny_gpts: dict[str, Path]) -> None:
    model = onnx.load(tiny_gpts["legacy"])
    known = {node.name for node in model.graph.node} | {t.name for t in model.graph.initializer}
    known |= {name for node in model.graph.node for name in node.output} | {"input_ids"}
    module, _ = import_model(tiny_gpts["legacy"])
    located = [op for op in module.body.ops if op.name != "builtin.resource"]
    assert all(op.loc.names and known.issuperset(op.loc.names) for op in located)


def test_half_precision_stays_half(tiny_gpts: dict[str, Path]) -> None:
    module, _ = import_model(tiny_gpts["fp16"])
    assert graph.tensor_type(module.body.find("graph.matmul")[0].result).dtype == "f16"


@pytest.mark.parametrize("batch", ["batch", 4])
def test_an_mlp(tmp_path: Path, batch: int | str) -> None:
    path = saved(mlp(batch), tmp_path / "mlp.onnx")
    assert_same_as_onnxruntime(path, {"x": floats(4, 8, seed=9)}, 1e-6)
    module, _ = import_model(path)
    assert module.attrs == {"sym_name": "mlp", "phase": "import"}
    assert input_dims(module) == {"x": (batch, 8)}
    assert histogram(module)["graph.matmul"] == 2


def test_external_weights_are_mapped(tmp_path: Path) -> None:
    model = mlp("batch")
    with_external(model, "w2", "w.data", offset=8)
    (tmp_path / "w.data").write_bytes(bytes(8) + floats(12, 5, seed=2).tobytes())
    path = saved(model, tmp_path / "m.onnx")
    assert_same_as_onnxruntime(path, {"x": floats(3, 8)}, 1e-6)
    _, store = import_model(path)
    assert [isinstance(store.get(n), np.memmap) for n in store if store.info(n).hint == "w2"] == [True]


def test_unknown_dimensions_without_a_name_are_told_apart(tmp_path: Path) -> None:
    model = build([helper.make_node("Relu", ["x"], ["y"])], {"x": ["a", "b", 3]}, {"y": ["a", "b", 3]})
    for dim in model.graph.input[0].type.tensor_type.shape.dim[:2]:
        dim.Clear()
    module, _ = import_model(saved(model, tmp_path / "m.onnx"))
    (dims,) = input_dims(module).values()
    assert dims[2] == 3 and len(set(dims)) == 3


def test_dead_nodes_and_unused_weights_are_dropped(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("NonZero", ["x"], ["unused"])]
    module, store = import_model(
        saved(build(nodes, {"x": [2, 3]}, {"y": [2, 3]}, {"w": floats(5, 5)}), tmp_path / "m.onnx")
    )
    assert [op.name for op in module.body.ops] == ["graph.input", "graph.unary", "graph.output"]
    assert list(store) == []


def test_a_big_constant_is_not_copied_by_folding(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Transpose", ["w"], ["t"]),
        helper.make_node("MatMul", ["x", "t"], ["y"]),
    ]
    model = build(nodes, {"x": ["batch", 6]}, {"y": ["batch", 9]}, {"w": floats(9, 6)})
    path = saved(model, tmp_path / "m.onnx")
    module, store = import_model(path)
    assert [store.info(name).shape for name in store] == [(9, 6)]
    assert histogram(module)["graph.transpose"] == 0  # the product reads it as it is stored
    assert_same_as_onnxruntime(path, {"x": floats(2, 6)}, 1e-6)


# ---- What cannot be imported ---------------------------------------------------------------------------------------


def unsupported_model() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Sin", ["x"], ["a"], "wave_1"),
        helper.make_node("Sin", ["a"], ["b"], "wave_2"),
        helper.make_node("Mystery", ["b"], ["c"], "magic", domain="some.vendor"),
        helper.make_node("Relu", ["c"], ["d"], "fine"),
        helper.make_node("Einsum", ["d"], ["y"], equation="ij->ji"),
    ]
    return build(nodes, {"x": ["n", 4]}, {"y": [4, "n"]}, domains=["some.vendor"])


def test_everything_unsupported_is_listed_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        import_model(saved(unsupported_model(), tmp_path / "m.onnx"))
    assert error.value.code == "unsupported-op"
    assert error.value.message.splitlines() == [
        "4 nodes cannot be imported:",
        "  1 x Einsum (ai.onnx, opset 20): Einsum_4",
        "  1 x Mystery (some.vendor, opset 1): magic",
        "  2 x Sin (ai.onnx, opset 20): wave_1, wave_2",
    ]


def test_unsupported_forms_of_known_ops_are_all_listed_with_reasons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object) -> None:
        raise AssertionError("weights are read although the model cannot be imported")

    monkeypatch.setattr(ResourceStore, "add", fail)
    nodes = [
        helper.make_node("Softmax", ["x"], ["a"], "over_rows", axis=0),
        helper.make_node("Add", ["a", "b"], ["s"], "fine"),
        helper.make_node("Slice", ["s", "one", "two", "zero"], ["y"], "part_of_batch"),
    ]
    ints = {"zero": np.array([0]), "one": np.array([1]), "two": np.array([2]), "b": floats(4)}
    with pytest.raises(InputError) as error:
        import_model(saved(build(nodes, {"x": ["n", 4]}, {"y": [1, 4]}, ints), tmp_path / "m.onnx"))
    assert [line.strip().rpartition(":")[2] for line in error.value.message.splitlines()[1:]] == [
        " part_of_batch",
        " over_rows",
    ]


def test_control_flow_is_unsupported(tmp_path: Path) -> None:
    body = helper.make_graph([], "b", [], [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2])])
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
        helper.make_node("Cast", ["s"], ["c"], to=onnx.TensorProto.BOOL),
        helper.make_node("If", ["c"], ["y"], "branch", then_branch=body, else_branch=body),
    ]
    with pytest.raises(InputError, match=r"1 x If .*: branch"):
        import_model(saved(build(nodes, {"x": [2]}, {"y": [2]}), tmp_path / "m.onnx"))


def test_a_value_that_depends_on_shapes_in_an_unknown_way_is_named(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Cast", ["shape"], ["numbers"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "numbers"], ["y"], "scaled_by_size"),
    ]
    with pytest.raises(InputError, match="numbers depends on the inputs' shapes") as error:
        import_model(saved(build(nodes, {"x": ["n", 2]}, {"y": ["n", 2]}), tmp_path / "m.onnx"))
    assert "scaled_by_size" in error.value.message


def test_operands_that_do_not_fit_name_the_node(tmp_path: Path) -> None:
    model = build(
        [helper.make_node("Add", ["x", "w"], ["y"], "sum")], {"x": ["n", 2]}, {"y": ["n", 2]}, {"w": floats(3)}
    )
    with pytest.raises(InputError) as error:
        import_model(saved(model, tmp_path / "m.onnx"))
    assert error.value.code == "bad-graph" and error.value.where.endswith("node sum")


def test_a_model_fixed_to_one_size_is_told_in_which_it_fails(tmp_path: Path) -> None:
    """As exporters write them for an example of batch 1: the input says any batch, the shape arithmetic says 1."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["one", "s"], ["g"], "pick"),
        helper.make_node("Add", ["x", "g"], ["y"]),
    ]
    model = build(nodes, {"x": ["batch"]}, {"y": ["batch"]}, {"one": floats(2)})
    with pytest.raises(InputError, match=r"Gather: cannot be evaluated where batch = \d: .*out of bounds") as error:
        import_model(saved(model, tmp_path / "m.onnx"))
    assert error.value.where.endswith("node pick")


def test_huge_shape_arithmetic_is_refused_before_it_is_done(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ConstantOfShape", ["huge"], ["zeros"], "bomb"),
        helper.make_node("ReduceSum", ["zeros"], ["s"], keepdims=0),
        helper.make_node("Add", ["x", "s"], ["y"]),
    ]
    model = build(nodes, {"x": [2]}, {"y": [2]}, {"huge": np.array([2**40, 2**20])})
    with pytest.raises(InputError, match="too much") as error:
        import_model(saved(model, tmp_path / "m.onnx"))
    assert error.value.where.endswith("node bomb")


def test_more_elements_than_64_bits_count_are_no_crash(tmp_path: Path) -> None:
    nodes = [helper.make_node("Size", ["x"], ["s"], "count"), helper.make_node("Add", ["x", "s"], ["y"])]
    model = build(nodes, {"x": [2**40, 2**40]}, {"y": [2**40, 2**40]}, int_inputs=["x"])
    with pytest.raises(InputError) as error:
        import_model(saved(model, tmp_path / "m.onnx"))
    assert error.value.where.endswith("node count")


def test_many_medium_values_are_refused_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "MAX_KNOWN_TOTAL", 100)
    nodes = [
        helper.make_node("Neg", ["v"], ["a"]),
        helper.make_node("Neg", ["a"], ["b"]),
        helper.make_node("Add", ["x", "b"], ["y"]),
    ]
    model = build(nodes, {"x": [60]}, {"y": [60]}, {"v": floats(60)})
    with pytest.raises(InputError, match="too much"):
        import_model(saved(model, tmp_path / "m.onnx"))


# ---- lint ----------------------------------------------------------------------------------------------------------


def test_lint_of_a_good_model(tiny_gpts: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ResourceStore, "add", None)
    monkeypatch.setattr(ResourceStore, "add_mapped", None)
    report = lint(tiny_gpts["dynamo"])
    assert not report.unsupported and not report.problems
    assert report.inputs == (("input_ids", "tensor<batch x seq x i64>"),)
    assert report.outputs == (("logits", "tensor<batch x seq x 67 x f32>"),)
    assert report.supported["LayerNormalization"] == 5
    assert 28128 <= report.parameters <= 28128 + 67 * 32 + 16


def test_lint_of_a_bad_model(tmp_path: Path) -> None:
    report = lint(saved(unsupported_model(), tmp_path / "m.onnx"))
    assert report.unsupported == {"Sin": 2, "Einsum": 1, "Mystery": 1}
    assert report.supported == {"Relu": 1}
    assert [entry.node for entry in report.problems] == ["wave_1", "wave_2", "magic", "Einsum_4"]
