"""The command line as users meet it: results, messages, exit codes, and nothing half-written."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from small import SMALL, TINY

from frontends.cli import target as target_verb
from runtime.image import Image, Tensor
from runtime.imagefile import read_image, write_image

ROOT = Path(__file__).parent.parent
FLAGS = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]


def copied(gpt: Path, folder: Path) -> Path:
    """The model and its external data, to be damaged."""
    for file in gpt.parent.glob(f"{gpt.name}*"):
        shutil.copy(file, folder / file.name)
    return folder / gpt.name


# ---- What works ---------------------------------------------------------------------------------------------------


def test_compile_run_check(wsec: Any, gpt: Path, tmp_path: Path) -> None:
    image, output = tmp_path / "model.wse", tmp_path / "logits.npz"
    compiled = wsec("compile", gpt, "-o", image, *FLAGS)
    assert compiled.code == 0
    for word in ("cores", "interval", "tokens/s", "bound", "colours", "hottest link", "seconds", "peak memory"):
        assert word in compiled.out
    assert wsec("validate", image).code == 0

    ran = wsec("run", image, "--tokens", "5,66,0", "-o", output)
    assert ran.code == 0
    assert "[1, 3, 67]" in ran.out
    logits = np.load(output, allow_pickle=False)["logits"]
    ids = np.array([[5, 66, 0]])
    np.save(tmp_path / "ids.npy", ids)
    np.savez(tmp_path / "in.npz", input_ids=ids)
    for arguments in (["--input", f"input_ids=@{tmp_path / 'ids.npy'}"], ["--inputs", tmp_path / "in.npz"]):
        other = tmp_path / "other.npz"
        assert wsec("run", image, *arguments, "-o", other, "--threads", "1").code == 0
        assert other.read_bytes() == output.read_bytes()
    reference = onnx_logits(gpt, ids)
    assert np.abs(logits - reference).max() <= 2e-5 * np.abs(reference).max()

    checked = wsec("check", gpt, image, "--tokens", "5", "--json")
    assert checked.code == 0
    assert json.loads(checked.out)["passed"] is True
    assert "pass" in wsec("check", gpt, image, "--tokens", "5").out


def test_run_cycle_by_cycle(wsec: Any, gpt_wse: Path, gpt_image: Image, tmp_path: Path) -> None:
    tokens = ["--tokens", "5,66,0,7"]
    assert wsec("run", gpt_wse, *tokens, "-o", tmp_path / "functional.npz").code == 0
    saved = tmp_path / "run.json"
    ran = wsec("run", gpt_wse, *tokens, "-o", tmp_path / "cycle.npz", "--engine", "cycle", "--run-json", saved)
    assert ran.code == 0
    assert (tmp_path / "cycle.npz").read_bytes() == (tmp_path / "functional.npz").read_bytes()
    for words in (
        "first token",
        "steady state",
        "core-cycles",
        "busiest core",
        "FIFOs",
        "links",
        f"written to {saved}",
    ):
        assert words in ran.out
    shown = json.loads(wsec("run", gpt_wse, *tokens, "--engine", "cycle", "--json", "--top", "3").out)
    timing = shown["timing"]
    assert (shown["schema"], timing["schema"], timing["tokens"], shown["engine"]) == (1, 1, 4, "cycle")
    assert len(timing["links"]["hottest"]) == 3 and len(timing["kernels"]) == len(gpt_image.blocks)
    stored = json.loads(saved.read_text())
    assert stored["timing"]["token_cycles"] == timing["token_cycles"]
    busy = sum(sum(kernel["spent"]["busy"]) for kernel in stored["cores"])
    assert busy == timing["spent"]["busy"] > 0
    told = [text[text.index("\ncycles ") :].strip() for text in (wsec("inspect", saved).out, ran.out)]
    assert told[1].startswith(told[0])


def test_trace_of_a_window(wsec: Any, refused: Any, gpt_wse: Path, gpt_image: Image, tmp_path: Path) -> None:
    block = gpt_image.blocks[0]
    command = ["run", gpt_wse, "--engine", "cycle", "--tokens", "5,66"]
    refused(2, ["--trace FILE"], *command, "--trace-cycles", "0:9")
    for wrong in (["--trace-cycles", "9:3"], ["--trace-cycles", "x"], ["--trace-cores", "1,2,0,4"]):
        refused(2, ["--trace"], *command, "--trace", tmp_path / "t.json", *wrong)
    refused(1, ["no core"], *command, "--trace", tmp_path / "t.json", "--trace-cores", "900,900,2,2")
    corner = f"{block.x},{block.y},2,2"
    ran = wsec(*command, "--trace", tmp_path / "t.json", "--trace-cycles", "100:400", "--trace-cores", corner)
    assert ran.code == 0 and "events of cycles 100 to 399 on" in ran.err
    data = json.loads((tmp_path / "t.json").read_text())
    assert {event["ph"] for event in data["traceEvents"]} == {"X", "M"}


def test_a_deadlock_has_its_exit_code_and_story(refused: Any, wsec: Any, gpt_image: Image, tmp_path: Path) -> None:
    """The FIFOs of the residual stream fill, and nothing empties them."""
    programs = [
        dataclasses.replace(p, tasks=p.tasks[:1]) if p.name.startswith("fifo.") else p for p in gpt_image.programs
    ]
    image = tmp_path / "stuck.wse"
    write_image(dataclasses.replace(gpt_image, programs=programs), image)
    command = ["run", image, "--engine", "cycle", "--tokens", ",".join(["1"] * 24)]
    words = [
        "nothing can ever move again",
        "kernel fifo0",
        "room in fifo 0 (ring)",
        "no task of the core empties fifo 0",
    ]
    refused(6, words, *command)
    assert json.loads(wsec(*command, "--json").out)["exit_code"] == 6


def onnx_logits(model: Path, ids: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["logits"], {"input_ids": ids})[0])


def test_json_is_one_object_on_stdout(wsec: Any, gpt: Path, gpt_wse: Path, tmp_path: Path) -> None:
    commands: list[list[object]] = [
        ["lint", gpt],
        ["compile", gpt, "-o", tmp_path / "m.wse", *FLAGS],
        ["validate", gpt_wse],
        ["inspect", gpt_wse],
        ["report", gpt_wse],
        ["report", gpt_wse, "--section", "route", "--top", "2"],
        ["report", "--diff", gpt_wse, gpt_wse],
        ["report", gpt_wse, "--html", tmp_path / "r.html"],
        ["inspect", gpt_wse, "--core", "8,4"],
        ["inspect", gpt],
        ["target", "list"],
        ["target", "show", "cs2"],
        ["run", gpt_wse, "--tokens", "1"],
        ["run", gpt_wse, "--tokens", "1", "--engine", "cycle"],
        ["check", gpt, gpt_wse, "--tokens", "2"],
    ]
    for command in commands:
        result = wsec(*command, "--json")
        assert result.code == 0
        assert json.loads(result.out)["schema"] == 1


def test_image_says_how_it_was_made_but_not_where_or_when(gpt_image: Image) -> None:
    provenance = gpt_image.manifest["provenance"]
    assert provenance.keys() == {"tool", "version", "model", "model_sha256", "options", "ortools"}
    assert provenance["model"] == "gpt.onnx"
    assert provenance["options"]["slots"] == 2
    assert provenance["options"]["deterministic_limit"] == SMALL["deterministic_limit"]


def test_phases_and_passes_compose(wsec: Any, gpt: Path, tmp_path: Path) -> None:
    """Stop after a phase, run the next one's passes by hand, go on: the same module as without stopping."""
    flow, sized = tmp_path / "flow.wir", tmp_path / "size.wir"
    assert wsec("compile", gpt, "--compile-to", "flow", "-o", flow, "--target", "mini-32x32").code == 0
    assert wsec("compile", gpt, "--compile-to", "size", "-o", sized, "--target", "mini-32x32").code == 0
    by_hand = wsec("opt", flow, "-p", "size")
    assert by_hand.code == 0
    bodies = [text.split("} {\n", 1)[1] for text in (by_hand.out, sized.read_text())]
    assert bodies[0] == bodies[1]
    assert wsec("compile", gpt, "--compile-to", "flow", "--target", "mini-32x32").out == flow.read_text()
    assert "flow.matvec" in wsec("inspect", flow).out
    image = tmp_path / "m.wse"
    assert wsec("compile", sized, "-o", image, "--weights", gpt, "--deterministic-limit", "0").code == 0
    assert wsec("check", gpt, image, "--tokens", "3").code == 0


