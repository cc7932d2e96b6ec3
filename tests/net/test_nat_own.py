"""What the gateway itself talks on an address that it shares with inside hosts and with forwards stays the gateway's."""
import socket
import subprocess

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

import netlab

OUT, OUT2, OUT6, GW, GW6 = "203.0.113.100", "203.0.113.101", "2001:db8::100", "203.0.113.1", "2001:db8::1"
PORTS = """ports:
  p1: {mode: access, vlan: 10}
  wan: {mode: routed}
interfaces:
  lan: {vlan: 10, addresses: [10.0.0.1/24, "fd00::1/64"]}
  wan: {port: wan, addresses: [203.0.113.1/24, "2001:db8::1/64"]}
nat:
"""
MASQUERADE = """  - {name: m, type: snat, source: 10.0.0.0/24, to: masquerade, out: wan}
  - {name: m6, type: snat, source: 'fd00::/64', to: masquerade, out: wan}
"""
OPEN = MASQUERADE.replace("24, to: masquerade", "24, to: masquerade, filtering: endpoint-independent")
TUNNELLED = b"\0\0\x08\0tunnelled"


@pytest.fixture
def w(world):
    gw = world.ns("gw")
    world.host("h1", gw, "p1", addrs=["10.0.0.5/24", "fd00::5/64"], gw=["10.0.0.1", "fd00::1"])
    world.host("out", gw, "wan", addrs=[f"{OUT}/24", f"{OUT2}/24", f"{OUT6}/64"])
    world.sw = world.start_switch(gw, PORTS + MASQUERADE)
    world.sw.attached("p1", "wan")
    world.h1.ping(OUT)
    world.h1.ping(OUT6)
    return world


def apply(w, nat):
    return w.sw.cli(f"apply {w.write('own.yaml', PORTS + nat)}")


def bound(ns, kind, addr, port=0, proto=0):
    s = ns.socket(socket.AF_INET6 if ":" in addr else socket.AF_INET, kind, proto)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((addr, port))
    s.settimeout(0.5)
    return s


def udp(ns, addr, port=0):
    return bound(ns, socket.SOCK_DGRAM, addr, port)


def heard(s):
    try:
        return s.recvfrom(2000)
    except TimeoutError:
        return None


def reached(w, addr, port):
    """Does a connection from outside open?"""
    with w.out.socket() as s:
        s.settimeout(1)
        s.bind((OUT2, 0))
        return s.connect_ex((addr, port)) == 0


@pytest.mark.parametrize("proto, gw, out, inside", [(47, GW, OUT, "10.0.0.5"), (50, GW, OUT, "10.0.0.5"), (50, GW6, OUT6, "fd00::5")],
                         ids=["GRE", "ESP", "ESP in IPv6"])
def test_a_tunnel(w, proto, gw, out, inside):
    """An inside host sends the gateway's peer a packet of the tunnel's protocol: before the tunnel is there, and while it is."""
    ip = IPv6(src=inside, dst=out, nh=proto) if ":" in out else IP(src=inside, dst=out, proto=proto)
    packet = bytes(Ether(src=w.h1.link("eth0")["address"], dst=w.gw.link("lan")["address"]) / ip / Raw(TUNNELLED))
    with bound(w.out, socket.SOCK_RAW, out, proto=proto) as far:
        w.h1.send("eth0", packet)
        assert heard(far), "nobody spoke it: it is translated"
        with bound(w.gw, socket.SOCK_RAW, gw, proto=proto) as near:
            def back():
                far.sendto(TUNNELLED, (gw, 0))
                return heard(near)

            netlab.wait_for("the gateway's tunnel comes first", back, 15)
            for _ in range(3):
                w.h1.send("eth0", packet)
                assert back()
            assert not w.sw.json(f"flow list proto {proto}")
    netlab.counters_hold(w.sw)


def test_a_tunnel_from_its_first_answer(w):
    """sluiced has not seen it yet."""
    packet = bytes(Ether(src=w.h1.link("eth0")["address"], dst=w.gw.link("lan")["address"]) / IP(src="10.0.0.5", dst=OUT, proto=47) / Raw(TUNNELLED))
    with bound(w.out, socket.SOCK_RAW, OUT, proto=47) as far, bound(w.gw, socket.SOCK_RAW, GW, proto=47) as near:
        for _ in range(2):
            far.sendto(TUNNELLED, (GW, 0))
            assert heard(near)
            w.h1.send("eth0", packet)
        far.sendto(TUNNELLED, (GW, 0))
        assert heard(near) and not w.sw.json("flow list proto 47")
    netlab.counters_hold(w.sw)


