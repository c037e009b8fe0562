"""Verdicts: what is worse fails, what is better passes and is told, and nothing slips between."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as xml

import numpy as np
import pytest

from frontends.cli.golden import compare, junit, render, store
from frontends.cli.golden.baseline import HISTORY, Baseline, Recorded, reason_text
from frontends.cli.golden.compare import BETTER, FAILED, GONE, SAME, TOO_GOOD, UNRECORDED, WITHIN, WORSE
from frontends.cli.golden.measure import Measured
from frontends.cli.golden.policy import RULES, Metric, Tolerance, percent
from runtime.errors import InputError

ERROR = Metric("output", "y", "error")
ARGMAX = Metric("output", "y", "argmax")
NUMBERS = 17  # that are held of the perceptron
CORES = Metric("cost", "", "cores")
SECTIONS = {"cost", "solver", "measured", "output", "layer"}


@pytest.fixture
def baseline(recorded: store.Result) -> Baseline:
    return recorded.baseline


@pytest.fixture
def measured(recorded: store.Result) -> Measured:
    return recorded.measured


def moved(measured: Measured, values: Mapping[Metric, float]) -> Measured:
    """The same, as if other values had been measured."""
    return dataclasses.replace(measured, values={**measured.values, **values})


def allowing(baseline: Baseline, metric: Metric, **fields: Any) -> Baseline:
    """The same with other fields of one recorded value."""
    changed = dataclasses.replace(baseline.metrics[metric], **fields)
    return dataclasses.replace(baseline, metrics={**baseline.metrics, metric: changed})


def row_of(baseline: Baseline, measured: Measured, metric: Metric) -> compare.Row:
    return next(row for row in compare.compare(baseline, measured).rows if row.metric == metric)


def verdict(baseline: Baseline, measured: Measured, metric: Metric, new: float) -> str:
    """Of one metric, if `new` had been measured; all others stay as recorded."""
    comparison = compare.compare(baseline, moved(measured, {metric: new}))
    found = {row.metric: row.verdict for row in comparison.rows}
    assert {found[other] for other in found if other != metric} == {SAME}
    assert comparison.passed == (found[metric] not in FAILED)
    return found[metric]


def test_every_section_is_measured(measured: Measured) -> None:
    assert {metric.section for metric in measured.values} == SECTIONS
    known = {key for key in RULES if key[0] in SECTIONS}
    assert {(metric.section, metric.name) for metric in measured.values} == known
    assert all(math.isfinite(value) for value in measured.values.values())


def test_what_was_recorded_is_the_same(baseline: Baseline, measured: Measured) -> None:
    comparison = compare.compare(baseline, measured)
    assert comparison.passed
    assert not comparison.notes and not comparison.improved
    assert {row.verdict for row in comparison.rows} == {SAME}


def test_a_move_just_beyond_the_tolerance_fails_for_every_metric(baseline: Baseline, measured: Measured) -> None:
    """The planted change is the smallest that is too much; one step less passes."""
    for metric, recorded in baseline.metrics.items():
        rule = RULES[metric.section, metric.name]
        row = row_of(baseline, measured, metric)
        away = -1 if rule.higher_is_better else 1
        edge = row.low if rule.higher_is_better else row.high
        assert edge is not None
        if not recorded.worse.of(recorded.value):  # a value without rounding
            inside, outside = recorded.value, math.nextafter(recorded.value, math.inf)
        elif rule.whole:
            assert abs(edge - recorded.value) <= recorded.worse.of(recorded.value) < abs(edge - recorded.value) + 1
            inside, outside = edge, edge + away
        else:
            assert edge == pytest.approx(recorded.value + away * recorded.worse.of(recorded.value), rel=1e-3)
            inside, outside = math.nextafter(edge, recorded.value), edge
        assert verdict(baseline, measured, metric, outside) == WORSE, metric
        assert verdict(baseline, measured, metric, inside) in (WITHIN, SAME), metric


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_fails_for_every_metric(baseline: Baseline, measured: Measured, value: float) -> None:
    for metric in baseline.metrics:
        assert verdict(baseline, measured, metric, value) == WORSE


def test_better_passes_and_is_told(baseline: Baseline, measured: Measured, recorded: store.Result) -> None:
    for metric, was in baseline.metrics.items():
        if metric == ARGMAX or not was.value:  # it cannot be better
            continue
        better = was.value - 1 if RULES[metric.section, metric.name].whole else was.value / 2
        held, now = baseline, measured
        if metric.name == "error":  # far enough above noise for half of it to be news
            held, now = allowing(baseline, metric, value=1e-5), moved(measured, {metric: 1e-5})
            better = 5e-6
        assert verdict(held, now, metric, better) == BETTER
        result = dataclasses.replace(
            recorded, comparison=compare.compare(held, moved(now, {metric: better})), written=False
        )
        assert [row.metric for row in result.comparison.improved] == [metric]
        assert "to hold it: wsec golden update" in render.text(result)
        assert "pass" in render.headline(result)
    assert verdict(allowing(baseline, ARGMAX, value=0.9), measured, ARGMAX, 1.0) == BETTER


def test_a_little_less_noise_is_no_news(baseline: Baseline, measured: Measured) -> None:
    for value, new in ((baseline.metrics[ERROR].value, 0.0), (1e-5, 6e-6)):
        held = allowing(baseline, ERROR, value=value)
        assert verdict(held, moved(measured, {ERROR: value}), ERROR, new) == WITHIN


def test_an_error_of_noise_may_move_by_noise(baseline: Baseline) -> None:
    """On another processor onnxruntime adds up in another order: a kernel's 1e-7 may be 3e-7 there."""
    for metric, recorded in baseline.metrics.items():
        if metric.name == "error":
            assert recorded.value < 1e-6  # fp32
            assert recorded.worse == Tolerance(1e-6)
    rule = RULES["output", "error"]
    assert rule.default(5e-4) == percent(100)
    assert rule.default(1e-6) == percent(100)