def test_dump_has_a_file_per_pass_and_no_weights_in_it(wsec: Any, gpt: Path, tmp_path: Path) -> None:
    dump = tmp_path / "dump"
    compiled = wsec("compile", gpt, "-o", tmp_path / "m.wse", "--dump-ir", dump, "--time-passes", *FLAGS)
    names = [path.name for path in sorted(dump.glob("*.wir"))]
    assert names[0] == "00-import.wir"
    assert [int(name[:2]) for name in names] == list(range(len(names)))
    assert all(name[3:-4] in compiled.err for name in names[1:])
    assert max(len(line) for line in (dump / names[0]).read_text().splitlines()) <= 120
    bare = tmp_path / "bare"
    assert wsec("compile", gpt, "--compile-to", "canonical", "--dump-ir", bare, "--no-locations").code == 0
    assert "loc(" in (dump / names[1]).read_text() and "loc(" not in (bare / names[1]).read_text()


def test_a_picture_is_written(wsec: Any, refused: Any, gpt_wse: Path, tmp_path: Path) -> None:
    refused(1, ["no-folder"], "view", gpt_wse, "--svg", tmp_path / "none" / "a.svg")
    drawn = wsec("view", gpt_wse, "--svg", tmp_path / "a.svg", "--heat", "--colour", "layer")
    assert drawn.code == 0 and "a.svg" in drawn.out
    assert (tmp_path / "a.svg").read_text().startswith("<svg ")


