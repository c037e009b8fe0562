"""`wsec compile`: a model, or a module at any phase, to an image or to a later phase."""

from __future__ import annotations

import argparse
import resource
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frontends.cli.arguments import (
    PHASE_OF_OPTION,
    Verbs,
    add_compiler_options,
    add_json,
    add_no_locations,
    add_verb,
    given_options,
    options_from,
    require_folder,
    require_not_input,
    require_own_folder,
)
from frontends.cli.console import Console
from runtime.errors import UsageError
from runtime.text import table

if TYPE_CHECKING:
    from compiler.driver import Options
    from frontends.cli.toolchain import Opened
    from runtime.image import Image
    from runtime.validate import Report

DESCRIPTION = """\
Compile an ONNX model, or go on with a .wir file from the phase it is in, and write a validated image.

phases: import, canonical, fuse, flow, size, place, route, core
A .wir file holds no weights. They are found by their contents, in this order: --weights, the .safetensors and .onnx
files beside the .wir file, those one folder up."""


def register(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    parser = add_verb(verbs, common, "compile", "model to image", DESCRIPTION, run)
    parser.add_argument("model", type=Path, metavar="model.onnx|FILE.wir")
    parser.add_argument(
        "-o", "--output", metavar="FILE",
        help="the image to write (the model's name with .wse, in this folder); with --compile-to a .wir file (stdout)",
    )  # fmt: skip
    add_compiler_options(parser, seed=True)
    parser.add_argument("--compile-to", metavar="PHASE", help="stop after PHASE and write the module as text")
    parser.add_argument("--dump-ir", type=Path, metavar="DIR", help="write a numbered .wir file after every pass")
    add_no_locations(parser)
    parser.add_argument(
        "--weights", type=Path, metavar="PATH", help="weights of a .wir file: model, folder, safetensors"
    )
    parser.add_argument(
        "--save-placement", type=Path, metavar="FILE",
        help="write where the kernels stand, for --fix-placement; as JSON if FILE ends in .json",
    )  # fmt: skip
    parser.add_argument(
        "--store-weights", choices=("auto", "copy", "reference"), default="auto",
        help="copy large weights into the image, or refer to the model's data file, which must lie in the image's "
        "folder; auto refers to it from 1 GiB on, where it can (auto)",
    )  # fmt: skip
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="write what `wsec report --json` says, and the seconds of every phase",
    )
    parser.add_argument(
        "--placed-svg", type=Path, metavar="FILE", help="write the picture that `wsec view --svg` draws"
    )
    parser.add_argument(
        "--html", type=Path, metavar="FILE",
        help="write the page of `wsec report --html`, with the IR after each pass and the seconds it took",
    )  # fmt: skip
    parser.add_argument(
        "--crash-reproducers-to", type=Path, metavar="DIR",
        help="where to pack the run if a pass crashes, see `wsec repro` (beside the output)",
    )  # fmt: skip
    parser.add_argument("--time-passes", action="store_true", help="print seconds and ops of every pass on stderr")
    add_json(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    given = given_options(args)
    options = options_from(given)
    if args.compile_to is None:
        args.output = args.output or f"{args.model.stem}.wse"
    to_file = args.output not in (None, "-")
    if to_file:
        require_folder(Path(args.output))
    _require_suffix(args)
    if args.crash_reproducers_to is not None:
        require_folder(args.crash_reproducers_to / "any.zip")
    for path in (args.save_placement, args.report, args.placed_svg, args.html):
        if path is not None:
            require_folder(path)
    if args.dump_ir is not None:
        require_own_folder(args.dump_ir)

    from frontends.cli import toolchain

    if options.time_limit and not args.quiet:
        console.err("note: with --time-limit another run may give another image; without it none does")
    opened = toolchain.open_module(args.model, weights=args.weights, progress=console.progress)
    _require_ahead(given, str(opened.module.attrs.get("phase", "import")))
    if args.compile_to is not None:
        _require_image(args)
        with _kept_crashes(args, console, options):
            toolchain.lower_module(
                opened,
                options,
                to=args.compile_to,
                dump=args.dump_ir,
                locations=args.locations,
                progress=console.progress,
            )
        _save_placement(args, opened)
        _write_module(args, console, opened, Path(args.output) if to_file else None)
        _time_passes(args, console, opened)
        return 0

    from runtime.imagefile import write_image

    opened.stages = [] if args.html is not None else None
    with _kept_crashes(args, console, options):
        image, report = toolchain.finish_image(
            opened, options, dump=args.dump_ir, locations=args.locations, progress=console.progress
        )
    began = time.perf_counter()
    write_image(image, args.output, args.store_weights)
    opened.seconds["write"] = time.perf_counter() - began
    _save_placement(args, opened)
    facts = summary(image, report, opened.seconds)
    _write_beside(args, image, facts)
    _write_page(args, image, opened)
    if args.json:
        console.json({"schema": 1, "image": args.output, **facts})
    else:
        console.out(f"{args.output}: {summary_text(facts)}")
    _time_passes(args, console, opened)
    return 0


def _kept_crashes(args: argparse.Namespace, console: Console, options: Options) -> AbstractContextManager[None]:
    """Packs the run if a pass crashes."""
    from frontends.cli.find.repro import keep_crashes

    output = Path(args.output if args.output not in (None, "-") else args.model.name)
    packed = (args.crash_reproducers_to or output.parent) / f"{output.stem}.crash.zip"
    return keep_crashes(args.model, options, packed, console.err, console.progress)


def _require_image(args: argparse.Namespace) -> None:
    for flag, given in (("--report", args.report), ("--placed-svg", args.placed_svg), ("--html", args.html)):
        if given is not None:
            raise UsageError(f"{flag} is about an image, and --compile-to stops before", code="bad-option")


def _require_suffix(args: argparse.Namespace) -> None:
    """Raises UsageError if an output would be mistaken for something else, InputError if it is the input."""
    if args.output in (None, "-"):
        if args.compile_to is None:
            raise UsageError("an image cannot be written to stdout", code="bad-output", hint="give -o model.wse")
        return
    wanted = ".wse" if args.compile_to is None else ".wir"
    if Path(args.output).suffix != wanted:
        raise UsageError(f"-o {args.output} should end in {wanted}", code="bad-output")
    require_not_input(Path(args.output), [args.model])


def _require_ahead(given: dict[str, Any], phase: str) -> None:
    """Raises UsageError for an option whose phase the module has behind it: it could have no effect."""
    from compiler.pipelines import PHASE_NAMES, after

    if phase not in PHASE_NAMES:
        return  # the driver says so
    # A target may be named again: that is how a module finds its own when it is described in a file.
    late = sorted(name for name in given if name != "target" and PHASE_OF_OPTION[name] not in after(phase))
    if late:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in late)
        raise UsageError(
            f"{flags} can have no effect: the module has finished phase {phase}",
            code="option-too-late",
            hint=f"start from an earlier phase than {PHASE_OF_OPTION[late[0]]}",
        )


