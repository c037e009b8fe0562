"""The kernels of an image, the streams between them, and the ONNX nodes they work for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from runtime.bundles import Bundle, bundles
from runtime.image import Block, Image
from runtime.inspect import memory_of_programs
from runtime.layers import layers
from runtime.page.pack import Array
from runtime.report import notes, predicted_cycles
from runtime.tables import expand_routes, memory_bytes
from runtime.wires import Tables, Wires
from runtime.work import work


def node_names(image: Image) -> list[str]:
    """Every ONNX node some kernel works for, in the order of the kernels."""
    return list(dict.fromkeys(name for block in image.blocks for name in block.onnx))


def kernels(image: Image, wires: Wires) -> list[dict[str, Any]]:
    """All kernels, in the order of the image's blocks.

    Bytes are of a core's memory; `owners` has the most of one core and all cores' sum by owner. `nodes` are indices of
    `node_names`, `programs` pairs of program number and cores. `link`: most words per token on one link out of a router
    of the rectangle, `colours`: most colours in such a router. `macs`: multiply-accumulates of all its cores and a
    token. `layers`: first and last that it works for, None outside them. Cycles are the compiler's closed forms, None
    where it noted none.
    """
    index = {name: number for number, name in enumerate(node_names(image))}
    cycles = predicted_cycles(image)
    remarks = notes(image, "remarks")
    costs = _Costs(image)
    used = colours_used(image)
    busiest = wires.load[:4].max(axis=0)
    found = []
    for block, layer in zip(image.blocks, layers(image), strict=True):
        interval, latency = cycles.get(block.name, (None, None))
        remark = remarks.get(block.name)
        found.append(
            {
                "name": block.name,
                "kind": block.kind,
                "box": [block.x, block.y, *block.size],
                "rows": block.rows,
                "cols": block.cols,
                "turned": block.orientation.code,
                "first": block.first,
                "layers": None if layer is None else [layer.first, layer.last],
                "nodes": [index[name] for name in block.onnx],
                "interval": interval,
                "latency": latency,
                "remark": remark if isinstance(remark, str) else "",
                "link": int(_part(busiest, image, block).max(initial=0)),
                "colours": int(_part(used, image, block).max(initial=0)),
                **costs.of(block),
            }
        )
    return found


def streams(image: Image, tables: Tables, wires: Wires) -> list[dict[str, Any]]:
    """Bundles of lanes between kernels, and to or from the host (kernel -1).

    `ways`: for every sink the corners of the middle lane's way, x and y in turn.
    """
    return [_stream(bundle) for bundle in bundles(image, tables, wires)]


def _stream(bundle: Bundle) -> dict[str, Any]:
    ways = [[part for point in way for part in point] for way in bundle.ways]
    return {"from": bundle.source, "to": list(bundle.sinks), "lanes": bundle.lanes, "words": bundle.words, "ways": ways}


def colours_used(image: Image) -> Array:
    """Colours of every router of the usable rectangle, int64[rows, columns]."""
    x0, y0, columns, rows = image.target.usable
    _, x, y = expand_routes(image.routes)
    inside = (x >= x0) & (x < x0 + columns) & (y >= y0) & (y < y0 + rows)
    return np.bincount((y[inside] - y0) * columns + x[inside] - x0, minlength=rows * columns).reshape(rows, columns)


def _part(raster: Array, image: Image, block: Block) -> Array:
    """The rectangle of a kernel out of a raster of the usable rectangle."""
    x, y = block.x - image.target.usable[0], block.y - image.target.usable[1]
    width, height = block.size
    found: Array = raster[max(0, y) : y + height, max(0, x) : x + width]
    return found


class _Costs:
    """What programs take, added up over the cores of a kernel."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.owners = memory_of_programs(image)
        self.bytes = [memory_bytes(program, image.target) for program in image.programs]
        works = [work(program) for program in image.programs]
        self.macs = [w.f16 + w.f32 for w in works]

    def of(self, block: Block) -> dict[str, Any]:
        program = self.image.cores["program"][block.first : block.first + block.rows * block.cols]
        numbers, counts = np.unique(program[program >= 0], return_counts=True)
        pairs = list(zip(numbers.tolist(), counts.tolist(), strict=True))
        owners: dict[str, list[int]] = {}
        for number, count in pairs:
            for owner, size in self.owners[number].items():
                most, total = owners.get(owner, (0, 0))
                owners[owner] = [max(most, size), total + size * count]
        return {
            "cores": int(counts.sum()),
            "programs": [[number, count] for number, count in pairs],
            "memory_max": max((self.bytes[number] for number, _ in pairs), default=0),
            "memory_total": sum(self.bytes[number] * count for number, count in pairs),
            "owners": {owner: use for owner, use in owners.items() if use[1]},
            "macs": sum(self.macs[number] * count for number, count in pairs),
        }


def ports(image: Image) -> list[dict[str, Any]]:
    """Where the image meets the host, and how long a token takes there."""
    rate = image.target.host_words_per_cycle
    words = [max((1 + lane.size for lane in port.lanes), default=0) for port in image.ports]
    return [
        {
            "name": port.name,
            "direction": port.direction,
            "dtype": port.dtype,
            "shape": [str(size) for size in port.shape],
            "features": port.features,
            "interval": int(np.ceil(most / rate)) if rate > 0 else None,
            "lanes": [[lane.x, lane.y, lane.colour, lane.start, lane.size] for lane in port.lanes],
        }
        for port, most in zip(image.ports, words, strict=True)
    ]


def provenance(image: Image) -> Mapping[str, Any]:
    found = image.manifest.get("provenance")
    return found if isinstance(found, Mapping) else {}
