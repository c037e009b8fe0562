"""Plans of one-dimensional and two-dimensional reductions: who sends its partial sums to whom, in which order.

A core works through *stages*. In a stage it adds the vectors that come on some colours to its own, one after the other,
and hands the sum on while it adds the last, without storing it. Colours along a line alternate, because every router's
colour has one source.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.bench.layout import Place
from runtime.isa import INPUT_QUEUES


@dataclass
class Stage:
    """Vectors added (colours, in order), and the colour of the sum, None if it stays. fresh: the first one replaces the
    core's own vector."""

    ins: list[int] = field(default_factory=list)
    out: int | None = None
    fresh: bool = False


@dataclass
class Plan:
    """Stages of every core, and the wires between them: colour, source, reader."""

    cols: int
    rows: int
    root: Place = (0, 0)
    stages: dict[Place, list[Stage]] = field(default_factory=dict)
    wires: list[tuple[int, Place, Place]] = field(default_factory=list)

    def __post_init__(self) -> None:
        places = ((x, y) for y in range(self.rows) for x in range(self.cols))
        self.stages = {place: [Stage()] for place in places}

    def send(self, colour: int, source: Place, reader: Place) -> None:
        """In their last stages so far, `source` sends its sum to `reader`, which adds it."""
        self.stages[source][-1].out = colour
        self.stages[reader][-1].ins.append(colour)
        self.wires.append((colour, source, reader))


def chain(cores: int) -> Plan:
    """Every core adds what comes from the east and sends it west, word by word."""
    plan = Plan(cores, 1)
    _chain(plan, [(x, 0) for x in range(cores)], 0)
    return plan


def _chain(plan: Plan, places: list[Place], colour: int) -> None:
    """From the last of the places to the first, on two colours."""
    for i in range(len(places) - 1, 0, -1):
        plan.send(colour + i % 2, places[i], places[i - 1])


def two_phase(cores: int, group: int) -> Plan:
    """Chains inside groups, then a chain over the groups' first cores.

    As the published program does it: a first core adds its group's vectors into memory and then passes on the chain
    of first cores, but the last of them has nothing to wait for and hands its group's sum on directly.
    """
    plan = Plan(cores, 1)
    heads = range(0, cores, group)
    for head in heads:
        _chain(plan, [(x, 0) for x in range(head, min(head + group, cores))], 0)
    _chain(plan, [(head, 0) for head in heads], 2)
    return plan


def tree(cores: int) -> Plan:
    """In round k, cores at multiples of 2^(k+1) add the sum of the core 2^k to the east.

    A core has eight input queues, so after eight rounds a group is represented by the core next to its first one, which
    has been idle since it sent its own vector.
    """
    plan = Plan(cores, 1)
    spent = INPUT_QUEUES
    representative = {x: x for x in range(cores)}  # of the group that begins at x
    distance, colour = 1, 0
    while distance < cores:
        for first in range(0, cores - distance, 2 * distance):
            reader, source = representative[first], representative[first + distance]
            if len(plan.stages[(reader, 0)][-1].ins) == spent:
                reader += 1
                plan.stages[(reader, 0)].append(Stage(fresh=True))
                plan.send(MOVE_COLOUR, (reader - 1, 0), (reader, 0))
                representative[first] = reader
            plan.send(colour, (source, 0), (reader, 0))
        distance, colour = 2 * distance, colour + 1
    plan.root = (representative[0], 0)
    return plan


MOVE_COLOUR = 16  # above those of all rounds


def x_then_y(cols: int, rows: int) -> Plan:
    """A chain along every row, then one along the first column."""
    plan = Plan(cols, rows)
    for y in range(rows):
        _chain(plan, [(x, y) for x in range(cols)], 0)
    _chain(plan, [(0, y) for y in range(rows)], 2)
    return plan


def snake(cols: int, rows: int) -> Plan:
    """One chain through all cores, row by row, every second one backwards."""
    plan = Plan(cols, rows)
    _chain(plan, [(x if y % 2 == 0 else cols - 1 - x, y) for y in range(rows) for x in range(cols)], 0)
    return plan
