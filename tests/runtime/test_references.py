"""Weights that stay in a file beside the image: found again, verified, and never outside the image's folder."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from validate_images import changed, matvec_image

from runtime import references, weights
from runtime.digest import of_array
from runtime.errors import InputError
from runtime.image import Image, Source, Tensor
from runtime.imagefile import read_image, verify_weights, write_image
from runtime.references import Keep
from runtime.validate import validate

VALUES = np.arange(24, dtype=np.float32).reshape(4, 6)
OFFSET = 128


def image_with(path: Path, values: np.ndarray[Any, Any] = VALUES, **fields: Any) -> Image:
    """An image whose weights lie in the file at `path`, which is written."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(OFFSET) + values.tobytes())
    data = np.memmap(path, values.dtype, "r", OFFSET, values.shape)
    tensor = Tensor(data, Source(path.resolve(), OFFSET, of_array(values)), **fields)
    return changed(matvec_image(), tensors={"fc.weight": tensor})


def written(folder: Path, keep: Keep = "reference", at: str = "w/model.data") -> Path:
    write_image(image_with(folder / at), folder / "a.wse", keep)
    return folder / "a.wse"


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(InputError) as caught:
        call()
    return caught.value.code


@pytest.mark.parametrize("at", ["model.data", "w/model.data"])
def test_reference_and_copy_give_the_same_image(tmp_path: Path, at: str) -> None:
    copied = read_image(written(tmp_path, "copy", at))
    size = (tmp_path / "a.wse").stat().st_size
    referred = read_image(written(tmp_path, "reference", at))
    assert (tmp_path / "a.wse").stat().st_size < size + 200  # a reference for the weights, which are tiny here
    assert copied.tensors["fc.weight"].source is None and referred.tensors["fc.weight"].source is not None
    for image in (copied, referred):
        assert np.array_equal(image.tensors["fc.weight"].data, VALUES)
        assert not image.tensors["fc.weight"].data.flags.writeable
        assert validate(image).ok
    verify_weights(tmp_path / "a.wse")


