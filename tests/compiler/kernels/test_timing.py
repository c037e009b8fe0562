"""Closed forms against the cycle machine: every kernel alone, its interval and latency, over a sweep of shapes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from harness import TARGET, Bench, numbers

from compiler.dialects import flow
from compiler.ir.core import Op
from runtime.cycle.machine import CycleMachine
from runtime.cycle.state import T_ENDS, T_FIRST_END, T_FIRST_WORD, T_LAST_END
from runtime.session import Session
from runtime.state import T_CORE
from runtime.stream import Blocks

TOKENS, MAX_SEQ = 8, 128  # the caches of the last tokens are about full
# A kernel under test, given its bench: its result and the features of its input x.
Make = Callable[[Bench, np.random.Generator], tuple[Op, int]]
# A host that is never in the way.
FAST = dataclasses.replace(TARGET, host_words_per_cycle=1.0)


@dataclasses.dataclass(frozen=True)
class Timing:
    """Predicted and measured cycles of a kernel."""

    interval: tuple[int, float]
    latency: tuple[int, float]


def measure(make: Make) -> Timing:
    """The kernel `k1` at the end of a sequence of MAX_SEQ tokens: TOKENS in a row, then a lone one.

    No interval is predicted shorter than the words of a token on the hottest of the links that lead to the kernel. The
    task that ends its first token last tells the interval: those before it run ahead while queues take their words.
    """
    bench = Bench(max_seq=MAX_SEQ)
    result, features = make(bench, np.random.default_rng(3))
    image = bench.image(result)
    image.target = FAST
    session = Session(image, engine="cycle")
    x = numbers(np.random.default_rng(4), 1, MAX_SEQ, features)
    inputs = [port.name for port in image.ports if port.direction == "in"]
    machine, number = session.machine, next(i for i, block in enumerate(image.blocks) if block.name == "k1")
    assert isinstance(machine, CycleMachine)
    session.run(**dict.fromkeys(inputs, x[:, : -TOKENS - 1]))
    task = machine.state.task
    own = np.flatnonzero(np.isin(task[:, T_CORE], np.flatnonzero(machine.loaded.block == number)))

    def append(first: int, count: int) -> np.ndarray[Any, Any]:
        task[:, [T_ENDS, T_FIRST_WORD]] = 0, -1
        session.append(**dict.fromkeys(inputs, x[:, first : first + count]))
        ended = task[own]
        return ended[ended[:, T_ENDS] > 0]

    row = append(MAX_SEQ - TOKENS - 1, TOKENS)
    slowest = row[np.argmax(row[:, T_FIRST_END])]
    interval = float(slowest[T_LAST_END] - slowest[T_FIRST_END]) / (TOKENS - 1)
    assert session.timing is not None
    link = int(session.timing.links.max()) // TOKENS
    lone = append(MAX_SEQ - 1, 1)
    begun = lone[:, T_FIRST_WORD]
    latency = float(lone[:, T_FIRST_END].max() - begun[begun >= 0].min())
    predicted = bench.predicted["k1"]
    return Timing((max(predicted[0], link), interval), (predicted[1], latency))


def matvec(k: int, n: int, lanes_in: int, lanes_out: int, storage: str = "f32", **attrs: Any) -> Make:
    def make(bench: Bench, rng: np.random.Generator) -> tuple[Op, int]:
        y = bench.kernel(
            flow.matvec_def, bench.stream("x", k, lanes_in), features=n, block=Blocks.over(n, lanes_out).block,
            weights=(bench.weight(numbers(rng, k, n)),), transposed=(False,), columns=(n,), biases=("",), starts=(0,),
            counts=(n,), storage=storage, **attrs,
        )  # fmt: skip
        return y, k

    return make


def attention(heads: int, d: int, spread: int, storage: str = "f32") -> Make:
    def make(bench: Bench, rng: np.random.Generator) -> tuple[Op, int]:
        y = bench.kernel(
            flow.attention_def, bench.stream("x", 3 * heads * d, heads), features=heads * d, block=d, heads=heads,
            head_dim=d, scale=0.37, max_seq=MAX_SEQ, slots=1, spread=spread, storage=storage,
        )  # fmt: skip
        return y, 3 * heads * d

    return make


def norm(n: int, lanes: int) -> Make:
    def make(bench: Bench, rng: np.random.Generator) -> tuple[Op, int]:
        y = bench.kernel(
            flow.norm_def, bench.stream("x", n, lanes), features=n, block=Blocks.over(n, lanes).block,
            scale=bench.weight(numbers(rng, n)), bias=bench.weight(numbers(rng, n)), epsilon=1e-5, tokens=12,
        )  # fmt: skip
        return y, n

    return make


def pointwise(definition: Any, n: int, lanes: int, **attrs: Any) -> Make:
    def make(bench: Bench, rng: np.random.Generator) -> tuple[Op, int]:
        block = Blocks.over(n, lanes).block
        y = bench.kernel(definition, bench.stream("x", n, lanes), features=n, block=block, **attrs)
        return y, n

    return make


def relane(n: int, fine: int, ratio: int, merge: bool) -> Make:
    def make(bench: Bench, rng: np.random.Generator) -> tuple[Op, int]:
        block = Blocks.over(n, fine).block
        lanes, after = (fine, block * ratio) if merge else (fine // ratio, block)
        source = bench.stream("x", n, lanes)
        return bench.kernel(flow.relane_def, source, features=n, block=after, ratio=ratio, merge=merge), n

    return make


def join(n: int, lanes: int) -> Make:
    def make(bench: Bench, rng: np.random.Generator) -> tuple[Op, int]:
        a, b = (bench.stream(name, n, lanes) for name in "ab")
        return bench.kernel(flow.join_def, a, b, features=n, block=Blocks.over(n, lanes).block, fn="add"), n

    return make


SWEEP: dict[str, Make] = {
    "matvec-small": matvec(24, 24, 3, 3),
    "matvec-wide": matvec(16, 256, 2, 4),
    "matvec-deep": matvec(256, 16, 8, 2),
    "matvec-square": matvec(128, 128, 8, 8),
    "matvec-fp16": matvec(128, 128, 4, 4, "f16"),
    "matvec-diagonal": matvec(96, 96, 6, 6, tiles=9, entry="diagonal"),
    "matvec-finishers": matvec(32, 64, 2, 4, activation="gelu_erf", finishers=3),
    "matvec-gelu": matvec(32, 64, 2, 4, activation="gelu_erf"),
    "attention-short": attention(2, 8, 3),
    "attention-long": attention(2, 16, 8),
    "attention-wide": attention(1, 64, 4, "f16"),
    "attention-one": attention(2, 16, 1),
    "attention-many": attention(1, 32, 24, "f16"),
    "norm-line": norm(96, 8),
    "norm-long": norm(64, 16),
    "norm-one": norm(64, 1),
    "map": pointwise(flow.map_def, 48, 4, fn="tanh"),
    "join": join(96, 4),
    "join-short": join(24, 4),
    "relane-merge": relane(24, 12, 4, True),
    "relane-merge-many": relane(24, 12, 12, True),
    "relane-merge-long": relane(96, 12, 12, True),
    "relane-split-many": relane(24, 12, 12, False),
    "relane-split": relane(96, 12, 4, False),
    "fifo": pointwise(flow.fifo_def, 48, 4, tokens=2),
}


@pytest.mark.parametrize("name", SWEEP)
def test_the_interval_is_the_machines(name: str) -> None:
    predicted, measured = measure(SWEEP[name]).interval
    assert predicted == pytest.approx(measured, rel=0.1)


@pytest.mark.parametrize("name", SWEEP)
def test_the_latency_is_the_machines(name: str) -> None:
    predicted, measured = measure(SWEEP[name]).latency
    assert predicted == pytest.approx(measured, rel=0.1)


if __name__ == "__main__":
    for name, make in SWEEP.items():
        found = measure(make)
        ratios = [f"{a:6d} {b:8.1f} {a / b:5.2f}" for a, b in (found.interval, found.latency)]
        print(f"{name:18} {ratios[0]}   {ratios[1]}")
