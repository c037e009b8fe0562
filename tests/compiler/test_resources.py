"""Tensors by content: names, files, and what a module needs."""

from __future__ import annotations

import hashlib
import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from compiler.ir.core import Op, Symbol, module
from compiler.ir.parser import parse_module
from compiler.ir.printer import print_module
from compiler.ir.verifier import verify
from compiler.resources import ResourceStore
from runtime.digest import CHUNK, of_array
from runtime.errors import InputError

ARRAYS = {
    "f32": np.arange(6, dtype=np.float32).reshape(2, 3),
    "f16": np.array([1.5, -0.0, np.inf], np.float16),
    "i64": np.array(7, np.int64),
    "i32": np.zeros((0, 4), np.int32),
    "bool": np.array([True, False, True]),
}


def same(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("dtype", ARRAYS)
def test_what_is_added_is_got_back(dtype: str) -> None:
    store = ResourceStore()
    name = store.add(ARRAYS[dtype], hint="w")
    assert same(store.get(name), ARRAYS[dtype])
    assert not store.get(name).flags.writeable
    shape, kind, sha256, hint = store.info(name)
    assert (shape, kind, hint) == (ARRAYS[dtype].shape, dtype, "w")
    assert name == f"w{sha256[:12]}"


def test_the_name_is_the_contents() -> None:
    store = ResourceStore()
    array = ARRAYS["f32"]
    name = store.add(array, hint="first")
    assert store.add(array.copy(), hint="second") == name
    assert store.add(np.asfortranarray(array)) == name
    assert store.add(array.astype(">f4")) == name
    assert store.info(name).hint == "first"
    assert list(store) == [name]
    others = [array.reshape(3, 2), array.view(np.int32), array + 1, -array]
    assert len({name, *map(store.add, others)}) == 5


def test_the_name_never_changes() -> None:
    """Files written by one version must be found by the next."""
    digest = hashlib.sha256(b"f32[2, 3]\n" + ARRAYS["f32"].tobytes()).hexdigest()
    assert ResourceStore().add(ARRAYS["f32"]) == f"w{digest[:12]}" == "w558fbf9e17ce"


def test_later_writes_to_an_added_array_are_not_seen() -> None:
    array = np.zeros(4, np.float32)
    store = ResourceStore()
    name = store.add(array)
    array[0] = 1
    assert store.get(name)[0] == 0


def test_a_read_only_array_is_not_copied() -> None:
    array = np.frombuffer(bytes(16), np.float32)
    store = ResourceStore()
    assert np.shares_memory(store.get(store.add(array)), array)


def test_an_unknown_element_type() -> None:
    with pytest.raises(InputError, match="'w' has elements of float64; known: f32, f16, i64, i32, bool"):
        ResourceStore().add(np.zeros(3), hint="w")


@pytest.mark.parametrize("dtype", ARRAYS)
def test_a_mapped_tensor_is_the_same_tensor(tmp_path: Path, dtype: str) -> None:
    array = ARRAYS[dtype]
    path = tmp_path / "data.bin"
    path.write_bytes(b"abc" + array.tobytes() + b"rest")
    store = ResourceStore()
    name = store.add_mapped(path, 3, dtype, array.shape, hint="w")
    assert name == store.add(array)
    assert same(store.get(name), array)
    assert not store.get(name).flags.writeable


def test_a_mapped_tensor_is_never_loaded(tmp_path: Path) -> None:
    size = 64 << 20
    path = tmp_path / "data.bin"
    with path.open("wb") as file:
        file.truncate(size)
    store = ResourceStore()
    tracemalloc.start()
    name = store.add_mapped(path, 0, "f32", (size // 4,))
    store.get(name)
    store.save(tmp_path / "copy.safetensors", [name])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < size // 4


@pytest.mark.parametrize(
    ("offset", "dtype", "shape"),
    [(1, "f32", (4,)), (-1, "f32", (1,)), (0, "f32", (-1,)), (0, "f64", (1,)), (0, "f32", (1 << 60,))],
)
def test_bytes_that_are_not_there(tmp_path: Path, offset: int, dtype: str, shape: tuple[int, ...]) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(bytes(16))
    with pytest.raises(InputError) as caught:
        ResourceStore().add_mapped(path, offset, dtype, shape)
    assert caught.value.code == "bad-weights"


def test_a_file_that_has_shrunk(tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(bytes(16))
    store = ResourceStore()
    name = store.add_mapped(path, 0, "f32", (4,))
    path.write_bytes(bytes(8))
    with pytest.raises(InputError, match="has shrunk"):
        store.get(name)
    path.unlink()
    with pytest.raises(InputError, match="cannot read: No such file"):
        store.get(name)


@pytest.fixture
def filled() -> tuple[ResourceStore, dict[str, str]]:
    store = ResourceStore()
    return store, {dtype: store.add(array, hint=f"model.{dtype}") for dtype, array in ARRAYS.items()}


def test_saved_files_are_safetensors(tmp_path: Path, filled: tuple[ResourceStore, dict[str, str]]) -> None:
    store, names = filled
    path = tmp_path / "w.safetensors"
    store.save(path, names.values())
    loaded = load_file(path)
    assert set(loaded) == set(names.values())
    assert all(same(loaded[names[dtype]], array) for dtype, array in ARRAYS.items())
    assert [child.name for child in tmp_path.iterdir()] == ["w.safetensors"]


def test_same_tensors_same_bytes(tmp_path: Path, filled: tuple[ResourceStore, dict[str, str]]) -> None:
    store, names = filled
    store.save(tmp_path / "a", names.values())
    store.save(tmp_path / "b", reversed(list(names.values())))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_attached_files_give_the_same_names(tmp_path: Path, filled: tuple[ResourceStore, dict[str, str]]) -> None:
    store, names = filled
    store.save(tmp_path / "w.safetensors", names.values())
    again = ResourceStore()
    assert again.attach_safetensors(tmp_path / "w.safetensors") == {name: name for name in names.values()}
    assert all(same(again.get(names[dtype]), array) for dtype, array in ARRAYS.items())


def test_files_of_the_safetensors_library_are_read(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file(ARRAYS, path, metadata={"format": "np"})
    store = ResourceStore()
    names = store.attach_safetensors(path)
    assert all(same(store.get(names[dtype]), array) for dtype, array in ARRAYS.items())
    assert store.info(names["f32"]).hint == "f32"


def test_nothing_is_left_of_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    data = tmp_path / "data.bin"
    data.write_bytes(bytes(16))
    store = ResourceStore()
    name = store.add_mapped(data, 0, "f32", (4,))
    data.unlink()
    with pytest.raises(InputError):
        store.save(tmp_path / "w.safetensors", [name])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="cannot write: No such file"):
        store.save(tmp_path / "nowhere" / "w.safetensors", [])


def header(**fields: object) -> bytes:
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **fields}
    text = json.dumps({"w": entry}).encode()
    return len(text).to_bytes(8, "little") + text + bytes(8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "header is longer than the file"),
        (b"\xff" * 8, "header is longer than the file"),
        ((100).to_bytes(8, "little") + b"{}", "header is longer than the file"),
        ((2).to_bytes(8, "little") + b"{x", "header is not JSON"),
        ((100_000).to_bytes(8, "little") + b"[" * 100_000, "header is not JSON"),
        ((2).to_bytes(8, "little") + b"[]", "header is not an object"),
        (header()[:-1], "w needs bytes"),
        (header(dtype="BF16"), "tensor 'w' has elements of BF16; known: F32, F16, I64, I32, BOOL"),
        (header(dtype=3), "tensor 'w' has no dtype, shape and data_offsets"),
        (header(shape=[3]), "cannot take 8 bytes"),
        (header(shape=[-2]), "not a natural number"),
        (header(shape=[True]), "not a natural number"),
        (header(shape="ab"), "has no dtype, shape and data_offsets"),
        (header(data_offsets=[8, 0]), "cannot take -8 bytes"),
        (header(data_offsets=[0, 8, 16]), "has no dtype, shape and data_offsets"),
        (header(shape=[1 << 60], data_offsets=[0, 4 << 60]), "w needs bytes"),
    ],
)
def test_bad_safetensors(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        ResourceStore().attach_safetensors(path)
    assert message in caught.value.message
    assert caught.value.where == str(path)


def declared(store: ResourceStore, *names: str) -> Op:
    m = module()
    m.body.append(Op("graph.nothing"))
    for name in (*names, *names):
        assert store.declare(m, name) == Symbol(name)
    return m


def test_resources_are_declared_once_and_on_top(filled: tuple[ResourceStore, dict[str, str]]) -> None:
    store, names = filled
    m = declared(store, names["f32"], names["i32"])
    assert [op.attrs.get("sym_name") for op in m.body.ops] == [names["f32"], names["i32"], None]
    assert m.body.ops[0].attrs["hint"] == "model.f32"
    m.body.ops.pop().parent = None
    verify(m)
    read = parse_module(print_module(m))
    store.resolve(read)


def test_missing_tensors_are_named(filled: tuple[ResourceStore, dict[str, str]]) -> None:
    store, names = filled
    m = declared(store, names["f32"], names["i32"], names["f16"])
    other = ResourceStore()
    other.add(ARRAYS["i32"])
    with pytest.raises(InputError) as caught:
        other.resolve(m)
    expected = f"2 constant tensors are not at hand: {names['f32']} (model.f32), {names['f16']} (model.f16)"
    assert caught.value.message == expected
    assert caught.value.hint == "give the model with --weights"


@pytest.mark.parametrize("attribute", [{"shape": (3, 2)}, {"dtype": "i32"}, {"sha256": "00"}])
def test_a_tensor_must_be_as_declared(attribute: dict[str, Any], filled: tuple[ResourceStore, dict[str, str]]) -> None:
    store, names = filled
    m = declared(store, names["f32"])
    m.body.ops[0].attrs.update(attribute)
    with pytest.raises(InputError, match=names["f32"]):
        store.resolve(m)


def test_a_made_up_collision_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    store = ResourceStore()
    digests = iter(["0" * 63 + "1", "0" * 63 + "2"])
    monkeypatch.setattr("compiler.resources._digest", lambda *_: next(digests))
    store.add(ARRAYS["f32"], hint="a")
    with pytest.raises(InputError, match="'a' and 'b' differ"):
        store.add(ARRAYS["f16"], hint="b")


def test_large_tensors_are_known_by_content_too(tmp_path: Path) -> None:
    """Above one chunk the digest is a tree; memory, file and a sparse file with the same bytes agree."""
    array = np.zeros((3, CHUNK // 4), np.float32)
    array[2, 5] = 1.0
    store = ResourceStore()
    name = store.add(array, "memory")
    contents = f"f32{list(array.shape)}\n{of_array(array)}".encode()
    assert name == f"w{hashlib.sha256(contents).hexdigest()[:12]}"
    (tmp_path / "dense").write_bytes(array.tobytes())
    with (tmp_path / "sparse").open("wb") as file:
        file.seek(2 * CHUNK)
        file.write(array[2].tobytes())
    for path in ("dense", "sparse"):
        assert store.add_mapped(tmp_path / path, 0, "f32", array.shape) == name


def test_zeros_are_recognised_wherever_they_lie(tmp_path: Path) -> None:
    with (tmp_path / "data").open("wb") as file:
        os.truncate(file.fileno(), 8 * CHUNK)
        file.seek(4 * CHUNK)
        file.write(bytes(CHUNK) + b"\0\0\0\1")
    store = ResourceStore()
    dtype, chunks = "f32", {0: True, 4: True, 5: False, 6: True}
    for chunk, zero in chunks.items():
        name = store.add_mapped(tmp_path / "data", chunk * CHUNK, dtype, (chunk + 1,))
        assert store.is_zero(name) is zero
    assert store.is_zero(store.add(np.zeros(3, np.float32)))
    assert not store.is_zero(store.add(np.array([0, 1], np.float32)))
