"""What every kernel tells the compiler: geometry, queues, programs, initial memory, and closed-form costs.

A kernel is a rectangle of `rows` x `cols` local cores. Streams enter and leave by *ports*, one `Lane` each; inside, the
kernel has its own fixed routes on low colours. Cores with the same *role* share a program.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from compiler.floorplan import Footprint, InternalRoute, Lane
from runtime.geometry import EAST, NORTH, RAMP, SOUTH, WEST, bit
from runtime.image import Init
from runtime.isa import Dtype, Program
from runtime.target import Target
from runtime.timing import core_interval

# Queue numbers kernels use. Inputs 2 and 3 are four words deep, 4 to 7 two; outputs 2 and 3 are six deep.
STREAM_IN, SECOND_IN, CHAIN_IN, BROADCAST_IN = 2, 3, 3, 4
STREAM_OUT, CHAIN_OUT, BROADCAST_OUT = 2, 3, 4
# Queues of a core that hears several lanes of a stream; CHAIN_IN is left out.
LANE_QUEUES = (2, 4, 5, 6, 7)
# Internal colours: a chain alternates two, so that a core receives on one and sends on the other.
CHAIN_COLOURS = (0, 1)
BROADCAST_COLOUR = 2
# From the end of one row to the start of the next, again alternating.
WRAP_COLOURS = (3, 4)
IDLE = None
"""The role of a core that only its router is used of."""
# The key in `Kernel.constants` of a tensor of zeros, known to every kernel.
ZEROS = "zeros"


@dataclass(frozen=True)
class Weight:
    """A constant matrix [k, n], stored so or (`transposed`) as [n, k]; `name` is its resource."""

    name: str
    transposed: bool = False


@dataclass(frozen=True)
class Binding:
    """Queue `queue` of a core takes from (`direction` "in") or gives to ("out") internal colour `colour`."""

    direction: str
    queue: int
    colour: int


@dataclass(frozen=True)
class Rect:
    """Local cores rows[0]..rows[1]-1 x cols[0]..cols[1]-1."""

    rows: tuple[int, int]
    cols: tuple[int, int]


class Kernel(ABC):
    """Base of all kernels; the concrete ones are frozen dataclasses of their problem and shape."""

    kind: ClassVar[str]

    @property
    def turned(self) -> bool | None:
        """How the kernel wants to stand in a strip, see `floorplan.Footprint`."""
        return None

    @property
    @abstractmethod
    def rows(self) -> int: ...

    @property
    @abstractmethod
    def cols(self) -> int: ...

    @abstractmethod
    def inputs(self) -> dict[str, tuple[Lane, ...]]:
        """Input ports by name, in operand order."""

    @abstractmethod
    def outputs(self) -> dict[str, tuple[Lane, ...]]:
        """Output ports by name, in result order."""

    def times(self, port: str) -> int:
        """How often a token comes through a port."""
        return 1

    def routes(self) -> tuple[InternalRoute, ...]:
        """Routes inside the rectangle, on internal colours."""
        return ()

    def port_queues(self) -> dict[str, int]:
        """The queue behind each port, by port name."""
        return {"x": STREAM_IN, "y": STREAM_OUT}

    def lane_queue(self, port: str, lane: int) -> int:
        """The queue behind one lane of a port, the same on all cores that hear or feed it."""
        return self.port_queues()[port]

    def bindings(self, r: int, c: int) -> tuple[Binding, ...]:
        """Queues of core (r, c) bound to internal colours."""
        return ()

    @abstractmethod
    def role(self, r: int, c: int) -> Hashable:
        """What distinguishes programs: cores with equal roles run the same one, IDLE ones none."""

    @abstractmethod
    def program(self, role: Any) -> Program:
        """The program of a role."""

    def inits(self, role: Any, rect: Rect, program: Program) -> Iterator[Init]:
        """Initial memory of the cores in `rect`, all of role `role`; tensors are resources or keys of `constants`."""
        return iter(())

    def constants(self) -> Mapping[str, np.ndarray[Any, Any]]:
        """Small tensors this kernel computes at compile time."""
        return {}

    def scalars(self, program: Program) -> Mapping[int, int]:
        """The i32 words, by byte address, that a program's scalar instructions load when it has the most to do."""
        return {}

    def interval(self, target: Target) -> int:
        """Cycles between two tokens in steady state: the busiest core's work on one token."""
        return _interval(self, target)

    @abstractmethod
    def latency(self, target: Target) -> int:
        """Cycles from the first word of a token in to its last word out, the kernel otherwise idle."""

    def layer_cycles(self, target: Target) -> int:
        """Cycles by which a pass takes longer if weights and caches are those of one layer among several: descriptors
        are set from registers then (`repeat`)."""
        return 0

    def cuts(self, r: int) -> Sequence[int]:
        """Columns of row r, ascending from 0, whose core may differ from its west neighbour in role or bindings.

        All of them, unless a kernel that is large knows better: whole wafers are generated by asking for these only.
        """
        return range(self.cols)

    def roles(self) -> list[list[Hashable]]:
        """Roles of all cores, by row and column."""
        rows: list[list[Hashable]] = []
        for r in range(self.rows):
            rows.append([])
            for start, end in pairwise((*self.cuts(r), self.cols)):
                rows[-1] += [self.role(r, start)] * (end - start)
        return rows

    def telling_roles(self) -> Iterable[Hashable]:
        """Roles among which are those of the fullest and of the busiest core. Blocks never grow along an axis, so the
        ends of both tell."""
        rows, cols = _ends(self.rows), _ends(self.cols)
        return dict.fromkeys(self.role(r, c) for r in sorted(rows) for c in sorted(cols))

    def memory(self, target: Target) -> int:
        """Bytes the fullest core needs: data, code and queues."""
        return _memory(self, target)

    def footprint(self, name: str) -> Footprint:
        """The kernel as placer and router see it."""
        return Footprint(name, self.cols, self.rows, self.inputs(), self.outputs(), self.routes(), turned=self.turned)


