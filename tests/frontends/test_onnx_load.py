"""Files from strangers: each kind of bad input is one InputError with its own code."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_models import build, floats, mlp, saved, with_external

from frontends.onnx import load
from frontends.onnx.load import load_model
from runtime.errors import InputError


def refused(path: Path) -> InputError:
    with pytest.raises(InputError) as error:
        load_model(path)
    assert "\x1b" not in str(error.value)
    return error.value


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder inside another one, so that there is an outside to escape to."""
    inner = tmp_path / "model"
    inner.mkdir()
    (tmp_path / "secret.data").write_bytes(bytes(4096))
    return inner


def external_model(folder: Path, location: str, *, offset: int = 0, length: int | None = None) -> Path:
    model = mlp("batch")
    with_external(model, "w1", location, offset=offset, length=length)
    return saved(model, folder / "m.onnx")


def test_no_such_file(tmp_path: Path) -> None:
    assert refused(tmp_path / "absent.onnx").code == "no-such-file"


@pytest.mark.parametrize("data", [b"", b"just some text, not a model\n", bytes(100), b"\x08\x0a"])
def test_not_onnx(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    assert refused(path).code == "not-onnx"


def test_a_folder_is_not_a_model(tmp_path: Path) -> None:
    assert refused(tmp_path).code == "not-onnx"


def test_truncated_anywhere(tmp_path: Path) -> None:
    data = mlp("batch").SerializeToString()
    path = tmp_path / "m.onnx"
    for size in range(1, len(data), 37):
        path.write_bytes(data[:size])
        assert refused(path).code in ("not-onnx", "opset")


def test_truncated_says_so(tmp_path: Path) -> None:
    path = saved(mlp("batch"), tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes()[:500])
    assert "truncated" in refused(path).message


def test_external_data_is_located_not_read(folder: Path) -> None:
    weights = floats(12, 8)
    (folder / "m.data").write_bytes(bytes(64) + weights.tobytes())
    weight = load_model(external_model(folder, "m.data", offset=64)).weights["w1"]
    assert weight.inline is None
    assert weight.file is not None and weight.file.path == (folder / "m.data").resolve()
    np.testing.assert_array_equal(weight.array(), weights)


def test_external_data_missing(folder: Path) -> None:
    assert refused(external_model(folder, "m.data")).code == "external-data-missing"


def test_external_data_too_short(folder: Path) -> None:
    (folder / "m.data").write_bytes(bytes(12 * 8 * 4 - 1))
    assert refused(external_model(folder, "m.data")).code == "external-data-short"


@pytest.mark.parametrize(
    "location",
    [
        "../secret.data",
        "sub/../../secret.data",
        "/etc/passwd",
        "..\\secret.data",
        "C:secret.data",
        "file://x",
        "\x1b[2J",
        "",
    ],
)
def test_external_data_outside_by_name(folder: Path, location: str) -> None:
    assert refused(external_model(folder, location)).code in ("external-data-outside", "external-data-missing")


def test_external_data_by_absolute_path_into_the_folder_is_still_refused(folder: Path) -> None:
    (folder / "m.data").write_bytes(bytes(12 * 8 * 4))
    assert refused(external_model(folder, str(folder / "m.data"))).code == "external-data-outside"


def test_external_data_outside_by_link(folder: Path) -> None:
    (folder / "m.data").symlink_to(folder.parent / "secret.data")
    assert refused(external_model(folder, "m.data")).code == "external-data-outside"


def test_external_data_outside_by_linked_folder(folder: Path) -> None:
    (folder / "sub").symlink_to(folder.parent)
    assert refused(external_model(folder, "sub/secret.data")).code == "external-data-outside"


def test_a_cache_of_links_into_one_store_is_fine(folder: Path) -> None:
    store = folder.parent / "blobs"
    store.mkdir()
    (store / "b").write_bytes(bytes(12 * 8 * 4))
    external_model(folder, "m.data").rename(store / "a")
    (folder / "m.onnx").symlink_to(store / "a")
    (folder / "m.data").symlink_to(store / "b")
    weight = load_model(folder / "m.onnx").weights["w1"]
    assert weight.file is not None and weight.file.path == (store / "b").resolve()


def test_external_data_that_is_a_pipe(folder: Path) -> None:
    os.mkfifo(folder / "m.data")
    assert refused(external_model(folder, "m.data")).code == "external-data-missing"


@pytest.mark.parametrize(("offset", "length"), [(0, 7), (-4, None), (0, 10**30)])
def test_external_sizes_that_make_no_sense(folder: Path, offset: int, length: int | None) -> None:
    (folder / "m.data").write_bytes(bytes(4096))
    assert refused(external_model(folder, "m.data", offset=offset, length=length)).code in (
        "tensor-size",
        "external-data-entry",
    )


def test_shape_and_bytes_must_agree(tmp_path: Path) -> None:
    model = mlp("batch")
    model.graph.initializer[0].dims[0] = 13
    assert refused(saved(model, tmp_path / "m.onnx")).code == "tensor-size"


def test_shapes_do_not_overflow(tmp_path: Path) -> None:
    model = mlp("batch")
    model.graph.initializer[0].dims[:] = [2**32, 2**32]
    assert refused(saved(model, tmp_path / "m.onnx")).code == "tensor-size"


def test_negative_shapes(tmp_path: Path) -> None:
    model = mlp("batch")
    model.graph.initializer[0].dims[:] = [-12, -8]
    assert refused(saved(model, tmp_path / "m.onnx")).code == "tensor-size"


def test_unknown_element_type(tmp_path: Path) -> None:
    model = mlp("batch")
    model.graph.initializer[0].data_type = onnx.TensorProto.BFLOAT16
    error = refused(saved(model, tmp_path / "m.onnx"))
    assert error.code == "element-type" and "BFLOAT16" in error.message


@pytest.mark.parametrize("opset", [6, 9999])
def test_opset_out_of_range(tmp_path: Path, opset: int) -> None:
    model = mlp("batch")
    model.opset_import[0].version = opset
    assert refused(saved(model, tmp_path / "m.onnx")).code == "opset"


def test_values_are_defined_before_use_and_once(tmp_path: Path) -> None:
    backwards = build(
        [helper.make_node("Relu", ["h"], ["y"]), helper.make_node("Relu", ["x"], ["h"])], {"x": [2]}, {"y": [2]}
    )
    twice = build(
        [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["y"])], {"x": [2]}, {"y": [2]}
    )
    never = build([helper.make_node("Relu", ["x"], ["h"])], {"x": [2]}, {"y": [2]})
    for model in (backwards, twice, never):
        assert refused(saved(model, tmp_path / "m.onnx")).code == "bad-graph"


