"""Descriptions of machines: what cannot be is refused with the entry that is wrong."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from runtime import target as targets

ENTRIES = targets.load("mini-32x32").to_json()


@pytest.mark.parametrize("name", targets.names())
def test_targets_that_ship_are_good(name: str) -> None:
    target = targets.load(name)
    assert targets.from_dict(target.to_json(), "again") == target


@pytest.mark.parametrize("name", targets.RANGES)
def test_numbers_beyond_any_machine(name: str) -> None:
    least, most = targets.RANGES[name]
    for bad in (least - 1, most + 1, -least - 1):
        with pytest.raises(targets.TargetError, match=f"here: {name} is"):
            targets.from_dict(ENTRIES | {name: bad}, "here")


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        *(("fabric", 5), ("fabric", "ab"), ("fabric", [1]), ("fabric", [1 << 20, 2]), ("usable", [0, 0, 100, 1])),
        *(("usable", None), ("name", 3), ("colours", 2.5), ("colours", True), ("clock_ghz", "fast")),
        *(("clock_ghz", math.nan), ("host_words_per_cycle", math.inf), ("input_queues", [8]), ("input_depth", [1])),
        *(("output_depth", [0] * 6), ("memory_bytes", 1 << 21), ("hop_cycles", 10**400)),
    ],
)
def test_entries_that_cannot_be(name: str, bad: Any) -> None:
    with pytest.raises(targets.TargetError, match="here: "):
        targets.from_dict(ENTRIES | {name: bad}, "here")


def test_a_file_with_another_type(tmp_path: Path) -> None:
    path = tmp_path / "odd.toml"
    text = (targets.TARGET_DIR / "mini-32x32.toml").read_text(encoding="utf-8")
    path.write_text(text.replace("colours = 21", 'colours = "many"'), encoding="utf-8")
    with pytest.raises(targets.TargetError, match=r"odd\.toml: colours: expected an integer"):
        targets.load(str(path))
