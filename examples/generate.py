"""Prefill and decode from one image: continue a sequence greedily, one token at a time, out of the caches on the cores.

python examples/generate.py model.wse 15496,11,995 8
"""

from __future__ import annotations

import sys

import wsec


def main(path: str, prompt: str, count: str) -> None:
    ids = [int(word) for word in prompt.split(",")]
    session = wsec.load(path)
    logits = session.run(input_ids=[ids])["logits"]
    for _ in range(int(count)):
        ids.append(int(logits[0, -1].argmax()))
        print(f"{ids[-1]:6}  {session.stats.seconds:.2f} s, {session.stats.words:,} words moved")
        logits = session.append(input_ids=[ids[-1:]])["logits"]
    print(ids)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
