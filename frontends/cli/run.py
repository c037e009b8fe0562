"""`wsec run`: an image on the machine."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frontends.cli.arguments import Verbs, add_json, add_threads, add_verb, require_folder
from frontends.cli.console import Console
from runtime.errors import InputError, UsageError

if TYPE_CHECKING:
    from runtime.image import Image

DESCRIPTION = """\
Execute every core's program on the given inputs, and write the outputs by name to a .npz file. The image says which
inputs it takes: `wsec inspect model.wse`."""


def register(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    parser = add_verb(verbs, common, "run", "execute an image", DESCRIPTION, run)
    parser.add_argument("image", type=Path, metavar="model.wse")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--tokens", metavar="ID,ID,...", help="token ids of one sequence, for an image with one input")
    what.add_argument("--inputs", type=Path, metavar="FILE.npz", help="arrays by graph input name")
    what.add_argument("--input", action="append", metavar="NAME=@FILE.npy", help="one array; once for each input")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.npz", help="where the outputs go (nowhere)")
    add_threads(parser)
    add_json(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    from frontends.cli.files import write_npz
    from runtime.imagefile import read_image, verify_weights
    from runtime.session import Session

    if args.output is not None:
        require_folder(args.output)
    image = read_image(args.image)
    inputs = _inputs(args, image)
    console.progress("loading")
    verify_weights(args.image)  # a damaged weight would show in no other way
    session = Session(image, args.threads)
    outputs = session.run(**inputs, progress=lambda done, total: console.progress("running", done, total))
    if args.output is not None:
        write_npz(args.output, outputs)
    stats = session.stats
    if args.json:
        shapes = {name: {"dtype": str(array.dtype), "shape": list(array.shape)} for name, array in outputs.items()}
        console.json({"schema": 1, "outputs": shapes, **vars(stats)})
        return 0
    for name, array in outputs.items():
        console.out(f"{name}: {array.dtype} [{', '.join(map(str, array.shape))}]")
    console.out(
        f"{stats.tokens} tokens in {stats.seconds:.2f} s ({stats.tokens / max(stats.seconds, 1e-9):.1f} tokens/s); "
        f"{stats.words:,} words moved, {stats.macs:,} multiply-accumulates, {stats.instructions:,} instructions"
    )
    if args.output is not None:
        console.out(f"written to {args.output}")
    return 0


def _inputs(args: argparse.Namespace, image: Image) -> dict[str, Any]:
    from frontends.cli.files import read_array, read_npz

    if args.inputs is not None:
        return read_npz(args.inputs)
    if args.input is not None:
        return {name: read_array(path) for name, path in map(_named, args.input)}
    return _token_input(args.tokens, image)


def _named(text: str) -> tuple[str, Path]:
    name, separator, path = text.partition("=@")
    if not (name and separator and path):
        raise UsageError(f"{text!r} is not NAME=@FILE.npy", code="bad-option", where="--input")
    return name, Path(path)


def _token_input(text: str, image: Image) -> dict[str, Any]:
    """Ids from the command line as the image's only input: one sequence."""
    import numpy as np

    ports = [port for port in image.ports if port.direction == "in"]
    if len(ports) != 1 or ports[0].dtype != "i64":
        names = ", ".join(f"{port.name} ({port.dtype})" for port in ports)
        raise InputError(
            f"--tokens fits an image whose only input is token ids; this one takes {names}",
            code="input-names",
            hint="use --inputs or --input",
        )
    try:
        ids = np.array([int(word) for word in text.split(",")], np.int64)
    except (ValueError, OverflowError):
        raise UsageError(f"{text!r} is not a list of token ids", code="bad-option", where="--tokens") from None
    return {ports[0].name: ids.reshape(*[1] * (len(ports[0].shape) - 1), math.prod(ids.shape))}
