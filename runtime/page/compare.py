"""What changed between two images: numbers, kernels, and how they were made.

Works on the values of `runtime.page.data`, and gives plain JSON: for the page, for the terminal and for tools.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]

# Name, unit, which of more and less is better, and where it is in a report (`runtime.report`).
NUMBERS: tuple[tuple[str, str, str | None, tuple[str, ...]], ...] = (
    ("interval", "cycles", "less", ("summary", "interval_cycles")),
    ("tokens in a row", "tokens/s", "more", ("summary", "tokens_per_second")),
    ("latency of a lone token", "cycles", "less", ("summary", "latency_cycles")),
    ("host bound", "cycles", None, ("summary", "host_bound_cycles")),
    ("area bound", "cycles", None, ("summary", "area_bound_cycles")),
    ("cores", "cores", None, ("summary", "cores_used")),
    ("kernels", "kernels", None, ("summary", "kernels")),
    ("arithmetic", "FLOP a token", None, ("summary", "flops_per_token")),
    ("utilisation of the cores used", "share", "more", ("summary", "utilisation_of_used")),
    ("memory in all", "bytes", "less", ("memory", "total")),
    ("fullest core", "bytes", "less", ("memory", "owners", "all", "max")),
    ("hottest link", "words a token", "less", ("route", "hottest_links", "0", "words")),
    ("most colours in a router", "colours", "less", ("route", "colours", "max")),
    ("channels", "channels", None, ("route", "channels")),
    ("wire in use", "hops", "less", ("route", "hops")),
    ("mean wire between kernels", "hops", "less", ("place", "mean_wire_hops")),
    ("words sent", "words a token", "less", ("route", "words_per_token")),
)
MEASURED = (
    ("measured cycles", "cycles a token", "less", "cycles_per_token"),
    ("measured first token", "cycles", "less", "first_token_cycles"),
)
COSTS = ("interval", "latency", "memory_max", "link")  # of a kernel


def compare(old: Json, new: Json) -> Json:
    """The difference of two pages.

    `numbers`: {name, unit, better, old, new}. `kernels`: {old, new, changes, costs} with numbers of kernels, in the
    order of the new image and then those that are gone; `changes` are words, `costs` has old and new of what a kernel
    costs where that differs. `counts`: kernels by what became of them. `options`: inputs and options that differ.
    """
    lines = _kernels(old["kernels"], new["kernels"], old["nodes"], new["nodes"])
    return {
        "schema": 1,
        "old": old["file"],
        "new": new["file"],
        "numbers": _numbers(old, new),
        "counts": _counts(lines),
        "kernels": lines,
        "options": _options(old, new),
    }


def _numbers(old: Json, new: Json) -> list[Json]:
    found = [
        {"name": name, "unit": unit, "better": better, "old": _at(old, path), "new": _at(new, path)}
        for name, unit, better, path in NUMBERS
    ]
    if old["run"] and new["run"]:
        found += [
            {"name": name, "unit": unit, "better": better, "old": old["run"][key], "new": new["run"][key]}
            for name, unit, better, key in MEASURED
        ]
    return [line for line in found if line["old"] is not None or line["new"] is not None]


def _at(data: Json, path: Sequence[str]) -> int | float | None:
    """The number at a path of keys and list positions in the report; None if it is not there."""
    found: Any = data["report"]
    for step in path:
        if isinstance(found, list):
            found = found[int(step)] if int(step) < len(found) else None
        else:
            found = found.get(step) if isinstance(found, dict) else None
    return found if isinstance(found, int | float) else None


def _kernels(old: list[Json], new: list[Json], old_nodes: list[str], new_nodes: list[str]) -> list[Json]:
    partner = _partners(_keys(old, old_nodes), _keys(new, new_nodes), old, new)
    lines = []
    for number, kernel in enumerate(new):
        before = partner.get(number)
        changes = ["added"] if before is None else _changes(old[before], kernel)
        costs = {} if before is None else _costs(old[before], kernel)
        lines.append({"old": before, "new": number, "changes": changes, "costs": costs})
    gone = sorted(set(range(len(old))) - set(partner.values()))
    return lines + [{"old": number, "new": None, "changes": ["removed"], "costs": {}} for number in gone]


def _keys(kernels: list[Json], nodes: list[str]) -> list[tuple[Any, ...]]:
    """What a kernel is for: its kind, its ONNX nodes, and which it is of those that are alike in both."""
    seen: dict[tuple[Any, ...], int] = {}
    keys = []
    for kernel in kernels:
        key = (kernel["kind"], tuple(nodes[i] for i in kernel["nodes"]))
        keys.append((*key, seen.get(key, 0)))
        seen[key] = seen.get(key, 0) + 1
    return keys


def _partners(
    old_keys: list[tuple[Any, ...]], new_keys: list[tuple[Any, ...]], old: list[Json], new: list[Json]
) -> dict[int, int]:
    """The old kernel of each new one: that with the same purpose; of what is left over, that with its name and kind."""
    by_key = {key: number for number, key in enumerate(old_keys)}
    found = {number: by_key[key] for number, key in enumerate(new_keys) if key in by_key}
    taken = set(found.values())
    by_name = {(k["name"], k["kind"]): number for number, k in enumerate(old) if number not in taken}
    for number, kernel in enumerate(new):
        name = (kernel["name"], kernel["kind"])
        if number not in found and name in by_name:
            found[number] = by_name[name]
    return found


def _changes(old: Json, new: Json) -> list[str]:
    """What became of a kernel, in words."""
    found = []
    if old["name"] != new["name"]:
        found.append(f"was {old['name']}")
    if old["box"][:2] != new["box"][:2]:
        found.append("moved")
    if old["box"][2:] != new["box"][2:]:
        found.append("reshaped")
    elif old["turned"] != new["turned"]:
        found.append("turned")
    return found


def _costs(old: Json, new: Json) -> dict[str, list[int | None]]:
    return {key: [old[key], new[key]] for key in COSTS if old[key] != new[key]}


def _counts(lines: list[Json]) -> dict[str, int]:
    words = ("added", "removed", "moved", "reshaped", "turned")
    counts = {word: sum(word in line["changes"] for line in lines) for word in words}
    counts["with other costs"] = sum(bool(line["costs"]) for line in lines)
    counts["unchanged"] = sum(not line["changes"] and not line["costs"] for line in lines)
    return counts


def _options(old: Json, new: Json) -> list[Json]:
    sides = [{"target": page["target"]["name"], **page["provenance"]} for page in (old, new)]
    names = list(dict.fromkeys([*sides[0], *sides[1]]))
    pairs = [(name, sides[0].get(name), sides[1].get(name)) for name in names]
    return [{"name": name, "old": a, "new": b} for name, a, b in pairs if a != b]
