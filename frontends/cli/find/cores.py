"""From a kernel whose output is wrong to the core where the error enters, with got and wanted.

1. The worst element belongs to a lane, and so to a core, a place in the block it sends, and a colour.
2. Routes: every lane into the kernel, as the router tables lead it, must come from the core the compiler meant.
3. Chains: products and lookups add up partial sums from core to core of a column. The image runs once more with a tap
   on that column; each core's sum is held to what it received plus its own share, so no other core need be right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compiler import bounds
from compiler.bounds import Rounding
from compiler.flow_interpreter import Run, sequence, stored
from compiler.graph_interpreter import UNARY
from compiler.kernels.base import CHAIN_OUT, STREAM_OUT, region_address
from compiler.kernels.lookup import Lookup
from compiler.kernels.matvec import Finisher, Matvec, Role
from compiler.kernels.port import Port
from compiler.kernels.tile import TileLayout
from compiler.passes.nets import Netlist
from frontends.cli.find.executed import Standing, Streams, received, should_be
from frontends.cli.find.levels import difference
from runtime.check import Finding, Layer
from runtime.image import Image
from runtime.loader import Loaded, load
from runtime.session import Session
from runtime.state import C_IN
from runtime.tap import Source, Tap, sources_of

Array = np.ndarray[Any, Any]

ONE_SIDE = Rounding(sides=1)


@dataclass(frozen=True)
class Scene:
    """What looking for a core needs: the image as it ran, the kernels in it, what they sent, and the inputs."""

    image: Image
    netlist: Netlist
    kernels: Sequence[Standing]
    streams: Streams
    inputs: Mapping[str, Array]
    run: Run
    threads: int

    def standing(self, index: int) -> Standing | None:
        """A kernel of the netlist as it stands in the image; None for a host port."""
        return next((kernel for kernel in self.kernels if kernel.op is self.netlist.ops[index]), None)


def locate(scene: Scene, kernel: Standing, layer: Layer) -> Finding:
    """The core at which the error of a wrong kernel enters, as closely as can be told."""
    got = scene.streams.get(kernel.op)
    wanted, bound = should_be(kernel.op, scene.streams, scene.run)
    place = _worst(difference(got, wanted), bound)
    lane, element = divmod(place[-1], kernel.sources[0].words - 1)
    source = kernel.sources[lane]
    x, y = _position(kernel, source.core)
    colour = int(scene.image.cores["outq"][source.core, source.queue])
    finding = Finding(
        kernel=kernel.name,
        where=layer.where,
        token=place[:-1],
        element=element,
        lane=lane,
        core=(x, y),
        colour=colour,
        got=float(got[place]),
        wanted=float(wanted[place]),
        cause="kernel",
        text=f"{_token(place)}, {layer.where}, kernel {kernel.name}: core ({x}, {y}) sends element {element} of lane "
        f"{lane}'s block on colour {colour}: got {got[place]:.7g}, wanted {wanted[place]:.7g}",
    )
    return misrouted(scene, kernel, finding) or _in_chain(scene, kernel, finding) or finding


def _worst(errors: Array, bound: Array) -> tuple[int, ...]:
    """Where the error is largest in units of its bound; where that is infinite, where it is largest."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(errors > bound, np.where(bound > 0, errors / np.maximum(bound, 1e-300), errors), 0)
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(np.nan_to_num(share, nan=np.inf))), errors.shape))


def _position(kernel: Standing, core: int) -> tuple[int, int]:
    x, y = kernel.block.at(*divmod(core - kernel.block.first, kernel.block.cols))
    return int(x), int(y)


def _token(place: tuple[int, ...]) -> str:
    row, *rest = place[:-1]
    return f"sequence {row}, position {rest[-1]}" if rest else f"sequence {row}"


# ---- Routes ----


@dataclass(frozen=True)
class Misroute:
    """Lane `lane` of the netlist's net ends at a ring that another unit fills."""

    net: int
    lane: int
    sink: int  # kernel of the netlist
    x: int
    y: int
    colour: int
    wanted: tuple[int, int]  # unit and queue that should fill it
    got: tuple[int, int]


def misroutes(scene: Scene) -> Iterator[Misroute]:
    """Every end of a lane that the router tables fill from elsewhere than the compiler meant, in module order."""
    loaded = load(scene.image, 1)
    units, queues = sources_of(loaded)
    for number, net in enumerate(scene.netlist.nets):
        senders = _senders(scene, loaded, net.source)
        for sink, port in net.sinks:
            for lane, ring, x, y, colour in _ends(scene, loaded, sink, port):
                filled = int(units[ring]), int(queues[ring])
                if filled != senders[lane]:
                    yield Misroute(number, lane, sink, x, y, colour, senders[lane], filled)


