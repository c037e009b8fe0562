"""What a page holds of an image, a run and a compilation, against the image's own tables."""

from __future__ import annotations

import base64
import dataclasses
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import matvec_image
from validate_images import changed, echo_image

from runtime.cycle.report import by_core, report
from runtime.errors import InputError
from runtime.image import Image
from runtime.inspect import core_detail
from runtime.page import cells, compare_text, kernels, programs
from runtime.page.compare import compare
from runtime.page.data import page_data
from runtime.page.pack import pack_array, pack_json, pack_levels
from runtime.page.runs import read_run, run
from runtime.page.stages import Stage, count_ops, read_folder, shortened, stages
from runtime.session import load
from runtime.tables import core_positions
from runtime.target import with_defects
from runtime.wires import Tables, trace


def unpacked(packed: dict[str, Any]) -> Any:
    data = zlib.decompress(base64.b64decode(packed["data"]))
    return json.loads(data) if packed["kind"] == "json" else np.frombuffer(data, f"<{packed['kind']}")


def levels(packed: dict[str, Any]) -> Any:
    return unpacked(packed["levels"])[unpacked(packed["index"])]


@pytest.mark.parametrize(("most", "kind"), [(0, "u1"), (255, "u1"), (256, "u2"), (65536, "u4")])
def test_arrays_come_back_in_the_narrowest_type(most: int, kind: str) -> None:
    values = np.array([[0, most], [most, 3 % (most + 1)]])
    packed = pack_array(values)
    assert (packed["kind"], packed["count"]) == (kind, 4)
    assert unpacked(packed).tolist() == values.reshape(-1).tolist()
    assert levels(pack_levels(values)).tolist() == values.reshape(-1).tolist()
    assert unpacked(pack_json({"a": [most]})) == {"a": [most]}
    assert pack_array(np.zeros(0))["count"] == 0


def test_arrays_that_cannot_be_packed() -> None:
    with pytest.raises(ValueError, match="negative"):
        pack_array(np.array([-1]))
    with pytest.raises(ValueError, match="32 bits"):
        pack_array(np.array([1 << 32]))


def test_cells_name_every_cores_program_and_colours(gpt_image: Image) -> None:
    table = cells.cores(gpt_image)
    cell = unpacked(table["cell"]).reshape(gpt_image.target.usable[3], gpt_image.target.usable[2])
    program = unpacked(table["program"]).astype(int)
    queues = {name: unpacked(table[name]).astype(int).reshape(-1, table["queues"][name]) for name in ("inq", "outq")}
    x, y = core_positions(gpt_image)
    kind = cell[y - gpt_image.target.usable[1], x - gpt_image.target.usable[0]].astype(int) - 1
    assert (kind >= 0).all() and np.count_nonzero(cell) == len(gpt_image.cores)
    assert np.array_equal(program[kind] - 1, gpt_image.cores["program"])
    for name, colours in queues.items():
        assert np.array_equal(colours[kind] - 1, gpt_image.cores[name])


def test_loads_and_colours_are_those_of_the_wires(gpt_image: Image) -> None:
    wires = trace(gpt_image)
    assert [levels(load).tolist() for load in cells.loads(wires)] == [load.reshape(-1).tolist() for load in wires.load]
    used = kernels.colours_used(gpt_image)
    x0, y0 = gpt_image.target.usable[:2]
    row, column = np.unravel_index(int(used.argmax()), used.shape)
    assert len(core_detail(gpt_image, int(column) + x0, int(row) + y0)["routes"]) == used.max()
    again = {name: unpacked(column).tolist() for name, column in cells.routes(gpt_image).items()}
    assert again == {name: gpt_image.routes[name].tolist() for name in gpt_image.routes.dtype.names or ()}


