"""All rules in order; a rule that needs another one's result runs only if that one found nothing."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from runtime.image import Image
from runtime.tables import core_positions, expand_routes, memory_bytes
from runtime.validate.contents import check_contents
from runtime.validate.memory import check_memory
from runtime.validate.placement import check_bindings, check_dead, check_placement, check_tables
from runtime.validate.programs import check_program
from runtime.validate.rates import check_load, check_rates, check_usage
from runtime.validate.report import Report, at
from runtime.validate.routes import check_routes


def validate(image: Image) -> Report:
    """Check every rule of the machine. The report has violations (none for a legal image) and measured facts."""
    report = Report()
    if not check_tables(image, report):
        return report
    report.facts.update(_memory_facts(image))
    check_placement(image, report)
    check_dead(image, report)
    check_bindings(image, report)
    for program in image.programs:
        check_memory(program, image.target, report)
    check_contents(image, report)
    traffic = [check_program(program, image.target, report) for program in image.programs]
    check_usage(image, traffic, report)
    channels = check_routes(image, report)
    if channels is None:
        return report
    report.facts.update(_route_facts(image), channels=len(channels.source))
    sent = check_rates(image, traffic, channels, report)
    report.facts.update(check_load(image, channels, sent, report))
    proved = report.ok or set(report.counts) <= DEADLOCK_NEEDS_NOT
    if proved:
        from runtime.validate.deadlock import check_deadlock  # numba: slow to import, needed only here

        check_deadlock(image, traffic, channels, report)
    report.facts["deadlock_free"] = proved and "deadlock" not in report.counts
    return report


# Violations that leave channels and rates intact, so that the proof still means something.
DEADLOCK_NEEDS_NOT = {"memory-size", "link-load", "uninitialised", "init-twice", "init-outside", "init-idle", "dtype"}


def _memory_facts(image: Image) -> dict[str, Any]:
    used = image.cores["program"][image.cores["program"] >= 0]
    needed = np.array([memory_bytes(program, image.target) for program in image.programs], np.int64)
    facts: dict[str, Any] = {
        "blocks": len(image.blocks),
        "programs": len(image.programs),
        "cores": len(used),
        "target_cores": image.target.cores,
        "dead_cores": image.target.dead_cores,
        "memory_bytes": image.target.memory_bytes,
        "max_memory": 0,
    }
    if len(used):
        worst = int(np.argmax(needed[image.cores["program"]] * (image.cores["program"] >= 0)))
        x, y = core_positions(image)
        facts["max_memory"] = int(needed[image.cores["program"][worst]])
        facts["max_memory_core"] = at(int(x[worst]), int(y[worst]))
        facts["mean_memory"] = float(needed[used].mean())
    return facts


def _route_facts(image: Image) -> dict[str, Any]:
    """Colours per router: the most, and how many routers have how many."""
    _, x, y = expand_routes(image.routes)
    _, colours = np.unique(y * (1 << 16) + x, return_counts=True)
    histogram = Counter(colours.tolist())
    return {
        "router_entries": len(x),
        "max_colours": max(histogram, default=0),
        "colours_histogram": {str(count): histogram[count] for count in sorted(histogram)},
    }
