"""Image files: what is written comes back, bytes are reproducible, and no damaged or hostile file does harm."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load as load_safetensors
from validate_images import changed, echo_image, edit_program, matvec_image

from runtime import codec, imagefile, weights
from runtime.errors import InputError
from runtime.image import Image, Tensor
from runtime.imagefile import ALIGN, PREFIX, SCHEMA, SECTIONS, read_image, verify_weights, write_image
from runtime.isa import Alu, Const, Dtype, Fifo, If, Loop, Map, Mem, Mov, Program, Reduce, Reg, Task

DATA_FIELDS = ("target", "programs", "blocks", "inits", "ports", "max_seq", "slots", "manifest")


def assert_same(a: Image, b: Image) -> None:
    for name in DATA_FIELDS:
        assert getattr(a, name) == getattr(b, name), name
    for name in ("cores", "routes"):
        assert getattr(a, name).dtype == getattr(b, name).dtype
        assert np.array_equal(getattr(a, name), getattr(b, name)), name
    assert a.tensors.keys() == b.tensors.keys()
    for name, tensor in a.tensors.items():
        assert tensor.data.dtype == b.tensors[name].data.dtype
        assert np.array_equal(tensor.data, b.tensors[name].data)


def every_instruction() -> Image:
    body = (
        Alu("add", Reg(3), Reg(2), -7),
        Loop(Reg(1), Reg(3), (If(Reg(1), (Map("exp", Mem(0, Dtype.F16, Reg(3), -2), Const(float("-inf"))),)),)),
        Reduce("rmax", Mem(0, Dtype.F32), Fifo(0, 3)),
        Mov(Mem(0, Dtype.F32), Const(0.1)),
    )
    return edit_program(echo_image(), 0, tasks=(Task("in", body),))


def many_tensors() -> Image:
    rng = np.random.default_rng(0)
    wide = rng.standard_normal((6, 8)).astype(np.float32)
    return changed(
        matvec_image(),
        tensors={
            "fc.weight": Tensor(wide[:4, :6]),  # a view with gaps
            "half": Tensor(rng.standard_normal(3).astype(np.float16)),
            "ids": Tensor(np.arange(5, dtype=np.int32)),
            "swapped": Tensor(wide.astype(">f4").T),
            "none": Tensor(np.zeros((0, 4), np.float32)),
            "scalar": Tensor(np.array(2.5, np.float32)),
        },
    )


@pytest.mark.parametrize("make", [matvec_image, echo_image, every_instruction, many_tensors])
def test_round_trip(make: Callable[[], Image], tmp_path: Path) -> None:
    image = make()
    write_image(image, tmp_path / "a.wse")
    back = read_image(tmp_path / "a.wse")
    little = {name: Tensor(t.data.astype(t.data.dtype.newbyteorder("<"))) for name, t in image.tensors.items()}
    assert_same(dataclasses.replace(image, tensors=little), back)
    verify_weights(tmp_path / "a.wse")


def test_same_image_same_bytes_whatever_the_order_of_its_tables(tmp_path: Path) -> None:
    image = many_tensors()
    write_image(image, tmp_path / "a.wse")
    reordered = changed(image, tensors=dict(reversed(image.tensors.items())))
    write_image(reordered, tmp_path / "b.wse")
    assert (tmp_path / "a.wse").read_bytes() == (tmp_path / "b.wse").read_bytes()


def test_weights_are_mapped_read_only_and_are_valid_safetensors(tmp_path: Path) -> None:
    write_image(many_tensors(), tmp_path / "a.wse")
    back = read_image(tmp_path / "a.wse")
    data = back.tensors["fc.weight"].data
    assert isinstance(data, np.memmap) and not data.flags.writeable and data.flags.aligned
    start, length = section_of(tmp_path / "a.wse", "weights")
    blob = (tmp_path / "a.wse").read_bytes()[start : start + length]
    for name, array in load_safetensors(blob).items():
        assert np.array_equal(array, back.tensors[name].data)


def test_large_tensors_are_written_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "CHUNK", 7)
    pieces: list[int] = []

    class Spy(io.BytesIO):
        def write(self, piece: Any) -> int:
            pieces.append(len(piece))
            return super().write(piece)

    tensor = Tensor(np.arange(60, dtype=np.float32).reshape(6, 10).T)
    weights.write({"t": tensor}, Spy())
    assert max(pieces[1:]) <= 7 * 4 and sum(pieces[1:]) == 240
    write_image(changed(matvec_image(), tensors={"fc.weight": tensor}), tmp_path / "a.wse")
    assert np.array_equal(read_image(tmp_path / "a.wse").tensors["fc.weight"].data, tensor.data)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.wse"
    write_image(matvec_image(), path)
    before = path.read_bytes()
    broken = changed(matvec_image(), tensors={"fc.weight": Tensor(np.zeros(24, np.float64))})
    with pytest.raises(InputError, match="float64"):
        write_image(broken, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(InputError, match="cannot write"):
        write_image(matvec_image(), tmp_path / "no folder" / "a.wse")


# Damaged and hostile files


def header_of(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    _, _, length = PREFIX.unpack(data[: PREFIX.size])
    header: dict[str, Any] = json.loads(data[PREFIX.size : PREFIX.size + length])
    return header


def section_of(path: Path, name: str) -> tuple[int, int]:
    data = path.read_bytes()
    _, _, length = PREFIX.unpack(data[: PREFIX.size])
    base = PREFIX.size + length
    base += -base % ALIGN
    entry = next(s for s in header_of(path)["image"]["sections"] if s["name"] == name)
    return base + entry["offset"], entry["length"]


def sections_of(path: Path) -> dict[str, bytes]:
    data = path.read_bytes()
    return {name: data[slice(start, start + length)] for name in SECTIONS for start, length in [section_of(path, name)]}


def assemble(header: dict[str, Any], sections: dict[str, bytes], path: Path) -> None:
    """A file with right offsets and hashes around whatever the header and sections say."""
    offset, body = 0, b""
    for entry in header["image"]["sections"]:
        data = sections.get(entry.get("name"), b"")
        entry.update(offset=offset, length=len(data), sha256=hashlib.sha256(data).hexdigest())
        body += bytes(offset - len(body)) + data
        offset = len(body) + -len(body) % ALIGN
    text = json.dumps(header).encode()
    prefix = PREFIX.pack(b"\x93WSE\r\n\x1a\n", SCHEMA, len(text)) + text
    path.write_bytes(prefix + bytes(-len(prefix) % ALIGN) + body)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "a.wse"
    write_image(matvec_image(), path)
    return path


def refused(path: Path, code: str = "bad-image") -> str:
    with pytest.raises(InputError) as caught:
        read_image(path)
    assert caught.value.code == code and caught.value.where == str(path)
    return caught.value.message


def test_missing_file_folder_and_foreign_file(tmp_path: Path) -> None:
    refused(tmp_path / "none.wse", "no-file")
    refused(tmp_path, "no-file")
    (tmp_path / "text").write_text("hello, I am not an image, but long enough to be one")
    assert refused(tmp_path / "text") == "not a .wse image"


def test_other_schema_says_recompile(written: Path) -> None:
    data = bytearray(written.read_bytes())
    data[8] = 1
    written.write_bytes(data)
    with pytest.raises(InputError, match=f"written by schema 1, this wsec reads {SCHEMA}") as caught:
        read_image(written)
    assert "recompile" in caught.value.hint


def test_every_truncation_is_refused(written: Path) -> None:
    data = written.read_bytes()
    for length in {*range(0, len(data), 97), len(data) - 1}:
        written.write_bytes(data[:length])
        refused(written)
    written.write_bytes(data + b"x")
    assert "after the last section" in refused(written)


def test_flipped_bytes_are_found_by_hash(written: Path) -> None:
    data = written.read_bytes()
    for name in SECTIONS[:-1]:
        start, _ = section_of(written, name)
        flipped = bytearray(data)
        flipped[start] ^= 1
        written.write_bytes(flipped)
        assert refused(written) == f"section {name} does not match its sha256"
        written.write_bytes(data)
    start, length = section_of(written, "weights")
    flipped = bytearray(data)
    flipped[start + length - 1] ^= 1
    written.write_bytes(flipped)
    read_image(written)
    with pytest.raises(InputError, match="weights do not match"):
        verify_weights(written)


def set_in(*path: Any) -> Callable[[Any], None]:
    """Set the value at a path in nested lists and objects; the last item is the value."""
    *keys, last, value = path

    def edit(root: Any) -> None:
        for key in keys:
            root = root[key]
        root[last] = value

    return edit


WIDE_PORT = {
    "is": "Port", "name": "x", "direction": "in", "dtype": "f32", "shape": ["batch", 1 << 30], "features": 1 << 30,
    "lanes": [],
}  # fmt: skip
HEADER_ATTACKS: dict[str, tuple[Callable[[Any], None], str]] = {
    "unknown section": (set_in("image", "sections", 1, "name", "code"), "sections are"),
    "duplicate section": (set_in("image", "sections", 1, "name", "programs"), "sections are"),
    "unknown entry": (set_in("image", "extra", 1), "no field 'extra'"),
    "huge block": (set_in("image", "blocks", 0, "rows", 10**9), "not on the fabric"),
    "other core count": (set_in("image", "blocks", 0, "rows", 1), "blocks have 3 cores"),
    "float for int": (set_in("image", "max_seq", 1.5), "expected an integer"),
    "true for int": (set_in("image", "max_seq", True), "expected an integer"),
    "huge int": (set_in("image", "max_seq", 10**30), "out of range"),
    "huge memory": (set_in("image", "target", "memory_bytes", 1 << 40), "bytes of memory per core"),
    "huge fabric": (set_in("image", "target", "fabric", [10**6, 10**6]), "larger than"),
    "negative cycles": (set_in("image", "target", "vector_overhead_cycles", -5), "must be from 0"),
    "long hops": (set_in("image", "target", "hop_cycles", 1 << 40), "must be from 1"),
    "fraction of a product": (set_in("image", "target", "fmac_per_cycle_f32", 0.5), "must be from 1"),
    "other features": (set_in("image", "ports", 0, "shape", ["batch", "seq", 5]), "no 4 features in its shape"),
    "words of text": (set_in("image", "ports", 0, "shape", [4, "seq"]), "no 4 features in its shape"),
    "huge port": (set_in("image", "ports", 0, WIDE_PORT), "features in its shape"),
    "no depths": (set_in("image", "target", "input_depth", []), "queue depths"),
    "bad side": (set_in("image", "ports", 0, "lanes", 0, "side", 7), "lane is not on the fabric"),
    "bad lane": (set_in("image", "ports", 0, "lanes", 0, "size", 10**6), "not inside the 4 features"),
    "bad orientation": (set_in("image", "blocks", 0, "orientation", {"is": "Orientation", "code": 9}), "orientation"),
    "manifest type": (set_in("manifest", []), "image and manifest"),
    "wrong class": (set_in("image", "blocks", 0, "is", "Image"), "expected a Block"),
}


@pytest.mark.parametrize("name", HEADER_ATTACKS)
def test_hostile_header(name: str, written: Path) -> None:
    edit, message = HEADER_ATTACKS[name]
    header, sections = header_of(written), sections_of(written)
    edit(header)
    assemble(header, sections, written)
    assert message in refused(written)


MOV = {"is": "Mov", "dst": {"is": "Mem", "address": 0, "dtype": "f32"}, "a": {"is": "Const", "value": 1}}


def nested(depth: int) -> dict[str, Any]:
    body: dict[str, Any] = MOV
    for _ in range(depth):
        body = {"is": "Loop", "counter": {"is": "Reg", "n": 0}, "count": 2, "body": [body]}
    return body


PROGRAM_ATTACKS: dict[str, tuple[Any, str]] = {
    "queue": ({**MOV, "a": {"is": "In", "queue": 8, "extent": 1}}, "no such queue or FIFO"),
    "fifo": ({**MOV, "a": {"is": "Fifo", "fifo": 0, "extent": 1}}, "no such queue or FIFO"),
    "extent": ({**MOV, "a": {"is": "In", "queue": 2, "extent": -1}}, "negative extent"),
    "opcode": ({"is": "Map", "fn": "eval", "dst": MOV["dst"], "a": MOV["a"]}, "no 'eval'"),
    "register": (
        {"is": "Load", "dst": {"is": "Reg", "n": 16}, "a": {**MOV["dst"], "dtype": "i32"}},
        "no register 16",
    ),
    "dtype": ({**MOV, "dst": {**MOV["dst"], "dtype": "f64"}}, "expected one of f32, f16, i32"),
    "class": ({**MOV, "is": "Exec"}, "expected Mov or"),
    "missing": ({"is": "Mov", "dst": MOV["dst"]}, "lacks a"),
    "number": ({**MOV, "dst": {**MOV["dst"], "address": 1 << 40}}, "32 bits"),
    "depth": (nested(70), "nested deeper"),
    "list": ([], "expected Mov or"),
    "class that is none": ({**MOV, "is": {"is": "Mov"}}, "expected Mov or"),
}


@pytest.mark.parametrize("name", PROGRAM_ATTACKS)
def test_hostile_program(name: str, written: Path) -> None:
    instr, message = PROGRAM_ATTACKS[name]
    header, sections = header_of(written), sections_of(written)
    program = {"is": "Program", "name": "p", "tasks": [{"is": "Task", "name": "t", "body": [instr]}]}
    sections["programs"] = json.dumps([program, program]).encode()
    assemble(header, sections, written)
    assert message in refused(written)


@pytest.mark.parametrize("name", imagefile.MAX_BYTES)
def test_tables_larger_than_any_wafer(name: str, written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file may be larger than memory, since its holes take no space."""
    monkeypatch.setitem(imagefile.MAX_BYTES, name, 4)
    assert refused(written) == f"section {name} is larger than 4 bytes"


