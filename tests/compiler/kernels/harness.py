"""Runs one kernel on the machine: host ports around it, placed, routed, packaged, validated, executed."""

from __future__ import annotations

from typing import Any

import numpy as np

from compiler.dialects import flow
from compiler.ir.core import Op, StreamType, Symbol, module
from compiler.ir.passes import PassContext, PassManager, parse_pipeline
from compiler.package import package
from compiler.passes.nets import Netlist
from compiler.pipelines import PHASES
from compiler.resources import ResourceStore
from runtime import target as targets
from runtime.image import Image
from runtime.session import Session, load
from runtime.stream import Blocks
from runtime.validate import validate

TARGET = targets.load("mini-32x32")


class Bench:
    """A flow module under construction: `stream` adds an input, `kernel` an op, `session` the machine that runs it."""

    def __init__(self, max_seq: int = 32, slots: int = 1) -> None:
        self.module = module({"phase": "size", "target": TARGET.name})
        self.module.attrs["options"] = {"precision": "fp32", "max_seq": max_seq, "slots": slots}
        self.module.attrs["report"] = {"size": {"interval_cycles": 1 << 20}}
        self.resources = ResourceStore()
        self.count = 0
        self.predicted: dict[str, tuple[int, int]] = {}

    def weight(self, array: np.ndarray[Any, Any]) -> Symbol:
        """A constant tensor."""
        return self.resources.declare(self.module, self.resources.add(array))

    def stream(self, name: str, features: int, lanes: int, **attrs: Any) -> Op:
        """A float input [batch, seq, features] over `lanes` lanes."""
        block = Blocks.over(features, lanes).block
        values = {"shape": ("batch", "seq", features), "dtype": "f32", **attrs}
        dtype = "i32" if values["dtype"] == "i64" else "f32"
        op = flow.input_def(types=[StreamType(features, block, dtype)], sym_name=f"in.{name}", name=name, **values)
        return self.module.body.append(op)

    def kernel(self, definition: Any, *inputs: Op, features: int, block: int, **attrs: Any) -> Op:
        """A kernel whose output has `features` in blocks of `block`."""
        self.count += 1
        values = [op.result for op in inputs]
        types = [StreamType(features, block, "f32")]
        return self.module.body.append(definition(*values, types=types, sym_name=f"k{self.count}", **attrs))

    def image(self, result: Op) -> Image:
        """The legal image whose output `y` is `result`."""
        features = flow.stream(result.result.type).features
        output = flow.output_def(
            result.result, sym_name="out.y", name="y", shape=("batch", "seq", features), dtype="f32"
        )
        self.module.body.append(output)
        if not self.module.body.find("flow.fifo"):  # the pass inserts all of them, or none
            self.run_passes("insert-forks")
        for fifo in self.module.body.find("flow.fifo"):
            fifo.attrs.setdefault("tokens", 1)
        self.run_passes("place{deterministic-limit=0},route")
        self.predicted = {
            flow.name_of(op): (kernel.interval(TARGET), kernel.latency(TARGET))
            for op, kernel in zip(Netlist(self.module).ops, Netlist(self.module).kernels, strict=True)
        }
        self.run_passes(PHASES["core"])
        image = package(self.module, self.resources, TARGET, {})
        report = validate(image)
        assert not report.violations, "\n".join(map(str, report.violations))
        return image

    def run_passes(self, pipeline: str) -> None:
        PassManager(parse_pipeline(pipeline)).run(self.module, PassContext(self.resources, TARGET))

    def session(self, result: Op) -> Session:
        return load(self.image(result), threads=1)


def numbers(rng: np.random.Generator, *shape: int) -> np.ndarray[Any, Any]:
    """Random normal f32."""
    return rng.standard_normal(shape).astype(np.float32)


def assert_close(got: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any], bound: float = 2e-6) -> None:
    """max|error| <= bound * max|wanted|: a few fp32 roundings per element of the sums here."""
    assert got.shape == wanted.shape and got.dtype == np.float32
    error = float(np.max(np.abs(got.astype(np.float64) - wanted)))
    assert error <= bound * float(np.max(np.abs(wanted))), f"error {error}"
