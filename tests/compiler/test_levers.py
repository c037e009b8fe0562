"""What does not fit is told with what is short and why, and what is said to help does help."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from compiler.dialects import flow
from compiler.driver import Options, lower
from compiler.kernels.table import kernel_of
from compiler.size.explain import least_bytes, least_cores
from runtime import target as targets
from runtime.errors import InfeasibleError, Lever, Shortage
from runtime.target import TARGET_DIR
from tests.random_gpt import Shape, random_gpt

SHAPE = Shape(layers=1, heads=2, head_dim=16, hidden=256, vocab=2000, positions=1024)
MINI = Options("mini-32x32")
TARGET = targets.load("mini-32x32")


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
    return shortage(refused(shape, dataclasses.replace(MINI, max_cores=1)), "cores of the smallest sizes").demand


def shortage(error: InfeasibleError, resource: str) -> Shortage:
    """The only one of this resource."""
    (short,) = [short for short in error.shortages if short.resource == resource]
    return short


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


def test_sharing_kernels_is_said_to_help_where_it_does() -> None:
    """Twelve layers of which each wants few cores, but a kernel no less than one: half of them have room."""
    shape = Shape(layers=12, heads=2, head_dim=2, hidden=4, vocab=5, positions=6)
    options = dataclasses.replace(MINI, max_cores=fewest(dataclasses.replace(shape, layers=5)))
    (lever,) = [lever for lever in refused(shape, options).levers if lever.option.startswith("--fold")]
    assert fits(shape, changed(options, lever))
    smaller = [n for n in range(2, int(lever.option.split()[1])) if shape.layers % n == 0]
    assert not any(fits(shape, dataclasses.replace(options, fold=n)) for n in smaller)
    heavy = dataclasses.replace(MINI, max_cores=int(0.3 * fewest(SHAPE)))
    assert not any(lever.option.startswith("--fold") for lever in refused(SHAPE, heavy).levers)


def test_too_many_bytes_are_proved_by_counting() -> None:
    error = refused(SHAPE, dataclasses.replace(MINI, max_cores=10))
    (short,) = [short for short in error.shortages if short.resource == "bytes"]
    assert short.supply == 10 * 49152 < short.demand
    assert "machines" not in short.proof  # the whole of one would do
    assert [need for _, need in short.demands] == sorted((need for _, need in short.demands), reverse=True)
    assert sum(need for _, need in short.demands) <= short.demand
    assert {"lookup0", "attention0"} <= {name for name, _ in short.demands}


def test_too_many_bytes_for_the_machine_are_told_in_machines() -> None:
    (short, *_) = refused(dataclasses.replace(SHAPE, vocab=600_000), MINI).shortages
    machines = re.search(r"([\d.]+) of these machines would hold them", short.proof)
    assert short.resource == "bytes" and short.supply == 1024 * 49152
    assert machines is not None and float(machines[1]) == pytest.approx(short.demand / short.supply, abs=0.006)
    assert float(machines[1]) > 1


def test_too_few_cores_are_proved_where_weights_and_caches_alone_want_more() -> None:
    """Just below the sum of all kernels' least areas it is proved; from there on up to the sizes found, searched."""
    short = shortage(refused(SHAPE, dataclasses.replace(MINI, max_cores=1)), "cores")
    assert "no two kernels share a core" in short.proof and "search" not in short.proof
    by_kernel = dict(short.demands)
    assert by_kernel["attention0"] == 2 * (1 + 3)  # per head 2 * 16 * 1024 * 4 bytes on cores of 48 KiB, and a feeder
    assert short.demand < fewest(SHAPE)
    proved = refused(SHAPE, dataclasses.replace(MINI, max_cores=short.demand - 1))
    assert f"the model needs at least {short.demand} cores" in proved.message
    searched = refused(SHAPE, dataclasses.replace(MINI, max_cores=short.demand))
    assert {entry.resource for entry in searched.shortages} == {"cores of the smallest sizes"}
    assert "found by a search, not proved" in searched.shortages[0].proof and "at least" not in searched.message


def test_a_kernel_larger_than_the_wafer_is_proved() -> None:
    """Caches of 115 MB on a wafer of 50 MB; what other kernels only found no shape for is not claimed with it."""
    error = refused(Shape(layers=1, heads=3, head_dim=8, hidden=50, vocab=61, positions=600_000), MINI)
    short = {entry.where: entry for entry in error.shortages if entry.resource == "cores in one rectangle"}
    assert short["attention0"].demand > short["attention0"].supply == 1024
    assert "largest rectangle of live cores" in short["attention0"].proof
    assert error.message.startswith("no shape of ") and "attention0" in error.message.split(" fits ")[0]
    for name, entry in short.items():
        assert (name in error.message.split(" fits ")[0]) == (entry.demand > entry.supply)


def test_a_kernel_with_more_lanes_than_the_wafer_is_wide_is_a_search_result() -> None:
    error = refused(Shape(layers=1, heads=40, head_dim=1, hidden=8, vocab=9, positions=4), MINI)
    assert error.message.startswith("a search found that no shape of matvec1")
    (short,) = [entry for entry in error.shortages if entry.where == "matvec1"]
    assert short.demand <= short.supply and short.proof.startswith("found by a search, not proved")


def test_least_cores_are_not_more_than_a_compilation_takes() -> None:
    for precision in ("fp32", "fp16"):
        for cores in (0, fewest(SHAPE)):
            module, resources = random_gpt(SHAPE, 3)
            lower(module, resources, Options("mini-32x32", precision=precision, max_cores=cores), to="size")
            for op in module.body.ops:
                if flow.is_kernel(op) and op.name not in ("flow.input", "flow.output"):
                    kernel = kernel_of(op)
                    assert 0 < least_cores(op, TARGET) <= kernel.rows * kernel.cols, flow.name_of(op)


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
