"""Exporting GPTs: the file is right, dynamic, reproducible, and never half-written."""

from __future__ import annotations

import builtins
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx_models import mlp, saved

from frontends.hf.configs import PRESETS
from frontends.hf.export import Exporter, Precision, export, gather_external_data
from runtime.errors import InputError, NumericsError, UsageError

FIXTURE = {"layers": 2, "width": 32, "heads": 4, "vocab": 67, "ctx": 16}
TINY = {"layers": 1, "width": 8, "heads": 2, "vocab": 11, "ctx": 12}


def test_presets_are_the_published_sizes() -> None:
    # Parameters of GPT-2's architecture from the sizes alone, against the names.
    for name, config in PRESETS.items():
        layer = 12 * config.width**2 + 13 * config.width
        parameters = (config.vocab + config.ctx + 2) * config.width + config.layers * layer
        published = name.removeprefix("cerebras-gpt-")
        billions = float(published[:-1]) / (1000 if published.endswith("m") else 1)
        assert parameters / 1e9 == pytest.approx(billions, rel=0.03)
        assert config.width % config.heads == 0


def test_inputs_and_outputs_are_named_and_dynamic(tiny_gpts: dict[str, Path]) -> None:
    for exporter in ("dynamo", "legacy"):
        graph = onnx.load(tiny_gpts[exporter], load_external_data=False).graph
        assert [(i.name, i.type.tensor_type.elem_type) for i in graph.input] == [("input_ids", onnx.TensorProto.INT64)]
        assert [dim.dim_param for dim in graph.input[0].type.tensor_type.shape.dim] == ["batch", "seq"]
        assert [output.name for output in graph.output] == ["logits"]


def test_external_data_is_named_after_the_model(tiny_gpts: dict[str, Path]) -> None:
    model = onnx.load(tiny_gpts["dynamo"], load_external_data=False)
    locations = {entry.value for t in model.graph.initializer for entry in t.external_data if entry.key == "location"}
    assert locations == {"dynamo.onnx.data"}


