"""Prints how fast the cycle machine simulates: core-cycles a second, of a dense chain, a toy model and a given image.

    python tests/bench/cycle_speed.py [model.wse] [--tokens 4] [--threads 1 2]

*active*: cores with a program times cycles. *working*: core-cycles in which a core executes, sets up or waits for a
memory bank. Figures are for reading, never asserted.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import wsec
from runtime import target
from runtime.bench import plans
from runtime.bench.collectives import planned
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


def report(name: str, machine: CycleMachine, run: Callable[[], object]) -> None:
    """Run it and print how fast it was."""
    began = time.perf_counter()
    run()
    seconds = time.perf_counter() - began
    cores = int(np.count_nonzero(machine.loaded.image.cores["program"] >= 0))
    working = int(machine.clock.core[:, WORKING].sum())
    print(
        f"{name}, {len(machine.clock.now)} thread(s): {machine.cycle:,} cycles of {cores:,} cores in {seconds:.2f} s, "
        f"{cores * machine.cycle / seconds / 1e6:,.1f} M active core-cycles/s, {working / seconds / 1e6:,.1f} M working"
    )


def model(name: str, image: Image, tokens: int, threads: int) -> None:
    inputs = [port for port in image.ports if port.direction == "in"]
    outputs = [port for port in image.ports if port.direction == "out"]
    words = np.array([[header(0, i), 1] for i in range(tokens)], np.int32).reshape(-1)
    sent = [words for port in inputs for _ in port.lanes]
    wanted = [tokens * (1 + lane.size) for port in outputs for lane in port.lanes]
    machine = CycleMachine(image, threads)
    report(f"{name}, {tokens} tokens", machine, lambda: machine.feed(sent, wanted))


def collective(threads: int) -> None:
    machine = CycleMachine(planned(plans.chain(512), 4096, target.load("cs2")).image(), threads)
    report("chain reduce, every core and link busy", machine, machine.run_to_rest)


def main() -> None:
    parser = argparse.ArgumentParser(description="core-cycles a second of the cycle machine")
    parser.add_argument("image", type=Path, nargs="?", help="an image of a token model")
    parser.add_argument("--tokens", type=int, default=4)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    args = parser.parse_args()
    images = {"toy GPT": toy()} | ({str(args.image): read_image(args.image)} if args.image else {})
    machine = CycleMachine(images["toy GPT"], 2)  # compiles the simulator
    machine.feed([np.zeros(0, np.int32)] * len(machine.loaded.lanes_in), [0] * len(machine.loaded.lanes_out))
    for threads in args.threads:
        collective(threads)
        for name, image in images.items():
            model(name, image, args.tokens, threads)
            model(name, image, 1, threads)


if __name__ == "__main__":
    main()
