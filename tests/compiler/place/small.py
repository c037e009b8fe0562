"""Placement problems small enough to solve by hand or by trying everything."""

from __future__ import annotations

from compiler.place.problem import FixedShapes, Kernel, Net, Objective, Problem, Rectangle, Shape


def shape(width: int, height: int, time: float = 1.0, protocol: tuple[int, ...] = ()) -> Shape:
    """A shape with one pin, in its centre."""
    return Shape(width, height, time, 0.0, ((width, height),), protocol, protocol, (width, height))


def kernel(name: str, *choices: Shape) -> Kernel:
    return Kernel(name, FixedShapes(choices))


def chain(
    kernels: list[Kernel],
    width: int,
    height: int,
    objective: Objective,
    obstacles: tuple[Rectangle, ...] = (),
    margin: int = 0,
) -> Problem:
    """Every kernel feeds the next."""
    nets = tuple(Net(i, i + 1) for i in range(len(kernels) - 1))
    return Problem(Rectangle(0, 0, width, height), tuple(kernels), nets, objective, obstacles, margin)
