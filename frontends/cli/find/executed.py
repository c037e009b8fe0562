"""Level executed: what every kernel of a running image sent, heard by a tap, and what it should have.

isolated   The words a kernel received are those that its producers sent: on the functional machine a word is at the end
           of its route at once. From them what the op means is computed with the kernel's own rounding of stored
           operands, weights as the model has them, and sums in fp64; the kernel's output may differ by fp32 roundings
           only. So no value of the reference is fed to the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compiler import flow_bounds
from compiler.bounds import Rounding
from compiler.dialects import flow
from compiler.flow_interpreter import Run, evaluate
from compiler.ir.core import Op, Value
from compiler.kernels.base import Kernel
from compiler.kernels.port import Port
from compiler.passes.nets import Netlist
from compiler.resources import ResourceStore
from frontends.cli.find.levels import row
from frontends.cli.find.names import arranged
from frontends.onnx.expose import References
from runtime.check import Layer
from runtime.errors import InputError
from runtime.image import Block, Image
from runtime.session import Session
from runtime.tap import Source, Tap

Array = np.ndarray[Any, Any]

ROUNDING = Rounding(sides=1, machine=True)


@dataclass(frozen=True)
class Standing:
    """A kernel of the compiler's and its block in the image; `sources` are its output lanes as seen by a tap."""

    op: Op
    kernel: Kernel
    block: Block
    number: int  # of the block
    sources: tuple[Source, ...]

    @property
    def name(self) -> str:
        return self.block.name


def standings(module: Op, image: Image) -> list[Standing]:
    """The kernels of a sized module as they stand in an image.

    Raises InputError if the image has other kernels: then another version or other options made it.
    """
    netlist = Netlist(module)
    blocks = {block.name: (number, block) for number, block in enumerate(image.blocks)}
    words = {net.source: net.words for net in netlist.nets}
    found = []
    for index, (op, kernel) in enumerate(zip(netlist.ops, netlist.kernels, strict=True)):
        if isinstance(kernel, Port):
            continue
        number, block = blocks.get(flow.name_of(op), (-1, None))
        if block is None or (block.rows, block.cols) != (kernel.rows, kernel.cols):
            raise InputError(
                f"the image's kernel {flow.name_of(op)} is not the one this compiler makes of the model",
                code="other-compiler",
                hint="compile the model again with this version, or leave the image out",
            )
        (port, lanes), *_ = kernel.outputs().items()
        lane_words = words[index, port]
        sources = tuple(
            Source(block.first + lane.row * block.cols + lane.col, kernel.lane_queue(port, i), lane_words[i])
            for i, lane in enumerate(lanes)
        )
        found.append(Standing(op, kernel, block, number, sources))
    return found


class Streams:
    """What kernels sent, in files [tokens, features] of int32 or float32; `strays` are lanes with other headers."""

    def __init__(self, kernels: list[Standing], tokens: int, axes: tuple[int, ...], folder: Path) -> None:
        self.axes = axes
        self.strays: list[tuple[Standing, int]] = []
        self._kernels = kernels
        self._at = 0
        self._files = {
            kernel.name: np.lib.format.open_memmap(
                folder / _file_name(number), mode="w+", dtype=_element_type(kernel.op),
                shape=(tokens, sum(source.words - 1 for source in kernel.sources)),
            )
            for number, kernel in enumerate(kernels)
        }  # fmt: skip

    def tap(self) -> Tap:
        return Tap([source for kernel in self._kernels for source in kernel.sources], self._listen)

    def _listen(self, headers: Array, words: list[Array]) -> None:
        lanes = iter(words)
        for kernel in self._kernels:
            heard = [next(lanes) for _ in kernel.sources]
            for lane, block in enumerate(heard):
                if not np.array_equal(block[:, 0], headers):
                    self.strays.append((kernel, lane))
            rows = slice(self._at, self._at + len(headers))
            sent = np.concatenate([block[:, 1:] for block in heard], axis=1)
            self._files[kernel.name][rows] = sent.view(_element_type(kernel.op))
        self._at += len(headers)

    def get(self, op: Op) -> Array:
        """What a kernel sent, [token axes.., features], mapped from its file."""
        values = self._files[flow.name_of(op)]
        array: Array = values.reshape(*self.axes, values.shape[1])
        return array

    def files(self) -> list[tuple[Standing, str]]:
        """Kernels with their files' names."""
        return [(kernel, _file_name(number)) for number, kernel in enumerate(self._kernels)]


def _file_name(number: int) -> str:
    return f"kernel{number:05d}.npy"


def _element_type(op: Op) -> type[np.int32 | np.float32]:
    """Of the words a kernel sends."""
    return np.int32 if flow.stream(op.result.type).dtype == "i32" else np.float32


def record(
    image: Image,
    kernels: list[Standing],
    inputs: Mapping[str, Array],
    axes: tuple[int, ...],
    folder: Path,
    threads: int,
    progress: Callable[[str, int, int], None],
) -> tuple[Streams, dict[str, Array], Session]:
    """Run the image with a tap on every kernel's output: the streams, the outputs, and the session for its figures."""
    streams = Streams(kernels, int(np.prod(axes)), axes, folder)
    session = Session(image, threads, tap=streams.tap())
    given: dict[str, Any] = dict(inputs)
    outputs = session.run(**given, progress=lambda done, total: progress("running", done, total))
    return streams, outputs, session


def received(op: Op, streams: Streams, run: Run) -> list[Array]:
    """The streams into an op as their producers sent them."""
    return [_sent(value, streams, run) for value in op.operands]


def _sent(value: Value, streams: Streams, run: Run) -> Array:
    maker = value.op
    assert maker is not None
    if maker.name == "flow.fork":
        return _sent(maker.operands[0], streams, run)
    return evaluate(maker, [], run) if maker.name == "flow.input" else streams.get(maker)


def should_be(op: Op, streams: Streams, run: Run) -> tuple[Array, Array]:
    """What a kernel should have sent for what it received, as good as exact, and how far it may be from that."""
    given = [x.astype(np.float64) if x.dtype.kind == "f" else x for x in received(op, streams, run)]
    wanted = evaluate(op, given, run)
    return wanted, flow_bounds.bound(op, given, [np.zeros(x.shape) for x in given], wanted, run, ROUNDING)


def compare_executed(
    kernels: list[Standing],
    streams: Streams,
    inputs: Mapping[str, Array],
    names: Mapping[Value, str],
    references: References,
    resources: ResourceStore,
    tolerance: float,
) -> Iterator[tuple[Standing, Layer]]:
    """A row for every kernel; of those that pass tokens on unchanged only where they do not."""
    run = Run(resources, inputs, sums=np.float64)
    for kernel in kernels:
        op = kernel.op
        got = streams.get(op)
        wanted, bound = should_be(op, streams, run)
        if not tolerance:
            bound = np.zeros(bound.shape)
        name = names.get(op.result, "")
        reference = arranged(op, references.get(name), got.shape) if name in references else None
        layer = row("executed", name, op, resources, got, reference, tolerance, (got, wanted, bound))
        if op.name not in ("flow.fifo", "flow.relane") or layer.wrong:
            yield kernel, layer
