"""The trace of a window: what it says is what happened, and no more than was asked for."""

from __future__ import annotations

import dataclasses
import itertools
import json
from typing import Any

import numpy as np
import pytest
from builders import F32, chain_image, core_image, deadlock_image, give, take

from runtime.cycle import trace
from runtime.cycle.machine import CycleMachine
from runtime.cycle.state import K_SPENT, REASONS
from runtime.cycle.trace import Window
from runtime.errors import DeadlockError, InputError
from runtime.image import Image
from runtime.isa import Map, Mem
from runtime.session import Session, load

EVER = 1 << 60


def traced(image: Image, window: Window, tokens: int = 3) -> tuple[Session, dict[str, Any]]:
    session = load(image, engine="cycle")
    assert isinstance(session.machine, CycleMachine)
    trace.begin(session.machine, window)
    session.run(x=np.arange(tokens * 4, dtype=np.float32).reshape(1, tokens, 4))
    return session, json.loads(json.dumps(trace.chrome(session.machine, window)))


def spans(data: dict[str, Any]) -> list[dict[str, Any]]:
    return [event for event in data["traceEvents"] if event["ph"] == "X" and event["pid"] > 0]


def words(data: dict[str, Any]) -> list[dict[str, Any]]:
    return [event for event in data["traceEvents"] if event["ph"] == "X" and event["pid"] == 0]


def names(data: dict[str, Any], kind: str) -> dict[tuple[int, int], str]:
    found = [event for event in data["traceEvents"] if event["ph"] == "M" and event["name"] == kind]
    return {(event["pid"], event["tid"]): event["args"]["name"] for event in found}


@pytest.fixture
def image() -> Image:
    """Three cores in a row; each adds its number to the tokens of four features that it passes on."""
    image = chain_image(3, 4)
    return dataclasses.replace(image, target=dataclasses.replace(image.target, host_words_per_cycle=1.0))


def test_spans_add_up_to_the_time_by_reason(image: Image) -> None:
    """And those of a core do not overlap."""
    session, data = traced(image, Window(0, EVER))
    assert isinstance(session.machine, CycleMachine)
    for unit in range(3):
        own = [span for span in spans(data) if span["tid"] == unit]
        spent = session.machine.clock.core[unit, K_SPENT:]
        for number, reason in enumerate(REASONS[:-1]):
            assert sum(span["dur"] for span in own if span["cat"] == reason) == spent[number], reason
        own.sort(key=lambda span: span["ts"])
        assert all(a["ts"] + a["dur"] <= b["ts"] for a, b in itertools.pairwise(own))
    assert data["otherData"]["events_left_out"] == data["otherData"]["cores_left_out"] == 0


def test_every_wavelet_is_there_with_its_word(image: Image) -> None:
    session, data = traced(image, Window(0, EVER))
    assert session.timing is not None
    assert len(words(data)) == session.timing.links.sum()
    lanes = names(data, "thread_name")
    east = [event for event in words(data) if lanes[0, event["tid"]] == "(4,1) E"]
    assert len(east) == 3 * 5 and {event["name"] for event in east} == {"colour 1"}
    east.sort(key=lambda event: event["ts"])
    sent = [int(event["args"]["word"], 16) for event in east]
    features = np.arange(12, dtype=np.float32).reshape(3, 4)  # the first core adds 0
    expected = np.concatenate([np.arange(3)[:, None], features.view(np.int32)], axis=1)
    assert sent == expected.reshape(-1).tolist()
    assert len({(event["tid"], event["ts"]) for event in words(data)}) == len(words(data))  # one a link and cycle


def test_spans_are_named_after_instructions_and_kernels(image: Image) -> None:
    """With a host so slow that the first core waits between two words."""
    slow = dataclasses.replace(image.target, host_words_per_cycle=0.05)
    _, data = traced(dataclasses.replace(image, target=slow), Window(0, EVER))
    assert sorted(name for (pid, _), name in names(data, "process_name").items() if pid) == ["link0", "link1", "link2"]
    found = {span["name"] for span in spans(data) if span["pid"] == 1}
    assert any(name.startswith("add f32") for name in found)
    assert any(name.startswith("no wavelet: mov") for name in found)
    assert all(span["args"]["task"] == "t0" for span in spans(data))


