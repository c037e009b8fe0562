"""The functional machine on hand-made images: numbers, faults, deadlocks, thread counts."""

from __future__ import annotations

import dataclasses
from typing import Any

import builders
import numpy as np
import pytest
from builders import F16, F32, HEADER, I32, core_image, give, take

from runtime.errors import DeadlockError, IllegalImageError
from runtime.faults import MachineFault
from runtime.geometry import EAST, NORTH, RAMP, WEST, bit
from runtime.image import ROUTE, Image
from runtime.isa import Alu, Binary, Const, Fifo, FifoDef, Fmac, If, In, Load, Loop, Map, Mem, Mov, Out, Reduce, Reg
from runtime.machine import Machine
from runtime.session import Session

Array = np.ndarray[Any, Any]
rng = np.random.default_rng(1)


def run(image: Image, x: Array, threads: int = 1) -> Array:
    """One sequence through an image with ports x and y."""
    return Session(image, threads).run(x=x)["y"]


def matvec_reference(x: Array, w: Array) -> Array:
    """Products rounded, sums in order, tile by tile; the lower tile's sum comes first."""
    tiles = [np.zeros((len(x), w.shape[1]), np.float32) for _ in range(2)]
    for k in range(w.shape[0]):
        tile = tiles[2 * k // w.shape[0]]
        tile += x[:, k : k + 1].astype(np.float32) * w[k].astype(np.float32)
    return tiles[1] + tiles[0]


def test_matvec_is_bit_exact() -> None:
    w = rng.standard_normal((42, 70)).astype(np.float32)
    x = rng.standard_normal((5, 42)).astype(np.float32)
    assert np.array_equal(run(builders.matvec_image(w), x), matvec_reference(x, w))


def test_fp16_matvec_is_bit_exact() -> None:
    w = rng.standard_normal((42, 70)).astype(np.float32)
    x = rng.standard_normal((5, 42)).astype(np.float32)
    got = run(builders.matvec_image(w, F16), x)
    assert np.array_equal(got, matvec_reference(x.astype(np.float16), w.astype(np.float16)))


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_thread_count_does_not_change_bits(threads: int) -> None:
    x = rng.standard_normal((9, 33)).astype(np.float32)
    image = builders.chain_image(7, 33)
    want = x
    for i in range(7):
        want = want + np.float32(i)
    assert np.array_equal(run(image, x, 1), want)
    assert np.array_equal(run(image, x, threads), want)


def test_fifo_between_two_tasks() -> None:
    x = rng.standard_normal((9, 5)).astype(np.float32)
    assert np.array_equal(run(builders.fifo_image(5, 2), x), x)


X, Y, Z = Mem(16, F32, 6), Mem(64, F32, 6), Mem(128, F32, 6)
VECTORS: list[tuple[str, list[Any], Any]] = [
    ("sub", [Binary("sub", Y, X, Const(1.5))], lambda x: x - np.float32(1.5)),
    ("div", [Binary("div", Y, Const(1.0), X)], lambda x: np.float32(1) / x),
    ("max", [Binary("max", Y, X, Mem(16, F32))], lambda x: np.maximum(x, x[0])),
    ("min", [Binary("min", Y, X, Const(0.0))], lambda x: np.minimum(x, np.float32(0))),
    ("reverse", [Mov(Y, Mem(36, F32, 6, -1))], lambda x: x[::-1]),
    ("stride", [Mov(Y, Const(7.0)), Mov(Mem(64, F32, 3, 2), Mem(16, F32, 3, 2))], lambda x: np.where([1, 0] * 3, x, 7)),
    ("relu", [Map("relu", Y, X)], lambda x: np.maximum(x, np.float32(0))),
    ("rmax", [Mov(Y, Const(-9.0)), Reduce("rmax", Mem(64, F32), X)], lambda x: np.r_[x.max(), [-9] * 5]),
    (
        "rsum in order",
        [Mov(Y, Const(0.5)), Reduce("rsum", Mem(64, F32), X)],
        lambda x: np.r_[np.add.accumulate(np.r_[np.float32(0.5), x], dtype=np.float32)[-1], [0.5] * 5],
    ),
    ("fmac of vectors", [Mov(Y, Const(0.25)), Fmac(Y, X, X)], lambda x: np.float32(0.25) + x * x),
    ("fmac by a scalar", [Mov(Y, X), Fmac(Y, X, Mem(20, F32))], lambda x: x + x * x[1]),
    ("half", [Mov(Mem(128, F16, 6), X), Mov(Y, Mem(128, F16, 6))], lambda x: x.astype(np.float16).astype(np.float32)),
    # An element written is seen by later reads: a running sum.
    (
        "running sum",
        [Mov(Y, X), Binary("add", Mem(68, F32, 5), Mem(64, F32, 5), Mem(68, F32, 5))],
        lambda x: np.add.accumulate(x, dtype=np.float32),
    ),
    (
        "fmac whose scalar changes on the way",
        [Mov(Y, X), Fmac(Y, Mem(64, F32), X)],
        lambda x: np.r_[x[0] + x[0] * x[0], x[1:] + (x[0] + x[0] * x[0]) * x[1:]],
    ),
]


@pytest.mark.parametrize(("body", "want"), [v[1:] for v in VECTORS], ids=[v[0] for v in VECTORS])
def test_vector_instructions(body: list[Any], want: Any) -> None:
    x = rng.standard_normal((3, 6)).astype(np.float32)
    got = run(core_image([*take(2, 6), *body, *give(2, Y)], 6, 6), x)
    assert np.array_equal(got, np.array([want(row) for row in x], np.float32))


ALU_CASES = [
    ("add", 5, 7, 12),
    ("sub", 5, 7, -2),
    ("mul", -5, 7, -35),
    ("mul", 1 << 20, 1 << 12, 0),  # wraps to 32 bits
    ("div", -7, 2, -4),
    ("mod", -7, 4, 1),
    ("min", -7, 4, -7),
    ("max", -7, 4, 4),
    ("and", 12, 10, 8),
    ("shr", -8, 1, -4),
    ("eq", 3, 3, 1),
    ("lt", 3, 3, 0),
]


@pytest.mark.parametrize(("op", "a", "b", "want"), ALU_CASES)
def test_alu(op: str, a: int, b: int, want: int) -> None:
    """The result selects how often 1 is added to 100."""
    body = [
        *take(2, 1),
        Alu("add", Reg(1), a, 0),
        Alu(op, Reg(2), Reg(1), b),
        Alu("eq", Reg(3), Reg(2), want),
        Mov(Mem(16, F32), Const(0.0)),
        If(Reg(3), (Mov(Mem(16, F32), Const(1.0)),)),
        *give(2, Mem(16, F32)),
    ]
    assert run(core_image(body, 1, 1), np.zeros((1, 1), np.float32)).item() == 1.0


def test_counts_are_those_of_the_program() -> None:
    session = Session(builders.matvec_image(np.ones((8, 6), np.float32)))
    session.run(x=np.ones((3, 8), np.float32))
    assert session.stats.macs == 3 * 8 * 6
    assert session.stats.words == 3 * (6 + 6 + 2)  # partial sums south; y and its headers to the host
    assert session.stats.tokens == 3


# What is wrong in an image


def rerouted(image: Image, change: Any) -> Image:
    """The image with its list of routes changed in place."""
    routes = [list(route) for route in image.routes.tolist()]
    change(routes)
    return dataclasses.replace(image, routes=np.array([tuple(route) for route in routes], ROUTE))


def drop(number: int) -> Any:
    return lambda routes: routes.pop(number)


def patch(number: int, column: int, value: int) -> Any:
    def change(routes: list[list[int]]) -> None:
        routes[number][column] = value

    return change


COLOUR, INPUTS, OUTPUTS = 4, 5, 6
ROUTE_FAULTS = [
    ("dropped at the source", drop(2), "route-refused", (4, 1)),
    ("dropped on the way", drop(1), "route-refused", (5, 1)),
    ("dropped before the host", drop(5), "route-refused", (4, 3)),
    ("other colour", patch(3, COLOUR, 5), "route-refused", (4, 2)),
    ("other direction", patch(2, OUTPUTS, bit(NORTH)), "route-off-wafer", (4, 1)),
    ("to nowhere", patch(1, OUTPUTS, 0), "route-dead-end", (5, 1)),
    ("ramp without queue", patch(2, OUTPUTS, bit(RAMP)), "route-no-queue", (4, 1)),
    ("round trip", patch(1, OUTPUTS, bit(WEST)), "route-loop", (5, 1)),
    ("twice", lambda routes: routes.append([4, 1, 1, 1, 0, bit(WEST), bit(RAMP)]), "route-twice", (4, 1)),
    ("no such colour", patch(0, COLOUR, 21), "route-range", (4, 1)),
]


@pytest.mark.parametrize(("change", "code", "place"), [f[1:] for f in ROUTE_FAULTS], ids=[f[0] for f in ROUTE_FAULTS])
def test_wrong_routes_are_faults_with_their_place(change: Any, code: str, place: tuple[int, int]) -> None:
    image = rerouted(builders.matvec_image(np.ones((4, 4), np.float32)), change)
    with pytest.raises(MachineFault) as caught:
        Machine(image)
    assert caught.value.code == code
    assert (caught.value.x, caught.value.y) == place
    assert f"core ({place[0]}, {place[1]}) colour" in str(caught.value)


def test_two_sources_into_one_queue() -> None:
    image = builders.matvec_image(np.ones((4, 4), np.float32))
    cores = image.cores.copy()
    cores["outq"][0, 4] = 2  # a second output queue on the colour of the partial sums
    with pytest.raises(MachineFault, match="second source"):
        Machine(dataclasses.replace(image, cores=cores))


def test_used_queue_without_colour() -> None:
    image = builders.matvec_image(np.ones((4, 4), np.float32))
    cores = image.cores.copy()
    cores["outq"][1, 3] = -1
    with pytest.raises(MachineFault, match="no colour") as caught:
        Machine(dataclasses.replace(image, cores=cores))
    assert (caught.value.x, caught.value.y) == (5, 1)


BAD_PROGRAMS = [
    ([Mov(Mem(2, F32), In(2, 1))], "not aligned"),
    ([Mov(Mem(0, F32, 2), In(2, 3))], "extents differ"),
    ([Mov(Mem(0, I32), In(2, 1))], "i32 operands"),
    ([Mov(Mem(0, F32), Const(1.0))], "neither receives nor sends"),
    ([Binary("add", Y, In(2, 6), In(2, 6))], "twice in an instruction"),
    ([Loop(Reg(0), 3, (Alu("add", Reg(0), Reg(0), 1), Mov(X, In(2, 6))))], "writes its counter"),
    ([Reduce("rsum", Mem(0, F16), In(2, 6))], "one f32 word"),
]


@pytest.mark.parametrize(("body", "message"), BAD_PROGRAMS)
def test_programs_that_make_no_sense(body: list[Any], message: str) -> None:
    with pytest.raises(IllegalImageError, match=message) as caught:
        Machine(core_image(body, 1, 1))
    assert "program p0" in str(caught.value)


def test_two_tasks_on_one_queue() -> None:
    task = [Mov(Mem(0, F32), In(2, 1))]
    with pytest.raises(IllegalImageError, match="tasks t0 and t1 both use input queue 2"):
        Machine(core_image(task, 1, 1, tasks=(task,)))


INDEX: list[Any] = [*take(2, 1), Alu("add", Reg(0), 5000, 0)]
COUNT: list[Any] = [*take(2, 1), Alu("sub", Reg(0), 0, 1)]
RUN_FAULTS = [
    ([*take(2, 1), Mov(Mem(4092, F32, 2), Const(0.0))], "memory-bounds", 2),
    ([*take(2, 1), Mov(Mem(16, F32, 2, -5), Const(0.0))], "memory-bounds", 2),
    ([*INDEX, Mov(Mem(0, F32), Mem(0, F32, 1, 1, Reg(0), 4))], "memory-bounds", 3),
    ([*INDEX, Load(Reg(1), Mem(0, I32, 1, 1, Reg(0), 4))], "memory-bounds", 3),
    ([*INDEX, Fmac(Mem(0, F32, Reg(0)), Const(1.0), Mem(0, F32, Reg(0)))], "memory-bounds", 3),
    ([*COUNT, Mov(Mem(0, F32, Reg(0)), Const(0.0))], "extents-differ", 3),
    ([*COUNT, Fmac(Mem(0, F32, Reg(0)), Const(1.0), Mem(0, F32, Reg(0)))], "extents-differ", 3),
    ([*INDEX, Mov(Mem(0, F32, 3), Mem(0, F32, Reg(0)))], "extents-differ", 3),
    ([*COUNT, Alu("div", Reg(1), 4, Reg(0))], "divide-by-zero", 3),
    ([*COUNT, Alu("mod", Reg(1), 4, 0)], "divide-by-zero", 3),
]


@pytest.mark.parametrize(("body", "code", "row"), RUN_FAULTS)
def test_run_time_faults_tell_place_task_and_instruction(body: list[Any], code: str, row: int) -> None:
    with pytest.raises(MachineFault) as caught:
        run(core_image([*body, *give(2, Mem(16, F32))], 1, 1), np.zeros((1, 1), np.float32))
    assert caught.value.code == code
    assert (caught.value.x, caught.value.y) == (4, 1)
    assert f"kernel one, program p0, task t0, instruction {row} `" in str(caught.value)


def test_a_task_may_not_spin() -> None:
    body: list[Any] = [Alu("sub", Reg(0), 0, 1), Loop(Reg(1), Reg(0), (Mov(Mem(0, F32), In(2, 1)),))]
    with pytest.raises(MachineFault, match="without receiving or sending"):
        run(core_image(body, 1, 1), np.zeros((1, 1), np.float32))


# Waiting for ever


@pytest.mark.parametrize("threads", [1, 2])
def test_deadlock_names_core_queue_colour_and_instruction(threads: int) -> None:
    with pytest.raises(DeadlockError) as caught:
        Session(builders.deadlock_image(), threads).run(x=np.ones((1, 2), np.float32))
    text = str(caught.value)
    assert "tasks that wait for ever inside their bodies: 1; the host has all its words" in text
    waits = "`mov f32 data[16:18] = in.partial(2)` wants 2 more words"
    assert f"core (4, 1) kernel pair [/pair/op] task t0: {waits}" in text
    assert "waits for input queue 3 (partial), colour 2, filled by core (5, 1)" in text
    assert "(5, 1) kernel" not in text  # idle at the top of its body


def test_deadlock_on_a_full_queue() -> None:
    """The second core takes the header only, so the first cannot send the rest."""
    image = builders.chain_image(2, 9)
    body = (Mov(HEADER, In(2, 1, I32)), *give(2, Mem(16, F32, 9)), Mov(Mem(512, F32), In(3, 1)))
    task = dataclasses.replace(image.programs[1].tasks[0], body=body)
    starved = dataclasses.replace(image.programs[1], tasks=(task,))
    cores = image.cores.copy()
    cores["inq"][1, 3] = 9  # nothing is routed there
    image = dataclasses.replace(image, programs=[image.programs[0], starved], cores=cores)
    with pytest.raises(DeadlockError) as caught:
        run(image, np.ones((1, 9), np.float32))
    text = str(caught.value)
    assert "waits for output queue 2 (x), colour 1: the queue of core (5, 1) is full (4 words)" in text
    assert "filled by nothing: no route leads there" in text


def test_missing_words_are_told_per_host_lane() -> None:
    with pytest.raises(DeadlockError) as caught:
        run(core_image([*take(2, 2), *give(2, X), Mov(Mem(0, F32, 1), Const(0.0))], 2, 8), np.ones((2, 2), np.float32))
    assert "host port y lane 0: received 14 of 18 words" in str(caught.value)


def test_words_nobody_takes_are_an_error() -> None:
    with pytest.raises(DeadlockError, match="2 words left in lane"):
        run(core_image([*take(2, 2), *give(2, X)], 2, 4), np.ones((1, 2), np.float32))


def test_fifo_smaller_than_needed_blocks() -> None:
    """The second task takes a token only after it has seen the header of the next one, which has no room."""
    words = 3
    fill: list[Any] = [Mov(Fifo(0, words, I32), In(2, words, I32)), Mov(Fifo(1, 1, I32), Const(0.0))]
    with pytest.raises(IllegalImageError):
        Machine(core_image(fill, 2, 2, fifos=(FifoDef(64, words), FifoDef(80, 1))))
    body = [Mov(Fifo(0, 4, F32), Mem(0, F32, 4)), Mov(Out(2, 4), Mem(0, F32, 4)), Mov(Mem(0, F32, 3), In(2, 3))]
    drain = [Mov(Mem(256, F32, 12), Fifo(0, 12))]
    with pytest.raises(DeadlockError, match=r"task t1: `mov f32 data.* = fifo.0\(12\)` wants 4 more words"):
        run(core_image(body, 2, 3, tasks=(drain,), fifos=(FifoDef(64, 4),)), np.zeros((1, 2), np.float32))


def test_east_is_not_west() -> None:
    """Routes are followed as they stand: data arriving from the wrong side is refused."""
    image = builders.chain_image(2, 3)
    with pytest.raises(MachineFault) as caught:
        Machine(rerouted(image, patch(2, INPUTS, bit(EAST))))
    assert (caught.value.code, caught.value.direction) == ("route-refused", WEST)
