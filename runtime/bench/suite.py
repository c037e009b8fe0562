"""The microbenchmarks by name, with the same arguments on the command line and in the published table."""

from __future__ import annotations

from typing import Any

from runtime.bench import collectives, local
from runtime.bench.matvec import matvec
from runtime.errors import InputError
from runtime.target import Target

Result = dict[str, Any]


def _tiles(rows: int, cols: int, m: int, k: int, n: int, aligned: bool, base: Target) -> Result:
    if k % rows or n % cols:
        message = f"{k} x {n} does not divide into {rows} x {cols} tiles"
        raise InputError(message, code="bench-size", hint="choose k and n as multiples")
    return local.gemm(m, k // rows, n // cols, aligned, cols, rows, base)


def run(bench: str, base: Target, arguments: dict[str, Any]) -> Result:
    """Run one microbenchmark on a machine like `base`; at least {"cycles": ...}.

    Raises InputError if it does not fit, UsageError for arguments that make no sense together.
    """
    a = arguments
    if bench == "reduce":
        return collectives.reduce(a["algorithm"], a["cores"], a["words"], a.get("group"), base)
    if bench == "broadcast":
        return collectives.broadcast_grid(1, a["cores"], a["words"], base)
    if bench == "reduce2d":
        return collectives.reduce_grid(a["algorithm"], a["rows"], a["cols"], a["words"], base)
    if bench == "broadcast2d":
        return collectives.broadcast_grid(a["rows"], a["cols"], a["words"], base)
    if bench == "vector":
        return local.vector(a["op"], a["dtype"], a["n"], a.get("same_bank", False), a.get("stride"), base)
    if bench == "matvec":
        return matvec(a["rows"], a["cols"], a["k"], a["n"], a["dtype"], a["tokens"], base)
    if bench == "gemm":
        return _tiles(a["rows"], a["cols"], a["m"], a["k"], a["n"], a.get("aligned", False), base)
    raise KeyError(bench)
