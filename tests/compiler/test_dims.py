import pytest

from compiler.dims import evaluate


@pytest.mark.parametrize(
    ("dim", "size"),
    [(7, 7), ("seq", 5), ("batch*seq", 15), ("seq*4*batch", 60), ("seq + 1", 6), ("2*seq + batch", 13)],
)
def test_evaluate(dim: int | str, size: int) -> None:
    assert evaluate(dim, {"batch": 3, "seq": 5}) == size


def test_unknown_name_is_told() -> None:
    with pytest.raises(KeyError, match="past"):
        evaluate("past + seq", {"seq": 5})
