"""Prints how fast the cycle machine simulates: core-cycles a second, for a toy model and for an image if one is given.

    python tests/bench/cycle_speed.py [model.wse] [--tokens 4]

*active*: cores with a program times cycles. *working*: core-cycles in which a core executes, sets up or waits for a
memory bank. Figures are for reading, never asserted.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

import wsec
from runtime import target
from runtime.bench.suite import run
from runtime.cycle.machine import CycleMachine
from runtime.cycle.state import BUSY, CONFLICT, DEPENDENCY, K_SPENT
from runtime.image import Image
from runtime.imagefile import read_image
from runtime.stream import header

WORKING = (K_SPENT + BUSY, K_SPENT + CONFLICT, K_SPENT + DEPENDENCY)


def toy() -> Image:
    with tempfile.TemporaryDirectory() as folder:
        model, image = Path(folder) / "toy.onnx", Path(folder) / "toy.wse"
        wsec.export("cerebras-gpt-111m", model, layers=2, width=128, heads=4, vocab=1000, ctx=64)
        wsec.compile(model, image, target="mini-64x64")
        return read_image(image)


def measure(name: str, image: Image, tokens: int) -> None:
    """Two equal runs, so that compiling the simulator does not count."""
    inputs = [port for port in image.ports if port.direction == "in"]
    outputs = [port for port in image.ports if port.direction == "out"]
    words = np.array([[header(0, i), 1] for i in range(tokens)], np.int32).reshape(-1)
    sent = [words for port in inputs for _ in port.lanes]
    wanted = [tokens * (1 + lane.size) for port in outputs for lane in port.lanes]
    for _ in range(2):
        machine = CycleMachine(image)
        began = time.perf_counter()
        machine.feed(sent, wanted)
        seconds = time.perf_counter() - began
    cores = int(np.count_nonzero(image.cores["program"] >= 0))
    working = int(machine.clock.core[:, WORKING].sum())
    print(
        f"{name}: {tokens} tokens, {machine.cycle:,} cycles of {cores:,} cores in {seconds:.2f} s\n"
        f"  {cores * machine.cycle / seconds / 1e6:,.1f} M active core-cycles/s, "
        f"{working / seconds / 1e6:,.1f} M working"
    )


def collective() -> None:
    for _ in range(2):
        began = time.perf_counter()
        result = run("reduce", target.load("cs2"), {"algorithm": "chain", "cores": 512, "words": 4096})
        seconds = time.perf_counter() - began
    rate = result["cores"] * result["machine_cycles"] / seconds / 1e6
    print(f"chain reduce, every core and link busy: {rate:,.1f} M active core-cycles/s, loading included")


def main() -> None:
    parser = argparse.ArgumentParser(description="core-cycles a second of the cycle machine")
    parser.add_argument("image", type=Path, nargs="?", help="an image of a token model")
    parser.add_argument("--tokens", type=int, default=4)
    args = parser.parse_args()
    collective()
    measure("toy GPT", toy(), args.tokens)
    if args.image:
        measure(str(args.image), read_image(args.image), args.tokens)


if __name__ == "__main__":
    main()
