"""Listening changes nothing of what runs, hears every word, and is bounded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wsec
from runtime import tap as taps
from runtime.errors import InputError
from runtime.image import Image
from runtime.isa import In, Out
from runtime.loader import load
from runtime.machine import Machine
from runtime.session import Session
from runtime.tap import Source, Tap, sources_of

Array = np.ndarray[Any, Any]
IDS = np.array([[5, 66, 0, 17, 33, 2], [60, 1, 1, 30, 8, 12]])


def ends(image: Image, kind: str) -> list[Source]:
    """The output lanes of the first kernel of a kind: cores that send a header and their block on queue 2."""
    block = next(block for block in image.blocks if block.kind == kind)
    found = []
    for core in range(block.first, block.first + block.rows * block.cols):
        program = image.programs[image.cores["program"][core]]
        words = [i.dst.extent for t in program.tasks for i in t.body if isinstance(getattr(i, "dst", 0), Out)]
        if image.cores["outq"][core, 2] >= 0 and set(dict(program.output_names)) == {2}:
            found.append(Source(core, 2, sum(words)))
    return found


@pytest.mark.parametrize("threads", [1, 2])
def test_bits_are_the_same_with_and_without(gpt_image: Image, threads: int) -> None:
    heard: list[list[Array]] = []
    tap = Tap(ends(gpt_image, "join"), lambda _headers, words: heard.append([w.copy() for w in words]))
    session = Session(gpt_image, threads, tap=tap)
    got = session.run(input_ids=IDS)["logits"]
    assert np.array_equal(got.view(np.int32), wsec.load(gpt_image).run(input_ids=IDS)["logits"].view(np.int32))
    assert heard
    assert any(word.any() for word in heard[0])
    plain = Machine(gpt_image, threads)
    assert session.machine is not None
    assert len(plain.loaded.state.tap) == 0


def test_every_word_is_heard_in_order_however_it_is_fed(gpt_image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    def heard(words: int) -> tuple[Array, Array, int]:
        monkeypatch.setattr(taps, "WORDS", words)
        headers: list[Array] = []
        found: list[Array] = []

        def listen(tokens: Array, lanes: list[Array]) -> None:
            headers.append(tokens.copy())
            found.append(np.concatenate(lanes, axis=1))

        sources = ends(gpt_image, "fifo")
        Session(gpt_image, tap=Tap(sources, listen)).run(input_ids=IDS)
        return np.concatenate(headers), np.concatenate(found), len(headers)

    headers, whole, feeds = heard(1 << 20)
    assert feeds == 1
    assert np.array_equal(whole[:, 0], headers)
    per_token = whole.shape[1]
    again, pieces, feeds = heard(5 * per_token)
    assert feeds == 3  # of twelve tokens, five at a time
    assert np.array_equal(again, headers)
    assert np.array_equal(pieces, whole)
    with pytest.raises(InputError, match="tap-too-large"):
        heard(per_token - 1)


def test_a_wrong_number_of_words_is_told(gpt_image: Image) -> None:
    good = ends(gpt_image, "join")[0]
    tap = Tap([Source(good.core, good.queue, good.words + 1)], lambda *_: None)
    with pytest.raises(InputError, match="tap-words"):
        Session(gpt_image, tap=tap).run(input_ids=IDS)


def test_a_queue_without_colour_is_refused(gpt_image: Image) -> None:
    core = int(np.argmax(gpt_image.cores["outq"][:, 5] < 0))
    with pytest.raises(InputError, match="tap-unbound"):
        Session(gpt_image, tap=Tap([Source(core, 5, 1)], lambda *_: None))


def test_what_fills_a_queue_is_what_the_routes_say(gpt_image: Image) -> None:
    """Every input queue that a program reads is filled, by the host or by a bound queue of a core."""
    loaded = load(gpt_image, 1)
    units, queues = sources_of(loaded)
    readers = np.argwhere(gpt_image.cores["inq"] >= 0)
    for ring, (core, queue) in enumerate(readers):
        program = gpt_image.programs[gpt_image.cores["program"][core]]
        if not any(
            isinstance(o, In) and o.queue == queue for t in program.tasks for i in t.body for o in vars(i).values()
        ):
            continue
        assert units[ring] >= 0
        if units[ring] < loaded.cores:
            assert gpt_image.cores["outq"][units[ring], queues[ring]] >= 0