def test_kernels_add_up_to_the_image(gpt_image: Image) -> None:
    data = page_data(gpt_image, "gpt.wse")
    found = data["kernels"]
    assert [kernel["name"] for kernel in found] == [block.name for block in gpt_image.blocks]
    summary, memory = data["report"]["summary"], data["report"]["memory"]
    assert sum(kernel["cores"] for kernel in found) == summary["cores_used"]
    assert 2 * sum(kernel["macs"] for kernel in found) == summary["flops_per_token"]
    assert sum(kernel["memory_total"] for kernel in found) == memory["total"]
    assert max(kernel["memory_max"] for kernel in found) == memory["owners"]["all"]["max"]
    for kernel in found:
        assert sum(total for _, total in kernel["owners"].values()) <= kernel["memory_total"]
        assert sum(cores for _, cores in kernel["programs"]) == kernel["cores"]
    for kernel, block in zip(found, gpt_image.blocks, strict=True):
        assert tuple(data["nodes"][node] for node in kernel["nodes"]) == block.onnx
    assert [kernel["layers"] for kernel in found if kernel["kind"] == "attention"] == [[0, 0], [1, 1]]
    assert data["bounds"]["host"] == gpt_image.manifest["report"]["size"]["host_bound_cycles"]
    ports = {port["name"]: port["interval"] for port in data["ports"]}
    assert ports["logits"] == gpt_image.manifest["report"]["cycles"]["output0"][0]


def test_streams_join_the_kernels(gpt_image: Image) -> None:
    tables = Tables(gpt_image)
    found = kernels.streams(gpt_image, tables, trace(gpt_image, tables))
    for stream in found:
        assert len(stream["ways"]) == len(stream["to"])
        for kernel, way in zip(stream["to"], stream["ways"], strict=True):
            assert len(way) % 2 == 0
            if kernel >= 0:
                block = gpt_image.blocks[kernel]
                assert 0 <= way[-2] - block.x < block.size[0] and 0 <= way[-1] - block.y < block.size[1]
    assert {kernel for stream in found for kernel in stream["to"]} >= set(range(len(gpt_image.blocks)))


