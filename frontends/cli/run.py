"""`wsec run`: an image on the machine."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frontends.cli.arguments import Verbs, add_json, add_threads, add_verb, natural, require_folder
from frontends.cli.console import Console
from runtime.errors import InputError, UsageError

if TYPE_CHECKING:
    from runtime.cycle.trace import Window
    from runtime.image import Image
    from runtime.session import Session

DESCRIPTION = """\
Execute every core's program on the given inputs, and write the outputs by name to a .npz file. The image says which
inputs it takes: `wsec inspect model.wse`.

--engine cycle executes the same image to the same bits cycle by cycle and says how many each token took, what the
kernels' busiest cores did with them, and which queues and links were full. A trace is made on one thread."""

TOP = 10
FOREVER = 1 << 60
CYCLE_OPTIONS = ("top", "run_json", "trace", "trace_cycles", "trace_cores", "trace_events")


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
    parser.add_argument(
        "--engine", choices=("functional", "cycle"), default="functional",
        help="functional: values alone (the default); cycle: with time",
    )  # fmt: skip
    timing = parser.add_argument_group("with --engine cycle")
    timing.add_argument("--top", type=natural, metavar="N", help="entries in each list of the report (10)")
    timing.add_argument(
        "--run-json", type=Path, metavar="FILE", help="what --json prints, and every core's cycles by reason, as a file"
    )
    timing.add_argument(
        "--trace", type=Path, metavar="FILE",
        help="what cores and links did, as JSON for Perfetto (ui.perfetto.dev) or chrome://tracing",
    )  # fmt: skip
    timing.add_argument("--trace-cycles", metavar="A:B", help="trace cycles A to B - 1 (all)")
    timing.add_argument("--trace-cores", metavar="X,Y,W,H", help="trace the cores and routers of a rectangle (all)")
    timing.add_argument(
        "--trace-events", type=natural, metavar="N", help="so many spans and wavelets at most (200000); the first ones"
    )


def run(args: argparse.Namespace, console: Console) -> int:
    from frontends.cli.files import write_npz, write_text
    from runtime.cycle.report import by_core
    from runtime.imagefile import read_image, verify_weights
    from runtime.session import Session

    _require_cycle(args)
    window = _window(args)
    for path in (args.output, args.run_json, args.trace):
        if path is not None:
            require_folder(path)
    image = read_image(args.image)
    inputs = _inputs(args, image)
    console.progress("loading")
    verify_weights(args.image)  # a damaged weight would show in no other way
    session = Session(image, args.threads, args.engine)
    with _traced(args, session, window, console):
        outputs = session.run(**inputs, progress=lambda done, total: console.progress("running", done, total))
    if args.output is not None:
        write_npz(args.output, outputs)
    data = _results(args, session, outputs)
    if args.run_json is not None and session.timing is not None:
        write_text(args.run_json, json.dumps(data | {"cores": by_core(session.timing)}, allow_nan=False) + "\n")
    if args.json:
        console.json(data)
        return 0
    for name, array in outputs.items():
        console.out(f"{name}: {array.dtype} [{', '.join(map(str, array.shape))}]")
    console.out(_text(args, data))
    for path in (args.output, args.run_json):
        if path is not None:
            console.out(f"written to {path}")
    return 0


def _require_cycle(args: argparse.Namespace) -> None:
    if args.trace is None and any((args.trace_cycles, args.trace_cores, args.trace_events)):
        raise UsageError("a window is of no use without --trace FILE", code="bad-option", where="--trace")
    for name in CYCLE_OPTIONS:
        if args.engine != "cycle" and getattr(args, name) is not None:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"{option} needs --engine cycle: the functional machine has no time", code="bad-option")


def _window(args: argparse.Namespace) -> Window | None:
    """What --trace and its options ask for."""
    from runtime.cycle.trace import EVENTS, Window

    if args.trace is None:
        return None
    first, last = _numbers(args.trace_cycles, ":", 2, "--trace-cycles") if args.trace_cycles else (0, FOREVER)
    rectangle: tuple[int, int, int, int] | None = None
    if args.trace_cores:
        x, y, width, height = _numbers(args.trace_cores, ",", 4, "--trace-cores")
        rectangle = (x, y, width, height)
    if last <= first or (rectangle and min(rectangle[2:]) < 1):
        raise UsageError("the window of the trace is empty", code="bad-option", where="--trace")
    return Window(first, last, rectangle, args.trace_events or EVENTS)


def _numbers(text: str, separator: str, count: int, option: str) -> list[int]:
    parts = text.split(separator)
    if len(parts) != count or not all(part.isascii() and part.isdigit() and len(part) < 16 for part in parts):
        message = f"{text!r} is not {count} whole numbers with {separator!r} between them"
        raise UsageError(message, code="bad-option", where=option)
    return [int(part) for part in parts]


@contextmanager
def _traced(args: argparse.Namespace, session: Session, window: Window | None, console: Console) -> Iterator[None]:
    """Write the trace of what runs inside, also if that ends in a fault or a deadlock."""
    from frontends.cli.files import write_text
    from runtime.cycle import trace
    from runtime.cycle.machine import CycleMachine

    machine = session.machine
    if window is None or not isinstance(machine, CycleMachine):
        yield
        return
    trace.begin(machine, window)
    try:
        yield
    finally:
        data = trace.chrome(machine, window)
        write_text(args.trace, json.dumps(data, separators=(",", ":"), allow_nan=False))
        console.err(f"{args.trace}: {trace.summary(data)}")


def _results(args: argparse.Namespace, session: Session, outputs: dict[str, Any]) -> dict[str, Any]:
    """What --json prints."""
    shapes = {name: {"dtype": str(array.dtype), "shape": list(array.shape)} for name, array in outputs.items()}
    data = {"schema": 1, "image": args.image.name, "engine": args.engine, "outputs": shapes, **vars(session.stats)}
    if session.timing is not None:
        from runtime.cycle.report import report

        data["timing"] = report(session.image, session.timing, args.top or TOP)
    return data


def _text(args: argparse.Namespace, data: dict[str, Any]) -> str:
    speed = data["tokens"] / max(data["seconds"], 1e-9)
    found = (
        f"{data['tokens']} tokens in {data['seconds']:.2f} s ({speed:.1f} tokens/s); {data['words']:,} words moved, "
        f"{data['macs']:,} multiply-accumulates, {data['instructions']:,} instructions"
    )
    if "timing" not in data:
        return found
    from runtime.cycle.report_text import text

    return f"{found}\n\n{text(data['timing'], args.top or TOP)}"


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
