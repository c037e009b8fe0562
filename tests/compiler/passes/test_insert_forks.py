"""Where multicast and the fifos of residual branches go."""

from __future__ import annotations

import pytest

from compiler.dialects import flow
from compiler.ir.core import Op
from compiler.ir.passes import PassContext, PassManager
from compiler.passes.insert_forks import InsertForks
from tests.compiler.kernels.harness import Bench


class Net(Bench):
    """Streams of 6 features on 2 lanes: `f` is a map, `join` a join, `done` runs the pass."""

    def source(self, name: str = "x") -> Op:
        return self.stream(name, 6, 2)

    def f(self, x: Op) -> Op:
        return self.kernel(flow.map_def, x, features=6, block=3, fn="neg")

    def join(self, a: Op, b: Op) -> Op:
        return self.kernel(flow.join_def, a, b, features=6, block=3, fn="sub")

    def done(self, *results: Op) -> list[str]:
        """Add an output for each result, run the pass; all kinds of ops in order."""
        for i, op in enumerate(results):
            shape = ("batch", "seq", 6)
            self.module.body.append(
                flow.output_def(op.result, sym_name=f"out{i}", name=f"y{i}", shape=shape, dtype="f32")
            )
        PassManager([InsertForks()]).run(self.module, PassContext(self.resources))
        return [op.name.removeprefix("flow.") for op in self.module.body.ops]


def sources(op: Op) -> list[Op | None]:
    """The ops that make an op's operands."""
    return [value.op for value in op.operands]


def test_one_reader_needs_nothing() -> None:
    net = Net()
    assert net.done(net.f(net.f(net.source()))) == ["input", "map", "map", "output"]


@pytest.mark.parametrize("short", [0, 1])
def test_the_shorter_branch_is_held_back(short: int) -> None:
    net = Net()
    x = net.source()
    long = net.f(net.f(x))
    join = net.join(x, long) if short == 0 else net.join(long, x)
    assert net.done(join) == ["input", "fork", "map", "map", "fifo", "join", "output"]
    (fork,), (fifo,) = net.module.body.find("flow.fork"), net.module.body.find("flow.fifo")
    assert sources(fork) == [x] and sources(fifo) == [fork]
    assert sources(join) == ([fifo, long] if short == 0 else [long, fifo])
    assert fifo.attrs["sym_name"] == "fifo0" and "tokens" not in fifo.attrs


def test_equal_branches_need_no_fifo() -> None:
    net = Net()
    x = net.source()
    assert net.done(net.join(net.f(x), net.f(x))) == ["input", "fork", "map", "map", "join", "output"]


def test_a_stream_joined_with_itself_is_held_back_once() -> None:
    """The join hears its first operand to the end; the second, on the same wire, would block it."""
    net = Net()
    join = net.join(x := net.source(), x)
    assert net.done(join) == ["input", "fork", "fifo", "join", "output"]
    (fork,), (fifo,) = net.module.body.find("flow.fork"), net.module.body.find("flow.fifo")
    assert sources(join) == [fork, fifo]


def test_every_reader_has_its_branch() -> None:
    net = Net()
    x = net.source()
    ends = [net.f(x), net.f(x), net.f(x)]
    assert net.done(*ends, x) == ["input", "fork", "map", "map", "map", *["output"] * 4]
    (fork,) = net.module.body.find("flow.fork")
    assert [value.users for value in fork.results] == [[end] for end in (*ends, net.module.body.ops[-1])]


def test_branches_from_several_inputs() -> None:
    net = Net()
    a, b = net.source("a"), net.source("b")
    late = net.f(net.f(b))
    assert net.done(net.join(a, late)) == ["input", "input", "map", "map", "fifo", "join", "output"]


def test_nested_residuals() -> None:
    net = Net()
    x = net.source()
    h = net.f(x)
    inner = net.join(net.f(h), h)
    outer = net.join(x, inner)
    net.done(outer)
    held, deep = net.module.body.find("flow.fifo")
    forks = net.module.body.find("flow.fork")
    assert sources(held) == [forks[1]] and sources(deep) == [forks[0]]
    assert sources(outer) == [deep, inner]
