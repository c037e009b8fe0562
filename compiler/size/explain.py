"""Why a model does not fit: the kernels, what they need at the least, and what there is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from compiler.dialects import flow
from compiler.ir.core import Op
from compiler.size.sizing import Sizer
from runtime.errors import InfeasibleError, Shortage
from runtime.target import Target

MOST_NAMED = 8
COUNTED = "each weight and cache entry stands at least once in some core's memory"
SEARCHED = "no choice of lanes and shapes that was tried does with less"


def least_bytes(op: Op) -> int:
    """Bytes of core memory a kernel cannot do without: its weights and caches once, in the type they are stored in."""
    a: Any = op.attrs
    size = 2 if a.get("storage") == "f16" else 4
    if op.name == "flow.matvec":
        return size * flow.stream(op.operands[0].type).features * flow.stream(op.result.type).features
    if op.name == "flow.lookup":
        return size * sum(map(int, a["counts"])) * flow.stream(op.result.type).features
    if op.name == "flow.attention":
        return size * 2 * int(a["heads"] * a["head_dim"] * a["max_seq"] * a["slots"])
    return 0


def explain(sizer: Sizer, limit: int, target: Target) -> InfeasibleError:
    """The error for a model that finds no sizes on at most `limit` cores of the target."""
    least, misfits = sizer.smallest(), sizer.misfits()
    needs = sorted(((flow.name_of(op), least_bytes(op)) for op in sizer.ops), key=lambda need: -need[1])
    total = sum(need for _, need in needs)
    wafer = target.cores * target.memory_bytes / 1e6
    have = (
        f"{target.name} has {target.cores} cores of {target.memory_bytes // 1024} KiB ({wafer:.1f} MB); "
        f"the limit is {limit} cores"
    )
    need = f"weights and caches of {total / 1e6:.1f} MB"
    shortages = _memory(total, needs, limit, target)
    hint = "use a larger target, --precision fp16, or a smaller --max-seq"
    if least is None:
        names = ", ".join(f"{flow.name_of(op)} ({op.loc})" for op in misfits)
        who = f"no shape of {names} fits" if misfits else "no choice of lanes fits all kernels into"
        message = f"{who} the cores' memory and the wafer's sides ({need}); {have}"
        shortages += [_misfit(op, target) for op in misfits[:MOST_NAMED]]
    else:
        message = f"the model needs at least {least.cores} cores ({need}); {have}"
        shortages.append(Shortage("cores", target.name, least.cores, limit, SEARCHED, _shares(needs, target)))
        hint = f"raise --max-cores, or {hint}" if least.cores <= target.cores else hint
    return InfeasibleError(message, code="does-not-fit", hint=hint, shortages=shortages)


def _memory(total: int, needs: Sequence[tuple[str, int]], limit: int, target: Target) -> list[Shortage]:
    """The proof by counting, if it is one."""
    supply = limit * target.memory_bytes
    if total <= supply:
        return []
    where = f"{limit} cores of {target.name}"
    whole = target.cores * target.memory_bytes
    proof = f"{COUNTED}: as much as {total / whole:.2f} of these machines have" if whole else COUNTED
    return [Shortage("bytes", where, total, supply, proof, tuple(needs[:MOST_NAMED]))]


def _shares(needs: Sequence[tuple[str, int]], target: Target) -> tuple[tuple[str, int], ...]:
    """Cores that the weights and caches alone fill."""
    return tuple((name, math.ceil(need / target.memory_bytes)) for name, need in needs[:MOST_NAMED])


def _misfit(op: Op, target: Target) -> Shortage:
    """A kernel no rectangle suits: its lanes are too many for the wafer's sides, or its cores' memory is too small."""
    most = (max(target.usable[2:]) - 2) * (min(target.usable[2:]) - 2)
    need = math.ceil(least_bytes(op) / target.memory_bytes)
    return Shortage("cores in one rectangle", flow.name_of(op), need, most, SEARCHED)
