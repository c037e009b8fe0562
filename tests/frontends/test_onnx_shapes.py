"""Finding symbolic dimensions again from their sizes in the probes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.dims import evaluate
from frontends.onnx.shapes import MAX_SYMBOLS, Symbols, UnknownDimension, clean_dim, symbols_of

SYMBOLS = symbols_of(["batch", "seq", "past"])


def sizes(dim: str | int, symbols: Symbols = SYMBOLS) -> tuple[int, ...]:
    return tuple(symbols.shape([dim], p)[0] for p in range(symbols.probes))


@pytest.mark.parametrize(
    "dim", [0, 1, 5, "batch", "seq", "batch*seq", "12*batch", "2*batch*seq", "batch*seq*past", "seq + 1", "seq + past"]
)
def test_dimensions_are_found_again(dim: str | int) -> None:
    assert SYMBOLS.dim(sizes(dim)) == dim


@given(st.permutations(["batch", "seq", "past"]), st.integers(1, 3), st.integers(1, 200))
def test_any_product_is_found_again(names: list[str], count: int, factor: int) -> None:
    dim = "*".join([str(factor), *names[:count]])
    found = SYMBOLS.dim(sizes(dim))
    bindings = {"batch": 101, "seq": 103, "past": 107}  # sizes that were never probed
    assert evaluate(found, bindings) == evaluate(dim, bindings)


def test_a_dimension_that_fits_nothing() -> None:
    with pytest.raises(UnknownDimension, match="batch = 2, 3, 5"):
        SYMBOLS.dim((1, 2, 40))


def test_no_symbols_one_probe() -> None:
    assert symbols_of([1, 32]).probes == 1


def test_too_many_symbols() -> None:
    names = [f"d{index}" for index in range(MAX_SYMBOLS + 1)]
    assert len(set(symbols_of(names[:-1]).sizes.values())) == MAX_SYMBOLS
    with pytest.raises(UnknownDimension):
        symbols_of(names)


def test_expressions_share_the_symbols_of_their_terms() -> None:
    symbols = symbols_of(["batch", "past + seq", "seq"])
    assert list(symbols.sizes) == ["batch", "past", "seq"]
    assert symbols.dim(sizes("past + seq", symbols)) == "past + seq"


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("seq", "seq"),
        ("a+b", "a + b"),
        (" 2 * a", "2*a"),
        ("", "other"),
        ("?", "other"),
        ("a-b", "other"),
        ("7", "other"),
    ],
)
def test_dimension_names_of_the_model(text: str, cleaned: str) -> None:
    assert clean_dim(text, "other") == cleaned
