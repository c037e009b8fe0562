"""The few functions that join front end, compiler and machine: compile a model, check it against onnxruntime."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from compiler.dialects import flow
from compiler.driver import Options, build, lower
from compiler.floorplan import Placed
from compiler.ir.core import Op
from compiler.ir.instrument import PassTimes
from compiler.ir.passes import Hook, Pass, Progress, dump_to, no_progress
from compiler.ir.printer import print_module
from compiler.ir.read import read_file
from compiler.resources import ResourceStore
from frontends.cli.exactness import is_exact
from frontends.cli.version import VERSION
from frontends.cli.weights import find_weights
from frontends.onnx.import_graph import import_model
from runtime import structure
from runtime.check import CheckReport, compare_all, random_inputs, reference, require_nonzero, tolerance
from runtime.errors import IllegalImageError, InputError, UsageError
from runtime.geometry import Orientation
from runtime.image import Image
from runtime.page.stages import Stage
from runtime.session import Session, require_room
from runtime.target import Target
from runtime.validate import Report, validate

WEIGHTS_FILE = "weights.safetensors"


LEVELS = ("graph", "placed", "executed")
MODES = ("accumulated", "isolated", "both")


@dataclass(frozen=True)
class Inside:
    """Which values inside a model to compare, see `frontends.cli.find.layers`, and a folder to keep them in.

    Raises UsageError for a level or mode that does not exist.
    """

    level: str = "all"
    mode: str = "both"
    save: Path | None = None

    def __post_init__(self) -> None:
        if self.level not in (*LEVELS, "all"):
            raise UsageError(f"no level {self.level!r}; there are {', '.join(LEVELS)} and all", code="bad-level")
        if self.mode not in MODES:
            raise UsageError(f"no mode {self.mode!r}; there are {', '.join(MODES)}", code="bad-mode")

    @property
    def levels(self) -> tuple[str, ...]:
        return LEVELS if self.level == "all" else (self.level,)


@dataclass
class Opened:
    """A module to compile and its constants. `seconds`: what each phase took so far, by phase name.

    stages: the module after every pass, once somebody has made it a list.
    """

    module: Op
    resources: ResourceStore
    seconds: dict[str, float]
    times: PassTimes | None = None  # what the passes took and changed, once they have run
    places: dict[str, Placed] = dataclasses.field(default_factory=dict)  # by kernel, as soon as they are known
    stages: list[Stage] | None = None


def compile_model(
    path: Path,
    options: Options | None = None,
    *,
    weights: Path | None = None,
    dump: Path | None = None,
    progress: Progress = no_progress,
) -> Image:
    """The legal image of the model (`.onnx`) or the module (`.wir`) at `path`.

    Raises what `open_module`, `lower_module` and `finish_image` raise.
    """
    opened = open_module(path, weights=weights, progress=progress)
    image, _ = finish_image(opened, options or Options(), dump=dump, progress=progress)
    return image


def open_module(path: Path, *, weights: Path | None = None, progress: Progress = no_progress) -> Opened:
    """Import an ONNX model, or read a `.wir` file and find its constants (see `frontends.cli.weights`).

    Raises InputError for a bad file, an unsupported op, or constants that are not at hand.
    """
    began = time.perf_counter()
    if path.suffix == ".wir":
        progress(f"reading {path.name}", 0, 0)
        module = read_file(path)
        resources = find_weights(module, path.parent, weights)
        resources.resolve(module)
    else:
        progress(f"importing {path.name}", 0, 0)
        module, resources = import_model(path)
        module.attrs["source"] = {"model": path.name, "sha256": model_digest(path, resources)}
    return Opened(module, resources, {"import": time.perf_counter() - began})


def model_digest(path: Path, constants: ResourceStore) -> str:
    """SHA-256 of the ONNX file followed by those of its constants: external data has no place in the file itself."""
    digest = hashlib.sha256(path.read_bytes())
    for name in constants:
        digest.update(constants.info(name).sha256.encode())
    return digest.hexdigest()


def lower_module(
    opened: Opened,
    options: Options,
    *,
    to: str = "core",
    dump: Path | None = None,
    locations: bool = True,
    progress: Progress = no_progress,
) -> Target:
    """Run the compiler's phases up to `to` on the module, in place; the target it is for.

    With `dump`, one `.wir` file per pass goes there (with or without `locations`), and the constants that no data file
    of the model holds. Raises what `compiler.driver.lower` raises.
    """

    opened.places = _places(opened.module)

    def note_places(_index: int, _step: Pass, module: Op, _seconds: float) -> None:
        # Codegen turns kernels into blocks of cores, and the host's ports into lanes: the last kernels seen count.
        opened.places = _places(module) or opened.places

    opened.times = PassTimes(opened.module)
    hooks: list[Hook] = [_note_options, _Clock(opened), opened.times, note_places]
    if dump is not None:
        dump.mkdir(parents=True, exist_ok=True)
        first = dump / f"00-{opened.module.attrs.get('phase', 'import')}.wir"
        first.write_text(print_module(opened.module, locations=locations), encoding="utf-8")
        hooks.append(dump_to(dump, locations=locations))
    if opened.stages is not None:
        phase = str(opened.module.attrs.get("phase", "import"))
        text = print_module(opened.module, locations=locations)
        opened.stages.append(Stage(phase, text, opened.seconds.get(phase)))
        hooks.append(_keep_stages(opened.stages, locations=locations))
    progress("lowering", 0, 0)
    try:
        return lower(opened.module, opened.resources, options, to=to, hooks=hooks, progress=progress)
    finally:
        if dump is not None:
            save_weights(opened.resources, dump / WEIGHTS_FILE)


def finish_image(
    opened: Opened,
    options: Options,
    *,
    dump: Path | None = None,
    locations: bool = True,
    progress: Progress = no_progress,
) -> tuple[Image, Report]:
    """Lower the module to the end, package it, and let the validator prove the image legal.

    Raises IllegalImageError if it is not, InputError for numbers that no image may have, which only people write, and
    what `lower_module` raises.
    """
    target = lower_module(opened, options, dump=dump, locations=locations, progress=progress)
    progress("packaging", 0, 0)
    with _timed(opened.seconds, "package"):
        image = build(opened.module, opened.resources, target, _provenance(opened.module))
        structure.check(image)
    progress("validating", 0, 0)
    with _timed(opened.seconds, "validate"):
        report = validate(image)
    require_legal(report, "the compiled image")
    return image, report


def require_legal(report: Report, where: str) -> None:
    """Raises IllegalImageError with the violations, if there are any."""
    if report.ok:
        return
    raise IllegalImageError(
        f"{sum(report.counts.values())} violations\n{report.text()}",
        code="illegal-image",
        where=where,
        hint="no model should make the compiler do this: please report it",
    )


def save_weights(resources: ResourceStore, path: Path) -> int:
    """Write the constants that no data file of the model holds; how many there are. No file if there are none."""
    names = [name for name in resources if not resources.in_model(name)]
    if names:
        resources.save(path, names)
    return len(names)


def check_model(
    path: Path,
    image: Image | None = None,
    *,
    options: Options | None = None,
    tokens: int = 32,
    batch: int = 1,
    seed: int = 0,
    threads: int = 2,
    inside: Inside | None = None,
    progress: Progress = no_progress,
) -> CheckReport:
    """Run machine and onnxruntime on the same random inputs and compare all outputs, and what is `inside`, if given.

    Token ids are uniform, float inputs standard normal (small integers for a model that must agree exactly). Without
    `image` the model is compiled with `options` first. Raises InputError if `image` was not compiled from this model,
    if the inputs do not fit it, or if the model has no weights, and what compiling and running raise.
    """
    opened = open_module(path, progress=progress)
    _require_weights(opened.resources, path)
    source: Any = opened.module.attrs["source"]
    precision = _precision(image) if image else (options or Options()).precision
    exact = is_exact(opened.module, opened.resources, precision)
    if image is None:
        image, _ = finish_image(opened, options or Options(), progress=progress)
    elif image.manifest.get("provenance", {}).get("model_sha256") != source["sha256"]:
        raise InputError(
            "the image was not compiled from this model",
            code="other-model",
            where=str(path),
            hint="compile this model, or leave the image out",
        )
    if any(sum(isinstance(dim, str) for dim in port.shape) > 1 for port in image.ports):  # else each is a sequence
        require_room(image, 0, tokens)
    inputs: dict[str, Any] = random_inputs(image.ports, tokens=tokens, batch=batch, seed=seed, integers=exact)
    require_nonzero(inputs)
    progress("running onnxruntime", 0, 0)
    wanted, reference_seconds = reference(path, inputs)
    looked = None
    if inside is not None:
        from frontends.cli.find.layers import look_inside

        looked = look_inside(path, image, inputs, wanted, inside, exact=exact, threads=threads, progress=progress)
    if looked is not None and looked.session is not None:
        session, got = looked.session, looked.outputs
    else:
        session = Session(image, threads)
        got = session.run(**inputs, progress=lambda done, total: progress("running", done, total))
    outputs = compare_all(got, wanted, tolerance(precision, exact=exact))
    report = CheckReport(outputs, precision, tokens, batch, seed, session.stats.seconds, reference_seconds)
    if looked is None:
        return report
    return dataclasses.replace(
        report, layers=looked.layers, fused=looked.fused, observation=looked.observation, finding=looked.finding
    )


def _require_weights(resources: ResourceStore, path: Path) -> None:
    """Zeros everywhere agree with anything: raises InputError if that is all the model's data file holds."""
    names = [name for name in resources if resources.in_model(name) and resources.info(name).dtype.startswith("f")]
    if names and all(resources.is_zero(name) for name in names):
        raise InputError(
            "all weights are zeros; comparing would prove nothing",
            code="no-weights",
            where=str(path),
            hint="a model exported with --weights none can be compiled and validated, not checked",
        )


