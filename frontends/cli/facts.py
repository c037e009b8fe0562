"""What is in models, modules and run files: as data for --json, and as text. (Images: `runtime.inspect`.)"""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.errors import InputError
from runtime.text import safe, table

if TYPE_CHECKING:
    from compiler.ir.core import Op

Facts = dict[str, Any]
_BYTES = {"f32": 4, "f16": 2, "i64": 8, "i32": 4, "bool": 1}
_MAX_RUN = 1 << 30  # bytes of a run file
_NAME = 60  # characters of a name in a table


def _short(text: str) -> str:
    return text if len(text) <= _NAME else f"{text[: _NAME - 3]}..."


# ---- Models ---------------------------------------------------------------------------------------------------------


def model_facts(path: Path) -> Facts:
    """An ONNX file, and whether it can be imported. No weight is read. Raises InputError for a file that is none."""
    from frontends.onnx.describe import describe

    facts = dataclasses.asdict(describe(path))
    return {"kind": "model", **facts, "path": str(path), "lint": _linted(path)}


def _linted(path: Path) -> Facts:
    from frontends.onnx.import_graph import lint

    try:
        report = lint(path)
    except InputError as error:
        return {"supported": False, "reason": f"error[{error.code}]: {error.message}"}
    count = len(report.problems)
    reason = f"{count} node{'s' if count > 1 else ''} cannot be imported; `wsec lint` lists them" if count else ""
    return {"supported": not count, "reason": reason}


def model_text(facts: Facts) -> str:
    """The facts for people."""
    lint = facts["lint"]
    opsets = ", ".join(f"{safe(domain)} {version}" for domain, version in facts["opsets"].items())
    counts = f"{sum(facts['ops'].values()):,} nodes" + (f", {facts['functions']} functions" * bool(facts["functions"]))
    lines = [
        f"{facts['path']}: ONNX model, {facts['file_bytes']:,} bytes, IR version {facts['ir_version']}, opset {opsets}",
        f"from {safe(facts['producer'])}; {counts}, {facts['parameters']:,} parameters",
        "wsec can import it" if lint["supported"] else f"wsec cannot import it: {safe(lint['reason'])}",
        "",
        *(f"input   {safe(_short(name))}: {safe(_short(kind))}" for name, kind in facts["inputs"]),
        *(f"output  {safe(_short(name))}: {safe(_short(kind))}" for name, kind in facts["outputs"]),
    ]
    parts = ["\n".join(lines), table(("op", "nodes"), [(_short(op), count) for op, count in facts["ops"].items()])]
    if facts["tensors"]:
        rows = [(kind, count, f"{size:,}") for kind, (count, size) in facts["tensors"].items()]
        parts.append(table(("constants", "tensors", "bytes"), rows))
        parts.append(table(("largest", "type", "shape", "bytes", "in"), [_tensor_row(t) for t in facts["largest"]]))
    if facts["external"]:
        rows = [(_short(name), count, f"{size:,}") for name, (count, size) in facts["external"].items()]
        parts.append(table(("data file", "tensors", "bytes of it"), rows))
    if facts["problems"]:
        parts.append("\n".join(["external data:", *(f"  {safe(problem)}" for problem in facts["problems"])]))
    return "\n\n".join(parts)


def _tensor_row(tensor: Facts) -> tuple[object, ...]:
    shape = " x ".join(map(str, tensor["shape"]))
    place = _short(tensor["external"]) or "model file"
    return (_short(tensor["name"]), tensor["dtype"], _short(shape), f"{tensor['bytes']:,}", place)


# ---- Modules --------------------------------------------------------------------------------------------------------


