"""What the gateway itself talks on an address that it shares with inside hosts and with forwards stays the gateway's."""
import contextlib
import json
import os
import signal
import socket
import subprocess

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

import netlab
from talk import heard, udp

OUT, OUT2, OUT6, GW, GW6 = "203.0.113.100", "203.0.113.101", "2001:db8::100", "203.0.113.1", "2001:db8::1"
MASQUERADE = """  - {name: m, type: snat, source: 10.0.0.0/24, to: masquerade, out: wan}
  - {name: m6, type: snat, source: 'fd00::/64', to: masquerade, out: wan}
"""
OPEN = MASQUERADE.replace("24, to: masquerade", "24, to: masquerade, filtering: endpoint-independent")
TUNNELLED = b"\0\0\x08\0tunnelled"


def config(rules):
    return netlab.nat_config(rules, ports=["p1"])


@pytest.fixture(scope="module")
def network(shared_world):
    w = shared_world
    gw = netlab.nat_network(w, more=[f"{OUT2}/24"])
    w.sw = w.start_switch(gw, config(MASQUERADE))
    w.sw.attached("p1", "wan")
    w.h1.ping(OUT)
    w.h1.ping(OUT6)
    return w


@pytest.fixture
def w(network):
    """Shared: each test has ports and protocols that no other one has, since sluiced remembers for some seconds."""
    apply(network, MASQUERADE)
    yield network
    netlab.counters_hold(network.sw)


def apply(w, nat):
    return w.sw.cli(f"apply {w.write('own.yaml', config(nat))}")


def bound(ns, kind, addr, port=0, proto=0):
    s = ns.socket(socket.AF_INET6 if ":" in addr else socket.AF_INET, kind, proto)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((addr, port))
    s.settimeout(0.5)
    return s


def reached(w, addr, port):
    """Does a connection from outside open?"""
    with w.out.socket() as s:
        s.settimeout(1)
        s.bind((OUT2, 0))
        return s.connect_ex((addr, port)) == 0


TUNNELS = [(47, GW, OUT, "10.0.0.5"), (50, GW, OUT, "10.0.0.5"), (50, GW6, OUT6, "fd00::5")]


def tunnelled(w, proto, out, inside):
    """An inside host's packet of a tunnel's protocol, sent to the gateway's peer."""
    ip = IPv6(src=inside, dst=out, nh=proto) if ":" in out else IP(src=inside, dst=out, proto=proto)
    w.h1.send("eth0", bytes(Ether(src=w.h1.link("eth0")["address"], dst=w.gw.link("lan")["address"]) / ip / Raw(TUNNELLED)))


def test_tunnels(w):
    """GRE, ESP, ESP in IPv6: before the tunnels are there, and while they are. All at once: it takes sluiced seconds to see them."""
    with contextlib.ExitStack() as stack:
        far = [stack.enter_context(bound(w.out, socket.SOCK_RAW, out, proto=proto)) for proto, _, out, _ in TUNNELS]
        for (proto, _, out, inside), there in zip(TUNNELS, far):
            tunnelled(w, proto, out, inside)
            assert heard(there), f"nobody spoke {proto}: it is translated"
        near = [stack.enter_context(bound(w.gw, socket.SOCK_RAW, gw, proto=proto)) for proto, gw, _, _ in TUNNELS]

        def back(i):
            far[i].sendto(TUNNELLED, (TUNNELS[i][1], 0))
            return heard(near[i])

        for i, (proto, _, out, inside) in enumerate(TUNNELS):
            netlab.wait_for(f"the gateway's tunnel {proto} comes first", lambda i=i: back(i), 15)
            for _ in range(3):
                tunnelled(w, proto, out, inside)
                assert back(i), proto
            assert not w.sw.json(f"flow list proto {proto} and dst {out}")


def test_a_tunnel_from_its_first_answer(w):
    """sluiced has not seen it yet. Of a protocol that it has not seen in the test before, either."""
    with bound(w.out, socket.SOCK_RAW, OUT2, proto=97) as far, bound(w.gw, socket.SOCK_RAW, GW, proto=97) as near:
        for _ in range(2):
            far.sendto(TUNNELLED, (GW, 0))
            assert heard(near)
            tunnelled(w, 97, OUT2, "10.0.0.5")
        far.sendto(TUNNELLED, (GW, 0))
        assert heard(near) and not w.sw.json("flow list proto 97")


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


def test_who_forwards_many_ports_of_the_gateways_own_is_told(w):
    """Where the rule is, once; what was in force before is not said again."""
    wide = MASQUERADE + "  - {name: f, type: dnat, destination: wan, protocol: tcp, port: 20-30, to: 10.0.0.5}\n"
    path = w.write("own.yaml", config(wide))
    line = 1 + next(i for i, x in enumerate(config(wide).splitlines()) if "name: f," in x)
    note = f"own.yaml:{line}: nat.f: takes what the gateway itself listens on at the addresses of its interface `wan`: TCP, ports 20-30"
    assert f"{note}\n" in w.sw.cli(f"check {path}").stdout and "is good" in w.sw.cli(f"check {path}").stdout
    assert [x["text"] for x in json.loads(w.sw.cli(f"-j check {path}").stdout)["notes"]] == [f"{w.directory}/{note}"]
    for command in ("diff", "apply"):
        assert f"note: {w.directory}/{note}\n" in w.sw.cli(f"{command} {path}").stdout
    assert "note" not in w.sw.cli(f"apply {path}").stdout
    said = w.sw.cli(f"nat add dnat g on {GW} protocol tcp to 10.0.0.5").stdout
    assert "nat.g: takes what the gateway itself listens on at its address 203.0.113.1: TCP, every port" in said and "nat.f" not in said


