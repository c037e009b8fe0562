"""From wires to source: pick the hottest kernel of a compiled GPT and read what its first core executes.

python examples/one_core.py model.wse
"""

from __future__ import annotations

import sys

from runtime.imagefile import read_image
from runtime.inspect import core_detail, core_text


def main(path: str) -> None:
    image = read_image(path)
    slowest = image.manifest["report"]["size"]["slowest_kernel"]
    block = next(block for block in image.blocks if block.name == slowest)
    print(f"{block.name} sets the pace; it works for {', '.join(block.onnx)}\n")
    print(core_text(core_detail(image, *block.at(0, 0))))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
