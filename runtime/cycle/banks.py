"""Memory banks: how long a vector instruction on memory takes.

Banks are one 16-bit word wide; successive words lie in successive banks, and a bank serves one read a cycle. A slice of
an instruction, as many elements as its width, waits until every bank has served the reads that fall on it. That gives
what the vendor's simulator shows (two fp32 operands at one alignment: two cycles an element) and the alignment that the
vendor's documentation advises (operands four words apart: none wait). Writes are buffered and cost nothing; more than
two streams of reads share two ports.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.encode import F16
from runtime.jit import called, inlined

Int = Any  # inside compiled code: a 64-bit integer
PORTS = 2  # reads of up to 64 bits a cycle


@inlined
def _touched(first: Int, step: Int, width: Int, words: Int, banks: Int) -> Int:
    """Mask of the banks that `width` elements of `words` 16-bit words touch; first and step in words."""
    mask = np.int64(0)
    for i in range(width):
        for j in range(words):
            mask |= np.int64(1) << ((first + i * step + j) % banks)
    return mask


@called
def burst_cycles(
    streams: Int, kind0: Int, first0: Int, step0: Int, kind1: Int, first1: Int, step1: Int,
    kind2: Int, first2: Int, step2: Int, width: Int, length: Int, banks: Int,
) -> tuple[Int, Int]:  # fmt: skip
    """(cycles, of which waiting for banks) of `length` elements, `width` a slice, with `streams` memory reads.

    first and step of each in elements of its kind. The pattern repeats after as many slices as there are banks.
    """
    slices = (length + width - 1) // width
    if streams < 2:
        return slices, 0
    w0, w1, w2 = 1 if kind0 == F16 else 2, 1 if kind1 == F16 else 2, 1 if kind2 == F16 else 2
    total, whole = np.int64(0), np.int64(0)
    rest = slices % banks
    for i in range(min(slices, banks)):
        at = i * width
        m0 = _touched((first0 + at * step0) * w0, step0 * w0, width, w0, banks)
        m1 = _touched((first1 + at * step1) * w1, step1 * w1, width, w1, banks)
        most = 2 if m0 & m1 else 1
        if streams > 2:
            m2 = _touched((first2 + at * step2) * w2, step2 * w2, width, w2, banks)
            most = max(PORTS, 3 if m0 & m1 & m2 else 2)
        if i < rest:
            total += most
        whole += most
    if slices >= banks:
        total += whole * (slices // banks)
    return total, total - slices
