"""The text of programs."""

from __future__ import annotations

from validate_images import echo_image, matvec_program

from runtime.assembly import program_text
from runtime.isa import (
    Alu,
    Binary,
    Const,
    Dtype,
    If,
    Load,
    Loop,
    Map,
    Mem,
    Mov,
    Out,
    Program,
    Reduce,
    Reg,
    Region,
    Task,
)


def test_program_reads_like_its_source() -> None:
    assert (
        program_text(matvec_program("matvec.top", False))
        == """\
program matvec.top: 36 bytes of data, 132 of code
  region   0..3         buffer     head
  region   4..11        buffer     x
  region   12..19       buffer     acc
  region   20..35       weights    w
  input    queue 2      x
  output   queue 2      y
  task main: 132 bytes of code
    mov   i32 head = in.x(1)
    mov   f32 x[0:2] = in.x(2)
    mov   f32 acc[0:2] = 0
    loop  r0 in 0..1:
      fmac  f32 acc[0:2] += x[r0] * w[2*r0 : +2]
    mov   i32 out.y(1) = head
    mov   f32 out.y(2) = acc[0:2]"""
    )


def line(instr: object) -> list[str]:
    regions = (Region("a", "buffer", 0, 64), Region("h", "weights", 64, 32))
    text = program_text(Program("p", (Task("t", (instr,)),), regions))  # type: ignore[arg-type]
    return [row.strip() for row in text.split("\n")[4:]]


def test_every_kind_of_instruction() -> None:
    f32, f16, i32 = Dtype.F32, Dtype.F16, Dtype.I32
    assert line(Map("exp", Mem(4, f32, 3), Mem(64, f16, 3))) == ["map   f32 a[1:4] = exp(h.f16[0:3])"]
    assert line(Binary("max", Mem(0, f32), Mem(0, f32), Const(0.5))) == ["max   f32 a[0] = max(a[0], 0.5)"]
    assert line(Binary("sub", Out(3, 2), Mem(0, f32, 2, 4), Const(1))) == ["sub   f32 out.3(2) = a[0 : +2 by 4] - 1"]
    assert line(Reduce("rsum", Mem(8, f32), Mem(64, f16, Reg(2)))) == ["rsum  f32 a[2] = sum(a[2], h.f16[0 : +r2]...)"]
    assert line(Load(Reg(4), Mem(8, i32, 1, 1, Reg(1), 8))) == ["load  r4 = a[2 + 2*r1]"]
    assert line(Alu("shr", Reg(1), Reg(2), 20)) == ["shr   r1 = r2 >> 20"]
    assert line(Alu("min", Reg(1), Reg(2), 20)) == ["min   r1 = min(r2, 20)"]
    assert line(Loop(Reg(0), Reg(5), (If(Reg(1), (Alu("add", Reg(1), 1, 2),)),))) == [
        "loop  r0 in 0..r5-1:",
        "if    r1:",
        "add   r1 = 1 + 2",
    ]


def test_memory_outside_every_region_is_shown_by_its_bytes() -> None:
    assert line(Mov(Mem(200, Dtype.F32, 2), Const(0.0))) == ["mov   f32 byte[200 : +2] = 0"]
    odd = Mem(0, Dtype.F32, 1, 1, Reg(1), 2)  # a step of half an element
    assert line(Mov(odd, Const(0.0))) == ["mov   f32 byte[2*r1] = 0"]


def test_fifos_are_listed_and_named() -> None:
    text = program_text(echo_image().programs[0])
    assert "  fifo     0            4 words at byte 0" in text
    assert "    mov   f32 fifo.0(5) = in.2(5)" in text


def test_names_cannot_control_the_terminal() -> None:
    program = Program(
        "evil\x1b[2J\nname", (Task("t\r", (Mov(Mem(0, Dtype.F32), Const(0)),)),), (Region("\x07", "buffer", 0, 4),)
    )
    text = program_text(program)
    assert "evil\\x1b[2J\\nname" in text
    assert all(c == "\n" or c.isprintable() for c in text)