@lru_cache(maxsize=1 << 14)
def _memory(kernel: Kernel, target: Target) -> int:
    return max(memory_bytes(kernel.program(role), target) for role in kernel.telling_roles() if role is not IDLE)


@lru_cache(maxsize=1 << 14)
def _interval(kernel: Kernel, target: Target) -> int:
    programs = [kernel.program(role) for role in kernel.telling_roles() if role is not IDLE]
    return max(math.ceil(core_interval(program, target, kernel.scalars(program))) for program in programs)


def _ends(length: int) -> set[int]:
    """The first two and the last two places."""
    return {0, min(1, length - 1), max(length - 2, 0), length - 1}


def memory_bytes(program: Program, target: Target) -> int:
    """Bytes of a core's memory a program takes: data regions, code, and the buffers of the queues it uses."""
    queues = sum(target.input_depth[q] for q, _ in program.input_names)
    queues += sum(target.output_depth[q] for q, _ in program.output_names)
    return program.data_bytes + program.code_bytes + 4 * queues


def vector(elements: float, target: Target, per_cycle: float = 1.0) -> int:
    """Cycles of one vector instruction ( elements / width, plus a fixed issue and drain)."""
    return int(-(-elements // per_cycle)) + target.vector_overhead_cycles


def fmac_rate(storage: Dtype, target: Target) -> float:
    """Multiply-accumulates per cycle with operands of `storage` and fp32 accumulation."""
    return target.fmac_per_cycle_f16 if storage is Dtype.F16 else target.fmac_per_cycle_f32


def begun(target: Target) -> int:
    """Cycles of a core's program before a lone token comes: its task has begun, its first instruction is set up."""
    return target.activation_cycles + target.vector_overhead_cycles


def hop(target: Target) -> int:
    """Cycles for a word to leave a core, cross one link and enter the next core."""
    return 2 * target.ramp_cycles + target.hop_cycles


def row_multicast(row: int, cols: int) -> Lane:
    """An input lane heard by every core of a row."""
    return Lane(0, row, ((0, row, cols, 1),))


def tap(col: int, row: int) -> Lane:
    """An input lane heard by one core."""
    return Lane(col, row, ((col, row, 1, 1),))


def chain_south(rows: int, cols: int, words: int, first: int = 0) -> tuple[InternalRoute, ...]:
    """Down every column, `words` per token from each core of rows first..rows-2 to the next, colours alternating."""
    routes = []
    for r in range(first, rows - 1):
        colour = CHAIN_COLOURS[r % 2]
        routes.append(InternalRoute(0, r, cols, 1, colour, bit(RAMP), bit(SOUTH), words))
        routes.append(InternalRoute(0, r + 1, cols, 1, colour, bit(NORTH), bit(RAMP)))
    return tuple(routes)


def chain_east(rows: int, cols: int, words: Sequence[int], first: int = 0, west: int = 0) -> tuple[InternalRoute, ...]:
    """Along rows first..first+rows-1, from each core of columns west..west+cols-1 to its east neighbour.

    `words` per token, link by link; the last holds for all further ones.
    """
    routes = []
    for c in range(cols - 1):
        colour = CHAIN_COLOURS[c % 2]
        sent = words[min(c, len(words) - 1)]
        routes.append(InternalRoute(west + c, first, 1, rows, colour, bit(RAMP), bit(EAST), sent))
        routes.append(InternalRoute(west + c + 1, first, 1, rows, colour, bit(WEST), bit(RAMP)))
    return tuple(routes)


def chain_bindings(index: int, length: int) -> tuple[Binding, ...]:
    """Queue bindings of place `index` in a chain of `length` cores."""
    bound = []
    if index > 0:
        bound.append(Binding("in", CHAIN_IN, CHAIN_COLOURS[(index - 1) % 2]))
    if index < length - 1:
        bound.append(Binding("out", CHAIN_OUT, CHAIN_COLOURS[index % 2]))
    return tuple(bound)


def rectangles(roles: list[list[Hashable]]) -> list[tuple[Hashable, Rect]]:
    """Cover a grid of roles with rectangles of equal role: runs along rows, equal consecutive rows joined."""

    def runs(row: list[Hashable]) -> list[tuple[Hashable, int, int]]:
        found: list[tuple[Hashable, int, int]] = []
        for c, role in enumerate(row):
            if found and (found[-1][0] is role or found[-1][0] == role):
                found[-1] = (role, found[-1][1], c + 1)
            else:
                found.append((role, c, c + 1))
        return found

    result: list[tuple[Hashable, Rect]] = []
    start = 0
    for r in range(1, len(roles) + 1):
        if r < len(roles) and roles[r] == roles[start]:
            continue
        result += [(role, Rect((start, r), (a, b))) for role, a, b in runs(roles[start])]
        start = r
    return result


def region_address(program: Program, name: str) -> int:
    """Where a region lies in core memory."""
    return next(region.address for region in program.regions if region.name == name)


def vector_init(program: Program, region: str, dtype: Dtype, rect: Rect, tensor: str, count: int, *, offset: int = 0,
                per_row: int = 0, per_col: int = 0) -> Init:  # fmt: skip
    """A contiguous copy of `count` elements per core."""
    address = region_address(program, region)
    return Init(
        0, rect.rows, rect.cols, address, dtype.value, count, 1, (1, count), tensor, offset, per_row, per_col, (0, 1)
    )
