"""Pages in a headless Chromium: they load without an error, and say of kernels, nodes and cores what the image says."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_browser import Browser, browser
from random_gpt import Shape, random_gpt
from validate_images import changed, echo_image, matvec_image

from compiler.driver import Options, build, lower
from runtime.cycle.report import by_core, report
from runtime.image import Image
from runtime.inspect import core_detail
from runtime.page.compare import compare
from runtime.page.data import Extras, page_data
from runtime.page.html import difference_html, report_html
from runtime.page.stages import Stage
from runtime.session import load
from runtime.tables import core_blocks, core_positions
from runtime.wires import HOST, trace

__all__ = ["browser"]

HOSTILE = "</script><img src=x onerror=alert(1)><b>bold\u202eevil&amp;{{x}}$style"
IR = """builtin.module @m {
    phase = "import",
    options = {}
} {
  graph.add {name = "</pre><script>alert(1)</script>"}
  core.block @b {rows = 1,
      cols = 2} {
    core.task {
      core.run
    }
  }
  graph.last
}
resources {
  builtin.resource @w
}"""


@pytest.fixture(scope="module")
def page(gpt_image: Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the GPT with a cycle run and some IR."""
    session = load(gpt_image, engine="cycle")
    session.run(input_ids=np.arange(6)[None])
    assert session.timing is not None
    run = {"timing": report(gpt_image, session.timing), "cores": by_core(session.timing)}
    stages = [Stage("import", IR, 0.25), Stage("fold", IR.replace("import", "canonical"), 0.5)]
    extras = Extras(run, "run.json", stages, {"import": 0.25, "canonical": 0.5})
    path = tmp_path_factory.mktemp("page") / "gpt.html"
    path.write_text(report_html(page_data(gpt_image, "gpt.wse", extras)))
    return path


def pixels(browser: Browser) -> int:
    """How many colours the map shows."""
    return int(
        browser.js(
            "const map = document.querySelector('canvas.wafer'), c = document.createElement('canvas');"
            "c.width = map.width; c.height = map.height;"
            "const context = c.getContext('2d', {willReadFrequently: true}); context.drawImage(map, 0, 0);"
            "return new Set(new Uint32Array(context.getImageData(0, 0, c.width, c.height).data.buffer)).size"
        )
    )


def test_loads_quickly_and_silently(browser: Browser, page: Path, record_property: Any) -> None:
    ready = min(browser.open(page) for _ in range(3))  # the machine may do other things
    record_property("ready_ms", ready)
    record_property("bytes", page.stat().st_size)
    assert ready < 2000 and page.stat().st_size < 1 << 20
    assert browser.text("h1") == "gpt.wse" and pixels(browser) > 20
    assert browser.js("return performance.getEntriesByType('resource').length") == 0
    assert browser.errors() == []


def test_every_view_has_a_legend(browser: Browser, page: Path) -> None:
    browser.open(page)
    views = browser.js("return [...document.querySelectorAll('.views [data-view]')].map((b) => b.dataset.view)")
    assert views == ["kernel", "layer", "memory", "load", "colours", "pace", "busy", "stall"]
    legends = []
    for number, view in enumerate(views, 1):
        browser.keys(str(number))
        assert browser.js("return document.querySelector('.map').dataset.view") == view
        assert browser.js("return document.querySelectorAll('.views [aria-pressed=true][data-view]').length") == 1
        legends.append(browser.text(".legend"))
        assert pixels(browser) > 10
    assert len(set(legends)) == len(views)
    assert "49,152" in legends[2] and "attention" in legends[0]
    browser.keys("l")
    assert browser.text(".legend") != legends[-1]
    assert browser.errors() == []


