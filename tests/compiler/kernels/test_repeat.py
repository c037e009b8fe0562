"""Programs for several layers: where their memory lies, what a pass costs, and that the machine's rules hold."""

from __future__ import annotations

import pytest

from compiler.kernels.attention import Attention
from compiler.kernels.base import IDLE, Kernel
from compiler.kernels.builder import BANK_ROUND, CoreBuilder
from compiler.kernels.folded import for_layers
from compiler.kernels.repeat import lay_out, repeated
from runtime import target as targets
from runtime.isa import REGISTERS, Dtype, Loop, Program, Reg
from runtime.stream import Blocks
from runtime.validate.memory import check_memory
from runtime.validate.programs import check_program
from runtime.validate.report import Report
from tests.compiler.kernels.shapes import ATTENTIONS, MAPS, TILED, WITH_CORES, matvec

CS2 = targets.load("cs2")
INSIDE = [kernel for kind, kernels in WITH_CORES.items() if kind not in ("lookup", "relane") for kernel in kernels]
HEADS = ((64, 1, 4), (64, 3, 64), (160, 1, 9))  # elements, slots, cores
LARGE = [
    *(Attention(2, d, 0.1, 1024, slots, spread, Dtype.F16) for d, slots, spread in HEADS),
    *(matvec(Blocks(768, 32), Blocks(768, n), tiles=tiles, storage=Dtype.F16, bias=True, entry="edge")
      for n, tiles in ((5, 12), (32, 12), (5, 200))),
]  # fmt: skip


def programs(kernel: Kernel) -> list[Program]:
    return [kernel.program(role) for role in kernel.telling_roles() if role is not IDLE]


@pytest.mark.parametrize("layers", [2, 5])
def test_programs_are_legal_and_regions_keep_their_banks(layers: int) -> None:
    for kernel in (*INSIDE, *LARGE):
        for program in programs(kernel):
            report = Report()
            several = repeated(program, layers)
            once, often = check_program(program, CS2, report), check_program(several, CS2, report)
            check_memory(several, targets.with_defects(CS2, (), ""), report)
            assert {v.code for v in report.violations} <= {"memory-size"}, (kernel, report.text())
            assert often.reads == [layers * n for n in once.reads] and often.writes == [layers * n for n in once.writes]
            for moved, region in zip(lay_out(program, layers), several.regions, strict=True):
                assert moved.stride % BANK_ROUND == 0 and (moved.address - moved.old.address) % BANK_ROUND == 0
                own = moved.old.owner in ("weights", "cache")
                assert region.bytes == (layers * moved.stride if own else moved.old.bytes)


def test_a_pass_costs_what_its_closed_form_says() -> None:
    for kernel in (*LARGE, *ATTENTIONS, *MAPS, *(k for k in TILED if not k.finishers)):
        several = for_layers(kernel, 3)
        exact = several.interval(CS2) / 3 - kernel.interval(CS2)
        # A round of the loop over layers costs a branch, the start of a task another.
        slack = CS2.branch_cycles + 0.02 * kernel.interval(CS2)
        assert abs(exact - kernel.layer_cycles(CS2)) <= slack, kernel


def test_indexed_operands_move_with_the_layer() -> None:
    """Row i of layer l: the places of both are added once, and again after the index has changed."""
    b = CoreBuilder("rows")
    y = b.array("y", "buffer", Dtype.F32, 4)
    w = b.array("w", "weights", Dtype.F32, 12)
    with b.task():
        row = b.alu("add", 1, 0)
        b.mov(y.all, w.row(row, 4, 4))
        b.mov(b.put(2, 4), w.row(row, 4, 4))
        b.alu("add", row, 1, into=row)
        b.binary("add", b.put(2, 4), w.row(row, 4, 4), w.part(0, 4))
    (task,) = repeated(b.program(), 3).tasks
    (loop,) = task.body
    assert isinstance(loop, Loop) and loop.count == 3
    names = [type(instr).__name__ for instr in loop.body]
    assert names == ["Alu", "Alu", "Alu", "Alu", "Mov", "Mov", "Alu", "Alu", "Alu", "Binary"]
    fixed = loop.body[-1].b  # type: ignore[union-attr]
    assert (fixed.index, fixed.scale) == (loop.counter, 48)  # type: ignore[union-attr]


def test_a_task_without_a_register_left() -> None:
    b = CoreBuilder("full")
    with b.task("greedy"):
        registers: list[Reg] = [b.alu("add", 0, 0) for _ in range(REGISTERS)]
        b.mov(b.put(2, 1), b.take(2, 1))
    assert len(registers) == REGISTERS
    with pytest.raises(AssertionError, match="greedy leaves no register"):
        repeated(b.program(), 2)