def test_a_placement_is_saved_and_fixed_again(wsec: Any, gpt: Path, tmp_path: Path) -> None:
    first, again, other = (tmp_path / name for name in ("first.wse", "again.wse", "other.wse"))
    assert wsec("compile", gpt, "-o", first, "--save-placement", tmp_path / "p.txt", *FLAGS).code == 0
    fixed = ["--fix-placement", tmp_path / "p.txt", "--save-placement", tmp_path / "p.json"]
    assert wsec("compile", gpt, "-o", again, *fixed, *FLAGS).code == 0
    assert blocks(again) == blocks(first)
    # A stop between phases, and the other form of the file.
    stop = ["--compile-to", "size", "-o", tmp_path / "m.wir", "--fix-placement", tmp_path / "p.json", *FLAGS]
    assert wsec("compile", gpt, *stop).code == 0
    assert wsec("compile", tmp_path / "m.wir", "--weights", gpt, "-o", other, "--seed", "7").code == 0
    assert blocks(other) == blocks(first)


def blocks(path: Path) -> list[tuple[str, int, int, int]]:
    return [(block.name, block.x, block.y, block.orientation.code) for block in read_image(path).blocks]


def test_constraints_and_defects_from_files(wsec: Any, gpt: Path, tmp_path: Path) -> None:
    lots = ["target", "defects", "mini-64x64", "--random", "20", "--seed", "1"]
    assert wsec(*lots, "-o", tmp_path / "dead.txt").code == 0
    assert wsec(*lots).out == (tmp_path / "dead.txt").read_text()
    shown = wsec("target", "show", "mini-64x64", "--defects", tmp_path / "dead.txt", "--json")
    assert json.loads(shown.out)["cores"] == 64 * 64 - 20
    (tmp_path / "c.txt").write_text("region attention* 40 1 28 64\nkeep-out 10 10 10 10\n")
    files = ["--defects", tmp_path / "dead.txt", "--constraints", tmp_path / "c.txt", "--time-limit", "60"]
    flags = ["--target=mini-64x64", "--deterministic-limit=0.3"]
    beside = ["--report", tmp_path / "r.json", "--placed-svg", tmp_path / "p.svg", "--html", tmp_path / "p.html"]
    compiled = wsec("compile", gpt, "-o", tmp_path / "m.wse", *files, *flags, *beside)
    assert compiled.code == 0 and "another run may give another image" in compiled.err
    image = read_image(tmp_path / "m.wse")
    assert image.target.dead_cores == 20
    written, told = json.loads((tmp_path / "r.json").read_text()), wsec("report", tmp_path / "m.wse", "--json")
    assert written.pop("seconds").keys() >= {"size", "place", "route"} and written.pop("peak_memory_bytes") > 0
    assert written == json.loads(told.out)
    wsec("view", tmp_path / "m.wse", "--svg", tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_bytes() == (tmp_path / "p.svg").read_bytes()
    page = (tmp_path / "p.html").read_text()
    assert all(f'"name":"{name}"' in page for name in ("fuse-attention", "place", "codegen", image.blocks[3].name))
    for block in image.blocks:
        width, height = block.size
        assert block.kind != "attention" or (block.x >= 40 and block.x + width <= 68)
        assert not (block.x < 20 and block.x + width > 10 and block.y < 20 and block.y + height > 10)


def test_pages_are_written_whole_and_the_same_again(wsec: Any, gpt: Path, gpt_wse: Path, tmp_path: Path) -> None:
    ir, run, html = tmp_path / "ir", tmp_path / "run.json", tmp_path / "r.html"
    assert wsec("compile", gpt, "--compile-to", "flow", "-o", tmp_path / "m.wir", "--dump-ir", ir).code == 0
    assert wsec("run", gpt_wse, "--tokens", "1,2,3", "--engine", "cycle", "--run-json", run).code == 0
    made = wsec("report", gpt_wse, "--html", html, "--run", run, "--ir", ir)
    assert made.code == 0 and f"{html}: {html.stat().st_size:,} bytes" in made.out
    first = html.read_bytes()
    assert wsec("report", gpt_wse, "--html", html, "--run", run, "--ir", ir).code == 0
    assert html.read_bytes() == first
    assert b'"name":"lower-to-flow"' in first and b"http://www.w3.org/2000/svg" in first
    assert first.count(b"://") == 1  # that name of a namespace, and no address
    assert str(tmp_path).encode() not in first
    assert wsec("report", "--diff", gpt_wse, gpt_wse, "--html", html).code == 0
    assert b'"kind":"difference"' in html.read_bytes()
    text = wsec("report", "--diff", gpt_wse, gpt_wse)
    assert "interval" in text.out and "unchanged" in text.out and "more: --top" not in text.out


def test_pages_that_cannot_be(refused: Any, gpt_wse: Path, tmp_path: Path) -> None:
    html = tmp_path / "r.html"
    (tmp_path / "bad.json").write_text("{}")
    refused(
        1, ["bad-run", "not a run of this image"], "report", gpt_wse, "--html", html, "--run", tmp_path / "bad.json"
    )
    refused(1, ["no-such-file"], "report", gpt_wse, "--html", html, "--run", tmp_path / "none.json")
    refused(1, ["no-ir"], "report", gpt_wse, "--html", html, "--ir", tmp_path)
    refused(1, ["no-folder"], "report", gpt_wse, "--html", tmp_path / "none" / "r.html")
    refused(2, ["one image, or --diff"], "report", "--html", html)
    refused(2, ["one image, or --diff"], "report", gpt_wse, "--diff", gpt_wse, gpt_wse)
    refused(2, ["write over an image"], "report", "--html", gpt_wse)
    refused(2, ["--run", "needs --html"], "report", gpt_wse, "--run", tmp_path / "bad.json")
    refused(2, ["--ir"], "report", "--diff", gpt_wse, gpt_wse, "--html", html, "--ir", tmp_path)
    refused(2, ["--section"], "report", gpt_wse, "--html", html, "--section", "route")


def test_opt_lists_passes(wsec: Any) -> None:
    listed = wsec("opt", "--list-passes")
    assert listed.code == 0
    assert "place{seed=0" in listed.out


def test_opt_reads_stdin() -> None:
    done = cli("opt", "-", "-p", "dead-code", "--print-ir-after-all", input="builtin.module {\n}\n")
    assert done.returncode == 0
    assert done.stdout.startswith("builtin.module")
    assert "after dead-code" in done.stderr


def test_lint_and_inspect_a_model(wsec: Any, gpt: Path) -> None:
    report = wsec("lint", gpt)
    assert report.code == 0
    assert "MatMul" in report.out
    assert "input_ids" in report.out
    inspected = wsec("inspect", gpt).out
    assert "wsec can import it" in inspected and "MatMul" in inspected


def test_inspect_shows_a_core_and_the_wafer(wsec: Any, gpt_wse: Path, gpt_image: Image) -> None:
    block = next(block for block in gpt_image.blocks if block.kind == "matvec")
    core = wsec("inspect", gpt_wse, "--core", "{},{}".format(*block.at(0, 0)))
    assert block.name in core.out
    assert "fmac" in core.out
    assert "mini-32x32" in wsec("inspect", gpt_wse, "--picture").out


@pytest.mark.parametrize("verb", ["export", "lint", "compile", "opt", "validate", "inspect", "target", "run", "check"])
def test_every_verb_explains_itself(wsec: Any, verb: str) -> None:
    result = wsec(verb, "--help")
    assert result.code == 0
    assert f"usage: wsec {verb}" in result.out


# ---- What is refused ----------------------------------------------------------------------------------------------


def test_truncated_model(refused: Any, gpt: Path, tmp_path: Path) -> None:
    model = copied(gpt, tmp_path)
    model.write_bytes(model.read_bytes()[:-200])
    for verb in (["compile"], ["lint"], ["check"]):
        output = ["-o", tmp_path / "m.wse"] if verb == ["compile"] else []
        refused(1, ["truncated", str(model)], *verb, model, *output)


def test_an_image_or_ir_text_in_place_of_a_model(refused: Any, gpt_wse: Path, tmp_path: Path) -> None:
    for verb in ("lint", "compile", "check", "bisect"):
        refused(1, ["not an ONNX file", "it is a compiled image", "`wsec run`"], verb, gpt_wse)
    text = tmp_path / "flow.txt"
    text.write_text('builtin.module @m { phase = "flow" } {}')
    refused(1, ["not an ONNX file", "it is IR text: call it .wir"], "compile", text, "-o", tmp_path / "m.wse")


def test_a_model_in_place_of_an_image(refused: Any, gpt: Path) -> None:
    for verb in (["run", gpt, "--tokens", "1"], ["validate", gpt], ["report", gpt]):
        refused(1, ["not a .wse image", "hint: `wsec compile model.onnx -o model.wse`"], *verb)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["compil", "m.onnx"], "invalid choice: 'compil'|did you mean compile?"),
        (["target", "lst"], "wsec target: |did you mean list?"),
        (["compile", "m.onnx", "--precison", "fp16"], "wsec compile: |--precison fp16; did you mean --precision?"),
        (["compile", "m.onnx", "--precision=bf16"], "invalid choice: 'bf16'|did you mean fp16?"),
        (["target", "list", "--jsno"], "wsec target list: |did you mean --json?"),
        (["run", "m.wse", "--tokens", "1,", "2"], "unrecognized arguments: 2; see wsec run --help"),
        ([], "required: VERB; see wsec --help"),
        (["view", "m.wse"], "required: --svg; see wsec view --help"),
    ],
)
def test_a_mistyped_command_line(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    from frontends.cli.main import main

    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert all(part in message for part in told.split("|")), message


def test_what_target_show_prints_is_a_target(wsec: Any, tmp_path: Path) -> None:
    (tmp_path / "dead.txt").write_text("6 6\n9 9 2 1\n")
    file = tmp_path / "mine.toml"
    for dead in ([], ["--defects", tmp_path / "dead.txt"]):
        file.write_text(wsec("target", "show", "mini-32x32", *dead).out)
        assert wsec("target", "show", file, "--json").out == wsec("target", "show", "mini-32x32", *dead, "--json").out


def test_not_a_model(refused: Any, tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_text("hello\n")
    refused(1, ["not an ONNX file"], "compile", model, "-o", tmp_path / "m.wse")
    refused(1, ["no such file"], "compile", tmp_path / "other.onnx", "-o", tmp_path / "m.wse")


def test_unknown_ops_are_listed_completely(refused: Any, wsec: Any, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Sin", ["x"], ["a"], "first_sin"),
        helper.make_node("Sin", ["a"], ["b"], "second_sin"),
        helper.make_node("Wobble", ["b"], ["y"], "wobble", domain="com.example"),
    ]
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in ("x", "y")]
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.example", 1)]
    graph = helper.make_graph(nodes, "g", sides[:1], sides[1:])
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    words = ["2 x Sin", "first_sin, second_sin", "1 x Wobble", "unsupported-op"]
    refused(1, words, "compile", path, "-o", tmp_path / "m.wse")
    report = wsec("lint", path)
    assert report.code == 1
    assert all(word in report.out for word in ("first_sin", "second_sin", "wobble"))
    assert json.loads(wsec("lint", path, "--json").out)["unsupported"] == {"Sin": 2, "Wobble": 1}


def test_missing_external_data(refused: Any, gpt: Path, tmp_path: Path) -> None:
    model = copied(gpt, tmp_path)
    (tmp_path / f"{gpt.name}.data").unlink()
    refused(1, ["external data", "missing"], "compile", model, "-o", tmp_path / "m.wse")


def test_external_data_outside_the_folder(refused: Any, gpt: Path, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    path = copied(gpt, inner)
    (inner / f"{gpt.name}.data").rename(tmp_path / "data")
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../data"
    path.write_bytes(model.SerializeToString())
    refused(1, ["outside the model's folder"], "compile", path, "-o", tmp_path / "m.wse")


def test_model_too_large_for_the_target(refused: Any, gpt: Path, tmp_path: Path) -> None:
    words = ["a search found take", "cores", "mini-32x32 has 1024 cores", "limit is 20"]
    refused(3, words, "compile", gpt, "-o", tmp_path / "m.wse", "--max-cores", "20", *FLAGS)


def test_what_does_not_fit_is_explained(wsec: Any, gpt: Path, tmp_path: Path) -> None:
    result = wsec("compile", gpt, "-o", tmp_path / "m.wse", "--target=mini-32x32", "--max-cores", "1", "--json")
    assert result.code == 3
    error = json.loads(result.out)["error"]
    short = {entry["resource"]: entry for entry in error["shortages"]}
    assert short["cores"]["demand"] > short["cores"]["supply"] == 1
    assert short["cores"]["demands"][0][1] >= short["cores"]["demands"][1][1]
    (lever,) = [lever["option"] for lever in error["levers"] if lever["option"].startswith("--max-cores")]
    for words in ("short of", "lookup0", "what would help", lever):
        assert words in result.err
    assert wsec("compile", gpt, "-o", tmp_path / "m.wse", "--target=mini-32x32", *lever.split()).code == 0


def test_inputs_that_do_not_fit(refused: Any, gpt_wse: Path, tmp_path: Path) -> None:
    ids, output = np.array([[1, 2]]), tmp_path / "out.npz"
    np.savez(tmp_path / "name.npz", ids=ids)
    refused(1, ["unknown inputs ['ids']", "input_ids"], "run", gpt_wse, "--inputs", tmp_path / "name.npz", "-o", output)
    np.savez(tmp_path / "dtype.npz", input_ids=ids.astype(np.float32))
    refused(1, ["float32", "i64"], "run", gpt_wse, "--inputs", tmp_path / "dtype.npz", "-o", output)
    np.save(tmp_path / "object.npy", np.array([{}], object))
    refused(1, ["numpy"], "run", gpt_wse, "--input", f"input_ids=@{tmp_path / 'object.npy'}", "-o", output)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "name.npz").read_bytes()[:100])
    refused(1, ["numpy"], "run", gpt_wse, "--inputs", tmp_path / "cut.npz", "-o", output)
    refused(1, ["67", "[0, 67)"], "run", gpt_wse, "--tokens", "5,67", "-o", output)
    refused(1, ["--max-seq 25"], "run", gpt_wse, "--tokens", ",".join(["1"] * 25), "-o", output)
    refused(2, ["token ids"], "run", gpt_wse, "--tokens", "5,x", "-o", output)
    refused(2, ["--run-json", "--engine cycle"], "run", gpt_wse, "--tokens", "5", "--run-json", output)