def test_a_two_sided_tolerance_wants_improvements_accepted(baseline: Baseline, measured: Measured) -> None:
    held = allowing(baseline, CORES, better=percent(10))
    cores = baseline.metrics[CORES].value
    assert verdict(held, measured, CORES, math.ceil(cores * 0.9)) == BETTER
    assert verdict(held, measured, CORES, math.ceil(cores * 0.9) - 1) == TOO_GOOD


def test_an_error_is_never_allowed_beyond_the_check(baseline: Baseline, measured: Measured) -> None:
    """Whatever the file says: here four times an error that is two fifths of the tolerance."""
    held = allowing(baseline, ERROR, value=8e-6, worse=percent(400))
    assert row_of(held, measured, ERROR).high == 2e-5
    assert verdict(held, measured, ERROR, 1.99e-5) == WITHIN
    assert verdict(held, measured, ERROR, 2.001e-5) == WORSE


def test_what_the_check_refuses_fails_even_if_rounding_hides_it(baseline: Baseline, measured: Measured) -> None:
    outside = dataclasses.replace(measured, outside=frozenset({ERROR}))
    assert not compare.compare(baseline, outside).passed


def test_nothing_is_dropped_in_silence(baseline: Baseline, measured: Measured) -> None:
    for metric in baseline.metrics:
        fewer = {other: value for other, value in measured.values.items() if other != metric}
        assert row_of(baseline, dataclasses.replace(measured, values=fewer), metric).verdict == GONE
        less = {other: recorded for other, recorded in baseline.metrics.items() if other != metric}
        assert row_of(dataclasses.replace(baseline, metrics=less), measured, metric).verdict == UNRECORDED
        assert not compare.compare(dataclasses.replace(baseline, metrics=less), measured).passed


