"""Baseline files: what is written is read again, and what a stranger made up is refused."""

from __future__ import annotations

import dataclasses
import math
import random
import re
from pathlib import Path

import pytest

from frontends.cli.golden.baseline import HISTORY, Baseline, Change, Recorded, Run
from frontends.cli.golden.policy import RULES, Metric, Tolerance, percent
from frontends.cli.golden.reading import read_baseline
from frontends.cli.golden.writing import ordered, to_text, write_baseline
from runtime.errors import InputError

OUTPUT = """\
[output.logits]
error = { value = 0.0005, worse = "100 %" }
argmax = { value = 1, worse = 0.05 }
"""
TEXT = f"""\
schema = 1
model = "m.onnx"
model_sha256 = "00"
reason = "because"

[made_with]
wsec = "0.1.0"

[options]
target = "cs2"
precision = "fp16"
max_seq = 32

[run]
tokens = 8

[cost]
cores = {{ value = 1000, worse = "2 %" }}
colours = {{ value = 9, worse = 1, better = 3 }}

{OUTPUT}
[[history]]
reason = "because"
wsec = "0.1.0"
changed = ["cost.cores 990 -> 1000"]
"""


def read(folder: Path, text: str | bytes) -> Baseline:
    path = folder / "m.golden.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_baseline(path)


def test_a_file_says_what_it_says(tmp_path: Path) -> None:
    baseline = read(tmp_path, TEXT)
    assert baseline.options == {"target": "cs2", "precision": "fp16", "max_seq": 32}
    assert baseline.run == Run(tokens=8)
    assert baseline.metrics[Metric("cost", "", "cores")] == Recorded(1000, percent(2))
    assert baseline.metrics[Metric("cost", "", "colours")] == Recorded(9, Tolerance(1), Tolerance(3))
    assert baseline.metrics[Metric("output", "logits", "error")] == Recorded(5e-4, percent(100))
    assert baseline.history == (Change("because", "0.1.0", ("cost.cores 990 -> 1000",)),)


def made_up(seed: int) -> Baseline:
    """A baseline with all metrics there are, and names that need quotes."""
    lots = random.Random(seed)
    names = [
        "logits",
        "a.b",
        'with "quotes"',
        "back\\slash",
        "\u00fc \u6f22",
        "ends with space ",
        "[x]#",
        "\\x00 shown",
    ]
    metrics = {}
    for (section, name), rule in RULES.items():
        for of in lots.sample(names, 3) if section in ("output", "layer") else [""]:
            value = float(lots.randrange(1, 10**6)) if rule.whole else lots.choice([0.5, 1e-3, 3.25e-4])
            better = lots.choice([None, percent(50), Tolerance(0.25)])
            metrics[Metric(section, of, name)] = Recorded(value, percent(lots.choice([0, 1.5, 20])), better)
    return Baseline(
        model='we"ird.onnx', model_sha256="ab",
        options={"target": "cs2", "precision": "fp16", "deterministic_limit": 0.3},
        run=Run(7, 2, 3, 4, layers=True), made_with={"wsec": "0.1.0", "numpy": "2"}, metrics=metrics,
        history=tuple(Change(f"reason {i}", "0.1.0", (f"x {i}",)) for i in range(lots.randrange(1, HISTORY + 1))),
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(8))
def test_reading_gives_what_was_written(tmp_path: Path, seed: int) -> None:
    baseline = made_up(seed)
    baseline = dataclasses.replace(baseline, metrics=_with_legal_errors(dict(baseline.metrics)))
    write_baseline(tmp_path / "x.golden.toml", baseline)
    back = read_baseline(tmp_path / "x.golden.toml")
    assert back == baseline
    assert to_text(back) == to_text(baseline)
    assert sorted(tmp_path.iterdir()) == [tmp_path / "x.golden.toml"]


def _with_legal_errors(metrics: dict[Metric, Recorded]) -> dict[Metric, Recorded]:
    """Errors that could have been accepted; every output has one, and an argmax."""
    for metric in metrics:
        if metric.section == "layer":
            metrics[metric] = Recorded(1e-3, percent(20), metrics[metric].better)
    outputs = dict.fromkeys(metric.of for metric in metrics if metric.section == "output")
    for of in outputs:
        metrics[Metric("output", of, "error")] = Recorded(1e-3, percent(100))
        metrics[Metric("output", of, "argmax")] = Recorded(1.0, Tolerance(0.05))
    return metrics