def _write_module(args: argparse.Namespace, console: Console, opened: Opened, path: Path | None) -> None:
    """The module as text; in a file, then with the constants that no model file holds beside it."""
    from compiler.ir.printer import print_module
    from frontends.cli.files import write_text
    from frontends.cli.toolchain import save_weights

    text = print_module(opened.module, locations=args.locations)
    if path is None:
        console.out(text, end="")
        return
    save_weights(opened.resources, path.with_suffix(".safetensors"))
    write_text(path, text)


def _save_placement(args: argparse.Namespace, opened: Opened) -> None:
    if args.save_placement is None:
        return
    from compiler.place.demands import placement_text
    from frontends.cli.files import write_text

    if not opened.places:
        raise UsageError(
            f"the module is in phase {opened.module.attrs.get('phase')}, where no kernel has a place",
            code="bad-option",
            where="--save-placement",
        )
    as_json = args.save_placement.suffix == ".json"
    write_text(args.save_placement, placement_text(list(opened.places), list(opened.places.values()), as_json=as_json))


def _write_beside(args: argparse.Namespace, image: Image, facts: dict[str, Any]) -> None:
    """Report and picture of the image."""
    from frontends.cli.console import json_text
    from frontends.cli.files import write_text

    if args.report is not None:
        from runtime.report import report

        took = {key: facts[key] for key in ("seconds", "peak_memory_bytes")}
        write_text(args.report, json_text({"image": args.output, **report(image), **took}) + "\n")
    if args.placed_svg is not None:
        from runtime.svg import picture

        write_text(args.placed_svg, picture(image))