def test_what_else_changed_is_noted(baseline: Baseline, measured: Measured) -> None:
    other = dataclasses.replace(
        measured, model_sha256="ff", made_with={**measured.made_with, "ortools": "1"}, options={"target": "cs2"}
    )
    notes = "\n".join(compare.compare(baseline, other).notes)
    for words in ("weights or its graph", "ortools", "option target: mini-32x32 recorded, cs2 now"):
        assert words in notes


def test_models_together(baseline: Baseline, measured: Measured, recorded: store.Result) -> None:
    """Half in one and twice in another is the same on the whole; half and half is half."""
    cores = measured.values[CORES]
    half, twice = (
        dataclasses.replace(recorded, comparison=compare.compare(baseline, moved(measured, {CORES: value})))
        for value in (cores / 2, cores * 2)
    )
    means = compare.geomeans(result.comparison for result in (half, twice))
    assert means[CORES] == pytest.approx(1)
    assert all(not metric.of and mean == 1 for metric, mean in means.items() if metric != CORES)
    assert compare.geomeans([half.comparison, half.comparison])[CORES] == pytest.approx(0.5)
    assert "-50.00 %" in render.together([half, half])
    assert not render.together([half]) and not render.together([recorded, recorded])


# ---- Updates ------------------------------------------------------------------------------------------------------


def test_an_update_keeps_tolerances_and_tells_what_changed(baseline: Baseline, measured: Measured) -> None:
    held = allowing(baseline, CORES, worse=Tolerance(3), better=percent(50))
    new = compare.updated(held, moved(measured, {CORES: 500.0}), "more cores", "9.9")
    assert new.metrics[CORES] == Recorded(500, Tolerance(3), percent(50))
    assert new.history[0].reason == "more cores"
    assert new.history[0].changed == (f"cost.cores {baseline.metrics[CORES].value:g} -> 500",)
    assert new.history[1:] == baseline.history


def test_a_tolerance_nobody_edited_follows_the_value(baseline: Baseline, measured: Measured) -> None:
    large = moved(measured, {ERROR: 1e-5})
    assert compare.updated(baseline, large, "worse", "0").metrics[ERROR].worse == percent(100)
    edited = allowing(baseline, ERROR, worse=percent(50))
    assert compare.updated(edited, large, "worse", "0").metrics[ERROR].worse == percent(50)


def test_history_is_bounded(baseline: Baseline, measured: Measured) -> None:
    for number in range(HISTORY + 5):
        baseline = compare.updated(baseline, measured, f"reason {number}", "0")
    assert [change.reason for change in baseline.history] == [f"reason {HISTORY + 4 - i}" for i in range(HISTORY)]
    everything = compare.updated(
        baseline, moved(measured, {m: 1.0 for m in measured.values if m.name not in ("error", "share")}), "x", "0"
    )
    assert len(everything.history[0].changed) == compare.MOST_CHANGES
    assert everything.history[0].changed[-1].startswith("and ")


def test_an_update_does_not_carry_a_tolerance_beyond_the_policy(baseline: Baseline, measured: Measured) -> None:
    held = allowing(baseline, CORES, worse=Tolerance(90))
    with pytest.raises(InputError, match="policy"):
        compare.updated(held, moved(measured, {CORES: 100.0}), "fewer cores", "0")


@pytest.mark.parametrize("reason", ["", "  \n", "...", "x" * 401])
def test_a_reason_must_say_something(reason: str) -> None:
    with pytest.raises(InputError):
        reason_text(reason)


def test_a_reason_is_one_harmless_line() -> None:
    assert reason_text(" two\n lines\t\x1b[31m ") == "two lines \\x1b[31m"


# ---- What reports look like ---------------------------------------------------------------------------------------