def test_order_depends_on_nothing_but_the_model(tmp_path: Path) -> None:
    """Sections and names as in the policy; outputs as the model has them, not by name."""
    metrics = [Metric("output", "z", "argmax"), Metric("cost", "", "colours"), Metric("output", "z", "error")]
    metrics += [Metric("output", "a", "error"), Metric("cost", "", "interval_cycles")]
    metrics += [Metric("layer", of, name) for of in ("z", "a") for name in ("share", "error")]
    wanted = ["cost.interval_cycles", "cost.colours", "output.z.error", "output.z.argmax", "output.a.error"]
    wanted += ["layer.z.error", "layer.a.error", "layer.z.share", "layer.a.share"]
    assert [str(metric) for metric in ordered(metrics)] == wanted


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no baseline") as caught:
        read_baseline(tmp_path / "m.golden.toml")
    assert "golden update" in caught.value.hint
    assert caught.value.exit_code == 1


# What to replace in TEXT, by what, and words of the message.
REFUSED: list[tuple[str, str, str]] = [
    # tolerances beyond the policy, and below nothing
    ('1000, worse = "2 %"', '1000, worse = "26 %"', "policy is 250"),
    ('1000, worse = "2 %"', "1000, worse = 251", "policy is 250"),
    ('1000, worse = "2 %"', '1000, worse = "-2 %"', "neither a number nor a share"),
    ("worse = 1,", "worse = -1,", "from 0 on"),
    ("better = 3", "better = -3", "from 0 on"),
    ("worse = 1,", "worse = 3,", "policy is"),
    ('0.0005, worse = "100 %"', '0.0005, worse = "401 %"', "policy is"),
    ('0.0005, worse = "100 %"', "0.0005, worse = 0.0021", "policy is"),
    ("worse = 0.05", "worse = 0.5", "policy is 0.25"),
    ("worse = 1,", "worse = inf,", "not a number"),
    ("worse = 1,", "worse = nan,", "from 0 on"),
    # values that cannot have been measured
    ("value = 9", "value = nan", "never measured"),
    ("value = 9", "value = -inf", "not a number"),
    ("value = 9", "value = -9", "never measured"),
    ("value = 9", "value = 9.5", "not whole"),
    ("value = 9", "value = true", "not a number"),
    ("value = 9", "value = 1e20", "never measured"),
    ("value = 9", f"value = 1{'0' * 400}", "not a number"),
    ("value = 9", f"value = 1{'0' * 5000}", "digits"),
    ("value = 0.0005", "value = 0.1", "outside the tolerance of fp16"),
    ("value = 1,", "value = 1.5,", "above 1"),
    # what is missing, unknown, or of another kind
    ("schema = 1", "schema = 2", "schema 2"),
    ("schema = 1\n", "", "schema"),
    ('model = "m.onnx"', "model = 3", "not a text"),
    ('model = "m.onnx"\n', "", "no model"),
    ('reason = "because"\n\n', 'reason = "another"\n\n', "first"),
    ("value = 9, ", "", "no value"),
    ("colours = {", "colors = {", "'colors'"),
    ("[cost]", "[costs]", "'costs'"),
    ("{ value = 9, worse = 1, better = 3 }", "9", "cost.colours is not {"),
    ("better = 3", "best = 3", "'best'"),
    ("argmax = { value = 1, worse = 0.05 }\n", "", "no argmax"),
    (OUTPUT, "", "no [output]"),
    ("[output.logits]", "[output]", "[output.error] has 'value'"),
    ("max_seq = 32", "maxseq = 32", "'maxseq'"),
    ("max_seq = 32", "time_limit = 3.0", "'time_limit'"),
    ("max_seq = 32", "max_seq = -1", "out of range"),
    ("max_seq = 32", "max_seq = true", "not of type int"),
    ("max_seq = 32", "deterministic_limit = nan", "out of range"),
    ("max_seq = 32", 'optimize = "both"', "none of throughput"),
    ('"fp16"', '"fp8"', "none of fp32"),
    ("tokens = 8", "tokens = 0", "run.tokens"),
    ("tokens = 8", "tokens = 2000000", "run.tokens"),
    ("tokens = 8", "tokens = 5000\nbatch = 5000", "more than"),
    ("tokens = 8", "tokens = true", "run.tokens"),
    ("tokens = 8", 'layers = "yes"', "run.layers"),
    ('changed = ["cost.cores 990 -> 1000"]', "changed = [1]", "history.changed"),
    ('changed = ["cost.cores 990 -> 1000"]', "changed = [" + '"x",' * 11 + "]", "at most 10"),
    ("[[history]]", "[history]", "not a list"),
    ('wsec = "0.1.0"\nchanged', f'wsec = "{"x" * 500}"\nchanged', "more than 400 characters"),
    # layers
    ("[[history]]", '[layer.error]\n"a.b" = { value = 0.1, worse = 0 }\n[[history]]', "outside the tolerance of fp16"),
    ("[[history]]", '[layer.share]\n"a.b" = { value = 1.5, worse = 0 }\n[[history]]', "wrong, not a baseline"),
    ("[[history]]", '[layer.share]\n"a.b" = { value = 0.1, worse = 0.5 }\n[[history]]', "policy is 0.4"),
    ("[[history]]", '[layer."a.b"]\nerror = { value = 0.001, worse = 0 }\n[[history]]', "[layer] has 'a.b'"),
    # files elsewhere
    ("max_seq = 32", 'defects = "/etc/passwd"', "not in the baseline's folder"),
    ("max_seq = 32", 'constraints = "../secret"', "not in the baseline's folder"),
    ('"cs2"', '"../../x.toml"', "not in the baseline's folder"),
    # no TOML
    ("schema = 1", "schema", "Expected"),
    ("schema = 1", "schema = 1\nx = " + "[" * 3000, "nested too deeply"),
    ("schema = 1", "schema = 1\n" + "x." * 50_000 + "y = 1", "a line has more than"),  # else a minute of reading
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "words"), REFUSED, ids=[str(i) for i in range(len(REFUSED))])
def test_what_is_wrong_is_told(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in TEXT
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        read(tmp_path, TEXT.replace(old, new, 1))
    assert caught.value.where == str(tmp_path / "m.golden.toml")
    assert caught.value.exit_code == 1
    assert len(caught.value.message) < 300


@pytest.mark.parametrize("data", [b"\xff\xfe", b"\x00", b"", b"a" * (5 << 20)], ids=["utf16", "nul", "empty", "large"])
def test_what_is_no_baseline_at_all(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(InputError):
        read(tmp_path, data)


def test_a_symbolic_link_does_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "dead.txt").write_text("3 3\n")
    (tmp_path / "inner" / "dead.txt").symlink_to(tmp_path / "dead.txt")
    with pytest.raises(InputError, match="folder"):
        read(tmp_path / "inner", TEXT.replace("max_seq = 32", 'defects = "dead.txt"'))
    (tmp_path / "inner" / "own.txt").write_text("3 3\n")
    assert read(tmp_path / "inner", TEXT.replace("max_seq = 32", 'defects = "own.txt"')).options["defects"] == "own.txt"


@pytest.mark.parametrize("seed", range(300))
def test_any_damage_is_an_input_error_or_harmless(tmp_path: Path, seed: int) -> None:
    """Bytes dropped, doubled or changed at random: never another exception, never a tolerance beyond the policy."""
    lots = random.Random(seed)
    data = bytearray(TEXT.encode())
    for _ in range(lots.randrange(1, 6)):
        at = lots.randrange(len(data))
        match lots.randrange(3):
            case 0:
                del data[at : at + lots.randrange(1, 20)]
            case 1:
                data[at:at] = data[lots.randrange(len(data)) :][: lots.randrange(1, 20)]
            case _:
                data[at] = lots.choice(b'0123456789-.e"=[]{}%\n# ')
    try:
        baseline = read(tmp_path, bytes(data))
    except InputError:
        return
    for metric, recorded in baseline.metrics.items():
        widest = RULES[metric.section, metric.name].widest_of(recorded.value, baseline.precision)
        assert 0 <= recorded.worse.of(recorded.value) <= widest
        assert math.isfinite(recorded.value)
