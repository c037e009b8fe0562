"""A call's timing as one JSON object: plain numbers, for tools, for files and for the text beside this."""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.cycle.measure import KernelTiming, QueueMark, Timing, by_reason
from runtime.cycle.state import REASONS
from runtime.image import Image, Port
from runtime.report import LINKS, hottest_links

SCHEMA = 1


def report(image: Image, timing: Timing, top: int = 10) -> dict[str, Any]:
    """All of it but single cores. `top`: how many links are listed."""
    return {
        "schema": SCHEMA,
        "target": image.target.name,
        "clock_ghz": timing.clock_ghz,
        "cycles": timing.cycles,
        "tokens": len(timing.tokens),
        "first_token_cycles": timing.first_token,
        "cycles_per_token": timing.per_token,
        "tokens_per_second": timing.tokens_per_second,
        "token_cycles": timing.tokens.tolist(),
        "spent": by_reason(timing.spent.sum(axis=0)),
        "kernels": [_kernel(kernel) for kernel in timing.kernels],
        "host": [_port(image, port) for port in image.ports],
        "links": _links(image, timing, top),
    }


def by_core(timing: Timing) -> list[dict[str, Any]]:
    """Per kernel the cycles of each of its cores by reason, row by row of the kernel's own rectangle."""
    found = []
    for kernel in timing.kernels:
        block = kernel.block
        spent = timing.spent[block.first : block.first + block.rows * block.cols]
        columns = dict(zip(REASONS, spent.T.tolist(), strict=True))
        found.append({"kernel": block.name, "rows": block.rows, "cols": block.cols, "spent": columns})
    return found


def _kernel(kernel: KernelTiming) -> dict[str, Any]:
    block = kernel.block
    width, height = block.size
    return {
        "kernel": block.name,
        "kind": block.kind,
        "box": [block.x, block.y, width, height],
        "cores": kernel.cores,
        "interval_cycles": kernel.interval,
        "work_cycles": kernel.work,
        "latency_cycles": kernel.latency,
        "predicted_interval_cycles": kernel.predicted_interval,
        "predicted_latency_cycles": kernel.predicted_latency,
        "spent": by_reason(kernel.spent),
        "busiest": {"at": list(kernel.busiest), "spent": by_reason(kernel.busiest_spent)},
        "queues": [_queue(mark) for mark in kernel.queues],
    }


def _queue(mark: QueueMark) -> dict[str, Any]:
    return {
        "kind": mark.kind,
        "number": mark.number,
        "name": mark.name,
        "depth": mark.depth,
        "high": mark.high,
        "cores": mark.cores,
        "cores_full": mark.full,
    }


def _port(image: Image, port: Port) -> dict[str, Any]:
    """What the port's fullest lane carries in a token, and the cycles that takes at a host channel's bandwidth."""
    words = 1 + max(lane.size for lane in port.lanes)
    return {
        "port": port.name,
        "direction": port.direction,
        "lanes": len(port.lanes),
        "words_per_token": words,
        "cycles_per_token": words / image.target.host_words_per_cycle,
    }


def _links(image: Image, timing: Timing, top: int) -> dict[str, Any]:
    """`by_direction`: links that carried anything, their words, and the share of cycles they did it in."""
    directions = {}
    for name, words in zip(LINKS, timing.links, strict=True):
        used, total = int(np.count_nonzero(words)), int(words.sum())
        share = total / (used * timing.cycles) if used and timing.cycles else 0.0
        directions[name] = {"links": used, "words": total, "share_of_cycles": share}
    hottest = hottest_links(image, timing.links, timing.origin, timing.cycles or None, top)
    for link in hottest:
        link["share_of_cycles"] = link.pop("share_of_interval")
    return {"words": int(timing.links.sum()), "by_direction": directions, "hottest": hottest}
