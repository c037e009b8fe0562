"""Who may import whom: the folders depend on one another in one direction only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = ("compiler", "frontends", "runtime", "wsec")
# What `compiler` may know of the machine: its description, and never what executes it. Two are about files.
MACHINE_DESCRIPTION = {
    "target",
    "defects",
    "isa",
    "image",
    "geometry",
    "stream",
    "timing",
    "errors",
    "digest",
    "extents",
}
# What a front end may know of the compiler: the languages it writes (the IR, and the placement problem), and no search.
COMPILER_FOR_FRONTENDS = (
    "compiler.ir",
    "compiler.dialects",
    "compiler.resources",
    "compiler.dims",
    "compiler.place.problem",
)


def imports(path: Path) -> Iterator[str]:
    """Modules of ours that a file imports, wherever in the file; `from a import b` counts as a.b."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] in OURS)


def allowed(path: Path, name: str) -> bool:
    folder, top = path.parts[0], name.split(".")[0]
    if path.parts[:2] == ("frontends", "cli"):
        return top != "wsec"
    if folder == "runtime":
        return top == "runtime"
    if folder == "compiler":
        return top == "compiler" or (top == "runtime" and name.split(".")[1] in MACHINE_DESCRIPTION)
    if top == "frontends":
        return not name.startswith("frontends.cli")
    return name.startswith(("runtime.errors.", *(f"{prefix}." for prefix in COMPILER_FOR_FRONTENDS)))


def sources() -> list[Path]:
    return sorted(path.relative_to(ROOT) for folder in OURS[:3] for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("folder", OURS[:3])
def test_imports_run_downhill(folder: str) -> None:
    files = [path for path in sources() if path.parts[0] == folder]
    assert len(files) > 5
    wrong = [f"{path}: {name}" for path in files for name in imports(ROOT / path) if not allowed(path, name)]
    assert not wrong


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("runtime/machine.py", "compiler.driver.lower"),
        ("compiler/driver.py", "runtime.machine.Machine"),
        ("compiler/driver.py", "frontends.onnx.load.load_model"),
        ("frontends/onnx/load.py", "runtime.image.Image"),
        ("frontends/onnx/load.py", "compiler.driver.lower"),
        ("frontends/ispd2020/problem.py", "compiler.place.placer.place"),
        ("frontends/hf/export.py", "frontends.cli.main.main"),
    ],
)
def test_the_rule_refuses(path: str, name: str) -> None:
    assert not allowed(Path(path), name)


def test_no_import_circles_between_modules() -> None:
    """Within `runtime`, `compiler` and `frontends` too, at module level (imports in functions and for types aside)."""
    graph = {str(path.with_suffix("")).replace("/", "."): path for path in sources()}
    edges = {name: set(_module_level(ROOT / path, graph)) for name, path in graph.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"circle: {' -> '.join((*trail, name))}"
        if name in done:
            return
        for target in sorted(edges[name]):
            visit(target, (*trail, name))
        done.add(name)

    for name in sorted(edges):
        visit(name, ())


def _module_level(path: Path, graph: dict[str, Path]) -> Iterator[str]:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in graph)
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (
                name if name in graph else str(node.module) for name in names if name in graph or node.module in graph
            )
