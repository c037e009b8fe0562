"""Models without weights: the real graph at its real size, every weight a hole in a sparse file.

The exporter sees ordinary tensors, so it writes the graph it always writes. The bytes of the large ones are pages that
are mapped for reading only and never touched: the kernel neither allocates nor reserves memory for them, and they read
as zeros. Small ones are real while the exporter looks, since it joins equal constants and drops biases of zeros.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frontends.hf.build import ready

if TYPE_CHECKING:
    from transformers import GPT2Config, GPT2LMHeadModel

SMALL = 1 << 20  # elements; the exporter's optimizer compares up to 1024
ALIGNMENT = mmap.PAGESIZE  # of tensors in the file: each can be mapped alone


def hollow_model(config: GPT2Config, dtype: np.dtype[Any]) -> GPT2LMHeadModel:
    """The model of that configuration, ready for export, with parameters of `dtype` that mean nothing.

    All but the small ones are zeros that take no memory.
    """
    import torch
    from transformers import GPT2LMHeadModel

    with torch.device("meta"):
        model = GPT2LMHeadModel(config)
    random = np.random.default_rng(0)
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            shape = tuple(parameter.shape)
            small = parameter.numel() <= SMALL
            array = random.standard_normal(shape).astype(dtype) if small else unwritten_zeros(shape, dtype)
            setattr(module, name, torch.nn.Parameter(torch.from_numpy(array), requires_grad=False))
    model.tie_weights()
    remaining = [name for name, buffer in model.named_buffers() if buffer.is_meta]
    if remaining:
        raise RuntimeError(f"no values for the buffers {', '.join(remaining)}")
    return ready(model)


def unwritten_zeros(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """A read-only array of zeros. Private pages that cannot be written are not charged against memory."""
    size = max(1, int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
    return np.frombuffer(pages, dtype, count=size // dtype.itemsize).reshape(shape)


def save_hollow(program: Any, model: GPT2LMHeadModel, path: Path) -> None:
    """Write `program`, exported from `model`: parameters as holes of `<name>.data`, other constants in the file itself.

    The data file takes no blocks of the disk where the file system has sparse files. In toy models the exporter folds
    what it computes from weights of a few kilobytes; those constants are not holes.
    """
    import onnx
    import onnx_ir

    location, end = f"{path.name}.data", 0
    initializers = program.model.graph.initializers
    # Tied parameters have several names; the exporter chooses one of them.
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    for name in sorted(parameters & set(initializers)):
        tensor = initializers[name].const_value
        initializers[name].const_value = onnx_ir.ExternalTensor(
            location, end, tensor.nbytes, tensor.dtype, shape=tensor.shape, name=name, base_dir=path.parent
        )
        end += -(-tensor.nbytes // ALIGNMENT) * ALIGNMENT
    onnx.save(program.model_proto, path)
    with path.with_name(location).open("xb") as file:
        os.truncate(file.fileno(), end)
