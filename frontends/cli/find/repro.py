"""A failing run in one zip file: model, options, versions, the IR before the pass that failed; and its replay.

Such a file comes from strangers. Members are read by the few names there are, never extracted by theirs; a member that
is there twice or has another name is refused. What may be large (model, weights) must be stored without compression,
so nothing grows when it is read, and the rest has limits. Hashes of all members stand in the manifest. There is no
pickle, and no path of the manifest is opened: files that options name are members as well.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import IO, Any

import numpy as np
import onnx

from compiler.driver import Options, lower
from compiler.ir.core import Op
from compiler.ir.passes import Pass, Progress
from compiler.ir.printer import print_module
from frontends.cli.arguments import require_not_input
from frontends.cli.files import write_whole
from frontends.cli.toolchain import check_model, finish_image, open_module
from frontends.cli.version import VERSION
from frontends.onnx.gather import bytes_of, gathered
from frontends.onnx.load import load_model
from runtime.errors import InputError, WsecError

SCHEMA = 1
MANIFEST, MODEL, WEIGHTS, MODULE = "manifest.json", "model.onnx", "weights.bin", "module.wir"
# Options that name files, and the members that hold these.
FILES = {
    "target": "target.toml",
    "defects": "defects.txt",
    "fix_placement": "placement.txt",
    "constraints": "constraints.txt",
}
STORED = (MODEL, WEIGHTS)
LIMITS = {MANIFEST: 1 << 20, MODULE: 1 << 28} | dict.fromkeys(FILES.values(), 1 << 24)  # bytes, unpacked
CRASHES = ("pass-failed", "invalid-ir")
LIBRARIES = ("numpy", "numba", "onnx", "onnxruntime", "ortools")
SMALL = 4096  # bytes; constants up to this size stay in a model packed without weights
CHUNK = 1 << 22


@dataclass(frozen=True)
class Outcome:
    """How a run ended: the code of its error (`numbers`: outside the tolerance; empty: fine), message and place."""

    code: str = ""
    message: str = ""
    where: str = ""

    def same(self, other: Outcome) -> bool:
        return (self.code, self.where) == (other.code, other.where)

    def __str__(self) -> str:
        if not self.code:
            return "fine"
        return f"{f'{self.where}: ' if self.where else ''}error[{self.code}]: {self.message}"


@dataclass(frozen=True)
class Check:
    """The `wsec check` that belongs to a run."""

    tokens: int = 8
    batch: int = 1
    seed: int = 0


def attempt(path: Path, options: Options, check: Check | None, progress: Progress) -> Outcome:
    """Compile the model, and check it if asked to; how that ends."""
    try:
        image, _ = finish_image(open_module(path, progress=progress), options, progress=progress)
        if check is not None and not check_model(path, image, progress=progress, **dataclasses.asdict(check)).passed:
            return Outcome("numbers", "outputs are outside the tolerance")
    except WsecError as error:
        # The file lies elsewhere when it is replayed.
        return Outcome(error.code, error.message, error.where.replace(str(path), "model"))
    return Outcome()


# ---- Packing --------------------------------------------------------------------------------------------------------


def pack(
    path: Path, options: Options, output: Path, *, weights: bool, check: Check | None, progress: Progress
) -> Outcome:
    """Run, and write the run to `output`; how it ended.

    Raises InputError for a file that is no model, and if `output` is one of the model's files or cannot be written.
    """
    model = load_model(path)
    require_not_input(output, model.files)
    outcome = attempt(path, options, check, progress)
    module = _before_failure(path, options) if outcome.code in CRASHES else ""
    proto, pieces = gathered(model.proto, model.weights, WEIGHTS, inside=None if weights else SMALL)
    options, files = _with_members(options)
    manifest: dict[str, Any] = {
        "schema": SCHEMA,
        "tool": "wsec",
        "version": VERSION,
        "versions": {"python": platform.python_version()} | {name: metadata.version(name) for name in LIBRARIES},
        "options": dataclasses.asdict(options),
        "weights": weights,
        "check": dataclasses.asdict(check) if check is not None else None,
        "outcome": dataclasses.asdict(outcome),
    }

    def put(file: IO[bytes]) -> None:
        with zipfile.ZipFile(file, "w") as archive:
            sums = {MODEL: _put(archive, MODEL, iter([proto.SerializeToString()]))}
            if pieces and weights:
                sums[WEIGHTS] = _put(archive, WEIGHTS, bytes_of(pieces))
            if module:
                sums[MODULE] = _put(archive, MODULE, iter([module.encode()]))
            for member, contents in files.items():
                sums[member] = _put(archive, member, iter([contents]))
            manifest["sha256"] = sums
            _put(archive, MANIFEST, iter([(json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode()]))

    write_whole(output, put)
    return outcome


class _ReachedError(Exception):
    """Ends a lowering once as many passes have run as before."""


def _before_failure(path: Path, options: Options) -> str:
    """The text of the module as the failing pass got it: the passes before it once more, then a stop."""
    opened = open_module(path)
    text = print_module(opened.module)

    def note(_index: int, _step: Pass, module: Op, _seconds: float) -> None:
        nonlocal text
        text = print_module(module)

    try:
        lower(opened.module, opened.resources, options, hooks=[note])
    except WsecError:
        return text
    return ""


def _with_members(options: Options) -> tuple[Options, dict[str, bytes]]:
    """The options with members' names in place of files', and the members."""
    files: dict[str, bytes] = {}
    changed: dict[str, Any] = {}
    for name, member in FILES.items():
        value = getattr(options, name)
        if value and (name != "target" or value.endswith(".toml")):
            try:
                files[member] = Path(value).read_bytes()
            except OSError:
                continue  # the run said so already
            changed[name] = member
    return dataclasses.replace(options, **changed), files


def _put(archive: zipfile.ZipFile, name: str, chunks: Iterator[bytes]) -> str:
    """Write a member, with a fixed date; its SHA-256."""
    info = zipfile.ZipInfo(name)
    info.compress_type = zipfile.ZIP_STORED if name in STORED else zipfile.ZIP_DEFLATED
    digest = hashlib.sha256()
    with archive.open(info, "w", force_zip64=True) as member:
        for chunk in chunks:
            digest.update(chunk)
            member.write(chunk)
    return digest.hexdigest()


# ---- Replaying ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Replay:
    """A run replayed: how it ended then and now, and the versions it was made with."""

    then: Outcome
    now: Outcome
    version: str
    made_weights: bool

    @property
    def same(self) -> bool:
        return self.now.same(self.then)


def replay(path: Path, progress: Progress) -> Replay:
    """Run what `pack` wrote again. Weights that were left out are random, the same each time.

    Raises InputError for a file that is not one of these, or is damaged.
    """
    with _opened(path) as archive, tempfile.TemporaryDirectory(prefix="wsec-") as name:
        folder = Path(name)
        manifest = _manifest(path, archive)
        for member in archive.namelist():
            if member != MANIFEST:
                _take(path, archive, member, folder / member, manifest["sha256"])
        if not (folder / MODEL).exists():
            raise _damaged(path, f"it has no {MODEL}")
        made = not (folder / WEIGHTS).exists()
        if made:
            _make_weights(path, folder)
        options = manifest["options"]
        for option, member in FILES.items():
            if (folder / member).exists():
                options = dataclasses.replace(options, **{option: str(folder / member)})
        now = attempt(folder / MODEL, options, manifest["check"], progress)
        hidden = Outcome(now.code, now.message.replace(str(folder), ""), now.where.replace(str(folder), ""))
        return Replay(manifest["outcome"], hidden, manifest["version"], made and not manifest["weights"])


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive, if its members are those there may be, each once and within its limit."""
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile):
        raise _damaged(path, "no zip file, or cut off") from None
    with archive:
        names = archive.namelist()
        known = {*STORED, *LIMITS}
        wrong = next((name for name in names if name not in known), None)
        if wrong is not None:
            raise _damaged(path, f"member {wrong!r} does not belong there")
        if len(set(names)) < len(names):
            raise _damaged(path, "a member is there twice")
        for info in archive.infolist():
            if info.filename in STORED and (
                info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size
            ):
                raise _damaged(path, f"{info.filename} is compressed")
            if info.file_size > LIMITS.get(info.filename, info.file_size) or info.flag_bits & 1:
                raise _damaged(path, f"{info.filename} has {info.file_size} bytes, or is encrypted")
        yield archive


