"""The host's side: tensors in, tokens over the lanes, tensors out; sequences go on from the caches on the wafer."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runtime.cycle.machine import CycleMachine
from runtime.cycle.measure import Timing, measure
from runtime.errors import InputError, UsageError
from runtime.faults import MachineFault
from runtime.image import Image, Port
from runtime.imagefile import read_image
from runtime.machine import Counts, Machine, Progress
from runtime.stream import header
from runtime.tap import Tap

Array = np.ndarray[Any, Any]

HOST_DTYPES: dict[str, Any] = {"i64": np.int64, "f32": np.float32, "f16": np.float16}
FEED_WORDS = 1 << 24  # host buffers for one feed; longer inputs are fed in pieces


@dataclass
class Stats:
    """What the last call of `run` or `append` did."""

    tokens: int = 0
    seconds: float = 0.0
    instructions: int = 0
    words: int = 0
    macs: int = 0


@dataclass(frozen=True)
class _Tokens:
    """Input tensors as tokens: `values[port]` is [rows, tokens, features]; `axes` are the token axes as given."""

    values: dict[str, Array]
    axes: tuple[int, ...]
    rows: int
    length: int


@dataclass
class _Sequences:
    """Sequences in progress: row b is in slot b, its next token at `position`."""

    rows: int = 0
    position: int = 0


def _port_text(port: Port) -> str:
    shape = ", ".join(map(str, port.shape))
    limit = f" in [0, {port.limit})" if port.limit is not None else ""
    return f"{port.name}: {port.dtype}[{shape}]{limit}"


class Session:
    """An image on the machine, in functional mode or cycle by cycle. `stats` tells what the last call did.

    `tap` listens on the functional machine, see `runtime.tap`.
    """

    def __init__(self, image: Image, threads: int = 2, engine: str = "functional", tap: Tap | None = None) -> None:
        self.image = image
        self.stats = Stats()
        self._threads = threads
        self._engine = engine
        self._tap = tap
        self.machine: Machine | CycleMachine | None = self._new_machine()
        self._inputs = [port for port in image.ports if port.direction == "in"]
        self._outputs = [port for port in image.ports if port.direction == "out"]
        self._sequences = _Sequences()
        self._complete: list[Array] = []  # cycle of every token's last word, by feed
        self._timing: Timing | None = None

    @property
    def timing(self) -> Timing | None:
        """Where the cycles of the last call went; None before the first, after an error, and in functional mode."""
        if self._timing is None and isinstance(self.machine, CycleMachine) and self._complete:
            self._timing = measure(self.machine, np.concatenate(self._complete))
        return self._timing

    def _new_machine(self) -> Machine | CycleMachine:
        if self._engine == "functional":
            return Machine(self.image, self._threads, self._tap)
        if self._engine == "cycle":
            return CycleMachine(self.image, self._threads)
        raise UsageError(f"no engine {self._engine!r}; there are: functional, cycle", code="bad-engine")

    def run(self, *, progress: Progress | None = None, engine: str | None = None, **inputs: Any) -> dict[str, Array]:
        """Run new sequences. Inputs and outputs are arrays by graph name, with the graph's shapes and dtypes.

        The batch axis may be left out. `engine`: from now on this one. `progress(received, wanted)` is called now and
        then with counts of words. Raises InputError for inputs that do not fit, MachineFault and DeadlockError if the
        image is wrong.
        """
        tokens = self._tokens(inputs)
        self._check_length(tokens, 0)
        if engine not in (None, self._engine):
            self._engine, self.machine = str(engine), None
        # A row needs its slot only while it runs, so more rows than slots run in groups.
        slots = np.arange(tokens.rows) % self.image.slots
        self._sequences = _Sequences()
        result = self._feed(tokens, slots, 0, progress)
        kept = tokens.rows if tokens.rows <= self.image.slots else 0
        self._sequences = _Sequences(kept, tokens.length)
        return result

    def append(self, *, progress: Progress | None = None, **inputs: Any) -> dict[str, Array]:
        """More tokens for the sequences of the last `run`, row by row; raises as `run` does."""
        tokens, sequences = self._tokens(inputs), self._sequences
        if sequences.rows == 0:
            message = f"there are no sequences to go on with: run first, with at most {self.image.slots} rows"
            raise InputError(message, code="no-sequence", hint="more rows need an image compiled with more --slots")
        if tokens.rows != sequences.rows:
            message = f"{tokens.rows} rows, but the last run had {sequences.rows}"
            raise InputError(message, code="input-shape", where="append")
        self._check_length(tokens, sequences.position)
        result = self._feed(tokens, np.arange(tokens.rows), sequences.position, progress)
        sequences.position += tokens.length
        return result

    def _takes(self) -> str:
        return "the image takes " + "; ".join(map(_port_text, self._inputs))

    def _check_length(self, tokens: _Tokens, start: int) -> None:
        require_room(self.image, start, start + tokens.length)

    def _tokens(self, inputs: dict[str, Any]) -> _Tokens:
        """Check the inputs and lay them out as rows of tokens."""
        names = {port.name for port in self._inputs}
        if set(inputs) != names:
            unknown, missing = sorted(set(inputs) - names), sorted(names - set(inputs))
            message = f"unknown inputs {unknown}, missing inputs {missing}"
            raise InputError(message, code="input-names", hint=self._takes())
        values: dict[str, Array] = {}
        axes: tuple[int, ...] | None = None
        sizes: dict[str, int] = {}
        for port in self._inputs:
            array = self._checked(port, inputs[port.name])
            own = self._axes(port, array, sizes)
            if axes is not None and own != axes:
                message = f"token axes {list(own)}, but {self._inputs[0].name} has {list(axes)}"
                raise InputError(message, code="input-shape", where=f"input {port.name}", hint=self._takes())
            axes = own
            values[port.name] = array
        axes = axes or ()
        # A lone token axis is the batch; the last of several is the sequence.
        sequence = bool(self._inputs) and len(self._inputs[0].token_axes) > 1
        length = axes[-1] if sequence else 1
        rows = math.prod(axes) // length if length else 0
        if rows * length == 0:
            raise InputError("no tokens", code="input-shape", hint=self._takes())
        shaped = {port.name: values[port.name].reshape(rows, length, port.features) for port in self._inputs}
        return _Tokens(shaped, axes, rows, length)

    def _checked(self, port: Port, value: Any) -> Array:
        """The input as an array of the port's kind of dtype; ids within the limit, other integers within 32 bits."""
        where = f"input {port.name}"
        array = np.asarray(value)
        whole, wanted = array.dtype.kind in "iu", port.dtype == "i64"
        if array.dtype.kind not in "iuf" or whole != wanted:
            message = f"{array.dtype} data, not {port.dtype}"
            raise InputError(message, code="input-dtype", where=where, hint=self._takes())
        low, high = (0, port.limit) if port.limit is not None else (-(1 << 31), 1 << 31)
        outside = (array < low) | (array >= high) if whole else np.zeros(1, bool)
        if outside.any():
            place = tuple(int(i) for i in np.argwhere(outside)[0])
            message = f"{array[place]} at position {list(place)} is not in [{low}, {high})"
            raise InputError(message, code="token-range", where=where)
        return array

    def _axes(self, port: Port, array: Array, sizes: dict[str, int]) -> tuple[int, ...]:
        """The token axes of an input, which may come without its first. Symbolic names must agree: `sizes`."""
        token = port.token_axes
        features = port.shape[len(token) :]
        given = array.ndim - len(features)
        expected = token[len(token) - given :] if len(token) - given in (0, 1) and given >= 0 else None
        if expected is None or (given == 0 and len(token) > 0):
            message = f"shape {list(array.shape)} does not fit"
            raise InputError(message, code="input-shape", where=f"input {port.name}", hint=self._takes())
        for want, size in zip((*expected, *features), array.shape, strict=True):
            if want != size and (isinstance(want, int) or sizes.setdefault(want, size) != size):
                message = f"shape {list(array.shape)} does not fit"
                raise InputError(message, code="input-shape", where=f"input {port.name}", hint=self._takes())
            if isinstance(want, str):
                sizes.setdefault(want, size)
        return tuple(array.shape[:given])

    def _feed(self, tokens: _Tokens, slots: Array, start: int, progress: Progress | None) -> dict[str, Array]:
        """Send tokens row after row and collect the outputs."""
        positions = np.tile(np.arange(start, start + tokens.length), tokens.rows)
        slot = np.repeat(slots, tokens.length)
        headers = np.array([header(int(s), int(p)) for s, p in zip(slot, positions, strict=True)], np.int32)
        flat = {name: values.reshape(len(headers), -1) for name, values in tokens.values.items()}
        results = {port.name: np.zeros((len(headers), port.features), np.int32) for port in self._outputs}
        step = max(1, FEED_WORDS // max(port.features + len(port.lanes) for port in self.image.ports))
        if self._tap is not None:
            step = min(step, self._tap.tokens)
        machine = self.machine or self._new_machine()
        self.machine = None  # until it has come to rest: after an error or an interrupt a fresh one is needed
        before, began = machine.counts, time.perf_counter()
        self._complete, self._timing = [], None
        if isinstance(machine, CycleMachine):
            machine.begin()
        for first in range(0, len(headers), step):
            part = slice(first, first + step)
            self._exchange(machine, headers[part], {n: v[part] for n, v in flat.items()}, results, part, progress)
            if self._tap is not None:
                self._tap.hand_on(headers[part])
        self.machine = machine
        self._count(before, machine.counts, len(headers), time.perf_counter() - began)
        return {port.name: self._shaped(port, results[port.name], tokens) for port in self._outputs}

    def _exchange(
        self,
        machine: Machine | CycleMachine,
        headers: Array,
        flat: dict[str, Array],
        results: dict[str, Array],
        part: slice,
        progress: Progress | None,
    ) -> None:
        """One feed of the machine; fills rows `part` of the results."""
        count = len(headers)
        sent = []
        for port in self._inputs:
            words = _words(flat[port.name], port)
            for lane in port.lanes:
                block = words[:, lane.start : lane.start + lane.size]
                sent.append(np.concatenate([headers[:, None], block], axis=1).reshape(-1))
        wanted = [count * (1 + lane.size) for port in self._outputs for lane in port.lanes]
        received = iter(machine.feed(sent, wanted, progress))
        if isinstance(machine, CycleMachine):
            self._complete.append(_completed(machine.clock.received, wanted, count) - machine.began)
        for port in self._outputs:
            for lane in port.lanes:
                words = next(received).reshape(count, 1 + lane.size)
                if not np.array_equal(words[:, 0], headers):
                    message = f"port {port.name}: the tokens that arrive have other headers than those sent"
                    raise MachineFault(message, code="headers", x=lane.x, y=lane.y, colour=lane.colour)
                results[port.name][part, lane.start : lane.start + lane.size] = words[:, 1:]

    def _shaped(self, port: Port, words: Array, tokens: _Tokens) -> Array:
        """Words as the graph's tensor: the input's token axes, then the port's features."""
        features = tuple(int(size) for size in port.shape[len(port.token_axes) :])
        values = words.astype(np.int64) if port.dtype == "i64" else words.view(np.float32)
        with np.errstate(over="ignore"):
            return values.astype(HOST_DTYPES[port.dtype], copy=False).reshape(*tokens.axes, *features)

    def _count(self, before: Counts, after: Counts, tokens: int, seconds: float) -> None:
        self.stats = Stats(
            tokens,
            seconds,
            after.instructions - before.instructions,
            after.words - before.words,
            after.macs - before.macs,
        )


def require_room(image: Image, start: int, end: int) -> None:
    """Raises InputError if an image has no room for positions start to end - 1 of a sequence."""
    if end > image.max_seq:
        message = f"positions {start} to {end - 1}, but the image has room for {image.max_seq} per sequence"
        raise InputError(message, code="too-long", hint=f"compile with --max-seq {end} or more")


def _completed(received: Array, wanted: list[int], tokens: int) -> Array:
    """The cycle of every token's last word, from those of all words, lane after lane."""
    ends = np.cumsum(wanted, dtype=np.int64)
    lanes = [received[end - size : end].reshape(tokens, -1)[:, -1] for end, size in zip(ends, wanted, strict=True)]
    return np.max(lanes, axis=0) if lanes else np.zeros(0, np.int64)


def _words(values: Array, port: Port) -> Array:
    """Elements as 32-bit words: ids as i32, numbers as f32."""
    if port.dtype == "i64":
        return values.astype(np.int32)
    return values.astype(np.float32).view(np.int32)


def load(path_or_image: str | Path | Image, threads: int = 2, engine: str = "functional") -> Session:
    """A session on a `.wse` file or an image. Raises InputError, IllegalImageError or MachineFault."""
    image = path_or_image if isinstance(path_or_image, Image) else read_image(path_or_image)
    return Session(image, threads, engine)
