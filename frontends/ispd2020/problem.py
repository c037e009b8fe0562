"""A contest case as a placement problem."""

from __future__ import annotations

from compiler.place.problem import Kernel as PlacedKernel
from compiler.place.problem import Net, Objective, Problem, Rectangle
from frontends.ispd2020.kernels import Convolution, KernelShapes, cblock, dblock
from frontends.ispd2020.kgraph import Case, Kernel


def problem_of(case: Case) -> Problem:
    """Kernels in the order of the case; lengths in tiles, times in cycles, memory in words."""
    longest = max(case.width, case.height)
    kernels = tuple(
        PlacedKernel(kernel.name, KernelShapes(convolutions_of(kernel), case.memory, longest))
        for kernel in case.kernels
    )
    nets = tuple(Net(edge.source, edge.sink) for edge in case.edges)
    objective = Objective(case.time_weight, case.wire_weight, case.adapter_weight)
    return Problem(Rectangle(0, 0, case.width, case.height), kernels, nets, objective, memory=case.memory)


def convolutions_of(kernel: Kernel) -> tuple[Convolution, ...]:
    """The convolutions a kernel is made of, left to right."""
    formal = kernel.formal
    if kernel.kind == "conv":
        return (Convolution(*(formal[key] for key in "HWRSCKT")),)
    block = dblock if kernel.kind == "dblock" else cblock
    return block(formal["H"], formal["W"], formal["F"])
