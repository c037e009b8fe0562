"""Placements are legal, as good as promised, reproducible; and what does not fit is told with demand and supply."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from place.synthetic import Chain, gpt, host_in, host_out, line, matvec

from compiler.floorplan import Footprint, Net, Placed
from compiler.place.placer import PlaceResult, place, verify
from compiler.place.wire import cost, wires
from runtime import target as targets
from runtime.errors import InfeasibleError, LimitError, WsecError
from runtime.geometry import Orientation
from runtime.target import Target

MINI = targets.load("mini-32x32")


def small(columns: int, rows: int) -> Target:
    return dataclasses.replace(MINI, usable=(4, 1, columns, rows))


def assert_legal(kernels: list[Footprint], result: PlaceResult, target: Target) -> None:
    """Cell by cell, without the placer's own check."""
    x0, y0, columns, rows = target.usable
    taken: set[tuple[int, int]] = set()
    for kernel, at in zip(kernels, result.placed, strict=True):
        cells = {at.at(kernel, col, row) for col in range(kernel.cols) for row in range(kernel.rows)}
        assert len(cells) == kernel.cols * kernel.rows
        assert all(x0 <= x < x0 + columns and y0 <= y < y0 + rows for x, y in cells)
        assert not cells & taken
        assert not kernel.edge or {x for x, _ in cells} == {x0}
        taken |= cells


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=14), st.integers(0, 5))
def test_random_programs(sizes: list[tuple[int, int]], ports: int) -> None:
    chain = Chain()
    last = chain.add(host_in("in", ports)) if ports else None
    for i, (cols, rows) in enumerate(sizes):
        kernel = chain.add(matvec(f"k{i}", cols, rows))
        if last is not None and len(chain.kernels[last].outputs["y"]) == rows:
            chain.wire(last, (kernel, "x"))
        last = kernel
    try:
        result = place(chain.kernels, chain.nets, MINI, deterministic_limit=0.2)
    except (InfeasibleError, LimitError):
        assert result_area(chain) > 800  # of 1024
        return
    assert_legal(chain.kernels, result, MINI)
    assert result.cost <= result.constructive_cost
    assert result.cost == cost(chain.kernels, result.placed, wires(chain.kernels, chain.nets))
    assert result.bound <= result.objective


def result_area(chain: Chain) -> int:
    return sum(kernel.cols * kernel.rows for kernel in chain.kernels)


def test_gpt_is_improved_compact_and_reproducible() -> None:
    chain = gpt(layers=1, lanes=4, heads=5, keys=6, vocab=8, head=12)
    seen: list[tuple[int, int]] = []

    def note(done: int, total: int) -> None:
        seen.append((done, total))

    first = place(chain.kernels, chain.nets, MINI, deterministic_limit=0.5, progress=note)
    assert_legal(chain.kernels, first, MINI)
    assert first.cost < first.constructive_cost
    assert first.margin == 1
    assert first == place(chain.kernels, chain.nets, MINI, deterministic_limit=0.5)
    assert seen == [(i + 1, len(seen)) for i in range(len(first.windows))]


def test_a_compact_corner_of_a_large_target_is_used() -> None:
    chain = gpt(layers=1, lanes=4, heads=5, keys=6, vocab=8, head=12)
    result = place(chain.kernels, chain.nets, targets.load("cs2"), deterministic_limit=0)
    assert result.box[2] * result.box[3] < 5 * result.kernel_area
    assert result.box[:2] == (4, 1)


def test_orientation_follows_the_wires() -> None:
    """A square matvec under a row of outputs turns so that its lanes are straight: no lane is longer than the gap."""
    chain = Chain()
    a, b = chain.add(matvec("a", 6, 6)), chain.add(matvec("b", 6, 6))
    chain.wire(a, (b, "x"))
    result = place(chain.kernels, chain.nets, MINI, deterministic_limit=1)
    assert result.cost == 6 * 2  # margin 1: every lane has two hops
    assert result.status == "OPTIMAL"
    assert result.gap == 0


def test_exact_packing_needs_the_solver() -> None:
    """Five rectangles that tile 6 x 6 in a pinwheel; and the same with one core more than there is."""
    kernels = [Footprint(f"k{i}", *size) for i, size in enumerate([(2, 4), (4, 2), (2, 4), (4, 2), (2, 2)])]
    target = small(6, 6)
    result = place(kernels, [], target)
    assert_legal(kernels, result, target)
    assert result.margin == 0
    with pytest.raises(InfeasibleError) as caught:
        place([*kernels, Footprint("more", 1, 1)], [], target)
    assert caught.value.code == "too-many-cores"
    assert "37" in caught.value.message and "36" in caught.value.message


def test_infeasible_by_shape_is_proved() -> None:
    """Two 3 x 3 squares have room for their 18 cores in 5 x 5, but no place."""
    with pytest.raises(InfeasibleError) as caught:
        place([Footprint("a", 3, 3), Footprint("b", 3, 3)], [], small(5, 5))
    assert caught.value.code == "no-placement"
    assert caught.value.exit_code == 3
    with pytest.raises(InfeasibleError) as caught:
        place([Footprint("long", 33, 1)], [], MINI)
    assert caught.value.code == "kernel-too-large"
    assert caught.value.where == "long"


def test_host_ports_share_the_west_edge() -> None:
    kernels = [host_in("in", 3), line("a", 3), host_out("out", 3)]
    nets = [Net("i", (0, "y"), ((1, "x"),), (1,) * 3), Net("o", (1, "y"), ((2, "x"),), (2,) * 3)]
    result = place(kernels, nets, small(4, 6))
    assert_legal(kernels, result, small(4, 6))
    with pytest.raises(InfeasibleError) as caught:
        place(kernels, nets, small(4, 5))
    assert caught.value.code == "too-many-host-lanes"


def test_verify_catches_overlap_and_escape() -> None:
    kernels = [line("a", 3), line("b", 3)]
    for x, y in ((4, 3), (4, 31), (3, 8)):
        with pytest.raises(WsecError) as caught:
            verify(kernels, [Placed(4, 1, Orientation(0)), Placed(x, y, Orientation(0))], MINI)
        assert caught.value.code == "illegal-placement"