def test_what_could_not_be_read_is_not_written(tmp_path: Path) -> None:
    image = echo_image()
    with pytest.raises(InputError, match="max_seq"):
        write_image(changed(image, max_seq=0), tmp_path / "m.wse")
    assert not list(tmp_path.iterdir())


def test_json_nested_beyond_the_parser(written: Path) -> None:
    header, sections = header_of(written), sections_of(written)
    for text in (b"[" * 100_000, b"[1e999]", b"[Infinity]"):  # numbers that are none would come out as no JSON again
        assemble(header, sections | {"programs": text}, written)
        assert "not JSON" in refused(written)


def test_tables_that_index_out_of_range(written: Path) -> None:
    header, sections = header_of(written), sections_of(written)
    attacks = {
        "cores": (lambda a: a["program"].__setitem__(0, 7), "no such program"),
        "routes": (lambda a: a["w"].__setitem__(0, 9000), "not on the fabric"),
    }
    image = matvec_image()
    for name, (edit, message) in attacks.items():
        table = getattr(image, name).copy()
        edit(table)
        assemble(header, sections | {name: table.tobytes()}, written)
        assert message in refused(written)
    assemble(header, sections | {"cores": sections["cores"][:-1]}, written)
    assert "whole number" in refused(written)


INIT_ATTACKS = {
    "count": ([10**9, 10**6], "writes up to byte"),
    "offset": (-1, "reads elements -1"),
    "tensor": ("none", "no tensor"),
    "block": (4, "no block 4"),
    "rows": ([0, 3], "not in block"),
}