def test_one_ports_forward_takes_what_a_service_has_bound(w):
    """The gateway's sockets are there all the same: who forwards that very port means it."""
    apply(w, MASQUERADE + "  - {name: f, type: dnat, destination: wan, protocol: udp, port: 5353, to: 10.0.0.5}\n")
    with udp(w.out, OUT, 7000) as far, udp(w.h1, "10.0.0.5", 5353) as inside, udp(w.gw, "0.0.0.0", 5353) as service:
        far.sendto(b"in", (GW, 5353))
        assert heard(inside) == (b"in", (OUT, 7000)) and not heard(service)


BORNE = {"static": """  - {name: one, type: static, inside: 10.0.0.7, outside: 203.0.113.77, out: wan}
  - {name: one6, type: static, inside: "fd00::7", outside: "2001:db8::77", out: wan}
""", "pool": """  - {name: p, type: snat, source: 10.0.0.0/24, to: 203.0.113.77, out: wan}
  - {name: p6, type: snat, source: "fd00::/64", to: "2001:db8::77", out: wan}
""", "one port's forward": """  - {name: f, type: dnat, destination: 203.0.113.77, protocol: tcp, port: 80, to: 10.0.0.5}
  - {name: f6, type: dnat, destination: "2001:db8::77", protocol: tcp, port: 80, to: "fd00::5"}
"""}
FAR, FAR6 = "198.51.100.1", "2001:db8:99::1"


def source_of(ns, to, port):
    """Which address a connection has, that nobody has bound. What is refused was heard and answered."""
    with ns.socket(socket.AF_INET6 if ":" in to else socket.AF_INET) as s:
        s.settimeout(1)
        assert s.connect_ex((to, port)) == 0, f"{ns.name} does not reach {to}"
        return s.getsockname()[0]


@pytest.fixture(scope="module")
def far(network):
    """Beyond the neighbour, which answers by the gateway's own addresses alone."""
    network.out.addr("lo", f"{FAR}/32", f"{FAR6}/128")
    network.gw.route(f"{FAR}/32", OUT)
    network.gw.route(f"{FAR6}/128", OUT6)
    return network


@pytest.mark.parametrize("nat", BORNE.values(), ids=BORNE)
def test_the_gateway_speaks_from_its_own_addresses(far, nat):
    """Whatever else it answers for: to its neighbours, beyond them, and when its own address goes and comes back."""
    w = far
    with contextlib.ExitStack() as stack:
        for there in (OUT, OUT6, FAR, FAR6):
            stack.enter_context(bound(w.out, socket.SOCK_STREAM, there, 179)).listen(8)

        def speaks():
            for there in (OUT, OUT6, FAR, FAR6):
                assert source_of(w.gw, there, 179) == (GW6 if ":" in there else GW)
                assert w.gw.ping(there, 2) == (2, 2)

        def bears():
            """Addresses of NAT: to answer for alone."""
            shown = w.gw.run("ip -o addr show dev wan").stdout
            return "203.0.113.77/32 scope host" in shown and "2001:db8::77/128 scope global deprecated" in shown

        apply(w, MASQUERADE)
        speaks()
        apply(w, nat)
        speaks()
        assert bears()
        w.gw.run("ip addr del 203.0.113.1/24 dev wan")
        netlab.wait_for("the address is back", lambda: "203.0.113.1/24" in w.gw.run("ip -4 addr show dev wan").stdout)
        netlab.wait_for("its route is", lambda: "203.0.113.0/24" in w.gw.run("ip route show dev wan").stdout)
        w.gw.run(f"ip route replace {FAR}/32 via {OUT}")
        speaks()
        # Asked for anew, the addresses of NAT are answered for.
        w.out.run("ip neigh flush all")
        for there in ("203.0.113.77", "2001:db8::77"):
            assert w.out.run(["ping", "-c1", "-W1", there], check=False).returncode in (0, 1)
            netlab.wait_for(f"{there} is resolved", lambda there=there: "lladdr" in w.out.run(f"ip neigh show {there}").stdout, 3)
        # What an older sluiced has put there is mended.
        logged = os.path.getsize(w.sw.log)
        w.sw.process.send_signal(signal.SIGSTOP)
        try:
            for there in ("203.0.113.77/32", "2001:db8::77/128"):
                w.gw.run(f"ip addr del {there} dev wan")
                w.gw.run(f"ip addr add {there} dev wan noprefixroute nodad")
            assert "src 2001:db8::77" in w.gw.run(f"ip route get {OUT6}").stdout and not bears()
        finally:
            w.sw.process.send_signal(signal.SIGCONT)
        apply(w, nat + "  - {name: other, type: snat, source: 10.1.0.0/24, to: masquerade, out: wan}\n")
        netlab.wait_for("they are mended", bears)
        speaks()
        with open(w.sw.log, encoding="utf-8") as log:
            log.seek(logged)
            said = log.read()
        for a in ("203.0.113.77", "2001:db8::77"):
            assert f"nat: {a} was there as the gateway's own address" in said
