"""Pools that have more addresses than NAT counts ports of: runs of addresses, both families, with real packets."""
import contextlib
import ipaddress
import signal
import socket
import time

import pytest

import netlab
import talk

OUT, OUT6 = "203.0.113.100", "2001:db8::100"
BIG, BIG6 = ipaddress.ip_network("198.18.0.0/16"), ipaddress.ip_network("2001:db8:1::/64")
RULES = """  - {name: big, type: snat, source: 10.0.0.0/24, out: [wan], to: 198.18.0.0/16, filtering: endpoint-independent}
  - {name: six, type: snat, source: "fd00::/64", out: [wan], to: "2001:db8:1::/64"}
  - {name: also, type: snat, source: 10.0.9.0/24, out: [wan], to: [198.18.128.0/17, 198.19.8.0/22]}
  - {name: web, type: dnat, destination: 198.18.7.7, protocol: udp, port: 80, to: "10.0.0.6:8080"}
"""
HOSTS = [f"10.0.0.{n}" for n in range(20, 80)]


def config(rules):
    return netlab.nat_config(rules, "tables: {flows: 65536}\n")


@pytest.fixture
def w(world):
    gw = netlab.nat_network(world)
    world.out.route("198.18.0.0/15", "203.0.113.1")
    world.out.route(str(BIG6), "2001:db8::1")
    batch = world.write("addresses", "".join(f"addr add {h}/24 dev eth0\n" for h in HOSTS))
    world.h1.run(f"ip -batch {batch}")
    world.sw = world.start_switch(gw, config(RULES))
    world.sw.attached("p1", "p2", "wan")
    world.h1.ping(OUT)
    return world


def asked(ns, echo, sources, port, server):
    """{source: what the server saw it as}, of those that got an answer."""
    family = talk.family_of(server)
    socks = []
    for i, source in enumerate(sources):
        s = ns.socket(family, socket.SOCK_DGRAM)
        s.bind((source, port + i))
        s.connect((server, 7000))
        s.settimeout(0.5)
        socks.append(s)
    seen = {}
    for s in socks:
        for _ in range(3):  # the first packet to a neighbour may find too many asked for at once
            s.send(b"?")
            with contextlib.suppress(TimeoutError):
                s.recv(10)
                seen[s.getsockname()[:2]] = echo.peers[-1][:2]
                break
    return seen, socks


def pool(w, name):
    return next(p for p in w.sw.json("nat show")["pools"] if p["name"] == name)


def test_a_pool_of_65536_addresses_is_one_pool(w):
    with talk.UdpEcho(w.out, 7000, bind=OUT) as echo:
        seen, socks = asked(w.h1, echo, HOSTS, 5000, OUT)
        assert {h for h, _ in seen} == set(HOSTS)
        outside = {ipaddress.ip_address(a) for a, _ in seen.values()}
        assert all(a in BIG for a in outside) and len(outside) >= 58  # sixty of 65536, by hash
        assert len({int(a) >> 8 for a in outside}) > 40  # all over it
        assert all(mine[1] == port for mine, (_, port) in seen.items())  # port preservation
        # A host's ports are of one address (paired pooling), a second socket's as well.
        again, more = asked(w.h1, echo, HOSTS[:10], 6000, OUT)
        assert {m[0]: a for m, (a, _) in again.items()} == {m[0]: a for m, (a, _) in seen.items() if m[0] in HOSTS[:10]}
        # Whoever outside sends to a mapping is let in; what nobody has is dropped.
        (mine, (address, port)) = next(iter(seen.items()))
        with w.out.socket(kind=socket.SOCK_DGRAM) as stranger:
            stranger.bind((OUT, 7001))
            inside = next(s for s in socks if s.getsockname() == mine)
            inside.connect((OUT, 7001))
            stranger.sendto(b"hello", (address, port))
            assert inside.recv(10) == b"hello"
            before = netlab.drops(w.sw, "wan").get("nat_filtered", 0)
            stranger.sendto(b"hello", (address, port + 1))
            stranger.sendto(b"hello", ("198.18.200.200", 5000))
            netlab.wait_for("both are filtered", lambda: netlab.drops(w.sw, "wan").get("nat_filtered", 0) == before + 2)
        # Hairpinning: another host inside reaches it by its address outside, and is seen by one of the pool's.
        with w.h2.socket(kind=socket.SOCK_DGRAM) as neighbor:
            neighbor.bind(("10.0.0.6", 7003))
            ear = next(s for s in more if s.getsockname()[0] == HOSTS[1])
            mapped = again[ear.getsockname()]
            ear.close()
            ear = w.h1.socket(kind=socket.SOCK_DGRAM)
            ear.bind((HOSTS[1], 6001))
            ear.settimeout(1)
            neighbor.sendto(b"near", mapped)
            said, peer = ear.recvfrom(10)
            assert said == b"near" and ipaddress.ip_address(peer[0]) in BIG
            ear.close()
        for s in socks + more:
            s.close()
    netlab.wait_for("the pool's fill is shown", lambda: pool(w, "pool:big")["used"]["udp"] == 71)
    assert pool(w, "pool:big")["ports_total"] == (65536 - 1) * 64512  # one is a forward's
    assert pool(w, "pool:big")["addresses"] == ["198.18.0.0-198.18.7.6", "198.18.7.8-198.18.255.255"]
    w.sw.json("flow flush all")
    netlab.wait_for("its ports are free again", lambda: pool(w, "pool:big")["used"]["udp"] == 0)
    netlab.counters_hold(w.sw)


