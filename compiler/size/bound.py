"""The area bound: how few cycles a token could take if all cores were busy with arithmetic and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.dialects import flow
from compiler.ir.core import Op
from compiler.kernels.attention import Attention
from compiler.kernels.base import fmac_rate
from compiler.kernels.folded import single
from compiler.kernels.matvec import Matvec
from compiler.kernels.port import channel_cycles
from compiler.kernels.table import kernel_of
from runtime.target import Target


def area_bound(ops: Sequence[Op], target: Target) -> float:
    """Cycles per token: the core cycles of one token's arithmetic over all usable cores of the target.

    Counted, at the machine's SIMD rate without any overhead: the multiply-accumulates of matvecs (features in times
    features out), of attention over a full cache of max_seq entries (scores and weighted sum), and `routine_cycles` for
    every exponential of a score and every activated element. Not counted, though it is done: norms, joins, maps
    without a routine, and what is only movement (taking and sending words, chains, headers, copies), so no layout and
    no kernel can reach the bound; nor memory, which may not allow a model on so many cores at all.
    """
    return sum(work(op, target) for op in ops if flow.is_kernel(op)) / target.cores


def work(op: Op, target: Target) -> float:
    """Core cycles of a kernel's arithmetic on one token, as `area_bound` counts it."""
    return flow.passes_of(op) * _work(op, target)


def _work(op: Op, target: Target) -> float:
    """Of one pass."""
    if op.name == "flow.matvec":
        kernel = single(kernel_of(op))
        assert isinstance(kernel, Matvec)
        products = kernel.x.features * kernel.y.features / fmac_rate(kernel.storage, target)
        return products + (target.routine_cycles * kernel.y.features if kernel.activation else 0)
    if op.name == "flow.attention":
        kernel = single(kernel_of(op))
        assert isinstance(kernel, Attention)
        entry = 2 * kernel.head_dim / fmac_rate(kernel.storage, target) + target.routine_cycles
        return kernel.heads * kernel.max_seq * entry
    if op.name == "flow.map" and "constant" not in op.attrs:
        return target.routine_cycles * flow.stream(op.result.type).features
    return 0.0


def host_bound(ops: Sequence[Op], target: Target) -> int:
    """Cycles per token: the words of the widest graph input or output over all host channels, at their bandwidth.

    No layout can beat it either. Ports of one direction share the channels.
    """
    widest = 0
    for name in ("flow.input", "flow.output"):
        values = [op.result if op.results else op.operands[0] for op in ops if op.name == name]
        words = sum(flow.stream(value.type).features for value in values)
        widest = max(widest, -(-words // target.host_channels))
    return channel_cycles(widest, target)
