"""A channel's tree as text, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.route import tree
from compiler.route.tree import Entry, expand, from_text, to_text
from runtime.errors import InputError
from runtime.geometry import EAST, NORTH, OPPOSITE, RAMP, SOUTH, STEP, WEST, bit


@st.composite
def trees(draw: st.DrawFn) -> tuple[list[Entry], tuple[int, int]]:
    """A tree grown hop by hop, with words given to cores and to the host anywhere."""
    source = (draw(st.integers(0, 9)), draw(st.integers(0, 9)))
    routers = {source: [bit(draw(st.sampled_from([RAMP, NORTH, EAST, SOUTH, WEST]))), 0]}
    for _ in range(draw(st.integers(0, 25))):
        at = draw(st.sampled_from(sorted(routers)))
        direction = draw(st.integers(0, 3))
        following = (at[0] + STEP[direction][0], at[1] + STEP[direction][1])
        if following not in routers and min(following) >= 0 and routers[at][0] != bit(direction):
            routers[at][1] |= bit(direction)
            routers[following] = [bit(OPPOSITE[direction]), 0]
    for place, entry in routers.items():
        outward = [d for d in range(4) if (place[0] + STEP[d][0], place[1] + STEP[d][1]) not in routers]
        exits = draw(st.sets(st.sampled_from([RAMP, *(d for d in outward if entry[0] != bit(d))]), max_size=2))
        # A router without outputs has no place in a tree.
        for direction in exits or ({RAMP} if not entry[1] else set()):
            entry[1] |= bit(direction)
    return [(x, y, inputs, outputs) for (x, y), (inputs, outputs) in routers.items()], source


@given(trees())
def test_any_tree_comes_back(made: tuple[list[Entry], tuple[int, int]]) -> None:
    entries, source = made
    assert sorted(from_text(to_text(entries, source))) == sorted(entries)


def test_runs_are_counted_and_taps_starred() -> None:
    core, east = bit(RAMP), bit(EAST)
    entries = [(3, 5, core, east), (4, 5, bit(WEST), east), (5, 5, bit(WEST), east | core), (6, 5, bit(WEST), core)]
    assert to_text(entries, (3, 5)) == "3,5 E1 E2*"
    assert from_text("3,5 E1 E2*") == entries


def test_branches_host_sides_and_a_core_at_the_source() -> None:
    text = "3,5<W *; 3,5<W E2; 4,5 S1*; 5,5 >E"
    entries = from_text(text)
    assert entries == [
        (3, 5, bit(WEST), bit(RAMP) | bit(EAST)),
        (4, 5, bit(WEST), bit(EAST) | bit(SOUTH)),
        (5, 5, bit(WEST), bit(EAST)),
        (4, 6, bit(NORTH), bit(RAMP)),
    ]
    assert sorted(from_text(to_text(entries, (3, 5)))) == sorted(entries)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3,5 X2",
        "3,5  E2",
        "-1,5 E2",
        "3,5 E2;3,5 *",
        "3,5 E1 W1",  # back into the router it came from
        "3,5 E2 S1 W1 N1",  # a loop
        "3,5 E2*; 4,5 E1*",  # the same hop twice
        "3,5 E2*; 9,9 S1*",  # a branch from nowhere
        "3,5 E2*; 3,5<W S1*",  # a second source
        "0,0 W1*",  # off the wafer
        "3,5 E999999*",
        "3,5 E99999*",
        "3,5 E1; 3,5<W S1*",  # the root's words come from its core
        "3,5 E2*; 4,6 E1*; 4,5 S1*",  # a branch before the one that leads to it
        "3,5 E2*; 4,6 E1 N1 W1 S1",  # a loop beside the tree
    ],
)
def test_text_that_is_no_tree(text: str) -> None:
    with pytest.raises(InputError) as caught:
        from_text(text)
    assert caught.value.code == "bad-tree"


@given(st.lists(trees(), min_size=1, max_size=4))
def test_many_trees_are_as_each_alone(made: list[tuple[list[Entry], tuple[int, int]]]) -> None:
    texts = [to_text(*one) for one in made]
    forest = expand(texts)
    columns = (column.tolist() for column in forest)
    entries = [(number, *entry) for number, text in enumerate(texts) for entry in from_text(text)]
    assert list(zip(*columns, strict=True)) == entries


def test_no_trees_at_all() -> None:
    assert all(len(column) == 0 for column in expand([]))


def test_all_trees_together_cannot_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "MAX_ALL", 30)
    expand(["0,0 E9*"] * 3)
    with pytest.raises(InputError, match="in all"):
        expand(["0,0 E9*"] * 4)


def test_text_cannot_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "MAX_ROUTERS", 10)
    assert len(from_text("0,0 E9*")) == 10
    with pytest.raises(InputError, match="outside"):
        from_text("0,0 E5* E5*")