@pytest.fixture
def failing(recorded: store.Result, baseline: Baseline, measured: Measured) -> store.Result:
    """More cores, fewer colours, an error that is not a number; and names that would do harm."""
    evil = 'y"]]><img src=x onerror=alert(1)>|`\x1b[31m&'
    values = {(m._replace(of=evil) if m.of == "y" else m): v for m, v in measured.values.items()}
    old = {(m._replace(of=evil) if m.of == "y" else m): r for m, r in baseline.metrics.items()}
    values |= {CORES: 10 * values[CORES], Metric("output", evil, "error"): math.inf}
    values[Metric("cost", "", "colours")] -= 1
    comparison = compare.compare(
        dataclasses.replace(baseline, metrics=old), dataclasses.replace(measured, values=values)
    )
    return dataclasses.replace(recorded, comparison=comparison)


def test_text_shows_what_moved(failing: store.Result) -> None:
    text = render.text(failing)
    lines = text.splitlines()
    assert f"FAIL: {NUMBERS} numbers, 2 outside, 1 better" in lines[0]
    assert any("cost.cores" in line and "+900.0 %" in line and "WORSE" in line for line in lines)
    assert "interval" not in text and "\x1b" not in text
    assert "interval" in render.text(failing, everything=True)


def test_junit_is_xml_with_a_case_per_number(failing: store.Result) -> None:
    root = xml.fromstring(junit.junit([failing], [("other.onnx", 'bad & "wrong" <\x1b>')]))
    suite, other = root.findall("testsuite")
    assert (suite.get("tests"), suite.get("failures"), other.get("errors")) == (str(NUMBERS), "2", "1")
    assert len(suite.findall("testcase")) == NUMBERS
    failures = {case.get("name"): case.find("failure") for case in suite.findall("testcase")}
    assert {name for name, failure in failures.items() if failure is not None} >= {"cost.cores"}
    assert "allowed" in str(failures["cost.cores"].get("message"))  # type: ignore[union-attr]


def test_markdown_is_a_table_and_nothing_else(failing: store.Result) -> None:
    text = render.markdown([failing], [("other.onnx", "bad | <b>")])
    assert "**WORSE**" in text and "<img" not in text and "<b>" not in text and "\x1b" not in text
    assert f"### {failing.model.name}" in text.replace("\\", "")  # not where a test keeps it
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + NUMBERS
    assert {line.replace("\\|", "").count("|") for line in rows} == {7}


def test_json_has_no_infinities(failing: store.Result) -> None:
    from frontends.cli.console import json_text

    data = render.to_json(failing)
    assert "Infinity" not in json_text(data)
    assert data["passed"] is False
    assert {metric["verdict"] for metric in data["metrics"]} == {"same", "worse", "better"}


# ---- From the machine on: planted errors --------------------------------------------------------------------------


def planted(monkeypatch: pytest.MonkeyPatch, plant: Any) -> None:
    """From now on, `plant(array)` happens to what the machine gives to the host."""
    from runtime.session import Session

    run = Session.run

    def wrapped(self: Session, **kwargs: Any) -> dict[str, np.ndarray[Any, Any]]:
        return {name: plant(array.copy()) for name, array in run(self, **kwargs).items()}

    monkeypatch.setattr(Session, "run", wrapped)


def check(recorded: store.Result) -> compare.Comparison:
    return store.check(recorded.model, recorded.path).comparison


def error_row(comparison: compare.Comparison) -> compare.Row:
    return next(row for row in comparison.rows if row.metric == ERROR)


def without_cycles(recorded: store.Result, folder: Path) -> store.Result:
    return store.update(
        recorded.model, folder / "p.golden.toml", "no cycles",
        options=recorded.baseline.options, run={"tokens": 6},
    )  # fmt: skip


