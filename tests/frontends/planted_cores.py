"""Errors of single cores for tests: an image with one core's memory or program changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from compiler.kernels.base import region_address
from runtime import memory
from runtime.image import Block, Image, Init, Tensor
from runtime.isa import If, Instr, Loop, Program


def block_of(image: Image, name: str) -> tuple[int, Block]:
    return next((number, block) for number, block in enumerate(image.blocks) if block.name == name)


def core_of(image: Image, name: str, r: int, c: int) -> int:
    _, block = block_of(image, name)
    return block.first + r * block.cols + c


def program_of(image: Image, name: str, r: int, c: int) -> Program:
    return image.programs[image.cores["program"][core_of(image, name, r, c)]]


def in_memory(
    image: Image, name: str, r: int, c: int, region: str, element: int, change: Callable[[Any], Any],
    dtype: str = "f16",
) -> Image:  # fmt: skip
    """One element of one core's memory changed, given and returned as a numpy scalar of that type."""
    number, _ = block_of(image, name)
    sizes = memory.core_bytes(image)
    buffer, base = memory.allocate(image, sizes, 0)
    memory.fill(image, buffer, base, sizes)
    item = np.dtype(memory.DTYPES[dtype])
    address = region_address(program_of(image, name, r, c), region) + item.itemsize * element
    has = buffer[base[core_of(image, name, r, c)] + address :][: item.itemsize].view(item)[0]
    data = np.array([change(has)], item)
    assert data[0] != has
    init = Init(
        block=number, rows=(r, r + 1), cols=(c, c + 1), address=address, dtype=dtype, pitch=1, step=1, count=(1, 1),
        tensor="planted", offset=0, per_row=0, per_col=0, stride=(0, 0),
    )  # fmt: skip
    return dataclasses.replace(image, inits=[*image.inits, init], tensors={**image.tensors, "planted": Tensor(data)})


def in_program(image: Image, name: str, r: int, c: int, change: Callable[[Program], Program]) -> Image:
    """The core with a program of its own."""
    cores = image.cores.copy()
    core = core_of(image, name, r, c)
    changed = change(image.programs[cores["program"][core]])
    assert changed != image.programs[cores["program"][core]]
    cores["program"][core] = len(image.programs)
    return dataclasses.replace(image, cores=cores, programs=[*image.programs, changed])


def swap(
    program: Program, task: str, change: Callable[[Instr], Instr | tuple[Instr, ...] | None], which: int = 0
) -> Program:
    """The program with one instruction of a task replaced: of those for which `change` gives others, number `which`."""
    left = which

    def body(instrs: tuple[Instr, ...]) -> tuple[Instr, ...]:
        nonlocal left
        found: list[Instr] = []
        for instr in instrs:
            new = change(instr)
            if new is not None:
                left -= 1
            if new is not None and left == -1:
                found += new if isinstance(new, tuple) else (new,)
            elif isinstance(instr, Loop | If):
                found.append(dataclasses.replace(instr, body=body(instr.body)))
            else:
                found.append(instr)
        return tuple(found)

    tasks = tuple(dataclasses.replace(t, body=body(t.body)) if t.name == task else t for t in program.tasks)
    assert left < 0, f"program {program.name} has nothing like that in task {task}"
    return dataclasses.replace(program, tasks=tasks)


def flipped(bits: int) -> Callable[[Any], Any]:
    """An fp16 number with these of its bits flipped."""
    return lambda value: (value.view(np.uint16) ^ np.uint16(bits)).view(np.float16)