def test_images_that_are_none(refused: Any, gpt_wse: Path, tmp_path: Path) -> None:
    image = tmp_path / "cut.wse"
    image.write_bytes(gpt_wse.read_bytes()[:-1000])
    for verb in (["run", image, "--tokens", "1"], ["validate", image], ["inspect", image]):
        refused(1, ["truncated"], *verb)
    image.write_bytes(b"PK\x03\x04" * 100)
    refused(1, ["not a .wse image"], "validate", image)


def test_damaged_weights_are_found(refused: Any, gpt_wse: Path, tmp_path: Path) -> None:
    data = bytearray(gpt_wse.read_bytes())
    data[-5] ^= 1
    (tmp_path / "bad.wse").write_bytes(data)
    refused(1, ["sha256"], "validate", tmp_path / "bad.wse")
    refused(1, ["sha256"], "run", tmp_path / "bad.wse", "--tokens", "1")


def test_illegal_image(wsec: Any, gpt_image: Image, tmp_path: Path) -> None:
    write_image(dataclasses.replace(gpt_image, routes=gpt_image.routes[1:]), tmp_path / "bad.wse")
    result = wsec("validate", tmp_path / "bad.wse")
    assert result.code == 7
    assert "violations" in result.out
    assert json.loads(wsec("validate", tmp_path / "bad.wse", "--json").out)["ok"] is False


