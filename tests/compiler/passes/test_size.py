"""Shapes under the limits of memory, cores and host channels, and fifos that cover what they promise."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest

from compiler.dialects import flow
from compiler.flow_interpreter import run_flow
from compiler.ir.core import Op
from compiler.ir.passes import PassContext, PassManager, parse_pipeline
from compiler.kernels.table import kernel_of
from compiler.passes.report import interval_cycles, report
from compiler.resources import ResourceStore
from runtime import defects
from runtime import target as targets
from runtime.errors import InfeasibleError
from runtime.target import Target
from tests.compiler.graph_builder import GraphBuilder
from tests.compiler.kernels.harness import Bench, numbers
from tests.random_gpt import Shape, random_gpt

MINI = targets.load("mini-32x32")
SMALL = Shape(layers=1, heads=3, head_dim=8, hidden=50, vocab=61, positions=20)
WIDE = Shape(layers=1, heads=2, head_dim=4, hidden=160, vocab=200, positions=20)


def size(module: Op, resources: ResourceStore, max_cores: int = 0, target: Target = MINI) -> Op:
    PassManager(parse_pipeline(f"size{{max-cores={max_cores}}}")).run(module, PassContext(resources, target))
    return module


def sized(shape: Shape = SMALL, max_cores: int = 0, target: Target = MINI, precision: str = "fp32") -> Op:
    module, resources = random_gpt(shape, 0)
    pipeline = parse_pipeline(f"lower-to-flow{{precision={precision}}},insert-forks")
    PassManager(pipeline).run(module, PassContext(resources))
    return size(module, resources, max_cores, target)


def kernels(module: Op) -> list[Op]:
    return [op for op in module.body.ops if flow.is_kernel(op)]


def cores(module: Op) -> int:
    made = [kernel_of(op) for op in kernels(module)]
    return sum(kernel.rows * kernel.cols for kernel in made if kernel.kind != "port")


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("memory", [6 << 10, 48 << 10])
def test_every_kernel_fits_its_cores(precision: str, memory: int) -> None:
    target = dataclasses.replace(MINI, memory_bytes=memory)
    module = sized(target=target, precision=precision)
    for op in kernels(module):
        kernel = kernel_of(op)
        assert kernel.memory(target) <= memory, flow.name_of(op)
        assert max(kernel.rows, kernel.cols) <= 30
    assert cores(module) <= target.cores


def test_more_cores_never_make_it_slower() -> None:
    limits = [40, 60, 90, 150, 300, 600, 1024]
    modules = [sized(WIDE, max_cores=limit) for limit in limits]
    intervals = [interval_cycles(module) for module in modules]
    assert intervals == sorted(intervals, reverse=True) and intervals[0] > 1.5 * intervals[-1]
    assert all(cores(module) <= limit for module, limit in zip(modules, limits, strict=True))


def test_the_report_names_the_slowest_kernel() -> None:
    module = sized()
    section: Any = report(module)["size"]
    intervals = {flow.name_of(op): kernel_of(op).interval(MINI) for op in kernels(module) if op.name != "flow.fifo"}
    assert section["interval_cycles"] == max(intervals.values()) == intervals[section["slowest_kernel"]]
    assert section["tokens_per_second"] == pytest.approx(0.85e9 / max(intervals.values()))


def test_too_few_cores() -> None:
    with pytest.raises(InfeasibleError) as caught:
        sized(max_cores=10)
    error = caught.value
    assert (error.code, error.exit_code) == ("does-not-fit", 3)
    needs = re.search(r"the smallest sizes that a search found take (\d+) cores", error.message)
    assert needs is not None and "mini-32x32 has 1024 cores of 48 KiB (50.3 MB); the limit is 10" in error.message
    # What it says it needs is enough, and no less is.
    assert cores(sized(max_cores=int(needs[1]))) <= int(needs[1])
    with pytest.raises(InfeasibleError):
        sized(max_cores=int(needs[1]) - 1)


def test_a_kernel_longer_than_the_wafer_is_named() -> None:
    with pytest.raises(InfeasibleError) as caught:
        sized(Shape(layers=1, heads=40, head_dim=1, hidden=8, vocab=9, positions=4))
    assert "no shape of matvec1 (unknown) fits" in caught.value.message
    assert "mini-32x32 has 1024 cores" in caught.value.message


def test_a_cache_that_fills_every_core_is_named() -> None:
    with pytest.raises(InfeasibleError, match=r"no shape of .*attention0 \(unknown\) fits"):
        sized(dataclasses.replace(SMALL, positions=600_000))


def test_without_a_limit_the_model_gets_all_that_helps() -> None:
    """No more cores would make it faster, and of the fastest choices it is one with few cores."""
    free = sized(WIDE)
    assert cores(free) <= 1024
    assert interval_cycles(free) < interval_cycles(sized(WIDE, max_cores=cores(free) // 2))


def ports(module: Op, name: str) -> list[int]:
    """Lanes of every input or output."""
    ends = [(op.results or op.operands)[0] for op in module.body.find(name)]
    return [flow.stream(value.type).lanes for value in ends]


def wide_bench(features: int, lanes: int, outputs: int) -> Bench:
    """A map of a stream with more lanes than the host has channels, and several outputs of it."""
    bench = Bench()
    y = bench.kernel(flow.map_def, bench.stream("x", features, lanes), features=features, block=1, fn="exp")
    for i in range(outputs):
        shape = ("batch", "seq", features)
        bench.module.body.append(flow.output_def(y.result, sym_name=f"out{i}", name=f"y{i}", shape=shape, dtype="f32"))
    bench.run_passes("insert-forks")
    return bench


@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_wide_streams_are_relaned_for_the_host(outputs: int) -> None:
    """All ports of a direction share the host's channels; what enters and leaves stays the same."""
    bench = wide_bench(29, 29, outputs)
    size(bench.module, bench.resources)
    kinds = [op.name for op in bench.module.body.ops]
    relanes = bench.module.body.find("flow.relane")
    assert kinds.count("flow.relane") == 1 + outputs and all(int(str(op.attrs["ratio"])) > 1 for op in relanes)
    assert sum(ports(bench.module, "flow.input")) <= 16 and sum(ports(bench.module, "flow.output")) <= 16
    (map_op,) = bench.module.body.find("flow.map")
    assert flow.stream(map_op.result.type).lanes == 29
    x = numbers(np.random.default_rng(0), 1, 2, 29)
    results = run_flow(bench.module, bench.resources, {"x": x})
    assert len(results) == outputs and all(np.array_equal(y, np.exp(x)) for y in results.values())