def test_scattered_external_data_is_gathered(tmp_path: Path) -> None:
    # As the legacy exporter leaves a model above 2 GB: one file per tensor.
    path = saved(mlp("batch"), tmp_path / "m.onnx")
    before = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    onnx.save(onnx.load(path), path, save_as_external_data=True, all_tensors_to_one_file=False, size_threshold=0)
    assert len(list(tmp_path.iterdir())) == 5
    gather_external_data(path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m.onnx", "m.onnx.data"]
    after = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert path.stat().st_mode == path.with_name("m.onnx.data").stat().st_mode


def test_no_parameter_is_trivial(tiny_gpts: dict[str, Path]) -> None:
    model = onnx.load(tiny_gpts["legacy"])
    parameters = [onnx.numpy_helper.to_array(t) for t in model.graph.initializer if "transformer" in t.name]
    assert len(parameters) == 28
    assert all(np.unique(array).size > array.size // 2 for array in parameters)


def test_same_seed_same_bytes(tiny_gpts: dict[str, Path], tmp_path: Path) -> None:
    report = export("cerebras-gpt-111m", tmp_path / "dynamo.onnx", seed=3, **FIXTURE)
    assert report.max_error is not None and report.max_error < 2e-5
    for file in tmp_path.iterdir():
        assert file.read_bytes() == tiny_gpts["dynamo"].with_name(file.name).read_bytes()


def test_another_seed_other_weights(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    for seed in (1, 2):
        export("cerebras-gpt-111m", tmp_path / f"{seed}.onnx", seed=seed, exporter="legacy", **TINY)
    assert (tmp_path / "1.onnx").read_bytes() != (tmp_path / "2.onnx").read_bytes()


def test_no_path_of_this_machine_is_in_the_file(tiny_gpts: dict[str, Path]) -> None:
    pytest.importorskip("transformers")
    import transformers

    installed = str(Path(transformers.__file__).parent).encode()
    assert all(installed not in path.read_bytes() for path in (tiny_gpts["dynamo"], tiny_gpts["legacy"]))


def test_a_checkpoint_folder_is_exported_with_its_own_weights(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=11, n_positions=12)
    model = transformers.GPT2LMHeadModel(config)
    model.save_pretrained(tmp_path / "checkpoint")
    export(str(tmp_path / "checkpoint"), tmp_path / "m.onnx", exporter="legacy")
    exported = onnx.load(tmp_path / "m.onnx")
    arrays = {t.name.removeprefix("model."): onnx.numpy_helper.to_array(t) for t in exported.graph.initializer}
    np.testing.assert_array_equal(arrays["transformer.wte.weight"], model.transformer.wte.weight.detach().numpy())


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=11, n_positions=12)
    config.save_pretrained(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(InputError, match="bad-checkpoint"):
        export(str(tmp_path), tmp_path / "m.onnx")


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(InputError, match="bert"):
        export(str(tmp_path), tmp_path / "m.onnx")


def test_the_hub_out_of_reach_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="Hugging Face hub") as error:
        export("some-org/some-model-that-is-not-cached", tmp_path / "m.onnx")
    assert error.value.code == "hub-unreachable"
    assert "cerebras-gpt-111m" in error.value.hint


@pytest.mark.parametrize(
    ("override", "message"),
    [({"heads": 3}, "not a multiple of heads"), ({"layers": 0}, "layers = 0"), ({"vocab": 1}, "vocab = 1")],
)
def test_impossible_shapes_are_refused(tmp_path: Path, override: dict[str, int], message: str) -> None:
    pytest.importorskip("transformers")
    with pytest.raises(InputError, match=message):
        export("cerebras-gpt-111m", tmp_path / "m.onnx", **(TINY | override))
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_keeps_its_shape(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    with pytest.raises(InputError, match="--layers changes the shape of a preset"):
        export(str(tmp_path), tmp_path / "m.onnx", layers=1)


def test_a_wrong_export_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    monkeypatch.setattr("frontends.hf.export.TOLERANCE", {"fp32": 0.0})
    with pytest.raises(NumericsError, match="differs from torch"):
        export("cerebras-gpt-111m", tmp_path / "m.onnx", exporter="legacy", **TINY)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("exporter", ["dynamo", "legacy"])
def test_only_the_stages_are_told(
    tmp_path: Path, exporter: Exporter, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    pytest.importorskip("transformers")
    export("cerebras-gpt-111m", tmp_path / "m.onnx", exporter=exporter, progress=print, **TINY)
    captured = capfd.readouterr()
    assert captured.out.splitlines() == ["building the model", "exporting to ONNX", "validating against torch"]
    assert not captured.err and not recwarn.list


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    for output in (tmp_path / "no" / "such" / "m.onnx", tmp_path):
        with pytest.raises(InputError) as error:
            export("cerebras-gpt-111m", output, **TINY)
        assert error.value.code == "cannot-write"


def test_an_exporter_that_gives_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")

    def give_up(*_args: object, **_options: object) -> None:
        raise torch.onnx.errors.UnsupportedOperatorError("aten::mystery", 20, None)

    monkeypatch.setattr("torch.onnx.export", give_up)
    with pytest.raises(InputError, match="aten::mystery") as error:
        export("cerebras-gpt-111m", tmp_path / "m.onnx", **TINY)
    assert error.value.code == "export-failed"
    assert not list(tmp_path.iterdir())


def test_without_torch_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def no_transformers(name: str, *args: object, **kwargs: object) -> object:
        if name == "transformers":
            raise ModuleNotFoundError("No module named 'transformers'", name=name)
        return real_import(name, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", no_transformers)
    with pytest.raises(InputError, match="transformers") as error:
        export("cerebras-gpt-111m", tmp_path / "m.onnx")
    assert error.value.hint == "pip install 'wsec[gpt]'"


# ---- Without weights


def _structure(path: Path) -> tuple[list[object], ...]:
    """Everything of a model but its weights' bytes and where they lie."""
    model = onnx.load(path, load_external_data=False)
    nodes = [(n.name, n.op_type, n.domain, *n.input, *n.output, *map(str, n.attribute)) for n in model.graph.node]
    values = [str(value) for value in (*model.graph.input, *model.graph.output, *model.graph.value_info)]
    tensors = sorted((t.name, t.data_type, tuple(t.dims)) for t in model.graph.initializer)
    return nodes, values, tensors, [str(entry) for entry in model.opset_import]


@pytest.mark.parametrize(
    ("precision", "shape"),
    [
        ("fp32", FIXTURE | {"vocab": 670}),
        ("fp16", FIXTURE | {"vocab": 670}),
        ("fp32", {"layers": 1, "width": 1024, "heads": 8, "vocab": 1500, "ctx": 12}),
    ],
)
def test_without_weights_the_graph_is_the_same(tmp_path: Path, precision: Precision, shape: dict[str, int]) -> None:
    pytest.importorskip("transformers")
    export("cerebras-gpt-111m", tmp_path / "real.onnx", precision=precision, validate=False, **shape)
    report = export("cerebras-gpt-111m", tmp_path / "none.onnx", precision=precision, weights="none", **shape)
    assert report.max_error is None
    assert _structure(tmp_path / "none.onnx") == _structure(tmp_path / "real.onnx")
    real, none = onnx.load(tmp_path / "real.onnx"), onnx.load(tmp_path / "none.onnx")
    onnx.checker.check_model(none)
    arrays = {t.name: onnx.numpy_helper.to_array(t) for t in real.graph.initializer}
    for tensor in none.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if tensor.name.startswith(("transformer.", "lm_head.")):
            assert not array.any()
        else:  # what the graph computes with is there as ever
            np.testing.assert_array_equal(array, arrays[tensor.name])


def test_without_weights_the_data_file_takes_no_disk(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    report = export("cerebras-gpt-13b", tmp_path / "m.onnx", weights="none", layers=1)
    data = (tmp_path / "m.onnx.data").stat()
    assert 4 * report.parameters <= data.st_size < 4.1 * report.parameters
    assert data.st_blocks * 512 < 1 << 20
    assert (tmp_path / "m.onnx").stat().st_size < 1 << 20


def test_without_weights_a_checkpoint_keeps_its_shape(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=11, n_positions=12)
    config.save_pretrained(tmp_path)
    export(str(tmp_path), tmp_path / "m.onnx", weights="none")
    shapes = {t.name: tuple(t.dims) for t in onnx.load(tmp_path / "m.onnx").graph.initializer}
    assert shapes["transformer.h.0.attn.c_attn.weight"] == (8, 24)


def test_only_dynamo_leaves_weights_out(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="dynamo"):
        export("cerebras-gpt-111m", tmp_path / "m.onnx", weights="none", exporter="legacy", **TINY)
    assert not list(tmp_path.iterdir())
