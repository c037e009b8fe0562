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
from compiler.flow_interpreter import Run, Sent, Step, evaluate, reads, steps
from compiler.ir.core import Op
from compiler.kernels.base import Kernel
from compiler.kernels.folded import Folded
from compiler.kernels.port import Port
from compiler.passes.nets import Netlist
from compiler.resources import ResourceStore
from frontends.cli.find.levels import row
from frontends.cli.find.names import PASSING_ON, Named, arranged
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
    """A kernel of the compiler's in one pass of a token, and its block in the image.

    `sources` are the lanes of `port`, on which the pass leaves, with the words of one pass: the one with number `turn`
    of the `times` that a token leaves there.
    """

    step: Step
    whole: Kernel  # for all layers that share it
    block: Block
    port: str
    sources: tuple[Source, ...]
    times: int
    turn: int

    @property
    def op(self) -> Op:
        return self.step.op

    @property
    def kernel(self) -> Kernel:
        """As it is for the layer of this pass alone."""
        return self.whole.layer(self.step.number) if isinstance(self.whole, Folded) else self.whole

    @property
    def name(self) -> str:
        return self.block.name

    def address(self, role: Any, address: int) -> int:
        """Where a core keeps for this pass what `kernel`'s program for the role has at an address."""
        return self.whole.address(role, address, self.step.number) if isinstance(self.whole, Folded) else address


def standings(module: Op, image: Image) -> list[Standing]:
    """The kernels of a sized module as they stand in an image, in the order of execution: one for every pass.

    Raises InputError if the image has other kernels: then another version or other options made it.
    """
    netlist = Netlist(module)
    blocks = {block.name: block for block in image.blocks}
    words = {net.source: net.words for net in netlist.nets}
    found = []
    for op, number in (step for step in steps(module) if flow.is_kernel(step.op)):
        index = netlist.index[id(op)]
        kernel = netlist.kernels[index]
        if isinstance(kernel, Port):
            continue
        block = blocks.get(flow.name_of(op))
        if block is None or (block.rows, block.cols) != (kernel.rows, kernel.cols):
            raise InputError(
                f"the image's kernel {flow.name_of(op)} is not the one this compiler makes of the model",
                code="other-compiler",
                hint="compile the model again with this version, or leave the image out",
            )
        stays = op.name == "flow.switch" and number + 1 < flow.passes_of(op)
        port = "back" if stays else next(iter(kernel.outputs()))
        times = kernel.times(port)
        sources = tuple(
            Source(block.first + lane.row * block.cols + lane.col, kernel.lane_queue(port, i), count // times)
            for i, (lane, count) in enumerate(zip(kernel.outputs()[port], words[index, port], strict=True))
        )
        found.append(Standing(Step(op, number), kernel, block, port, sources, times, min(number, times - 1)))
    return found


@dataclass(frozen=True)
class Stray:
    """A lane that sent another header than the host gave its token; tokens are numbered in the order they ran in."""

    kernel: Standing
    lane: int
    token: int
    got: int
    wanted: int


class Streams:
    """What kernels sent, in files [tokens, features] of int32 or float32; `strays` are lanes with other headers, by
    kernel and lane, with the first token that has one."""

    def __init__(self, kernels: list[Standing], tokens: int, axes: tuple[int, ...], folder: Path) -> None:
        self.axes = axes
        self.strays: dict[tuple[Step, int], Stray] = {}
        self._kernels = kernels
        self._at = 0
        self._files = {
            kernel.step: np.lib.format.open_memmap(
                folder / _file_name(number), mode="w+", dtype=_element_type(kernel.op),
                shape=(tokens, sum(source.words - 1 for source in kernel.sources)),
            )
            for number, kernel in enumerate(kernels)
        }  # fmt: skip

    def tap(self) -> Tap:
        """A new tap on all kernels; a lane is heard once for all passes."""
        firsts = [kernel for kernel in self._kernels if kernel.turn == 0]
        sources = [Source(s.core, s.queue, kernel.times * s.words) for kernel in firsts for s in kernel.sources]

        def listen(headers: Array, words: list[Array]) -> None:
            self._listen(headers, {(s.core, s.queue): heard for s, heard in zip(sources, words, strict=True)})

        return Tap(sources, listen)

    def _listen(self, headers: Array, words: Mapping[tuple[int, int], Array]) -> None:
        for kernel in self._kernels:
            heard = [
                words[source.core, source.queue].reshape(len(headers), kernel.times, -1)[:, kernel.turn]
                for source in kernel.sources
            ]
            for lane, block in enumerate(heard):
                other = np.flatnonzero(block[:, 0] != headers)
                if len(other) and (kernel.step, lane) not in self.strays:
                    at = int(other[0])
                    stray = Stray(kernel, lane, self._at + at, int(block[at, 0]), int(headers[at]))
                    self.strays[kernel.step, lane] = stray
            rows = slice(self._at, self._at + len(headers))
            sent = np.concatenate([block[:, 1:] for block in heard], axis=1)
            self._files[kernel.step][rows] = sent.view(_element_type(kernel.op))
        self._at += len(headers)

    def get(self, step: Step) -> Array:
        """What a kernel sent in a pass, [token axes.., features], mapped from its file."""
        values = self._files[step]
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


def received(step: Step, streams: Streams, run: Run) -> list[Array]:
    """The streams into an op in a pass as their producers sent them."""
    return [_sent(read, streams, run) for read in reads(step)]


def _sent(read: Sent, streams: Streams, run: Run) -> Array:
    value, number = read
    maker = value.op
    assert maker is not None
    if maker.name == "flow.fork":
        return received(Step(maker, number), streams, run)[0]
    return evaluate(maker, [], run) if maker.name == "flow.input" else streams.get(Step(maker, number))


def should_be(step: Step, streams: Streams, run: Run) -> tuple[Array, Array]:
    """What a kernel should have sent for what it received, as good as exact, and how far it may be from that."""
    op, number = step
    given = [x.astype(np.float64) if x.dtype.kind == "f" else x for x in received(step, streams, run)]
    wanted = evaluate(op, given, run, number)
    return wanted, flow_bounds.bound(op, given, [np.zeros(x.shape) for x in given], wanted, run, ROUNDING, number)


def compare_executed(
    kernels: list[Standing],
    streams: Streams,
    inputs: Mapping[str, Array],
    names: Mapping[Step, Named],
    references: References,
    resources: ResourceStore,
    tolerance: float,
) -> Iterator[tuple[Standing, Layer]]:
    """A row for every kernel and pass; of those that pass tokens on unchanged only where they do not."""
    run = Run(resources, inputs, sums=np.float64)
    for kernel in kernels:
        step, named = kernel.step, names[kernel.step]
        got = streams.get(step)
        wanted, bound = should_be(step, streams, run)
        if not tolerance:
            bound = np.zeros(bound.shape)
        there = named.value in references
        reference = arranged(step.op, references.get(named.value), got.shape) if there else None
        layer = row("executed", step, named, got, reference, tolerance, (got, wanted, bound))
        if step.op.name not in PASSING_ON or layer.wrong:
            yield kernel, layer
