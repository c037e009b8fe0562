"""The predicted interval of whole small models against the cycle machine, where kernels wait for one another."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.dialects import flow
from compiler.driver import Options, build, lower
from compiler.kernels.base import STREAM_OUT
from compiler.kernels.port import host_wait
from compiler.kernels.table import interval_of, kernel_of
from runtime import target as targets
from runtime.report import report
from runtime.session import load
from tests.random_gpt import Shape, random_gpt

# Many cores share a head and have few cache entries each, so that merging takes about as long as attending.
HEADS = Shape(layers=2, heads=2, head_dim=32, hidden=256, vocab=60, positions=48)
WIDE = Shape(layers=2, heads=4, head_dim=16, hidden=256, vocab=300, positions=48)
# The machine waits longer than predicted where rows of a product share lanes (ARCHITECTURE.md, closed forms).
LONGEST = 1.25


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
@pytest.mark.parametrize("shape", [HEADS, WIDE], ids=["heads", "wide"])
def test_a_small_model_is_about_as_fast_as_predicted(shape: Shape, precision: str) -> None:
    module, resources = random_gpt(shape, 7)
    target = lower(module, resources, Options("mini-64x64", precision=precision))
    image = build(module, resources, target, {})
    session = load(image, threads=1, engine="cycle")
    session.run(ids=np.random.default_rng(11).integers(0, shape.vocab, (1, shape.positions)))
    assert session.timing is not None and session.timing.per_token is not None
    assert 0.95 < session.timing.per_token / report(image)["summary"]["interval_cycles"] < LONGEST


def until_sent(words: int, room: int, words_per_cycle: float) -> float:
    """When a core that sends a word a cycle has got rid of them, if so many wait for a channel of this pace."""
    entered = left = 0.0
    leaving: list[float] = []
    for word in range(words):
        entered = max(entered + 1, leaving[word - room] if word >= room else 0.0)
        left = max(entered, left + 1 / words_per_cycle)
        leaving.append(left)
    return entered


def test_who_feeds_the_host_directly_waits_for_it() -> None:
    """A host channel takes a word in about four cycles; a core that sends it a block does little else meanwhile."""
    module, resources = random_gpt(Shape(layers=1, heads=1, head_dim=8, hidden=8, vocab=200, positions=4), 7)
    target = lower(module, resources, Options("mini-64x64"), to="size")
    room = target.output_depth[STREAM_OUT] + target.router_depth
    waits = 0
    for op in (op for op in module.body.ops if flow.is_kernel(op)):
        words = [1 + flow.stream(port.operands[0].type).block for port in flow.outputs_of(op)]
        wanted = max((until_sent(n, room, target.host_words_per_cycle) - n for n in words), default=0)
        wait = interval_of(op, target) - kernel_of(op).interval(target)
        assert abs(wait - wanted) <= 1 / target.host_words_per_cycle
        waits += wait > 50
    assert waits == 1


@pytest.mark.parametrize("block", [1, 3])
def test_a_short_block_waits_in_the_queue(block: int) -> None:
    assert host_wait(block, targets.load("cs2")) == 0