def _senders(scene: Scene, loaded: Loaded, end: tuple[int, str]) -> list[tuple[int, int]]:
    """(unit, queue) of every lane of an output port, or of a host port."""
    kernel = scene.standing(end[0])
    if kernel is not None:
        return [(source.core, source.queue) for source in kernel.sources]
    first, count = _host_lanes(scene.image, scene.netlist.kernels[end[0]], "in")
    return [(loaded.cores + first + lane, -1) for lane in range(count)]


def _host_lanes(image: Image, port: Any, direction: str) -> tuple[int, int]:
    """The first lane of a host port among all of its direction, and how many it has."""
    first = 0
    for known in (known for known in image.ports if known.direction == direction):
        if known.name == port.name:
            return first, len(known.lanes)
        first += len(known.lanes)
    raise KeyError(port.name)


def _ends(scene: Scene, loaded: Loaded, sink: int, port: str) -> Iterator[tuple[int, int, int, int, int]]:
    """(lane, ring, x, y, colour) of every queue that should hear a lane of an input port."""
    made, kernel = scene.netlist.kernels[sink], scene.standing(sink)
    if kernel is None:
        assert isinstance(made, Port)
        first, count = _host_lanes(scene.image, made, "out")
        rings = int(np.count_nonzero(loaded.queue >= 0)) + first
        for lane in range(count):
            at = loaded.lanes_out[first + lane]
            yield lane, rings + lane, at.x, at.y, at.colour
        return
    for lane, heard in enumerate(made.inputs()[port]):
        queue = made.lane_queue(port, lane)
        for col, row, cols, rows in heard.hears:
            for r in range(row, row + rows):
                for c in range(col, col + cols):
                    core = kernel.block.first + r * kernel.block.cols + c
                    x, y = kernel.block.at(r, c)
                    colour = int(scene.image.cores["inq"][core, queue])
                    yield lane, int(loaded.state.core[core, C_IN + queue]), int(x), int(y), colour


def misrouted(scene: Scene, kernel: Standing | None, finding: Finding | None) -> Finding | None:
    """The first lane into a kernel (None: any, also into the host) that comes from elsewhere, with what it brought."""
    for found in misroutes(scene):
        if kernel is None or scene.standing(found.sink) is kernel:
            return _misroute_finding(scene, found, finding)
    return None


def _misroute_finding(scene: Scene, found: Misroute, finding: Finding | None) -> Finding:
    net = scene.netlist.nets[found.net]
    meant, came = (_lane_of(scene, end) for end in (found.wanted, found.got))
    sink = scene.standing(found.sink)
    name = sink.name if sink is not None else f"host port {scene.image.ports[-1].name}"
    token: tuple[int, ...] = ()
    element, got, wanted = 0, float("nan"), float("nan")
    if meant is not None and came is not None and meant[1].shape == came[1].shape:
        place = _worst(difference(came[1], meant[1]), np.zeros(meant[1].shape))
        token, element = place[:-1], place[-1]
        got, wanted = float(came[1][place]), float(meant[1][place])
    brings = came[0] if came is not None else "the words of nothing known"
    text = (
        f"core ({found.x}, {found.y}) of {name} hears on colour {found.colour} {brings}, not "
        f"{meant[0] if meant is not None else net.name}: the route is wrong"
    )
    if token:
        text += f"; element {element} of the block that arrives: got {got:.7g}, wanted {wanted:.7g}"
    before = f"{finding.text}\n  " if finding is not None else ""
    return Finding(
        kernel=name,
        where=finding.where if finding is not None else name,
        token=token,
        element=element,
        lane=found.lane,
        core=(found.x, found.y),
        colour=found.colour,
        got=got,
        wanted=wanted,
        cause="route",
        text=before + text,
    )


def _lane_of(scene: Scene, end: tuple[int, int]) -> tuple[str, Array] | None:
    """What sends from a queue, in words, and the block it sent; None if it is no lane between kernels."""
    for kernel in scene.kernels:
        for lane, source in enumerate(kernel.sources):
            if (source.core, source.queue) == end:
                x, y = _position(kernel, source.core)
                start = lane * (kernel.sources[0].words - 1)
                block = scene.streams.get(kernel.op)[..., start : start + source.words - 1]
                return f"lane {lane} of {kernel.name} from core ({x}, {y})", block
    return None


# ---- Chains ----

