"""Published figures, as data: what was measured, where it stands, and how near the machine has to come.

Never read by a microbenchmark; `runtime.bench.validate` compares them with what the machine does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

REDUCE_DATA = "pr0f3ss/SpMM_Cerebras reduce_2colors_2phase/results.txt (vendor's WSE-2 simulator)"
VECTOR_DATA = "pr0f3ss/SpMM_Cerebras fmacs_test/COO_benchmark.csv (vendor's WSE-2 simulator)"
GEMM_DATA = "pr0f3ss/SpMM_Cerebras benchmarks/GEMM_benchmark.csv (WSE-2)"
SIMD_DATA = "SDK documentation, csl/language/appendix: SIMD widths"
STRIDE_DATA = "SDK documentation, csl/language/appendix: strides"
PAPER = "Near-Optimal Wafer-Scale Reduce, HPDC 2024 (arXiv 2404.15888): formula"
REDIRECT_DATA = "csl-examples, tutorials/pipeline-01-basic"
ARRIVAL_DATA = "vendor simulator's message 'violates architecture rules'; SDK documentation"


@dataclass(frozen=True)
class Figure:
    """A published number of cycles: the microbenchmark and its arguments (see `runtime.bench.suite`), the largest
    relative error that passes, the source."""

    bench: str
    arguments: dict[str, Any] = field(hash=False)
    cycles: float
    tolerance: float
    source: str


CHAIN = Figure("reduce", {"algorithm": "chain", "cores": 512, "words": 4096}, 7218, 0.015, REDUCE_DATA)

TWO_PHASE = tuple(
    Figure(
        "reduce",
        {"algorithm": "two-phase", "cores": 512, "words": 4096, "group": group},
        cycles,
        0.03,
        REDUCE_DATA,
    )
    for group, cycles in ((2, 10_055), (16, 8_989), (256, 9_800))
)

VECTOR = tuple(
    Figure("vector", {"op": op, "dtype": "f32", "n": n, "same_bank": same_bank}, cycles, 0.01, VECTOR_DATA)
    for op, n, same_bank, cycles in (
        ("mul", 5124, False, 5_130),
        ("mul", 5124, True, 10_254),
        ("add", 5124, False, 2_597),
        ("mul", 1028, False, 1_034),
        ("mul", 1028, True, 2_062),
    )
)

# The published grids are width x height: W parts of K and H parts of N.
GEMM = tuple(
    Figure("gemm", {"rows": width, "cols": 12, "k": 48 * width, "n": 768, "m": 64}, 476_866, 0.05, GEMM_DATA)
    for width in (16, 64)
)

# Elements a cycle by operation and type, operands willing.
SIMD = {
    ("add", "f16"): 4,
    ("mul", "f16"): 4,
    ("mov", "f16"): 4,
    ("fmac", "f16"): 4,
    ("add", "f32"): 2,
    ("mov", "f32"): 2,
    ("add", "mixed"): 2,
    ("fmac", "mixed"): 2,
    ("mul", "f32"): 1,
    ("fmac", "f32"): 1,
}

# Elements a cycle of an instruction with width 4, by stride in 16-bit words.
STRIDES = {0: 4, 1: 4, 2: 4, 3: 4, 4: 2, 5: 4, 6: 4, 7: 2, 8: 1, 9: 2, 10: 4, 12: 2}

FORMULA_TOLERANCE = 0.04

# Wavelets that a core which sends back what it gets holds before the host has to take some.
REDIRECT = 14

NOT_MODELLED = (
    "router switches, control wavelets, filters, teardown: routes are fixed. Where several cores send on one colour "
    "(star), they wait for their turns by the clock",
    "descriptors of two dimensions: adding vectors of more than one word one after the other takes two instructions, "
    "which costs a star 6 cycles more than the formula, seen where it takes less than 150",
    "tree reductions as the formula has them: a core adds round k's vector only when its partner has reached round k, "
    "so the sum of max(B, 2^k) where the formula has max(B log P, ...): up to 12 % more around B = P/4, on any machine "
    "where a round waits for the one before (the row of the tree's longest path)",
    "start-up of the published programs around the measured interval (some 56 cycles of the 7,218, 78 of the two-phase "
    "ones): time stamps, descriptor loads",
    "loads of descriptors inside a measured interval (28 more cycles in some published vector runs)",
    "memcpy cores, the launch of a program, and skew between cores' starts: all start at cycle 0",
    "idle cycles against overheating; repaired rows; seams of reticles",
    "GEMV and whole-model figures of WaferLLM (grids not printed, functional caveats), FFT and stencil",
)