def test_an_error_as_large_as_the_tolerance_fails(
    recorded: store.Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the machine errs most, it errs by the recorded tolerance more; half of that passes."""
    plain = without_cycles(recorded, tmp_path)
    was = plain.baseline.metrics[ERROR]

    def more(share: float) -> Any:
        def plant(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            wanted = reference_output(plain, array.shape)
            scale = np.abs(wanted).max()
            worst = np.unravel_index(np.abs(array - wanted).argmax(), array.shape)
            exact = float(wanted[worst])
            sign = math.copysign(1.0, float(array[worst]) - exact)
            array = array.astype(np.float64)
            array[worst] = exact + sign * (was.value + share * was.worse.of(was.value)) * scale
            return array

        return plant

    with monkeypatch.context() as patch:
        planted(patch, more(0.5))
        assert error_row(check(plain)).verdict == WITHIN
    with monkeypatch.context() as patch:
        planted(patch, more(1.0))
        assert error_row(check(plain)).verdict == WORSE
    assert error_row(check(plain)).verdict == SAME


def reference_output(result: store.Result, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """What onnxruntime gives for the inputs of a check."""
    from frontends.cli import toolchain
    from runtime.check import random_inputs, reference

    run = result.baseline.run
    image = toolchain.compile_model(result.model, _options(result))
    wanted, _ = reference(result.model, random_inputs(image.ports, tokens=run.tokens, seed=run.seed))
    assert wanted["y"].shape == shape
    return wanted["y"].astype(np.float64)


def _options(result: store.Result) -> Any:
    from compiler.driver import Options

    return Options(**result.baseline.options)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_element_that_is_not_finite_fails_and_cannot_be_accepted(
    recorded: store.Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    from runtime.errors import NumericsError

    plain = without_cycles(recorded, tmp_path)
    before = plain.path.read_bytes()

    def plant(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        array[2, 3] = value
        return array

    planted(monkeypatch, plant)
    assert error_row(check(plain)).verdict == WORSE
    with pytest.raises(NumericsError, match="nothing is written"):
        store.update(plain.model, plain.path, "it is so", options={}, run={})
    assert plain.path.read_bytes() == before


def test_wrong_numbers_on_the_cycle_machine_are_no_measurement(
    recorded: store.Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runtime.errors import NumericsError

    def plant(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if len(array) == 3:  # the cycle machine's tokens
            array[0, 0] += 1
        return array

    planted(monkeypatch, plant)
    with pytest.raises(NumericsError, match="cycle machine"):
        check(recorded)


def test_inputs_of_zeros_are_refused(recorded: store.Result, monkeypatch: pytest.MonkeyPatch) -> None:
    from frontends.cli import toolchain

    monkeypatch.setattr(
        toolchain, "random_inputs", lambda *_args, tokens, **_: {"x": np.zeros((tokens, 48), np.float32)}
    )
    with pytest.raises(InputError, match="all its values are zero") as caught:
        check(recorded)
    assert caught.value.code == "zero-inputs"


def test_an_error_that_the_output_hides_fails_in_its_layer(
    toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In fp16, one element of a bias off by a ten-thousandth: nothing for the output, far more than the kernel's
    own rounding."""
    from frontends.cli import toolchain
    from runtime.image import Image, Tensor

    model, path = toys / "block.onnx", tmp_path / "block.golden.toml"
    options = {"target": "mini-32x32", "precision": "fp16"}
    store.update(model, path, "fp16", options=options, run={"tokens": 4, "layers": True})
    assert store.check(model, path).comparison.passed
    compiled = toolchain.compile_model

    def off(*args: Any, **kwargs: Any) -> Image:
        image = compiled(*args, **kwargs)
        name = next(name for name, tensor in image.tensors.items() if tensor.data.size == 256)
        data = image.tensors[name].data.copy()
        data.reshape(-1)[200] += 1e-4
        return dataclasses.replace(image, tensors={**image.tensors, name: Tensor(data)})

    monkeypatch.setattr(toolchain, "compile_model", off)
    comparison = store.check(model, path).comparison
    rows = {str(row.metric): row for row in comparison.rows}
    assert not rows["output.y.error"].failed
    assert [name for name, row in rows.items() if row.failed] == ["layer.gelu.share"]
    assert "core (" in comparison.notes[0] and "got" in comparison.notes[0]
