"""Symbolic dimensions, found again from a few concrete ones.

Exporters spell shape arithmetic in a hundred ways. Instead of understanding each, the importer runs the model's shape
arithmetic for several assignments of sizes to the symbolic input dimensions (*probes*), all different primes, and
asks which expression explains the sizes seen: a constant, `batch`, `batch*seq`, `2*seq`, `past + seq`, `seq + 1`.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from compiler.dims import Dim, evaluate

Sizes = tuple[int, ...]  # of one dimension, one entry per probe
Shape = tuple[int, ...]

# Small, so that probes fit short contexts; the i-th symbol takes three of them, and no two symbols the same three.
PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73)
PROBES = 3
MAX_SYMBOLS = (len(PRIMES) - PROBES) // 2 + 1
MAX_FACTORS = 3
EXPRESSION = re.compile(r"\s*\w+(\s*[+*]\s*\w+)*\s*", re.ASCII)
ATOM = re.compile(r"[A-Za-z_]\w*", re.ASCII)


class UnknownDimension(Exception):
    """A dimension that is no simple function of the symbolic input dimensions."""


@dataclass(frozen=True)
class Symbols:
    """The symbolic dimensions of a model's inputs, and the sizes each takes in the probes."""

    sizes: Mapping[str, Sizes]

    @property
    def probes(self) -> int:
        """How many probes tell all symbols apart: one if there is none."""
        return PROBES if self.sizes else 1

    def shape(self, dims: Iterable[Dim], probe: int) -> Shape:
        """`dims` in one probe."""
        bindings = {name: sizes[probe] for name, sizes in self.sizes.items()}
        return tuple(evaluate(dim, bindings) for dim in dims)

    def dim(self, sizes: Sizes) -> Dim:
        """The dimension that has these sizes in the probes. Raises UnknownDimension if no expression fits."""
        if len(set(sizes)) == 1:
            return sizes[0]
        found = self._product(sizes) or self._sum(sizes)
        if found is None:
            raise UnknownDimension(f"sizes {', '.join(map(str, sizes))} for {self._described()}")
        return found

    def dims(self, shapes: tuple[Shape, ...]) -> tuple[Dim, ...]:
        """The symbolic shape that is `shapes[p]` in probe p. Raises UnknownDimension."""
        if len({len(shape) for shape in shapes}) != 1:
            raise UnknownDimension(f"ranks {', '.join(str(len(shape)) for shape in shapes)}")
        return tuple(self.dim(sizes) for sizes in zip(*shapes, strict=True))

    def _product(self, sizes: Sizes) -> str | None:
        for count in range(1, MAX_FACTORS + 1):
            for names in itertools.combinations(self.sizes, count):
                product = [math.prod(factors) for factors in zip(*(self.sizes[n] for n in names), strict=True)]
                factor, rest = divmod(sizes[0], product[0])
                if not rest and factor and all(s == factor * p for s, p in zip(sizes, product, strict=True)):
                    return "*".join(names if factor == 1 else (str(factor), *names))
        return None

    def _sum(self, sizes: Sizes) -> str | None:
        for name, own in self.sizes.items():
            rest = {s - o for s, o in zip(sizes, own, strict=True)}
            if len(rest) == 1 and min(rest) > 0:
                return f"{name} + {rest.pop()}"
        for (a, first), (b, second) in itertools.combinations(self.sizes.items(), 2):
            if all(s == x + y for s, x, y in zip(sizes, first, second, strict=True)):
                return f"{a} + {b}"
        return None

    def _described(self) -> str:
        return "; ".join(f"{name} = {', '.join(map(str, sizes))}" for name, sizes in self.sizes.items())


def symbols_of(dims: Iterable[Dim]) -> Symbols:
    """The symbols that occur in `dims`, in order of appearance. Raises UnknownDimension if there are too many."""
    names = dict.fromkeys(name for dim in dims if isinstance(dim, str) for name in ATOM.findall(dim))
    if len(names) > MAX_SYMBOLS:
        raise UnknownDimension(f"{len(names)} symbolic dimensions, more than {MAX_SYMBOLS}")
    return Symbols({name: PRIMES[2 * index : 2 * index + PROBES] for index, name in enumerate(names)})


def clean_dim(text: str, fallback: str) -> str:
    """A dimension's name in a model, normalised (`a+b` is `a + b`); `fallback` if it is no such expression."""
    if not EXPRESSION.fullmatch(text) or not ATOM.search(text):
        return fallback
    terms = (["*".join(factor.strip() for factor in term.split("*"))] for term in text.split("+"))
    return " + ".join(itertools.chain.from_iterable(terms))
