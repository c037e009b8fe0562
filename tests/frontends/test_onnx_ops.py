"""Every converter against onnxruntime, on one-node (or so) models with dynamic and static first axes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_models import build, floats, saved
from test_onnx_import import assert_same_as_onnxruntime

from compiler.ir.core import Op
from frontends.onnx.import_graph import CONVERTERS, import_model
from runtime.errors import InputError

N = "n"  # the dynamic axis; 3 in the runs


@dataclass(frozen=True)
class Case:
    """`op` on x [n, 4, 6] (or `shapes`) and constants, giving y [`rank` axes]."""

    op: str
    inputs: tuple[str, ...] = ("x",)
    attrs: dict[str, Any] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)
    shapes: dict[str, tuple[int | str, ...]] = field(default_factory=lambda: {"x": (N, 4, 6)})
    outputs: int = 1
    opset: int = 20

    def __str__(self) -> str:
        details = [f"{key}={value}" for key, value in self.attrs.items()]
        return "-".join([self.op, *self.inputs[1:], *details, str(self.opset)])


def ints(*values: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array(values, np.int64)


STEPS = {"s": ints(0), "e": ints(4), "a": ints(1), "t": ints(2)}
POSITIVE = {"p": np.abs(floats(4, 6)) + 0.5}
QKV3: dict[str, tuple[int | str, ...]] = dict.fromkeys("xkv", (N, 5, 12))
QKV4: dict[str, tuple[int | str, ...]] = dict.fromkeys("xkv", (N, 2, 5, 6))
CAUSAL = np.where(np.tri(5, dtype=bool), 0, np.finfo(np.float32).min).astype(np.float32)

CASES = [
    *(Case(op) for op in ("Abs", "Neg", "Exp", "Relu", "Tanh", "Sigmoid", "Erf", "Identity", "Gelu")),
    Case("Gelu", attrs={"approximate": "tanh"}),
    *(Case(op, ("x", "p"), constants=POSITIVE) for op in ("Add", "Sub", "Mul", "Div", "Max", "Min")),
    Case("Pow", ("x", "two"), constants={"two": np.float32(2)}),
    Case("Max", ("x", "p", "q"), constants=POSITIVE | {"q": np.float32(0.7)}),
    Case("Sum", ("p", "x", "x"), constants=POSITIVE),
    Case("Cast", attrs={"to": onnx.TensorProto.FLOAT16}),
    Case("Cast", attrs={"to": onnx.TensorProto.FLOAT}),
    Case("Where", ("c", "x", "p"), constants=POSITIVE | {"c": floats(4, 6) > 0}),
    Case("Dropout"),
    Case("Softmax"),
    Case("Softmax", attrs={"axis": 2}, opset=11),
    Case("LayerNormalization", ("x", "s", "b"), constants={"s": floats(6), "b": floats(6, seed=1)}),
    Case("LayerNormalization", ("x", "s"), {"epsilon": 1e-3, "axis": 2}, {"s": floats(6)}),
    Case("ReduceMean", ("x", "axes"), {"keepdims": 1}, {"axes": ints(-1)}),
    Case("ReduceMean", attrs={"axes": [1, 2], "keepdims": 0}, opset=13),
    Case("ReduceSum", ("x", "axes"), {"keepdims": 0}, {"axes": ints(1)}),
    Case("ReduceSum", ("x", "axes"), {"noop_with_empty_axes": 1}, {"axes": ints()}),
    Case("ReduceMax", ("x", "axes"), {"keepdims": 1}, {"axes": ints(2, 1)}),
    Case("Reshape", ("x", "to"), constants={"to": ints(-1, 24)}),
    Case("Reshape", ("x", "to"), constants={"to": ints(0, 2, 2, -1)}),
    Case("Squeeze", ("x", "axes"), constants={"axes": ints(1)}, shapes={"x": (N, 1, 6)}),
    Case("Unsqueeze", ("x", "axes"), constants={"axes": ints(0, -1)}),
    Case("Flatten", attrs={"axis": 1}),
    Case("Flatten", attrs={"axis": 2}),
    Case("Transpose", attrs={"perm": [0, 2, 1]}),
    Case("Transpose"),
    Case("Expand", ("x", "to"), constants={"to": ints(1, 4, 6)}, shapes={"x": (N, 1, 6)}),
    Case("Concat", ("x", "x"), {"axis": -1}),
    Case("Slice", ("x", "s", "e", "a"), constants={"s": ints(1, -3), "e": ints(3, 100), "a": ints(1, -1)}),
    Case("Slice", ("x", "s", "e", "a"), constants={"s": ints(0), "e": ints(2**63 - 1), "a": ints(0)}),
    Case("Slice", ("x", "s", "e", "a"), constants={"s": ints(3), "e": ints(1), "a": ints(1)}),
    Case("Split", attrs={"axis": 2, "num_outputs": 3}, outputs=3),
    Case("Split", ("x", "sizes"), {"axis": -1}, {"sizes": ints(1, 5)}, outputs=2),
    Case("Gather", ("x", "i"), {"axis": 1}, {"i": np.array(-1)}),
    Case("MatMul", ("x", "w"), constants={"w": floats(6, 5)}),
    Case("MatMul", ("x", "t"), shapes={"x": (N, 4, 6), "t": (N, 6, 4)}),
    Case("Gemm", ("x", "w"), constants={"w": floats(6, 5)}, shapes={"x": (N, 6)}),
    Case(
        "Gemm",
        ("x", "w", "c"),
        {"alpha": 0.5, "beta": 2.0, "transA": 1, "transB": 1},
        {"w": floats(5, 6), "c": floats(5)},
        {"x": (6, N)},
    ),
    Case("Attention", ("x", "k", "v"), {"q_num_heads": 2, "kv_num_heads": 2, "is_causal": 1}, shapes=QKV3, opset=23),
    Case("Attention", ("x", "k", "v"), {"scale": 0.3}, shapes=QKV4, opset=23),
    Case("Attention", ("x", "k", "v", "mask"), constants={"mask": CAUSAL}, shapes=QKV4, opset=23),
]  # fmt: skip


def model_of(case: Case) -> onnx.ModelProto:
    outputs = ["y", *(f"y{index}" for index in range(1, case.outputs))]
    node = helper.make_node(case.op, list(case.inputs), outputs, "tested", **case.attrs)
    shapes = {name: case.shapes[name] for name in case.inputs if name in case.shapes}
    model = build([node], shapes, dict.fromkeys(outputs, ()), case.constants, opset=case.opset)
    for output in model.graph.output:
        output.type.Clear()
    return model


@pytest.mark.parametrize("first_axis", [N, 3], ids=["dynamic", "static"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_op(case: Case, first_axis: int | str, tmp_path: Path) -> None:
    shapes = {name: tuple(first_axis if dim == N else dim for dim in dims) for name, dims in case.shapes.items()}
    model = model_of(Case(**{**vars(case), "shapes": shapes}))
    # onnxruntime wants the element types of outputs, not their shapes.
    inferred = onnx.shape_inference.infer_shapes(model)
    inputs = {
        name: floats(*(3 if dim == N else int(dim) for dim in dims), seed=5)
        for name, dims in case.shapes.items()
        if name in case.inputs
    }
    assert_same_as_onnxruntime(saved(inferred, tmp_path / "m.onnx"), inputs, 1e-5)


def test_every_converter_is_tested() -> None:
    elsewhere = {"Log", "Sqrt", "Reciprocal", "IsNaN"}  # below
    assert {case.op for case in CASES} | elsewhere == set(CONVERTERS)


@pytest.mark.parametrize("op", ["Log", "Sqrt", "Reciprocal"])
def test_functions_of_positive_numbers(op: str, tmp_path: Path) -> None:
    nodes = [helper.make_node("Exp", ["x"], ["e"]), helper.make_node(op, ["e"], ["y"])]
    path = saved(build(nodes, {"x": [N, 4]}, {"y": [N, 4]}), tmp_path / "m.onnx")
    assert_same_as_onnxruntime(path, {"x": floats(3, 4)}, 1e-6)


def guarded_softmax(mask: np.ndarray[Any, Any], *, masked_first: bool = False) -> onnx.ModelProto:
    """where(isnan(p), 0, p) with p = softmax of masked scores, as torch writes scaled dot product attention."""
    picked = ["mask", "low", "x"] if masked_first else ["mask", "x", "low"]
    nodes = [
        helper.make_node("Where", picked, ["s"]),
        helper.make_node("Softmax", ["s"], ["p"]),
        helper.make_node("IsNaN", ["p"], ["bad"], "guard"),
        helper.make_node("Where", ["bad", "zero", "p"], ["y"]),
    ]
    constants = {"mask": mask, "low": np.float32(-np.inf), "zero": np.float32(0)}
    return build(nodes, {"x": [N, 4, 4]}, {"y": [N, 4, 4]}, constants)


def test_the_guard_behind_a_causal_softmax_is_dropped(tmp_path: Path) -> None:
    path = saved(guarded_softmax(np.tri(4, dtype=bool)), tmp_path / "m.onnx")
    assert_same_as_onnxruntime(path, {"x": floats(2, 4, 4)}, 1e-6)
    module, _ = import_model(path)
    assert len(module.body.find("graph.where")) == 1


@pytest.mark.parametrize("masked_first", [True, False])
def test_a_guard_that_could_matter_is_not_dropped(tmp_path: Path, masked_first: bool) -> None:
    mask = np.tri(4, dtype=bool) if masked_first else np.tri(4, k=-1, dtype=bool)
    with pytest.raises(InputError, match="guard"):
        import_model(saved(guarded_softmax(mask, masked_first=masked_first), tmp_path / "m.onnx"))


def test_lookup(tmp_path: Path) -> None:
    node = helper.make_node("Gather", ["table", "ids"], ["y"])
    model = build([node], {"ids": ["b", "s"]}, {"y": ["b", "s", 4]}, {"table": floats(9, 4)}, int_inputs=["ids"])
    assert_same_as_onnxruntime(saved(model, tmp_path / "m.onnx"), {"ids": ints(3, 0, 8).reshape(1, 3)}, 0)


def run_mask(path: Path, nodes: list[onnx.NodeProto], constants: dict[str, Any]) -> Op:
    """Import x [b, s] with values computed from its shape [b, s] (`shape`, and `s` as a vector)."""
    prefix = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Shape", ["x"], ["s"], start=1),
        helper.make_node("Squeeze", ["s"], ["count"]),
        helper.make_node("Range", ["zero", "count", "one"], ["range"]),
    ]
    base = {"zero": np.array(0), "one": np.array(1)}
    model = build([*prefix, *nodes], {"x": ["b", "s"]}, {"y": ()}, base | constants)
    model.graph.output[0].type.Clear()
    module, _ = import_model(saved(model, path))
    return module


def kinds(module: Op) -> list[tuple[object, str]]:
    return [(op.attrs["kind"], str(op.result.type)) for op in module.body.find("graph.shape_value")]


def test_positions_as_a_lookup(tmp_path: Path) -> None:
    nodes = [helper.make_node("Gather", ["table", "range"], ["rows"]), helper.make_node("Relu", ["rows"], ["y"])]
    module = run_mask(tmp_path / "m.onnx", nodes, {"table": floats(16, 4)})
    assert kinds(module) == [("positions", "tensor<s x i64>")]


def test_a_registered_triangle_cut_to_size_is_causal(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Concat", ["s", "s"], ["ends"], axis=0),
        helper.make_node("Slice", ["tril", "starts", "ends", "axes"], ["cut"]),
        helper.make_node("Unsqueeze", ["x", "one_axis"], ["wide"]),
        helper.make_node("Where", ["cut", "wide", "low"], ["y"]),
    ]
    constants = {
        "tril": np.tri(16, dtype=bool)[None, None], "starts": ints(0, 0), "axes": ints(2, 3), "one_axis": ints(1),
        "low": np.float32(-1e9),
    }  # fmt: skip
    assert kinds(run_mask(tmp_path / "m.onnx", nodes, constants)) == [("causal", "tensor<1 x 1 x s x s x bool>")]


@pytest.mark.parametrize("low", [-1e4, -3.4e38, -np.inf])
def test_an_additive_mask_of_any_strength(tmp_path: Path, low: float) -> None:
    nodes = [
        helper.make_node("Unsqueeze", ["range", "last"], ["queries"]),
        helper.make_node("LessOrEqual", ["range", "queries"], ["seen"]),
        helper.make_node("Where", ["seen", "nothing", "low"], ["mask"]),
        helper.make_node("Unsqueeze", ["x", "middle"], ["wide"]),
        helper.make_node("Add", ["wide", "mask"], ["y"]),
    ]
    constants = {"last": ints(-1), "middle": ints(1), "nothing": np.float32(0), "low": np.float32(low)}
    assert kinds(run_mask(tmp_path / "m.onnx", nodes, constants)) == [("causal_additive", "tensor<s x s x f32>")]


def test_a_strict_triangle_is_not_causal(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Unsqueeze", ["range", "last"], ["queries"]),
        helper.make_node("Less", ["range", "queries"], ["seen"]),
        helper.make_node("Unsqueeze", ["x", "middle"], ["wide"]),
        helper.make_node("Where", ["seen", "wide", "low"], ["y"]),
    ]
    constants = {"last": ints(-1), "middle": ints(1), "low": np.float32(-1e9)}
    with pytest.raises(InputError, match="seen depends on the inputs' shapes"):
        run_mask(tmp_path / "m.onnx", nodes, constants)


def test_a_uniform_value_of_varying_shape_is_expanded(tmp_path: Path) -> None:
    ones = helper.make_tensor("v", onnx.TensorProto.FLOAT, [1], [1.5])
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["c"], value=ones),
        helper.make_node("Add", ["x", "c"], ["y"]),
    ]
    module = run_mask(tmp_path / "m.onnx", nodes, {})
    (expand,) = module.body.find("graph.expand")
    assert str(expand.result.type) == "tensor<b x s x f32>"


@pytest.mark.parametrize("constant", ["value_float", "value_floats", "value_int", "value_ints"])
def test_constants_however_they_are_spelled(tmp_path: Path, constant: str) -> None:
    value: Any = [2, 3] if constant.endswith("s") else 2
    nodes = [
        helper.make_node(
            "Constant", [], ["raw"], **{constant: value if "int" in constant else np.float32(value).tolist()}
        ),
        helper.make_node("Cast", ["raw"], ["k"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "k"], ["y"]),
    ]
    path = saved(build(nodes, {"x": [N, 2]}, {"y": [N, 2]}), tmp_path / "m.onnx")
    assert_same_as_onnxruntime(path, {"x": floats(3, 2)}, 0)


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (Case("Softmax", attrs={"axis": 1}), "other than the last"),
        (Case("LayerNormalization", ("x", "s"), {"axis": 1}, {"s": floats(4, 6)}), "more than the last axis"),
        (Case("Cast", attrs={"to": onnx.TensorProto.DOUBLE}), "float64"),
        (Case("Slice", ("x", "s", "e", "a", "t"), constants=STEPS), "step"),
        (Case("Gather", ("x", "i"), {"axis": 0}, {"i": np.array(0)}), "varying size"),
        (Case("Gather", ("x", "i"), {"axis": 1}, {"i": ints(0, 2)}), "several indices"),
        (Case("MatMul", ("x", "w"), constants={"w": floats(6)}), "one axis"),
        (Case("Attention", ("x", "k", "v"), {"softcap": 2.0}, shapes=QKV4, opset=23), "softcap"),
        (Case("Attention", ("x", "k", "v", "m"), constants={"m": floats(5, 5)}, shapes=QKV4, opset=23), "not causal"),
    ],
    ids=str,
)
def test_forms_that_are_refused_with_a_reason(case: Case, reason: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=reason) as error:
        import_model(saved(model_of(case), tmp_path / "m.onnx"))
    assert error.value.code == "unsupported-op" and "tested" in error.value.message
