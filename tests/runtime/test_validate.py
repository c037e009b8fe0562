"""The validator: legal images pass, and every broken rule is found, with its code and its place."""

from __future__ import annotations

import ast
import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from validate_images import (
    F32,
    I32,
    E,
    N,
    R,
    S,
    W,
    changed,
    echo_image,
    edit_program,
    exchange_image,
    matvec_image,
    routes,
)

import runtime.validate
from runtime.image import Image, Tensor
from runtime.isa import Alu, Binary, Const, FifoDef, Fmac, If, In, Loop, Mem, Mov, Out, Reg, Region, Task
from runtime.tables import expand_routes
from runtime.target import with_defects
from runtime.validate import deadlock, validate
from runtime.validate.report import MAX_PER_CODE

LEGAL = {"matvec": matvec_image, "echo": echo_image, "exchange": lambda: exchange_image(4)}


@pytest.mark.parametrize("name", LEGAL)
def test_legal_image_has_no_violation(name: str) -> None:
    report = validate(LEGAL[name]())
    assert report.text() == ""
    assert report.ok and report.facts["deadlock_free"]


def test_facts_are_measured() -> None:
    facts = validate(matvec_image()).facts
    assert (facts["cores"], facts["router_entries"], facts["max_colours"], facts["channels"]) == (6, 15, 3, 8)
    assert facts["colours_histogram"] == {"2": 3, "3": 3}
    assert facts["hops"] == 2 * 2 + 3 + 3  # along two rows, down three columns, out of three ports
    assert facts["words"] == 8 * 3
    assert (facts["max_link_words"], facts["max_link"]) == (6, "(1,2) to its core")


def mutate_routes(**fields: Any) -> Callable[[Image], Image]:
    """Change fields of route rectangle `index` of an image."""
    index = fields.pop("index")

    def mutation(image: Image) -> Image:
        table = image.routes.copy()
        for name, value in fields.items():
            table[index][name] = value
        return changed(image, routes=table)

    return mutation


def add_route(*entry: int) -> Callable[[Image], Image]:
    return lambda image: changed(image, routes=np.concatenate([image.routes, routes(entry)]))  # type: ignore[arg-type]


def mutate_core(number: int, field: str, queue: int, colour: int) -> Callable[[Image], Image]:
    def mutation(image: Image) -> Image:
        cores = image.cores.copy()
        cores[field][number, queue] = colour
        return changed(image, cores=cores)

    return mutation


def mutate_body(program: int, edit: Callable[[tuple[Any, ...]], tuple[Any, ...]]) -> Callable[[Image], Image]:
    def mutation(image: Image) -> Image:
        task = image.programs[program].tasks[0]
        tasks = (dataclasses.replace(task, body=edit(task.body)), *image.programs[program].tasks[1:])
        return edit_program(image, program, tasks=tasks)

    return mutation


def mutate_block(**fields: Any) -> Callable[[Image], Image]:
    return lambda image: changed(image, blocks=[dataclasses.replace(image.blocks[0], **fields), *image.blocks[1:]])


def mutate_init(**fields: Any) -> Callable[[Image], Image]:
    return lambda image: changed(image, inits=[dataclasses.replace(image.inits[0], **fields)])


def mutate_lane(port: int, **fields: Any) -> Callable[[Image], Image]:
    def mutation(image: Image) -> Image:
        lanes = image.ports[port].lanes
        ports = list(image.ports)
        ports[port] = dataclasses.replace(ports[port], lanes=(dataclasses.replace(lanes[0], **fields), *lanes[1:]))
        return changed(image, ports=ports)

    return mutation


def share_memory(image: Image) -> Image:
    program = image.programs[0]
    shared = Mem(16, F32)
    tasks = tuple(dataclasses.replace(task, body=(*task.body, Mov(shared, Const(1.0)))) for task in program.tasks)
    return edit_program(image, 0, tasks=tasks, regions=(*program.regions, Region("shared", "buffer", 16, 4)))


def two_tasks_one_queue(image: Image) -> Image:
    half = Task("half", (Mov(Mem(4, F32, 2), In(2, 2)),))
    return edit_program(image, 0, tasks=(*image.programs[0].tasks, half))


