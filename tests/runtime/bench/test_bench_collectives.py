"""Reductions and broadcasts: times that follow from ramps, hops and set-up, and sums that are right."""

from __future__ import annotations

import dataclasses
from math import log2

import pytest

from runtime import target
from runtime.bench import formulas, plans
from runtime.bench.collectives import broadcast_grid, reduce, reduce_grid
from runtime.bench.layout import Layout
from runtime.bench.measure import Measured
from runtime.errors import DeadlockError, InputError, NumericsError
from runtime.isa import Dtype, In, Mem, Mov, Out

CS2 = target.load("cs2")
RAMP = CS2.ramp_cycles
CORES, WORDS = (4, 7, 16, 64), (1, 3, 32, 512)


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("cores", CORES)
def test_chain_and_broadcast_take_what_the_paper_says(cores: int, words: int) -> None:
    assert reduce("chain", cores, words, None, CS2)["cycles"] == formulas.chain(cores, words, RAMP)
    assert broadcast_grid(1, cores, words, CS2)["cycles"] == formulas.broadcast(cores, words, RAMP)


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("cores", (4, 8, 16, 64))
def test_a_tree_waits_in_every_round_for_its_partner_or_for_itself(cores: int, words: int) -> None:
    rounds = int(log2(cores))
    set_up = CS2.vector_overhead_cycles
    start = 2 * RAMP + 2
    for k in range(1, rounds):
        start += max(words + set_up, 2 * RAMP + 1 + 2**k)
    assert abs(reduce("tree", cores, words, None, CS2)["cycles"] - (start + words)) <= 1


@pytest.mark.parametrize(("cores", "words"), [(4, 64), (8, 32), (16, 64), (64, 1), (64, 3), (64, 64)])
def test_a_star_takes_what_the_paper_says_but_for_a_set_up(cores: int, words: int) -> None:
    assert reduce("star", cores, words, None, CS2)["cycles"] == pytest.approx(
        formulas.star(cores, words, RAMP), rel=0.04
    )


def test_a_star_of_long_vectors_adds_in_a_loop() -> None:
    words = 8000  # too long for a ring beside the vector
    assert reduce("star", 4, words, None, CS2)["cycles"] == pytest.approx(formulas.star(4, words, RAMP), rel=0.01)


@pytest.mark.parametrize("group", (2, 4, 8, 16, 32))
def test_two_phases_add_up(group: int) -> None:
    """The last group's sum waits in the queue of the one before, so all but two first cores are on the way."""
    cores, words = 64, 300
    groups = cores // group
    step = 2 * RAMP + 1
    expected = 2 * words + (step + 1) * (group - 1) + (groups - 2) * (step + group) + CS2.vector_overhead_cycles
    assert reduce("two-phase", cores, words, group, CS2)["cycles"] == expected


@pytest.mark.parametrize("group", (3, 5, 64))
def test_ragged_groups(group: int) -> None:
    assert reduce("two-phase", 32, 10, min(group, 32), CS2)["cycles"] > 0


@pytest.mark.parametrize(("rows", "cols"), [(4, 4), (5, 3), (1, 6), (6, 1)])
def test_rectangles(rows: int, cols: int) -> None:
    words = 20
    assert broadcast_grid(rows, cols, words, CS2)["cycles"] == formulas.broadcast_grid(rows, cols, words, RAMP)
    assert reduce_grid("snake", rows, cols, words, CS2)["cycles"] == formulas.snake(rows, cols, words, RAMP)
    x_then_y = reduce_grid("x-y", rows, cols, words, CS2)["cycles"]
    assert abs(x_then_y - formulas.x_then_y(rows, cols, words, RAMP)) <= 1


def test_a_tree_of_nine_rounds_changes_its_root() -> None:
    """A core has eight input queues."""
    assert plans.tree(256).root == (0, 0)
    assert plans.tree(512).root == (1, 0)
    assert reduce("tree", 512, 4, None, CS2)["cycles"] == pytest.approx(formulas.tree(512, 4, RAMP), rel=0.04)


def test_hops_and_ramps_are_the_machines() -> None:
    slow = dataclasses.replace(CS2, hop_cycles=2)
    assert reduce("chain", 8, 5, None, slow)["cycles"] - reduce("chain", 8, 5, None, CS2)["cycles"] == 7
    far = dataclasses.replace(CS2, ramp_cycles=3)
    assert reduce("chain", 8, 5, None, far)["cycles"] == formulas.chain(8, 5, 3)


def test_a_wrong_sum_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plans.chain(4)
    plan.stages[(1, 0)][0].fresh = True  # it passes on what comes and forgets its own vector
    monkeypatch.setattr(plans, "chain", lambda cores: plan)
    with pytest.raises(NumericsError):
        reduce("chain", 4, 8, None, CS2)


def test_a_stuck_program_is_no_result() -> None:
    layout = Layout(2, 1, 64, CS2)
    layout.line(0, (1, 0), (0, 0))
    layout.core((1, 0), [Mov(Out(layout.output((1, 0), 0), 3), Mem(16, Dtype.F32, 3)), layout.stop((1, 0))])
    layout.core((0, 0), [Mov(Mem(16, Dtype.F32, 4), In(layout.input((0, 0), 0), 4))])
    with pytest.raises(DeadlockError, match="stuck"):
        Measured(layout.image())


def test_a_program_without_room_for_its_words_is_no_result() -> None:
    layout = Layout(2, 1, 512, CS2)
    layout.line(0, (1, 0), (0, 0))
    layout.core((1, 0), [Mov(Out(layout.output((1, 0), 0), 60), Mem(16, Dtype.F32, 60)), layout.stop((1, 0))])
    layout.core((0, 0), [layout.stop((0, 0)), Mov(Mem(16, Dtype.F32, 60), In(layout.input((0, 0), 0), 60))])
    with pytest.raises(DeadlockError, match=r"core \(1, 0\).*stuck"):
        Measured(layout.image())


@pytest.mark.parametrize(("cores", "words"), [(1, 4), (4, 0), (800, 4), (4, 20_000)])
def test_what_does_not_fit_is_bad_input(cores: int, words: int) -> None:
    with pytest.raises(InputError):
        reduce("chain", cores, words, None, CS2)


def test_core_cycles_are_all_accounted_for() -> None:
    result = reduce("two-phase", 16, 64, 4, CS2)
    assert sum(result["core_cycles"].values()) == result["cores"] * result["machine_cycles"]
    assert result["core_cycles"]["busy"] >= 15 * 64  # an addition a word
