"""What one wants to know of a compiled image, from the image alone: plain numbers, for people, tools and tests.

Cycles are predicted by the kernels' closed forms, which the compiler notes in the image; everything else is counted in
the image's tables. An image holds no wall-clock times, since the same input must give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from runtime import defects
from runtime.geometry import DIRECTION_NAMES
from runtime.image import Image
from runtime.inspect import colours, memory_by_owner
from runtime.lone import lone_token
from runtime.tables import Array, core_positions, expand_routes, memory_bytes
from runtime.wires import HOST, Wires, trace
from runtime.work import work

SCHEMA = 1
SECTIONS = ("summary", "place", "route", "memory", "solver")
LINKS_LOOKED_AT = 2000
LARGEST = 1 << 53  # number noted in an image that is believed: up to it floats and browsers are exact
LINKS = (*DIRECTION_NAMES[:4], "to its core", "from its core")


def report(image: Image, top: int = 5, wires: Wires | None = None) -> dict[str, Any]:
    """All sections. `top`: how many of the slowest, longest, hottest and fullest are listed; wires: `trace(image)`."""
    wires = wires or trace(image)
    return {
        "schema": SCHEMA,
        "summary": _summary(image, wires, top),
        "place": _place(image, wires, top),
        "route": _route(image, wires, top),
        "memory": _memory(image, top),
        "solver": _solver(image),
    }


def notes(image: Image, section: str) -> Mapping[str, Any]:
    """What the compiler noted under a name; an image that something else made may have noted nothing."""
    report = image.manifest.get("report")
    found = report.get(section) if isinstance(report, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def predicted_cycles(image: Image) -> dict[str, tuple[int, int]]:
    """Interval and latency by kernel as the compiler's closed forms have them, where it noted them."""
    noted = notes(image, "cycles").items()
    return {
        name: (pair[0], pair[1])
        for name, pair in noted
        if isinstance(pair, list | tuple) and len(pair) == 2 and all(type(n) is int and 0 <= n <= LARGEST for n in pair)
    }


# Summary


def _summary(image: Image, wires: Wires, top: int) -> dict[str, Any]:
    target, used = image.target, int((image.cores["program"] >= 0).sum())
    cycles = predicted_cycles(image)
    paced = [(cycles[b.name][0], b.name, b.kind) for b in image.blocks if b.name in cycles]
    paced.sort(key=lambda entry: (-entry[0], entry[1]))
    latency, loops = lone_token(image, wires, cycles, notes(image, "loops")) if cycles else (None, [])
    interval = _interval(image) or (paced[0][0] if paced else None)
    if interval is not None:  # the size pass did not know how long wires would be
        interval = max([interval, *(loop.interval for loop in loops)])
    clock = target.clock_ghz * 1e9
    provenance = image.manifest.get("provenance")
    provenance = provenance if isinstance(provenance, Mapping) else {}
    options = provenance.get("options")
    return {
        "model": str(provenance.get("model", "")),
        "precision": str(options.get("precision", "")) if isinstance(options, Mapping) else "",
        "target": target.name,
        "max_seq": image.max_seq,
        "slots": image.slots,
        "kernels": len(image.blocks),
        "cores_used": used,
        "cores_usable": target.cores,
        "cores_dead": target.dead_cores,
        "optimised_for": _optimised_for(image),
        "interval_cycles": interval,
        "area_bound_cycles": _size_bound(image, "area_bound_cycles"),
        "host_bound_cycles": _size_bound(image, "host_bound_cycles"),
        "latency_cycles": latency,
        "tokens_per_second": clock / interval if interval else None,
        "tokens_per_second_alone": clock / latency if latency else None,
        **_arithmetic(image, interval),
        "loops": [{**asdict(loop), "interval_cycles": loop.interval} for loop in loops],
        "slowest": [{"kernel": name, "kind": kind, "interval_cycles": cycle} for cycle, name, kind in paced[:top]],
    }


def _number(value: object) -> int | None:
    return value if type(value) is int and 0 < value <= LARGEST else None


def _size_bound(image: Image, key: str) -> float | None:
    """What no interval can be below, where the size pass noted it: the arithmetic shared out evenly over all cores of
    the target (area), or the widest input or output over the host's channels (host)."""
    bound = notes(image, "size").get(key)
    return float(bound) if isinstance(bound, int | float) and 0 < bound <= LARGEST else None


def _optimised_for(image: Image) -> str:
    """What sizes were chosen for; empty if nobody noted it."""
    noted = notes(image, "size").get("optimised_for")
    return noted if isinstance(noted, str) else ""


def _arithmetic(image: Image, interval: int | None) -> dict[str, Any]:
    """Multiply-accumulates of a token with full caches, and how much of the cores' time they are at full rate."""
    counts = np.bincount(image.cores["program"][image.cores["program"] >= 0], minlength=len(image.programs))
    works = [work(program) for program in image.programs]
    half = sum(int(n) * w.f16 for n, w in zip(counts, works, strict=True))
    single = sum(int(n) * w.f32 for n, w in zip(counts, works, strict=True))
    target, used = image.target, int(counts.sum())
    busy = half / target.fmac_per_cycle_f16 + single / target.fmac_per_cycle_f32
    return {
        "flops_per_token": 2 * (half + single),
        "utilisation_of_used": busy / (interval * used) if interval and used else None,
        "utilisation_of_wafer": busy / (interval * target.cores) if interval else None,
    }


# Place