@pytest.mark.parametrize("field", INIT_ATTACKS)
def test_hostile_init(field: str, written: Path) -> None:
    value, message = INIT_ATTACKS[field]
    header, sections = header_of(written), sections_of(written)
    inits = json.loads(sections["inits"])
    inits[0][field] = value
    assemble(header, sections | {"inits": json.dumps(inits).encode()}, written)
    assert message in refused(written)


def safetensors_blob(entries: Any, data: bytes) -> bytes:
    text = json.dumps(entries).encode()
    text += b" " * (-(8 + len(text)) % ALIGN)
    return len(text).to_bytes(8, "little") + text + data


TENSOR = {"dtype": "F32", "shape": [4, 6], "data_offsets": [0, 96]}
WEIGHT_ATTACKS: dict[str, bytes] = {
    "empty": b"",
    "long header": (1 << 40).to_bytes(8, "little") + bytes(56),
    "not json": (56).to_bytes(8, "little") + b"x" * 56,
    "a list": safetensors_blob([], b""),
    "product overflow": safetensors_blob({"fc.weight": {**TENSOR, "shape": [1 << 32, 1 << 32, 4]}}, bytes(96)),
    "past the end": safetensors_blob({"fc.weight": TENSOR}, bytes(95)),
    "rest": safetensors_blob({"fc.weight": TENSOR}, bytes(97)),
    "overlap": safetensors_blob({"fc.weight": TENSOR, "b": TENSOR}, bytes(96)),
    "dtype": safetensors_blob({"fc.weight": {**TENSOR, "dtype": ["F32"]}}, bytes(96)),
    "negative": safetensors_blob({"fc.weight": {**TENSOR, "shape": [-4, -6]}}, bytes(96)),
    "offsets": safetensors_blob({"fc.weight": {**TENSOR, "data_offsets": [0, 96, 1]}}, bytes(96)),
}