# What a core of a column should send for what it received: (values, bound), and the addresses of what it keeps.
Step = Callable[[Array], tuple[Array, Array]]


@dataclass(frozen=True)
class _Place:
    """A core of the column: its row, what it should do, and of a product its tile [k, n] and operand [.., k]."""

    row: int
    step: Step
    tile: Array | None = None
    x: Array | None = None


def _in_chain(scene: Scene, kernel: Standing, finding: Finding) -> Finding | None:
    """The first core of the wrong element's column that sends something else than it should."""
    column = _column(scene, kernel, finding.lane)
    if not column:
        return None
    heard = _listen(scene, kernel, finding.lane, column)
    coming = np.zeros((*scene.streams.axes, kernel.sources[finding.lane].words - 1))
    for place in column:
        wanted, bound = place.step(coming.astype(np.float64))
        sent = heard[place.row]
        errors = difference(sent, wanted)
        if (errors > bound).any():
            return _chain_finding(kernel, finding, place, sent, wanted, errors, bound)
        coming = sent
    return None


def _listen(scene: Scene, kernel: Standing, col: int, column: Sequence[_Place]) -> list[Array]:
    """What every core of a column sent down, without headers: a run of its own."""
    n, last = kernel.sources[col].words - 1, kernel.block.rows - 1
    sources = []
    for place in column:
        core = kernel.block.first + place.row * kernel.block.cols + col
        header = 1 if place.row == last or _leads(kernel, place.row) else 0
        sources.append(Source(core, STREAM_OUT if place.row == last else CHAIN_OUT, n + header))
    pieces: list[list[Array]] = [[] for _ in sources]

    def listener(_headers: Array, words: list[Array]) -> None:
        for found, piece in zip(pieces, words, strict=True):
            found.append(piece[:, -n:].copy())

    given: dict[str, Any] = dict(scene.inputs)
    Session(scene.image, scene.threads, tap=Tap(sources, listener)).run(**given)
    return [np.concatenate(found).view(np.float32).reshape(*scene.streams.axes, n) for found in pieces]


def _leads(kernel: Standing, row: int) -> bool:
    """Whether a core that is not the column's last sends a header before its block."""
    made = kernel.kernel
    return isinstance(made, Matvec) and row >= made.slices.lanes - 1


def _column(scene: Scene, kernel: Standing, col: int) -> list[_Place]:
    made = kernel.kernel
    if isinstance(made, Matvec):
        return list(_matvec_column(scene, kernel, made, col))
    if isinstance(made, Lookup):
        return list(_lookup_column(scene, kernel, made, col))
    return []


def _matvec_column(scene: Scene, kernel: Standing, made: Matvec, col: int) -> Iterator[_Place]:
    (given,) = received(kernel.op, scene.streams, scene.run)
    x = stored(kernel.op, given.astype(np.float64), scene.run)
    tile = _columns_of(scene, kernel, made, col)
    bias = _bias_of(scene, made, col)
    for r in range(made.rows):
        role = made.role(r, col)
        if isinstance(role, Finisher):
            yield _Place(r, _finishing(made.activation, role))
            continue
        rows = slice(made.slices.start(r), made.slices.start(r) + made.slices.size(r))
        bottom = r == made.slices.lanes - 1
        activation = made.activation if bottom and not made.finishers else ""
        share = bias if bottom else np.zeros_like(bias)
        yield _Place(r, _adding(x[..., rows], tile[rows], share, activation), tile[rows], x[..., rows])


def _columns_of(scene: Scene, kernel: Standing, made: Matvec, col: int) -> Array:
    """The columns of all groups' matrices that a column of cores keeps, as stored, [features, n]."""
    parts = []
    for group, blocks in zip(made.groups, made.group_blocks, strict=True):
        matrix = scene.run.resources.get(group.weight.name)
        matrix = matrix.T if group.weight.transposed else matrix
        first = group.start + blocks.start(col)
        parts.append(stored(kernel.op, matrix[:, first : first + blocks.size(col)], scene.run))
    return np.concatenate(parts, axis=1)


def _bias_of(scene: Scene, made: Matvec, col: int) -> Array:
    parts = []
    for group, blocks in zip(made.groups, made.group_blocks, strict=True):
        first, size = group.start + blocks.start(col), blocks.size(col)
        given = scene.run.resources.get(group.bias).reshape(-1) if group.bias is not None else np.zeros(first + size)
        parts.append(given[first : first + size].astype(np.float64))
    return np.concatenate(parts)