def _place(image: Image, wires: Wires, top: int) -> dict[str, Any]:
    if not image.blocks:
        return {"kernels": 0}
    left, north = min(b.x for b in image.blocks), min(b.y for b in image.blocks)
    width = max(b.x + b.size[0] for b in image.blocks) - left
    height = max(b.y + b.size[1] for b in image.blocks) - north
    area = len(image.cores)
    ends = wires.kernel_ends()
    longest = ends[np.argsort(-wires.hops[ends], kind="stable")]
    return {
        "box": [left, north, width, height],
        "kernel_cores": area,
        "dead_cores_in_box": defects.count(image.target.defects, (left, north, width, height)),
        "utilisation_of_box": area / (width * height),
        "utilisation_of_wafer": area / image.target.cores,
        "mean_wire_hops": float(wires.hops[ends].mean()) if len(ends) else 0.0,
        "longest_wires": _longest(image, wires, longest, top),
    }


def _longest(image: Image, wires: Wires, ends: Array, top: int) -> list[dict[str, Any]]:
    """The longest wire of each of the `top` bundles with the longest ones."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for end in ends:
        channel = wires.end_channel[end]
        pair = (_block_name(image, wires.source[channel]), _block_name(image, wires.end_block[end]))
        if pair not in found:
            if len(found) == top:
                break
            start = [int(wires.x[channel]), int(wires.y[channel])]
            found[pair] = {"from": pair[0], "to": pair[1], "hops": int(wires.hops[end]), "start": start}
    return list(found.values())


def _block_name(image: Image, block: Any) -> str:
    return "host" if block == HOST else image.blocks[int(block)].name


# Route


def _route(image: Image, wires: Wires, top: int) -> dict[str, Any]:
    return {
        "channels": len(wires.source),
        "channels_between_kernels": len(np.unique(wires.end_channel[wires.kernel_ends()])),
        "hops": _hops(image),
        "words_per_token": int(wires.words.sum()),
        "colours": {**colours(image), "at": _most_colours(image)},
        "hottest_links": hottest_links(image, wires.load, wires.origin, _interval(image), top),
    }


def _hops(image: Image) -> int:
    """Links that channels use, each counted once for every colour on it."""
    links = np.array([(mask & 15).bit_count() for mask in range(256)])[image.routes["outputs"]]
    return int((links * image.routes["w"].astype(np.int64) * image.routes["h"]).sum())


def _most_colours(image: Image) -> list[int]:
    """The north-most of the routers with the most colours."""
    _, x, y = expand_routes(image.routes)
    if not len(x):
        return []
    place, counts = np.unique(y * (1 << 16) + x, return_counts=True)
    row, column = divmod(int(place[int(np.argmax(counts))]), 1 << 16)
    return [column, row]


def _interval(image: Image) -> int | None:
    return _number(notes(image, "size").get("interval_cycles"))


def hottest_links(
    image: Image, load: Array, origin: tuple[int, int], cycles: int | None, top: int
) -> list[dict[str, Any]]:
    """The busiest links; `links` of one kernel that are alike in words and direction are told by their first.

    load [LINKS, rows, columns]: words on the links of routers, the north-west one at `origin`; cycles: in which they
    pass, for their share.
    """
    found: dict[tuple[int, int, str], dict[str, Any]] = {}
    for flat in _largest(load.reshape(-1), LINKS_LOOKED_AT):
        link, row, column = (int(i) for i in np.unravel_index(int(flat), load.shape))
        x, y, words = column + origin[0], row + origin[1], int(load[link, row, column])
        kernel = _kernel_at(image, x, y)
        key = (words, link, kernel)
        if key in found:
            found[key]["links"] += 1
        elif len(found) < top:
            share = words / cycles if cycles else None
            entry = {"x": x, "y": y, "link": LINKS[link], "words": words, "share_of_interval": share, "kernel": kernel}
            found[key] = {**entry, "links": 1}
    return list(found.values())


def _largest(values: Array, most: int) -> Array:
    """Indices of the `most` largest values above 0, ties by index."""
    threshold = np.partition(values, len(values) - most)[len(values) - most] if most < len(values) else 1
    found = np.flatnonzero(values >= max(1, threshold))
    return found[np.argsort(-values[found], kind="stable")][:most]


def _kernel_at(image: Image, x: int, y: int) -> str:
    inside = (b.name for b in image.blocks if 0 <= x - b.x < b.size[0] and 0 <= y - b.y < b.size[1])
    return next(inside, "")


# Memory


def _memory(image: Image, top: int) -> dict[str, Any]:
    program = image.cores["program"]
    counts = np.bincount(program[program >= 0], minlength=len(image.programs))
    needed = np.array([memory_bytes(p, image.target) for p in image.programs], np.int64)
    order = [i for i in np.argsort(-needed, kind="stable") if counts[i]][:top]
    first = {int(i): int(np.argmax(program == i)) for i in order}
    x, y = core_positions(image)
    total = int((needed * counts).sum())
    return {
        "limit": image.target.memory_bytes,
        "total": total,
        "share_of_wafer": total / (image.target.cores * image.target.memory_bytes),
        "owners": memory_by_owner(image),
        "fullest": [
            {
                "program": image.programs[i].name,
                "bytes": int(needed[i]),
                "cores": int(counts[i]),
                "kernel": _kernel_at(image, int(x[first[i]]), int(y[first[i]])),
                "at": [int(x[first[i]]), int(y[first[i]])],
            }
            for i in map(int, order)
        ],
    }


# Solver


def _solver(image: Image) -> dict[str, Any]:
    """What the searches noted of themselves: sizes, objectives, bounds, gaps."""
    return {section: dict(notes(image, section)) for section in ("size", "place", "route") if notes(image, section)}
