"""Prints where the time goes: compiling a model pass by pass, then executing it on one thread and on two.

    python tests/bench/speed.py model.onnx [--target cs2] [--precision fp32] [--tokens 16]

Figures are for reading, never asserted; the machine's time is given as a ratio to onnxruntime's on the same tokens.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime

from compiler.driver import Options, build, lower
from compiler.ir.core import Op
from compiler.ir.passes import Pass
from frontends.onnx.import_graph import import_model
from runtime.image import Image
from runtime.session import load
from runtime.validate import validate

SHOWN = 0.05  # seconds; shorter passes are not listed


def timed(label: str, work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    print(f"{label:<24}{seconds:8.2f} s")
    return seconds


def compile_model(path: Path, options: Options) -> Image:
    def show(_index: int, step: Pass, _module: Op, seconds: float) -> None:
        if seconds >= SHOWN:
            print(f"  {step.name:<22}{seconds:8.2f} s")

    module, resources = import_model(path)
    target = lower(module, resources, options, hooks=[show])
    return build(module, resources, target, {})


def main() -> None:
    parser = argparse.ArgumentParser(description="compile and execute a token model, with times")
    parser.add_argument("model", type=Path)
    parser.add_argument("--target", default="cs2")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--tokens", type=int, default=16)
    args = parser.parse_args()
    images: list[Image] = []
    timed("compile", lambda: images.append(compile_model(args.model, Options(args.target, args.precision))))
    image = images[0]
    timed("validate", lambda: validate(image))
    port = next(port for port in image.ports if port.direction == "in")
    ids = np.random.default_rng(0).integers(0, port.limit, (1, args.tokens))
    reference = onnxruntime.InferenceSession(str(args.model))
    reference.run(None, {port.name: ids})
    ort = timed("onnxruntime", lambda: reference.run(None, {port.name: ids}))
    for threads in (1, 2):
        session = load(image, threads)
        seconds = timed(f"machine, {threads} threads", lambda session=session: session.run(**{port.name: ids}))  # type: ignore[misc]
        stats = session.stats
        print(
            f"  {args.tokens / seconds:.2f} tokens/s, {stats.words / seconds / 1e6:.1f} M words/s, "
            f"{stats.macs / seconds / 1e6:.0f} M MAC/s, {seconds / ort:.1f} x onnxruntime's time"
        )
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


if __name__ == "__main__":
    main()
