"""Any number of threads: the same bits, cycles, counters, stories and traces."""

from __future__ import annotations

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from builders import F32, chain_image, crossing_image, fifo_image, matvec_image
from random_gpt import Shape, random_gpt

from compiler.driver import Options, build, lower
from runtime import target
from runtime.bench import plans
from runtime.bench.collectives import planned
from runtime.cycle import divide, engine, threads, trace
from runtime.cycle.divide import whole
from runtime.cycle.machine import CycleMachine
from runtime.cycle.state import (
    K_REASON,
    K_SINCE,
    K_SPENT,
    P_GHOSTS,
    REASONS,
    T_ENDS,
    T_FIRST_END,
    T_FIRST_WORD,
    T_LAST_END,
)
from runtime.errors import DeadlockError
from runtime.faults import MachineFault
from runtime.image import Image
from runtime.isa import Alu, Mem, Mov, Reg
from runtime.session import Session, load
from runtime.state import R_HEAD

TOLD = [K_SINCE, K_REASON, *range(K_SPENT, K_SPENT + len(REASONS))]  # columns of a core that are results


@pytest.fixture(params=[1, 2, 4], autouse=True)
def _small_squares(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Divide the smallest fabric, too, into squares of so many routers a side."""
    monkeypatch.setattr(divide, "SIDES", (request.param,))
    monkeypatch.setattr(divide, "LEAST_CORES", 1)


def numbers(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def seen(session: Session, outputs: dict[str, Any]) -> list[Any]:
    """All that a run shows, as bytes."""
    machine, timing = session.machine, session.timing
    assert isinstance(machine, CycleMachine) and timing is not None
    tasks = machine.state.task[:, [T_ENDS, T_FIRST_WORD, T_FIRST_END, T_LAST_END]]
    arrays = [*outputs.values(), timing.tokens, timing.spent, timing.links, machine.state.ring[:, R_HEAD:], tasks]
    stats = session.stats
    return [timing.cycles, stats.words, stats.macs, stats.instructions, *(array.tobytes() for array in arrays)]


def parts(session: Session) -> int:
    assert isinstance(session.machine, CycleMachine)
    return len(session.machine.clock.now)


def hops(image: Image, cycles: int) -> Image:
    return dataclasses.replace(image, target=dataclasses.replace(image.target, hop_cycles=cycles))


IMAGES = {
    "chain": (chain_image(12, 8), 8),
    "matvec": (matvec_image(numbers(1, 6, 4)), 6),
    "fifo": (fifo_image(5, 3), 5),
    "slow hops": (hops(chain_image(12, 8), 3), 8),
}


@pytest.mark.parametrize("name", IMAGES)
def test_small_images(name: str) -> None:
    image, features = IMAGES[name]
    sessions = [load(image, count, engine="cycle") for count in (1, 2, 3)]
    for tokens in (4, 1):
        x = numbers(2, 2, tokens, features)
        one, two, three = (seen(session, session.run(x=x)) for session in sessions)
        assert one == two == three
    assert parts(sessions[0]) == 1
    if name == "chain" and divide.SIDES[0] < 4:
        assert [parts(session) for session in sessions] == [1, 2, 3]


def test_a_gpt_with_its_caches(gpt_image: Image) -> None:
    one, two = (load(gpt_image, count, engine="cycle") for count in (1, 2))
    assert (parts(one), parts(two)) == (1, 2)
    ids = np.random.default_rng(5).integers(0, 67, (2, 9))
    for call, some in (("run", ids[:, :5]), ("append", ids[:, 5:6]), ("append", ids[:, 6:])):
        expected, got = (seen(session, getattr(session, call)(input_ids=some)) for session in (one, two))
        assert expected == got


SHAPE = Shape(layers=1, heads=3, head_dim=10, hidden=50, vocab=31, positions=8, activation="gelu_erf", tied=False)


def test_a_random_model() -> None:
    module, resources = random_gpt(SHAPE, 7)
    machine = lower(module, resources, Options(target="mini-32x32", deterministic_limit=0.5))
    image = build(module, resources, machine, {})
    ids = np.arange(6)[None] % 31
    one, two = (load(image, count, engine="cycle") for count in (1, 2))
    assert seen(one, one.run(ids=ids)) == seen(two, two.run(ids=ids))
    assert parts(two) == 2


@pytest.mark.parametrize("plan", [plans.chain(40), plans.two_phase(40, 8), plans.x_then_y(6, 7)])
def test_dense_collectives(plan: plans.Plan) -> None:
    image = planned(plan, 60, target.load("cs2")).image()
    machines = [CycleMachine(image, count) for count in (1, 2)]
    assert len({machine.run_to_rest() for machine in machines}) == 1
    one, two = ([m.state.floats, m.clock.link, m.clock.core[:, TOLD]] for m in machines)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("words", [40, 14])
def test_a_deadlock_is_told_the_same(words: int) -> None:
    stories = []
    for count in (1, 2, 3):
        with pytest.raises(DeadlockError) as caught:
            CycleMachine(crossing_image(words), count).feed([np.zeros(1, np.int32)], [])
        stories.append(caught.value.message)
    assert stories[0] == stories[1] == stories[2]


def test_a_fault_is_told_the_same() -> None:
    """The fifth core of a chain goes wrong, after its token."""
    image = chain_image(6, 4)
    wrong = (Alu("add", Reg(0), 5000, 0), Mov(Mem(16, F32), Mem(0, F32, 1, 1, Reg(0), 4)))
    program = image.programs[4]
    task = dataclasses.replace(program.tasks[0], body=(*program.tasks[0].body, *wrong))
    image.programs[4] = dataclasses.replace(program, tasks=(task,))
    told = []
    for count in (1, 2):
        with pytest.raises(MachineFault) as caught:
            load(image, count, engine="cycle").run(x=numbers(1, 1, 2, 4))
        told.append(str(caught.value))
    assert caught.value.code == "memory-bounds" and "cycle" in told[0]
    assert told[0] == told[1]


def test_a_trace_is_the_same() -> None:
    """Also one that leaves out events."""
    traces = []
    for count in (1, 2):
        session, window = load(chain_image(8, 4), count, engine="cycle"), trace.Window(20, 200, events=50)
        session.run(x=numbers(3, 1, 1, 4))
        assert isinstance(session.machine, CycleMachine)
        trace.begin(session.machine, window)
        session.append(x=numbers(4, 1, 2, 4))
        traces.append(json.dumps(trace.chrome(session.machine, window)))
    assert traces[0] == traces[1]


def test_dividing_anew_undoes_the_old_parts() -> None:
    image = chain_image(8, 4)
    plain, machine = CycleMachine(image, 1), CycleMachine(image, 2)
    machine.divide(3)
    node, fan = whole(machine.clock)
    assert np.array_equal(node, plain.clock.node) and np.array_equal(fan, plain.clock.fan)
    machine.divide(1)
    assert len(machine.clock.node) == machine.clock.now[0, P_GHOSTS] == len(plain.clock.node)
    session = load(image, 1, engine="cycle")
    expected = seen(session, session.run(x=numbers(3, 1, 3, 4)))
    session = load(image, 3, engine="cycle")
    session.machine = machine
    assert seen(session, session.run(x=numbers(3, 1, 3, 4))) == expected


def test_both_ways_of_running_parts_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each for a few cycles by turns, and with the same results."""
    for name, cycles in (("CYCLES", 16), ("TRIAL", 4), ("KEPT", 2)):
        monkeypatch.setattr(threads, name, cycles)
    ways = []
    run = engine.run
    monkeypatch.setattr(
        engine, "run", lambda s, w, first, last, n: ways.append(last - first) or run(s, w, first, last, n)
    )
    session = load(chain_image(12, 4), 2, engine="cycle")
    found = seen(session, session.run(x=numbers(3, 1, 3, 4)))
    monkeypatch.undo()
    plain = load(chain_image(12, 4), 1, engine="cycle")
    assert found == seen(plain, plain.run(x=numbers(3, 1, 3, 4)))
    if parts(session) == 2:
        assert {1, 2} == set(ways)


def test_a_thread_that_fails_stops_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    run = engine.run

    def failing(state: Any, clock: Any, first: int, last: int, cycles: int) -> int:
        if first == 1:
            raise MemoryError
        return int(run(state, clock, first, last, cycles))

    monkeypatch.setattr(engine, "run", failing)
    machine = CycleMachine(crossing_image(2), 2)
    if len(machine.clock.now) == 2:
        with pytest.raises(MemoryError):
            machine.feed([np.zeros(1, np.int32)], [])


def test_a_thread_that_cannot_start_stops_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    submit = ThreadPoolExecutor.submit

    def refused(pool: ThreadPoolExecutor, run: Any, state: Any, clock: Any, part: int, cycles: int) -> Any:
        if part == 2:
            raise RuntimeError("can't start new thread")
        return submit(pool, run, state, clock, part, cycles)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", refused)
    machine = CycleMachine(chain_image(12, 8), 3)
    if len(machine.clock.now) == 3:
        with pytest.raises(RuntimeError):
            machine.feed([np.zeros(9, np.int32)], [9])
