"""Random packets against a simple model of the NAT: what must hold whatever comes.

- No packet leaves outside with an inside address, and none comes in for somebody who did not ask for it.
- A mapping is one inside host's: never two on one outside address and port, never two for one inside port.
- An answer reaches who asked, with the ports it had; a second packet leaves as the first did, through epochs and errors.
- Every checksum of every packet that leaves is right: counted here over the whole packet, without the code under test.

Frames are packed by hand, since scapy is slow; that the packing is right is tested against scapy too. SLUICE_NAT_SEQUENCES sets how
many sequences are played (make nat-property: 10000), SLUICE_NAT_SEED where they begin.
"""
import os
import random
import signal
import socket
import struct

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import Ether

import bpf
from frames import D, T20, W1, mac_bytes, octets, tagged

SEQUENCES = int(os.environ.get("SLUICE_NAT_SEQUENCES", "10000"))
SEED = int(os.environ.get("SLUICE_NAT_SEED", "1"))
STEPS = 40
TCP_, UDP_, ICMP_ = 6, 17, 1
SYN, ACK, FIN, RST = 2, 16, 1, 4
INSIDE = {D.ip4: D, T20.ip4: T20}
# remote prefix -> (outside address, lowest and highest port, endpoint-independent filtering, endpoint-independent mapping)
RULES = {
    "10.99.1.": ("198.18.0.1", 1024, 65535, False, True),
    "10.99.4.": ("198.18.4.1", 1024, 65535, True, True),
    "10.99.7.": ("198.18.7.1", 2000, 2003, False, True),
    "10.99.8.": ("198.18.4.3", 3000, 4999, False, False),
}


def ones(data):
    data += b"\0" * (len(data) & 1)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def inet(address):
    return socket.inet_aton(address)


def layer4(proto, src, dst, sport, dport, flags=ACK, payload=b"payload", kind=8):
    """kind: ICMP's type; the identifier is then sport."""
    if proto == ICMP_:
        head = bytearray(struct.pack("!BBHHH", kind, 0, 0, sport, 7))
        at, pseudo = 2, b""
    elif proto == UDP_:
        head = bytearray(struct.pack("!HHHH", sport, dport, 8 + len(payload), 0))
        at, pseudo = 6, True
    else:
        head = bytearray(struct.pack("!HHIIBBHHH", sport, dport, 1, 2, 0x50, flags, 8192, 0, 0))
        at, pseudo = 16, True
    whole = bytes(head) + payload
    if pseudo:
        pseudo = inet(src) + inet(dst) + struct.pack("!BBH", 0, proto, len(whole))
    check = ~ones(pseudo + whole) & 0xFFFF
    struct.pack_into("!H", head, at, check or (0xFFFF if proto == UDP_ else 0))
    return bytes(head) + payload


def ip4(src, dst, proto, data, ttl=64, ident=1):
    head = bytearray(struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(data), ident, 0, ttl, proto, 0, inet(src), inet(dst)))
    struct.pack_into("!H", head, 10, ~ones(bytes(head)) & 0xFFFF)
    return bytes(head) + data


def frame_of(smac, dmac, packet):
    return mac_bytes(dmac) + mac_bytes(smac) + b"\x08\x00" + packet


class Parsed:
    """A frame that left, with all its checksums verified."""

    def __init__(self, frame):
        self.dmac, off = frame[:6], 14
        if frame[12:14] == b"\x81\x00":
            off = 18
        self.packet = frame[off:]
        self._ip(self.packet)

    def _ip(self, ip):
        assert ip[0] == 0x45 and ones(ip[:20]) == 0xFFFF, "IP checksum"
        (length,) = struct.unpack_from("!H", ip, 2)
        self.proto, self.src, self.dst = ip[9], socket.inet_ntoa(ip[12:16]), socket.inet_ntoa(ip[16:20])
        data = ip[20:length]
        self.kind = None
        if self.proto == ICMP_:
            assert ones(data) == 0xFFFF, "ICMP checksum"
            self.kind, self.sport, self.dport = data[0], struct.unpack_from("!H", data, 4)[0], 0
            self.quote = data[8:]
            return
        assert ones(ip[12:20] + struct.pack("!BBH", 0, self.proto, len(data)) + data) == 0xFFFF, "TCP or UDP checksum"
        self.sport, self.dport = struct.unpack_from("!HH", data)


