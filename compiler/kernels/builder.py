"""Writing one core's program: memory regions, registers, queues and structured code.

    b = CoreBuilder("double")
    x = b.array("x", "buffer", Dtype.F32, 16)
    with b.task("main"):
        b.mov(x.all, b.take(2, 16))
        b.binary("add", b.put(2, 16), x.all, x.all)
    program = b.program()

Code sits above the data, so addresses are known while the code is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from compiler.kernels.tile import TileLayout
from runtime.isa import (
    REGISTERS,
    Alu,
    Binary,
    Const,
    Count,
    Destination,
    Dtype,
    Fifo,
    FifoDef,
    Fmac,
    If,
    In,
    Instr,
    Integer,
    Load,
    Loop,
    Map,
    Mem,
    Mov,
    Out,
    Program,
    Reduce,
    Reg,
    Region,
    Source,
    Task,
)

ALIGNMENT = 4  # bytes: every region starts on a 32-bit word
BANK_ROUND = 16  # bytes after which addresses come to the same banks again
UNROLLED = 64  # rows of a product whose instructions are written out; more take a loop
UNROLL = 16  # rows in a round of it; whole groups of a `TileLayout`


@dataclass(frozen=True)
class Array:
    """A region seen as elements of one type, with the descriptors kernels need."""

    address: int
    dtype: Dtype
    count: int

    @property
    def all(self) -> Mem:
        return self.part(0, self.count)

    def part(self, start: int, extent: Count, stride: int = 1) -> Mem:
        """`extent` elements from `start` on, `stride` apart."""
        return Mem(self.address + start * self.dtype.size, self.dtype, extent, stride)

    def at(self, index: int | Reg, start: int = 0) -> Mem:
        """One element: a fixed one, or element `start + index` by register."""
        if isinstance(index, int):
            return self.part(start + index, 1)
        return self.row(index, 1, 1, start)

    def row(self, index: Reg, pitch: int, extent: Count, start: int = 0, stride: int = 1) -> Mem:
        """`extent` elements, `stride` apart, from element `start + index*pitch`."""
        size = self.dtype.size
        return Mem(self.address + start * size, self.dtype, extent, stride, index, pitch * size)


class CoreBuilder:
    """Collects one program. Registers are handed out in order and freed at the end of a body."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._regions: list[Region] = []
        self._fifos: list[FifoDef] = []
        self._tasks: list[Task] = []
        self._inputs: dict[int, str] = {}
        self._outputs: dict[int, str] = {}
        self._bodies: list[list[Instr]] = []
        self._registers = 0

    def array(self, name: str, owner: str, dtype: Dtype, count: int, apart: int | None = None) -> Array:
        """A new region of `count` elements; its first one half a round of memory banks from the address `apart`, if
        given, so that instructions that read both wait for no bank."""
        top = max((region.address + region.bytes for region in self._regions), default=0)
        address = -(-top // ALIGNMENT) * ALIGNMENT
        if apart is not None:
            address += (apart + BANK_ROUND // 2 - address) % BANK_ROUND
        self._regions.append(Region(name, owner, address, count * dtype.size))
        return Array(address, dtype, count)

    def scalar(self, name: str, dtype: Dtype = Dtype.F32) -> Mem:
        """A new buffer of one element."""
        return self.array(name, "buffer", dtype, 1).all

    def fifo(self, name: str, words: int) -> int:
        """A new FIFO of `words` 32-bit words; its number."""
        store = self.array(name, "fifo", Dtype.I32, words)
        self._fifos.append(FifoDef(store.address, words))
        return len(self._fifos) - 1

    def name_queues(self, inputs: dict[int, str], outputs: dict[int, str]) -> None:
        """Which queues the program uses, named for people."""
        self._inputs.update(inputs)
        self._outputs.update(outputs)

    def register(self) -> Reg:
        self._registers += 1
        assert self._registers <= REGISTERS, f"{self._name} needs more than {REGISTERS} registers"
        return Reg(self._registers - 1)

    @contextmanager
    def task(self, name: str = "main") -> Iterator[None]:
        self._registers = 0
        self._bodies.append([])
        yield
        self._tasks.append(Task(name, tuple(self._bodies.pop())))

    @contextmanager
    def loop(self, count: Count) -> Iterator[Reg]:
        held = self._registers
        counter = self.register()
        self._bodies.append([])
        yield counter
        self._emit_nested(Loop(counter, count, tuple(self._bodies.pop())), held)

    @contextmanager
    def scratch(self) -> Iterator[None]:
        """Registers taken inside are free again afterwards."""
        held = self._registers
        yield
        self._registers = held

    @contextmanager
    def when(self, condition: Reg) -> Iterator[None]:
        held = self._registers
        self._bodies.append([])
        yield
        self._emit_nested(If(condition, tuple(self._bodies.pop())), held)

    def take(self, queue: int, extent: int, dtype: Dtype = Dtype.F32) -> In:
        return In(queue, extent, dtype)

    def put(self, queue: int, extent: int, dtype: Dtype = Dtype.F32) -> Out:
        return Out(queue, extent, dtype)

    def pipe(self, fifo: int, extent: int, dtype: Dtype = Dtype.I32) -> Fifo:
        return Fifo(fifo, extent, dtype)

    def mov(self, dst: Destination, a: Source) -> None:
        self._emit(Mov(dst, a))

    def fill(self, dst: Mem, value: float) -> None:
        self._emit(Mov(dst, Const(value)))

    def binary(self, op: str, dst: Destination, a: Source, b: Source) -> None:
        self._emit(Binary(op, dst, a, b))

    def fmac(self, dst: Mem, a: Source, b: Source) -> None:
        self._emit(Fmac(dst, a, b))

    def fmac_rows(self, dst: Mem, scalars: Array, rows: Array, layout: TileLayout, written_out: int = UNROLLED) -> None:
        """dst += scalars[i] * row i of `rows` for all rows of the layout; of each, dst's extent.

        A written out instruction has its addresses in its descriptors; in a loop those that move are set from registers
        each time. So the scalars of a round are copied to where they do not move.
        """
        count, stride = layout.count, layout.step
        rounds = 0 if count <= written_out else count // UNROLL
        if rounds:
            held = self.array("scalars", "buffer", scalars.dtype, UNROLL)
            with self.loop(rounds) as i:
                self.mov(held.all, scalars.row(i, UNROLL, UNROLL))
                for j in range(UNROLL):
                    row = rows.row(i, layout.start(UNROLL), dst.extent, layout.start(j), stride)
                    self.fmac(dst, held.at(j), row)
        for j in range(rounds * UNROLL, count):
            self.fmac(dst, scalars.at(j), rows.part(layout.start(j), dst.extent, stride))

    def reduce(self, op: str, dst: Mem, a: Source) -> None:
        self._emit(Reduce(op, dst, a))

    def map(self, fn: str, dst: Destination, a: Source) -> None:
        self._emit(Map(fn, dst, a))

    def alu(self, op: str, a: Integer, b: Integer, into: Reg | None = None) -> Reg:
        """A register holding `a op b`: a fresh one, or `into`."""
        dst = self.register() if into is None else into
        self._emit(Alu(op, dst, a, b))
        return dst

    def load(self, a: Mem) -> Reg:
        """A fresh register holding the i32 word at `a`."""
        dst = self.register()
        self._emit(Load(dst, a))
        return dst

    def program(self) -> Program:
        return Program(
            self._name,
            tuple(self._tasks),
            tuple(self._regions),
            tuple(self._fifos),
            tuple(sorted(self._inputs.items())),
            tuple(sorted(self._outputs.items())),
        )

    def _emit_nested(self, instr: Loop | If, held: int) -> None:
        """Append a closed body; the registers it took are free again."""
        self._registers = held
        self._emit(instr)

    def _emit(self, instr: Instr) -> None:
        self._bodies[-1].append(instr)