def _precision(image: Image) -> str:
    provenance: Mapping[str, Any] = image.manifest.get("provenance", {})
    return str(provenance.get("options", {}).get("precision", "fp32"))


def _provenance(module: Op) -> dict[str, Any]:
    source: Any = module.attrs.get("source", {})
    return {
        "tool": "wsec",
        "version": VERSION,
        "model": source.get("model", ""),
        "model_sha256": source.get("sha256", ""),
        "options": module.attrs["options"],
        "ortools": metadata.version("ortools"),
    }


def _places(module: Op) -> dict[str, Placed]:
    kernels = [op for op in module.body.ops if flow.is_kernel(op) and "orientation" in op.attrs]
    numbers = [(flow.name_of(op), [int(str(op.attrs[key])) for key in ("x", "y", "orientation")]) for op in kernels]
    return {name: Placed(x, y, Orientation(code)) for name, (x, y, code) in numbers}


def _note_options(_index: int, step: Pass, module: Op, _seconds: float) -> None:
    """Keep in the module what passes were told, so that an image says how it was made, wherever one stopped between."""
    told = {field.name: getattr(step, field.name) for field in dataclasses.fields(step)}
    known: Any = module.attrs.get("options", {})
    if told:
        module.attrs["options"] = {**told, **known}


def _keep_stages(stages: list[Stage], *, locations: bool) -> Hook:
    """A hook that keeps the module's text after every pass."""

    def keep(_index: int, step: Pass, module: Op, seconds: float) -> None:
        stages.append(Stage(step.name, print_module(module, locations=locations), seconds))

    return keep


class _Clock:
    """A hook that books seconds, wall clock, by phase."""

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        self.phase = opened.module.attrs.get("phase", "import")
        self.began = time.perf_counter()

    def __call__(self, _index: int, _step: Pass, module: Op, _seconds: float) -> None:
        phase = module.attrs.get("phase", "import")
        if phase == self.phase:
            return
        self.phase = phase
        now = time.perf_counter()
        self.opened.seconds[str(self.phase)] = now - self.began
        self.began = now


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - began
