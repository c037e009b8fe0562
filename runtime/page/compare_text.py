"""The difference of two images as text for a terminal. Names in it come from models and are made harmless."""

from __future__ import annotations

from typing import Any

from runtime.page.compare import COSTS
from runtime.text import safe, table

Json = dict[str, Any]


def text(difference: Json, old: Json, new: Json, top: int) -> str:
    """Numbers, kernels (at most `top` of those that changed) and options; old, new: the pages compared."""
    parts = [f"{safe(difference['old'])} -> {safe(difference['new'])}", _numbers(difference["numbers"])]
    parts.append("kernels: " + ", ".join(f"{number:,} {what}" for what, number in difference["counts"].items()))
    changed = [line for line in difference["kernels"] if line["changes"] or line["costs"]]
    if changed:
        more = f"\n... and {len(changed) - top} more: --top, --json or --html" if len(changed) > top else ""
        parts.append(_kernels(changed[:top], old["kernels"], new["kernels"]) + more)
    if difference["options"]:
        rows = [(line["name"], line["old"] or "-", line["new"] or "-") for line in difference["options"]]
        parts.append(table(("option or input", "old", "new"), rows))
    return "\n\n".join(parts)


def _numbers(lines: list[Json]) -> str:
    rows = [
        (line["name"], _number(line["old"], line["unit"]), _number(line["new"], line["unit"]), *_delta(line))
        for line in lines
    ]
    return table(("", "old", "new", "change", ""), rows)


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    if unit == "share":
        return f"{100 * value:.1f} %"
    return f"{value:,} {unit}" if isinstance(value, int) else f"{value:,.1f} {unit}"


def _delta(line: Json) -> tuple[str, str]:
    """The change as a number, and whether it is for the better where one can say."""
    old, new, better = line["old"], line["new"], line["better"]
    if old is None or new is None or old == new:
        return ("", "")
    change = new - old
    verdict = "" if better is None else "better" if (change < 0) == (better == "less") else "worse"
    if line["unit"] == "share":
        return (f"{100 * change:+.2f} points", verdict)
    amount = f"{change:+,}" if isinstance(change, int) else f"{change:+,.1f}"
    return (f"{amount} ({100 * change / old:+.1f} %)" if old else amount, verdict)


def _kernels(lines: list[Json], old: list[Json], new: list[Json]) -> str:
    rows = []
    for line in lines:
        before = old[line["old"]] if line["old"] is not None else None
        after = new[line["new"]] if line["new"] is not None else None
        kernel = after or before or {}
        boxes = _arrow(_box(before), _box(after))
        costs = [_cost(line["costs"].get(key), kernel[key]) for key in COSTS]
        rows.append((kernel["name"], ", ".join(line["changes"]), boxes, *costs))
    return table(("kernel", "change", "cores", "interval", "latency", "memory", "link"), rows)


def _box(kernel: Json | None) -> str:
    if kernel is None:
        return ""
    x, y, width, height = kernel["box"]
    return f"{width} x {height} at ({x},{y})"


def _cost(pair: list[int | None] | None, same: int | None) -> str:
    old, new = pair or (same, same)
    return _arrow(*("-" if value is None else f"{value:,}" for value in (old, new)))


def _arrow(old: str, new: str) -> str:
    return new if old == new or not old else f"{old} -> {new}" if new else old
