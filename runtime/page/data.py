"""Everything a page shows of one image, as one JSON value.

What is needed at once (a summary, the kernels, the streams between them) is plain; what needs a look first (rasters,
programs, texts) is packed. Same image and additions, same value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runtime.image import Image
from runtime.page import cells, kernels, programs, runs
from runtime.page.pack import pack_json
from runtime.page.stages import Stage, stages
from runtime.report import notes, report
from runtime.target import Target
from runtime.wires import Tables, trace

SCHEMA = 1
TOP = 10


@dataclass(frozen=True)
class Extras:
    """What an image does not hold.

    run: the JSON of a cycle run, read from run_file. stages: the module after every pass. seconds: what each phase of
    the compilation took, by name.
    """

    run: Any = None
    run_file: str = ""
    stages: Sequence[Stage] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)


NOTHING = Extras()


def page_data(image: Image, file: str, extras: Extras = NOTHING) -> dict[str, Any]:
    """All about one image. `file`: its name, for people. Raises InputError for a run that is not of this image."""
    tables = Tables(image)
    wires = trace(image, tables)
    made = report(image, TOP, wires)
    return {
        "schema": SCHEMA,
        "file": file,
        "target": _target(image.target),
        "provenance": _provenance(image),
        "report": {name: made[name] for name in ("summary", "place", "route", "memory")},
        "bounds": _bounds(made["summary"]),
        "notes": {name: dict(notes(image, name)) for name in ("size", "place", "route")},
        "nodes": kernels.node_names(image),
        "kernels": kernels.kernels(image, wires),
        "streams": kernels.streams(image, tables, wires),
        "ports": kernels.ports(image),
        "cores": cells.cores(image),
        "loads": cells.loads(wires),
        "routes": cells.routes(image),
        "programs": pack_json(programs.programs(image)),
        "texts": pack_json(programs.texts(image)),
        "run": None if extras.run is None else runs.run(image, extras.run, extras.run_file),
        "stages": stages(extras.stages),
        "seconds": dict(extras.seconds),
    }


def _bounds(summary: Mapping[str, Any]) -> dict[str, float | None]:
    """Cycles that no interval can be below: of the host's channels, of arithmetic, of passes through shared kernels."""
    passes = max((loop["interval_cycles"] for loop in summary["loops"]), default=None)
    return {"host": summary["host_bound_cycles"], "area": summary["area_bound_cycles"], "passes": passes}


def _target(target: Target) -> dict[str, Any]:
    return {
        "name": target.name,
        "fabric": list(target.fabric),
        "usable": list(target.usable),
        "memory_bytes": target.memory_bytes,
        "colours": target.colours,
        "clock_ghz": target.clock_ghz,
        "defects": [list(rectangle) for rectangle in target.defects],
    }


def _provenance(image: Image) -> dict[str, str]:
    """Where the image comes from, in words: names and options, whatever types a stranger's file has there."""
    found = kernels.provenance(image)
    options = found.get("options")
    words = {key: str(found[key]) for key in ("tool", "version", "model", "model_sha256") if key in found}
    return words | ({key: str(options[key]) for key in sorted(options)} if isinstance(options, Mapping) else {})
