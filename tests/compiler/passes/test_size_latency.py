"""Sizes for the least latency of one token: sooner done than sizes for throughput, under the same limits."""

from __future__ import annotations

import pytest

import compiler.pipelines  # noqa: F401 - registers the passes
from compiler.dialects import flow
from compiler.ir.core import Op
from compiler.ir.passes import PassContext, PassManager, parse_pipeline
from compiler.ir.printer import print_module
from compiler.kernels.table import kernel_of
from compiler.passes.report import interval_cycles, report
from compiler.size.shapes import ladder
from runtime import target as targets
from runtime.errors import InfeasibleError, UsageError
from runtime.target import Target
from tests.random_gpt import Shape, random_gpt

MINI, LARGER = targets.load("mini-32x32"), targets.load("mini-64x64")
SMALL = Shape(layers=1, heads=3, head_dim=8, hidden=50, vocab=61, positions=20)
WIDE = Shape(layers=1, heads=2, head_dim=4, hidden=160, vocab=200, positions=20)
LONG = Shape(layers=2, heads=2, head_dim=16, hidden=100, vocab=90, positions=600)


def sized(shape: Shape, optimize: str, target: Target = MINI, max_cores: int = 0) -> Op:
    module, resources = random_gpt(shape, 0)
    pipeline = f"lower-to-flow,insert-forks,size{{optimize={optimize} max-cores={max_cores}}}"
    PassManager(parse_pipeline(pipeline)).run(module, PassContext(resources, target))
    return module


def latency(module: Op) -> int:
    section = report(module)["size"]
    assert isinstance(section, dict)
    value = section["kernels_latency_cycles"]
    assert isinstance(value, int)
    return value


def cores(module: Op) -> int:
    kernels = [kernel_of(op) for op in module.body.ops if flow.is_kernel(op)]
    return sum(kernel.rows * kernel.cols for kernel in kernels if kernel.kind != "port")


@pytest.mark.parametrize("shape", [SMALL, WIDE, LONG], ids=["small", "wide", "long"])
@pytest.mark.parametrize("target", [MINI, LARGER], ids=["mini", "larger"])
def test_a_token_is_sooner_done_than_with_sizes_for_throughput(shape: Shape, target: Target) -> None:
    quick, fast = sized(shape, "latency", target), sized(shape, "throughput", target)
    assert latency(quick) < latency(fast)
    assert interval_cycles(quick) >= interval_cycles(fast)
    for op in quick.body.ops:
        if flow.is_kernel(op):
            assert kernel_of(op).memory(target) <= target.memory_bytes, flow.name_of(op)
    assert cores(quick) <= target.cores


def test_the_noted_latency_is_that_of_the_longest_way() -> None:
    """Of a chain of layers: all kernels but the fifos, one after another; a join waits for the longer branch."""
    module = sized(SMALL, "latency")
    kernels = [op for op in module.body.ops if flow.is_kernel(op) and op.name != "flow.fifo"]
    assert latency(module) == sum(kernel_of(op).latency(MINI) for op in kernels)
    section = report(module)["size"]
    assert isinstance(section, dict) and section["optimised_for"] == "latency"


@pytest.mark.parametrize("limit", [60, 90, 200])
def test_limits_hold_and_cost_latency(limit: int) -> None:
    free, tight = sized(WIDE, "latency"), sized(WIDE, "latency", max_cores=limit)
    assert cores(tight) <= limit < cores(free)
    assert latency(free) <= latency(tight) <= latency(sized(WIDE, "throughput", max_cores=limit))


def test_equal_layers_get_equal_shapes_and_the_choice_is_repeated() -> None:
    module = sized(LONG, "latency")
    shapes = [(kernel_of(op).rows, kernel_of(op).cols) for op in module.body.ops if flow.is_kernel(op)]
    kernels = [op for op in module.body.ops if flow.is_kernel(op)]
    first = next(i for i, op in enumerate(kernels) if op.name == "flow.norm")
    assert shapes[first : first + 11] == shapes[first + 11 : first + 22]
    assert print_module(module) == print_module(sized(LONG, "latency"))


def test_what_does_not_fit_is_told_as_for_throughput() -> None:
    messages = []
    for optimize in ("latency", "throughput"):
        with pytest.raises(InfeasibleError) as caught:
            sized(SMALL, optimize, max_cores=10)
        messages.append(caught.value.message)
    assert messages[0] == messages[1]


def test_nothing_else_can_be_optimised() -> None:
    with pytest.raises(UsageError, match="nothing is optimised for 'power'"):
        sized(SMALL, "power")


def test_ladders_have_both_ends_and_rise() -> None:
    for low, high, step in ((1, 1, 1.2), (1, 2, 1.2), (3, 100, 1.12), (7, 7, 2.0)):
        found = ladder(low, high, step)
        assert found[0] == low and found[-1] == high and found == sorted(set(found))
