"""What is in an image, for people and tools: plain dicts (for --json) and their text.

`summary` and `core_detail` make the dicts, `summary_text` and `core_text` render them. Names come from models and are
data: whatever could control a terminal is escaped.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from runtime.assembly import program_text
from runtime.errors import UsageError
from runtime.geometry import mask_text
from runtime.image import Image, Port
from runtime.isa import Program
from runtime.tables import Array, core_blocks, core_positions, expand_routes, memory_bytes, queue_bytes, used_queues
from runtime.target import Target
from runtime.text import safe, table

OWNERS = ("weights", "constants", "cache", "buffer", "fifo", "code", "queues")


def summary(image: Image) -> dict[str, Any]:
    """Kernels, cores, colours, memory, ports and tensors of the image."""
    programs = image.cores["program"]
    used = programs >= 0
    return {
        "target": image.target.name,
        "max_seq": image.max_seq,
        "slots": image.slots,
        "cores": {"used": int(used.sum()), "target": image.target.cores, "programs": len(image.programs)},
        "kernels": _kernels(image),
        "memory": memory_by_owner(image),
        "colours": colours(image),
        "ports": [_port(port) for port in image.ports],
        "tensors": [
            {
                "name": name,
                "dtype": str(tensor.data.dtype),
                "shape": list(tensor.data.shape),
                "bytes": tensor.data.nbytes,
            }
            for name, tensor in sorted(image.tensors.items())
        ],
        "manifest": image.manifest,
    }


def _kernels(image: Image) -> list[dict[str, Any]]:
    needed = np.array([*(memory_bytes(program, image.target) for program in image.programs), 0], np.int64)
    kernels = []
    for block in image.blocks:
        programs = image.cores["program"][block.first : block.first + block.rows * block.cols]
        width, height = block.size
        kernels.append(
            {
                "name": block.name,
                "kind": block.kind,
                "x": block.x,
                "y": block.y,
                "width": width,
                "height": height,
                "cores": int((programs >= 0).sum()),
                "memory_max": int(needed[programs].max(initial=0)),
                "onnx": list(block.onnx),
            }
        )
    return kernels


def memory_of_programs(image: Image) -> list[dict[str, int]]:
    """Bytes by owner of a core of each program."""
    rows = []
    for program in image.programs:
        row = dict.fromkeys(OWNERS, 0)
        for region in program.regions:
            row[region.owner] = row.get(region.owner, 0) + region.bytes
        row["code"], row["queues"] = program.code_bytes, queue_bytes(program, image.target)
        rows.append(row)
    return rows


def memory_by_owner(image: Image) -> dict[str, Any]:
    """Per owner the most and the mean bytes of the used cores, and the same for all owners together."""
    counts = np.bincount(image.cores["program"][image.cores["program"] >= 0], minlength=len(image.programs))
    running = [i for i, count in enumerate(counts) if count]
    weight = counts[running]
    rows = memory_of_programs(image)
    owners = sorted({owner for row in rows for owner in row}, key=lambda o: (OWNERS.index(o) if o in OWNERS else 99, o))
    totals = {owner: [rows[i].get(owner, 0) for i in running] for owner in owners}
    totals["all"] = [memory_bytes(image.programs[i], image.target) for i in running]
    return {"limit": image.target.memory_bytes} | {
        owner: {"max": max(values, default=0), "mean": float(np.average(values, weights=weight)) if values else 0.0}
        for owner, values in totals.items()
    }


def colours(image: Image) -> dict[str, Any]:
    _, x, y = expand_routes(image.routes)
    _, per_router = np.unique(y * (1 << 16) + x, return_counts=True)
    histogram = Counter(per_router.tolist())
    return {
        "limit": image.target.colours,
        "max": max(histogram, default=0),
        "routers": {str(colours): histogram[colours] for colours in sorted(histogram)},
    }


def _port(port: Port) -> dict[str, Any]:
    lanes = [{"x": l.x, "y": l.y, "colour": l.colour, "start": l.start, "size": l.size} for l in port.lanes]
    return {
        "name": port.name,
        "direction": port.direction,
        "dtype": port.dtype,
        "shape": list(port.shape),
        "features": port.features,
        "lanes": lanes,
    }


def core_detail(image: Image, x: int, y: int) -> dict[str, Any]:
    """One place of the wafer: its core's program, memory and queues, and the routes through its router.

    Raises UsageError if (x, y) is not on the fabric.
    """
    columns, rows = image.target.fabric
    if not (0 <= x < columns and 0 <= y < rows):
        raise UsageError(f"({x},{y}) is not on the {columns} x {rows} fabric", code="no-such-core", where="--core")
    detail: dict[str, Any] = {"x": x, "y": y, "status": "outside", "routes": _routes_at(image, x, y)}
    core_x, core_y = core_positions(image)
    here = np.flatnonzero((core_x == x) & (core_y == y))
    if not len(here):
        return detail
    core = int(here[0])
    block = image.blocks[core_blocks(image)[core]]
    row, column = divmod(core - block.first, block.cols)
    detail |= {"status": "idle", "kernel": block.name, "kind": block.kind, "onnx": list(block.onnx)}
    detail |= {"row": row, "column": column, "core": core}
    number = int(image.cores["program"][core])
    return detail if number < 0 else detail | _running(image, core, number)


def _running(image: Image, core: int, number: int) -> dict[str, Any]:
    program = image.programs[number]
    inputs, outputs = used_queues(program)
    names = {"inq": dict(program.input_names), "outq": dict(program.output_names)}
    return {
        "status": "running",
        "program": program.name,
        "assembly": program_text(program),
        "memory": memory_map(program, image.target),
        "memory_used": memory_bytes(program, image.target),
        "memory_limit": image.target.memory_bytes,
        "queues": [
            {
                "direction": word,
                "queue": queue,
                "name": names[field].get(queue, ""),
                "colour": int(image.cores[field][core, queue]),
            }
            for field, word, queues in (("inq", "in", inputs), ("outq", "out", outputs))
            for queue in queues
        ],
    }


def memory_map(program: Program, target: Target) -> list[dict[str, Any]]:
    """Regions from low to high addresses, then the code, then the queues."""
    entries = [(region.address, region.bytes, region.owner, region.name) for region in program.regions]
    code = program.data_bytes
    entries.append((code, program.code_bytes, "code", ", ".join(task.name for task in program.tasks)))
    entries.append((code + program.code_bytes, queue_bytes(program, target), "queues", ""))
    keys = ("address", "bytes", "owner", "name")
    return [dict(zip(keys, entry, strict=True)) for entry in sorted(entries)]


def _routes_at(image: Image, x: int, y: int) -> list[dict[str, Any]]:
    routes = image.routes
    across = (routes["x"] <= x) & (x < routes["x"].astype(np.int64) + routes["w"])
    down = (routes["y"] <= y) & (y < routes["y"].astype(np.int64) + routes["h"])
    found: Array = routes[across & down]
    return [
        {"colour": int(r["colour"]), "from": mask_text(int(r["inputs"])), "to": mask_text(int(r["outputs"]))}
        for r in found[np.argsort(found["colour"], kind="stable")]
    ]


# Text


def summary_text(data: dict[str, Any]) -> str:
    """The summary as tables."""
    cores, memory, colours = data["cores"], data["memory"], data["colours"]
    share = 100 * cores["used"] / cores["target"]
    parts = [
        f"target {safe(data['target'])}: {cores['used']} of {cores['target']} cores ({share:.1f} %), "
        f"{cores['programs']} programs; max_seq {data['max_seq']}, {data['slots']} slots",
        table(
            ("kernel", "kind", "x", "y", "width", "height", "cores", "memory max", "ONNX"),
            [
                (k["name"], k["kind"], k["x"], k["y"], k["width"], k["height"], k["cores"], k["memory_max"], _onnx(k))
                for k in data["kernels"]
            ],
        ),
        f"memory per core (limit {memory['limit']} bytes)\n"
        + table(
            ("owner", "max", "mean"),
            [
                (owner, use["max"], round(use["mean"]))
                for owner, use in memory.items()
                if owner != "limit" and use["max"]
            ],
        ),
        f"colours per router: at most {colours['max']} of {colours['limit']}; "
        + ", ".join(f"{routers} with {count}" for count, routers in colours["routers"].items()),
        table(
            ("port", "direction", "dtype", "shape", "features", "lanes", "first lane"),
            [_port_row(port) for port in data["ports"]],
        ),
        table(
            ("tensor", "dtype", "shape", "bytes"),
            [(t["name"], t["dtype"], " x ".join(map(str, t["shape"])), t["bytes"]) for t in data["tensors"]],
        ),
    ]
    parts += [_flat("manifest", _without_cycles(data["manifest"]))] if data["manifest"] else []
    return "\n\n".join(parts)


def _onnx(kernel: dict[str, Any]) -> str:
    nodes = kernel["onnx"]
    return "" if not nodes else nodes[0] if len(nodes) == 1 else f"{nodes[0]} and {len(nodes) - 1} more"


def _port_row(port: dict[str, Any]) -> tuple[object, ...]:
    lanes = port["lanes"]
    first = f"({lanes[0]['x']},{lanes[0]['y']}) colour {lanes[0]['colour']}" if lanes else ""
    shape = " x ".join(map(str, port["shape"]))
    return (port["name"], port["direction"], port["dtype"], shape, port["features"], len(lanes), first)


def _without_cycles(manifest: dict[str, Any]) -> dict[str, Any]:
    """A prediction for every kernel is what `wsec report` is for."""
    notes = manifest.get("report")
    if not isinstance(notes, dict):
        return manifest
    return {**manifest, "report": {name: value for name, value in notes.items() if name != "cycles"}}


def _flat(name: str, value: Any) -> str:
    """Nested objects as `a.b = value` lines; long lists by their length."""
    if isinstance(value, dict) and value:
        return "\n".join(_flat(f"{name}.{key}", value[key]) for key in sorted(value))
    text = f"{len(value)} items" if isinstance(value, list) and len(value) > 8 else str(value)
    return f"{safe(name)} = {safe(text)}"


def core_text(data: dict[str, Any]) -> str:
    """One core as text."""
    place = f"({data['x']},{data['y']})"
    routes = data["routes"]
    through = (
        table(("colour", "from", "to"), [(r["colour"], r["from"], r["to"]) for r in routes])
        if routes
        else "no route passes its router"
    )
    if data["status"] == "outside":
        return f"core {place} is not used: no kernel lies there\n\n{through}"
    head = f"core {place}: row {data['row']}, column {data['column']} of {safe(data['kernel'])} ({safe(data['kind'])})"
    if data["onnx"]:
        head += "\nONNX nodes: " + ", ".join(safe(node) for node in data["onnx"])
    if data["status"] == "idle":
        return f"{head}\nit is idle: it has no program\n\n{through}"
    free = data["memory_limit"] - data["memory_used"]
    memory = table(
        ("address", "bytes", "owner", "name"),
        [(m["address"], m["bytes"], m["owner"], m["name"]) for m in data["memory"]],
    )
    queues = table(
        ("queue", "direction", "name", "colour"),
        [(q["queue"], q["direction"], q["name"], q["colour"]) for q in data["queues"]],
    )
    used = f"memory: {data['memory_used']} of {data['memory_limit']} bytes, {free} free"
    return "\n\n".join([head, data["assembly"], f"{used}\n{memory}", queues, through])
