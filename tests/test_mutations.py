"""Damage an image in the ways a wrong compiler would: the validator refuses it, or the numbers change."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import wsec
from runtime.image import Block, Image, Init
from runtime.tables import core_positions, expand_routes
from runtime.target import with_defects

IDS = np.array([[5, 66, 0, 17, 33]])


@pytest.fixture(scope="module")
def logits(gpt_image: Image) -> np.ndarray[Any, Any]:
    return run(gpt_image)


def run(image: Image) -> np.ndarray[Any, Any]:
    return wsec.load(image).run(input_ids=IDS)["logits"]


def changed(image: Image, **fields: Any) -> Image:
    return dataclasses.replace(image, **fields)


def violations(image: Image) -> set[str]:
    return set(wsec.validate(image).counts)


def test_the_image_itself_is_legal(gpt_image: Image) -> None:
    assert violations(gpt_image) == set()


@pytest.mark.parametrize(("dx", "dy"), [(1, 0), (0, 1), (-1, 0), (0, -1)])
def test_moving_a_kernel_by_one_core(gpt_image: Image, dx: int, dy: int) -> None:
    for number, block in enumerate(gpt_image.blocks):
        blocks = list(gpt_image.blocks)
        blocks[number] = dataclasses.replace(block, x=block.x + dx, y=block.y + dy)
        assert violations(changed(gpt_image, blocks=blocks)), block.name


def sample(image: Image, count: int) -> list[int]:
    """Numbers of `count` entries of the router table, spread evenly."""
    return np.linspace(0, len(image.routes) - 1, count).astype(int).tolist()


@pytest.mark.parametrize("step", [1, 7])
def test_changing_the_colour_of_a_route(gpt_image: Image, step: int) -> None:
    for number in sample(gpt_image, 12):
        routes = gpt_image.routes.copy()
        routes["colour"][number] = (routes["colour"][number] + step) % gpt_image.target.colours
        assert violations(changed(gpt_image, routes=routes)), gpt_image.routes[number]


def test_dropping_a_route(gpt_image: Image) -> None:
    for number in sample(gpt_image, 24):
        routes = np.delete(gpt_image.routes, number)
        assert violations(changed(gpt_image, routes=routes)), gpt_image.routes[number]


def test_a_router_that_dies_under_a_route(gpt_image: Image) -> None:
    """Routers that no kernel covers: only a route that passes them is wrong."""
    covered = set(zip(*(a.tolist() for a in core_positions(gpt_image)), strict=True))
    _, x, y = expand_routes(gpt_image.routes)
    passed = sorted(set(zip(x.tolist(), y.tolist(), strict=True)) - covered)
    assert len(passed) > 20
    for place in passed[:: len(passed) // 10]:
        image = changed(gpt_image, target=with_defects(gpt_image.target, [(*place, 1, 1)], "here"))
        assert violations(image) == {"dead-router"}, place
        with pytest.raises(wsec.WsecError, match="dead-router"):
            wsec.load(image)


def tiles(image: Image) -> Iterator[tuple[int, Block]]:
    """Rules that spread a weight matrix over more than one core of a kernel: rule number, kernel."""
    for number, init in enumerate(image.inits):
        block = image.blocks[init.block]
        cores = (init.rows[1] - init.rows[0]) * (init.cols[1] - init.cols[0])
        if block.kind in ("matvec", "lookup") and cores > 1 and min(init.count) > 1:
            yield number, block


def test_swapping_two_weight_tiles_changes_the_numbers(gpt_image: Image, logits: np.ndarray[Any, Any]) -> None:
    found = list(tiles(gpt_image))
    assert {block.kind for _, block in found} == {"matvec", "lookup"}
    for number, block in found:
        inits = [*gpt_image.inits[:number], *swapped(gpt_image.inits[number]), *gpt_image.inits[number + 1 :]]
        image = changed(gpt_image, inits=inits)
        assert violations(image) or not np.array_equal(run(image), logits), block.name


def swapped(init: Init) -> list[Init]:
    """The rule written out core by core, with the tiles of the first and the last core exchanged."""
    offsets = {
        (r, c): init.offset + r * init.per_row + c * init.per_col for r in range(*init.rows) for c in range(*init.cols)
    }
    cores = list(offsets)
    first, last = cores[0], cores[-1]
    offsets[first], offsets[last] = offsets[last], offsets[first]
    return [
        dataclasses.replace(init, rows=(r, r + 1), cols=(c, c + 1), offset=offset - r * init.per_row - c * init.per_col)
        for (r, c), offset in offsets.items()
    ]


def test_writing_a_rule_out_changes_nothing(gpt_image: Image, logits: np.ndarray[Any, Any]) -> None:
    """So that the swap alone is what the test above sees: swapping twice is the identity."""
    number = next(tiles(gpt_image))[0]
    first, *middle, last = swapped(gpt_image.inits[number])
    back = [
        dataclasses.replace(first, offset=gpt_image.inits[number].offset),
        *middle,
        dataclasses.replace(last, offset=gpt_image.inits[number].offset),
    ]
    inits = [*gpt_image.inits[:number], *back, *gpt_image.inits[number + 1 :]]
    image = changed(gpt_image, inits=inits)
    assert violations(image) == set()
    assert np.array_equal(run(image), logits)