def test_click_a_kernel_then_a_core(browser: Browser, page: Path, gpt_image: Image) -> None:
    browser.open(page)
    x, y = core_positions(gpt_image)
    block = next(block for block in gpt_image.blocks if block.kind == "attention")
    browser.js("document.querySelector('.zooms button:nth-child(3)').click()")
    core = block.first + block.cols + 1
    at = int(x[core]), int(y[core])
    browser.click_cell(*at)
    if "core" in browser.text(".detail h2"):  # so few cores that each can be told apart
        browser.click(".detail button.link", block.name)
    assert browser.text(".detail h2") == block.name
    assert browser.texts(".detail ul.names li") == list(block.onnx)[:10] + [""] * max(0, len(block.onnx) - 10)
    browser.click_cell(*at)
    assert browser.text(".detail h2") == f"core ({at[0]},{at[1]})"
    detail = core_detail(gpt_image, *at)
    browser.until("return document.querySelector('.detail pre.program').textContent !== '...'")
    assert browser.js("return document.querySelector('.detail pre.program').textContent") == detail["assembly"]
    memory = browser.js("return [...document.querySelectorAll('.detail tbody')][0].innerText")
    wanted = [
        f"{m['address']:,}\t{m['bytes']:,}\t{m['owner']}\t{m['name']}".rstrip() for m in detail["memory"] if m["bytes"]
    ]
    assert [line.rstrip() for line in memory.split("\n") if line.strip()] == wanted
    browser.click(".detail button.link", block.name)
    assert browser.text(".detail h2") == block.name
    browser.driver.back()
    browser.until(f"return document.querySelector('.detail h2').innerText === 'core ({at[0]},{at[1]})'")
    assert browser.errors() == []


def test_wires_of_cores_lead_where_the_tables_lead(browser: Browser, page: Path, gpt_image: Image) -> None:
    """The page follows channels by itself: against the tracing of `runtime.wires`."""
    wires = trace(gpt_image)
    place = {(int(wires.x[i]), int(wires.y[i]), int(wires.colour[i])): i for i in np.flatnonzero(wires.source != HOST)}
    x, y = core_positions(gpt_image)
    for core in range(3, len(gpt_image.cores), 101):
        at = int(x[core]), int(y[core])
        detail = core_detail(gpt_image, *at)
        if detail["status"] != "running":
            continue
        browser.open(page, f"#core={at[0]},{at[1]}")
        lines = browser.js(
            "const all = [...document.querySelectorAll('.detail section')];"
            "const s = all.find((s) => s.innerText.startsWith('ITS WIRES'));"
            "return [...s.querySelectorAll('tbody tr')].map((r) => [...r.cells].map((c) => c.innerText))"
        )
        assert [(line[0], int(line[2])) for line in lines] == [(q["direction"], q["colour"]) for q in detail["queues"]]
        for line in lines:
            if line[0] == "in":
                assert line[4] != "nowhere"
                continue
            channel = place[*at, int(line[2])]
            ends = wires.end_channel == channel
            assert int(line[3].replace(",", "")) == wires.words[channel]
            assert line[4].endswith(f"{wires.hops[ends].max()} hop{'s' if wires.hops[ends].max() != 1 else ''}")
            told = line[4].count("(") + line[4].count("host")
            more = int(line[4].split(" and ")[1].split(" more")[0].replace(",", "")) if " more" in line[4] else 0
            assert told + more == np.count_nonzero(ends)
    assert browser.errors() == []


def test_search_by_node_and_the_way_back(browser: Browser, page: Path, gpt_image: Image) -> None:
    node = next(block for block in gpt_image.blocks if block.kind == "attention").onnx[0]
    kernels = [block.name for block in gpt_image.blocks if node in block.onnx]
    browser.open(page)
    browser.keys("/", *node)
    assert browser.text("[role=option][aria-selected=true] b") == node
    browser.keys("ENTER")
    assert browser.text(".detail h2") == node
    assert browser.texts(".detail ul.names button") == kernels
    browser.click(".detail ul.names button", kernels[-1])
    assert browser.text(".detail h2") == kernels[-1]
    browser.click(".detail ul.names button", node)
    assert browser.text(".detail h2") == node
    browser.keys("/", "9", ",", "4", "ENTER")
    assert browser.text(".detail h2") == "core (9,4)"
    assert float(browser.js("return document.querySelector('canvas.wafer').dataset.scale")) >= 14
    browser.keys("/", *"nothing is called so")
    assert "nothing is called that" in browser.text("[role=listbox]")
    browser.keys("ESCAPE")
    assert browser.js("return document.querySelector('[role=listbox]').hidden")
    assert browser.errors() == []


