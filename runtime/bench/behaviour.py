"""Published behaviours that are no cycle counts: what queues hold, and what the fabric refuses."""

from __future__ import annotations

import dataclasses

import numpy as np

from runtime.bench.layout import Layout
from runtime.cycle.machine import CycleMachine
from runtime.errors import DeadlockError
from runtime.faults import MachineFault
from runtime.geometry import EAST, RAMP, WEST, bit
from runtime.image import CORE, Port, PortLane
from runtime.isa import Dtype, In, Mem, Mov, Out
from runtime.state import T_NEXT
from runtime.target import Target

# As in the vendor's tutorial pipeline-01-basic.
INPUT_QUEUE, OUTPUT_QUEUE = 2, 3


def redirect_capacity(base: Target) -> int:
    """Wavelets that a host may send to a core which sends them back, before it has to take any."""
    layout = Layout(1, 1, 16, base)
    layout.route((0, 0), 0, bit(WEST), bit(RAMP))
    layout.route((0, 0), 1, bit(RAMP), bit(EAST))
    layout.core((0, 0), [Mov(Out(OUTPUT_QUEUE, 1, Dtype.I32), In(INPUT_QUEUE, 1, Dtype.I32))])
    image = layout.image()
    cores = np.zeros(1, CORE)
    cores["inq"] = cores["outq"] = -1
    cores["inq"][0, INPUT_QUEUE], cores["outq"][0, OUTPUT_QUEUE] = 0, 1
    lanes = {"in": PortLane(0, 0, WEST, 0, 0, 1), "out": PortLane(0, 0, EAST, 1, 0, 1)}
    ports = [Port(name, name, "f32", ("batch", 1), 1, (lane,)) for name, lane in lanes.items()]
    machine = CycleMachine(dataclasses.replace(image, cores=cores, ports=ports))
    try:
        machine.feed([np.zeros(256, np.int32)], [0])
    except DeadlockError:
        return int(machine.state.task[machine.loaded.senders[0], T_NEXT])
    return 256


def faults_on_two_inputs(base: Target) -> bool:
    """Whether wavelets of one colour that come to a router from two sides in one cycle are a fault."""
    layout = Layout(3, 1, 16, base)
    for sender in ((0, 0), (2, 0)):
        layout.line(0, sender, (1, 0))
        send = Mov(Out(layout.output(sender, 0), 1), Mem(0, Dtype.F32))
        layout.core(sender, [send, layout.stop(sender)])
    layout.core((1, 0), [Mov(Mem(0, Dtype.F32), In(layout.input((1, 0), 0), 1))])
    try:
        CycleMachine(layout.image(), merge=True).run_to_rest()
    except MachineFault as fault:
        return fault.code == "two-inputs"
    return False
