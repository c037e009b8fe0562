"""Phases: stop anywhere, save, read, go on, and get the same image."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from compiler.driver import Options, build, lower
from compiler.ir.core import Op
from compiler.ir.parser import parse_module
from compiler.ir.passes import Pass
from compiler.ir.printer import print_module
from compiler.pipelines import PHASE_NAMES, PHASES, after
from compiler.resources import ResourceStore
from frontends.onnx.import_graph import import_model
from runtime import target as targets
from runtime.errors import InfeasibleError, InputError, UsageError
from runtime.imagefile import write_image
from tests.random_gpt import Shape, random_gpt

ROOT = Path(__file__).parents[2]
SHAPE = Shape(layers=1, heads=2, head_dim=4, hidden=12, vocab=19, positions=8)
# Everything but the default, so that a resumed run that forgets one is noticed.
OPTIONS = Options("mini-32x32", precision="fp16", max_seq=5, slots=2, max_cores=300, deterministic_limit=0)


def image_bytes(module: Op, resources: ResourceStore, folder: Path, options: Options = OPTIONS) -> bytes:
    target = lower(module, resources, options)
    path = folder / "image.wse"
    write_image(build(module, resources, target, {"tool": "test"}), path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return image_bytes(*random_gpt(SHAPE, 3), tmp_path_factory.mktemp("straight"))


@pytest.mark.parametrize("phase", after("fuse"))
def test_stopping_and_resuming_gives_the_same_bytes(phase: str, straight: bytes, tmp_path: Path) -> None:
    module, resources = random_gpt(SHAPE, 3)
    lower(module, resources, OPTIONS, to=phase)
    assert module.attrs["phase"] == phase
    text = print_module(module)
    resumed = parse_module(text)
    resources.resolve(resumed)
    assert print_module(resumed) == text
    assert image_bytes(resumed, resources, tmp_path) == straight


def test_the_target_is_kept_once_shapes_depend_on_it(straight: bytes, tmp_path: Path) -> None:
    module, resources = random_gpt(SHAPE, 3)
    lower(module, resources, OPTIONS, to="size")
    unnamed, elsewhere = (dataclasses.replace(OPTIONS, target=name) for name in ("", "cs2"))
    assert image_bytes(parse_module(print_module(module)), resources, tmp_path, unnamed) == straight
    with pytest.raises(UsageError, match="sized for 'mini-32x32', not 'cs2'"):
        lower(module, resources, elsewhere)


def test_a_module_on_its_way_to_a_target_may_change_it() -> None:
    module, resources = random_gpt(SHAPE, 3)
    unnamed = dataclasses.replace(OPTIONS, target="")
    assert lower(module, resources, unnamed, to="flow").name == "cs2"
    assert lower(module, resources, OPTIONS, to="flow").name == OPTIONS.target == "mini-32x32"
    assert lower(parse_module(print_module(module)), resources, unnamed, to="flow").name == "mini-32x32"
    module.attrs["target"] = "mine"
    with pytest.raises(UsageError, match="is for 'mine'"):
        lower(module, resources, unnamed, to="flow")


def test_a_module_on_its_way_keeps_its_dead_cores(tmp_path: Path) -> None:
    dead = tmp_path / "dead.txt"
    dead.write_text("5 5 2 1\n")
    module, resources = random_gpt(SHAPE, 3)
    lower(module, resources, dataclasses.replace(OPTIONS, defects=str(dead)), to="flow")
    for name in ("", OPTIONS.target):
        resumed = parse_module(print_module(module))
        target = lower(resumed, resources, dataclasses.replace(OPTIONS, target=name), to="flow")
        assert target.defects == ((5, 5, 2, 1),)
    assert lower(resumed, resources, dataclasses.replace(OPTIONS, target="cs2"), to="flow").defects == ()
    assert "defects" not in resumed.attrs


def test_graph_phases_resume_too(tiny_gpt: Path) -> None:
    texts = []
    for stops in ((), ("import", "canonical", "fuse")):
        module, resources = import_model(tiny_gpt)
        for phase in stops:
            lower(module, resources, OPTIONS, to=phase)
            assert module.attrs["phase"] == phase
            module = parse_module(print_module(module))
        lower(module, resources, OPTIONS, to="size")
        texts.append(print_module(module))
    assert texts[0] == texts[1]


def test_resuming_after_every_single_pass(tiny_gpt: Path) -> None:
    """Also inside a phase: the module knows which of its passes are behind it."""
    dumps: list[str] = []
    module, resources = import_model(tiny_gpt)
    lower(module, resources, OPTIONS, to="place", hooks=[lambda _i, _s, m, _t: dumps.append(print_module(m))])
    for text in dumps[:-1]:
        resumed = parse_module(text)
        lower(resumed, resources, OPTIONS, to="place")
        assert print_module(resumed) == dumps[-1]


def test_a_target_of_ones_own_is_named_again(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(targets.TARGET_DIR.joinpath("mini-32x32.toml").read_text().replace("mini-32x32", "mine"))
    own = dataclasses.replace(OPTIONS, target=str(path))
    module, resources = random_gpt(SHAPE, 3)
    assert lower(module, resources, own, to="size").name == module.attrs["target"] == "mine"
    with pytest.raises(UsageError, match="sized for 'mine'"):
        lower(module, resources, OPTIONS)
    assert lower(module, resources, own).name == "mine"


def test_hooks_see_every_pass_and_its_phase() -> None:
    seen: list[tuple[int, str, object]] = []

    def hook(index: int, step: Pass, module: Op, _seconds: float) -> None:
        seen.append((index, step.name, module.attrs["phase"]))

    module, resources = random_gpt(SHAPE, 3)
    lower(module, resources, OPTIONS, to="size", hooks=[hook])
    flow = [(0, "lower-to-flow", "fuse"), (1, "insert-forks", "fuse"), (2, "fold", "flow")]
    assert seen == [*flow, (3, "size", "size")]


def test_to_the_phase_it_is_in_does_nothing() -> None:
    module, resources = random_gpt(SHAPE, 3)
    lower(module, resources, OPTIONS, to="flow")
    text = print_module(module)
    lower(module, resources, OPTIONS, to="flow")
    assert print_module(module) == text


@pytest.mark.parametrize(("phase", "to"), [("fuse", "wafer"), ("fuse", "import"), ("size", "flow"), ("core", "place")])
def test_phases_that_do_not_exist_or_lie_behind(phase: str, to: str) -> None:
    module, resources = random_gpt(SHAPE, 3)
    module.attrs["phase"] = phase
    with pytest.raises(UsageError) as caught:
        lower(module, resources, OPTIONS, to=to)
    assert (caught.value.code, caught.value.exit_code) == ("bad-phase", 2)
    assert to in caught.value.message and all(name in caught.value.hint for name in PHASE_NAMES)


def test_a_module_that_says_it_is_in_no_known_phase() -> None:
    module, resources = random_gpt(SHAPE, 3)
    module.attrs["phase"] = "wafer"
    with pytest.raises(UsageError, match="says it is in phase 'wafer'"):
        lower(module, resources, OPTIONS)


def test_options_reach_their_passes() -> None:
    module, resources = random_gpt(SHAPE, 3)
    with pytest.raises(InfeasibleError, match="the limit is 3"):
        lower(module, resources, Options("mini-32x32", max_cores=3))
    module, resources = random_gpt(SHAPE, 3)
    with pytest.raises(InputError, match="--max-seq 8"):
        lower(module, resources, Options("mini-32x32", max_seq=9))


def test_pipelines_are_complete() -> None:
    assert after("import") == list(PHASES) == list(PHASE_NAMES[1:])
    with pytest.raises(KeyError):
        after("wafer")


SCRIPT = """
import hashlib, sys
from pathlib import Path
from tests.compiler.test_driver import SHAPE, Options, image_bytes, random_gpt
options = Options("mini-32x32", deterministic_limit=0.2)
print(hashlib.sha256(image_bytes(*random_gpt(SHAPE, 3), Path(sys.argv[1]), options)).hexdigest())
"""


def test_two_processes_make_the_same_bytes(tmp_path: Path) -> None:
    """With other hash seeds, so that no order of a set or of addresses leaks into the image."""
    digests = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        digests.add(done.stdout)
    assert len(digests) == 1