def _adding(x: Array, tile: Array, bias: Array, activation: str) -> Step:
    """Of a core with a tile: the sum that came, its own products, the bias, perhaps the activation."""

    def step(coming: Array) -> tuple[Array, Array]:
        size = np.abs(x) @ np.abs(tile) + np.abs(bias) + np.abs(coming)
        off = ONE_SIDE.gamma(len(tile) + 3) * size
        y = x @ tile + bias + coming
        if not activation:
            return y, off
        y = UNARY[activation](y)
        return y, bounds.unary(activation, size, y, off, ONE_SIDE)

    return step


def _finishing(activation: str, role: Finisher) -> Step:
    def step(coming: Array) -> tuple[Array, Array]:
        y, off = coming.copy(), np.zeros(coming.shape)
        own = (..., slice(role.start, role.end))
        y[own] = UNARY[activation](coming[own])
        off[own] = bounds.unary(activation, np.abs(coming[own]), y[own], off[own], ONE_SIDE)
        return y, off

    return step


def _lookup_column(scene: Scene, kernel: Standing, made: Lookup, col: int) -> Iterator[_Place]:
    """Every core adds a row of its table, or zeros."""
    (ids,) = received(kernel.op, scene.streams, scene.run)
    ids = ids[..., 0].astype(np.int64)
    positions = np.broadcast_to(np.arange(sequence(ids[..., None])), ids.shape)
    columns = slice(made.blocks.start(col), made.blocks.start(col) + made.blocks.size(col))
    for r in range(made.rows):
        number, local = made.owner(r)
        table, index = made.tables[number], positions if number else ids
        mine = index // table.block == local
        rows = stored(kernel.op, scene.run.resources.get(table.name)[index, columns], scene.run)
        yield _Place(r, _passing(np.where(mine[..., None], rows, 0)))


def _passing(own: Array) -> Step:
    def step(coming: Array) -> tuple[Array, Array]:
        y = coming + own
        return y, ONE_SIDE.one * np.abs(y)

    return step


def _chain_finding(
    kernel: Standing, finding: Finding, place: _Place, sent: Array, wanted: Array, errors: Array, bound: Array
) -> Finding:
    at = _worst(errors, bound)
    x, y = (int(i) for i in kernel.block.at(place.row, finding.lane))
    rows = kernel.block.rows
    lines = [
        finding.text,
        f"the error enters at core ({x}, {y}), {place.row + 1} of {rows} in its column: element {at[-1]} of what it "
        f"sends on for {_token(at)}: got {sent[at]:.7g}, wanted {wanted[at]:.7g}; rounding explains {bound[at]:.1e}",
    ]
    weight = _one_weight(place, sent - wanted, at[-1])
    if weight is not None:
        k, has, should = weight
        lines.append(f"as if one weight of its tile, row {k}, column {at[-1]}, were {has:.5g}, not {should:.5g}")
        address = _address(kernel, place.row, finding.lane, k, at[-1])
        lines[-1] += f" (byte {address} of its memory)"
    return Finding(
        kernel=kernel.name,
        where=finding.where,
        token=at[:-1],
        element=at[-1],
        lane=finding.lane,
        core=(x, y),
        colour=finding.colour,
        got=float(sent[at]),
        wanted=float(wanted[at]),
        cause="weight" if weight is not None else "chain",
        text="\n  ".join(lines),
    )


def _one_weight(place: _Place, errors: Array, element: int) -> tuple[int, float, float] | None:
    """(row of the tile, what the weight seems to be, what it should be) if one wrong weight explains all tokens."""
    if place.tile is None or place.x is None or errors[..., element].size < 2 or not np.isfinite(errors).all():
        return None
    e, x = errors[..., element].reshape(-1), place.x.reshape(-1, place.x.shape[-1])
    with np.errstate(divide="ignore", invalid="ignore"):
        change = (x.T @ e) / np.sum(x * x, axis=0)
        rest = np.linalg.norm(e[:, None] - x * change, axis=0) / np.linalg.norm(e)
    k = int(np.nanargmin(rest))
    should = float(place.tile[k, element])
    return (k, should + float(change[k]), should) if rest[k] < 1e-2 else None


def _address(kernel: Standing, row: int, col: int, k: int, element: int) -> int:
    made = kernel.kernel
    assert isinstance(made, Matvec)
    role = made.role(row, col)
    assert not isinstance(role, Finisher) and isinstance(role, Role)
    tile = TileLayout.of(made.storage, role.k, sum(role.n))
    return region_address(made.program(role), "w") + (tile.start(k) + element * tile.step) * made.storage.size