def test_more_outputs_than_host_channels() -> None:
    bench = wide_bench(4, 4, 17)
    with pytest.raises(InfeasibleError, match=r"17 outputs; mini-32x32 has 16 host channels"):
        size(bench.module, bench.resources)


def fifo_facts(module: Op) -> list[tuple[int, int, str]]:
    """(tokens, cycles to cover, reason) of every fifo."""
    facts = []
    for op in module.body.find("flow.fifo"):
        reason = str(op.attrs["reason"])
        cycles = re.search(r"the (\d+) cycles", reason)
        assert cycles is not None
        facts.append((int(str(op.attrs["tokens"])), int(cycles[1]), reason))
    return facts


def test_fifos_cover_their_branch_and_say_so() -> None:
    module = sized()
    facts, interval = fifo_facts(module), interval_cycles(module)
    assert len(facts) == 2
    for tokens, cycles, reason in facts:
        assert tokens == -(-cycles // interval) + 1
        assert f"{tokens} covers the {cycles} cycles" in reason and f"one token in {interval}" in reason
    # norm, qkv, attention and projection stand between the first fork and its join.
    names = ("norm0", "matvec1", "attention0", "matvec2")
    by_name = {flow.name_of(op): kernel_of(op) for op in kernels(module)}
    assert facts[0][1] == sum(by_name[name].latency(MINI) for name in names)


def test_a_fifo_around_a_nested_residual_covers_all_of_it() -> None:
    bench = Bench()
    x = bench.stream("x", 8, 2)
    first = bench.kernel(flow.map_def, x, features=8, block=4, fn="exp")
    second = bench.kernel(flow.map_def, first, features=8, block=4, fn="tanh")
    inner = bench.kernel(flow.join_def, first, second, features=8, block=4, fn="add")
    outer = bench.kernel(flow.join_def, inner, x, features=8, block=4, fn="add")
    shape = ("batch", "seq", 8)
    bench.module.body.append(flow.output_def(outer.result, sym_name="out", name="y", shape=shape, dtype="f32"))
    bench.run_passes("insert-forks")
    size(bench.module, bench.resources)
    inner_wait, outer_wait = (cycles for _, cycles, _ in fifo_facts(bench.module))
    assert inner_wait == kernel_of(second).latency(MINI)
    assert outer_wait == sum(kernel_of(op).latency(MINI) for op in (first, second, inner))


def test_a_fifo_without_room_says_so() -> None:
    """Seven kernels in a row have seven tokens in flight; a core of 2 KiB holds one of 300 elements."""
    bench = Bench()
    y = x = bench.stream("x", 300, 1)
    for _ in range(7):
        y = bench.kernel(flow.map_def, y, features=300, block=300, fn="exp")
    y = bench.kernel(flow.join_def, y, x, features=300, block=300, fn="add")
    shape = ("batch", "seq", 300)
    bench.module.body.append(flow.output_def(y.result, sym_name="out", name="y", shape=shape, dtype="f32"))
    bench.run_passes("insert-forks")
    size(bench.module, bench.resources, 9, dataclasses.replace(MINI, memory_bytes=2048))
    ((tokens, _, reason),) = fifo_facts(bench.module)
    assert tokens == 1 and "1 token keeps the join alive" in reason and "holds fewer than the 8 tokens" in reason


def test_equal_layers_get_equal_shapes() -> None:
    module = sized(dataclasses.replace(SMALL, layers=2), max_cores=900)
    shapes = [(kernel_of(op).rows, kernel_of(op).cols) for op in kernels(module)]
    first = next(i for i, op in enumerate(kernels(module)) if op.name == "flow.norm")
    assert shapes[first : first + 11] == shapes[first + 11 : first + 22]


def test_from_an_input_straight_to_an_output() -> None:
    b = GraphBuilder()
    b.output(b.input("x", ("batch", 40)))
    PassManager(parse_pipeline("lower-to-flow,insert-forks")).run(b.module, PassContext(b.resources))
    size(b.module, b.resources)
    assert ports(b.module, "flow.input") == ports(b.module, "flow.output")


@pytest.mark.parametrize("seed", range(3))
def test_dead_cores_cost_little(seed: int) -> None:
    """Twenty of 4096: strips are cut between kernels, so a program that fills half of them is about as fast."""
    shape = Shape(layers=3, heads=4, head_dim=16, hidden=300, vocab=400, positions=300)
    whole = targets.load("mini-64x64")
    lots = defects.draw_lots(20, seed, whole.usable, whole.fabric)
    damaged = dataclasses.replace(whole, defects=lots)
    free, cut = (sized(shape, 2000, target) for target in (whole, damaged))
    assert interval_cycles(cut) <= 1.2 * interval_cycles(free)