def test_wrong_numbers(wsec: Any, gpt: Path, gpt_image: Image, tmp_path: Path) -> None:
    scaled = {name: Tensor(np.asarray(tensor.data * 1.001)) for name, tensor in gpt_image.tensors.items()}
    tensors = {name: t for name, t in scaled.items() if t.data.dtype == np.float32}
    write_image(dataclasses.replace(gpt_image, tensors={**gpt_image.tensors, **tensors}), tmp_path / "wrong.wse")
    result = wsec("check", gpt, tmp_path / "wrong.wse", "--tokens", "4")
    assert result.code == 5
    assert "FAIL" in result.out


def test_image_of_another_model(refused: Any, gpt_wse: Path, legacy_gpt: Path) -> None:
    refused(1, ["not compiled from this model"], "check", legacy_gpt, gpt_wse, "--tokens", "2")


def test_same_graph_with_other_weights_is_another_model(refused: Any, gpt: Path, gpt_wse: Path, tmp_path: Path) -> None:
    model = copied(gpt, tmp_path)
    data = tmp_path / f"{gpt.name}.data"
    changed = bytearray(data.read_bytes())
    changed[100] ^= 1
    data.write_bytes(changed)
    refused(1, ["not compiled from this model"], "check", model, gpt_wse, "--tokens", "2")


