"""Fragments through NAT with real senders and receivers: every cable turns the order of a datagram's fragments round, so each
first fragment comes last; the kernels at the ends cut and put together."""
import os
import random
import select
import socket
import struct
import threading

import pytest

import netlab
import talk

OUT, OUT6 = "203.0.113.100", "2001:db8:f::100"
CONFIG = """ports:
  p1: {mode: access, vlan: 10}
  p2: {mode: access, vlan: 10}
  wan: {mode: routed}
interfaces:
  lan: {vlan: 10, addresses: [10.0.0.1/24, "2001:db8:a::1/64"]}
  wan: {port: wan, addresses: [203.0.113.1/24, "2001:db8:f::1/64"]}
nat:
  - {name: pool, type: snat, source: 10.0.0.5/32, to: 203.0.113.10, out: wan}
  - {name: forward, type: dnat, destination: 203.0.113.1, protocol: udp, port: 7000, to: "10.0.0.6:7001"}
  - {name: forward6, type: dnat, destination: "2001:db8:f::1", protocol: udp, port: 7000, to: "[2001:db8:a::6]:7001"}
  - {name: rest6, type: snat, source: "2001:db8:a::5/128", to: masquerade, out: wan}
"""


def fragment(frame):
    """(identification, first byte, the byte behind its last one, more to come) of an IP fragment, or None."""
    if frame[12:14] == b"\x08\x00":
        total, ident, flags = struct.unpack_from("!HHH", frame, 16)
        at = (flags & 0x1FFF) * 8
        return (ident, at, at + total - (frame[14] & 15) * 4, flags & 0x2000) if flags & 0x3FFF else None
    if frame[12:14] == b"\x86\xdd" and frame[20] == 44:
        length, offset, ident = *struct.unpack_from("!H", frame, 18), *struct.unpack_from("!HI", frame, 56)
        return ident, offset & ~7, (offset & ~7) + length - 8, offset & 1
    return None


def whole(parts):
    """Are these (first, behind, more) all of a datagram?"""
    end = [behind for _, behind, more in parts if not more]
    return end and sum(behind - at for at, behind, _ in parts) >= end[0]


class Turner:
    """A cable between two namespaces, with a third one in its middle where fragments wait until they are all there, and go on in
    another order."""

    def __init__(self, lab, name, a, a_if, b, b_if, order):
        self.ns, self.order, self.turned = lab.ns(name), order, 0
        lab.veth(a, a_if, self.ns, "left")
        lab.veth(self.ns, "right", b, b_if)
        self.socks = []
        with self.ns.entered():
            for link in ("left", "right"):
                s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
                s.setsockopt(263, 23, 1)  # PACKET_IGNORE_OUTGOING
                s.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
                s.bind((link, 0))
                self.socks.append(s)
        for link in ("left", "right"):
            self.ns.offload(link, gro=False)
            self.ns.sysctl(f"net.ipv6.conf.{link}.disable_ipv6", 1)
        for ns, link in ((a, a_if), (b, b_if)):
            ns.offload(link, tx=False, tso=False, gso=False)
        self.end = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        waiting = {}
        while not self.end:
            for s in select.select(self.socks, [], [], 0.1)[0]:
                frame = s.recv(65536)
                other = self.socks[1 - self.socks.index(s)]
                part = fragment(frame)
                if not part:
                    other.send(frame)
                    continue
                some = waiting.setdefault((s, part[0]), {})
                some[part[1:]] = frame
                if whole(some):
                    for at in self.order(sorted(waiting.pop((s, part[0])))):
                        other.send(some[at])
                    self.turned += 1

    def close(self):
        self.end = True
        self.thread.join(5)
        for s in self.socks:
            s.close()


def last_first(parts):
    return parts[::-1]


def shuffled(parts):
    return random.Random(len(parts)).sample(parts, len(parts))


@pytest.fixture(params=[last_first, shuffled], ids=lambda f: f.__name__)
def w(world, request):
    gw = world.ns("gw")
    hosts = [("h1", "p1", ["10.0.0.5/24", "2001:db8:a::5/64"], ["10.0.0.1", "2001:db8:a::1"]),
             ("h2", "p2", ["10.0.0.6/24", "2001:db8:a::6/64"], ["10.0.0.1", "2001:db8:a::1"]),
             ("out", "wan", [f"{OUT}/24", f"{OUT6}/64"], [])]
    turners = []
    for name, port, addrs, gateways in hosts:
        n = world.ns(name)
        turners.append(Turner(world, f"t-{port}", gw, port, n, "eth0", request.param))
        n.addr("eth0", *addrs)
        for g in gateways:
            n.route("::/0" if ":" in g else "0.0.0.0/0", g)
    world.sw = world.start_switch(gw, CONFIG)
    world.sw.attached("p1", "p2", "wan")
    world.turners = turners
    for h in (world.h1, world.h2):
        assert h.ping("10.0.0.1")[1] and h.ping("2001:db8:a::1")[1]
    assert world.out.ping("203.0.113.1")[1] and world.out.ping("2001:db8:f::1")[1]
    yield world
    for t in turners:
        t.close()


def stat(w, name):
    return w.sw.json("counters show")["stats"][name]


@pytest.mark.parametrize("target", [OUT, OUT6], ids=["v4", "v6"])
def test_rfc4787_req14_large_pings_from_inside(w, target):
    """Requests and answers, each with its first fragment late; ping compares the content."""
    assert w.h1.ping(target, count=10, size=4000) == (10, 10)
    assert w.h1.ping(target, count=3, size=40000) == (3, 3)
    assert w.turners[0].turned >= 20 and w.turners[2].turned >= 20
    assert netlab.wait_for("some were held", lambda: stat(w, "nat_frag_held")) >= 26
    assert not {r for p in ("p1", "wan") for r in netlab.drops(w.sw, p) if r.startswith("nat_frag")}
    netlab.counters_hold(w.sw)


@pytest.mark.parametrize("address, server", [("203.0.113.1", "10.0.0.6"), ("2001:db8:f::1", "2001:db8:a::6")], ids=["v4", "v6"])
def test_rfc4787_req14_large_datagrams_through_a_forward(w, address, server):
    """The server's answers come in fragments as well, and leave with the forward's address whatever their order."""
    with talk.UdpEcho(w.h2, 7001, talk.family_of(address), bind=server):
        for size in (3000, 8000, 60000):
            payload = os.urandom(size)
            assert talk.udp_ask(w.out, address, 7000, payload) == payload
    assert stat(w, "nat_frag_held") >= 6
    netlab.counters_hold(w.sw)
