"""Two CPUs come to the last session, or the last port, that an inside host may have of a rule: one of them has it."""
import mmap
import os
import socket
from dataclasses import replace

import pytest

import bpf
import topo
from frames import D, from_to, octets, udp

ROUNDS = 1000
OUTSIDE = socket.inet_aton("198.18.4.7")


def frames(cpu):
    """A first packet of each of many hosts: of two CPUs none has the other's tuple, nor its mapping."""
    hosts = (replace(D, ip4=f"10.70.{n >> 8}.{n & 255}") for n in range(1, ROUNDS + 1))
    return [octets(from_to(host, f"10.99.13.{1 + cpu}", udp(sport=4000 + cpu))) for host in hosts]


def race(switch, hook, cpu, mine, memory):
    """Packet by packet in step with the other CPU. memory: where each of them is, and then whose packets left."""
    run, prog = (bpf.run_xdp, switch.xdp) if hook == "xdp" else (bpf.run_tc, switch.tc)
    at, ifindex, cpus = memoryview(memory).cast("I"), switch.ifindex["acc20"], sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpus[cpu % len(cpus)]})
    for n, frame in enumerate(mine):
        at[cpu] = n + 1
        while at[1 - cpu] <= n:
            pass
        memory[8 + cpu * ROUNDS + n] = run(prog, frame, ifindex).data[26:30] == OUTSIDE


def child(switch, hook, cpu, memory):
    mine = frames(cpu)
    pid = os.fork()
    if pid:
        return pid
    try:
        race(switch, hook, cpu, mine, memory)
    finally:
        memory[4 * cpu : 4 * cpu + 4] = b"\xff" * 4  # the other one waits no more
        os._exit(0)


@pytest.mark.parametrize("hook", ("xdp", "tc"))
@pytest.mark.parametrize("limit", ("sessions", "ports"))
def test_the_last_one_is_one_s(switch, hook, limit):
    rule = f"  - {{name: last, type: snat, source: 10.70.0.0/16, destination: 10.99.13.0/24, out: [wan], to: 198.18.4.7, limit: {{{limit}: 1}}}}\n"
    with switch.configured(topo.config().replace("nat:\n", "nat:\n" + rule)), mmap.mmap(-1, 8 + 2 * ROUNDS) as memory:
        switch.forget()
        for pid in [child(switch, hook, cpu, memory) for cpu in range(2)]:
            os.waitpid(pid, 0)
        left = [sum(memory[8 + cpu * ROUNDS + n] for cpu in range(2)) for n in range(ROUNDS)]
        assert left.count(1) == ROUNDS, f"of {ROUNDS} hosts none has one of {left.count(0)}, and two of {left.count(2)}"
        switch.forget()