def test_a_window_has_its_cycles_and_cores_only(image: Image) -> None:
    _, whole = traced(image, Window(0, EVER))
    _, data = traced(image, Window(40, 80, (5, 1, 1, 1)))
    assert {span["pid"] for span in spans(data)} == {2}
    assert all(event["ts"] >= 40 and event["ts"] + event["dur"] <= 80 for event in spans(data) + words(data))
    lanes = names(data, "thread_name")
    assert {lanes[0, event["tid"]].split(" ")[0] for event in words(data)} == {"(5,1)"}
    inside = [e for e in words(whole) if 40 <= e["ts"] < 80 and names(whole, "thread_name")[0, e["tid"]][:5] == "(5,1)"]
    assert len(inside) == len(words(data)) > 0
    busy = sum(min(s["ts"] + s["dur"], 80) - max(s["ts"], 40) for s in spans(whole) if s["pid"] == 2 and overlaps(s))
    assert sum(span["dur"] for span in spans(data)) == busy
    assert data["otherData"]["cores_left_out"] == 2


def overlaps(span: dict[str, Any]) -> bool:
    return bool(span["ts"] < 80 and span["ts"] + span["dur"] > 40)


def test_a_full_log_says_what_it_left_out(image: Image) -> None:
    _, whole = traced(image, Window(0, EVER))
    session, data = traced(image, Window(0, EVER, events=20))
    other = data["otherData"]
    assert other["events"] == 20 and other["events_left_out"] > 20
    assert other["full_at_cycle"] < session.timing.cycles  # type: ignore[union-attr]
    assert f"{other['events_left_out']} events had no room" in trace.summary(data)
    assert "no room" not in trace.summary(whole)


def test_tracing_changes_nothing(image: Image) -> None:
    session, _ = traced(image, Window(10, 50, (4, 1, 2, 1), events=7))
    plain = load(image, engine="cycle")
    plain.run(x=np.arange(12, dtype=np.float32).reshape(1, 3, 4))
    assert session.timing is not None and plain.timing is not None
    assert session.timing.tokens.tolist() == plain.timing.tokens.tolist()
    assert np.array_equal(session.timing.spent, plain.timing.spent)


def test_a_rectangle_without_cores_is_refused(image: Image) -> None:
    with pytest.raises(InputError, match="no core of the image"):
        trace.begin(CycleMachine(image), Window(0, 10, (20, 20, 2, 2)))


def test_a_deadlock_can_be_traced() -> None:
    """The last span of each core is what it waits for when nothing moves any more."""
    machine = CycleMachine(deadlock_image())
    window = Window(0, EVER)
    trace.begin(machine, window)
    with pytest.raises(DeadlockError):
        machine.feed([np.zeros(3, np.int32)], [])
    data = trace.chrome(machine, window)
    last = max((span for span in spans(data) if span["tid"] == 0), key=lambda span: span["ts"])
    assert last["name"].startswith("no wavelet: mov") and last["ts"] + last["dur"] == machine.cycle + 1


def far_image() -> Image:
    """A core that is busy for longer than timers reach."""
    roots = Map("exp", Mem(64, F32, 100), Mem(64, F32, 100))
    return core_image([*take(2, 4), roots, *give(2, Mem(16, F32, 4))], 4, 4)


@pytest.mark.parametrize("image", [chain_image(3, 4), far_image()], ids=["chain", "far"])
def test_viewers_take_it(image: Image) -> None:
    """What Chrome's trace event format asks of every event, and what Perfetto drops silently: slices of a thread that
    overlap without one being inside the other, and threads without a process name."""
    _, data = traced(image, Window(0, EVER))
    assert data["displayTimeUnit"] in ("ms", "ns") and isinstance(data["traceEvents"], list)
    named, used, ends = set(), set(), {}
    for event in data["traceEvents"]:
        assert isinstance(event["name"], str) and event["name"] and isinstance(event["args"], dict)
        assert all(isinstance(event[key], int) for key in ("pid", "tid"))
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "thread_name") and isinstance(event["args"]["name"], str)
            named.add((event["name"], event["pid"], event["tid"] if event["name"] == "thread_name" else 0))
            continue
        assert event["ph"] == "X" and isinstance(event["cat"], str)
        assert all(isinstance(event[key], int) and event[key] >= 0 for key in ("ts", "dur"))
        used.add((event["pid"], event["tid"]))
    for event in sorted(spans(data) + words(data), key=lambda event: event["ts"]):
        place = event["pid"], event["tid"]
        assert event["ts"] >= ends.get(place, 0)
        ends[place] = event["ts"] + event["dur"]
    assert named == {("thread_name", *place) for place in used} | {("process_name", pid, 0) for pid, _ in used}
