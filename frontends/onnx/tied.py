"""Tied weights that an exporter wrote twice, the second time transposed."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from frontends.onnx.load import LoadedModel, Node
from frontends.onnx.tensors import Weight

SAMPLE = 64  # elements compared before anything else is read
ROWS = 4096  # compared at a time


def transposed_tables(model: LoadedModel, nodes: Iterable[Node]) -> dict[str, str]:
    """{name: table} for each constant that is the transpose of a lookup table: an output head tied to its embedding.

    Tables written twice as they are need no care: constants are known by their contents.
    """
    tables = {node.inputs[0] for node in nodes if node.op_type == "Gather"}
    matrices = [weight for weight in model.weights.values() if weight.dtype.kind == "f" and len(weight.shape) == 2]
    sources = [weight for weight in matrices if weight.name in tables]
    found = {}
    for weight in matrices:
        source = next((table for table in sources if weight.name not in tables and _transposed(table, weight)), None)
        if source is not None:
            found[weight.name] = source.name
    return found


def _transposed(a: Weight, b: Weight) -> bool:
    if a.shape != b.shape[::-1] or a.dtype != b.dtype:
        return False
    if not np.array_equal(a.array()[:1, :SAMPLE], b.array()[:SAMPLE, :1].T):
        return False
    # Mapped anew for every block, so that what was compared does not stay in memory.
    starts = range(0, a.shape[0], ROWS)
    equal = all(np.array_equal(a.array()[r : r + ROWS], b.array()[:, r : r + ROWS].T) for r in starts)
    # A model without weights has zeros everywhere, which says nothing about what was tied.
    return equal and any(a.array()[r : r + ROWS].any() for r in starts)
