"""What a program communicates, and the rules one program must keep on its own.

Because no instruction with a fabric or FIFO operand depends on data (`runtime.isa`), a task's communication is a fixed
sequence of *moves* per token. A move takes words from at most two *read ends* and puts them to at most one *write end*,
word by word. Read ends of a program are its input queues 0..7, then its FIFOs; write ends its output queues 0..5, then
its FIFOs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime import isa
from runtime.isa import INPUT_QUEUES, OUTPUT_QUEUES, Const, Fifo, In, Instr, Mem, Out, Program, Reg
from runtime.target import Target
from runtime.validate.report import Report

MAX_MOVES = 1 << 20  # of one task and token; more would make the proof of freedom from deadlock too long
MAX_WORDS = 1 << 31

Move = tuple[int, int, int, int]  # read end or -1, read end or -1, write end or -1, words


@dataclass
class Traffic:
    """Per token: moves of each task, words through each end, and the task that owns each end (-1: nobody)."""

    moves: list[list[Move]] = field(default_factory=list)
    reads: list[int] = field(default_factory=list)
    writes: list[int] = field(default_factory=list)
    reader: list[int] = field(default_factory=list)
    writer: list[int] = field(default_factory=list)


def check_program(program: Program, target: Target, report: Report) -> Traffic:
    """The program's traffic; violations go to the report."""
    where = f"program {program.name}"
    if len(program.tasks) > target.microthreads + 1:
        report.add("task-count", f"{len(program.tasks)} tasks; a core runs {target.microthreads + 1}", where)
    traffic = Traffic(
        reads=[0] * (INPUT_QUEUES + len(program.fifos)),
        writes=[0] * (OUTPUT_QUEUES + len(program.fifos)),
        reader=[-1] * (INPUT_QUEUES + len(program.fifos)),
        writer=[-1] * (OUTPUT_QUEUES + len(program.fifos)),
    )
    for number, task in enumerate(program.tasks):
        checker = _TaskChecker(f"{where} task {task.name}", report)
        moves = checker.moves(task.body)
        traffic.moves.append(moves)
        _own_ends(traffic, number, moves, checker)
    _check_fifo_balance(program, traffic, report)
    return traffic


def _own_ends(traffic: Traffic, number: int, moves: list[Move], checker: _TaskChecker) -> None:
    """Add the task's words to its ends; an end belongs to one task, so that order on it is defined."""
    for first, second, write, words in moves:
        for end, totals, owner in (
            (first, traffic.reads, traffic.reader),
            (second, traffic.reads, traffic.reader),
            (write, traffic.writes, traffic.writer),
        ):
            if end < 0:
                continue
            totals[end] += words
            if owner[end] not in (-1, number):
                checker.complain("end-shared", f"{end_name(end, owner is traffic.reader)} is used by two tasks")
            owner[end] = number
    if max(traffic.reads + traffic.writes) >= MAX_WORDS:
        checker.complain("too-many-words", "more than 2^31 words per token")


def _check_fifo_balance(program: Program, traffic: Traffic, report: Report) -> None:
    for fifo in range(len(program.fifos)):
        put, taken = traffic.writes[OUTPUT_QUEUES + fifo], traffic.reads[INPUT_QUEUES + fifo]
        if put != taken:
            message = f"FIFO {fifo}: {put} words put, {taken} words taken per token"
            report.add("rate", message, f"program {program.name}")


def end_name(end: int, reading: bool) -> str:
    """`input queue 2` or `FIFO 0`."""
    queues = INPUT_QUEUES if reading else OUTPUT_QUEUES
    if end >= queues:
        return f"FIFO {end - queues}"
    return f"{'input' if reading else 'output'} queue {end}"


