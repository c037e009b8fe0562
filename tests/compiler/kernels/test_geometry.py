"""What placer, router and codegen rely on, for every kernel over many shapes."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Sequence

import pytest
from shapes import PORTS, WITH_CORES

from compiler.floorplan import Lane, check
from compiler.kernels.base import IDLE, Kernel, Rect, memory_bytes, rectangles
from runtime import target as targets
from runtime.geometry import OPPOSITE, RAMP, STEP, bit
from runtime.image import Init
from runtime.isa import Dtype, In, Out, Program, code_bytes, operands, walk

TARGET = targets.load("cs2")
INTERNAL_COLOURS = {0, 1, 2, 3, 4}

every_kind = pytest.mark.parametrize("kernels", WITH_CORES.values(), ids=WITH_CORES)

Rules = dict[tuple[int, int, int], tuple[int, int]]  # (row, col, colour) -> (inputs, outputs)


def rules_of(kernel: Kernel) -> Rules:
    """The internal routes, router by router; none has two rules for a colour."""
    rules: Rules = {}
    for route in kernel.routes():
        cells = {(r, c, route.colour) for r in range(route.row, route.row + route.h)
                 for c in range(route.col, route.col + route.w)}  # fmt: skip
        assert not cells & rules.keys()
        rules.update(dict.fromkeys(cells, (route.inputs, route.outputs)))
    return rules


def cores(kernel: Kernel) -> list[tuple[int, int]]:
    return [(r, c) for r in range(kernel.rows) for c in range(kernel.cols)]


def busy_roles(kernel: Kernel) -> set[Hashable]:
    """The roles of cores that run something."""
    return {role for row in kernel.roles() for role in row if role is not IDLE}


def listeners(lane: Lane) -> set[tuple[int, int]]:
    """The cores an input lane gives its words to."""
    return {(row + j, col + i) for col, row, cols, rows in lane.hears for i in range(cols) for j in range(rows)}


@pytest.mark.parametrize("kernels", [*WITH_CORES.values(), PORTS], ids=[*WITH_CORES, "port"])
def test_footprints_are_sound(kernels: Sequence[Kernel]) -> None:
    """Ports inside the rectangle, lanes that are heard, as many lanes as the streams have."""
    for kernel in kernels:
        footprint = kernel.footprint(kernel.kind)
        check([footprint], [])
        assert (footprint.rows, footprint.cols) == (kernel.rows, kernel.cols)
        assert not kernel.inputs().keys() & kernel.outputs().keys()


@every_kind
def test_internal_routes_stay_inside_on_low_colours(kernels: Sequence[Kernel]) -> None:
    """Every hop of an internal route arrives at a router that expects it, and every router that expects one gets it."""
    for kernel in kernels:
        rules, inside = rules_of(kernel), set(cores(kernel))
        for (r, c, colour), (inputs, outputs) in rules.items():
            assert (r, c) in inside and colour in INTERNAL_COLOURS
            assert inputs.bit_count() == 1 and outputs
            for direction, (dx, dy) in enumerate(STEP):
                there = rules.get((r + dy, c + dx, colour), (0, 0))
                assert bool(outputs & bit(direction)) == (there[0] == bit(OPPOSITE[direction])), kernel


@every_kind
def test_queues_are_bound_to_routes_that_end_there(kernels: Sequence[Kernel]) -> None:
    """A core hears exactly the internal routes that give to its RAMP, and feeds exactly those that start from it."""
    for kernel in kernels:
        rules = rules_of(kernel)
        bound: list[tuple[int, int, str, int]] = []
        for r, c in cores(kernel):
            bound += [(r, c, binding.direction, binding.colour) for binding in kernel.bindings(r, c)]
        ends = [(r, c, "in", colour) for (r, c, colour), (_, outputs) in rules.items() if outputs & bit(RAMP)]
        ends += [(r, c, "out", colour) for (r, c, colour), (inputs, _) in rules.items() if inputs == bit(RAMP)]
        assert sorted(bound) == sorted(ends), kernel


def queues_of(kernel: Kernel) -> dict[tuple[int, int], set[tuple[str, int]]]:
    """(direction, queue) that ports and internal routes bind at every core; none twice."""
    found: dict[tuple[int, int], set[tuple[str, int]]] = {core: set() for core in cores(kernel)}
    wanted = [(cell, "in", kernel.lane_queue(port, i)) for port, lanes in kernel.inputs().items()
              for i, lane in enumerate(lanes) for cell in listeners(lane)]  # fmt: skip
    wanted += [((lane.row, lane.col), "out", kernel.lane_queue(port, i)) for port, lanes in kernel.outputs().items()
               for i, lane in enumerate(lanes)]  # fmt: skip
    wanted += [(core, b.direction, b.queue) for core in cores(kernel) for b in kernel.bindings(*core)]
    for core, direction, queue in wanted:
        assert (direction, queue) not in found[core], kernel
        found[core].add((direction, queue))
    return found


@every_kind
def test_programs_use_exactly_the_queues_their_core_has(kernels: Sequence[Kernel]) -> None:
    for kernel in kernels:
        for core, queues in queues_of(kernel).items():
            if kernel.role(*core) is IDLE:
                assert not queues
                continue
            program = kernel.program(kernel.role(*core))
            named = {("in", queue) for queue, _ in program.input_names}
            named |= {("out", queue) for queue, _ in program.output_names}
            assert named == queues == used_queues(program), kernel
            assert all(queue in TARGET.input_queues for way, queue in queues if way == "in")
            assert all(queue in TARGET.output_queues for way, queue in queues if way == "out")


def used_queues(program: Program) -> set[tuple[str, int]]:
    """The queues that instructions of a program name."""
    used = [operand for task in program.tasks for instr in walk(task.body) for operand in operands(instr)]
    found = {("in", operand.queue) for operand in used if isinstance(operand, In)}
    return found | {("out", operand.queue) for operand in used if isinstance(operand, Out)}


@every_kind
def test_memory_is_that_of_the_fullest_core(kernels: Sequence[Kernel]) -> None:
    """Corners and their neighbours tell: every core counted gives the same. Data, code and queues are all in it."""
    for kernel in kernels:
        programs = {kernel.program(role) for role in busy_roles(kernel)}
        assert kernel.memory(TARGET) == max(memory_bytes(program, TARGET) for program in programs), kernel
        for program in programs:
            queues = sum(TARGET.input_depth[q] for q, _ in program.input_names)
            queues += sum(TARGET.output_depth[q] for q, _ in program.output_names)
            code = sum(code_bytes(instr) for task in program.tasks for instr in task.body)
            assert code > 0 < queues
            assert memory_bytes(program, TARGET) == program.data_bytes + code + 4 * queues


@every_kind
def test_regions_do_not_overlap(kernels: Sequence[Kernel]) -> None:
    for kernel in kernels:
        for role in busy_roles(kernel):
            program = kernel.program(role)
            spans = sorted((region.address, region.address + region.bytes) for region in program.regions)
            assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans)), kernel
            assert all(start % 4 == 0 for start, _ in spans)


@every_kind
def test_initial_memory_lies_in_regions_of_constants(kernels: Sequence[Kernel]) -> None:
    """Every element of weights and constants is written exactly once on every core, and nothing else is."""
    for kernel in kernels:
        for role, rect in rectangles(kernel.roles()):
            if role is IDLE:
                continue
            program = kernel.program(role)
            written = [address for init in kernel.inits(role, rect, program) for address in written_bytes(init, rect)]
            given = {
                address
                for region in program.regions
                if region.owner in ("weights", "constants")
                for address in range(region.address, region.address + region.bytes)
            }
            assert len(written) == len(set(written)) and set(written) == given, kernel


def written_bytes(init: Init, rect: Rect) -> list[int]:
    """Addresses of all bytes an init writes on each of its cores."""
    assert (init.rows, init.cols) == (rect.rows, rect.cols)
    size, (rows, columns) = Dtype(init.dtype).size, init.count
    starts = [init.address + (i * init.pitch + j * init.step) * size for i in range(rows) for j in range(columns)]
    return [start + byte for start in starts for byte in range(size)]


@every_kind
def test_rectangles_cover_every_core_once(kernels: Sequence[Kernel]) -> None:
    for kernel in kernels:
        covered = [
            (r, c, role)
            for role, rect in rectangles(kernel.roles())
            for r in range(*rect.rows)
            for c in range(*rect.cols)
        ]
        assert sorted(cell[:2] for cell in covered) == cores(kernel)
        assert all(kernel.role(r, c) == role for r, c, role in covered)


@every_kind
def test_cores_between_cuts_are_alike(kernels: Sequence[Kernel]) -> None:
    """What the code generator asks at the cuts holds up to the next one."""
    for kernel in kernels:
        for r in range(kernel.rows):
            cuts = list(kernel.cuts(r))
            assert cuts[0] == 0 and cuts == sorted(set(cuts)) and cuts[-1] < kernel.cols
            for c in set(range(kernel.cols)) - set(cuts):
                west, here = ((kernel.role(r, x), kernel.bindings(r, x)) for x in (c - 1, c))
                assert west == here, kernel


def test_ports_have_no_cores() -> None:
    for port in PORTS:
        assert port.roles() == [] and port.memory(TARGET) == 0
        assert port.footprint("p").edge == "west"
