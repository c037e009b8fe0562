"""Along a chain of cores that pass partial results on, to the first that sends something else than it should.

The image runs once more with a tap on the chain; each core's words are held to what it received plus its own share, so
no other core need be right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from compiler.kernels.base import CHAIN_OUT, STREAM_OUT, region_address
from compiler.kernels.lookup import Lookup
from compiler.kernels.matvec import Finisher, Matvec, Role
from compiler.kernels.tile import TileLayout
from frontends.cli.find.columns import Place, lookup_column, matvec_column
from frontends.cli.find.executed import Standing
from frontends.cli.find.levels import difference
from frontends.cli.find.scene import Scene, token_of, worst
from runtime.check import Finding
from runtime.session import Session
from runtime.tap import Source, Tap

Array = np.ndarray[Any, Any]


def in_chain(scene: Scene, kernel: Standing, finding: Finding) -> Finding | None:
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


def _listen(scene: Scene, kernel: Standing, col: int, column: Sequence[Place]) -> list[Array]:
    """What every core of a column sent down, without headers: a run of its own."""
    n, last = kernel.sources[col].words - 1, kernel.block.rows - 1
    sources = []
    for place in column:
        core = kernel.block.first + place.row * kernel.block.cols + col
        header = 1 if place.row == last or _leads(kernel, place.row) else 0
        sources.append(Source(core, STREAM_OUT if place.row == last else CHAIN_OUT, kernel.times * (n + header)))
    pieces: list[list[Array]] = [[] for _ in sources]

    def listener(_headers: Array, words: list[Array]) -> None:
        for found, piece in zip(pieces, words, strict=True):
            found.append(piece.reshape(len(piece), kernel.times, -1)[:, kernel.turn, -n:].copy())

    given: dict[str, Any] = dict(scene.inputs)
    Session(scene.image, scene.threads, tap=Tap(sources, listener)).run(**given)
    return [np.concatenate(found).view(np.float32).reshape(*scene.streams.axes, n) for found in pieces]


def _leads(kernel: Standing, row: int) -> bool:
    """Whether a core that is not the column's last sends a header before its block."""
    made = kernel.kernel
    return isinstance(made, Matvec) and row >= made.slices.lanes - 1


def _column(scene: Scene, kernel: Standing, col: int) -> list[Place]:
    made = kernel.kernel
    if isinstance(made, Matvec):
        return list(matvec_column(scene, kernel, made, col))
    if isinstance(made, Lookup):
        return list(lookup_column(scene, kernel, made, col))
    return []


def _chain_finding(
    kernel: Standing, finding: Finding, place: Place, sent: Array, wanted: Array, errors: Array, bound: Array
) -> Finding:
    at = worst(errors, bound)
    x, y = (int(i) for i in kernel.block.at(place.row, finding.lane))
    rows = kernel.block.rows
    lines = [
        finding.text,
        f"the error enters at core ({x}, {y}), {place.row + 1} of {rows} in its column: element {at[-1]} of what it "
        f"sends on for {token_of(at)}: got {sent[at]:.7g}, wanted {wanted[at]:.7g}; rounding explains {bound[at]:.1e}",
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


def _one_weight(place: Place, errors: Array, element: int) -> tuple[int, float, float] | None:
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
    address = region_address(made.program(role), "w") + (tile.start(k) + element * tile.step) * made.storage.size
    return kernel.address(role, address)