def test_auto_refers_to_large_weights_that_are_near(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    near, far = image_with(tmp_path / "in" / "model.data"), image_with(tmp_path / "out" / "model.data")
    image = tmp_path / "in" / "a.wse"

    def refers(source: Image) -> bool:
        write_image(source, image)
        return read_image(image).tensors["fc.weight"].source is not None

    assert not refers(near)
    monkeypatch.setattr(references, "AUTO_BYTES", VALUES.nbytes - 1)
    assert refers(near) and not refers(far)


def test_weights_elsewhere_cannot_be_referred_to(tmp_path: Path) -> None:
    image = image_with(tmp_path / "out" / "model.data")
    (tmp_path / "in").mkdir()
    assert refused(lambda: write_image(image, tmp_path / "in" / "a.wse", "reference")) == "weights-outside"
    assert not list((tmp_path / "in").iterdir())


def test_an_image_read_can_be_written_elsewhere(tmp_path: Path) -> None:
    image = read_image(written(tmp_path))
    (tmp_path / "other").mkdir()
    write_image(image, tmp_path / "other" / "b.wse", "copy")
    (tmp_path / "w" / "model.data").unlink()
    verify_weights(tmp_path / "other" / "b.wse")
    assert np.array_equal(read_image(tmp_path / "other" / "b.wse").tensors["fc.weight"].data, VALUES)


def test_what_is_referred_to_keeps_its_type_and_a_copy_gets_what_cores_want(tmp_path: Path) -> None:
    image = image_with(tmp_path / "model.data", stored=np.dtype(np.float16))
    for keep, dtype in (("copy", np.float16), ("reference", np.float32)):
        write_image(image, tmp_path / "a.wse", keep)
        data = read_image(tmp_path / "a.wse").tensors["fc.weight"].data
        assert data.dtype == dtype and np.array_equal(data, VALUES)


def test_changed_weights_are_found_when_asked_for(tmp_path: Path) -> None:
    path = written(tmp_path)
    data = bytearray((tmp_path / "w" / "model.data").read_bytes())
    data[OFFSET + 3] ^= 1
    (tmp_path / "w" / "model.data").write_bytes(data)
    read_image(path)
    verify_weights(path, referenced=False)
    assert refused(lambda: verify_weights(path)) == "bad-weights"


def test_weights_that_are_gone_or_cut_off(tmp_path: Path) -> None:
    path, data = written(tmp_path), tmp_path / "w" / "model.data"
    os.truncate(data, OFFSET + VALUES.nbytes - 1)
    assert refused(lambda: read_image(path)) == "external-data-short"
    data.unlink()
    assert refused(lambda: read_image(path)) == "external-data-missing"
    data.mkdir()
    assert refused(lambda: read_image(path)) == "external-data-missing"
    data.rmdir()
    os.mkfifo(data)
    assert refused(lambda: read_image(path)) == "external-data-missing"


@pytest.mark.parametrize(
    "location", ["../secret", "w/../../secret", "{root}/secret", "link", "linked/secret", "", ".", "a\0b", "C:secret"]
)
def test_nothing_outside_the_folder_is_ever_opened(tmp_path: Path, location: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "secret").write_bytes(bytes(OFFSET) + VALUES.tobytes())
    (home / "link").symlink_to("../secret")
    (home / "linked").symlink_to("..")
    image = image_with(home / "model.data")
    reference = references.choose(image.tensors, home, "reference")[0]
    hostile = dataclasses.replace(reference, file=location.format(root=tmp_path))
    assert refused(lambda: references.attach([hostile], home / "a.wse")) == "external-data-outside"
    assert refused(lambda: references.verify([hostile], home / "a.wse")) == "external-data-outside"


@pytest.mark.parametrize(
    "fields",
    [
        {"dtype": "F64"},
        {"shape": (-4, -6)},
        {"shape": (0, 6)},
        {"shape": (1,) * 9},
        {"shape": (1 << 60, 1)},
        {"offset": -4},
        {"offset": 2},
    ],
)
def test_references_that_make_no_sense(tmp_path: Path, fields: dict[str, Any]) -> None:
    reference = references.choose(image_with(tmp_path / "model.data").tensors, tmp_path, "reference")[0]
    hostile = dataclasses.replace(reference, **fields)
    assert refused(lambda: references.attach([hostile], tmp_path / "a.wse")) == "bad-image"


def test_a_tensor_is_in_one_place_only(tmp_path: Path) -> None:
    reference = references.choose(image_with(tmp_path / "model.data").tensors, tmp_path, "reference")[0]
    assert refused(lambda: references.attach([reference, reference], tmp_path / "a.wse")) == "bad-image"


def test_zeros_are_holes_of_the_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of a sparse file is sparse, with the bytes and the hash of a dense one."""
    monkeypatch.setattr(weights, "CHUNK", 1 << 16)
    values = np.zeros((1 << 10, 1 << 10), np.float32)
    values[700, 5] = 1.0
    dense = image_with(tmp_path / "model.data", values)
    with (tmp_path / "sparse.data").open("wb") as file:
        file.seek(OFFSET + 700 * 4096)
        file.write(values[700].tobytes())
        os.truncate(file.fileno(), OFFSET + values.nbytes)
    tensor = dense.tensors["fc.weight"]
    assert tensor.source is not None
    source = dataclasses.replace(tensor.source, path=tmp_path / "sparse.data")
    sparse = changed(dense, tensors={"fc.weight": Tensor(tensor.data, source)})
    in_memory = changed(dense, tensors={"fc.weight": Tensor(values)})
    files = [tmp_path / f"{name}.wse" for name in ("dense", "sparse", "memory")]
    for image, path in zip((dense, sparse, in_memory), files, strict=True):
        write_image(image, path, "copy")
        verify_weights(path)
        assert path.read_bytes() == files[0].read_bytes()
        assert np.array_equal(read_image(path).tensors["fc.weight"].data, values)
        if (tmp_path / "sparse.data").stat().st_blocks * 512 < 1 << 16:
            assert path.stat().st_blocks * 512 < 1 << 20 < path.stat().st_size


def test_a_source_that_shrinks_while_it_is_copied(tmp_path: Path) -> None:
    image = image_with(tmp_path / "model.data")
    os.truncate(tmp_path / "model.data", OFFSET)
    assert refused(lambda: write_image(image, tmp_path / "a.wse", "copy")) == "bad-weights"
    assert [path.name for path in tmp_path.iterdir()] == ["model.data"]
