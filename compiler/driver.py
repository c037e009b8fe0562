"""Runs the phases of `compiler.pipelines` on a module, from where it stands to where the user wants it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compiler import pipelines
from compiler.deadline import Deadline
from compiler.ir.core import IRError, Op
from compiler.ir.parser import parse_module
from compiler.ir.passes import Hook, Pass, PassContext, PassManager, Progress, no_progress, parse_pipeline
from compiler.ir.printer import print_module
from compiler.levers import levers
from compiler.package import package
from compiler.place.demands import Demands, read_constraints, read_placement, to_attr
from compiler.resources import ResourceStore
from runtime import defects
from runtime import target as targets
from runtime.errors import InfeasibleError, InputError, Lever, LimitError, UsageError
from runtime.image import Image
from runtime.target import Target

DEFAULT_TARGET = "cs2"
UNSIZED = ("import", "canonical", "fuse", "flow")  # phases in which a module may change its target


@dataclass(frozen=True)
class Options:
    """What a compilation depends on besides the model. Each is stored in the module when its phase has used it."""

    target: str = ""  # a name or a TOML file; none: that of a module which has one, else DEFAULT_TARGET
    precision: str = "fp32"  # fp32, or fp16: fp16 weights, caches and multiplied operands, fp32 accumulation
    max_seq: int = 0  # positions per sequence; 0: as many as the model has
    slots: int = 1  # sequences whose caches the image holds at once
    fold: int = 1  # layers that share one set of kernels; it must divide the number of those that are alike
    max_cores: int = 0  # 0: see compiler.passes.size
    optimize: str = "throughput"  # or latency, see compiler.passes.size
    seed: int = 0
    margin: int = 3  # free cores around every kernel, where the target has room
    deterministic_limit: float = 12.0  # of the placer, in OR-tools' deterministic time
    time_limit: float = 0.0  # of sizing, placing and routing together, in seconds of wall clock; 0: none
    defects: str = ""  # file: the target's dead cores, see runtime.defects
    fix_placement: str = ""  # file: where kernels stand, see compiler.place.demands
    constraints: str = ""  # file: regions and keep-outs
    allow_unused_overrides: bool = False  # pass over what of these files concerns no kernel


def lower(
    module: Op,
    resources: ResourceStore,
    options: Options,
    *,
    to: str = "core",
    hooks: Sequence[Hook] = (),
    progress: Progress = no_progress,
    target: Target | None = None,
) -> Target:
    """Run all phases after the module's own up to `to`, in place; the target it is for (or `target`, if given).

    The module's `phase` is the last it has finished, `passes` counts those of the next it has behind it. A module that
    has been sized already keeps the target it was sized for. Raises UsageError for an unknown phase or one that is
    behind, and what the passes raise.
    """
    phase = str(module.attrs.get("phase", "import"))
    if to not in pipelines.PHASE_NAMES:
        raise _phase_error(f"there is no phase {to!r}")
    if phase not in pipelines.PHASE_NAMES:
        raise _phase_error(f"the module says it is in phase {phase!r}, which does not exist")
    ahead = pipelines.after(phase)
    if to != phase and to not in ahead:
        raise _phase_error(f"the module is past phase {to!r}: it is in {phase!r}")
    target = target or _target(module, phase, options)
    if "place" in ahead:
        _note_demands(module, options)
    ctx = PassContext(resources, target, progress, Deadline(options.time_limit or math.inf))
    wanted = ahead[: ahead.index(to) + 1] if to in ahead else []
    passes = [(name, number, step) for name in wanted for number, step in enumerate(_passes(name, options), 1)]
    steps = passes[_passes_done(module) :]

    def finish(index: int, _step: Pass, finished: Op, _seconds: float) -> None:
        name, number, _ = steps[index]
        if index + 1 == len(steps) or steps[index + 1][0] != name:
            finished.attrs["phase"] = name
            finished.attrs.pop("passes", None)
        else:
            finished.attrs["passes"] = number

    # One manager for all, so that dumps are numbered through.
    before_flow = print_module(module) if wanted and wanted[0] == "flow" else ""

    def keep(index: int, _step: Pass, finished: Op, _seconds: float) -> None:
        nonlocal before_flow
        if finished.attrs.get("phase") == "fuse" and steps[index][0] == "fuse":
            before_flow = print_module(finished)

    try:
        PassManager([step for _, _, step in steps], [finish, keep, *hooks]).run(module, ctx)
    except InfeasibleError as error:
        if before_flow and not error.levers and error.code == "does-not-fit":
            progress("looking for what would fit", 0, 0)
            error.levers = _levers(before_flow, resources, options, target, ctx.deadline)
            error.hint = "" if error.levers else error.hint  # what was tried says more
        raise
    return target


def _levers(
    text: str, resources: ResourceStore, options: Options, target: Target, deadline: Deadline
) -> tuple[Lever, ...]:
    """What would make the module at phase fuse fit, if there is time to find out."""

    def lower_to_flow(changed: Options) -> Op:
        deadline.check("size", "nothing fits, and what would was still being looked for")
        return _at_flow(text, resources, changed, target)

    try:
        return levers(lower_to_flow, options, target)
    except LimitError:
        return ()


def _at_flow(text: str, resources: ResourceStore, options: Options, target: Target) -> Op:
    """The module whose text is given, lowered as far as phase flow with these options."""
    module = parse_module(text)
    resources.resolve(module)
    PassManager(_passes("flow", options)).run(module, PassContext(resources, target))
    return module


def build(module: Op, resources: ResourceStore, target: Target, provenance: Mapping[str, Any]) -> Image:
    """The image of a module that has reached phase `core`. Raises InputError if its text was edited into nonsense."""
    try:
        return package(module, resources, target, provenance)
    except IRError as error:
        raise InputError(str(error), code="bad-core-ir") from error


def _passes_done(module: Op) -> int:
    done = module.attrs.get("passes", 0)
    return done if isinstance(done, int) else 0


def _target(module: Op, phase: str, options: Options) -> Target:
    """The target asked for, else the module's own, else the CS-2; a module that has been sized keeps its own.

    A module's text never names a file to read. Raises UsageError where it is for a target that only a file describes,
    or has been sized for another than the one asked for.
    """
    own = module.attrs.get("target")
    sized = phase not in UNSIZED
    asked = targets.load(options.target) if options.target else None
    target = asked or targets.load(str(own) if own in targets.names() else DEFAULT_TARGET)
    if own != target.name and (sized or (own is not None and asked is None)):
        done = "was sized for" if sized else "is for"
        hint = f"--target {own}" if own in targets.names() else "name the file of that target with --target"
        raise UsageError(f"the module {done} {own!r}, not {target.name!r}", code="other-target", hint=hint)
    dead = module.attrs.get("defects", target.defects) if own == target.name else target.defects
    if sized or not options.defects:
        target = targets.with_defects(target, dead, "the module")
    else:
        found = defects.read(options.defects, target.fabric)
        target = targets.with_defects(target, (*target.defects, *found), options.defects)
    module.attrs["target"] = target.name
    if target.defects:
        module.attrs["defects"] = target.defects
    else:
        module.attrs.pop("defects", None)
    return target


def _note_demands(module: Op, options: Options) -> None:
    """Put what the user demands of the placement into the module, where the pass finds it."""
    if options.fix_placement or options.constraints:
        fixed = read_placement(options.fix_placement) if options.fix_placement else ()
        regions, keep_out = read_constraints(options.constraints) if options.constraints else ((), ())
        module.attrs["constraints"] = to_attr(Demands(fixed, regions, keep_out, options.allow_unused_overrides))


def _passes(phase: str, options: Options) -> list[Pass]:
    """The passes of a phase, with the driver's options filled in."""
    values: dict[str, dict[str, object]] = {
        "lower-to-flow": {"precision": options.precision, "max-seq": options.max_seq, "slots": options.slots},
        "fold": {"layers": options.fold},
        "size": {"max-cores": options.max_cores, "optimize": options.optimize},
        "place": {
            "seed": options.seed,
            "margin": options.margin,
            "deterministic-limit": options.deterministic_limit,
        },
    }
    steps = []
    for name in pipelines.PHASES[phase].split(","):
        given = " ".join(f"{key}={value}" for key, value in values.get(name, {}).items())
        steps += parse_pipeline(f"{name}{{{given}}}" if given else name)
    return steps


def _phase_error(message: str) -> UsageError:
    return UsageError(message, code="bad-phase", hint=f"the phases are: {', '.join(pipelines.PHASE_NAMES)}")