@pytest.mark.parametrize("name", WEIGHT_ATTACKS)
def test_hostile_weights(name: str, written: Path) -> None:
    header, sections = header_of(written), sections_of(written)
    assemble(header, sections | {"weights": WEIGHT_ATTACKS[name]}, written)
    assert refused(written).startswith(("weights:", "inits[0]"))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_damage_is_refused_or_harmless(data: st.DataObject, written: Path) -> None:
    content = bytearray(written.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = written.with_name("damaged.wse")
    path.write_bytes(content)
    try:
        read_image(path)
    except InputError as error:
        assert error.where == str(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["Program", "Task", "Mov", "Mem", "f32"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["is", "name", "tasks", "body", "dst", "a", "address"]), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(JSON)
def test_decoding_any_json_gives_a_program_or_a_decode_error(value: Any) -> None:
    try:
        assert isinstance(codec.decode(Program, value), Program)
    except codec.DecodeError as error:
        assert str(error)


def test_decode_error_names_the_path() -> None:
    value = codec.encode(matvec_image().programs[0])
    value["tasks"][0]["body"][3]["body"][0]["dst"]["extent"] = "two"
    with pytest.raises(codec.DecodeError) as caught:
        codec.decode(Program, value)
    assert str(caught.value) == "tasks[0].body[3].body[0].dst.extent: expected int or Reg, got 'two'"
