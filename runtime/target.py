"""Target descriptions: the machine's numbers, read from TOML files in `runtime/targets` or given by path."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime import codec
from runtime import defects as maps
from runtime.errors import InputError
from runtime.isa import INPUT_QUEUES, OUTPUT_QUEUES

TARGET_DIR = Path(__file__).parent / "targets"

MAX_FABRIC = 1 << 20  # routers; a WSE-3 has 0.9 million
MAX_MEMORY = 1 << 20  # bytes per core
# Least and most of other entries. The most is far beyond any machine: images of strangers have targets, too, and with
# these numbers tables have a size and times stay far below 64 bits.
RANGES: Mapping[str, tuple[float, float]] = {
    "colours": (1, 24),
    "microthreads": (0, 64),
    "host_channels": (1, 1 << 16),
    "clock_ghz": (1e-3, 1e3),
    **dict.fromkeys(("hop_cycles", "ramp_cycles", "router_depth"), (1, 256)),
    **dict.fromkeys(("scalar_cycles", "branch_cycles"), (1, 1 << 16)),
    **dict.fromkeys(("index_cycles", "activation_cycles", "vector_overhead_cycles"), (0, 1 << 16)),
    **dict.fromkeys(("divide_cycles", "routine_cycles"), (0, 1 << 16)),
    **dict.fromkeys(("fmac_per_cycle_f32", "fmac_per_cycle_f16", "simd_f16", "simd_f32"), (1, 64)),
    "memory_banks": (1, 32),
    "host_words_per_cycle": (1e-6, 1e3),
}


class TargetError(InputError):
    """An unknown target name or a target file with missing, unknown or impossible entries."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="bad-target")


@dataclass(frozen=True)
class Target:
    """One machine. Sizes in cores or bytes, coordinates are fabric coordinates, depths in wavelets (32-bit words)."""

    name: str
    fabric: tuple[int, int]  # columns, rows of the whole mesh
    usable: tuple[int, int, int, int]  # x, y, columns, rows that programs may use
    memory_bytes: int  # per core, for code, data and queues
    colours: int  # routable colours 0..colours-1 that programs may use
    input_queues: tuple[int, ...]  # numbers programs may use
    input_depth: tuple[int, ...]  # by queue number
    output_queues: tuple[int, ...]
    output_depth: tuple[int, ...]
    microthreads: int
    host_channels: int  # most lanes a program may have to the host, in each direction
    clock_ghz: float
    hop_cycles: int
    ramp_cycles: int
    fmac_per_cycle_f32: float
    fmac_per_cycle_f16: float  # fp16 operands, fp32 accumulation
    vector_overhead_cycles: int  # issue and drain of one vector instruction
    simd_f16: int  # elements per cycle: add, multiply, move, ... on fp16 operands
    simd_f32: int  # add and move on fp32 operands, mixed add
    divide_cycles: int  # per element
    routine_cycles: int  # per element of a scalar library routine (exp, erf, ...); calibrated
    scalar_cycles: int  # an integer instruction; calibrated
    branch_cycles: int  # the end of a loop's round, or a skipped body; calibrated
    index_cycles: int  # setting a descriptor from a register; calibrated
    activation_cycles: int  # the start of a task; calibrated
    router_depth: int  # wavelets a router holds per colour; calibrated
    memory_banks: int  # 16-bit wide, one access a cycle each; successive words lie in successive banks
    host_words_per_cycle: float  # of one host channel
    defects: tuple[maps.Rect, ...] = ()  # dead cores, in the normal form of `runtime.defects`

    @property
    def cores(self) -> int:
        """Cores that programs may use."""
        return self.usable[2] * self.usable[3] - self.dead_cores

    @property
    def dead_cores(self) -> int:
        """Dead cores of the usable rectangle."""
        return maps.count(self.defects, self.usable)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def from_dict(entries: dict[str, Any], origin: str) -> Target:
    """Build and check a target. Raises TargetError naming the entry and `origin`."""
    fields = {f.name for f in dataclasses.fields(Target)}
    unknown, missing = sorted(set(entries) - fields), sorted(fields - set(entries) - {"defects"})
    if unknown or missing:
        raise TargetError(f"{origin}: unknown entries {unknown}, missing entries {missing}")
    values = {key: list(value) if isinstance(value, tuple) else value for key, value in entries.items()}
    defects = values.pop("defects", ())
    try:
        target: Target = codec.decode(Target, {codec.TAG: Target.__name__, **values})
    except codec.DecodeError as error:
        raise TargetError(f"{origin}: {error}") from None
    check(target, origin)
    return with_defects(target, defects, origin)


def check(target: Target, origin: str) -> None:
    """Raises TargetError naming `origin` and the first entry that no machine has."""

    def require(condition: bool, message: str) -> None:
        if not condition:
            raise TargetError(f"{origin}: {message}")

    columns, rows = target.fabric
    inside = 1 <= columns < 1 << 16 and 1 <= rows < 1 << 16 and columns * rows <= MAX_FABRIC
    require(inside, f"a fabric of {columns} x {rows} routers is larger than {MAX_FABRIC}")
    x, y, width, height = target.usable
    inside = min(x, y) >= 0 and min(width, height) >= 1 and x + width <= columns and y + height <= rows
    require(inside, f"usable {target.usable} is not inside the fabric {target.fabric}")
    require(0 < target.memory_bytes <= MAX_MEMORY, f"{target.memory_bytes} bytes of memory per core")
    depths = ((target.input_depth, INPUT_QUEUES), (target.output_depth, OUTPUT_QUEUES))
    require(all(len(d) == n and all(1 <= x <= 64 for x in d) for d, n in depths), "bad queue depths")
    queues = ((target.input_queues, INPUT_QUEUES), (target.output_queues, OUTPUT_QUEUES))
    require(all(0 <= q < n for numbers, n in queues for q in numbers), "no such queue")
    for name, (least, most) in RANGES.items():
        value = getattr(target, name)
        require(least <= value <= most, f"{name} is {value}; it must be from {least:g} to {most:g}")


def with_defects(target: Target, defects: object, origin: str) -> Target:
    """The target with these dead cores: a list of [x, y, columns, rows]. Raises TargetError naming `origin`."""
    rects: list[maps.Rect] = []
    for rect in defects if isinstance(defects, list | tuple) else (defects,):
        if not isinstance(rect, list | tuple) or len(rect) != 4 or not all(type(number) is int for number in rect):
            raise TargetError(f"{origin}: defects are lists of four whole numbers, not {rect!r}")
        x, y, columns, rows = rect
        if not maps.on_fabric((x, y, columns, rows), target.fabric):
            raise TargetError(f"{origin}: defect {list(rect)} is not on the fabric {target.fabric}")
        rects.append((x, y, columns, rows))
    return dataclasses.replace(target, defects=maps.normal_form(rects, target.fabric))


def names() -> list[str]:
    """The targets that ship with wsec."""
    return sorted(path.stem for path in TARGET_DIR.glob("*.toml"))


def load(name_or_path: str) -> Target:
    """The target called so, or described by the TOML file at that path. Raises TargetError."""
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = TARGET_DIR / f"{name_or_path}.toml"
    try:
        with path.open("rb") as file:
            entries = tomllib.load(file)
    except FileNotFoundError:
        known = ", ".join(names())
        raise TargetError(f"no target {name_or_path!r}; there are: {known}, or give a .toml file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise TargetError(f"{name_or_path}: not a readable target file: {error}") from None
    return from_dict(entries, name_or_path)
