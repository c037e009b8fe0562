"""Reading and writing `.wse` files: one flat file, safe to load from strangers.

    magic (8 bytes) | schema u32 | header length u64 | header JSON | section | section | ...   (little endian)

The header holds target, blocks, ports and manifest, and a table of the sections with offset, length and sha256;
offsets count from the first 64-byte boundary after the header, and every section starts on such a boundary. Sections:
`programs` and `inits` (JSON), `cores` and `routes` (the arrays of `runtime.image`), `weights` (a safetensors blob).
Large weights may stay in files beside the image: the header then has references to them (`runtime.references`). The
hash of the weights is a `runtime.digest`, and zeros among them are holes of the file. The same image gives the same
bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np

from runtime import codec, references, structure, weights
from runtime import target as targets
from runtime.digest import of_file
from runtime.errors import InputError
from runtime.image import CORE, ROUTE, Block, Image, Init, Port
from runtime.isa import Program
from runtime.references import Keep, Reference
from runtime.target import MAX_FABRIC, Target

MAGIC = b"\x93WSE\r\n\x1a\n"  # a text-mode transfer breaks it visibly
SCHEMA = 3
ALIGN = 64
PREFIX = struct.Struct("<8sIQ")
SECTIONS = ("programs", "inits", "cores", "routes", "weights")
MAX_HEADER = 1 << 26
MAX_JSON = 1 << 28
MAX_BYTES = {"cores": MAX_FABRIC * CORE.itemsize, "routes": MAX_FABRIC * structure.COLOURS * ROUTE.itemsize}
NO_HASH = "0" * 64


@dataclass(frozen=True)
class Section:
    """Where a section lies; `offset` counts from the start of the data."""

    name: str
    offset: int
    length: int
    sha256: str


@dataclass(frozen=True)
class Header:
    target: Target
    max_seq: int
    slots: int
    blocks: tuple[Block, ...]
    ports: tuple[Port, ...]
    references: tuple[Reference, ...]
    sections: tuple[Section, ...]


def bad_image(message: str, where: str = "") -> InputError:
    return InputError(message, code="bad-image", where=where, hint="recompile the model, or copy the file again")


# Writing


def write_image(image: Image, path: str | Path, keep: Keep = "auto") -> None:
    """Write `image` to `path`; at no moment is there a half-written file of that name.

    `keep` says where large weights go: `copy` into the image, `reference`: they stay in files in the image's folder or
    below, `auto`: they stay there if they are there and are more than `references.AUTO_BYTES`. Raises InputError, also
    for an image that could not be read again.
    """
    path = Path(path)
    structure.check(image)
    outside = references.choose(image.tensors, path.parent, keep)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            _write(image, outside, file)
        part.replace(path)
    except OSError as error:
        raise InputError(f"cannot write the image: {error.strerror}", code="cannot-write", where=str(path)) from None
    finally:
        with suppress(OSError):
            part.unlink()


def _write(image: Image, outside: list[Reference], file: BinaryIO) -> None:
    referenced = {reference.name for reference in outside}
    inside = {name: tensor for name, tensor in image.tensors.items() if name not in referenced}
    small = {
        "programs": _json_bytes(codec.encode(image.programs)),
        "inits": _json_bytes(codec.encode(image.inits)),
        "cores": np.ascontiguousarray(image.cores, CORE).tobytes(),
        "routes": np.ascontiguousarray(image.routes, ROUTE).tobytes(),
    }
    weights_head, _, weights_data = weights.head(inside)
    lengths = {name: len(data) for name, data in small.items()} | {"weights": len(weights_head) + weights_data}
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in small.items()}

    # The hash of the weights is known only after they are written: its place in the header is kept by zeros.
    file.write(_header_bytes(image, outside, lengths, hashes | {"weights": NO_HASH}))
    for data in small.values():
        _pad(file)
        file.write(data)
    _pad(file)
    digest = weights.write(inside, file)
    file.seek(0)
    file.write(_header_bytes(image, outside, lengths, hashes | {"weights": digest}))


def _pad(file: BinaryIO) -> None:
    file.write(bytes(-file.tell() % ALIGN))


def _header_bytes(image: Image, outside: list[Reference], lengths: dict[str, int], hashes: dict[str, str]) -> bytes:
    sections, offset = [], 0
    for name in SECTIONS:
        sections.append(Section(name, offset, lengths[name], hashes[name]))
        offset += lengths[name] + -lengths[name] % ALIGN
    header = Header(
        target=image.target,
        max_seq=image.max_seq,
        slots=image.slots,
        blocks=tuple(image.blocks),
        ports=tuple(image.ports),
        references=tuple(outside),
        sections=tuple(sections),
    )
    text = _json_bytes({"image": codec.encode(header), "manifest": codec.encode(image.manifest)})
    return PREFIX.pack(MAGIC, SCHEMA, len(text)) + text


def _json_bytes(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


# Reading


def read_image(path: str | Path) -> Image:
    """The image in the file, its weights memory-mapped read-only, wherever they lie. Raises InputError.

    Everything but the weights is checked against its sha256; `verify_weights` checks those.
    """
    path = Path(path)
    with _open(path) as file:
        header, manifest, base = _read_header(file, path)
        data = {name: _read_section(file, path, header, base, name) for name in SECTIONS[:-1]}
    blob = _map_section(path, base, _section(header, "weights"))
    outside = references.attach(header.references, path)
    try:
        inside = weights.read(blob)
        if not inside.keys().isdisjoint(outside):
            raise bad_image(f"tensor {min(inside.keys() & outside)!r} is both in the image and outside")
        image = Image(
            target=targets.from_dict(header.target.to_json(), "target"),
            programs=list(_decode(tuple[Program, ...], data["programs"], "programs")),
            blocks=list(header.blocks),
            cores=_table(data["cores"], CORE, "cores"),
            routes=_table(data["routes"], ROUTE, "routes"),
            inits=list(_decode(tuple[Init, ...], data["inits"], "inits")),
            tensors=inside | outside,
            ports=list(header.ports),
            max_seq=header.max_seq,
            slots=header.slots,
            manifest=manifest,
        )
        structure.check(image)
    except InputError as error:
        raise bad_image(error.message, where=str(path)) from None
    return image


def verify_weights(path: str | Path, *, referenced: bool = True) -> None:
    """Compare the weights with their hashes (reads them, but for holes). Raises InputError if they differ.

    Without `referenced` only those in the image itself.
    """
    path = Path(path)
    with _open(path) as file:
        header, _, base = _read_header(file, path)
        section = _section(header, "weights")
        if of_file(file.fileno(), base + section.offset, section.length) != section.sha256:
            raise bad_image("the weights do not match their sha256", where=str(path))
    if referenced:
        references.verify(header.references, path)


def _open(path: Path) -> BinaryIO:
    try:
        if not path.is_file():
            raise InputError("no such file", code="no-file", where=str(path))
        return path.open("rb")
    except OSError as error:
        raise InputError(f"cannot read the image: {error.strerror}", code="no-file", where=str(path)) from None


def _read_header(file: BinaryIO, path: Path) -> tuple[Header, dict[str, Any], int]:
    """The header, the manifest, and where in the file the data starts."""
    size = os.fstat(file.fileno()).st_size
    prefix = file.read(PREFIX.size)
    if len(prefix) < PREFIX.size or prefix[: len(MAGIC)] != MAGIC:
        hint = "`wsec compile model.onnx -o model.wse` makes one"
        raise InputError("not a .wse image", code="bad-image", where=str(path), hint=hint)
    _, schema, length = PREFIX.unpack(prefix)
    if schema != SCHEMA:
        raise InputError(
            f"written by schema {schema}, this wsec reads {SCHEMA}",
            code="schema-version",
            where=str(path),
            hint="recompile the model with `wsec compile model.onnx -o model.wse`",
        )
    if length > min(MAX_HEADER, size - PREFIX.size):
        raise bad_image("truncated: the header ends after the file", where=str(path))
    try:
        value = _parse(file.read(length), "header")
        if not isinstance(value, dict) or value.keys() != {"image", "manifest"} or type(value["manifest"]) is not dict:
            raise bad_image("the header has not the two entries image and manifest")
        header: Header = _decoded(Header, value["image"], "header")
        base = PREFIX.size + length
        base += -base % ALIGN
        _check_sections(header.sections, size - base)
    except InputError as error:
        raise bad_image(error.message, where=str(path)) from None
    return header, value["manifest"], base


def _check_sections(sections: tuple[Section, ...], size: int) -> None:
    """Exactly the known sections, in order, aligned, and inside the `size` bytes after the header."""
    names = tuple(section.name for section in sections)
    if names != SECTIONS:
        raise bad_image(f"sections are {', '.join(names)}; expected {', '.join(SECTIONS)}")
    end = 0
    for section in sections:
        if section.length < 0 or section.offset != end + -end % ALIGN:
            raise bad_image(f"section {section.name} is misplaced")
        end = section.offset + section.length
        if end > size:
            raise bad_image(f"truncated: section {section.name} ends {end - size} bytes after the file")
    if end != size:
        raise bad_image(f"{size - end} bytes after the last section")


def _section(header: Header, name: str) -> Section:
    return header.sections[SECTIONS.index(name)]


def _read_section(file: BinaryIO, path: Path, header: Header, base: int, name: str) -> bytes:
    section = _section(header, name)
    most = MAX_BYTES.get(name, MAX_JSON)
    if section.length > most:
        raise bad_image(f"section {name} is larger than {most} bytes", where=str(path))
    file.seek(base + section.offset)
    data = file.read(section.length)
    if hashlib.sha256(data).hexdigest() != section.sha256:
        raise bad_image(f"section {name} does not match its sha256", where=str(path))
    return data


def _map_section(path: Path, base: int, section: Section) -> np.ndarray[Any, Any]:
    if not section.length:
        return np.zeros(0, np.uint8)
    return np.memmap(path, np.uint8, "r", base + section.offset, (section.length,))


def _parse(data: bytes, what: str) -> Any:
    def refuse(literal: str) -> NoReturn:
        raise ValueError(literal)

    def finite(literal: str) -> float:  # 1e999 is none either
        number = float(literal)
        return number if math.isfinite(number) else refuse(literal)

    try:
        return json.loads(data, parse_constant=refuse, parse_float=finite)
    except (ValueError, RecursionError):
        raise bad_image(f"{what}: not JSON") from None


def _decode(hint: Any, data: bytes, what: str) -> Any:
    return _decoded(hint, _parse(data, what), what)


def _decoded(hint: Any, value: Any, what: str) -> Any:
    try:
        return codec.decode(hint, value)
    except codec.DecodeError as error:
        raise bad_image(f"{what}{error.path}: {error.message}") from None


def _table(data: bytes, dtype: np.dtype[Any], what: str) -> np.ndarray[Any, Any]:
    if len(data) % dtype.itemsize:
        raise bad_image(f"{what}: {len(data)} bytes are no whole number of entries")
    return np.frombuffer(data, dtype)
