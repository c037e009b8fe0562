"""Finding the constants of a `.wir` file. They are known by the hash of their contents; no path in the file is used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from compiler.ir.core import Op
from compiler.resources import ResourceStore
from frontends.onnx.import_graph import import_model
from runtime.errors import InputError


def find_weights(module: Op, folder: Path, weights: Path | None = None) -> ResourceStore:
    """The constants `module` declares, as far as they can be found, by reference.

    Looked at, until nothing is missing: `weights` (an ONNX model, a safetensors file or a folder of these), the
    safetensors files in `folder` (the module's own), the ONNX models there, those in its parent. Raises InputError if
    `weights` itself cannot be read; other files that cannot are passed over.
    """
    wanted = {str(op.attrs["sym_name"]) for op in module.body.find("builtin.resource")}
    store = ResourceStore()
    if weights is not None and not weights.is_dir():
        _attach(store, weights)
    for path in _candidates([*filter(None, [weights]), folder, folder.resolve().parent]):
        if all(name in store for name in wanted):
            break
        try:
            _attach(store, path)
        except InputError:
            continue
    return store


def _candidates(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in filter(Path.is_dir, folders):
        yield from sorted(folder.glob("*.safetensors"))
        yield from sorted(folder.glob("*.onnx"))


def _attach(store: ResourceStore, path: Path) -> None:
    if path.suffix == ".safetensors":
        store.attach_safetensors(path)
    else:
        store.merge(import_model(path)[1])
