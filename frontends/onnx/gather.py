"""The weights of a model, wherever they lie, as one data file beside it; copied piece by piece, never held."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx

from frontends.onnx.tensors import Weight
from runtime.errors import InputError

CHUNK = 1 << 22  # bytes copied at a time
ALIGNMENT = 64  # bytes; of every tensor in the data file


@dataclass(frozen=True)
class Piece:
    """Bytes of a constant: where they lie in a file, and where in the gathered one."""

    path: Path
    offset: int
    size: int
    packed: int


def gathered(
    model: onnx.ModelProto, weights: Mapping[str, Weight], location: str, *, inside: int | None = None
) -> tuple[onnx.ModelProto, list[Piece]]:
    """A copy of the model whose external data lies in the file `location`, and what goes into that.

    Constants inside the model stay there, or with `inside` only those of at most so many bytes; larger ones become
    external too, with data that nobody has.
    """
    proto = onnx.ModelProto()
    proto.CopyFrom(model)
    pieces: list[Piece] = []
    at = 0
    for tensor in proto.graph.initializer:
        weight = weights[tensor.name]
        size = weight.nbytes
        if tensor.data_location != onnx.TensorProto.EXTERNAL and (inside is None or size <= inside):
            continue
        if weight.file is not None:
            pieces.append(Piece(weight.file.path, weight.file.offset, size, at))
        for field in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "external_data"):
            tensor.ClearField(field)
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", str(at)), ("length", str(size))):
            tensor.external_data.add(key=key, value=value)
        at += -(-size // ALIGNMENT) * ALIGNMENT
    return proto, pieces


def bytes_of(pieces: list[Piece]) -> Iterator[bytes]:
    """The data file. Raises InputError if a file has become shorter since it was checked."""
    at = 0
    for piece in pieces:
        yield bytes(piece.packed - at)
        with piece.path.open("rb") as file:
            file.seek(piece.offset)
            left = piece.size
            while left:
                chunk = file.read(min(CHUNK, left))
                if not chunk:
                    raise InputError("the data file has become shorter", code="bad-weights", where=str(piece.path))
                left -= len(chunk)
                yield chunk
        at = piece.packed + piece.size
