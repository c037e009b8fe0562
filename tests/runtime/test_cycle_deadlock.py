"""Runs that stop: deadlocks told hop by hop, faults with place and cycle; and long runs, which are neither."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest
from builders import (
    F32,
    I32,
    Wafer,
    chain_image,
    core_image,
    crossing_image,
    deadlock_image,
    fifo_image,
    give,
    matvec_image,
    take,
)
from random_gpt import Shape, random_gpt

from compiler.driver import Options, build, lower
from runtime.cycle.machine import CycleMachine
from runtime.errors import DeadlockError
from runtime.faults import MachineFault
from runtime.geometry import EAST, NORTH, RAMP, WEST, bit
from runtime.image import Image
from runtime.isa import Alu, Fifo, FifoDef, In, Instr, Load, Loop, Map, Mem, Mov, Out, Reg
from runtime.session import load


def story(image: Image, sent: list[int], wanted: list[int]) -> str:
    """The message of a run with so many words for each lane, which must be a deadlock."""
    with pytest.raises(DeadlockError) as caught:
        CycleMachine(image).feed([np.zeros(words, np.int32) for words in sent], wanted)
    assert caught.value.exit_code == 6
    return caught.value.message


def ordered(text: str, *words: str) -> bool:
    """Whether the words stand in the text in this order."""
    return re.search(".*".join(map(re.escape, words)), text, re.DOTALL) is not None


def test_two_cores_that_wait_for_each_other() -> None:
    told = story(deadlock_image(), [3], [])
    assert ordered(
        told,
        "nothing can ever move again after cycle",
        "a cycle of waits",
        "1. core (4, 1) kernel pair [/pair/op] task t0",
        "words in input queue 3 (partial), colour 2, empty",
        "core (5, 1), output queue 3 through routers (5, 1) (4, 1) on colour 2, all empty",
        "2. core (5, 1) kernel pair",
        "colour 3",
        "core (4, 1), output queue 3 through routers (4, 1) (5, 1) on colour 3",
        "the cycle is closed",
    )


def test_back_pressure_through_routers() -> None:
    told = story(crossing_image(40), [1], [])
    assert ordered(
        told,
        "a cycle of waits",
        "1. core (4, 1) kernel left",
        "room in output queue 3 (partial), colour 3, full with",
        "held in routers (4, 1) (5, 1) (6, 1) (7, 1) on colour 3, all full",
        "before input queue 3 (partial) of core (7, 1)",
        "2. core (7, 1) kernel right",
        "room in output queue 3 (partial), colour 2, full with",
        "held in routers (7, 1) (6, 1) (5, 1) (4, 1) on colour 2, all full",
        "before input queue 3 (partial) of core (4, 1)",
        "the cycle is closed",
    )


def test_what_routers_and_queues_hold_closes_no_cycle() -> None:
    """An output queue, four routers and an input queue: as many words may cross. Those on a ramp have places in them.

    The right core goes on to its next words without being told, so it always ends inside its body.
    """
    target = crossing_image(1).target
    held = target.output_depth[3] + target.input_depth[3] + 4 * target.router_depth
    assert "closed" not in story(crossing_image(held), [1], [])
    assert "closed" in story(crossing_image(held + 1), [1], [])


def test_words_that_nobody_sends() -> None:
    told = story(chain_image(3, 4), [7], [10])
    assert ordered(
        told,
        "host port y lane 0: received 5 of 10 words",
        "tasks that wait inside their bodies: 1 (link0: 1)",
        "1. core (4, 1) kernel link0",
        "wants 3 more words",
        "input queue 2 (x), colour 0, empty",
        "host port x lane 0 would fill it, but the host has sent all its 7 words",
    )
    assert "closed" not in told


def test_a_queue_without_a_route() -> None:
    image = core_image([*take(2, 1), Mov(Mem(32, F32), In(3, 1)), *give(2, Mem(16, F32))], 1, 1)
    image.cores["inq"][0, 3] = 5
    told = story(image, [2], [2])
    assert ordered(told, "words in input queue 3 (partial), colour 5, empty", "no route leads there")


def test_words_that_nobody_takes() -> None:
    told = story(fifo_image(4, 2), [30], [5])
    assert ordered(
        told, "task t1", "room in output queue 2", "before host port y lane 0: the host has the 5 words it wants"
    )
    told = story(chain_image(3, 4), [10], [5])
    assert ordered(told, "words are left in router (6, 1)", "before host port y lane 0")


def test_a_multicast_that_one_reader_holds_up() -> None:
    """The west column hears its lane only as fast as the east column, which waits for the other lane."""
    told = story(matvec_image(np.ones((40, 4), np.float32)), [60, 20], [3, 3])
    assert ordered(told, "matvec", "host port x lane 1 would fill it, but the host has sent all its 20 words")


SHAPE = Shape(
    layers=1, heads=1, head_dim=64, hidden=64, vocab=20, positions=8, activation="relu", tied=True
)  # on 40 cores: one lane, so that wires alone do not hold a token


@pytest.fixture(scope="module")
def residual_image() -> Image:
    module, resources = random_gpt(SHAPE, 1)
    target = lower(module, resources, Options(target="mini-32x32", max_cores=40, deterministic_limit=0.5))
    return build(module, resources, target, {})


def with_fifo(image: Image, words: int) -> Image:
    """The image with the FIFOs of its `fifo` kernels cut to so many words."""
    programs = [
        dataclasses.replace(p, fifos=tuple(dataclasses.replace(f, words=words) for f in p.fifos))
        if p.name.startswith("fifo.")
        else p
        for p in image.programs
    ]
    return dataclasses.replace(image, programs=programs)


def test_a_residual_fifo_that_is_too_small(residual_image: Image) -> None:
    """The story leads from the fork by the FIFO and the join back to the branch that the join waits for."""
    ids = np.arange(4)[None]
    wanted = load(residual_image).run(ids=ids)["logits"]

    def runs(words: int) -> bool:
        try:
            got = load(with_fifo(residual_image, words), engine="cycle").run(ids=ids)["logits"]
        except DeadlockError:
            return False
        assert np.array_equal(got.view(np.int32), wanted.view(np.int32))
        return True

    low, high = 1, 65  # words: one token is a header and 64 features, of which wires hold some
    assert runs(high) and not runs(low)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if runs(middle) else (middle, high)
    with pytest.raises(DeadlockError) as caught:
        load(with_fifo(residual_image, low), engine="cycle").run(ids=ids)
    told = caught.value.message
    assert ordered(
        told,
        "a cycle of waits",
        "kernel fifo0 task fill",
        f"room in fifo 0 (ring), full with {low} words",
        "kernel fifo0 task drain",
        "room in output queue 2 (y)",
        "before input queue 3 (b) of core",
        "kernel join0 task main",
        "words in input queue 2 (a)",
        "kernel attention0",
        "kernel norm0",
        "the cycle is closed",
    )


def busy_image(work: list[Instr], second: bool) -> Image:
    """A core that works long on its one feature; `second`: with a second task, so that it cannot run ahead."""
    body = [*take(2, 1), *work, *give(2, Mem(16, F32))]
    if not second:
        return core_image(body, 1, 1)
    relay = [Mov(Fifo(0, 2, I32), In(2, 2, I32))]
    body = [Mov(Mem(0, I32), Fifo(0, 1, I32)), Mov(Mem(16, F32), Fifo(0, 1)), *work, *give(2, Mem(16, F32))]
    return core_image(relay, 1, 1, tasks=(body,), fifos=(FifoDef(512, 2),))


LONG: dict[str, list[Instr]] = {
    "a burst": [Map("exp", Mem(1024, F32, 700), Mem(1024, F32, 700))],
    "a loop": [Loop(Reg(0), 20000, (Alu("add", Reg(1), Reg(1), 1),))],
}


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("work", LONG)
def test_a_long_run_is_no_deadlock(work: str, second: bool) -> None:
    session = load(busy_image(LONG[work], second), engine="cycle")
    session.run(x=np.ones((1, 2, 1), np.float32))
    assert session.timing is not None and session.timing.cycles > 2 * 40000


def test_a_slow_host_is_no_deadlock() -> None:
    image = chain_image(2, 2)
    slow = dataclasses.replace(image.target, host_words_per_cycle=1 / 30000)
    session = load(dataclasses.replace(image, target=slow), engine="cycle")
    session.run(x=np.ones((1, 1, 2), np.float32))
    assert session.timing is not None and session.timing.cycles > 3 * 30000


def fault_of(image: Image, word: int = 0) -> Any:
    with pytest.raises(MachineFault) as caught:
        CycleMachine(image).feed([np.array([0, word], np.int32)], [2])
    return caught.value


@pytest.mark.parametrize("second", [False, True])
def test_a_fault_has_its_place_and_cycle(second: bool) -> None:
    """Every scalar instruction before it makes it a cycle later."""

    def fault(delay: int) -> Any:
        entry = Mem(0, F32, 1, 1, Reg(0), 4)
        wait = [Alu("add", Reg(1), Reg(1), 1)] * delay
        return fault_of(busy_image([Alu("add", Reg(0), 5000, 0), *wait, Mov(Mem(16, F32), entry)], second))

    def cycle(delay: int) -> int:
        found = re.search(r"cycle (\d+)", fault(delay).where)
        assert found
        return int(found[1])

    error = fault(0)
    assert (error.code, error.x, error.y) == ("memory-bounds", 4, 1)
    assert "kernel one" in error.where and "mov" in error.where
    assert [cycle(delay) - cycle(0) for delay in (1, 40)] == [1, 40]


def test_a_division_by_zero_is_a_fault() -> None:
    body = [Load(Reg(0), Mem(16, I32)), Alu("div", Reg(1), 5, Reg(0))]
    assert fault_of(busy_image(body, False)).code == "divide-by-zero"
    assert fault_of(busy_image(body, True)).code == "divide-by-zero"


def test_a_colour_from_two_directions_is_a_fault() -> None:
    """Two cores send on one colour to a third, where both ways meet: refused before the first cycle, with the place."""
    wafer = Wafer()
    row = wafer.block("row", 0, 0, 1, 3)
    send = wafer.program([Mov(Mem(0, I32), In(2, 1, I32)), Mov(Out(3, 1, I32), Mem(0, I32))])
    join = wafer.program([Mov(Mem(0, I32), In(3, 1, I32)), Mov(Out(2, 1, I32), Mem(0, I32))])
    wafer.core(row, 0, 0, send, {2: 0}, {3: 3})
    wafer.core(row, 0, 1, join, {3: 3}, {2: 4})
    wafer.core(row, 0, 2, send, {2: 1}, {3: 3})
    wafer.route(0, 0, 0, bit(WEST), bit(RAMP))
    wafer.route(2, 0, 1, bit(NORTH), bit(RAMP))
    wafer.route(0, 0, 3, bit(RAMP), bit(EAST))
    wafer.route(2, 0, 3, bit(RAMP), bit(WEST))
    wafer.route(1, 0, 3, bit(WEST) | bit(EAST), bit(RAMP))
    wafer.route(1, 0, 4, bit(RAMP), bit(NORTH))
    wafer.port("x", "in", [(0, 0, WEST, 0), (2, 0, NORTH, 1)], 2)
    wafer.port("y", "out", [(1, 0, NORTH, 4)], 1)
    with pytest.raises(MachineFault) as caught:
        CycleMachine(wafer.image())
    assert (caught.value.code, caught.value.x, caught.value.y, caught.value.colour) == ("route-two-sources", 5, 1, 3)
