"""From wires to source: pick the slowest kernel of a compiled GPT and read the longest program in it.

python examples/one_core.py model.wse
"""

from __future__ import annotations

import sys

from runtime.assembly import program_text
from runtime.imagefile import read_image
from runtime.inspect import core_detail, core_text


def main(path: str) -> None:
    image = read_image(path)
    cycles = image.manifest["report"]["cycles"]  # by kernel: between two tokens, and of a lone one
    block = max(image.blocks, key=lambda block: cycles[block.name][0])
    print(f"{block.name} takes {cycles[block.name][0]:,} cycles a token; it works for {', '.join(block.onnx)}\n")
    programs = image.cores["program"][block.first : block.first + block.rows * block.cols].tolist()
    working = [core for core, program in enumerate(programs) if program >= 0]
    core = max(working, key=lambda core: len(program_text(image.programs[programs[core]])))
    print(core_text(core_detail(image, *block.at(*divmod(core, block.cols)))))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