class Model:
    """What the NAT may do, as a host inside and a host outside see it."""

    def __init__(self, rng, switch, hook):
        self.rng, self.switch, self.hook = rng, switch, hook
        self.mappings = {}  # (proto, inside, port, rule[, remote]) -> (address, port)
        self.owner = {}  # (proto, address, port) -> the key above
        self.flows = {}  # (proto, inside, port, remote, rport) -> (address, port)

    def run(self, port, frame):
        ifindex = self.switch.ifindex[port]
        if self.hook == "xdp":
            run = bpf.run_xdp(self.switch.xdp, frame, ifindex)
            if run.retval != bpf.XDP_PASS:
                return Parsed(run.data) if run.retval == bpf.XDP_REDIRECT else None
        run = bpf.run_tc(self.switch.tc, frame, ifindex)
        got = Parsed(run.data) if run.retval == bpf.TC_ACT_REDIRECT else None
        # A refusal that is told to the sender.
        return None if got and got.kind == 3 and got.src.endswith(".1") and got.dst in INSIDE and port != "wan" else got

    def _key(self, proto, inside, port, remote, rport):
        rule = remote[: remote.rindex(".") + 1]
        return (proto, inside, port, rule) if RULES[rule][4] else (proto, inside, port, rule, remote, rport)

    def send_out(self, proto, inside, port, remote, rport, flags):
        station = INSIDE[inside]
        data = layer4(proto, inside, remote, port, rport, flags)
        frame = frame_of(station.mac, station.gateway.mac, ip4(inside, remote, proto, data))
        return self.run(station.port, octets(tagged(frame, 20)) if station is T20 else frame)

    def out(self, proto, inside, port, remote, rport, flags):
        """A packet from inside to outside."""
        rport = 0 if proto == ICMP_ else rport
        key, flow = self._key(proto, inside, port, remote, rport), (proto, inside, port, remote, rport)
        address, low, high, _, _ = RULES[key[3]]
        got = self.send_out(proto, inside, port, remote, rport, flags)
        if got is None:
            assert flow not in self.flows, f"{flow} was open, and is refused"
            opening = proto != TCP_ or flags in (SYN, ACK)
            taken = sum(1 for p, a, _ in self.owner if (p, a) == (proto, address))
            assert not opening or (key not in self.mappings and taken == high - low + 1), f"{flow} refused: {taken} ports taken"
            return
        assert got.dmac == mac_bytes(W1.mac) and got.dst == remote and got.src == address, "where it goes"
        assert got.dport == rport and low <= got.sport <= high
        where = (got.src, got.sport)
        assert self.mappings.setdefault(key, where) == where, f"{key} had {self.mappings[key]}, now {where}"
        assert self.owner.setdefault((proto, *where), key) == key, f"{where} is {self.owner[(proto, *where)]}'s, and {key} has it"
        self.flows[flow] = where

    def back(self, proto, remote, rport, where, flags=ACK):
        """From outside to an outside address and port; what inside is it delivered as?"""
        if proto == ICMP_:
            data = layer4(proto, remote, where[0], where[1], 0, kind=0)
        else:
            data = layer4(proto, remote, where[0], rport, where[1], flags)
        return self.run("wan", frame_of(W1.mac, W1.gateway.mac, ip4(remote, where[0], proto, data)))

    def answer(self):
        if not self.flows:
            return
        flow = self.rng.choice(list(self.flows))
        proto, inside, port, remote, rport = flow
        got = self.back(proto, remote, rport, self.flows[flow], self.rng.choice((ACK, SYN | ACK)))
        assert got is not None, f"the answer to {flow} is lost"
        assert (got.dst, got.src, got.dmac) == (inside, remote, mac_bytes(INSIDE[inside].mac))
        assert (got.sport if proto == ICMP_ else got.dport) == port

    def stranger(self):
        """Somebody whom nobody has asked."""
        proto = self.rng.choice((TCP_, UDP_))
        address = self.rng.choice(list(RULES.values()))
        where = (address[0], self.rng.choice([p for _, a, p in self.owner if a == address[0]] or [4000]))
        remote, rport = f"10.99.5.{self.rng.randint(1, 9)}", self.rng.randint(1, 9)
        got = self.back(proto, remote, rport, where, SYN)
        owner = self.owner.get((proto, *where))
        if not address[3] or owner is None:
            assert got is None or got.kind == 3, f"{remote} reaches {owner} by {where}"
            return
        assert got is not None and (got.dst, got.dport) == (owner[1], owner[2]), f"{remote} does not reach {owner}"

    def error(self):
        """An ICMP error about a flow: it reaches who sent, and shows him his own packet."""
        if not self.flows:
            return
        flow = self.rng.choice(list(self.flows))
        proto, inside, port, remote, rport = flow
        where = self.flows[flow]
        quote = ip4(where[0], remote, proto, layer4(proto, where[0], remote, where[1], rport))[: self.rng.choice((28, 36, 60))]
        head = struct.pack("!BBHI", 3, 1, 0, 0) + quote
        head = head[:2] + struct.pack("!H", ~ones(head) & 0xFFFF) + head[4:]
        got = self.run("wan", frame_of(W1.mac, W1.gateway.mac, ip4("10.99.5.5", where[0], ICMP_, head)))
        assert got is not None and got.dst == inside and got.kind == 3
        assert socket.inet_ntoa(got.quote[12:16]) == inside and ones(got.quote[:20]) == 0xFFFF
        at = 24 if proto == ICMP_ else 20
        assert struct.unpack_from("!H", got.quote, at)[0] == port

    def step(self):
        what = self.rng.random()
        if what < 0.5:
            proto = self.rng.choice((TCP_, UDP_, ICMP_))
            remote = self.rng.choice(list(RULES)) + str(self.rng.randint(1, 3))
            flags = self.rng.choice((SYN, SYN, ACK, FIN | ACK, RST))
            port = self.rng.choice((4000, 4001, 4002, 53, 2000, 65535, 3000))
            self.out(proto, self.rng.choice(list(INSIDE)), port, remote, self.rng.choice((80, 4000)), flags)
        elif what < 0.75:
            self.answer()
        elif what < 0.88:
            self.stranger()
        elif what < 0.97:
            self.error()
        else:
            self.switch.epoch()