def too_many_tasks(image: Image) -> Image:
    idle = tuple(Task(f"idle{i}", ()) for i in range(9))
    return edit_program(image, 0, tasks=(*image.programs[0].tasks, *idle))


def resize(image: Image) -> Image:
    regions = (*image.programs[1].regions, Region("cache", "cache", 36, 49000))
    return edit_program(image, 1, regions=regions)


def overlap_regions(image: Image) -> Image:
    return edit_program(image, 0, regions=(*image.programs[0].regions, Region("again", "buffer", 8, 8)))


def integer_weights(image: Image) -> Image:
    return changed(image, tensors={"fc.weight": Tensor(np.zeros((4, 6), np.int32))})


def dead(*rect: int) -> Callable[[Image], Image]:
    return lambda image: changed(image, target=with_defects(image.target, [rect], "here"))


def host_of_one_channel(image: Image) -> Image:
    return changed(image, target=dataclasses.replace(image.target, host_channels=1))


def idle_core(image: Image) -> Image:
    cores = image.cores.copy()
    cores["program"][0] = -1
    return changed(image, cores=cores)


def wider_record(image: Image) -> Image:
    return changed(image, routes=image.routes.astype([(name, "<u4") for name in image.routes.dtype.names or ()]))


SPOILT = Mov(Mem(12, F32, 2), Const(0.0))

