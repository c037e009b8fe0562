"""Memory banks: how long a vector instruction on memory takes.

Banks are one 16-bit word wide; successive words lie in successive banks, and a bank serves one read a cycle. A slice of
an instruction, as many elements as its width, waits until every bank has served the reads that fall on it. That gives
what the vendor's simulator shows (two fp32 operands at one alignment: two cycles an element) and the alignment that the
vendor's documentation advises (operands four words apart: none wait). Writes are buffered and cost nothing; more than
two streams of reads share two ports.

Plain Python that the cycle engine compiles, so that closed forms and machine cannot differ.
"""

from __future__ import annotations

from typing import Any

Int = Any  # a Python integer, or in compiled code a 64-bit one
PORTS = 2  # reads of up to 64 bits a cycle


def burst_cycles(
    streams: Int, size0: Int, first0: Int, step0: Int, size1: Int, first1: Int, step1: Int,
    size2: Int, first2: Int, step2: Int, width: Int, length: Int, banks: Int,
) -> tuple[Int, Int]:  # fmt: skip
    """(cycles, of which waiting for banks) of `length` elements, `width` a slice, with `streams` reads from memory.

    Of each stream: the size of an element, the first element's address and the step, all in 16-bit words. The pattern
    repeats after as many slices as there are banks.
    """
    slices = (length + width - 1) // width
    if streams < 2:
        return slices, 0
    total, whole, rest = 0, 0, slices % banks
    for i in range(min(slices, banks)):
        m0, m1, m2 = 0, 0, 0
        for e in range(i * width, (i + 1) * width):
            for j in range(2):
                m0 |= (1 if j < size0 else 0) << ((first0 + e * step0 + j) % banks)
                m1 |= (1 if j < size1 else 0) << ((first1 + e * step1 + j) % banks)
                m2 |= (1 if j < size2 else 0) << ((first2 + e * step2 + j) % banks)
        most = 2 if m0 & m1 else 1
        if streams > 2:
            most = 3 if m0 & m1 & m2 else PORTS
        if i < rest:
            total += most
        whole += most
    if slices >= banks:
        total += whole * (slices // banks)
    return total, total - slices