def test_the_packing_is_scapys():
    for proto, layer in (
        (TCP_, TCP(sport=1, dport=2, flags="A", seq=1, ack=2)),
        (UDP_, UDP(sport=1, dport=2)),
        (ICMP_, ICMP(id=1, seq=7)),
    ):
        mine = frame_of(D.mac, W1.mac, ip4("10.0.0.1", "10.0.0.2", proto, layer4(proto, "10.0.0.1", "10.0.0.2", 1, 2)))
        theirs = Ether(src=D.mac, dst=W1.mac) / IP(src="10.0.0.1", dst="10.0.0.2") / layer / b"payload"
        assert mine == octets(theirs)


def test_a_wrong_checksum_is_seen():
    good = bytearray(frame_of(D.mac, W1.mac, ip4("10.0.0.1", "10.0.0.2", UDP_, layer4(UDP_, "10.0.0.1", "10.0.0.2", 1, 2))))
    Parsed(bytes(good))
    for at in (24, 30, 40, 45):
        bad = bytearray(good)
        bad[at] ^= 1
        with pytest.raises(AssertionError):
            Parsed(bytes(bad))


HALF_LINES = 96  # struct flow_table.half_lines


@pytest.fixture
def still(switch):
    """The switch without its daemon: forget() takes ports from under the sweep, which sluiced alone does otherwise. And without
    places for who waits for an answer: in the model nobody gives way."""
    os.kill(switch.daemon.pid, signal.SIGSTOP)
    head = switch.map("flow_table").lookup(0)
    switch.map("flow_table").update(0, head[:HALF_LINES] + bytes(4) + head[HALF_LINES + 4 :])
    yield switch
    switch.map("flow_table").update(0, head)
    switch.forget()
    os.kill(switch.daemon.pid, signal.SIGCONT)


@pytest.mark.parametrize("hook", ["tc", "xdp"])
def test_random_sequences(still, hook):
    switch = still
    before = switch.counters()
    for n in range(SEQUENCES // 2):
        seed = SEED + n
        switch.forget()
        model = Model(random.Random(f"{seed} {hook}"), switch, hook)
        for step in range(STEPS):
            try:
                model.step()
            except AssertionError as e:
                raise AssertionError(f"seed {seed}, {hook}, step {step}: {e}") from e
    for port, after in switch.counters().items():
        rx, _, forwarded, to_host, dropped = (x - y for x, y in zip(after, before[port]))
        assert rx == forwarded + to_host + dropped, port


def test_exhaustion_64512_of_64512_ports(still):
    """Every port of an address is given out, each once; the next is a counted refusal; who has one goes on."""
    still.forget()
    model = Model(random.Random(SEED), still, "tc")
    sources = [(inside, port) for inside in INSIDE for port in range(1024, 65536)][: 64512 + 1]
    random.Random(SEED).shuffle(sources)
    for inside, port in sources[:-1]:
        model.out(UDP_, inside, port, "10.99.1.1", 80, 0)
    assert len(model.owner) == 64512 and len(model.mappings) == 64512
    inside, port = sources[-1]
    assert model.send_out(UDP_, inside, port, "10.99.1.1", 80, 0) is None
    model.out(UDP_, *sources[0], "10.99.1.2", 80, 0)
    for _ in range(200):
        model.answer()
