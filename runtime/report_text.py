"""The report of `runtime.report` as text for a terminal. Names in it come from models and are made harmless."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runtime.text import safe, table


def text(data: Mapping[str, Any], sections: Sequence[str]) -> str:
    """The chosen sections."""
    return "\n\n".join(f"{section}\n{_indented(_SECTIONS[section](data[section]))}" for section in sections)


def _indented(body: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in body.split("\n"))


def _lines(*entries: tuple[str, object]) -> str:
    return "\n".join(f"{name:<14}{safe(value)}" for name, value in entries)


def _count(value: float | None, unit: str = "") -> str:
    return "unknown" if value is None else f"{value:,.0f}{unit}"


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{100 * value:.1f} %"


def _titled(title: str, body: str) -> str:
    return f"\n{title}\n{_indented(body)}"


def _bounds(s: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the interval is measured against, the tighter bound first."""
    named = (("the host's channels", s["host_bound_cycles"]), ("arithmetic on all cores", s["area_bound_cycles"]))
    known = sorted(((bound, name) for name, bound in named if bound), reverse=True)
    if not known or not s["interval_cycles"]:
        return []
    times = [f"{s['interval_cycles'] / bound:.2f} times the {bound:,.0f} of {name}" for bound, name in known]
    return [("bounds", ", ".join(times))]


def _summary(s: Mapping[str, Any]) -> str:
    dead = f", {s['cores_dead']:,} dead" if s["cores_dead"] else ""
    share = _percent(s["cores_used"] / s["cores_usable"])
    found = _lines(
        ("model", f"{s['model'] or 'unknown'} in {s['precision'] or 'unknown precision'}"),
        ("target", f"{s['target']}; sequences up to {s['max_seq']}, {s['slots']} at once"),
        ("cores", f"{s['cores_used']:,} of {s['cores_usable']:,} ({share}){dead}, {s['kernels']} kernels"),
        *([("optimised for", s["optimised_for"])] if s["optimised_for"] else []),
        (
            "interval",
            f"{_count(s['interval_cycles'])} cycles: {_count(s['tokens_per_second'])} tokens/s in a row",
        ),
        *_bounds(s),
        (
            "latency",
            f"{_count(s['latency_cycles'])} cycles: {_count(s['tokens_per_second_alone'])} tokens/s one at a time",
        ),
        *([("shared", _loops(s["loops"]))] if s["loops"] else []),
        ("arithmetic", f"{_count(s['flops_per_token'])} FLOP per token with full caches"),
        (
            "utilisation",
            f"{_percent(s['utilisation_of_used'])} of the cores used, "
            f"{_percent(s['utilisation_of_wafer'])} of the whole wafer",
        ),
    )
    rows = [(k["kernel"], k["kind"], k["interval_cycles"]) for k in s["slowest"]]
    return found + (_titled("slowest kernels", table(("kernel", "kind", "cycles"), rows)) if rows else "")


def _loops(loops: Sequence[Mapping[str, Any]]) -> str:
    """Kernels that several layers share; their sets differ in nothing but wires."""
    passes, longest = loops[0]["passes"], max(loop["pass_cycles"] for loop in loops)
    return f"kernels by {passes} layers each, {len(loops)} times; a pass takes up to {longest:,} cycles"


def _place(s: Mapping[str, Any]) -> str:
    if "box" not in s:
        return "no kernels"
    x, y, width, height = s["box"]
    dead = f", {s['dead_cores_in_box']} dead cores in it" if s["dead_cores_in_box"] else ""
    found = _lines(
        ("box", f"{width} x {height} at ({x},{y}){dead}"),
        ("kernels", f"{s['kernel_cores']:,} cores: {_percent(s['utilisation_of_box'])} of the box, "
                    f"{_percent(s['utilisation_of_wafer'])} of the wafer"),
        ("wires", f"{s['mean_wire_hops']:.1f} hops on average"),
    )  # fmt: skip
    rows = [(w["from"], w["to"], w["hops"], _at(w["start"])) for w in s["longest_wires"]]
    return found + (_titled("longest wires", table(("from", "to", "hops", "starts at"), rows)) if rows else "")


def _at(place: Sequence[int]) -> str:
    return f"({place[0]},{place[1]})" if place else "nowhere"


def _route(s: Mapping[str, Any]) -> str:
    colours = s["colours"]
    found = _lines(
        ("channels", f"{s['channels']:,}, {s['channels_between_kernels']:,} of them between kernels"),
        ("wire", f"{s['hops']:,} hops, {s['words_per_token']:,} words sent per token"),
        ("colours", f"at most {colours['max']} of {colours['limit']} in a router, at {_at(colours['at'])}"),
    )
    rows = [(int(number), count) for number, count in colours["routers"].items()]
    found += _titled("routers by colours", table(("colours", "routers"), rows)) if rows else ""
    links = [
        (
            _at((at["x"], at["y"])),
            at["link"],
            at["words"],
            _percent(at["share_of_interval"]),
            at["kernel"] or "none",
            at["links"],
        )
        for at in s["hottest_links"]
    ]
    head = ("router", "link", "words per token", "of the interval", "kernel there", "links like it")
    return found + (_titled("hottest links", table(head, links)) if links else "")


def _memory(s: Mapping[str, Any]) -> str:
    limit = s["limit"]
    found = _lines(
        ("in all", f"{s['total']:,} bytes, {_percent(s['share_of_wafer'])} of the wafer's memory"),
        ("per core", f"at most {s['owners']['all']['max']:,} of {limit:,} bytes"),
    )
    owners = [(o, use["max"], round(use["mean"])) for o, use in s["owners"].items() if o != "limit" and use["max"]]
    found += _titled("bytes per core by owner", table(("owner", "max", "mean"), owners)) if owners else ""
    full = [(p["program"], p["bytes"], p["cores"], p["kernel"], _at(p["at"])) for p in s["fullest"]]
    return found + (
        _titled("fullest cores", table(("program", "bytes", "cores", "first in", "at"), full)) if full else ""
    )


def _solver(s: Mapping[str, Any]) -> str:
    rows = [(section, name, _value(value)) for section, notes in s.items() for name, value in sorted(notes.items())]
    body = table(("search", "fact", "value"), list(rows)) if rows else "nothing was noted"
    return (
        f"{body}\n\nAn image holds no seconds: the same input gives the same bytes. `wsec compile --report` has them."
    )


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        text = ", ".join(f"{key}: {_value(item)}" for key, item in value.items())
    elif isinstance(value, list | tuple):
        text = " ".join(map(_value, value))
    else:
        text = f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


_SECTIONS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "summary": _summary,
    "place": _place,
    "route": _route,
    "memory": _memory,
    "solver": _solver,
}