def module_facts(path: Path, module: Op) -> Facts:
    """A `.wir` file."""
    resources = module.body.find("builtin.resource")
    names = ("sym_name", "phase", "passes", "target", "source", "options")
    return {
        "kind": "module",
        "path": str(path),
        **{{"sym_name": "name"}.get(name, name): module.attrs.get(name) for name in names},
        "inputs": list(_ports(module, ("graph.input", "flow.input"), "in")),
        "outputs": list(_ports(module, ("graph.output", "flow.output"), "out")),
        "ops": dict(sorted(Counter(op.name for op in module.walk()).items())),
        "resources": {"tensors": len(resources), "bytes": sum(map(_nbytes, resources))},
    }


def _ports(module: Op, names: Iterable[str], direction: str) -> Iterable[tuple[str, str]]:
    """Name and type of what enters or leaves."""
    for op in module.body.ops:
        if op.name in names:
            (value,) = (*op.operands, *op.results)
            yield str(op.attrs["name"]), str(value.type)
        elif op.name == "core.port" and op.attrs["direction"] == direction:
            shape: Any = op.attrs["shape"]
            yield str(op.attrs["name"]), f"{op.attrs['dtype']} {' x '.join(map(str, shape))}"


def _nbytes(resource: Op) -> int:
    shape: Any = resource.attrs["shape"]
    sizes = [dim for dim in shape if isinstance(dim, int)]
    return math.prod(sizes) * _BYTES.get(str(resource.attrs["dtype"]), 0)


def module_text(facts: Facts) -> str:
    """The facts for people."""
    phase, target = safe(facts["phase"] or "unknown"), safe(facts["target"] or "none yet")
    passes = f" and {facts['passes']} passes of the next" if facts["passes"] else ""
    source = (facts["source"] or {}).get("model", "")
    lines = [f"{facts['path']}: IR, phase {phase}{passes}, target {target}"]
    lines += [f"from {safe(source)}"] if source else []
    if facts["options"]:
        lines.append("options " + ", ".join(f"{safe(key)} {safe(value)}" for key, value in facts["options"].items()))
    constants = facts["resources"]
    lines += [f"{constants['tensors']} constants of {constants['bytes']:,} bytes, kept elsewhere", ""]
    lines += [f"input   {safe(_short(name))}: {safe(kind)}" for name, kind in facts["inputs"]]
    lines += [f"output  {safe(_short(name))}: {safe(kind)}" for name, kind in facts["outputs"]]
    return "\n".join(lines) + "\n\n" + table(("op", "count"), list(facts["ops"].items()))


# ---- Run files ------------------------------------------------------------------------------------------------------


def run_facts(path: Path) -> Facts:
    """What `wsec run --run-json` wrote, without the single cores. Raises InputError if it is something else."""
    try:
        if path.stat().st_size > _MAX_RUN:
            raise InputError(f"larger than {_MAX_RUN:,} bytes", code="bad-run", where=str(path))
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror}", code="cannot-read", where=str(path)) from None
    except (ValueError, RecursionError):
        raise _bad_run(path, "not JSON") from None
    if not isinstance(data, dict) or not isinstance(data.get("timing"), dict):
        raise _bad_run(path, "it has no timing")
    return {"kind": "run", "path": str(path), **{key: value for key, value in data.items() if key != "cores"}}


def run_text(facts: Facts, top: int) -> str:
    """The facts for people; `top` kernels, queues and links. Raises InputError if something is not as it should be."""
    from runtime.cycle.report_text import text

    path = Path(facts["path"])
    try:
        lines = [f"{path}: a run of {safe(facts['image'])}, {facts['tokens']:,} tokens, {facts['words']:,} words moved"]
        for name, output in facts["outputs"].items():
            lines.append(f"output  {safe(name)}: {safe(output['dtype'])} {safe(output['shape'])}")
        return "\n".join(lines) + "\n\n" + text(facts["timing"], top)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        raise _bad_run(path, "an entry is missing, or is not a number where one belongs") from None


def _bad_run(path: Path, reason: str) -> InputError:
    hint = "`wsec run IMAGE --engine cycle --run-json FILE` writes such files"
    return InputError(f"not a run file: {reason}", code="bad-run", where=str(path), hint=hint)
