"""What a user of `wsec.load` relies on: shapes, sequences, errors."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import builders
import numpy as np
import pytest
from builders import I32, core_image, give, take

from runtime.errors import InputError
from runtime.faults import MachineFault
from runtime.image import Image
from runtime.imagefile import write_image
from runtime.isa import Alu, Const, If, In, Load, Mem, Mov, Out, Reg
from runtime.session import Session, load

rng = np.random.default_rng(2)


def ids_image(max_seq: int = 8, slots: int = 2) -> Image:
    """y = table[id], a lookup in one core."""
    table = np.arange(10, dtype=np.float32) * 1.5
    body = [
        Mov(Mem(0, I32), In(2, 1, I32)),
        Mov(Mem(4, I32), In(2, 1, I32)),
        Load(Reg(0), Mem(4, I32)),
        *give(2, Mem(64, builders.F32, 1, 1, Reg(0), 4)),
    ]
    image = core_image(body, 1, 1, data={64: table}, max_seq=max_seq, slots=slots)
    ids = dataclasses.replace(image.ports[0], name="ids", dtype="i64", shape=("batch", "seq"), limit=10)
    return dataclasses.replace(image, ports=[ids, image.ports[1]])


def test_ids_with_and_without_batch() -> None:
    session = load(ids_image())
    one = session.run(ids=np.array([3, 1, 4]))["y"]
    assert one.tolist() == [[4.5], [1.5], [6.0]]
    assert one.dtype == np.float32
    two = session.run(ids=np.array([[3, 1, 4], [9, 0, 2]]))["y"]
    assert two.shape == (2, 3, 1)
    assert two[1, :, 0].tolist() == [13.5, 0.0, 3.0]


@pytest.mark.parametrize("cuts", [[1, 2, 3], [2], [3]])
def test_append_continues_from_the_cache(cuts: list[int]) -> None:
    x = rng.standard_normal((2, 4, 1)).astype(np.float32)
    whole = Session(builders.history_image()).run(x=x)["y"]
    assert np.array_equal(whole, np.add.accumulate(x, axis=1, dtype=np.float32))
    session = Session(builders.history_image(), 1)
    pieces = np.split(x, cuts, axis=1)
    got = [session.run(x=pieces[0])["y"], *(session.append(x=piece)["y"] for piece in pieces[1:])]
    assert np.array_equal(np.concatenate(got, axis=1), whole)


def test_run_starts_new_sequences_and_more_rows_than_slots() -> None:
    session = Session(builders.history_image(slots=2))
    x = rng.standard_normal((5, 3, 1)).astype(np.float32)
    want = np.add.accumulate(x, axis=1, dtype=np.float32)
    assert np.array_equal(session.run(x=x)["y"], want)
    with pytest.raises(InputError, match="at most 2 rows") as caught:
        session.append(x=x)
    assert caught.value.code == "no-sequence"
    assert np.array_equal(session.run(x=x[:1])["y"], want[:1])
    with pytest.raises(InputError, match="2 rows, but the last run had 1"):
        session.append(x=x[:2])


def test_positions_past_max_seq() -> None:
    session = Session(builders.history_image(max_seq=4))
    x = np.ones((3, 1), np.float32)
    session.run(x=x)
    with pytest.raises(InputError, match="positions 3 to 5") as caught:
        session.append(x=x)
    assert "--max-seq 6" in str(caught.value)
    assert session.append(x=x[:1])["y"].item() == 4.0  # the refused call changed nothing


BAD_INPUTS: list[tuple[dict[str, Any], str, str]] = [
    ({}, "input-names", "missing inputs ['ids']"),
    ({"ids": [1], "mask": [1]}, "input-names", "unknown inputs ['mask']"),
    ({"ids": np.ones(3, np.float32)}, "input-dtype", "float32 data, not i64"),
    ({"ids": np.array(["a"])}, "input-dtype", "not i64"),
    ({"ids": np.ones((2, 2, 2), np.int64)}, "input-shape", "shape [2, 2, 2] does not fit"),
    ({"ids": np.array(3)}, "input-shape", "shape [] does not fit"),
    ({"ids": np.zeros((2, 0), np.int64)}, "input-shape", "no tokens"),
    ({"ids": np.array([[1, 2], [3, 10]])}, "token-range", "10 at position [1, 1] is not in [0, 10)"),
    ({"ids": np.array([-1])}, "token-range", "-1 at position [0]"),
    ({"ids": np.zeros(9, np.int64)}, "too-long", "room for 8"),
]


@pytest.mark.parametrize(("inputs", "code", "message"), BAD_INPUTS)
def test_bad_inputs(inputs: dict[str, Any], code: str, message: str) -> None:
    session = Session(ids_image())
    with pytest.raises(InputError) as caught:
        session.run(**inputs)
    assert caught.value.code == code
    assert message in str(caught.value)
    if code.startswith("input-"):
        assert "the image takes ids: i64[batch, seq] in [0, 10)" in str(caught.value)


def test_wrong_feature_count() -> None:
    session = Session(builders.matvec_image(np.ones((4, 4), np.float32)))
    with pytest.raises(InputError, match=r"shape \[3, 5\] does not fit"):
        session.run(x=np.ones((3, 5), np.float32))
    with pytest.raises(InputError, match="int64 data, not f32"):
        session.run(x=np.ones((3, 4), np.int64))


def test_a_graph_without_sequence_axis_is_one_token_a_row() -> None:
    image = builders.matvec_image(np.eye(4, dtype=np.float32))
    ports = [dataclasses.replace(port, shape=("batch", 2, 2)) for port in image.ports]
    x = rng.standard_normal((40, 2, 2)).astype(np.float32)
    assert np.array_equal(Session(dataclasses.replace(image, ports=ports, max_seq=1)).run(x=x)["y"], x)


def test_f16_at_the_surface() -> None:
    session = Session(builders.matvec_image(np.eye(4, dtype=np.float32), dtype="f16"))
    x = rng.standard_normal((3, 4)).astype(np.float16)
    got = session.run(x=x)["y"]
    assert got.dtype == np.float16
    assert np.array_equal(got, x)


def test_progress_ends_at_all_words() -> None:
    seen: list[tuple[int, int]] = []
    Session(ids_image()).run(ids=[1, 2, 3], progress=lambda got, wanted: seen.append((got, wanted)))
    assert seen[-1] == (6, 6)


def test_wrong_headers_are_a_fault() -> None:
    body = [*take(2, 1), Mov(Mem(0, I32), Mem(512, I32)), *give(2, Mem(16, builders.F32))]
    session = Session(core_image(body, 1, 1))
    session.run(x=np.ones((1, 1), np.float32))  # position 0 of slot 0 is header 0
    with pytest.raises(MachineFault, match="other headers"):
        session.run(x=np.ones((2, 1), np.float32))


def test_a_fault_does_not_spoil_the_next_run() -> None:
    body = [
        *take(2, 1),
        Load(Reg(0), Mem(16, I32)),
        Alu("eq", Reg(1), Reg(0), 0),
        If(Reg(1), (Mov(Mem(1 << 20, builders.F32), Const(0.0)),)),
        *give(2, Mem(16, builders.F32)),
    ]
    session = Session(core_image(body, 1, 1))
    with pytest.raises(MachineFault, match="memory"):
        session.run(x=np.zeros((3, 1), np.float32))
    assert session.run(x=np.ones((3, 1), np.float32))["y"].tolist() == [[1.0]] * 3


def test_load_takes_a_path(tmp_path: Path) -> None:
    write_image(ids_image(), tmp_path / "t.wse")
    assert load(tmp_path / "t.wse").run(ids=[2])["y"].tolist() == [[3.0]]


def test_an_image_file_gives_the_bits_of_the_image(tmp_path: Path) -> None:
    w = rng.standard_normal((8, 6)).astype(np.float32)
    x = rng.standard_normal((3, 8)).astype(np.float32)
    image = builders.matvec_image(w, builders.F16)
    write_image(image, tmp_path / "m.wse")
    assert np.array_equal(load(tmp_path / "m.wse").run(x=x)["y"], Session(image).run(x=x)["y"])


def test_outputs_may_leave_by_queue_without_use() -> None:
    """Words are only counted where they are put into queues: one core, header and value, to the host."""
    session = Session(core_image([*take(2, 1), Mov(Out(2, 2, I32), Mem(0, I32, 2, 4))], 1, 1))
    session.run(x=np.ones((4, 1), np.float32))
    assert session.stats.words == 4 * 2
