"""Comparing the machine with onnxruntime: random inputs, metrics, tolerances. It sees host ports only.

The verdict is on max|err| / max|ref|, per output. Cosine and argmax are second opinions: a lost bias element moves the
cosine by 3e-6 only. Where the tolerances come from:

fp32, 2e-5   Two correct fp32 implementations add the same products in different orders. On GPTs of 2 to 10 layers that
             makes them differ by 3e-7 to 3e-6 of the largest logit; the tolerance is about 6 times the worst. The
             smallest mistake worth finding is far above: one lost bias element is 1e-3, weights rounded to fp16 4e-4.
fp16, 5e-3   Each product of fp16-rounded factors is off by at most 2u + u^2 (u = 2^-11 = 4.9e-4, fp16's unit
             roundoff); the sum in fp32 adds n 2^-24, which stays below u up to n = 8192. Errors of single products
             average out over a dot product and add up over layers: 4e-4 to 9e-4 are seen, and again about 6 times the
             worst is allowed.
exact, 0     A model of integers whose partial sums all stay below 2^24 has no rounding at all, in any order.

A tolerance is a constant of the precision. It is never widened for a model.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runtime.errors import InputError, NumericsError
from runtime.image import Port

Array = np.ndarray[Any, Any]

TOLERANCES = {"fp32": 2e-5, "fp16": 5e-3}
INPUT_BOUND = 4  # integer inputs are drawn from [-INPUT_BOUND, INPUT_BOUND]
SCHEMA = 1
FLOATS: dict[str, Any] = {"f32": np.float32, "f16": np.float16}


@dataclass(frozen=True)
class Comparison:
    """One output. `max_rel` is max|err| / max|ref|; ULPs are steps of the output's element type between the two.

    Numbers are infinite where machine or reference gave a NaN or an infinity, which never passes.
    """

    name: str
    shape: tuple[int, ...]
    max_abs: float
    max_rel: float
    max_ulp: float
    mean_ulp: float
    cosine: float
    argmax_agreement: float  # share of last-axis rows whose largest element is at the same place
    tolerance: float
    passed: bool


@dataclass(frozen=True)
class Layer:
    """One value inside the model at one level, against the reference; errors are max|err| / max|ref|.

    `max_rel` is accumulated: both ran from the inputs on. `isolated` is of this one step: at levels graph and placed
    the op is given the reference's own values and compared with the reference's next; at level executed the kernel is
    compared with what its op means, computed from the words it really received with its own rounding of operands and
    otherwise exactly. `bound` is the largest derived bound (see `compiler.bounds`), in the same unit, and
    `share` the largest error in units of its element's own bound: above 1 the step is wrong. None: not compared.
    """

    level: str  # graph, placed or executed
    name: str  # the ONNX value; of a kernel that has none (a buffer, q k v side by side) empty
    op: str  # the op or kernel that makes it, as the level calls it
    pass_number: int | None  # of a kernel that several layers share: in which of a token's passes, from 0
    where: str  # what it is for people: the weight's name, or the ONNX node
    shape: tuple[int, ...]
    max_rel: float | None
    tolerance: float
    isolated: float | None
    bound: float | None
    share: float | None

    @property
    def maker(self) -> str:
        """The op or kernel, and the pass if there are several."""
        return in_pass(self.op, self.pass_number)

    @property
    def drifted(self) -> bool:
        """Whether the accumulated error is outside its tolerance."""
        return self.max_rel is not None and not self.max_rel <= self.tolerance

    @property
    def wrong(self) -> bool:
        """Whether this step alone is outside its derived bound."""
        return self.share is not None and not self.share <= 1

    @property
    def passed(self) -> bool:
        return not (self.wrong or self.drifted)


HEADER = -1  # in place of an element's number: the word before the block


@dataclass(frozen=True)
class Finding:
    """The first wrong number of a running image: which core, which element of the block it sends or hears, and why.

    `cause`: kernel (not known more closely), core (of what this core received it sends something else than it should),
    chain (the same, to another core of its kernel), weight (one weight of this core), cache (one position that this
    core keeps), header (it sends a token under another's), route (what arrives comes from elsewhere than meant). `text`
    says all of it.
    """

    kernel: str
    where: str
    token: tuple[int, ...]  # its place along the token axes
    element: int  # of the block, or HEADER
    lane: int
    core: tuple[int, int]
    colour: int
    got: float
    wanted: float
    cause: str
    text: str
    pass_number: int | None = None  # of a kernel that several layers share, see `Layer`


@dataclass(frozen=True)
class CheckReport:
    """What `wsec check` says. `layers` is empty unless asked for; `fused` are ONNX values that no level has any more.

    `observation`: by how much, as max|err| / max|ref|, onnxruntime's own outputs move when its inner values are made
    visible. `finding` tells of the first wrong value down to the core, as far as that is known.
    """

    outputs: tuple[Comparison, ...]
    precision: str
    tokens: int
    batch: int
    seed: int
    machine_seconds: float
    reference_seconds: float
    layers: tuple[Layer, ...] = ()
    fused: tuple[str, ...] = ()
    observation: float = 0.0
    finding: Finding | None = None

    @property
    def passed(self) -> bool:
        return all(output.passed for output in self.outputs) and all(layer.passed for layer in self.layers)

    @property
    def ratio(self) -> float:
        """The machine's time over onnxruntime's."""
        return self.machine_seconds / self.reference_seconds

    def to_json(self) -> dict[str, Any]:
        """As a JSON object; what is not finite becomes null."""
        outputs = [{key: _finite(value) for key, value in asdict(output).items()} for output in self.outputs]
        layers = [
            {key: _finite(value) for key, value in asdict(layer).items()} | {"passed": layer.passed}
            for layer in self.layers
        ]
        finding = None if self.finding is None else {k: _finite(v) for k, v in asdict(self.finding).items()}
        rest = {"finding": finding, "schema": SCHEMA, "passed": self.passed, "ratio": self.ratio}
        return asdict(self) | {"outputs": outputs, "layers": layers} | rest


def in_pass(kernel: str, number: int | None) -> str:
    """What people call a kernel in one of its passes, if there are several."""
    return kernel if number is None else f"{kernel} pass {number}"


def tolerance(precision: str, *, exact: bool = False) -> float:
    """What max|err| / max|ref| must stay below; 0 if there must be no error at all."""
    return 0.0 if exact else TOLERANCES[precision]


def compare_all(got: Mapping[str, Array], wanted: Mapping[str, Array], allowed: float) -> tuple[Comparison, ...]:
    """Every output of the reference, by name. Raises NumericsError if the machine has other outputs or shapes."""
    if got.keys() != wanted.keys():
        raise NumericsError(f"outputs {sorted(got)}, the reference has {sorted(wanted)}", code="outputs-differ")
    return tuple(compare(name, got[name], wanted[name], allowed) for name in wanted)


def compare(name: str, got: Array, wanted: Array, allowed: float) -> Comparison:
    """One output against the reference. Raises NumericsError if shapes differ."""
    if got.shape != wanted.shape:
        raise NumericsError(
            f"shape {list(got.shape)}, the reference has {list(wanted.shape)}", code="shape-differs", where=name
        )
    a, b = got.astype(np.float64), wanted.astype(np.float64)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        nothing = (np.inf, np.inf, np.inf, np.inf, 0.0)
        return Comparison(name, got.shape, *nothing, _argmax_agreement(a, b), allowed, passed=False)
    max_abs = float(np.abs(a - b).max(initial=0.0))
    scale = float(np.abs(b).max(initial=0.0))
    max_rel = max_abs / scale if scale else (np.inf if max_abs else 0.0)
    ulps = ulp_distance(got.astype(wanted.dtype), wanted)
    return Comparison(
        name=name,
        shape=got.shape,
        max_abs=max_abs,
        max_rel=max_rel,
        max_ulp=float(ulps.max(initial=0)),
        mean_ulp=float(ulps.mean()) if ulps.size else 0.0,
        cosine=_cosine(a, b),
        argmax_agreement=_argmax_agreement(a, b),
        tolerance=allowed,
        passed=max_abs == 0 or max_rel < allowed,  # an error as large as the tolerance is one too many
    )


def ulp_distance(a: Array, b: Array) -> Array:
    """Representable numbers from a to b, elementwise, as int64; for integers the difference. Dtypes must be equal."""
    if a.dtype.kind != "f":
        return np.asarray(np.abs(a.astype(np.int64) - b.astype(np.int64)))
    return np.asarray(np.abs(_ordered(a) - _ordered(b)))


def _ordered(values: Array) -> Array:
    """Floats numbered in order of size: neighbours differ by one, both zeros are 0."""
    bits = values.view(np.dtype(f"i{values.dtype.itemsize}")).astype(np.int64)
    lowest = -(1 << (8 * values.dtype.itemsize - 1))
    ordered: Array = np.where(bits < 0, lowest - bits, bits)
    return ordered


def _cosine(a: Array, b: Array) -> float:
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.vdot(a, b)) / norms if norms else float(np.array_equal(a, b))


def _argmax_agreement(a: Array, b: Array) -> float:
    if not a.ndim or not a.size:
        return 1.0
    return float(np.mean(a.argmax(axis=-1) == b.argmax(axis=-1)))


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value


def random_inputs(
    ports: Iterable[Port], *, tokens: int, batch: int = 1, seed: int = 0, integers: bool = False
) -> dict[str, Array]:
    """Arrays for all input ports, by name: the same seed gives the same.

    Of the symbolic axes the last takes `tokens`, the others `batch`. Token ids are uniform over the vocabulary; other
    inputs are standard normal, or with `integers` uniform integers in [-INPUT_BOUND, INPUT_BOUND]. Raises InputError
    for sizes below one.
    """
    if tokens < 1 or batch < 1:
        raise InputError(f"{batch} sequences of {tokens} tokens: there is nothing to run", code="no-tokens")
    ports = [port for port in ports if port.direction == "in"]
    names = list(dict.fromkeys(dim for port in ports for dim in port.shape if isinstance(dim, str)))
    sizes = dict.fromkeys(names[:-1], batch) | dict.fromkeys(names[-1:], tokens)
    random = np.random.default_rng(seed)
    inputs: dict[str, Array] = {}
    for port in ports:
        shape = tuple(dim if isinstance(dim, int) else sizes[dim] for dim in port.shape)
        if port.dtype == "i64":
            inputs[port.name] = random.integers(0, port.limit or INPUT_BOUND + 1, shape, np.int64)
        elif integers:
            inputs[port.name] = random.integers(-INPUT_BOUND, INPUT_BOUND, shape, endpoint=True).astype(
                FLOATS[port.dtype]
            )
        else:
            inputs[port.name] = random.standard_normal(shape).astype(FLOATS[port.dtype])
    return inputs


def require_nonzero(inputs: Mapping[str, Array]) -> None:
    """Raises InputError for an input of zeros only: whatever is multiplied by it, right or wrong, would agree."""
    for name, array in inputs.items():
        if not array.any():
            raise InputError(
                "all its values are zero; comparing would prove little",
                code="zero-inputs",
                where=f"input {name}",
                hint="take another --seed, or more --tokens",
            )


def reference(model: Path, inputs: Mapping[str, Array]) -> tuple[dict[str, Array], float]:
    """All outputs of onnxruntime's CPU provider, by name, and the seconds it ran (without loading the model).

    Raises InputError if it refuses the model.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    try:
        session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        began = time.perf_counter()
        outputs = session.run(names, dict(inputs))
        seconds = time.perf_counter() - began
    except Exception as error:  # it raises pybind classes without a common base
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"onnxruntime cannot run it: {reason}", code="reference-failed", where=str(model)) from error
    return dict(zip(names, outputs, strict=True)), seconds