def test_keyboard(browser: Browser, page: Path) -> None:
    browser.open(page)

    def view() -> tuple[float, float, float]:
        found = browser.js("return {...document.querySelector('canvas.wafer').dataset}")
        return float(found["x"]), float(found["y"]), float(found["scale"])

    start = view()
    browser.keys("+")
    assert view()[2] > start[2] and view()[:2] == start[:2]
    browser.js("document.querySelector('canvas.wafer').focus()")
    browser.keys("ARROW_RIGHT", "ARROW_DOWN")
    assert view()[0] > start[0] and view()[1] > start[1]
    browser.keys("ENTER")
    assert browser.js("return document.querySelector('.detail').dataset.selected") in ("core", "kernel")
    browser.keys("ESCAPE")
    assert browser.js("return document.querySelector('.detail').dataset.selected") == "nothing"
    browser.keys("0")
    assert view() == start
    browser.keys("?")
    assert browser.js("return document.querySelector('dialog').open")
    browser.keys("ESCAPE")
    assert not browser.js("return document.querySelector('dialog').open")
    grounds = set()
    for _ in range(2):
        browser.keys("t")
        grounds.add(browser.js("return getComputedStyle(document.body).backgroundColor"))
    assert len(grounds) == 2
    browser.keys("TAB")
    assert browser.js("return document.activeElement !== document.body")
    assert browser.errors() == []


def test_table_sorts_and_pipeline_shows(browser: Browser, page: Path, gpt_image: Image) -> None:
    browser.open(page)
    cycles = gpt_image.manifest["report"]["cycles"]
    shown = {block.name: cycles[block.name][0] for block in gpt_image.blocks}
    browser.click("#kernels th button", "interval")
    first = browser.js("return [...document.querySelector('#kernels tbody tr').cells].map((c) => c.innerText)")
    assert shown[first[1]] == max(shown.values()) and f"{max(shown.values()):,}" in first
    browser.click("#kernels th[aria-sort=descending] button")
    last = browser.js("return document.querySelector('#kernels tbody tr').cells[1].innerText")
    assert shown[last] == min(shown.values())
    assert len(browser.texts("#kernels tbody tr")) == len(gpt_image.blocks)
    bars = browser.js("return document.querySelectorAll('#pipeline g.stage').length")
    assert bars == len(gpt_image.blocks) + len(gpt_image.ports)
    bounds = browser.js("return [...document.querySelectorAll('#pipeline text.bound')].map((t) => t.textContent)")
    size = gpt_image.manifest["report"]["size"]
    assert bounds[0] == f"host bound {size['host_bound_cycles']:,}" and bounds[1].startswith("area bound")
    browser.js(
        "document.querySelectorAll('#pipeline g.stage')[2].dispatchEvent(new MouseEvent('click', {bubbles: true}))"
    )
    assert browser.text(".detail h2") == gpt_image.blocks[1].name
    assert browser.errors() == []


def test_ir_unfolds(browser: Browser, page: Path) -> None:
    browser.open(page)
    assert browser.texts("#passes td:nth-child(3)") == ["import", "fold"]
    browser.click("#passes td button", "fold")
    browser.until("return document.querySelector('#ir-1 .region')")
    opened = browser.js("return document.querySelector('#ir-1 .ir').textContent")
    assert "graph.add" in opened and "<script>alert(1)</script>" in opened
    assert "core.task" not in opened and "graph.last" in opened and "builtin.resource" not in opened  # folded
    folded = [text.strip() for text in browser.texts("#ir-1 .region > summary")]
    assert folded == ["builtin.module @m { 8 lines", "core.block @b {rows = 1, 3 lines", "resources { 1 line"]
    browser.js("document.querySelectorAll('#ir-1 .region')[1].open = true")
    browser.until("return document.querySelector('#ir-1 .ir').textContent.includes('core.task')")
    browser.js("document.querySelectorAll('#ir-1 details').forEach((d) => { d.open = true; })")
    browser.until("return document.querySelectorAll('#ir-1 .region').length === 4")
    browser.js("document.querySelectorAll('#ir-1 details').forEach((d) => { d.open = true; })")
    whole = (
        "return [...document.querySelectorAll('#ir-1 .ir code, #ir-1 .ir pre')].map((e) => e.textContent).join('\\n')"
    )
    browser.until(f"{whole}.includes('core.run')")
    assert browser.js(whole) == IR.replace("import", "canonical")
    assert browser.js("return document.querySelectorAll('#ir-1 script').length") == 0
    assert browser.errors() == []


