"""The report of `runtime.cycle.report` as text for a terminal. Names in it come from models and are made harmless."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runtime.cycle.state import REASONS
from runtime.text import safe, table

Report = Mapping[str, Any]


def text(data: Report, top: int = 10) -> str:
    """The whole report; `top`: at most so many kernels (those with most work, in program order) and queues."""
    order = sorted(range(len(data["kernels"])), key=lambda i: -(data["kernels"][i]["work_cycles"] or 0))
    kernels = [data["kernels"][i] for i in sorted(order[:top])]
    left = len(order) - len(kernels)
    more = f"\n  ... and {left} kernels with less work" if left else ""
    parts = [_summary(data), _kernels(kernels) + more, _busiest(kernels) + more, _queues(data, top), _links(data)]
    return "\n\n".join(part for part in parts if part)


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def _reason(name: str) -> str:
    return name.replace("_", " ")


def _summary(data: Report) -> str:
    lines = [f"cycles        {data['cycles']:,} at {data['clock_ghz']} GHz, until nothing moves any more"]
    if data["tokens"]:
        lines.append(f"first token   {_count(data['first_token_cycles'])} cycles")
    if data["cycles_per_token"] is not None:
        lines.append(f"steady state  {data['cycles_per_token']:,.1f} cycles per token, mean of the last half")
    if data["tokens_per_second"]:
        lines.append(f"speed         {_count(data['tokens_per_second'])} tokens/s")
    for port in data["host"]:
        lanes = f"{port['lanes']} lane{'s' if port['lanes'] > 1 else ''}"
        most = f"at most {port['words_per_token']:,} words a token, {port['cycles_per_token']:,.0f} cycles"
        lines.append(f"host          {safe(port['port'])} {port['direction']}: {lanes} of {most}")
    spent = data["spent"]
    total = sum(spent.values())
    shares = ", ".join(f"{_reason(name)} {_percent(spent[name], total)}" for name in REASONS)
    return "\n".join([*lines, f"core-cycles   {total:,}: {shares}"])


def _kernels(kernels: Sequence[Report]) -> str:
    """Measured beside predicted."""
    rows = [
        (
            kernel["kernel"],
            kernel["kind"],
            kernel["cores"],
            _count(kernel["interval_cycles"]),
            _count(kernel["work_cycles"]),
            _count(kernel["predicted_interval_cycles"]),
            _count(kernel["latency_cycles"]),
            _count(kernel["predicted_latency_cycles"]),
        )
        for kernel in kernels
    ]
    head = ("kernel", "kind", "cores", "interval", "work", "predicted", "latency", "predicted")
    note = (
        "kernels, in cycles: the interval between tokens as it was, the work of the busiest core without waiting, and\n"
        "the closed form; the latency of the first token, and the closed form (closed forms are for full caches)"
    )
    return f"{note}\n{_indented(table(head, rows))}"


def _busiest(kernels: Sequence[Report]) -> str:
    rows = []
    for kernel in kernels:
        spent = kernel["busiest"]["spent"]
        total = sum(spent.values())
        shares = (_percent(spent[name], total) for name in REASONS)
        rows.append((kernel["kernel"], _at(kernel["busiest"]["at"]), *shares))
    head = ("kernel", "core", *map(_reason, REASONS))
    return f"the busiest core of each kernel, its time by reason\n{_indented(table(head, rows))}"


def _queues(data: Report, top: int) -> str:
    """FIFOs, and the queues that were full somewhere."""
    marks = [(kernel["kernel"], mark) for kernel in data["kernels"] for mark in kernel["queues"]]
    shown = [(name, mark) for name, mark in marks if mark["kind"] == "fifo" or mark["cores_full"]]
    if not shown:
        return ""
    shown.sort(key=lambda entry: (entry[1]["kind"] != "fifo", -entry[1]["cores_full"]))
    rows = [
        (
            name,
            f"{mark['kind']} {mark['number']}" + (f" ({mark['name']})" if mark["name"] else ""),
            mark["high"],
            mark["depth"],
            f"{mark['cores_full']} of {mark['cores']}",
        )
        for name, mark in shown[:top]
    ]
    more = f"\n  ... and {len(shown) - top} more" if len(shown) > top else ""
    head = ("kernel", "queue", "most words", "holds", "full at cores")
    return f"FIFOs, and queues that were full at some time\n{_indented(table(head, rows))}{more}"


def _links(data: Report) -> str:
    rows = [
        (
            _at((link["x"], link["y"])),
            link["link"],
            link["words"],
            f"{100 * (link['share_of_cycles'] or 0):.1f} %",
            link["kernel"] or "none",
            link["links"],
        )
        for link in data["links"]["hottest"]
    ]
    head = ("router", "link", "words", "of all cycles", "kernel there", "links like it")
    return f"busiest links\n{_indented(table(head, rows))}" if rows else ""


def _at(place: Sequence[int]) -> str:
    return f"({place[0]},{place[1]})"


def _indented(body: str) -> str:
    return "\n".join(f"  {line}" for line in body.split("\n"))
