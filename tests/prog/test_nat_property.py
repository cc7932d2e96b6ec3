"""Random packets against a simple model of the NAT (nat_model.py): what must hold whatever comes.

- No packet leaves outside with an inside address, and none comes in for somebody who did not ask for it.
- A mapping is one inside host's: never two on one outside address and port, never two for one inside port.
- Every packet of a connection leaves as the model says, byte for byte, either way, through epochs and errors.
- Every checksum of every packet that leaves, and of what an ICMP error quotes, is right: added up, and in a sample reckoned by scapy.

SLUICE_NAT_SEQUENCES sets how many sequences are played, SLUICE_NAT_STEPS of how many packets each (make nat-property: longer ones),
SLUICE_NAT_SEED where they begin.
"""
import os
import random
import signal

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import Ether

from frames import D, T20, W1, octets
from nat_model import POOL, Model
from nat_packets import ICMP6, ICMP_, TCP_, UDP_, Left, build, error, frame_of, quoted

SEQUENCES = int(os.environ.get("SLUICE_NAT_SEQUENCES", "10000"))
SEED = int(os.environ.get("SLUICE_NAT_SEED", "1"))
STEPS = int(os.environ.get("SLUICE_NAT_STEPS", "24"))


def test_the_packing_is_scapys():
    four, six = ("10.0.0.1", "10.0.0.2"), ("2001:db8::1", "2001:db8::2")
    for proto, (src, dst), layer in (
        (TCP_, four, TCP(sport=1, dport=2, flags="A", seq=1, ack=2) / b"payload"),
        (UDP_, four, UDP(sport=1, dport=2) / b"payload"),
        (ICMP_, four, ICMP(id=1, seq=7) / b"payload"),
        (TCP_, six, TCP(sport=1, dport=2, flags="A", seq=1, ack=2) / b"payload"),
        (UDP_, six, UDP(sport=1, dport=2) / b"payload"),
        (ICMP6, six, ICMPv6EchoRequest(id=1, seq=7, data=b"payload")),
    ):
        mine = frame_of(D.mac, W1.mac, build((proto, src, 1, dst, 0 if proto in (ICMP_, ICMP6) else 2)))
        ip = IPv6(src=src, dst=dst) if ":" in src else IP(src=src, dst=dst)
        assert mine == octets(Ether(src=D.mac, dst=W1.mac) / ip / layer), (proto, src)


def wrong(frame, *places):
    Left(frame)
    for at in places:
        bad = bytearray(frame)
        bad[at] ^= 1
        with pytest.raises(AssertionError):
            Left(bytes(bad))


def test_a_wrong_checksum_is_seen():
    """In the header, in layer 4, in what is quoted: whole, or the header alone."""
    for a, b, icmp, at in (("10.0.0.1", "10.0.0.2", ICMP_, 34), ("2001:db8::1", "2001:db8::2", ICMP6, 54)):
        for proto in (TCP_, UDP_, icmp):
            packet = build((proto, a, 1, b, 0 if proto == icmp else 2))
            wrong(frame_of(D.mac, W1.mac, packet), *([24] if at == 34 else []), at + 6, len(packet) + 13)
        told = error(b, a, (3, 1, 0), quoted(build((UDP_, a, 1, b, 2)), 2000))
        wrong(frame_of(D.mac, W1.mac, told), at + 2, at + 8 + 5, len(told) + 13)
    # The error's own checksum fits, the quoted ones do not.
    for size, spoilt in ((28, 10), (2000, 10), (2000, 27)):
        quote = bytearray(quoted(build((UDP_, "10.0.0.1", 1, "10.0.0.2", 2)), size))
        quote[spoilt] ^= 1
        with pytest.raises(AssertionError, match="quote"):
            Left(frame_of(D.mac, W1.mac, error("10.0.0.2", "10.0.0.1", (3, 1, 0), bytes(quote))))


HALF_LINES = 96  # struct flow_table.half_lines


@pytest.fixture
def still(switch):
    """The switch without its daemon: forget() takes ports from under the sweep, which sluiced alone does otherwise. And without
    places for who waits for an answer: in the model nobody gives way."""
    os.kill(switch.daemon.pid, signal.SIGSTOP)
    switch.stopped = True
    head = switch.map("flow_table").lookup(0)
    switch.map("flow_table").update(0, head[:HALF_LINES] + bytes(4) + head[HALF_LINES + 4 :])
    yield switch
    switch.map("flow_table").update(0, head)
    switch.forget()
    os.kill(switch.daemon.pid, signal.SIGCONT)
    switch.stopped = False
    switch.forget()


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
    sources = [(station, port) for station in (D, T20) for port in range(1024, 65536)][: 64512 + 1]
    random.Random(SEED).shuffle(sources)
    for station, port in sources[:-1]:
        model.send((UDP_, station.ip4, port, "10.99.1.1", 80), station)
    assert len(model.owner) == 64512 and len(model.mappings) == 64512
    station, port = sources[-1]
    before = still.drops(station.port).get("nat_no_port", 0)
    model.send((UDP_, station.ip4, port, "10.99.1.1", 80), station)
    assert still.drops(station.port)["nat_no_port"] == before + 1 and model.exhausted((UDP_,), POOL)
    station, port = sources[0]
    model.send((UDP_, station.ip4, port, "10.99.1.2", 80), station)
    for _ in range(200):
        model.follow()