def test_layers_that_share_kernels(browser: Browser, tmp_path: Path) -> None:
    """Four layers, two at a time: the page tells which layers a kernel works for, and that passes set the pace."""
    shape = Shape(layers=4, heads=2, head_dim=8, hidden=24, vocab=31, positions=12)
    module, resources = random_gpt(shape, 7)
    image = build(module, resources, lower(module, resources, Options("mini-32x32", fold=2)), {})
    session = load(image, engine="cycle")
    session.run(ids=np.arange(4)[None])
    assert session.timing is not None
    run = {"timing": report(image, session.timing), "cores": by_core(session.timing)}
    data = page_data(image, "folded.wse", Extras(run, "run.json"))
    path = tmp_path / "folded.html"
    path.write_text(report_html(data))
    browser.open(path)
    loops = data["report"]["summary"]["loops"]
    cards = browser.js("return document.querySelector('.cards').textContent")
    assert "2 layers each" in cards and "2 sets" in cards
    assert f"{max(loop['pass_cycles'] for loop in loops):,} cycles" in cards
    bounds = browser.js("return [...document.querySelectorAll('#pipeline text.bound')].map((t) => t.textContent)")
    assert bounds[-1] == f"passes {data['bounds']['passes']:,}"
    assert data["bounds"]["passes"] == data["report"]["summary"]["interval_cycles"]
    browser.keys("2")
    assert [text.split() for text in browser.texts(".legend .swatch")] == [
        ["outside", "3"], ["0", "to", "1", "13"], ["2", "to", "3", "13"],
    ]  # fmt: skip
    browser.keys("/", *"attention layers 2", "ENTER")
    assert "attention, layers 2 to 3: " in browser.text(".detail .lead")
    browser.keys("1")
    colours = browser.js("return [...document.querySelectorAll('.swatch i')].map((i) => i.style.background)")
    assert len(set(colours)) == len({block.kind for block in image.blocks})
    assert browser.errors() == []


@pytest.mark.parametrize("west", [0, 2])
def test_kernels_half_outside_the_usable_rectangle(browser: Browser, tmp_path: Path, west: int) -> None:
    """An illegal image: what is outside shows nowhere else."""
    image = matvec_image()  # usable are columns 1 to 3, rows 1 and 2; the kernel is as large
    image.blocks[0] = dataclasses.replace(image.blocks[0], x=west)
    path = tmp_path / "illegal.html"
    path.write_text(report_html(page_data(image, "illegal.wse")))
    for row in (1, 2):
        for column in (1, 2, 3):
            browser.open(path, f"#core={column},{row}")
            inside = west <= column < west + 3
            assert ("No kernel lies here" in browser.text(".detail")) == (not inside)
            if inside:
                assert f"row {row - 1}, column {column - west} of" in browser.text(".detail")
    assert browser.errors() == []


def hostile(image: Image) -> Image:
    first = dataclasses.replace(image.blocks[0], name=HOSTILE, kind=HOSTILE, onnx=(HOSTILE, "constructor", "__proto__"))
    programs = [dataclasses.replace(program, name=HOSTILE) for program in image.programs]
    ports = [dataclasses.replace(port, name=HOSTILE) for port in image.ports]
    notes = {"report": {"size": {HOSTILE: HOSTILE}, "remarks": {HOSTILE: HOSTILE}}, "provenance": {"model": HOSTILE}}
    return changed(image, blocks=[first, *image.blocks[1:]], programs=programs, ports=ports, manifest=notes)