def test_model_without_weights_compiles_but_proves_nothing(refused: Any, wsec: Any, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    model, image = tmp_path / "none.onnx", tmp_path / "none.wse"
    shape = [f"--{name}={value}" for name, value in TINY.items()]
    exported = wsec("export", "-m", "cerebras-gpt-111m", "--weights", "none", *shape, "-o", model)
    assert exported.code == 0 and "no weights" in exported.out
    assert wsec("compile", model, *FLAGS, "-o", image).code == 0
    assert wsec("validate", image).code == 0
    refused(1, ["no-weights", "zeros"], "check", model, image, "--tokens=2")


def test_module_without_its_weights(refused: Any, wsec: Any, gpt: Path, tmp_path: Path) -> None:
    text = wsec("compile", gpt, "--compile-to", "size", "--target", "mini-32x32").out
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    (folder / "m.wir").write_text(text)
    refused(1, ["missing-weights", "--weights"], "compile", folder / "m.wir", "-o", tmp_path / "m.wse")


def test_bad_module_text(refused: Any, tmp_path: Path) -> None:
    (tmp_path / "m.wir").write_text("builtin.module {} {\n  graph.nonsense\n}\n")
    refused(1, ["m.wir:2:3"], "compile", tmp_path / "m.wir", "-o", tmp_path / "m.wse")
    refused(1, ["m.wir:2:3"], "opt", tmp_path / "m.wir", "-p", "dead-code")


def test_options_that_make_no_sense(refused: Any, wsec: Any, gpt: Path, gpt_wse: Path, tmp_path: Path) -> None:
    image = tmp_path / "m.wse"
    refused(1, ["no target", "cs2"], "compile", gpt, "-o", image, "--target", "cs9")
    refused(2, ["no phase"], "compile", gpt, "--compile-to", "somewhere")
    refused(2, ["end in .wse"], "compile", gpt, "-o", tmp_path / "m.onnx")
    refused(1, ["folder does not exist"], "compile", gpt, "-o", tmp_path / "none" / "m.wse")
    refused(2, ["no effect"], "check", gpt, gpt_wse, "--precision", "fp16")
    refused(2, ["did you mean"], "opt", "-p", "plaice", gpt)
    refused(2, ["is not on the"], "inspect", gpt_wse, "--core", "1000,1000")
    for arguments in (["frobnicate"], [], ["compile"], ["compile", gpt, "--max-seq", "0"], ["run", gpt_wse]):
        assert wsec(*arguments).code == 2


def test_overrides_that_make_no_sense(refused: Any, wsec: Any, gpt: Path, tmp_path: Path) -> None:
    bad, output = tmp_path / "bad.txt", ["-o", tmp_path / "m.wse", *FLAGS]
    bad.write_text("norm99 5 5 0\n")
    refused(1, ["bad.txt:1", "norm99", "near names"], "compile", gpt, "--fix-placement", bad, *output)
    assert wsec("compile", gpt, "--fix-placement", bad, "--allow-unused-overrides", *output).code == 0
    (tmp_path / "m.wse").unlink()
    bad.write_text("# two words\nnorm0 5\n")
    refused(1, ["bad.txt:2"], "compile", gpt, "--fix-placement", bad, *output)
    refused(1, ["bad.txt:2", "not a constraint"], "compile", gpt, "--constraints", bad, *output)
    refused(1, ["bad.txt:2"], "compile", gpt, "--defects", bad, *output)
    bad.write_text("4 1 32 32\n")
    refused(3, ["does-not-fit"], "compile", gpt, "--defects", bad, *output)
    refused(1, ["no-file"], "compile", gpt, "--constraints", tmp_path / "none", *output)
    early = ["compile", gpt, "--compile-to", "flow", "-o", tmp_path / "m.wir"]
    refused(2, ["phase flow"], *early, "--save-placement", tmp_path / "p.txt")
    refused(2, ["--report"], *early, "--report", tmp_path / "r.json")
    refused(2, ["--html"], *early, "--html", tmp_path / "r.html")


def test_option_that_comes_too_late(refused: Any, wsec: Any, gpt: Path, tmp_path: Path) -> None:
    sized = gpt.parent / "late.wir"
    assert wsec("compile", gpt, "--compile-to", "size", "-o", sized, "--target", "mini-32x32").code == 0
    refused(2, ["--precision", "no effect"], "compile", sized, "--precision", "fp16", "-o", tmp_path / "m.wse")


def test_numbers_that_no_image_may_have(refused: Any, wsec: Any, gpt: Path, tmp_path: Path) -> None:
    """In text that people edited: they are told before anything computes with them."""
    core = gpt.parent / "huge.wir"
    assert wsec("compile", gpt, "--compile-to", "core", "-o", core, "--target", "mini-32x32").code == 0
    core.write_text(re.sub(r"pitch = \d+", f"pitch = {10**30}", core.read_text(), count=1))
    refused(1, ["inits[", "core's memory"], "compile", core, "-o", tmp_path / "m.wse")


def test_sequence_that_check_cannot_run(refused: Any, gpt: Path, gpt_wse: Path) -> None:
    refused(1, ["room for 24"], "check", gpt, gpt_wse, "--tokens", "25")


def test_errors_are_json_too(wsec: Any, tmp_path: Path) -> None:
    result = wsec("lint", tmp_path / "none.onnx", "--json")
    assert result.code == 1
    error = json.loads(result.out)
    assert error["exit_code"] == 1
    assert error["error"]["code"] == "no-such-file"


# ---- What goes wrong inside ---------------------------------------------------------------------------------------


def failing(error: BaseException) -> Any:
    def run(args: object, console: object) -> int:
        raise error

    return run


def test_internal_errors_are_one_line_unless_verbose(wsec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_verb, "run", failing(RuntimeError("something\nlong")))
    result = wsec("target", "list")
    assert result.code == 8
    assert "RuntimeError: something" in result.err
    assert "Traceback" not in result.err
    assert "Traceback" in wsec("target", "list", "-v").err


def test_what_the_system_refuses_is_no_internal_error(wsec: Any, gpt: Path, gpt_wse: Path) -> None:
    result = wsec("golden", "update", "m" * 300, "--reason", "x")
    assert result.code == 1
    assert "error[system]: File name too long" in result.err
    result = wsec("check", gpt, gpt_wse, "--tokens", "5", "--batch", "9999999999999")
    assert result.code == 1
    assert "error[out-of-memory]" in result.err
    result = wsec("check", gpt, gpt_wse, "--tokens", "9999999999999")
    assert result.code == 1
    assert "error[too-long]" in result.err


def test_a_device_or_pipe_stays_one(tmp_path: Path) -> None:
    """Where outputs are renamed into place, a file would stand in place of /dev/null."""
    from frontends.cli.files import write_text

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_text(pipe, "text")
        assert os.read(reader, 100) == b"text"
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_the_same_inputs_for_the_same_numbers() -> None:
    """What `check` shows, `bisect` and `reduce` look for."""
    from frontends.cli.main import parser

    verbs = (["check", "m"], ["bisect", "m"], ["reduce", "m", "-o", "s"])
    assert {(args.batch, args.seed) for args in map(parser().parse_args, verbs)} == {(1, 0)}


def test_interrupt(wsec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_verb, "run", failing(KeyboardInterrupt()))
    result = wsec("target", "list")
    assert result.code == 130
    assert result.err == "wsec: interrupted\n"


def test_reader_that_goes_away() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        command = [sys.executable, "wsec.py", "target", "show", "cs2"]
        done = subprocess.run(command, cwd=ROOT, stdout=pipe, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 141
    assert done.stderr == ""


def cli(*arguments: str, input: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "wsec.py", *arguments]
    return subprocess.run(command, cwd=ROOT, input=input, capture_output=True, text=True, check=False)