def test_a_ping(w):
    """An inside host's echoes with the identifier of the gateway's own: it gets another."""
    ping = w.gw.spawn(f"ping -n -i 0.1 -c 15 -e 7777 {OUT}", stdout=subprocess.PIPE)
    lan, h1 = w.gw.link("lan")["address"], w.h1.link("eth0")["address"]
    for _ in range(3):
        w.h1.send("eth0", bytes(Ether(src=h1, dst=lan) / IP(src="10.0.0.5", dst=OUT) / ICMP(type=8, id=7777, seq=1) / Raw(bytes(20))))
    out, _ = ping.communicate(timeout=20)
    assert b" 0% packet loss" in out, out


def test_a_service_that_starts_after_a_mapping(w):
    """TCP: a listener on a port that an inside host has. UDP: the same, where the rule lets strangers in."""
    apply(w, OPEN)
    with bound(w.out, socket.SOCK_STREAM, OUT, 80) as server, bound(w.h1, socket.SOCK_STREAM, "10.0.0.5", 8443) as client:
        server.listen(1)
        client.connect((OUT, 80))
        there, peer = server.accept()
        assert peer == (GW, 8443)
        with bound(w.gw, socket.SOCK_STREAM, GW, 8443) as service:
            service.listen(4)
            assert reached(w, GW, 8443)
        there.sendall(b"still there")
        assert client.recv(100) == b"still there"
        there.close()
    with udp(w.h1, "10.0.0.5", 5060) as inside, udp(w.out, OUT, 7000) as far, udp(w.out, OUT2, 7001) as stranger:
        inside.sendto(b"x", (OUT, 7000))
        assert heard(far) == (b"x", (GW, 5060))
        with udp(w.gw, GW, 5060) as service:
            stranger.sendto(b"for the gateway", (GW, 5060))
            assert heard(service) == (b"for the gateway", (OUT2, 7001))
            far.sendto(b"an answer", (GW, 5060))
            assert heard(inside) == (b"an answer", (OUT, 7000))
    netlab.counters_hold(w.sw)


@pytest.mark.parametrize("forward", ["protocol: udp, port: 32768-60999, ", ""], ids=["a range", "the whole address"])
def test_answers_are_the_gateways(w, forward):
    """Forwards of many ports: the gateway's questions are answered, and what answers nobody is forwarded."""
    apply(w, MASQUERADE + f"  - {{name: f, type: dnat, destination: wan, {forward}to: 10.0.0.5}}\n")
    with udp(w.out, OUT, 7000) as far, udp(w.h1, "10.0.0.5", 40000) as inside, udp(w.gw, GW) as asks, udp(w.gw, GW) as connected:
        connected.connect((OUT, 7000))
        for s in (asks, connected):
            s.sendto(b"?", (OUT, 7000)) if s is asks else s.send(b"?")
            _, where = heard(far)
            far.sendto(b"!", where)
            assert heard(s) == (b"!", (OUT, 7000))
        far.sendto(b"in", (GW, 40000))
        assert heard(inside) == (b"in", (OUT, 7000))
    assert w.gw.ping(OUT) == (3, 3)
    with bound(w.out, socket.SOCK_STREAM, OUT, 80) as server, w.gw.socket() as client:
        server.listen(1)
        client.settimeout(2)
        client.connect((OUT, 80))
        there, _ = server.accept()
        there.sendall(b"hello")
        assert client.recv(100) == b"hello"
        there.close()
    netlab.counters_hold(w.sw)


def test_one_ports_forward_takes_what_a_service_has_bound(w):
    """The gateway's sockets are there all the same: who forwards that very port means it."""
    apply(w, MASQUERADE + "  - {name: f, type: dnat, destination: wan, protocol: udp, port: 5353, to: 10.0.0.5}\n")
    with udp(w.out, OUT, 7000) as far, udp(w.h1, "10.0.0.5", 5353) as inside, udp(w.gw, "0.0.0.0", 5353) as service:
        far.sendto(b"in", (GW, 5353))
        assert heard(inside) == (b"in", (OUT, 7000)) and not heard(service)
