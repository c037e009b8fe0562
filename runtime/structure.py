"""Structure of an image: every number that a consumer uses as an index or a size is in range.

Reading a file ends with this check, so that later code may trust the tables. Whether the image makes sense as a program
is the question of `runtime.validate`.
"""

from __future__ import annotations

import math

import numpy as np

from runtime import isa
from runtime import target as targets
from runtime.errors import InputError
from runtime.image import Image, Init, Port
from runtime.isa import Program
from runtime.stream import MAX_POSITIONS, MAX_SLOTS
from runtime.target import MAX_MEMORY

MAX_FEATURES = 1 << 26  # of a port: words the host keeps for a token
COLOURS = 24  # of the router; a target may leave fewer to programs


def _bad(message: str) -> InputError:
    return InputError(message, code="bad-image")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise _bad(message)


def check(image: Image) -> None:
    """Raise InputError (code `bad-image`) naming the first entry that is out of range."""
    targets.check(image.target, "target")
    _require(1 <= image.max_seq <= MAX_POSITIONS and 1 <= image.slots <= MAX_SLOTS, "max_seq or slots out of range")
    _check_blocks(image)
    _check_cores(image)
    _check_routes(image)
    for number, init in enumerate(image.inits):
        _check_init(image, init, f"inits[{number}]")
    for port in image.ports:
        _check_port(image, port)
    for number, program in enumerate(image.programs):
        _check_program(program, f"programs[{number}]")


def _check_blocks(image: Image) -> None:
    first = 0
    columns, rows = image.target.fabric
    for block in image.blocks:
        _require(block.first == first, f"block {block.name!r}: first core is {block.first}, not {first}")
        _require(0 <= block.orientation.code < 8, f"block {block.name!r}: no such orientation")
        _require(block.rows > 0 and block.cols > 0, f"block {block.name!r} is empty")
        width, height = block.size
        inside = 0 <= block.x <= columns - width and 0 <= block.y <= rows - height
        _require(inside, f"block {block.name!r} is not on the fabric")
        first += block.rows * block.cols
    _require(first == len(image.cores), f"blocks have {first} cores, the table has {len(image.cores)}")


def _check_cores(image: Image) -> None:
    program = image.cores["program"]
    _require(bool(np.all((program >= -1) & (program < len(image.programs)))), "cores: no such program")
    for queues in ("inq", "outq"):
        _require(bool(np.all((image.cores[queues] >= -1) & (image.cores[queues] < COLOURS))), "cores: no such colour")


def _check_routes(image: Image) -> None:
    routes = image.routes
    columns, rows = image.target.fabric
    x_end = routes["x"].astype(np.int64) + routes["w"]
    y_end = routes["y"].astype(np.int64) + routes["h"]
    _require(bool(np.all((x_end <= columns) & (y_end <= rows))), "routes: a rectangle is not on the fabric")
    _require(bool(np.all((routes["w"] > 0) & (routes["h"] > 0))), "routes: an empty rectangle")
    masks = (routes["inputs"] | routes["outputs"]) < 32
    _require(bool(np.all((routes["colour"] < COLOURS) & masks)), "routes: no such colour or direction")
    entries = int(np.sum(routes["w"].astype(np.int64) * routes["h"]))
    _require(entries <= columns * rows * COLOURS, "routes: more entries than the fabric's routers have")


def _check_init(image: Image, init: Init, where: str) -> None:
    _require(0 <= init.block < len(image.blocks), f"{where}: no block {init.block}")
    block = image.blocks[init.block]
    for (start, end), size in ((init.rows, block.rows), (init.cols, block.cols)):
        _require(0 <= start < end <= size, f"{where}: cores {start}..{end} are not in block {block.name!r}")
    _require(init.dtype in list(isa.Dtype), f"{where}: no dtype {init.dtype!r}")
    _require(init.tensor in image.tensors, f"{where}: no tensor {init.tensor!r}")
    counts, size = init.count, isa.Dtype(init.dtype).size
    _require(
        min(counts) >= 1 and min(init.pitch, init.address) >= 0 and init.step >= 1,
        f"{where}: bad counts, pitch or address",
    )
    last = init.address + ((counts[0] - 1) * init.pitch + (counts[1] - 1) * init.step + 1) * size
    _require(last <= image.target.memory_bytes, f"{where}: writes up to byte {last} of the core's memory")
    spans = [(init.per_row, init.rows[0], init.rows[1] - 1), (init.per_col, init.cols[0], init.cols[1] - 1)]
    spans += [(init.stride[0], 0, counts[0] - 1), (init.stride[1], 0, counts[1] - 1)]
    low = init.offset + sum(min(step * a, step * b) for step, a, b in spans)
    high = init.offset + sum(max(step * a, step * b) for step, a, b in spans)
    length = image.tensors[init.tensor].data.size
    _require(low >= 0 and high < length, f"{where}: reads elements {low}..{high} of {length} of {init.tensor!r}")


