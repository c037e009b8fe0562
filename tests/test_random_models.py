"""Random GPT shapes through the whole compiler and the machine, against the graph's own meaning in numpy.

Awkward on purpose: prime sizes, one head, heads of one element, ragged blocks, more lanes than the host has channels.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from random_gpt import Shape, random_gpt

from compiler.driver import Options, build, lower
from compiler.graph_interpreter import run_graph
from runtime.session import load
from runtime.validate import validate

TOLERANCE = {"fp32": 2e-5, "fp16": 5e-3}  # as `wsec check`

SHAPES = st.builds(
    Shape,
    layers=st.integers(1, 2),
    heads=st.integers(1, 6),
    head_dim=st.sampled_from([1, 2, 3, 5, 8, 13, 20]),
    hidden=st.integers(1, 200),
    vocab=st.integers(2, 300),
    positions=st.integers(1, 40),
    activation=st.sampled_from(["gelu_erf", "gelu_tanh", "relu"]),
    tied=st.booleans(),
)
OPTIONS = st.builds(
    Options,
    target=st.sampled_from(["mini-32x32", "mini-64x64"]),
    precision=st.sampled_from(["fp32", "fp16"]),
    max_cores=st.sampled_from([0, 400]),
    deterministic_limit=st.just(0.5),
)


def check(shape: Shape, options: Options, seed: int) -> None:
    # Normalising a handful of features can amplify the rounding of operands to fp16 without bound.
    assume(options.precision == "fp32" or shape.width >= 16)
    module, resources = random_gpt(shape, seed)
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, shape.vocab, (rng.integers(1, 4), rng.integers(1, shape.positions + 1)))
    wanted = run_graph(module, resources, {"ids": ids})["logits"]
    target = lower(module, resources, options)
    image = build(module, resources, target, {})
    report = validate(image)
    assert report.ok, report.text()
    got = load(image, threads=1 + seed % 2).run(ids=ids)["logits"]
    timed = load(image, engine="cycle").run(ids=ids)["logits"]
    assert np.array_equal(timed.view(np.int32), got.view(np.int32))
    assert np.abs(got - wanted).max() <= TOLERANCE[options.precision] * np.abs(wanted).max()


@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(shape=SHAPES, options=OPTIONS, seed=st.integers(0, 1000))
def test_random_gpts_compute_what_their_graph_says(shape: Shape, options: Options, seed: int) -> None:
    check(shape, options, seed)


def test_threads_and_repetition_change_no_bit() -> None:
    """Threads race for real: rings between partitions are read while they are written."""
    module, resources = random_gpt(Shape(2, 4, 8, 64, 97, 32), seed=5)
    target = lower(module, resources, Options("mini-32x32", deterministic_limit=0.0))
    image = build(module, resources, target, {})
    ids = np.random.default_rng(5).integers(0, 97, (3, 32))
    wanted = load(image, threads=1).run(ids=ids)["logits"]
    for threads in (2, 3):
        session = load(image, threads=threads)
        for _ in range(5):
            assert np.array_equal(session.run(ids=ids)["logits"], wanted)


@pytest.mark.slow
@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(shape=SHAPES, options=OPTIONS, seed=st.integers(0, 1000))
def test_many_random_gpts(shape: Shape, options: Options, seed: int) -> None:
    check(shape, options, seed)
