"""Why a model does not fit: the kernels, what they need at the least, and what there is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from compiler.dialects import flow
from compiler.ir.core import Op
from compiler.place.room import Room
from compiler.size.sizing import Sizer, Sizing
from runtime.errors import InfeasibleError, Shortage
from runtime.target import Target

MOST_NAMED = 8
SMALLEST = "cores of the smallest sizes"
COUNTED = "each weight and cache entry stands at least once in some core's memory"
SEPARATE = "no two kernels share a core, and each needs those that its weights and caches fill"
SEARCHED = "found by a search, not proved: no choice of lanes and shapes that was tried does with less"
UNSUITED = "found by a search, not proved: its bytes would have room, but no shape that was tried fits cores and wafer"


def least_bytes(op: Op) -> int:
    """Bytes of core memory a kernel cannot do without: its weights and caches once, in the type they are stored in."""
    a: Any = op.attrs
    size = (2 if a.get("storage") == "f16" else 4) * flow.passes_of(op)
    if op.name == "flow.matvec":
        return size * flow.stream(op.operands[0].type).features * flow.stream(op.result.type).features
    if op.name == "flow.lookup":
        return size * sum(map(int, a["counts"])) * flow.stream(op.result.type).features
    if op.name == "flow.attention":
        return size * 2 * int(a["heads"] * a["head_dim"] * a["max_seq"] * a["slots"])
    return 0


def least_cores(op: Op, target: Target) -> int:
    """Cores a kernel cannot do without: those that `least_bytes` fill, in attention for each head, and its feeder."""
    if not target.memory_bytes:
        return 1
    if op.name != "flow.attention":
        return max(1, math.ceil(least_bytes(op) / target.memory_bytes))
    heads = int(str(op.attrs["heads"]))
    return heads * (1 + math.ceil(least_bytes(op) / heads / target.memory_bytes))


def explain(sizer: Sizer, limit: int, target: Target) -> InfeasibleError:
    """The error for a model that finds no sizes on at most `limit` cores of the target."""
    least, misfits = sizer.smallest(), sizer.misfits()
    needs = sorted(((flow.name_of(op), least_bytes(op)) for op in sizer.ops), key=lambda need: -need[1])
    total = sum(need for _, need in needs)
    shares = sorted(((flow.name_of(op), least_cores(op, target)) for op in sizer.ops), key=lambda share: -share[1])
    wafer = target.cores * target.memory_bytes / 1e6
    have = (
        f"{target.name} has {target.cores} cores of {target.memory_bytes // 1024} KiB ({wafer:.1f} MB); "
        f"the limit is {limit} cores"
    )
    need = f"weights and caches of {total / 1e6:.1f} MB"
    shortages = _memory(total, needs, limit, target)
    proved = sum(count for _, count in shares)
    if proved > limit:
        shortages.append(Shortage("cores", target.name, proved, limit, SEPARATE, tuple(shares[:MOST_NAMED])))
    hint = "use a larger target, --precision fp16, or a smaller --max-seq"
    if least is None:
        short = {op: _misfit(op, target) for op in misfits}
        sure = [op for op in misfits if short[op].demand > short[op].supply]
        names = ", ".join(f"{flow.name_of(op)} ({op.loc})" for op in sure or misfits)
        who = f"no shape of {names} fits" if misfits else "no choice of lanes fits all kernels into"
        how = "" if sure else "a search found that "
        message = f"{how}{who} the cores' memory and the wafer's sides ({need}); {have}"
        shortages += [short[op] for op in misfits[:MOST_NAMED]]
    else:
        surely = f"the model needs at least {proved} cores, and " if proved > limit else ""
        message = f"{surely}the smallest sizes that a search found take {least.cores} cores ({need}); {have}"
        shortages.append(Shortage(SMALLEST, target.name, least.cores, limit, SEARCHED, _areas(least)))
        hint = f"raise --max-cores, or {hint}" if least.cores <= target.cores else hint
    return InfeasibleError(message, code="does-not-fit", hint=hint, shortages=shortages)


def _memory(total: int, needs: Sequence[tuple[str, int]], limit: int, target: Target) -> list[Shortage]:
    """The proof by counting, if it is one."""
    supply = limit * target.memory_bytes
    if total <= supply:
        return []
    where = f"{limit} cores of {target.name}"
    whole = target.cores * target.memory_bytes
    proof = f"{COUNTED}; {total / whole:.2f} of these machines would hold them" if total > whole > 0 else COUNTED
    return [Shortage("bytes", where, total, supply, proof, tuple(needs[:MOST_NAMED]))]


def _areas(sizing: Sizing) -> tuple[tuple[str, int], ...]:
    """The largest kernels of the smallest sizes, in cores."""
    areas = sorted(((flow.name_of(op), fit.cores) for op, fit in sizing.fits.items()), key=lambda area: -area[1])
    return tuple(areas[:MOST_NAMED])


def _misfit(op: Op, target: Target) -> Shortage:
    """A kernel no rectangle suits: by its bytes alone, or because no shape that was tried has room and memory."""
    _, _, columns, rows = target.usable
    most, need = Room(target).most(columns, rows), least_cores(op, target)
    proof = f"{COUNTED}, and this is the largest rectangle of live cores" if need > most else UNSUITED
    return Shortage("cores in one rectangle", flow.name_of(op), need, most, proof)
