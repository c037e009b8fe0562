"""Folding: what repeats is shown once, and nothing that differs in more than names, places and constants is hidden."""

from __future__ import annotations

import compiler.pipelines  # noqa: F401 - declares all ops
from compiler.ir.fold import HEAD, folded_text
from compiler.ir.parser import parse_module
from compiler.ir.printer import print_module


def layers(*functions: str, skip: str = "") -> str:
    """A model of layers: a constant, a product, a function and a sum with what came in, or with `skip`."""
    lines = ['%h = graph.input {name = "h"} : tensor<4 x 4 x f32>']
    h = "%h"
    for i, fn in enumerate(functions):
        lines += [
            f"%w{i} = graph.constant {{value = @w{i}}} : tensor<4 x 4 x f32>",
            f'%m{i} = graph.matmul({h}, %w{i}) : tensor<4 x 4 x f32> loc("layer{i}")',
            f'%f{i} = graph.unary(%m{i}) {{fn = "{fn}"}} : tensor<4 x 4 x f32>',
            f'%s{i} = graph.binary(%f{i}, {skip or h}) {{fn = "add"}} : tensor<4 x 4 x f32>',
        ]
        h = f"%s{i}"
    lines.append(f'graph.output({h}) {{name = "y"}}')
    resources = [
        f'builtin.resource @w{i} {{shape = [4, 4], dtype = "f32", sha256 = "{i}", hint = "h.{i}.w"}}'
        for i in range(len(functions))
    ]
    return "\n".join(["builtin.module {", *lines, "}", "resources {", *resources, "}"])


def folded(text: str) -> list[str]:
    return [line.strip() for line in folded_text(parse_module(text)).splitlines()]


def test_equal_layers_are_shown_once() -> None:
    lines = folded(layers(*["relu"] * 40))
    assert lines[0] == HEAD.strip()
    assert "// 39 more of these 4 ops: @h.1.w .. @h.39.w" in lines
    assert lines[-1] == "// and 40 resources"
    assert len(lines) == 11


def test_values_have_the_names_they_have_in_the_whole_text() -> None:
    text = layers(*["relu"] * 5)
    whole = print_module(parse_module(text)).splitlines()
    last = next(line for line in folded(text) if line.startswith("graph.output"))
    assert any(line.strip() == last for line in whole)
    shown = [line for line in folded(text) if not line.startswith("//")]
    assert {line for line in shown if line != "}"} <= {line.strip() for line in whole}


def test_another_layer_in_between_is_shown() -> None:
    lines = folded(layers("relu", "relu", "relu", "tanh", "relu", "relu", "relu"))
    assert sum('"tanh"' in line for line in lines) == 1
    assert sum(line.startswith("// 2 more of these 4 ops") for line in lines) == 2


def test_data_flow_must_correspond() -> None:
    """Layers that all add the input are alike from the second on; one that adds something else is not hidden."""
    assert any(line.startswith("// 4 more of these 4 ops") for line in folded(layers(*["relu"] * 5, skip="%h")))
    odd = layers(*["relu"] * 5).replace("graph.binary(%f3, %s2)", "graph.binary(%f3, %s1)")
    lines = folded(odd)
    assert not any("4 more" in line for line in lines)
    assert sum("graph.binary" in line for line in lines) > 1


def channels(*lanes: str) -> str:
    rows = [
        f'fabric.channel {{source = "a.y", sinks = [], lane = {i}, colour = {i}, words = {words}, tree = "{i},1 E1*"}}'
        for i, words in enumerate(lanes)
    ]
    return "\n".join(["builtin.module {", *rows, "}"])


def test_lanes_of_a_stream() -> None:
    assert "// 8 more like this: lane = 1 .. lane = 8" in folded(channels(*["14"] * 9))
    assert sum("fabric.channel" in line for line in folded(channels(*["14"] * 9, "12"))) == 2


def program(*addresses: int) -> str:
    rows = [f'%{i} = core.mem {{address = {a}, dtype = "f32", extent = 8}} : dsd' for i, a in enumerate(addresses)]
    return "\n".join(["builtin.module {", "core.program @p {inputs = [], outputs = []} {", *rows, "}", "}"])


def test_addresses_fold_only_in_equal_steps() -> None:
    assert any(
        "5 more like this: address = 32 .. address = 160" in line for line in folded(program(*range(0, 192, 32)))
    )
    assert not any("more" in line for line in folded(program(0, 32, 48, 112, 200)))


def test_large_modules_fold_quickly() -> None:
    assert len(folded(layers(*["relu", "tanh"] * 1500))) < 20
