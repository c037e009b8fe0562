"""Core memories: one allocation, a uniform share per block, filled by the image's strided copies."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from runtime.errors import IllegalImageError
from runtime.image import Image, Init

Array = np.ndarray[Any, Any]

DTYPES: dict[str, Any] = {"f32": np.float32, "f16": np.float16, "i32": np.int32}
ALIGNMENT = 16


def _round_up(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def core_bytes(image: Image) -> Array:
    """Bytes of data memory of every core, rounded up to 16; 0 for idle cores. Raises IllegalImageError."""
    sizes = [0]
    for program in image.programs:
        size = _round_up(program.data_bytes)
        if size > image.target.memory_bytes:
            message = f"{size} bytes of data; a core has {image.target.memory_bytes}"
            raise IllegalImageError(message, code="memory", where=f"program {program.name}")
        sizes.append(size)
    of_program: Array = np.array(sizes, np.int64)
    return np.asarray(of_program[image.cores["program"] + 1])


def allocate(image: Image, size: Array, reserved: int) -> tuple[Array, Array]:
    """The buffer (bytes) and each core's address in it. The first `reserved` bytes are left for the queues.

    All cores of a block get the same share, the largest any of them needs, so that an `Init` is one strided copy.
    """
    base = np.zeros(len(size), np.int64)
    end = _round_up(reserved)
    for block in image.blocks:
        cores = slice(block.first, block.first + block.rows * block.cols)
        share = int(size[cores].max())
        base[cores] = end + share * np.arange(block.rows * block.cols)
        end += share * block.rows * block.cols
    return np.zeros(end, np.uint8), base


def fill(image: Image, buffer: Array, base: Array, size: Array) -> None:
    """Apply every `Init`. f32 becomes f16 by rounding to nearest even. Raises IllegalImageError."""
    for number, init in enumerate(image.inits):
        try:
            _copy(image, init, buffer, base, size)
        except ValueError as error:
            block = image.blocks[init.block].name
            raise IllegalImageError(str(error), code="bad-init", where=f"init {number} of block {block}") from None


def _copy(image: Image, init: Init, buffer: Array, base: Array, size: Array) -> None:
    """One strided copy; ranges inside the tensor and the block are `runtime.structure`'s to check."""
    block = image.blocks[init.block]
    (r0, r1), (c0, c1) = init.rows, init.cols
    cores = block.first + np.arange(r0, r1)[:, None] * block.cols + np.arange(c0, c1)
    item = np.dtype(DTYPES[init.dtype]).itemsize
    end = init.address + ((init.count[0] - 1) * init.pitch + (init.count[1] - 1) * init.step + 1) * item
    if end > size[cores].min():
        raise ValueError(f"writes up to byte {end} of a core that has {size[cores].min()}")
    if init.address % item:
        raise ValueError(f"address {init.address} is not aligned")
    tensor = image.tensors[init.tensor].data.reshape(-1)
    if (tensor.dtype == np.int32) != (init.dtype == "i32"):
        raise ValueError(f"{tensor.dtype} data for {init.dtype} memory")
    shape = (r1 - r0, c1 - c0, *init.count)
    share = int(base[block.first + 1] - base[block.first]) if block.rows * block.cols > 1 else 0
    memory = buffer.view(DTYPES[init.dtype])[(base[cores[0, 0]] + init.address) // item :]
    target = as_strided(memory, shape, (share * block.cols, share, init.pitch * item, init.step * item))
    first = init.offset + r0 * init.per_row + c0 * init.per_col
    steps = (init.per_row, init.per_col, *init.stride)
    source = as_strided(tensor[first:], shape, [step * tensor.itemsize for step in steps], writeable=False)
    with np.errstate(over="ignore"):
        target[...] = source