def test_names_with_terminal_sequences_are_escaped(tmp_path: Path) -> None:
    model = build([helper.make_node("Relu", ["\x1b[2J"], ["y"])], {"x": [2]}, {"y": [2]})
    assert "\\x1b[2J" in refused(saved(model, tmp_path / "m.onnx")).message


def test_size_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(mlp("batch"), tmp_path / "m.onnx")
    with monkeypatch.context() as patch:
        patch.setattr(load, "MAX_NODES", 3)
        assert refused(path).code == "too-large"
    with monkeypatch.context() as patch:
        patch.setattr(load, "MAX_FILE_BYTES", 100)
        assert refused(path).code == "too-large"
    with monkeypatch.context() as patch:
        patch.setattr(load, "MAX_NAME", 4)
        assert refused(path).code == "too-large"


def test_too_many_external_tensors(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "MAX_EXTERNAL", 0)
    assert refused(external_model(folder, "m.data")).code == "too-large"


def function(name: str, *called: str) -> onnx.FunctionProto:
    """A function that calls others of the same domain, one after the other."""
    names = ["x", *(f"t{index}" for index in range(len(called)))]
    nodes = [
        helper.make_node(op, [names[i]], [names[i + 1]], domain="" if op == "Relu" else "own")
        for i, op in enumerate(called)
    ]
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("own", 1)]
    return helper.make_function("own", name, ["x"], [names[-1]], nodes, opsets)


def test_functions_are_inlined(tmp_path: Path) -> None:
    functions = [function("F", "Relu", "G"), function("G", "Relu", "Relu")]
    model = build(
        [helper.make_node("F", ["x"], ["y"], domain="own")],
        {"x": [2]},
        {"y": [2]},
        functions=functions,
        domains=["own"],
    )
    assert [node.op_type for node in load_model(saved(model, tmp_path / "m.onnx")).nodes] == ["Relu"] * 3


def test_functions_that_explode_are_refused_before_inlining(tmp_path: Path) -> None:
    # Twenty functions, each calling the next ten times.
    functions = [function(f"F{i}", *[f"F{i + 1}"] * 10) for i in range(20)] + [function("F20", "Relu")]
    model = build(
        [helper.make_node("F0", ["x"], ["y"], domain="own")],
        {"x": [2]},
        {"y": [2]},
        functions=functions,
        domains=["own"],
    )
    assert refused(saved(model, tmp_path / "m.onnx")).code == "too-large"


def test_functions_that_call_themselves_are_refused(tmp_path: Path) -> None:
    model = build(
        [helper.make_node("F", ["x"], ["y"], domain="own")],
        {"x": [2]},
        {"y": [2]},
        functions=[function("F", "G"), function("G", "F")],
        domains=["own"],
    )
    assert refused(saved(model, tmp_path / "m.onnx")).code == "bad-graph"