def _check_port(image: Image, port: Port) -> None:
    where = f"port {port.name!r}"
    _require(port.direction in ("in", "out"), f"{where}: no direction {port.direction!r}")
    _require(port.dtype in ("i64", "f32", "f16"), f"{where}: no dtype {port.dtype!r}")
    columns, rows = image.target.fabric
    for lane in port.lanes:
        on_fabric = 0 <= lane.x < columns and 0 <= lane.y < rows and 0 <= lane.side < 4 and 0 <= lane.colour < COLOURS
        _require(on_fabric, f"{where}: a lane is not on the fabric")
        inside = lane.start >= 0 and lane.size >= 1 and lane.start + lane.size <= port.features
        _require(inside, f"{where}: a lane is not inside the {port.features} features")
    sizes = [size for size in port.shape if isinstance(size, int)]
    _require(all(size >= 0 for size in sizes) and math.prod(sizes) <= 1 << 40, f"{where}: bad shape")
    own = [size for size in port.shape[len(port.token_axes) :] if isinstance(size, int)]
    _require(math.prod(own) == port.features <= MAX_FEATURES, f"{where}: no {port.features} features in its shape")


def _check_program(program: Program, where: str) -> None:
    _require(len(program.tasks) <= isa.MAX_TASKS, f"{where}: more than {isa.MAX_TASKS} tasks")
    for region in program.regions:
        inside = min(region.address, region.bytes) >= 0 and region.address + region.bytes <= MAX_MEMORY
        _require(inside, f"{where}: region {region.name!r} is not in memory")
    for fifo in program.fifos:
        inside = fifo.address >= 0 and fifo.words >= 1 and fifo.address + 4 * fifo.words <= MAX_MEMORY
        _require(inside, f"{where}: a FIFO is not in memory")
    for task in program.tasks:
        for instr in isa.walk(task.body):
            _check_instr(instr, program, f"{where} task {task.name!r}")


OPCODES: dict[type, tuple[str, ...]] = {isa.Binary: isa.BINARY, isa.Reduce: isa.REDUCE, isa.Alu: isa.ALU}


def _check_instr(instr: isa.Instr, program: Program, where: str) -> None:
    if isinstance(instr, isa.Map):
        _require(instr.fn in isa.MAPS, f"{where}: no {instr.fn!r}")
    elif isinstance(instr, isa.Binary | isa.Reduce | isa.Alu):
        _require(instr.op in OPCODES[type(instr)], f"{where}: no {instr.op!r}")
    _check_numbers(instr, where)
    for operand in isa.operands(instr):
        _check_numbers(operand, where)
        if isinstance(operand, isa.Mem):
            limit, number = 1, 0
        elif isinstance(operand, isa.In):
            limit, number = isa.INPUT_QUEUES, operand.queue
        elif isinstance(operand, isa.Out):
            limit, number = isa.OUTPUT_QUEUES, operand.queue
        elif isinstance(operand, isa.Fifo):
            limit, number = len(program.fifos), operand.fifo
        else:
            continue
        if not 0 <= number < limit:
            raise _bad(f"{where}: no such queue or FIFO: {operand}")
        if type(operand.extent) is int and operand.extent < 0:
            raise _bad(f"{where}: negative extent: {operand}")


def _check_numbers(holder: object, where: str) -> None:
    """The registers and integers among an object's fields."""
    for value in vars(holder).values():
        if type(value) is isa.Reg:
            if not 0 <= value.n < isa.REGISTERS:
                raise _bad(f"{where}: no register {value.n}")
        elif type(value) is int and not -(1 << 31) <= value < 1 << 31:
            raise _bad(f"{where}: {value} needs more than 32 bits")
