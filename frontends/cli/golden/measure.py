"""Compile a model, check it against onnxruntime, and read off every number that a baseline holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from compiler.driver import Options
from compiler.ir.passes import Progress, no_progress
from frontends.cli import toolchain
from frontends.cli.golden.baseline import Run
from frontends.cli.golden.options import shown, with_paths
from frontends.cli.golden.policy import Metric, rounded, rule_of
from frontends.cli.version import VERSION
from runtime.check import CheckReport, Layer, compare_all, random_inputs, reference, tolerance
from runtime.errors import NumericsError
from runtime.image import Image
from runtime.report import report
from runtime.session import Session
from runtime.text import safe

PACKAGES = ("onnxruntime", "ortools", "numpy")  # beside wsec, what numbers may depend on


@dataclass(frozen=True)
class Measured:
    """What a model came to. `limits`: what errors must not exceed whatever a baseline says; `outside`: those that do.
    `check` has all metrics of the outputs."""

    model: str
    model_sha256: str
    options: Mapping[str, Any]
    run: Run
    made_with: Mapping[str, str]
    values: Mapping[Metric, float]
    limits: Mapping[Metric, float]
    outside: frozenset[Metric]
    check: CheckReport


def measure(
    model: Path,
    options: Mapping[str, Any],
    run: Run,
    *,
    folder: Path,
    threads: int = 2,
    progress: Progress = no_progress,
) -> Measured:
    """All numbers of `model`. options: those of a baseline, whose files lie in `folder`.

    Raises what `compile_model` and `check_model` raise.
    """
    compiled = Options(**with_paths(options, folder))
    image = toolchain.compile_model(model, compiled, progress=progress)
    inside = toolchain.Inside(level="executed") if run.layers else None
    check = toolchain.check_model(
        model,
        image,
        options=compiled,
        tokens=run.tokens,
        batch=run.batch,
        seed=run.seed,
        inside=inside,
        threads=threads,
        progress=progress,
    )
    found: dict[Metric, float] = {}
    errors = list(_errors(check))
    found.update((error.metric, error.value) for error in errors)
    for output in check.outputs:
        found[Metric("output", safe(output.name), "argmax")] = output.argmax_agreement
    found.update(_costs(image))
    if run.cycle_tokens:
        found.update(_timed(model, image, run, check, threads, progress))
    return Measured(
        model=safe(model.name),
        model_sha256=str(image.manifest["provenance"]["model_sha256"]),
        options=shown(options),
        run=run,
        made_with={"wsec": VERSION} | {name: metadata.version(name) for name in PACKAGES},
        values={metric: rounded(value, rule_of(metric)) for metric, value in found.items()},
        limits={error.metric: error.limit for error in errors},
        outside=frozenset(error.metric for error in errors if not error.passed),
        check=check,
    )


class _Error(NamedTuple):
    metric: Metric
    value: float
    limit: float
    passed: bool


def _errors(check: CheckReport) -> Iterator[_Error]:
    """Of the outputs, and of the values inside the model where they were compared."""
    for output in check.outputs:
        yield _Error(Metric("output", safe(output.name), "error"), output.max_rel, output.tolerance, output.passed)
    names = _layer_names(check.layers)
    for layer in check.layers:
        if layer.max_rel is not None:
            metric = Metric("layer", names[id(layer)], "error")
            yield _Error(metric, layer.max_rel, layer.tolerance, not layer.drifted)
        if layer.share is not None:
            yield _Error(Metric("layer", names[id(layer)], "share"), layer.share, 1.0, not layer.wrong)


def _layer_names(layers: Sequence[Layer]) -> dict[int, str]:
    """By identity: what the value is for people, with its kernel where several are called the same."""
    names = [layer.where or layer.name or layer.op for layer in layers]
    often = {name for name, count in Counter(names).items() if count > 1}
    return {
        id(layer): safe(f"{name} ({layer.maker})" if name in often else name)
        for layer, name in zip(layers, names, strict=True)
    }


def _costs(image: Image) -> Iterator[tuple[Metric, float]]:
    """What the image's tables and the compiler's notes say. A number that nobody noted is left out."""
    data = report(image, top=1)
    summary, route = data["summary"], data["route"]
    cost = {
        "interval_cycles": summary["interval_cycles"],
        "latency_cycles": summary["latency_cycles"],
        "cores": summary["cores_used"],
        "memory_peak_bytes": data["memory"]["owners"]["all"]["max"],
        "hottest_link_words": max((link["words"] for link in route["hottest_links"]), default=0),
        "colours": route["colours"]["max"],
    }
    yield from ((Metric("cost", "", name), float(value)) for name, value in cost.items() if value is not None)
    for name, gap in _gaps(data["solver"]).items():
        yield Metric("solver", "", name), gap


def _gaps(solver: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """How far sizes and places may be from the best: what was found over what was proved to be the least."""
    size, place = solver.get("size", {}), solver.get("place", {})
    pairs = {
        "interval_over_bound": (
            size.get("interval_cycles", 0),
            max(size.get("area_bound_cycles", 0), size.get("host_bound_cycles", 0)),
        ),
        "wire_over_bound": (place.get("objective", place.get("cost", 0)), place.get("bound", 0)),
    }
    return {name: found / bound for name, (found, bound) in pairs.items() if bound > 0}


def _timed(
    model: Path, image: Image, run: Run, check: CheckReport, threads: int, progress: Progress
) -> Iterator[tuple[Metric, float]]:
    """One sequence on the cycle machine. Its outputs are compared too: the time of wrong numbers is worth nothing.

    Raises NumericsError if they are wrong.
    """
    exact = all(not output.tolerance for output in check.outputs)
    inputs: dict[str, Any] = random_inputs(image.ports, tokens=run.cycle_tokens, seed=run.seed, integers=exact)
    session = Session(image, threads, "cycle")
    got = session.run(**inputs, progress=lambda done, total: progress("running cycle by cycle", done, total))
    wanted, _ = reference(model, inputs)
    for output in compare_all(got, wanted, tolerance(check.precision, exact=exact)):
        if not output.passed:
            raise NumericsError(
                f"error {output.max_rel:.2e} on the cycle machine, allowed {output.tolerance:.0e}",
                code="outside-tolerance", where=f"output {safe(output.name)}",
            )  # fmt: skip
    timing = session.timing
    assert timing is not None
    cycles = {
        "first_token_cycles": timing.first_token,
        "cycles_per_token": timing.per_token,
        "cycles": timing.cycles,
    }
    yield from ((Metric("measured", "", name), float(value)) for name, value in cycles.items() if value is not None)
