"""Constant tensors of a model: what they are without their bytes, and their bytes when asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from frontends.onnx.external import FileRange, locate
from frontends.onnx.text import shown
from runtime.errors import InputError

Array = NDArray[Any]

MAX_RANK = 32
NUMPY_TYPES: dict[int, np.dtype[Any]] = {
    element: np.dtype(onnx.helper.tensor_dtype_to_np_dtype(element))
    for element in (
        onnx.TensorProto.FLOAT,
        onnx.TensorProto.FLOAT16,
        onnx.TensorProto.DOUBLE,
        onnx.TensorProto.BOOL,
        onnx.TensorProto.INT8,
        onnx.TensorProto.INT16,
        onnx.TensorProto.INT32,
        onnx.TensorProto.INT64,
        onnx.TensorProto.UINT8,
        onnx.TensorProto.UINT16,
        onnx.TensorProto.UINT32,
        onnx.TensorProto.UINT64,
    )
}


@dataclass(frozen=True, eq=False)
class Weight:
    """A constant by its name in the model: either bytes of a file (`file`), or an array already in memory."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    file: FileRange | None = None
    inline: Array | None = None

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def array(self) -> Array:
        """The contents; external data is memory-mapped, so only what is touched is read."""
        if self.file is None:
            assert self.inline is not None
            return self.inline
        if not self.size:
            return np.zeros(self.shape, self.dtype)
        return np.memmap(self.file.path, self.dtype, mode="r", offset=self.file.offset, shape=self.shape)


def read_weight(model: Path, name: str, tensor: onnx.TensorProto) -> Weight:
    """A constant of the model file `model`, checked: element type, shape, and as many bytes as they need.

    Raises InputError otherwise, or if its external data is not acceptable (see `frontends.onnx.external`).
    """
    where = f"{model}: tensor {shown(name)}"
    dtype = NUMPY_TYPES.get(tensor.data_type)
    if dtype is None:
        known = onnx.TensorProto.DataType.values()
        spelled = onnx.TensorProto.DataType.Name(tensor.data_type) if tensor.data_type in known else tensor.data_type
        raise InputError(f"element type {spelled} is not supported", code="element-type", where=where)
    shape = tuple(tensor.dims)
    if len(shape) > MAX_RANK or any(dim < 0 for dim in shape):
        raise InputError(f"{list(shape)} is not a shape", code="tensor-size", where=where)
    # Python integers: a product of hostile dimensions cannot overflow.
    needed = math.prod(shape) * dtype.itemsize
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        return Weight(name, shape, dtype, file=locate(model, name, entries, needed))
    present = _bytes_present(tensor, dtype)
    if present != needed:
        raise InputError(
            f"shape {list(shape)} of {dtype} needs {needed} bytes, the model holds {present}",
            code="tensor-size",
            where=where,
        )
    return Weight(name, shape, dtype, inline=numpy_helper.to_array(tensor))


def _bytes_present(tensor: onnx.TensorProto, dtype: np.dtype[Any]) -> int:
    if tensor.HasField("raw_data"):
        return len(tensor.raw_data)
    return len(getattr(tensor, onnx.helper.tensor_dtype_to_field(tensor.data_type))) * dtype.itemsize