def test_programs_are_those_of_inspect(gpt_image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    texts, facts = programs.texts(gpt_image), programs.programs(gpt_image)
    x, y = core_positions(gpt_image)
    for core in range(0, len(gpt_image.cores), 97):
        detail = core_detail(gpt_image, int(x[core]), int(y[core]))
        if detail["status"] != "running":
            continue
        number = int(gpt_image.cores["program"][core])
        assert texts[number] == detail["assembly"]
        assert facts[number]["bytes"] == detail["memory_used"]
        told = [[m["address"], m["bytes"], m["owner"], m["name"]] for m in detail["memory"]]
        assert facts[number]["memory"] == told
        queues = [(q[0], q[1]) for way in ("in", "out") for q in facts[number][way]]
        assert queues == [(q["queue"], q["name"]) for q in detail["queues"]]
    cores = np.bincount(gpt_image.cores["program"][gpt_image.cores["program"] >= 0])
    monkeypatch.setattr(programs, "TEXT_BYTES", 30_000)
    some = programs.texts(gpt_image)
    kept = [number for number, text in enumerate(some) if text is not None]
    assert 0 < sum(len(some[n] or "") for n in kept) <= 30_000 and len(kept) < len(some)
    assert cores[kept].min() >= max(int(cores[n]) for n in range(len(some)) if n not in kept)


def test_the_same_image_gives_the_same_page_and_dead_cores_are_told(gpt_image: Image) -> None:
    assert json.dumps(page_data(gpt_image, "a")) == json.dumps(page_data(gpt_image, "a"))
    image = echo_image()
    dead = changed(image, target=with_defects(image.target, ((2, 1, 1, 1),), "test"))
    assert page_data(dead, "a")["target"]["defects"] == [[2, 1, 1, 1]]


@pytest.mark.parametrize("place", [(0, 1), (3, 1), (1, 0), (1, 2)])
def test_cores_outside_the_usable_rectangle_are_left_out(place: tuple[int, int]) -> None:
    """An illegal image, which one may want to look at all the same."""
    image = echo_image()  # its usable cores are (1,1) and (2,1)
    moved = dataclasses.replace(image.blocks[0], x=place[0], y=place[1])
    data = page_data(changed(image, blocks=[moved, image.blocks[1]]), "a")
    assert (unpacked(data["cores"]["cell"]) > 0).tolist() == [False, True]
    assert [kernel["box"] for kernel in data["kernels"]] == [[*place, 1, 1], [2, 1, 1, 1]]


def test_an_image_of_strangers_needs_no_notes() -> None:
    data = page_data(changed(echo_image(), manifest={"report": {"cycles": 3}, "provenance": [1]}), "e")
    assert data["provenance"] == {} and data["notes"] == {"size": {}, "place": {}, "route": {}}
    assert all(kernel["interval"] is None for kernel in data["kernels"])


# Runs


@pytest.fixture(scope="module")
def run_json(gpt_image: Image) -> dict[str, Any]:
    session = load(gpt_image, engine="cycle")
    session.run(input_ids=np.arange(6)[None])
    assert session.timing is not None
    return {"timing": report(gpt_image, session.timing), "cores": by_core(session.timing)}


def test_a_run_adds_up(gpt_image: Image, run_json: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps(run_json))
    found = run(gpt_image, read_run(tmp_path / "run.json"), "run.json")
    spent = np.array([unpacked(column) for column in found["spent"]])
    assert (spent.sum(axis=0) == found["cycles"]).all() and spent.shape[1] == len(gpt_image.cores)
    assert spent.sum(axis=1).tolist() == list(run_json["timing"]["spent"].values())
    for kernel, told in zip(found["kernels"], run_json["timing"]["kernels"], strict=True):
        assert kernel["spent"] == list(told["spent"].values())
        assert kernel["interval_cycles"] == told["interval_cycles"]


def test_a_run_of_something_else_is_refused(gpt_image: Image, run_json: dict[str, Any], tmp_path: Path) -> None:
    def broken(change: Any) -> dict[str, Any]:
        data: dict[str, Any] = json.loads(json.dumps(run_json))
        change(data)
        return data

    for data in (
        [],
        {"timing": 3},
        broken(lambda d: d.pop("cores")),
        broken(lambda d: d["cores"].pop()),
        broken(lambda d: d["timing"]["kernels"][0].update(kernel="other")),
        broken(lambda d: d["timing"]["kernels"][0].update(box=[0, 0, 1, 1])),
        broken(lambda d: d["cores"][1]["spent"]["busy"].append(1)),
        broken(lambda d: d["cores"][1]["spent"]["busy"].__setitem__(0, -1)),
        broken(lambda d: d["cores"][1]["spent"]["busy"].__setitem__(0, "<b>")),
        broken(lambda d: d["timing"].update(cycles="many")),
    ):
        with pytest.raises(InputError, match="not a run of this image"):
            run(gpt_image, data, "run.json")
    with pytest.raises(InputError, match="no such file"):
        read_run(tmp_path / "none.json")
    (tmp_path / "bad.json").write_bytes(b"\xff{")
    with pytest.raises(InputError, match="not a run file"):
        read_run(tmp_path / "bad.json")


# IR


TEXT = """builtin.module @m {
    phase = "flow",
    source = {model = "a.onnx"}
} {
  %h.0.x = flow.matvec @a.b (%1) {n = 3,
      columns = [1], name = "flow.other (x)"} : stream
      loc("a")
  %2, %3 = flow.fork(%0) : stream, stream
  core.block {sym_name = "b"} {
    core.run {rows = [0, 1]}
  }
}
resources {
  builtin.resource @w {dtype = "f32"}
}
"""


def test_ops_are_counted() -> None:
    assert count_ops(TEXT) == {"builtin.resource": 1, "core.block": 1, "core.run": 1, "flow.fork": 1, "flow.matvec": 1}


def test_stages_belong_to_the_phase_they_lead_to() -> None:
    def stage(name: str, phase: str, lines: int = 1) -> Stage:
        return Stage(name, f'builtin.module {{phase = "{phase}"}} {{\n' + "  graph.add\n" * lines + "}\n", 0.5)

    found = stages(
        [stage("import", "import"), stage("a", "import", 2), stage("b", "canonical"), stage("c", "canonical")]
    )
    assert [(s["name"], s["phase"], s["ends"]) for s in found] == [
        ("import", "import", True),
        ("a", "canonical", False),
        ("b", "canonical", True),
        ("c", "canonical", True),  # whatever came after is missing
    ]
    assert found[1]["ops"] == {"graph.add": 2} and found[1]["seconds"] == 0.5
    assert unpacked(found[0]["text"]) == stage("import", "import").text.rstrip("\n")


def test_long_texts_are_cut_where_lines_are_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.page.stages.TEXT_BYTES", 4000)
    many = "".join(f"  fabric.channel {{n = {i}}}\n" for i in range(1000))
    text, left_out = shortened(f"builtin.module {{\n{many}  core.block {{\n    core.run\n  }}\n}}")
    assert len(text) <= 4000 and "core.run" in text
    assert f"... {left_out} more fabric.channel are left out" in text
    assert text.count("fabric.channel {") == 1000 - left_out
    longer = many.replace("}\n", ",\n      m = 1}\n")  # ops on two lines
    folded, left_out = shortened(f"builtin.module {{\n{longer}}}")
    assert left_out % 2 == 0 and folded.count("m = 1") == folded.count("fabric.channel {") == 1000 - left_out // 2
    long = "builtin.module {" + "x" * 9000 + "} {"
    cut, _ = shortened(f"{long}\n}}")
    assert len(cut) < 2200 and cut.split("\n")[0].endswith("} {") and "characters are left out" in cut
    different = "\n".join(f"  graph.op{'x' * (i % 9)}{i}" for i in range(3000))
    text, left_out = shortened(different)
    assert len(text) < 4100 and text.endswith(f"... the rest, {left_out} lines, is left out here")


def test_a_folder_of_ir_is_read_in_order(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        read_folder(tmp_path / "none")
    with pytest.raises(InputError, match="no NN-pass"):
        read_folder(tmp_path)
    for name in ("10-b.wir", "02-a-b.wir", "notes.txt"):
        (tmp_path / name).write_text(TEXT)
    assert [stage.name for stage in read_folder(tmp_path)] == ["a-b", "b"]
    (tmp_path / "11-c.wir").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="as text"):
        read_folder(tmp_path)


# Two images


def test_an_image_does_not_differ_from_itself(gpt_image: Image) -> None:
    page = page_data(gpt_image, "a.wse")
    found = compare(page, page)
    assert found["counts"]["unchanged"] == len(gpt_image.blocks) and found["options"] == []
    assert all(line["old"] == line["new"] for line in (*found["numbers"], *found["kernels"]))


def test_changes_of_kernels_are_named(gpt_image: Image) -> None:
    old = page_data(gpt_image, "old.wse")
    new = json.loads(json.dumps(old))
    new["kernels"][0]["box"][0] += 5
    new["kernels"][1]["box"][3] += 2
    new["kernels"][2]["turned"] ^= 2
    new["kernels"][3]["interval"] += 7
    new["kernels"][4]["name"] = "renamed"
    del new["kernels"][5]
    new["kernels"].append({**new["kernels"][0], "name": "extra", "kind": "norm", "nodes": [0]})
    new["report"]["summary"]["interval_cycles"] -= 10
    new["provenance"]["precision"] = "fp16"
    found = compare(old, new)
    became = {
        (old["kernels"][line["old"]]["name"] if line["old"] is not None else "extra"): line for line in found["kernels"]
    }
    names = [kernel["name"] for kernel in old["kernels"]]
    assert [became[name]["changes"] for name in names[:6]] == [
        ["moved"], ["reshaped"], ["turned"], [], [f"was {names[4]}"], ["removed"],
    ]  # fmt: skip
    assert became[names[3]]["costs"] == {"interval": [old["kernels"][3]["interval"], new["kernels"][3]["interval"]]}
    assert became["extra"]["changes"] == ["added"]
    counts = {
        key: found["counts"][key] for key in ("added", "removed", "moved", "reshaped", "turned", "with other costs")
    }
    assert counts == dict.fromkeys(counts, 1)
    assert found["numbers"][0]["new"] - found["numbers"][0]["old"] == -10
    assert found["options"] == [{"name": "precision", "old": "fp32", "new": "fp16"}]
    text = compare_text.text(found, old, new, 3)
    assert "-10 (" in text and "better" in text and "1 added, 1 removed" in text and "more: --top" in text
    assert "extra" not in text and "extra" in compare_text.text(found, old, new, 100)


def test_names_in_the_difference_are_harmless_in_a_terminal() -> None:
    image = echo_image()
    blocks = [dataclasses.replace(image.blocks[0], name="a\x1b[2J"), *image.blocks[1:]]
    old, new = page_data(image, "a\x1b]0;b"), page_data(changed(image, blocks=blocks), "b")
    assert "\x1b" not in compare_text.text(compare(old, new), old, new, 9)


def test_kernels_pair_by_purpose_before_name() -> None:
    """Two kernels that swapped their names are still the same two."""
    image = matvec_image(np.ones((8, 6), np.float32))
    old, new = page_data(image, "a"), page_data(image, "b")
    other = {**new["kernels"][0], "name": "second", "kind": "other", "nodes": []}
    old["kernels"] = [old["kernels"][0], {**other}]
    new["kernels"] = [{**new["kernels"][0], "name": "second"}, {**other, "name": old["kernels"][0]["name"]}]
    assert [(line["old"], line["new"]) for line in compare(old, new)["kernels"]] == [(0, 0), (1, 1)]
