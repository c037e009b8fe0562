"""Writes a placement in the contest's text form (`.paint`).

k5 = dblock( H W F  h w  c1 c2 c3  k1 k2 k3 )
k5 : name('k5)
k5 : place(0 148 R0)
kmap = union( k1 k5 k7 )
"""

from __future__ import annotations

from compiler.place.problem import Placement
from frontends.ispd2020.kgraph import Case, Kernel

FORMAL = {"conv": "HWCKRSTU", "dblock": "HWF", "cblock": "HWF"}


def placement_text(case: Case, placement: Placement) -> str:
    """The text for a placement of `problem_of(case)`."""
    shapes = placement.shapes
    at = list(zip(placement.x, placement.y, strict=True))
    return paint_text(case, [shape.arguments for shape in shapes], [shape.turned for shape in shapes], at)


def paint_text(case: Case, arguments: list[tuple[int, ...]], turned: list[bool], at: list[tuple[int, int]]) -> str:
    """The text for kernels in the order of `case`: arguments (h, w, every c, every k), R90 or R0, low corner."""
    lines = ['include "common.paint"', ""]
    for kernel, values, turn, (x, y) in zip(case.kernels, arguments, turned, at, strict=True):
        lines += [
            f"{kernel.name} = {_call(kernel, values)}",
            f"{kernel.name} : name('{kernel.name})",
            f"{kernel.name} : place({x} {y} {'R90' if turn else 'R0'})",
            "",
        ]
    names = " ".join(kernel.name for kernel in case.kernels)
    return "\n".join([*lines, f"kmap = union( {names} )", ""])


def _call(kernel: Kernel, values: tuple[int, ...]) -> str:
    formal = [kernel.formal[key] for key in FORMAL[kernel.kind]]
    count = (len(values) - 2) // 2
    groups = (formal, values[:2], values[2 : 2 + count], values[2 + count :])
    return f"{kernel.kind}( {'  '.join(' '.join(map(str, group)) for group in groups)} )"
