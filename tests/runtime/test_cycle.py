"""The cycle machine: the same bits as the functional one, and times that follow from the machine's description."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from builders import (
    F32,
    HEADER,
    X0,
    Y0,
    Wafer,
    chain_image,
    core_image,
    deadlock_image,
    fifo_image,
    give,
    history_image,
    matvec_image,
    take,
)

from runtime.cycle.machine import CycleMachine
from runtime.cycle.state import BUSY, CONFLICT, K_SPENT, T_ENDS
from runtime.errors import DeadlockError
from runtime.faults import MachineFault
from runtime.geometry import EAST, RAMP, WEST, bit
from runtime.image import Image
from runtime.isa import Alu, Binary, In, Instr, Loop, Mem, Mov, Out, Reg
from runtime.machine import Machine
from runtime.session import load
from runtime.stream import header


def numbers(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


IMAGES = {
    "chain": (chain_image(5, 8), 8),
    "matvec": (matvec_image(numbers(1, 6, 4)), 6),
    "fifo": (fifo_image(5, 3), 5),
    "history": (history_image(), 1),
}


@pytest.mark.parametrize("name", IMAGES)
def test_the_same_bits_as_the_functional_machine(name: str) -> None:
    image, features = IMAGES[name]
    x = numbers(2, 2, 4, features)
    functional, cycle = load(image), load(image, engine="cycle")
    for run in ("run", "append") if name != "history" else ("run",):
        expected, got = (getattr(session, run)(x=x) for session in (functional, cycle))
        assert all(np.array_equal(expected[k].view(np.int32), got[k].view(np.int32)) for k in expected)
        assert functional.stats.words >= 0 and cycle.stats.macs == functional.stats.macs


def test_the_same_bits_for_a_gpt_with_its_caches(gpt_image: Image) -> None:
    ids = np.random.default_rng(5).integers(0, 67, (2, 9))
    functional, cycle = load(gpt_image), load(gpt_image, engine="cycle")
    for call, part in (("run", ids[:, :5]), ("append", ids[:, 5:6]), ("append", ids[:, 6:])):
        expected, got = (getattr(session, call)(input_ids=part)["logits"] for session in (functional, cycle))
        assert np.array_equal(expected.view(np.int32), got.view(np.int32))


def run(image: Image, words: int, wanted: int) -> CycleMachine:
    machine = CycleMachine(image)
    machine.feed(
        [np.concatenate([[header(0, 0)], np.ones(words, np.float32).view(np.int32)]).astype(np.int32)], [wanted]
    )
    return machine


def fast_host(image: Image, **changes: Any) -> Image:
    target = dataclasses.replace(image.target, **({"host_words_per_cycle": 1.0} | changes))
    return dataclasses.replace(image, target=target)


def relay_image(length: int, words: int) -> Image:
    """Every core of a row hands on what it gets, word by word."""
    image = chain_image(length, words)
    body = (Mov(Out(2, words + 1), In(2, words + 1)),)
    image.programs[:] = [
        dataclasses.replace(p, tasks=(dataclasses.replace(p.tasks[0], body=body),)) for p in image.programs
    ]
    return image


def test_a_core_on_the_way_costs_two_ramps_a_hop_and_a_cycle() -> None:
    """Receive and send of a word: T = 2 * ramp + 2 a core (HPDC 2024 reduce paper)."""
    times = [int(run(fast_host(relay_image(n, 8)), 8, 9).clock.received[0]) for n in (4, 5, 6)]
    assert np.diff(times).tolist() == [6, 6]


def test_hops_and_ramps_are_the_targets() -> None:
    def first(**changes: int) -> int:
        return int(run(fast_host(relay_image(6, 4), **changes), 4, 5).clock.received[0])

    # What comes to the first core comes before its task starts.
    assert first(hop_cycles=2) - first() == 5
    assert first(ramp_cycles=5) - first() == (6 * 2 - 1) * 3


def test_a_stream_moves_one_word_a_cycle() -> None:
    machine = run(fast_host(relay_image(6, 30)), 30, 31)
    assert np.diff(machine.clock.received[:31]).tolist() == [1] * 30


def test_a_host_channel_has_its_bandwidth() -> None:
    machine = run(fast_host(relay_image(2, 30), host_words_per_cycle=0.25), 30, 31)
    assert np.diff(machine.clock.received[:31]).tolist() == [4] * 30


@pytest.mark.parametrize(("second", "per_element"), [(512 * 4, 2), (512 * 4 + 8, 1)])
def test_operands_on_the_same_banks_wait(second: int, per_element: int) -> None:
    """fp32 multiplication of 512 elements: two cycles each on the same banks, one with operands four words apart."""
    dst = Mem(12288, F32, 512)
    op = Binary("mul", dst, Mem(0 + 4096, F32, 512), Mem(4096 + second, F32, 512))
    image = core_image([*take(2, 1), op, Mov(Out(2, 1, HEADER.dtype), HEADER), Mov(Out(2, 1), Mem(16, F32))], 1, 1)
    program = image.programs[0]
    region = dataclasses.replace(program.regions[0], bytes=16384)
    image.programs[0] = dataclasses.replace(program, regions=(region,))
    machine = run(image, 1, 2)
    spent = machine.clock.core[0, K_SPENT:]
    assert spent[BUSY] + spent[CONFLICT] == 512 * per_element + 4


def test_a_deadlock_is_one() -> None:
    with pytest.raises(DeadlockError):
        CycleMachine(deadlock_image()).feed([np.zeros(3, np.int32)], [])


def test_work_is_counted_as_the_functional_machine_does() -> None:
    image, features = IMAGES["matvec"]
    sent = [np.zeros(1 + features // 2, np.int32)] * 2
    functional, cycle = Machine(image, 1), CycleMachine(image)
    functional.feed(sent, [3, 3])
    cycle.feed(sent, [3, 3])
    assert functional.counts == cycle.counts


def merging_image(late: int) -> Image:
    """Three cores in a row: the outer ones send a word each to the middle one on one colour, the right one later."""
    wafer = Wafer()
    block = wafer.block("row", 0, 0, 1, 3)
    word = Mem(16, F32)
    wait = [Alu("add", Reg(0), Reg(0), 1)] * late
    stop = Mov(word, In(3, 1))
    for c, body in enumerate(
        ([Mov(Out(2, 1), word), stop], [Mov(word, In(2, 1))], [*wait, Mov(Out(2, 1), word), stop])
    ):
        queues = ({2: 5}, {}) if c == 1 else ({3: 6}, {2: 5})
        wafer.core(block, 0, c, wafer.program(body), *queues)
    wafer.route(0, 0, 5, bit(RAMP), bit(EAST))
    wafer.route(1, 0, 5, bit(WEST) | bit(EAST), bit(RAMP))
    wafer.route(2, 0, 5, bit(RAMP), bit(WEST))
    return wafer.image()


def test_one_colour_from_two_sides_in_one_cycle_is_a_fault() -> None:
    with pytest.raises(MachineFault) as caught:
        CycleMachine(merging_image(0), merge=True).run_to_rest()
    assert (caught.value.code, caught.value.x, caught.value.y, caught.value.colour) == ("two-inputs", X0 + 1, Y0, 5)
    assert "cycle 15" in str(caught.value)


def test_one_colour_from_two_sides_in_turn_is_none() -> None:
    machine = CycleMachine(merging_image(1), merge=True)
    machine.run_to_rest()
    assert machine.state.task[1, T_ENDS] == 2
    for kind in (Machine, CycleMachine):  # unless it is asked for
        with pytest.raises(MachineFault, match="second source"):
            kind(merging_image(1))


LONG = 1 << 12
LOOPS = [Loop(Reg(0), LONG, (Loop(Reg(1), LONG, ()),))]
ELEMENTS: list[Instr] = [
    Alu("add", Reg(1), Reg(1), 4 * LONG * LONG),  # of one word, again and again
    Loop(Reg(0), 8, (Mov(Mem(32, F32, Reg(1), 0), Mem(36, F32, Reg(1), 0)),)),
]


@pytest.mark.parametrize("engine", ["functional", "cycle"])
@pytest.mark.parametrize("body", [LOOPS, ELEMENTS], ids=["loops", "elements"])
def test_a_long_program_lets_go_now_and_then(body: list[Instr], engine: str) -> None:
    """So that progress can be told, and an interrupt is heard: programs of strangers may be as good as endless."""
    image = core_image([*take(2, 1), *body, *give(2, Mem(16, F32))], 1, 1)
    told: list[int] = []
    session = load(image, engine=engine)
    got = session.run(x=np.full((1, 1, 1), 3, np.float32), progress=lambda received, wanted: told.append(received))
    assert got["y"] == 3
    assert len(told) >= 4
    if session.timing is not None:
        assert session.timing.cycles > LONG * LONG
