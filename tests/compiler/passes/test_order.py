"""Passes that people run on a module that is not ready for them: bad input, and never a fault of the compiler."""

from __future__ import annotations

import pytest

import compiler.pipelines  # noqa: F401 - registers the passes
from compiler.ir.core import Op
from compiler.ir.passes import PassContext, PassManager, parse_pipeline
from compiler.resources import ResourceStore
from runtime import target as targets
from runtime.errors import InputError
from tests.random_gpt import Shape, random_gpt

ORDER = ("lower-to-flow", "insert-forks", "size", "place{deterministic-limit=0.1}", "route", "predict", "codegen")
SHAPE = Shape(layers=1, heads=2, head_dim=4, hidden=6, vocab=13, positions=6)


def run(module: Op, resources: ResourceStore, *passes: str) -> None:
    context = PassContext(resources, targets.load("mini-32x32"))
    PassManager(parse_pipeline(",".join(passes))).run(module, context)


@pytest.mark.parametrize(
    ("behind", "step", "first"),
    [
        *((0, step, "lower-to-flow") for step in ("size", "place", "route", "predict", "codegen")),
        *((2, step, "size") for step in ("place", "route", "predict", "codegen")),
        *((3, step, "place") for step in ("route", "codegen")),
        (4, "codegen", "route"),
        (7, "predict", "lower-to-flow"),
    ],
)
def test_what_has_to_run_first_is_named(behind: int, step: str, first: str) -> None:
    module, resources = random_gpt(SHAPE, 2)
    run(module, resources, *ORDER[:behind])
    with pytest.raises(InputError) as error:
        run(module, resources, step)
    assert error.value.code == "pass-order"
    assert f"run the pass {first} first" in error.value.hint


def test_forks_are_made_once() -> None:
    module, resources = random_gpt(SHAPE, 2)
    run(module, resources, *ORDER[:2])
    with pytest.raises(InputError, match="already"):
        run(module, resources, "insert-forks")


def test_a_report_without_an_interval() -> None:
    module, resources = random_gpt(SHAPE, 2)
    run(module, resources, *ORDER[:4])
    del module.attrs["report"]
    with pytest.raises(InputError, match="interval"):
        run(module, resources, "route")
