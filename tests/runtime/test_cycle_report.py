"""Where the cycles of a call went: what `session.timing` and the reports made of it say."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from builders import I32, chain_image, core_image, matvec_image

from runtime.cycle.measure import Timing
from runtime.cycle.report import by_core, report
from runtime.cycle.report_text import text
from runtime.image import Image
from runtime.isa import Alu, Fifo, FifoDef, In, Loop, Mem, Mov, Out, Reg
from runtime.session import Session, load


def fast_host(image: Image, words_per_cycle: float = 1.0) -> Image:
    target = dataclasses.replace(image.target, host_words_per_cycle=words_per_cycle)
    return dataclasses.replace(image, target=target)


def timed(image: Image, features: int, tokens: int) -> tuple[Session, Timing]:
    session = load(image, engine="cycle")
    session.run(x=np.ones((1, tokens, features), np.float32))
    assert session.timing is not None
    return session, session.timing


@pytest.fixture(scope="module")
def gpt_session(gpt_image: Image) -> Session:
    session = load(gpt_image, engine="cycle")
    session.run(input_ids=np.arange(12)[None])
    return session


def test_the_functional_machine_has_no_timing_and_a_session_can_change_engines() -> None:
    session = load(chain_image(2, 3))
    x = np.ones((1, 2, 3), np.float32)
    first = session.run(x=x)["y"]
    assert session.timing is None
    assert np.array_equal(session.run(x=x, engine="cycle")["y"], first)
    assert session.timing is not None
    session.append(x=x)
    assert len(session.timing.tokens) == 2
    session.run(x=x, engine="functional")
    assert session.timing is None


def test_tokens_are_complete_with_the_last_word_of_the_last_lane() -> None:
    """Two output lanes of three words and a header at a word every four cycles."""
    session, timing = timed(fast_host(matvec_image(np.ones((8, 6), np.float32)), 0.25), 8, 5)
    received = session.machine.clock.received[:-1].reshape(2, 5, 4)  # type: ignore[union-attr]
    assert timing.tokens.tolist() == received[:, :, -1].max(axis=0).tolist()
    assert timing.first_token == timing.tokens[0] and timing.tokens[0] < timing.tokens[1]
    assert timing.per_token == (timing.tokens[4] - timing.tokens[2]) / 2
    assert timing.per_token is not None and timing.per_token >= 20  # an input lane brings five words a token
    assert timing.tokens_per_second == timing.clock_ghz * 1e9 / timing.per_token


def test_a_lone_token_has_no_steady_state() -> None:
    _, timing = timed(chain_image(3, 4), 4, 1)
    assert timing.per_token is None
    assert timing.tokens_per_second == timing.clock_ghz * 1e9 / int(timing.tokens[0])


def test_every_cycle_of_every_core_has_one_reason(gpt_session: Session) -> None:
    timing = gpt_session.timing
    assert timing is not None
    assert (timing.spent >= 0).all()
    assert (timing.spent.sum(axis=1) == timing.cycles).all()


def test_every_call_counts_from_its_own_start() -> None:
    """The second call does what the first did, without the start of the tasks."""
    session, first = timed(chain_image(3, 4), 4, 2)
    session.append(x=np.ones((1, 2, 4), np.float32))
    second = session.timing
    assert second is not None
    assert first.links.sum() == second.links.sum() > 0
    assert (second.spent.sum(axis=1) == second.cycles).all()
    assert second.tokens[0] <= first.tokens[0]
    assert second.kernels[1].latency == first.kernels[1].latency


def test_links_carry_what_the_image_sends() -> None:
    """A chain east: five words and a header over the link between each two cores, up and down each ramp."""
    _, timing = timed(chain_image(3, 5), 5, 4)
    north, east, south, west, up, down = timing.links[:, 0, :4].tolist()
    words = 4 * 6
    assert east == [words, words, 0, 0]
    assert up == down == [words, words, words, 0]
    assert north == [0, 0, words, 0] and not any(south) and not any(west)
    assert timing.links.sum() == 9 * words


def test_the_interval_of_a_pipeline_is_that_of_its_bottleneck() -> None:
    """Cores that add to a token of 64 words: each takes it, works on it and gives it, one word a cycle at least."""
    _, timing = timed(fast_host(chain_image(3, 64)), 64, 8)
    for kernel in timing.kernels:
        assert kernel.interval is not None and kernel.work is not None and timing.per_token is not None
        assert kernel.interval == pytest.approx(timing.per_token, abs=1)
        assert 2 * 64 <= kernel.work <= kernel.interval + 2  # the tasks' start is work, too
        assert kernel.latency is not None and kernel.latency >= 2 * 64


@pytest.mark.parametrize("rounds", [1, 100])
def test_queues_tell_how_full_they_were(rounds: int) -> None:
    """What reads the FIFO works on each token: so long that all fills up before it, or hardly."""
    token = Mem(0, I32, 5)
    work = Loop(Reg(0), rounds, (Alu("add", Reg(1), Reg(1), 1),))
    drain = [Mov(token, Fifo(0, 5, I32)), work, Mov(Out(2, 5, I32), token)]
    fill = [Mov(Fifo(0, 5, I32), In(2, 5, I32))]
    image = core_image(fill, 4, 4, tasks=(drain,), fifos=(FifoDef(64, 15),))
    _, timing = timed(fast_host(image, 0.1), 4, 16)
    marks = {(mark.kind, mark.number): mark for mark in timing.kernels[0].queues}
    assert (marks["fifo", 0].depth, marks["fifo", 0].cores) == (15, 1)
    for mark in (marks["fifo", 0], marks["input", 2]):
        assert (mark.high == mark.depth) == (mark.full == 1) == (rounds == 100)
    assert marks["output", 2].high <= 3  # nothing holds up the host


def test_the_report_is_plain_json_and_consistent(gpt_session: Session) -> None:
    timing = gpt_session.timing
    assert timing is not None
    data = json.loads(json.dumps(report(gpt_session.image, timing, top=3), allow_nan=False))
    assert data["schema"] == 1 and data["tokens"] == len(data["token_cycles"]) == 12
    assert sum(data["spent"].values()) == data["cycles"] * len(gpt_session.image.cores)
    assert data["links"]["words"] == sum(entry["words"] for entry in data["links"]["by_direction"].values())
    assert len(data["links"]["hottest"]) == 3
    assert all(0 < link["share_of_cycles"] <= 1 for link in data["links"]["hottest"])
    for kernel in data["kernels"]:
        assert kernel["predicted_interval_cycles"] > 0 and kernel["predicted_latency_cycles"] > 0
        assert 0 < kernel["work_cycles"] <= data["cycles"]
        for queue in kernel["queues"]:
            assert 0 <= queue["high"] <= queue["depth"] and 0 <= queue["cores_full"] <= queue["cores"]
            assert (queue["cores_full"] > 0) == (queue["high"] == queue["depth"])
    cores = by_core(timing)
    assert [kernel["kernel"] for kernel in cores] == [kernel["kernel"] for kernel in data["kernels"]]
    for kernel, single in zip(data["kernels"], cores, strict=True):
        assert {reason: sum(spent) for reason, spent in single["spent"].items()} == kernel["spent"]


def test_the_channels_of_the_host_bound_the_pace() -> None:
    """A lane of 20 numbers and a header at a word in ten cycles: that is what a token takes."""
    session, timing = timed(fast_host(chain_image(2, 20), 0.1), 20, 6)
    lane = {"lanes": 1, "words_per_token": 21, "cycles_per_token": pytest.approx(210)}
    expected = [{"port": "x", "direction": "in", **lane}, {"port": "y", "direction": "out", **lane}]
    assert report(session.image, timing)["host"] == expected
    assert timing.per_token == pytest.approx(210, abs=1)


def test_the_text_has_every_part(gpt_session: Session) -> None:
    assert gpt_session.timing is not None
    shown = text(report(gpt_session.image, gpt_session.timing), 4)
    for word in (
        "first token",
        "steady state",
        "tokens/s",
        "no wavelet",
        "predicted",
        "busiest core",
        "FIFOs",
        "router",
    ):
        assert word in shown
    assert "... and" in shown


def test_the_same_call_takes_the_same_cycles(gpt_session: Session, gpt_image: Image) -> None:
    again = load(gpt_image, threads=1, engine="cycle")
    expected: Any = gpt_session.timing
    again.run(input_ids=np.arange(12)[None])
    assert again.timing is not None
    assert again.timing.tokens.tolist() == expected.tokens.tolist()
    assert np.array_equal(again.timing.spent, expected.spent) and np.array_equal(again.timing.links, expected.links)
