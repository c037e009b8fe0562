"""Rule c, initial memory: weights and constants are written completely, and nothing is written twice."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from runtime.image import Block, Image, Init
from runtime.isa import Dtype, Program
from runtime.tables import Array, core_positions
from runtime.validate.report import Report, at

FILLED = ("weights", "constants")


def check_contents(image: Image, report: Report) -> None:
    """Report inits that read outside their tensor, write outside a region or twice, and memory left without value."""
    good = [number for number, init in enumerate(image.inits) if _check_init(image, init, number, report)]
    x, y = core_positions(image)
    shapes: dict[tuple[int, str, int, int, tuple[int, int]], int] = {}
    shape_of = [0] * len(image.inits)
    for number in good:
        init = image.inits[number]
        shape_of[number] = shapes.setdefault((init.address, init.dtype, init.pitch, init.step, init.count), len(shapes))
    writes = [_intervals(*shape) for shape in shapes]

    # Cores of one program with the same inits are alike: look at one of each kind.
    cores, numbers = _pairs(image, good)
    shape = np.array(shape_of, np.int32)[numbers]
    order = np.lexsort((shape, cores))
    cores, shape = cores[order], shape[order]
    bounds = np.searchsorted(cores, np.arange(len(image.cores) + 1))
    seen: set[tuple[int, bytes]] = set()
    for core, (start, end) in enumerate(pairwise(bounds)):
        mine = shape[start:end]
        kind = (int(image.cores["program"][core]), mine.tobytes())
        if kind in seen:
            continue
        seen.add(kind)
        program = image.programs[kind[0]] if kind[0] >= 0 else None
        _check_core(program, [writes[i] for i in mine], f"core {at(int(x[core]), int(y[core]))}", report)


def _check_init(image: Image, init: Init, number: int, report: Report) -> bool:
    """Whether the init names cores, bytes and elements that exist."""
    where = f"init {number}"
    if not 0 <= init.block < len(image.blocks):
        report.add("init-block", f"there is no block {init.block}", where)
        return False
    block = image.blocks[init.block]
    inside = 0 <= init.rows[0] < init.rows[1] <= block.rows and 0 <= init.cols[0] < init.cols[1] <= block.cols
    if not inside or min(init.count) < 1 or init.pitch < 0 or init.step < 1 or init.dtype not in list(Dtype):
        report.add("init-block", f"bad cores, counts or dtype for block {block.name}: {init}", where)
        return False
    tensor = image.tensors.get(init.tensor)
    if tensor is None:
        report.add("init-tensor", f"there is no tensor {init.tensor}", where)
        return False
    if (init.dtype == "i32") != (tensor.data.dtype.kind == "i"):
        report.add("init-tensor", f"{tensor.data.dtype} tensor {init.tensor} cannot fill {init.dtype} memory", where)
    low, high = _elements(init)
    if low < 0 or high >= tensor.data.size:
        message = f"reads elements {low}..{high} of the {tensor.data.size} of tensor {init.tensor}"
        report.add("init-tensor", message, f"{where}, block {block.name}")
    return True


def _elements(init: Init) -> tuple[int, int]:
    """First and last element read by any core: the reads are affine, so the corners decide."""
    spans = (
        (init.per_row * init.rows[0], init.per_row * (init.rows[1] - 1)),
        (init.per_col * init.cols[0], init.per_col * (init.cols[1] - 1)),
        (0, init.stride[0] * (init.count[0] - 1)),
        (0, init.stride[1] * (init.count[1] - 1)),
    )
    return init.offset + sum(min(span) for span in spans), init.offset + sum(max(span) for span in spans)


def _pairs(image: Image, numbers: list[int]) -> tuple[Array, Array]:
    """All pairs of a core and an init that fills it: core numbers and init numbers."""
    cores = [_cores(image.blocks[image.inits[number].block], image.inits[number]) for number in numbers]
    sizes = [len(part) for part in cores]
    return np.concatenate([np.zeros(0, np.int64), *cores]), np.repeat(np.array(numbers, np.int64), sizes)


def _cores(block: Block, init: Init) -> Array:
    rows = np.arange(*init.rows)[:, None]
    return np.asarray(block.first + rows * block.cols + np.arange(*init.cols), np.int64).reshape(-1)


def _intervals(address: int, dtype: str, pitch: int, step: int, count: tuple[int, int]) -> Array:
    """Bytes [start, end) an init writes, int64[n, 2]; rows that touch are one."""
    size = Dtype(dtype).size
    if step != 1 and count[1] > 1:
        elements = np.arange(count[0], dtype=np.int64)[:, None] * pitch + np.arange(count[1]) * step
        starts = address + elements.reshape(-1) * size
        return np.stack([starts, starts + size], axis=1)
    if pitch == count[1] or count[0] == 1:
        return np.array([[address, address + count[0] * count[1] * size]], np.int64)
    starts = address + np.arange(count[0], dtype=np.int64) * pitch * size
    return np.stack([starts, starts + count[1] * size], axis=1)


def _check_core(program: Program | None, writes: list[Array], where: str, report: Report) -> None:
    if program is None:
        if writes:
            report.add("init-idle", "initial memory for a core without a program", where)
        return
    where = f"{where}, program {program.name}"
    spans = np.concatenate([np.zeros((0, 2), np.int64), *writes])
    spans = spans[np.argsort(spans[:, 0], kind="stable")]
    twice = np.flatnonzero(spans[1:, 0] < np.maximum.accumulate(spans[:, 1])[:-1])
    if len(twice):
        report.add("init-twice", f"byte {spans[twice[0] + 1, 0]} is initialised twice", where)
    inside = np.zeros(len(spans), bool)
    for region in program.regions:
        within = (spans[:, 0] >= region.address) & (spans[:, 1] <= region.address + region.bytes)
        inside |= within
        filled = int(np.sum(spans[within, 1] - spans[within, 0]))
        if region.owner in FILLED and filled != region.bytes and not len(twice):
            message = f"{filled} of the {region.bytes} bytes of region {region.name} ({region.owner}) are initialised"
            report.add("uninitialised", message, where)
    for start, end in spans[~inside][:1]:
        report.add("init-outside", f"bytes {start}..{end - 1} are initialised but not inside one region", where)