# (image, mutation, code of a violation it must cause, text that names the place)
MUTATIONS: dict[str, tuple[str, Callable[[Image], Image], str, str]] = {
    # a: placement and tables
    "block moved": ("matvec", mutate_block(x=2), "block-outside", "block fc"),
    "block on another": ("echo", mutate_block(x=2), "block-overlap", "overlaps block b at (2,1)"),
    "block count": ("matvec", mutate_block(rows=3), "block-table", "9 cores, the core table has 6"),
    "no such program": (
        "matvec",
        lambda image: changed(image, programs=image.programs[:1]),
        "no-program",
        "there is no program 1",
    ),
    # b: routes and bindings
    "route dropped": (
        "matvec",
        lambda image: changed(image, routes=image.routes[:-1]),
        "unrouted-source",
        "core (1,2) output queue 2",
    ),
    "colour changed": ("matvec", mutate_routes(index=1, colour=5), "broken-hop", "hop (2,1)->(3,1)"),
    "colour reserved": ("matvec", mutate_routes(index=1, colour=21), "colour-range", "router (3,1)"),
    "route outside": ("matvec", mutate_routes(index=1, x=4), "route-outside", "router (4,1)"),
    "routes overlap": ("matvec", add_route(2, 1, 1, 1, 1, N, S), "route-overlap", "router (2,1)"),
    "two sides": ("exchange", mutate_routes(index=0, inputs=R | E, outputs=E | R), "unfed-input", "router (1,1)"),
    "dangling": ("matvec", add_route(2, 1, 1, 1, 7, W, E), "dangling", "router (2,1)"),
    "wrong way": ("matvec", mutate_routes(index=2, outputs=N), "broken-hop", "leaves the usable rectangle"),
    "no output": ("matvec", mutate_routes(index=2, outputs=0), "dead-end", "router (1,1)"),
    "ramp unread": ("matvec", mutate_core(0, "inq", 2, -1), "unread-ramp", "core (1,1)"),
    "queue unbound": ("matvec", mutate_core(0, "inq", 2, -1), "queue-unbound", "core (1,1)"),
    "queue unfed": ("matvec", mutate_core(0, "inq", 2, 9), "unfed-queue", "core (1,1) input queue 2"),
    "queue unused": ("matvec", mutate_core(0, "inq", 4, 9), "queue-unused", "core (1,1)"),
    "queue reserved": ("matvec", mutate_core(0, "inq", 1, 9), "queue-reserved", "core (1,1)"),
    "colour twice": ("matvec", mutate_core(3, "inq", 3, 0), "colour-twice", "core (1,2)"),
    "port moved": ("matvec", mutate_lane(0, x=2), "port-place", "lane 0 of port x"),
    "port colour": ("matvec", mutate_lane(0, colour=4), "unrouted-source", "lane 0 of port x"),
    "output colour": ("matvec", mutate_lane(1, colour=4), "unfed-queue", "lane 0 of port y"),
    "port doubled": ("matvec", mutate_lane(0, y=2), "port-place", "lane 1 of port x"),
    # c: memory
    "memory size": ("matvec", resize, "memory-size", "program matvec.bottom"),
    "regions overlap": ("matvec", overlap_regions, "region-overlap", "program matvec.top"),
    "operand outside": (
        "matvec",
        mutate_body(0, lambda body: (*body, Mov(Mem(12, F32, 3), Const(0.0)))),
        "operand-bounds",
        "program matvec.top task main",
    ),
    "loop outside": (
        "matvec",
        mutate_body(0, lambda b: (*b, Loop(Reg(0), 3, (Mov(Mem(4, F32, 1, 1, Reg(0), 4), Const(0.0)),)))),
        "operand-bounds",
        "bytes 4..15",
    ),
    "computed index outside": (
        "matvec",
        mutate_body(0, lambda b: (*b, Alu("mod", Reg(1), Reg(1), 3), Mov(Mem(4, F32, 1, 1, Reg(1), 4), Const(0.0)))),
        "operand-bounds",
        "bytes 4..15",
    ),
    "misaligned": ("matvec", mutate_body(0, lambda b: (*b, Mov(Mem(14, F32), Const(0.0)))), "alignment", "matvec.top"),
    "weights uninitialised": (
        "matvec",
        mutate_init(cols=(0, 2)),
        "uninitialised",
        "core (3,1), program matvec.top: uninitialised: 0 of the 16",
    ),
    "weights incomplete": ("matvec", mutate_init(count=(1, 2)), "uninitialised", "8 of the 16 bytes of region w"),
    "weights twice": ("matvec", lambda i: changed(i, inits=i.inits * 2), "init-twice", "byte 20"),
    "rows overlap": ("matvec", mutate_init(pitch=1), "init-twice", "byte 24"),
    "init outside": ("matvec", mutate_init(address=24), "init-outside", "bytes 24..39"),
    "init past tensor": ("matvec", mutate_init(offset=1), "init-tensor", "elements 1..24 of the 24"),
    "init before tensor": ("matvec", mutate_init(offset=-1), "init-tensor", "elements -1..22"),
    "init unknown tensor": ("matvec", mutate_init(tensor="other"), "init-tensor", "no tensor other"),
    "init type": ("matvec", integer_weights, "init-tensor", "cannot fill f32"),
    "init of no block": ("matvec", mutate_init(block=1), "init-block", "no block 1"),
    "tasks share memory": ("echo", share_memory, "memory-shared", "tasks in and out share region shared"),
    "tasks share queue": ("matvec", two_tasks_one_queue, "end-shared", "input queue 2 is used by two tasks"),
    "fifo outside": ("echo", lambda i: edit_program(i, 0, fifos=(FifoDef(0, 5),)), "fifo-region", "FIFO 0"),
    "fifo memory used": (
        "echo",
        mutate_body(0, lambda body: (*body, Mov(Mem(0, F32), Const(0.0)))),
        "fifo-region",
        "region ring",
    ),
    "data dependent": (
        "matvec",
        mutate_body(0, lambda body: (*body[:-2], If(Reg(0), body[-2:]))),
        "data-dependent",
        "inside an If",
    ),
    "register loop": (
        "matvec",
        mutate_body(0, lambda body: (*body[:-1], Loop(Reg(0), Reg(1), body[-1:]))),
        "data-dependent",
        "count in a register",
    ),
    "loop counter": (
        "matvec",
        mutate_body(0, lambda body: (*body, Loop(Reg(0), 2, (Alu("add", Reg(0), 1, 1),)))),
        "loop-register",
        "the loop over r0",
    ),
    "nested counter": (
        "matvec",
        mutate_body(0, lambda body: (*body, Loop(Reg(0), Reg(1), (Loop(Reg(1), 2, ()),)))),
        "loop-register",
        "the loop over r0",
    ),
    "region owner": (
        "matvec",
        lambda i: edit_program(i, 0, regions=(*i.programs[0].regions, Region("k", "wieghts", 64, 4))),
        "region",
        "program matvec.top",
    ),
    "too many tasks": ("matvec", too_many_tasks, "task-count", "program matvec.top"),
    "i32 arithmetic": (
        "matvec",
        mutate_body(0, lambda body: (*body, Binary("add", Mem(0, I32), Mem(0, I32), Const(1.0)))),
        "dtype",
        "Binary",
    ),
    "extents differ": (
        "matvec",
        mutate_body(
            0, lambda body: (*body[:-1], Mov(Out(2, 2), Mem(12, F32, 2)), Fmac(Mem(12, F32, 2), In(2, 1), In(2, 2)))
        ),
        "extent",
        "instruction of length 2",
    ),
    "same end twice": (
        "matvec",
        mutate_body(0, lambda body: (*body, Fmac(Mem(12, F32, 2), In(2, 2), In(2, 2)))),
        "end-twice",
        "input queue 2 is read twice",
    ),
    "no such queue": (
        "matvec",
        mutate_body(0, lambda body: (*body, Mov(Out(6, 1), Const(0.0)))),
        "no-such-queue",
        "program matvec.top task main",
    ),
    "too long a trace": (
        "echo",
        mutate_body(
            1, lambda body: (Loop(Reg(0), 1 << 20, (*body, Mov(Mem(0, F32), Const(0.0)), Mov(Out(4, 1), In(5, 1)))),)
        ),
        "trace-limit",
        "program wire task main",
    ),
    "too long a trace of many loops": (
        "echo",
        mutate_body(
            1,
            lambda body: (Loop(Reg(0), 1 << 18, (*body, Mov(Mem(0, F32), Const(0.0)), Mov(Out(4, 1), In(5, 1)))),) * 5,
        ),
        "trace-limit",
        "program wire task main",
    ),
    "too many words": (
        "echo",
        mutate_body(1, lambda body: (Loop(Reg(0), (1 << 31) - 1, body),)),
        "too-many-words",
        "program wire task main",
    ),
    "memory of an idle core": ("matvec", idle_core, "init-idle", "core (1,1)"),
    # dead cores, and tables that are none
    "core dead": ("matvec", dead(2, 1, 1, 1), "dead-core", "core (2,1)"),
    "router dead": ("matvec", dead(2, 2, 1, 1), "dead-router", "core (2,2)"),
    "lane dead": ("echo", dead(1, 1, 1, 1), "dead-router", "a host lane meets"),
    "another table": ("matvec", wider_record, "table-type", "another record type"),
    "no such direction": ("matvec", mutate_routes(index=1, outputs=R | 32), "route-mask", "router (3,1)"),
    "too few host channels": ("matvec", host_of_one_channel, "port-count", "the host has 1 channels"),
    # d: rates
    "word too many": ("matvec", mutate_body(0, lambda body: (*body, body[-1])), "rate", "sends 5 words per token"),
    "word too few": ("echo", mutate_body(1, lambda _: (Mov(Out(3, 4), In(4, 4)),)), "rate", "takes 4"),
    "lane size": ("matvec", mutate_lane(0, size=1), "rate", "lane 0 of port x sends 2 words"),
    "fifo balance": (
        "echo",
        mutate_body(0, lambda body: (*body, SPOILT, Mov(body[0].dst, Const(0.0)))),
        "rate",
        "FIFO 0",
    ),
    # f: link load
    "link load": (
        "matvec",
        lambda image: changed(image, manifest={"report": {"size": {"interval_cycles": 5}}}),
        "link-load",
        "6 words per token on the link (1,2) to its core",
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_every_mutation_is_found_with_code_and_place(name: str) -> None:
    base, mutation, code, text = MUTATIONS[name]
    report = validate(mutation(LEGAL[base]()))
    found = [str(violation) for violation in report.violations if violation.code == code]
    assert any(text in line for line in found), report.text()


OTHERS = {"collision", "route-loop", "deadlock"}  # each has a test of its own below


def test_every_kind_of_violation_has_a_mutation() -> None:
    """The codes in the validator's own source."""
    told = set()
    for path in Path(runtime.validate.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            position = {"add": 0, "complain": 0, "_complain": 0, "_report_dead": 2}.get(name)
            if position is not None and len(node.args) > max(1, position):
                code = node.args[position]
                told |= {code.value} if isinstance(code, ast.Constant) and isinstance(code.value, str) else set()
    assert len(told) > 40
    assert told - {code for _, _, code, _ in MUTATIONS.values()} == OTHERS


def test_broken_hop_names_channel_hop_and_what_the_router_accepts() -> None:
    report = validate(mutate_routes(index=1, inputs=N)(matvec_image()))
    lines = [str(violation) for violation in report.violations if violation.code == "broken-hop"]
    assert lines[0] == (
        "router (2,1): broken-hop: channel from lane 0 of port x colour 0: hop (2,1)->(3,1): "
        "router does not accept W; it accepts N"
    )


def test_collision_of_two_sources() -> None:
    image = exchange_image(2)
    table = routes((1, 1, 1, 1, 0, R | E, E | R), (2, 1, 1, 1, 0, R | W, W | R))
    cores = image.cores.copy()
    cores["inq"][:, 2] = cores["outq"][:, 2] = 0
    report = validate(changed(image, routes=table, cores=cores))
    assert report.counts["collision"] == 2
    assert "colour 0 arrives from E+RAMP" in report.text()


def test_loop_is_told_hop_by_hop() -> None:
    ring = routes((1, 1, 1, 1, 9, S, E), (2, 1, 1, 1, 9, W, S), (2, 2, 1, 1, 9, N, W), (1, 2, 1, 1, 9, E, N))
    image = matvec_image()
    report = validate(changed(image, routes=np.concatenate([image.routes, ring])))
    assert set(report.counts) == {"route-loop"}
    assert "colour 9 runs in a loop: (1,1)->(2,1)->(2,2)->(1,2)->(1,1)" in report.text()


def test_two_cores_that_send_more_than_queues_hold_deadlock() -> None:
    report = validate(exchange_image(5))
    assert list(report.counts) == ["deadlock"]
    assert not report.facts["deadlock_free"]
    assert report.violations[0].message == (
        "one token cannot run to its end, 2 tasks wait for ever: "
        "core (1,1) task main waits for space in input queue 2 of (2,1) (colour 0), which core (2,1) task main must "
        "empty, which waits for space in input queue 2 of (1,1) (colour 1), which core (1,1) task main must empty"
    )


@pytest.mark.parametrize("make", [matvec_image, lambda: exchange_image(5)])
def test_the_proof_goes_on_where_it_let_go(make: Callable[[], Image], monkeypatch: pytest.MonkeyPatch) -> None:
    """Long ones return now and then, so that an interrupt is heard: the verdict and the story are the same."""
    whole = validate(make())
    monkeypatch.setattr(deadlock, "STEPS", 1)
    assert validate(make()).text() == whole.text()


def test_two_cores_that_receive_before_they_send_deadlock() -> None:
    image = mutate_body(0, lambda body: body[::-1])(exchange_image(2))
    assert "waits for words in input queue 2 of (1,1)" in validate(image).text()


def test_swapped_receives_deadlock() -> None:
    """The lower core waits for the sum from above before it takes x: legal only while x fits the queue."""

    def above_first(body: tuple[Any, ...]) -> tuple[Any, ...]:
        return (*body[4:5], *body[:4], *body[5:])

    assert validate(mutate_body(1, above_first)(matvec_image())).ok
    # Both rows fed by one lane of the west: the upper core now waits for the lower one to take x.
    image = matvec_image()
    shallow = dataclasses.replace(image.target, input_depth=(6, 6, 1, 1, 2, 2, 2, 2))
    table = routes(
        (1, 1, 1, 1, 0, W, E | R | S),
        (2, 1, 1, 1, 0, W, E | R),
        (1, 2, 1, 1, 0, N, E | R),
        (2, 2, 1, 1, 0, W, E | R),
        (3, 1, 1, 2, 0, W, R),
    )
    ports = [dataclasses.replace(image.ports[0], features=2, lanes=image.ports[0].lanes[:1]), image.ports[1]]
    one_lane = changed(image, target=shallow, ports=ports, routes=np.concatenate([table, image.routes[2:]]))
    assert validate(one_lane).ok
    report = validate(mutate_body(1, above_first)(one_lane))
    assert list(report.counts) == ["deadlock"], report.text()


def test_fifo_deadlock() -> None:
    """A task that fills a FIFO beyond its size before it lets the other end run."""
    image = echo_image()
    program = image.programs[0]
    both = Task("both", program.tasks[0].body + program.tasks[1].body)
    report = validate(edit_program(image, 0, tasks=(both,)))
    assert "waits for space in FIFO 0 of (1,1), which core (1,1) task both must empty" in report.text()


def test_guarded_and_unknown_indices_are_left_to_the_machine() -> None:
    """No false alarm: an If may narrow a register, and a value from memory may be anything."""
    index = Mem(4, F32, 1, 1, Reg(1), 4)
    guarded = Loop(Reg(1), 3, (Alu("lt", Reg(2), Reg(1), 2), If(Reg(2), (Mov(index, Const(0.0)),))))
    masked = (Alu("and", Reg(1), Reg(3), 0xFFFFF), Mov(index, Const(0.0)))
    assert validate(mutate_body(0, lambda body: (*body, guarded, *masked))(matvec_image())).ok


def test_repeated_violations_are_counted_not_listed() -> None:
    image = matvec_image()
    target = dataclasses.replace(image.target, fabric=(52, 4), usable=(1, 1, 50, 2))
    report = validate(
        changed(image, target=target, routes=np.concatenate([image.routes, routes((4, 1, 40, 1, 7, W, E))]))
    )
    assert report.counts["dangling"] == 40
    assert sum(violation.code == "dangling" for violation in report.violations) == MAX_PER_CODE
    assert "... and 20 more of dangling" in report.text()


def test_idle_image_is_legal() -> None:
    image = matvec_image()
    empty = changed(image, programs=[], blocks=[], cores=image.cores[:0], routes=image.routes[:0], inits=[], ports=[])
    assert validate(empty).ok


def single_entries(image: Image) -> Image:
    """The same tables with one rectangle per router entry."""
    rectangle, x, y = expand_routes(image.routes)
    table = image.routes[rectangle].copy()
    table["x"], table["y"], table["w"], table["h"] = x, y, 1, 1
    return changed(image, routes=table)


@pytest.mark.parametrize("name", LEGAL)
def test_every_change_of_one_route_entry_is_found(name: str) -> None:
    """Mutation score 100 %: delete an entry, or give it any other input, output or colour."""
    image = single_entries(LEGAL[name]())
    assert validate(image).ok
    survivors, tried = [], 0

    def must_fail(table: np.ndarray[Any, Any], what: str) -> None:
        nonlocal tried
        tried += 1
        if validate(changed(image, routes=table)).ok:
            survivors.append(what)

    for i in range(len(image.routes)):
        must_fail(np.delete(image.routes, i), f"delete {i}")
        for field, values in (("inputs", range(32)), ("outputs", range(32)), ("colour", range(4))):
            for value in values:
                if value != image.routes[i][field]:
                    table = image.routes.copy()
                    table[i][field] = value
                    must_fail(table, f"{i} {field}={value}")
    assert tried > 200 and not survivors


def test_the_validator_imports_nothing_of_what_it_checks() -> None:
    """Only the data model: neither compiler nor interpreter, so that one mistake is not made twice."""
    allowed = {f"runtime.{name}" for name in ("geometry", "image", "isa", "tables", "target", "text")}
    imported = set()
    for path in Path(runtime.validate.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                imported |= (
                    {f"runtime.{alias.name}" for alias in node.names} if node.module == "runtime" else {node.module}
                )
    ours = {name for name in imported if name and name.startswith(("runtime", "compiler", "frontends"))}
    assert {name for name in ours if not name.startswith("runtime.validate")} <= allowed


def test_report_is_json() -> None:
    report = validate(exchange_image(5))
    data = json.loads(json.dumps(report.to_json()))
    assert data["ok"] is False and data["counts"] == {"deadlock": 1}
    assert data["violations"][0]["where"] == "core (1,1) task main"


def test_report_text_cannot_control_the_terminal() -> None:
    image = matvec_image()
    blocks = [dataclasses.replace(image.blocks[0], name="\x1b[2J\n", x=2)]
    text = validate(changed(image, blocks=blocks)).text()
    assert "\\x1b[2J" in text and all(c == "\n" or c.isprintable() for c in text)


# The deadlock proof against a slow, obvious machine


def slow_run(bodies: list[tuple[Any, ...]], depth: int, rng: np.random.Generator) -> bool:
    """Two cores that send to each other word by word, always the core the dice choose: does one token end?"""
    words = [[(type(i.dst) is Out, i.dst.extent) for i in body] for body in bodies]
    steps = [[sends for sends, extent in core for _ in range(extent)] for core in words]
    waiting = [0, 0]  # words in each core's input queue
    while any(steps):
        possible = [c for c in (0, 1) if steps[c] and (waiting[1 - c] < depth if steps[c][0] else waiting[c] > 0)]
        if not possible:
            return False
        core = int(rng.choice(possible))
        if steps[core].pop(0):
            waiting[1 - core] += 1
        else:
            waiting[core] -= 1
    return True


@settings(max_examples=200, deadline=None)
@given(
    parts=st.tuples(*[st.lists(st.integers(1, 6), max_size=4) for _ in range(4)]),
    order=st.tuples(st.randoms(use_true_random=False), st.integers(1, 6)),
)
def test_deadlock_verdict_agrees_with_a_slow_machine(parts: Any, order: Any) -> None:
    """Random interleavings of sends and receives with balanced totals."""
    shuffle, depth = order
    totals = [sum(parts[0]) + 1, sum(parts[1]) + 1]  # words from core 0 to 1, and back
    memory = Mem(0, F32, 64)

    def body(sent: list[int], received: list[int], send: int, receive: int) -> tuple[Any, ...]:
        sends = [*cut(sent, send)]
        receives = [*cut(received, receive)]
        moves: list[Any] = [Mov(Out(2, n), dataclasses.replace(memory, extent=n)) for n in sends]
        moves += [Mov(dataclasses.replace(memory, extent=n), In(2, n)) for n in receives]
        shuffle.shuffle(moves)
        return tuple(moves)

    bodies = [
        body(parts[0], parts[2], totals[0], totals[1]),
        body(parts[1], parts[3], totals[1], totals[0]),
    ]
    image = exchange_image(64)
    programs = [
        dataclasses.replace(image.programs[0], name=f"core{i}", tasks=(Task("main", bodies[i]),)) for i in (0, 1)
    ]
    cores = image.cores.copy()
    cores["program"] = [0, 1]
    target = dataclasses.replace(image.target, input_depth=(depth,) * 8)
    report = validate(changed(image, programs=programs, cores=cores, target=target))
    assert set(report.counts) <= {"deadlock"}
    for seed in range(3):
        assert slow_run(bodies, depth, np.random.default_rng(seed)) == report.ok


def cut(sizes: list[int], total: int) -> Iterator[int]:
    """Pieces of the given sizes that add up to the total."""
    for size in sizes:
        if total <= 0:
            return
        yield min(size, total)
        total -= size
    if total > 0:
        yield total


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_table_makes_the_validator_fail(data: st.DataObject) -> None:
    """Whatever numbers stand in the tables, the answer is a report."""
    image = LEGAL[data.draw(st.sampled_from(sorted(LEGAL)))]()
    table, cores = image.routes.copy(), image.cores.copy()
    for _ in range(data.draw(st.integers(1, 4))):
        row = data.draw(st.integers(0, len(table) - 1))
        field = data.draw(st.sampled_from(["x", "y", "w", "h", "colour", "inputs", "outputs"]))
        table[row][field] = data.draw(st.integers(0, 4) | st.integers(0, 255))
    for _ in range(data.draw(st.integers(0, 2))):
        core = data.draw(st.integers(0, len(cores) - 1))
        cores[core]["program"] = data.draw(st.integers(-2, 3))
        cores[core]["inq"][data.draw(st.integers(0, 7))] = data.draw(st.integers(-128, 127))
        cores[core]["outq"][data.draw(st.integers(0, 5))] = data.draw(st.integers(-2, 4))
    json.dumps(validate(changed(image, routes=table, cores=cores)).to_json())
