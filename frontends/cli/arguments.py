"""Pieces of command line that several verbs share."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.errors import InputError, UsageError

if TYPE_CHECKING:
    from compiler.driver import Options
    from frontends.cli.console import Console

Verb = Callable[[argparse.Namespace, "Console"], int]
Verbs = Any  # argparse has no public name for what add_subparsers returns

# Compiler options, and the phase in which each takes effect.
PHASE_OF_OPTION = {
    "target": "size",
    "precision": "flow",
    "max_seq": "flow",
    "slots": "flow",
    "fold": "flow",
    "max_cores": "size",
    "optimize": "size",
    "seed": "place",
    "margin": "place",
    "deterministic_limit": "place",
    "time_limit": "route",
    "defects": "size",
    "fix_placement": "place",
    "constraints": "place",
    "allow_unused_overrides": "place",
}


def add_verb(
    verbs: Verbs, common: argparse.ArgumentParser, name: str, summary: str, description: str, run: Verb
) -> argparse.ArgumentParser:
    """A verb with -q and -v, whose `run` is called with the arguments."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=summary,
        description=description,
        parents=[common],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def natural(text: str) -> int:
    """An integer of at least 1."""
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def whole(text: str) -> int:
    """An integer of at least 0."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} is below zero")
    return value


# argparse names the type in its message
natural.__name__ = "whole number above 0"
whole.__name__ = "whole number"


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")


def add_no_locations(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    parser.add_argument(
        "--no-locations",
        dest="locations",
        action="store_false",
        help="print IR without loc(..), the names of the ONNX nodes",
    )


def add_random_inputs(parser: argparse.ArgumentParser, *, tokens: int) -> None:
    """How many of what random inputs a check runs; every verb that runs one means the same by the same numbers."""
    parser.add_argument(
        "--tokens", type=natural, default=tokens, metavar="N", help=f"length of every sequence ({tokens})"
    )
    parser.add_argument("--batch", type=natural, default=1, metavar="N", help="number of sequences (1)")
    parser.add_argument("--seed", type=whole, default=0, metavar="N", help="of the random inputs (0)")


def add_threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-j",
        "--threads",
        type=natural,
        default=2,
        metavar="N",
        help="threads of the machine; results do not depend on it (2)",
    )


def add_compiler_options(parser: argparse.ArgumentParser, *, seed: bool) -> None:
    """The options of `compiler.driver.Options`. None means not given. `seed`: whether --seed is the placer's."""
    group = parser.add_argument_group("compiler options")
    group.add_argument(
        "--target", metavar="NAME|FILE", help="machine to compile for; see `wsec target list` (cs2, or the module's)"
    )
    group.add_argument(
        "--precision", choices=("fp32", "fp16"),
        help="fp16: fp16 weights, caches and factors, fp32 sums (fp32)",
    )  # fmt: skip
    group.add_argument(
        "--max-seq", type=natural, metavar="N", help="longest sequence the image can hold (as long as the model's)"
    )
    group.add_argument("--slots", type=natural, metavar="N", help="sequences whose caches the image holds at once (1)")
    group.add_argument(
        "--fold", type=natural, metavar="N",
        help="N layers that are alike share one set of kernels, which a token passes N times: sooner done where "
        "cores are short, but one token at a time; implies --optimize latency (1)",
    )  # fmt: skip
    group.add_argument("--max-cores", type=natural, metavar="N", help="use at most N cores (all that make it faster)")
    group.add_argument(
        "--optimize", choices=("throughput", "latency"),
        help="throughput: the fewest cycles between tokens in a row; latency: the fewest of a lone token (throughput)",
    )  # fmt: skip
    if seed:
        group.add_argument("--seed", dest="placer_seed", type=int, metavar="N", help="of the placer (0)")
    group.add_argument(
        "--margin",
        type=int,
        metavar="N",
        help="with --fix-placement or regions: free cores around kernels, where there is room (3)",
    )
    group.add_argument(
        "--deterministic-limit", type=float, metavar="X", help="of the placer, in OR-tools' deterministic time (12)"
    )
    group.add_argument(
        "--time-limit", type=float, metavar="SECONDS",
        help="of sizing, placing and routing, wall clock: what they have then is taken, or exit 4 (none)",
    )  # fmt: skip
    group.add_argument("--defects", metavar="FILE", help="dead cores to go around; see `wsec target defects`")
    group.add_argument(
        "--fix-placement", metavar="FILE", help="where kernels stand; --save-placement writes such a file"
    )
    group.add_argument(
        "--constraints", metavar="FILE", help="regions of kernels, and rectangles to keep kernels out of"
    )
    group.add_argument(
        "--allow-unused-overrides", action="store_const", const=True,
        help="accept places and patterns that match no kernel",
    )  # fmt: skip


def given_options(args: argparse.Namespace) -> dict[str, Any]:
    """The compiler options that stand on the command line."""
    values = {name: getattr(args, "placer_seed" if name == "seed" else name, None) for name in PHASE_OF_OPTION}
    return {name: value for name, value in values.items() if value is not None}


def options_from(given: dict[str, Any]) -> Options:
    """Compiler options with their defaults filled in. Raises UsageError for a number below zero."""
    from compiler.driver import Options

    for name in ("deterministic_limit", "margin", "time_limit"):
        if given.get(name, 0) < 0:
            raise UsageError(f"--{name.replace('_', '-')} is below zero", code="bad-option")
    return Options(**given)


def require_folder(path: Path) -> None:
    """Raises InputError, before any long work, if `path` cannot be written because its folder is not there."""
    if not path.parent.is_dir():
        raise InputError("the folder does not exist", code="no-folder", where=str(path.parent))
    if path.is_dir():
        raise InputError("is a folder, not a file", code="cannot-write", where=str(path))


def require_own_folder(path: Path) -> None:
    """Raises InputError, before any long work, if `path` neither is a folder nor can become one."""
    require_folder(path / "any" if path.exists() else path)


def require_not_input(output: Path, inputs: Iterable[Path]) -> None:
    """Raises InputError if writing `output` would overwrite one of the files that are read."""
    if output.exists() and any(path.exists() and output.samefile(path) for path in inputs):
        raise InputError("the output would overwrite the input", code="same-file", where=str(output))
