"""A program for several layers: every task does for each of them what it does for one, with memory of its own for each.

A layer is a round of a loop around the task's body, so a body of the new program is a token on its way through all of
them, and what it sends and receives is known as before. Regions of weights and caches hold the layers one after
another, and operands in them move with the loop's counter. All others, buffers and FIFOs, serve layer after layer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeGuard

from compiler.kernels.builder import BANK_ROUND
from runtime.isa import REGISTERS, Alu, If, Instr, Load, Loop, Mem, Program, Reg, Region, Task, operands, walk

OF_A_LAYER = ("weights", "cache")  # owners of regions that every layer has for itself


@dataclass(frozen=True)
class Moved:
    """Where a region has gone: its layers are `stride` bytes apart, 0 if there is one for all."""

    old: Region
    address: int
    stride: int

    def of_layer(self, address: int, number: int) -> int:
        """Where an address of the old region is now, for layer `number`."""
        return address - self.old.address + self.address + number * self.stride


def lay_out(program: Program, layers: int) -> tuple[Moved, ...]:
    """The regions of the program for several layers, in order.

    Every region and every layer of it keeps its place among the memory banks, so instructions take as long as before.
    """
    found, top = [], 0
    for region in program.regions:
        address = top + (region.address - top) % BANK_ROUND
        stride = -(-region.bytes // BANK_ROUND) * BANK_ROUND if region.owner in OF_A_LAYER else 0
        found.append(Moved(region, address, stride))
        top = address + (layers * stride or region.bytes)
    return tuple(found)


def repeated(program: Program, layers: int) -> Program:
    """The program for so many layers. `lay_out` says where what is in memory at the start belongs."""
    layout = lay_out(program, layers)
    regions = tuple(replace(m.old, address=m.address, bytes=layers * m.stride or m.old.bytes) for m in layout)
    fifos = tuple(replace(fifo, address=_moved(fifo.address, layout)) for fifo in program.fifos)
    tasks = tuple(Task(task.name, (_Rewriter(task, layout).loop(layers),)) for task in program.tasks)
    return replace(program, name=f"{program.name}.x{layers}", tasks=tasks, regions=regions, fifos=fifos)


def home(address: int, layout: tuple[Moved, ...]) -> Moved:
    """The region that holds an address of the program for one layer; regions come in ascending order."""
    return [m for m in layout if m.old.address <= address][-1]


def _moved(address: int, layout: tuple[Moved, ...]) -> int:
    return home(address, layout).of_layer(address, 0)


class _Rewriter:
    """One task. Registers that the body does not use hold the layer and what addresses are made of."""

    def __init__(self, task: Task, layout: tuple[Moved, ...]) -> None:
        self.task, self.layout = task, layout
        used = {register.n for instr in walk(task.body) for register in _registers(instr)}
        self.free = [Reg(n) for n in reversed(range(REGISTERS)) if n not in used]
        self.layer = self._register()
        steps = [self._step(part) for instr in walk(task.body) for part in operands(instr) if self._places(part)]
        # By elements from one layer to the next: the current layer's first.
        self.bases = {step: self._register() for step in dict.fromkeys(steps)}

    def loop(self, layers: int) -> Loop:
        begin = (Alu("mul", register, self.layer, step) for step, register in self.bases.items())
        return Loop(self.layer, layers, (*begin, *self._body(self.task.body)))

    def _places(self, part: object) -> TypeGuard[Mem]:
        """Does an index say where in the current layer an operand is?"""
        return isinstance(part, Mem) and part.index is not None and home(part.address, self.layout).stride > 0

    def _step(self, part: Mem) -> int:
        return home(part.address, self.layout).stride // part.dtype.size

    def _register(self) -> Reg:
        assert self.free, f"task {self.task.name} leaves no register for the layer"
        return self.free.pop()

    def _body(self, body: tuple[Instr, ...]) -> tuple[Instr, ...]:
        """The instructions, and before those that want them the places of indexed operands in the current layer.

        A place stays good until its index is written.
        """
        found: list[Instr] = []
        places: dict[tuple[int, int, int], Reg] = {}  # (index, its scale, step to the next layer), in elements
        for instr in body:
            if isinstance(instr, Loop | If):
                found.append(replace(instr, body=self._body(instr.body)))
            else:
                found += self._instruction(instr, places)
            written = {register.n for inner in walk((instr,)) for register in _written(inner)}
            for key in [key for key in places if key[0] in written]:
                self.free.append(places.pop(key))
        self.free += places.values()
        return tuple(found)

    def _instruction(self, instr: Instr, places: dict[tuple[int, int, int], Reg]) -> list[Instr]:
        before: list[Instr] = []
        parts = {name: getattr(instr, name, None) for name in ("dst", "a", "b")}
        moved = {n: self._operand(part, places, before) for n, part in parts.items() if isinstance(part, Mem)}
        return [*before, replace(instr, **moved) if moved else instr]  # type: ignore[arg-type]

    def _operand(self, part: Mem, places: dict[tuple[int, int, int], Reg], before: list[Instr]) -> Mem:
        address, stride = _moved(part.address, self.layout), home(part.address, self.layout).stride
        if not stride:
            return replace(part, address=address)
        if part.index is None:
            return replace(part, address=address, index=self.layer, scale=stride)
        size = part.dtype.size
        key = part.index.n, part.scale // size, stride // size
        if key not in places:
            place = places[key] = self._register()
            if key[1] != 1:
                before.append(Alu("mul", place, part.index, key[1]))
            before.append(Alu("add", place, self.bases[key[2]], part.index if key[1] == 1 else place))
        return replace(part, address=address, index=places[key], scale=size)


def _written(instr: Instr) -> tuple[Reg, ...]:
    if isinstance(instr, Alu | Load):
        return (instr.dst,)
    return (instr.counter,) if isinstance(instr, Loop) else ()


def _registers(instr: Instr) -> list[Reg]:
    """All registers an instruction names itself."""
    parts: list[object] = [*_written(instr)]
    if isinstance(instr, Alu):
        parts += [instr.a, instr.b]
    elif isinstance(instr, Loop):
        parts.append(instr.count)
    elif isinstance(instr, If):
        parts.append(instr.condition)
    for part in operands(instr):
        parts += [part.index, part.extent] if isinstance(part, Mem) else []
    return [part for part in parts if isinstance(part, Reg)]
