"""Kernel graphs and placements for tests, made here: chains of residual blocks of our own, and rows of kernels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from frontends.ispd2020.kernels import KernelShapes
from frontends.ispd2020.kgraph import Case
from frontends.ispd2020.paint import paint_text
from frontends.ispd2020.problem import problem_of

HEADER = {
    "test": "ours", "width": 633, "height": 633, "wdeltat": 1, "wlength": 10, "wadapter": 100, "memlimit": 24576
}  # fmt: skip


def kgraph(nodes: Sequence[str], edges: Sequence[tuple[str, str]], **header: object) -> str:
    """A `.kgraph` of these nodes ("conv[1] H=...") and edges ("conv[1]", "conv[2]")."""
    head = [f"{key}={value}" for key, value in (HEADER | header).items()]
    arrows = [f"{source}:y -> {sink}:x, shape:[1][1][1]" for source, sink in edges]
    return "\n".join(["(*", *head, "*)", "", "(* Nodes *)", *nodes, "", "(* Edges *)", *arrows, ""])


def chain(nodes: Sequence[str], **header: object) -> str:
    """A `.kgraph` in which every node reads the one before."""
    names = [node.split("]")[0] + "]" for node in nodes]
    return kgraph(nodes, list(pairwise(names)), **header)


def resnet(features: int, blocks: Sequence[int] = (2, 3, 5, 2), size: int = 112, **header: object) -> str:
    """A chain of stages: a cblock that halves the image, then dblocks. `features` of the first stage; then doubled."""
    nodes = [f"input[0] n=[{size} {size} 3] name='k0'"]
    for stage, count in enumerate(blocks):
        f = features << stage
        for block in range(count + 1):
            kind, side = ("dblock", size >> (stage + 1)) if block else ("cblock", size >> stage)
            nodes.append(f"{kind}[{len(nodes)}] f={f} h={side} w={side} name='k{len(nodes)}'")
    nodes.append(f"output[{len(nodes)}] n=[1 1 1] name='k{len(nodes)}'")
    return chain(nodes, **header)


def one_row(case: Case, limit: float) -> str:
    """A chain from left to right, each kernel on the smallest short side it can take at the time limit.

    Ties: the smallest long side. The short side lies along the row; y = (height - long side) div 2.
    """
    arguments, turned, at = [], [], []
    x = 0
    for kernel in problem_of(case).kernels:
        assert isinstance(kernel.shapes, KernelShapes)
        table = kernel.shapes.shapes(limit)
        fits = np.flatnonzero((table.width <= case.width) & (table.height <= case.height))
        row = min(fits, key=lambda row: (table.width[row], table.height[row], row))
        arguments.append(tuple(int(value) for value in table.arguments[row]))
        turned.append(bool(table.turned[row]))
        at.append((x, (case.height - int(table.height[row])) // 2))
        x += int(table.width[row])
    return paint_text(case, arguments, turned, at)