def test_ipv6_by_a_prefix(w):
    w.h1.addr("eth0", *[f"fd00::{n:x}/64" for n in range(0x100, 0x110)])
    w.h1.ping(OUT6)
    with talk.UdpEcho(w.out, 7000, family=socket.AF_INET6, bind=OUT6) as echo:
        seen, socks = asked(w.h1, echo, [f"fd00::{n:x}" for n in range(0x100, 0x110)], 5000, OUT6)
        outside = {ipaddress.ip_address(a) for a, _ in seen.values()}
        assert len(outside) == 16 and all(a in BIG6 for a in outside)
        for s in socks:
            s.close()
    netlab.counters_hold(w.sw)


def test_what_is_in_use_outlives_a_crash_and_another_configuration(w):
    with talk.UdpEcho(w.out, 7000, bind=OUT) as echo:
        seen, socks = asked(w.h1, echo, HOSTS[:20], 5000, OUT)
        assert len(seen) == 20
        for change in (lambda: (w.sw.stop(signal.SIGKILL), w.sw.start()), lambda: w.sw.cli(f"apply {w.write('next.yaml', config(more()))}")):
            change()
            for s in socks:
                n = len(echo.peers)
                s.send(b"!")
                s.recv(10)
                assert echo.peers[n] == seen[s.getsockname()]
            # Another connection of the same socket has the same mapping.
        with talk.UdpEcho(w.out, 7002, bind=OUT) as other:
            s = socks[0]
            mine = s.getsockname()
            s.connect((OUT, 7002))
            s.send(b"?")
            s.recv(10)
            assert other.peers[-1] == seen[mine]
        for s in socks:
            s.close()
    netlab.counters_hold(w.sw)


def test_a_range_that_begins_elsewhere_ends_nothing(w):
    """Connections whose outside address is still there go on, by it; the others end, and begin anew by one that is there."""
    with talk.UdpEcho(w.out, 7000, bind=OUT) as echo:
        seen, socks = asked(w.h1, echo, HOSTS[:20], 5000, OUT)
        assert len(seen) == 20
        first = ipaddress.ip_address(sorted(seen.values(), key=lambda peer: ipaddress.ip_address(peer[0]))[4][0])  # four are below
        for to, stay in (f"{first}-198.18.255.255", 16), ("198.17.250.0-198.18.255.255", 20):
            w.sw.cli(f"apply {w.write('next.yaml', config(RULES.replace('to: 198.18.0.0/16', f'to: {to}')))}")
            netlab.wait_for("those end that must", lambda: w.sw.json("flow count rule big and proto udp") == {"flows": stay})
            for s in socks:
                n, was = len(echo.peers), seen[s.getsockname()]
                s.send(b"!")
                s.recv(10)
                assert echo.peers[n] == was or (ipaddress.ip_address(was[0]) < first <= ipaddress.ip_address(echo.peers[n][0]))
                seen[s.getsockname()] = echo.peers[n]
        for s in socks:
            s.close()
    netlab.counters_hold(w.sw)


def more():
    """Sixteen pools of 4096 addresses beside."""
    return "".join(
        f"  - {{name: more{n}, type: snat, source: 10.1.{n}.0/24, out: [wan], to: 10.64.{16 * n}.0/20}}\n" for n in range(16)
    ) + RULES


def test_sixteen_pools_are_there_at_once_and_hold_nobody_up(w):
    begin = time.monotonic()
    w.sw.cli(f"apply {w.write('next.yaml', config(more()))}")
    assert time.monotonic() - begin < 2
    pools = {p["name"]: p for p in w.sw.json("nat show")["pools"]}
    for n in range(16):
        assert pools[f"pool:more{n}"]["addresses"] == [f"10.64.{16 * n}.0-10.64.{16 * n + 15}.255"]
    loop = w.sw.json("status")["loop"]
    assert loop["cpu"]["over_10ms"] == 0, loop


def single(names, to):
    return "".join(f"  - {{name: {n}, type: snat, source: 10.{i}.0.0/16, out: [wan], to: {to}}}\n" for i, n in enumerate(names))


def test_rules_that_share_addresses_and_what_is_in_use_has_one_form(w):
    """Addresses count once, however many rules share them; what has single ones keeps them when others come."""
    w.out.route("198.51.100.0/22", "203.0.113.1")
    shared = config(single("abcde", "198.51.100.0/24") + single("fg", "198.51.101.0-198.51.103.100"))
    w.sw.cli(f"apply {w.write('next.yaml', shared)}")
    assert all(len(pool(w, f"pool:{n}")["addresses"]) == 256 for n in "abcde")
    with talk.UdpEcho(w.out, 7000, bind=OUT) as echo:
        seen, socks = asked(w.h1, echo, HOSTS[:5], 5000, OUT)
        assert len(seen) == 5
        # Two that share a large one, and a 1:1 range: together more than there is room for.
        late = single("xy", "10.64.0.0/16") + "  - {name: s, type: static, inside: 10.9.1.0/24, outside: 10.66.1.0/24}\n"
        w.sw.cli(f"apply {w.write('next.yaml', shared + late)}")
        assert pool(w, "pool:x")["addresses"] == pool(w, "pool:y")["addresses"] == ["10.64.0.0-10.64.255.255"]
        for s in socks:
            n = len(echo.peers)
            s.send(b"!")
            s.recv(10)
            assert echo.peers[n] == seen[s.getsockname()]
            s.close()
    netlab.counters_hold(w.sw)