def _write_page(args: argparse.Namespace, image: Image, opened: Opened) -> None:
    if args.html is None:
        return
    from frontends.cli.files import write_text
    from runtime.page.data import Extras, page_data
    from runtime.page.html import report_html

    extras = Extras(stages=opened.stages or (), seconds=opened.seconds)
    write_text(args.html, report_html(page_data(image, Path(args.output).name, extras)))


def _time_passes(args: argparse.Namespace, console: Console, opened: Opened) -> None:
    if not args.time_passes or opened.times is None:
        return
    from compiler.ir.instrument import HEAD

    console.err(table(HEAD, opened.times.rows()))


def summary(image: Image, report: Report, seconds: dict[str, float]) -> dict[str, Any]:
    """What people want to know of a compilation, as one JSON object. Bytes per core; memory of the process in bytes."""
    facts, notes = report.facts, image.manifest["report"]
    return {
        "target": image.target.name,
        "cores": facts["cores"],
        "target_cores": image.target.cores,
        "max_seq": image.max_seq,
        "slots": image.slots,
        "clock_ghz": image.target.clock_ghz,
        "size": notes.get("size", {}),
        "place": notes.get("place", {}),
        "route": notes.get("route", {}),
        "validation": facts,
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def summary_text(facts: dict[str, Any]) -> str:
    """The summary for people. What passes noted may be missing from a module that somebody else wrote."""
    checked, seconds = facts["validation"], facts["seconds"]
    share = 100 * facts["cores"] / facts["target_cores"]
    lines = [
        f"legal image for {facts['target']}, sequences up to {facts['max_seq']}, {facts['slots']} at once",
        f"  cores      {facts['cores']:,} of {facts['target_cores']:,} ({share:.1f} %)",
    ]
    if facts["size"]:
        size = facts["size"]
        lines.append(
            f"  interval   {size['interval_cycles']:,} cycles per token (slowest: {size['slowest_kernel']}); predicted "
            f"{size['tokens_per_second']:,.0f} tokens/s at {facts['clock_ghz']} GHz"
        )
    if "kernels_latency_cycles" in facts["size"]:
        lines.append(
            f"  latency    {size['kernels_latency_cycles']:,} cycles of a lone token, with wires as guessed before "
            f"routing; optimised for {size['optimised_for']}"
        )
    if facts["place"]:
        lines.append(_placement_text(facts["place"]))
    return "\n".join(
        [
            *lines,
            f"  routes     {checked['channels']:,} channels, at most {checked['max_colours']} colours in a router; "
            f"hottest link {checked['max_link_words']:,} words per token at {checked['max_link']}",
            f"  memory     at most {checked['max_memory']:,} of {checked['memory_bytes']:,} bytes per core, "
            f"at {checked['max_memory_core']}",
            f"  seconds    {', '.join(f'{name} {value:.1f}' for name, value in seconds.items())}; "
            f"all {sum(seconds.values()):.1f}",
            f"  this run   peak memory {facts['peak_memory_bytes'] / 2**20:,.0f} MiB",
        ]
    )


def _placement_text(place: dict[str, Any]) -> str:
    x, y, width, height = place["box"]
    solver = "not improved by the solver"
    if place.get("method") == "strips":
        used = 100 * place["utilisation_of_box"]
        solver = f"bound {place['bound']:,}; {place['strips']} strips {place['strip_width']} wide, {used:.1f} % used"
    if place.get("gap") is not None:
        solver = f"objective {place['objective']:,}, bound {place['bound']:,}, gap {100 * place['gap']:.1f} %"
    return f"  placement  {width} x {height} at ({x},{y}) with host ports; wire cost {place['cost']:,}; {solver}"
