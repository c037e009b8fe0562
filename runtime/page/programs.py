"""The programs of an image: what their cores hold and communicate, and their text."""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.assembly import program_text
from runtime.image import Image
from runtime.inspect import memory_map
from runtime.isa import INPUT_QUEUES, OUTPUT_QUEUES, Program
from runtime.tables import memory_bytes, used_queues
from runtime.target import Target
from runtime.validate.programs import check_program
from runtime.validate.report import Report
from runtime.work import work

TEXT_BYTES = 12 << 20  # of all texts before they are packed


def programs(image: Image) -> list[dict[str, Any]]:
    """Per program: bytes, memory from low to high addresses, queues with words per token, and arithmetic."""
    return [_program(program, image.target) for program in image.programs]


def _program(program: Program, target: Target) -> dict[str, Any]:
    inputs, outputs = used_queues(program)
    traffic = check_program(program, target, Report())
    done = work(program)
    return {
        "name": program.name,
        "bytes": memory_bytes(program, target),
        "memory": [[m["address"], m["bytes"], m["owner"], m["name"]] for m in memory_map(program, target)],
        "in": _queues(inputs, dict(program.input_names), traffic.reads[:INPUT_QUEUES]),
        "out": _queues(outputs, dict(program.output_names), traffic.writes[:OUTPUT_QUEUES]),
        "macs": done.f16 + done.f32,
    }


def _queues(numbers: list[int], names: dict[int, str], words: list[int]) -> list[list[Any]]:
    return [[number, names.get(number, ""), words[number]] for number in numbers]


def texts(image: Image) -> list[str | None]:
    """The text of every program; None for those that the fewest cores run, if all together would be too long."""
    program = image.cores["program"]
    cores = np.bincount(program[program >= 0], minlength=len(image.programs))
    found: list[str | None] = [None] * len(image.programs)
    left = TEXT_BYTES
    for number in np.argsort(-cores, kind="stable").tolist():
        text = program_text(image.programs[number])
        left -= len(text)
        if left < 0:
            break
        found[number] = text
    return found
