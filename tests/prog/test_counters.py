"""Bytes: a port counts frames as they are on its wire, the tag included, whoever holds the tag just then."""
import pytest

from frames import A, B, D, Station, T10, T20, U10, from_to, octets, tagged, udp
from harness import HOOKS, send, send_wire

NEW = Station("trkt", "02:10:00:00:00:44", "10.0.10.44", "2001:db8:10::44", A.gateway)
L2 = octets(from_to(A, B, udp()))[14:]


def frame(src, dst):
    return octets(from_to(src, dst, udp()))


def switched(src, dst):
    """IPv4 from a station to the MAC of another."""
    return bytes.fromhex(dst.mac.replace(":", "")) + bytes.fromhex(src.mac.replace(":", "")) + b"\x08\x00" + L2


CASES = {
    "access to access": ("acc10", switched(A, B), "acc10b", 0),
    "access to trunk": ("acc10", switched(A, T10), "trk", 4),
    "trunk to access": ("trk", tagged(switched(T10, A), 10), "acc10", -4),
    "trunk without XDP to access": ("trkt", tagged(switched(NEW, A), 10), "acc10", -4),
    "trunk to trunk": ("trk", tagged(switched(T10, U10), 10), "trk2", 0),
    "routed, access to access": ("acc10", frame(A, D), "acc20", 0),
    "routed, access to trunk": ("acc10", frame(A, T20), "trk", 4),
    "routed, trunk to access": ("trk", tagged(frame(T10, D), 10), "acc20", -4),
}


@pytest.mark.parametrize("hook", (*HOOKS, "wire"))
@pytest.mark.parametrize("name", CASES)
def test_bytes(switch, name, hook):
    port, data, out, more = CASES[name]
    switch.forget()
    before = switch.bytes(port)[0], switch.bytes(out)[1]
    seen = send_wire(switch, port, data) if hook == "wire" else send(switch, hook, port, data)
    assert seen.tx() == {out: 1}, seen.words()
    received, sent = switch.bytes(port)[0] - before[0], switch.bytes(out)[1] - before[1]
    assert (received, sent) == (len(data), len(data) + more)
