"""core IR -> image: the last step, a plain transcription."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from compiler.ir.core import IRError, Op
from compiler.passes.report import report
from compiler.program.from_ir import program
from compiler.resources import ResourceStore
from compiler.route.table import boxes
from compiler.route.tree import expand
from runtime.geometry import Orientation
from runtime.image import CORE, ROUTE, Block, Image, Init, Port, PortLane, Tensor
from runtime.isa import INPUT_QUEUES, OUTPUT_QUEUES
from runtime.target import Target


def package(module: Op, resources: ResourceStore, target: Target, provenance: Mapping[str, Any]) -> Image:
    """The image of a module at core level. `provenance` goes into the manifest beside the compile report.

    Raises IRError if an op means nothing to the machine, InputError for a channel's tree that is none.
    """
    body = module.body
    options: Any = module.attrs.get("options", {})
    if "max_seq" not in options or "slots" not in options:
        raise IRError("the module has no options max_seq and slots")
    programs = {str(op.attrs["sym_name"]): program(op) for op in body.find("core.program")}
    numbers = {name: number for number, name in enumerate(programs)}
    blocks: list[Block] = []
    inits: list[Init] = []
    cores = [np.zeros(0, CORE)]
    for op in body.find("core.block"):
        block = _block(op, sum(map(len, cores)), target)
        cores.append(_cores(op, block, numbers))
        inits += [_init(inner, len(blocks)) for inner in op.body.find("core.init")]
        blocks.append(block)
    storage = _storage(inits)
    remarks = {op.attrs["sym_name"]: op.attrs["remark"] for op in body.find("core.block") if "remark" in op.attrs}
    return Image(
        target=target,
        programs=list(programs.values()),
        blocks=blocks,
        cores=np.concatenate(cores),
        routes=_routes(body.ops),
        inits=inits,
        tensors={name: _tensor(resources, name, dtypes) for name, dtypes in sorted(storage.items())},
        ports=[_port(op) for op in body.find("core.port")],
        max_seq=options["max_seq"],
        slots=options["slots"],
        manifest={"provenance": dict(provenance), "report": {**report(module), "remarks": remarks}},
    )


def _block(op: Op, first: int, target: Target) -> Block:
    a: Any = op.attrs
    if not (min(a["rows"], a["cols"]) > 0 and a["rows"] * a["cols"] <= target.cores and 0 <= a["orientation"] < 8):
        raise IRError(f"{op.name} {a['sym_name']}: no rectangle of {a['rows']} x {a['cols']} cores on {target.name}")
    orientation = Orientation(a["orientation"])
    return Block(a["sym_name"], a["kind"], a["x"], a["y"], a["rows"], a["cols"], orientation, first, op.loc.names)


def _cores(op: Op, block: Block, numbers: Mapping[str, int]) -> np.ndarray[Any, Any]:
    table = np.zeros((block.rows, block.cols), CORE)
    table["program"] = -1
    table["inq"] = np.full(INPUT_QUEUES, -1, np.int8)
    table["outq"] = np.full(OUTPUT_QUEUES, -1, np.int8)
    for inner in op.body.ops:
        a: Any = inner.attrs
        if inner.name == "core.run":
            table["program"][slice(*a["rows"]), slice(*a["cols"])] = numbers[a["program"].name]
        elif inner.name == "core.bind":
            queues = table["inq" if a["direction"] == "in" else "outq"]
            queues[slice(*a["rows"]), slice(*a["cols"]), a["queue"]] = a["colour"]
    return table.reshape(-1)


def _init(op: Op, block: int) -> Init:
    a: Any = op.attrs
    return Init(block=block, **{**a, "tensor": a["tensor"].name})


def _storage(inits: list[Init]) -> dict[str, set[str]]:
    """Element types each tensor is wanted in."""
    wanted: dict[str, set[str]] = {}
    for init in inits:
        wanted.setdefault(init.tensor, set()).add(init.dtype)
    return wanted


def _tensor(resources: ResourceStore, name: str, wanted: set[str]) -> Tensor:
    """A tensor as cores want it if all agree, which halves an fp16 image; else as it is, and the loader converts.

    One that lies in a file is converted only when it is written into another.
    """
    array, source = resources.get(name), resources.source(name)
    if wanted == {"i32"} and array.dtype != np.int32:
        return Tensor(array.astype(np.int32))
    if wanted != {"f16"} or array.dtype != np.float32:
        return Tensor(array, source)
    half: np.dtype[Any] = np.dtype(np.float16)
    return Tensor(array.astype(half)) if source is None else Tensor(array, source, half)


def _routes(ops: list[Op]) -> np.ndarray[Any, Any]:
    """The router table: kernels' own routes, and channels by colour and masks joined into rectangles."""
    rows: list[tuple[int, ...]] = []
    keys = ("x", "y", "w", "h", "colour", "inputs", "outputs")
    channels: list[Any] = []
    for op in ops:
        if op.name == "core.block":
            inner: list[Any] = [route.attrs for route in op.body.find("core.route")]
            rows += [tuple(route[key] for key in keys) for route in inner]
        elif op.name == "fabric.channel":
            channels.append(op.attrs)
    forest = expand([channel["tree"] for channel in channels])
    colours = np.array([channel["colour"] for channel in channels], np.int64)
    what = (colours[forest.tree] << 10) | (forest.inputs << 5) | forest.outputs
    what, x, y, w, h = boxes(what, forest.x, forest.y)
    joined = np.stack([x, y, w, h, what >> 10, what >> 5 & 31, what & 31], axis=1)
    table = np.concatenate([np.array(rows, np.int64).reshape(-1, len(keys)), joined])
    table = table[np.lexsort(table.T[::-1])]
    routes = np.empty(len(table), ROUTE)
    for key, column in zip(keys, table.T, strict=True):
        routes[key] = column
        if np.any(routes[key] != column):
            raise IRError(f"a route has {key} = {column[routes[key] != column][0]}, which no router table can hold")
    return routes


def _port(op: Op) -> Port:
    a: Any = op.attrs
    lanes = tuple(PortLane(*lane) for lane in a["lanes"])
    return Port(a["name"], a["direction"], a["dtype"], a["shape"], a["features"], lanes, a.get("limit"))
