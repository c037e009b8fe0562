"""`core`: what a class of cores executes, where, and with what in memory. CSL's concepts under CSL's names.

A `core.program` holds its memory regions, its data structure descriptors (each one op with a `dsd` result) and its
tasks; instructions are those of `runtime.isa`, one op each. A `core.block` is a kernel's rectangle: which program every
core runs, the colours bound to its queues, its initial memory and internal routes, all by ranges of local rows and
columns. Registers are written `"r3"`; a plain integer is an immediate.
"""

from __future__ import annotations

from compiler.ir.core import Symbol
from compiler.ir.defs import Attribute, define

INT_OR_REGISTER = (int, str)

program_def = define(
    "core.program",
    "what cores of one class share; `inputs` and `outputs` name the queues it uses",
    attrs={"sym_name": Attribute(str), "inputs": Attribute(tuple), "outputs": Attribute(tuple)},
    regions=1,
)
region_def = define(
    "core.region",
    "a named piece of core memory (bytes); `owner`: weights, cache, buffer, constants or fifo",
    attrs={
        "name": Attribute(str),
        "owner": Attribute(str),
        "address": Attribute(int),
        "bytes": Attribute(int),
    },
)
fifo_def = define(
    "core.fifo", "a ring of 32-bit words in memory; FIFOs are numbered in order",
    attrs={"address": Attribute(int), "words": Attribute(int)},
)  # fmt: skip
mem_def = define(
    "core.mem",
    "memory descriptor: element i at address + index*scale + i*stride*size bytes",
    results=("d",),
    attrs={
        "address": Attribute(int),
        "dtype": Attribute(str),
        "extent": Attribute(INT_OR_REGISTER),
        "stride": Attribute(int, default=1),
        "index": Attribute(str, default=""),
        "scale": Attribute(int, default=0),
    },
)
take_def = define(
    "core.take", "fabric input descriptor: words from a queue", results=("d",),
    attrs={"queue": Attribute(int), "extent": Attribute(int), "dtype": Attribute(str)},
)  # fmt: skip
put_def = define(
    "core.put", "fabric output descriptor: words to a queue", results=("d",),
    attrs={"queue": Attribute(int), "extent": Attribute(int), "dtype": Attribute(str)},
)  # fmt: skip
pipe_def = define(
    "core.pipe", "FIFO descriptor: words into or out of a FIFO", results=("d",),
    attrs={"fifo": Attribute(int), "extent": Attribute(int), "dtype": Attribute(str)},
)  # fmt: skip
const_def = define("core.const", "an immediate, broadcast", results=("d",), attrs={"value": Attribute(float)})

task_def = define(
    "core.task", "a process that repeats its body for every token", attrs={"name": Attribute(str)}, regions=1
)
mov_def = define("core.mov", "dst = a", operands=("dst", "a"))
binary_def = define("core.binary", "dst = a fn b", operands=("dst", "a", "b"), attrs={"fn": Attribute(str)})
fmac_def = define("core.fmac", "dst = dst + a * b", operands=("dst", "a", "b"))
reduce_def = define(
    "core.reduce", "dst[0] = fn over dst[0] and a, in order", operands=("dst", "a"), attrs={"fn": Attribute(str)}
)
map_def = define(
    "core.map", "dst = fn(a), a library routine per element", operands=("dst", "a"), attrs={"fn": Attribute(str)}
)
alu_def = define(
    "core.alu", "dst = a fn b on 32-bit integers",
    attrs={
        "fn": Attribute(str), "dst": Attribute(str), "a": Attribute(INT_OR_REGISTER), "b": Attribute(INT_OR_REGISTER),
    },
)  # fmt: skip
load_def = define("core.load", "register dst = the i32 word at a", operands=("a",), attrs={"dst": Attribute(str)})
loop_def = define(
    "core.loop", "body for counter = 0 .. count-1",
    attrs={"counter": Attribute(str), "count": Attribute(INT_OR_REGISTER)}, regions=1,
)  # fmt: skip
if_def = define("core.if", "body if the register is not 0", attrs={"condition": Attribute(str)}, regions=1)

block_def = define(
    "core.block",
    "the rectangle of one kernel: rows x cols local cores, turned by `orientation`, north-west corner at (x, y)",
    attrs={
        "sym_name": Attribute(str),
        "kind": Attribute(str),
        "x": Attribute(int),
        "y": Attribute(int),
        "rows": Attribute(int),
        "cols": Attribute(int),
        "orientation": Attribute(int),
        "remark": Attribute(str, optional=True, doc="what the compiler has to say about this kernel"),
    },
    regions=1,
)
run_def = define(
    "core.run",
    "the local cores rows x cols run `program`",
    attrs={"rows": Attribute(tuple), "cols": Attribute(tuple), "program": Attribute(Symbol)},
)
bind_def = define(
    "core.bind",
    "on the local cores rows x cols, queue `queue` is bound to `colour`; `direction`: in or out",
    attrs={
        "rows": Attribute(tuple),
        "cols": Attribute(tuple),
        "direction": Attribute(str),
        "queue": Attribute(int),
        "colour": Attribute(int),
    },
)
init_def = define(
    "core.init",
    "initial memory of the local cores rows x cols: core (r, c) gets, at address + (i*pitch + j*step)*size, element "
    "offset + r*per_row + c*per_col + i*stride[0] + j*stride[1] of `tensor`, for i, j below count",
    attrs={
        "rows": Attribute(tuple),
        "cols": Attribute(tuple),
        "address": Attribute(int),
        "dtype": Attribute(str),
        "pitch": Attribute(int),
        "step": Attribute(int, default=1),
        "count": Attribute(tuple),
        "tensor": Attribute(Symbol),
        "offset": Attribute(int),
        "per_row": Attribute(int),
        "per_col": Attribute(int),
        "stride": Attribute(tuple),
    },
)
route_def = define(
    "core.route",
    "inside a block: routers w x h at fabric (x, y) take `colour` from ports `inputs` to `outputs` (port masks)",
    attrs={
        "x": Attribute(int),
        "y": Attribute(int),
        "w": Attribute(int),
        "h": Attribute(int),
        "colour": Attribute(int),
        "inputs": Attribute(int),
        "outputs": Attribute(int),
    },
)
port_def = define(
    "core.port",
    "a graph input or output at the host; `lanes`: (x, y, side, colour, start, size) each",
    attrs={
        "name": Attribute(str),
        "direction": Attribute(str),
        "dtype": Attribute(str),
        "shape": Attribute(tuple),
        "features": Attribute(int),
        "lanes": Attribute(tuple),
        "limit": Attribute(int, optional=True),
    },
)