def test_names_from_strangers_are_text(browser: Browser, tmp_path: Path) -> None:
    data = page_data(
        hostile(echo_image()), HOSTILE, Extras(stages=[Stage(HOSTILE, IR), Stage("b", IR)], seconds={HOSTILE: 1.0})
    )
    path = tmp_path / "hostile.html"
    for text in (report_html(data), difference_html(data, {**data, "file": "b"}, compare(data, {**data, "file": "b"}))):
        path.write_text(text)
        browser.open(path)
        x, y = data["kernels"][0]["box"][:2]
        browser.click_cell(x, y)
        browser.click_cell(x, y)
        assert browser.js("return document.querySelectorAll('img, b > b, iframe, object').length") == 0
        assert browser.js("return document.querySelectorAll('script').length") == 1
        seen = browser.js("return document.body.innerText")
        assert "<img src=x onerror=alert(1)>" in seen and "\u202e" not in seen and "\\u{202e}" in seen
        assert browser.errors() == []
    path.write_text(report_html(data))
    browser.open(path)
    browser.keys("/", *"onerror", "ENTER")
    assert "<img src=x" in browser.text(".detail h2")


def test_policy_stops_what_escaping_let_through(browser: Browser, tmp_path: Path) -> None:
    """A second wall: markup put into the page by force runs nothing and fetches nothing."""
    path = tmp_path / "page.html"
    path.write_text(report_html(page_data(echo_image(), "echo.wse")))
    browser.open(path)
    browser.js(
        "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hit = 1\">');"
        "const s = document.createElement('script'); s.textContent = 'window.hit = 2'; document.body.append(s)"
    )
    browser.until("return document.images.length === 1 && document.images[0].complete")
    assert browser.js("return window.hit") is None
    assert any("Content Security Policy" in message for message in browser.errors())


def test_difference_moves_together(browser: Browser, gpt_image: Image, tmp_path: Path) -> None:
    old = page_data(gpt_image, "old.wse")
    new: dict[str, Any] = json.loads(json.dumps({**old, "file": "new.wse"}))
    gone = new["kernels"].pop()["name"]
    new["streams"] = []
    new["kernels"][2]["interval"] += 40
    path = tmp_path / "diff.html"
    path.write_text(difference_html(old, new, compare(old, new)))
    browser.open(path)

    def views() -> list[Any]:
        return list(browser.js("return [...document.querySelectorAll('canvas.wafer')].map((c) => ({...c.dataset}))"))

    assert views()[0] == views()[1]
    start = views()[0]
    browser.keys("+")
    browser.js("document.querySelectorAll('canvas.wafer')[1].focus()")
    browser.keys("ARROW_LEFT")
    assert views()[0] == views()[1] != start
    assert "1 removed" in browser.text("#changes") and "1 with other costs" in browser.text("#changes")
    browser.click("#kernels tbody button", gone)
    assert "removed" in browser.text(".compared h2") and "not in new" in browser.text(".compared").lower()
    browser.click("#kernels tbody button", old["kernels"][2]["name"])
    assert browser.text(".compared").count(f"{old['kernels'][2]['interval']:,} cycles") == 1
    assert f"{new['kernels'][2]['interval']:,} cycles" in browser.text(".compared")
    browser.keys("4")
    assert browser.js("return [...document.querySelectorAll('.map')].map((m) => m.dataset.view)") == [
        "memory",
        "memory",
    ]
    assert browser.errors() == []


def test_a_kernels_core_positions_follow_its_orientation(browser: Browser, page: Path, gpt_image: Image) -> None:
    x, y = core_positions(gpt_image)
    blocks = core_blocks(gpt_image)
    seen: set[int] = set()
    for core in range(len(gpt_image.cores)):
        block = gpt_image.blocks[int(blocks[core])]
        row, column = divmod(core - block.first, block.cols)
        if block.orientation.code in seen or not (row or column):
            continue
        seen.add(block.orientation.code)
        browser.open(page, f"#core={x[core]},{y[core]}")
        assert browser.text(".detail .lead").startswith(f"row {row}, column {column} of {block.name}")
    assert len(seen) > 1