def _manifest(path: Path, archive: zipfile.ZipFile) -> dict[str, Any]:
    """The manifest with its parts as the objects they stand for."""
    try:
        with archive.open(MANIFEST) as file:
            told = json.loads(_limited(file, LIMITS[MANIFEST]))
        if told["schema"] != SCHEMA:
            raise _damaged(path, f"schema {told['schema']}, this wsec reads {SCHEMA}")
        check = told["check"]
        return {
            "sha256": dict(told["sha256"]),
            "options": _options(told["options"]),
            "check": None if check is None else Check(**{k: _natural(v) for k, v in check.items()}),
            "outcome": Outcome(**{key: str(value) for key, value in told["outcome"].items()}),
            "version": str(told["version"]),
            "weights": bool(told["weights"]),
        }
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError, zipfile.BadZipFile, NotImplementedError):
        raise _damaged(path, "its manifest cannot be read") from None


def _natural(value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 20:
        raise ValueError(value)
    return value


def _options(told: dict[str, Any]) -> Options:
    """Options with values of the right types. A file may only be a member; a target is a name."""
    values = {}
    for known in dataclasses.fields(Options):
        value = told.pop(known.name, known.default)
        kind = type(known.default)
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise ValueError(known.name)
        if known.name in FILES:
            is_name = known.name == "target" and isinstance(value, str) and not {"/", "\\", "."} & set(value)
            value = value if is_name else ""
        values[known.name] = value
    if told:
        raise ValueError(str(told))
    return Options(**{key: value for key, value in values.items() if value != "" or key != "target"})


def _take(path: Path, archive: zipfile.ZipFile, member: str, to: Path, sums: dict[str, Any]) -> None:
    """Copy a member whose name is known to be harmless, and hold it to its hash."""
    digest, left = hashlib.sha256(), archive.getinfo(member).file_size
    try:
        with archive.open(member) as source, to.open("xb") as file:
            while chunk := source.read(min(CHUNK, left + 1)):
                left -= len(chunk)
                if left < 0:
                    raise _damaged(path, f"{member} is longer than it says")
                digest.update(chunk)
                file.write(chunk)
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise _damaged(path, f"{member}: {error}") from None
    if digest.hexdigest() != sums.get(member):
        raise _damaged(path, f"{member} is not what the manifest says")


def _limited(file: IO[bytes], limit: int) -> bytes:
    data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(limit)
    return data


def _make_weights(path: Path, folder: Path) -> None:
    """Random numbers where weights were left out: seeded, small, and of a size that the model's own bytes bound."""
    try:
        model = onnx.ModelProto.FromString((folder / MODEL).read_bytes())
    except Exception:  # protobuf has no class of its own for this in all versions
        raise _damaged(path, f"{MODEL} is no ONNX model") from None
    wanted = [_wanted(tensor) for tensor in model.graph.initializer if tensor.external_data]
    if not wanted:
        return
    if any(offset < 0 or size < 0 for offset, size, _ in wanted) or sum(size for _, size, _ in wanted) > _room(folder):
        raise _damaged(path, "its weights would be larger than the disk")
    with (folder / WEIGHTS).open("xb") as file:
        for number, (offset, size, is_half) in enumerate(wanted):
            random, left = np.random.default_rng(number), size
            file.seek(offset)
            while left > 0:
                count = min(CHUNK, left)
                kind = np.float16 if is_half else np.float32
                numbers = (random.standard_normal(count // np.dtype(kind).itemsize + 1) * 0.02).astype(kind)
                file.write(numbers.tobytes()[:count])
                left -= count


def _wanted(tensor: onnx.TensorProto) -> tuple[int, int, bool]:
    """(offset, bytes, is fp16) of a tensor in the weights file."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    try:
        return int(entries["offset"]), int(entries["length"]), tensor.data_type == onnx.TensorProto.FLOAT16
    except (KeyError, ValueError):
        return -1, -1, False


def _room(folder: Path) -> int:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize // 2


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(f"not a reproducer of wsec: {reason}", code="bad-reproducer", where=str(path))


# ---- Crashes --------------------------------------------------------------------------------------------------------

Note = Callable[[str], None]


@contextmanager
def keep_crashes(path: Path, options: Options, output: Path, note: Note, progress: Progress) -> Iterator[None]:
    """If a pass crashes on the model at `path`, pack the run to `output`, without weights, and say where it is."""
    try:
        yield
    except WsecError as error:
        if error.code in CRASHES and path.suffix != ".wir":
            try:
                pack(path, options, output, weights=False, check=None, progress=progress)
                note(f"the run is packed in {output}, without weights; `wsec repro run {output}` replays it")
            except Exception as second:
                note(f"the run could not be packed: {type(second).__name__}")
        raise
