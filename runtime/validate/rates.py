"""Rules d and f: what is sent on a channel every reader takes, and no link carries more than the interval allows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from runtime.geometry import DIRECTION_NAMES, RAMP, bit
from runtime.image import Image
from runtime.isa import INPUT_QUEUES, OUTPUT_QUEUES
from runtime.tables import Array, core_positions
from runtime.validate.programs import Traffic
from runtime.validate.report import Report, at
from runtime.validate.routes import Channels, lanes


def check_usage(image: Image, traffic: Sequence[Traffic], report: Report) -> None:
    """Each core binds exactly the queues its program uses."""
    x, y = core_positions(image)
    for field, word, words in (("inq", "input", _reads(traffic)), ("outq", "output", _writes(traffic))):
        used = np.concatenate([words > 0, np.zeros((1, words.shape[1]), bool)])[image.cores["program"]]
        bound = image.cores[field] >= 0
        for core, queue in np.argwhere(used & ~bound):
            program = image.programs[image.cores["program"][core]].name
            message = f"program {program} uses {word} queue {queue}, which has no colour"
            report.add("queue-unbound", message, f"core {at(int(x[core]), int(y[core]))}")
        for core, queue in np.argwhere(bound & ~used):
            message = f"{word} queue {queue} is bound to colour {image.cores[field][core, queue]} but never used"
            report.add("queue-unused", message, f"core {at(int(x[core]), int(y[core]))}")


def _reads(traffic: Sequence[Traffic]) -> Array:
    """Words taken per token, int64[programs, input queues]."""
    return np.array([t.reads[:INPUT_QUEUES] for t in traffic], np.int64).reshape(-1, INPUT_QUEUES)


def _writes(traffic: Sequence[Traffic]) -> Array:
    """Words put per token, int64[programs, output queues]."""
    return np.array([t.writes[:OUTPUT_QUEUES] for t in traffic], np.int64).reshape(-1, OUTPUT_QUEUES)


def end_words(image: Image, table: Array, direction: str) -> Array:
    """Words per token at every end as `Channels` numbers them; a host lane has a header and its elements."""
    idle = np.zeros((1, table.shape[1]), np.int64)
    cores = np.concatenate([table, idle])[image.cores["program"]].reshape(-1)
    return np.concatenate([cores, [1 + lane.size for _, lane in lanes(image, direction)]]).astype(np.int64)


def check_rates(image: Image, traffic: Sequence[Traffic], channels: Channels, report: Report) -> Array:
    """Words per token on every channel; report every reader that takes another number."""
    sent = end_words(image, _writes(traffic), "in")[channels.source]
    taken = end_words(image, _reads(traffic), "out")[channels.sink]
    fed = channels.sink_channel >= 0
    wrong = np.flatnonzero(fed & (sent[channels.sink_channel] != taken))
    for i in wrong:
        channel = channels.sink_channel[i]
        source = writer_name(image, int(channels.source[channel]))
        sink = reader_name(image, int(channels.sink[i]))
        report.add("rate", f"{source} sends {sent[channel]} words per token, {sink} takes {taken[i]}", sink)
    return np.asarray(sent)


def writer_name(image: Image, writer: int) -> str:
    """A writer as `Channels` numbers it: `core (3,4) output queue 2`, or a lane."""
    return _end_name(image, writer, OUTPUT_QUEUES, "output", "in")


def reader_name(image: Image, reader: int) -> str:
    """A reader as `Channels` numbers it: `core (3,4) input queue 2`, or a lane."""
    return _end_name(image, reader, INPUT_QUEUES, "input", "out")


def _end_name(image: Image, end: int, queues: int, word: str, direction: str) -> str:
    core, queue = divmod(end, queues)
    if core >= len(image.cores):
        return lanes(image, direction)[end - len(image.cores) * queues][0]
    x, y = core_positions(image)
    return f"core {at(int(x[core]), int(y[core]))} {word} queue {queue}"


def check_load(image: Image, channels: Channels, sent: Array, report: Report) -> dict[str, Any]:
    """Words per token on every link, in each direction; the facts name the busiest.

    A link carries one word per cycle, so a load above the interval of the compile report breaks its promise.
    """
    grid, nodes = channels.grid, channels.nodes
    words = sent[channels.node_channel]
    routers = int(np.prod(grid.inputs.shape[1:]))
    router = nodes % routers
    outputs, inputs = grid.outputs.reshape(-1)[nodes], grid.inputs.reshape(-1)[nodes]
    loads = [_total(router, words, (outputs & bit(d)) != 0, routers) for d in range(RAMP + 1)]
    loads.append(_total(router, words, (inputs & bit(RAMP)) != 0, routers))
    link, where = np.unravel_index(int(np.argmax(loads)), (len(loads), routers))
    busiest = int(loads[link][where])
    place = _link_name(grid.place(int(where))[1:], int(link))
    interval = _stated_interval(image)
    if interval is not None and busiest > interval:
        over = int(np.sum(np.array(loads) > interval))
        message = (
            f"{busiest} words per token on the link {place}; the interval is {interval:g} cycles ({over} such links)"
        )
        report.add("link-load", message, f"link {place}")
    hops = int(sum(np.count_nonzero(outputs & bit(d)) for d in range(RAMP)))
    return {"max_link_words": busiest, "max_link": place, "hops": hops, "words": int(np.sum(sent))}


def _total(router: Array, words: Array, mask: Array, routers: int) -> Array:
    """Sum of words per router; float64 is exact far beyond any real load."""
    return np.bincount(router[mask], words[mask].astype(np.float64), routers)


def _link_name(place: tuple[int, int], link: int) -> str:
    side = DIRECTION_NAMES[link] if link < RAMP else ("to its core" if link == RAMP else "from its core")
    return f"{at(*place)} {side}"


def _stated_interval(image: Image) -> float | None:
    """`interval_cycles` of the compile report or of one of its sections."""
    report = image.manifest.get("report")
    if not isinstance(report, dict):
        return None
    for section in (report, *report.values()):
        interval = section.get("interval_cycles") if isinstance(section, dict) else None
        if isinstance(interval, int | float):
            return float(interval)
    return None
