"""What does not fit is told with what is short and why, and what is said to help does help."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from compiler.dialects import flow
from compiler.driver import Options, lower
from compiler.kernels.table import kernel_of
from compiler.size.explain import least_bytes
from runtime.errors import InfeasibleError, Lever
from runtime.target import TARGET_DIR
from tests.random_gpt import Shape, random_gpt

SHAPE = Shape(layers=1, heads=2, head_dim=16, hidden=256, vocab=2000, positions=1024)
MINI = Options("mini-32x32")


def refused(shape: Shape, options: Options) -> InfeasibleError:
    module, resources = random_gpt(shape, 3)
    with pytest.raises(InfeasibleError) as error:
        lower(module, resources, options, to="size")
    return error.value


def fits(shape: Shape, options: Options) -> bool:
    module, resources = random_gpt(shape, 3)
    try:
        lower(module, resources, options, to="size")
    except InfeasibleError:
        return False
    return True


def changed(options: Options, lever: Lever) -> Options:
    """The options as the lever's text sets them."""
    for flag, value in re.findall(r"--(\S+) (\S+)", lever.option):
        field = flag.replace("-", "_")
        options = dataclasses.replace(options, **{field: int(value) if value.isdigit() else value})
    return options


def fewest(shape: Shape) -> int:
    """Cores without which the model finds no sizes."""
    (short,) = [s for s in refused(shape, dataclasses.replace(MINI, max_cores=1)).shortages if s.resource == "cores"]
    return short.demand


@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_every_tried_lever_helps(share: float) -> None:
    options = dataclasses.replace(MINI, max_cores=int(share * fewest(SHAPE)))
    error = refused(SHAPE, options)
    assert error.levers and all(lever.tried for lever in error.levers)
    flags = {lever.option.split()[0] for lever in error.levers}
    assert "--max-cores" in flags
    assert share < 0.9 or "--precision" in flags
    for lever in error.levers:
        assert fits(SHAPE, changed(options, lever)), lever


def test_the_longest_sequence_is_the_longest() -> None:
    """Caches of four megabytes on the cores that a tenth of them needs."""
    shape = Shape(layers=2, heads=4, head_dim=32, hidden=64, vocab=50, positions=4000)
    options = dataclasses.replace(MINI, max_cores=fewest(dataclasses.replace(shape, positions=400)))
    (lever,) = [lever for lever in refused(shape, options).levers if lever.option.startswith("--max-seq")]
    longest = int(lever.option.split()[1])
    assert 400 <= longest < 4000
    assert fits(shape, dataclasses.replace(options, max_seq=longest))
    assert not fits(shape, dataclasses.replace(options, max_seq=longest + 1))


def test_a_larger_target_is_found(tmp_path: Path) -> None:
    tiny = (TARGET_DIR / "mini-32x32.toml").read_text().replace("memory_bytes = 49152", "memory_bytes = 1500")
    (tmp_path / "tiny.toml").write_text(tiny)
    error = refused(SHAPE, Options(str(tmp_path / "tiny.toml")))
    assert "--target cs2" in [lever.option for lever in error.levers]
    assert fits(SHAPE, Options("cs2"))


def test_too_many_bytes_are_proved_by_counting() -> None:
    error = refused(SHAPE, dataclasses.replace(MINI, max_cores=10))
    (short,) = [short for short in error.shortages if short.resource == "bytes"]
    assert short.supply == 10 * 49152 < short.demand
    machines = re.search(r"as much as ([\d.]+) of these machines", short.proof)
    assert machines is not None and float(machines[1]) == pytest.approx(short.demand / (1024 * 49152), abs=0.006)
    assert [need for _, need in short.demands] == sorted((need for _, need in short.demands), reverse=True)
    assert sum(need for _, need in short.demands) <= short.demand
    assert {"lookup0", "attention0"} <= {name for name, _ in short.demands}


def test_least_bytes_are_not_more_than_a_compilation_takes() -> None:
    for precision in ("fp32", "fp16"):
        module, resources = random_gpt(SHAPE, 3)
        lower(module, resources, Options("cs2", precision=precision, max_cores=2000), to="size")
        for op in module.body.ops:
            if flow.is_kernel(op) and least_bytes(op):
                kernel = kernel_of(op)
                roles = [role for row in kernel.roles() for role in row]
                regions = [r for role in roles for r in kernel.program(role).regions]
                held = sum(region.bytes for region in regions if region.owner in ("weights", "cache"))
                assert 0 < least_bytes(op) <= held, flow.name_of(op)


def test_levers_need_the_graph() -> None:
    """A module whose kernels are decided already says what is short, and no more."""
    module, resources = random_gpt(SHAPE, 3)
    lower(module, resources, MINI, to="flow")
    with pytest.raises(InfeasibleError) as error:
        lower(module, resources, dataclasses.replace(MINI, max_cores=10), to="size")
    assert error.value.shortages and not error.value.levers
