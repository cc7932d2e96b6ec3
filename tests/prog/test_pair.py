"""Prefixes with two ways share an element of `nexthop_pairs`: one store leads all packets to them elsewhere, and no others."""
import os
import signal
import struct

import pytest

import topo
from frames import A, W1, W2, from_to, from_to6, octets, routed, udp
from harness import HOOKS, send

ROUTES = """
  - {to: 10.95.0.0/16, via: 192.0.2.254}
  - {to: 10.95.0.0/16, via: 198.51.100.254, metric: 9}
  - {to: 10.94.0.0/16, via: 192.0.2.254}
  - {to: 10.94.0.0/16, type: blackhole, metric: 9}
  - {to: 10.93.0.0/16, via: 192.0.2.254}
  - {to: "2001:db8:95::/48", via: "2001:db8:e1::fe"}
  - {to: "2001:db8:95::/48", via: ["2001:db8:e1::fe", "2001:db8:e2::fe"], metric: 9}
"""
PAIR = struct.Struct("=IIII")  # now, first, second, reserved


@pytest.fixture(scope="module")
def paired(switch):
    """sluiced, which would put the pairs right, does nothing meanwhile."""
    with switch.configured(topo.config(routes=ROUTES)):
        os.kill(switch.daemon.pid, signal.SIGSTOP)
        switch.stopped = True
        try:
            yield switch
        finally:
            os.kill(switch.daemon.pid, signal.SIGCONT)
            switch.stopped = False


def to_second(switch):
    """Every pair leads to its second way."""
    table, n = switch.map("nexthop_pairs"), 0
    for key in table.keys():
        now, first, second, _ = PAIR.unpack(table.lookup(key))
        if now:
            switch.edit("nexthop_pairs", key, PAIR.pack(second, first, second, 0))
            n += 1
    assert n == 3
    switch.epoch()


def leaves_by(switch, hook, frame):
    seen = send(switch, hook, A.port, frame)
    if seen.drops:
        return list(seen.drops)
    ((port, sent),) = seen.out()
    assert sent == routed(frame, {W1.port: W1, W2.port: W2}[port]), seen.words()
    return port


@pytest.mark.parametrize("hook", HOOKS)
def test_one_store_for_all(paired, hook):
    switch = paired
    frames = [octets(from_to(A, f"10.{n}.7.1", udp())) for n in (95, 94, 93)]
    frames += [octets(from_to6(A, "2001:db8:95::7", udp(sport=s))) for s in range(9)]
    switch.forget()
    assert {leaves_by(switch, hook, f) for f in frames} == {W1.port}
    to_second(switch)
    assert leaves_by(switch, hook, frames[0]) == W2.port
    assert leaves_by(switch, hook, frames[1]) == ["route_blackhole"]
    assert leaves_by(switch, hook, frames[2]) == W1.port
    assert {leaves_by(switch, hook, f) for f in frames[3:]} == {W1.port, W2.port}  # a group of both
    switch.forget()
    assert {leaves_by(switch, hook, f) for f in frames} == {W1.port}