@dataclass
class _TaskChecker:
    where: str
    report: Report
    told: set[str] = field(default_factory=set)

    def complain(self, code: str, message: str) -> None:
        """Report once per task: an unrolled loop would repeat it."""
        if message not in self.told:
            self.told.add(message)
            self.report.add(code, message, self.where)

    def moves(self, body: tuple[Instr, ...]) -> list[Move]:
        moves: list[Move] = []
        for instr in body:
            for move in self._instr(instr):
                if moves and moves[-1][:3] == move[:3]:  # two equal word-by-word moves are one longer move
                    moves[-1] = (*move[:3], moves[-1][3] + move[3])
                else:
                    moves.append(move)
            if len(moves) > MAX_MOVES:
                self.complain("trace-limit", f"more than {MAX_MOVES} moves per token")
                return []
        return moves

    def _instr(self, instr: Instr) -> list[Move]:
        if isinstance(instr, isa.Loop):
            return self._loop(instr)
        if isinstance(instr, isa.If):
            if self.moves(instr.body):
                self.complain("data-dependent", "a queue or FIFO is used inside an If")
            return []
        self._check_types(instr)
        return self._vector(instr)

    def _loop(self, loop: isa.Loop) -> list[Move]:
        inner = self.moves(loop.body)
        self._check_counter(loop)
        if not inner:
            return []
        if isinstance(loop.count, Reg):
            self.complain("data-dependent", "a loop around a queue or FIFO has its count in a register")
            return []
        if len(inner) == 1:
            return [(*inner[0][:3], min(inner[0][3] * loop.count, MAX_WORDS))] if loop.count > 0 else []
        if len(inner) * loop.count > MAX_MOVES:
            self.complain("trace-limit", f"more than {MAX_MOVES} moves per token")
            return []
        return inner * loop.count

    def _check_counter(self, loop: isa.Loop) -> None:
        written = {i.dst for i in isa.walk(loop.body) if isinstance(i, isa.Alu | isa.Load)}
        written |= {i.counter for i in isa.walk(loop.body) if isinstance(i, isa.Loop)}
        if loop.counter == loop.count or not written.isdisjoint({loop.counter, loop.count}):
            self.complain("loop-register", f"the loop over r{loop.counter.n} writes its own counter or count")

    def _vector(self, instr: Instr) -> list[Move]:
        destination = instr.dst if isinstance(instr, isa.Mov | isa.Binary | isa.Fmac | isa.Reduce | isa.Map) else None
        sources = [operand for operand in isa.operands(instr) if operand is not destination]
        reads = [_read_end(source) for source in sources if isinstance(source, In | Fifo)]
        write = _write_end(destination) if isinstance(destination, Out | Fifo) else -1
        if not reads and write < 0:
            return []
        length = sources[0] if isinstance(instr, isa.Reduce) else destination
        words = length.extent if isinstance(length, Mem | In | Out | Fifo) else 1
        if not isinstance(words, int):
            self.complain("data-dependent", "an instruction with a queue or FIFO has its extent in a register")
            return []
        for operand in (destination, *sources):
            if isinstance(operand, In | Out | Fifo) and operand.extent != words:
                self.complain("extent", f"{operand} in an instruction of length {words}")
        if len(reads) == 2 and reads[0] == reads[1]:
            self.complain("end-twice", f"{end_name(reads[0], True)} is read twice by one instruction")
        ends = (*reads, -1, -1)
        return [(ends[0], ends[1], write, words)] if words > 0 else []

    def _check_types(self, instr: Instr) -> None:
        """i32 moves between i32 operands only; arithmetic is on floating-point numbers."""
        integers = [o.dtype is isa.Dtype.I32 for o in isa.operands(instr) if not isinstance(o, Const)]
        constants = any(isinstance(o, Const) for o in isa.operands(instr))
        whole = isinstance(instr, isa.Mov | isa.Load) and not constants
        if any(integers) and not (whole and all(integers)):
            self.complain("dtype", f"{type(instr).__name__} mixes i32 and floating point, or computes on i32")
        if isinstance(instr, isa.Load) and not (all(integers) and instr.a.extent == 1):
            self.complain("dtype", "Load reads one i32 word")
        if isinstance(instr, isa.Reduce) and instr.dst.extent != 1:
            self.complain("extent", f"{instr.op} into more than one element")


def _read_end(operand: In | Fifo) -> int:
    return operand.queue if isinstance(operand, In) else INPUT_QUEUES + operand.fifo


def _write_end(operand: Out | Fifo) -> int:
    return operand.queue if isinstance(operand, Out) else OUTPUT_QUEUES + operand.fifo
