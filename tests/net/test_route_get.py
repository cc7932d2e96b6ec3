"""`sluice route get` against packets: what it says becomes of one is what becomes of it."""
import ipaddress
import socket

import pytest
from scapy.all import Ether, IP, IPv6, UDP

import conftest
import netlab

INET4, INET6 = netlab.INET4, netlab.INET6


@pytest.fixture(scope="module")
def w(shared_world):
    """The example's gateway, with strict reverse path checks at home and loose ones outside."""
    text = open(netlab.GATEWAY_YAML).read()
    for old, new in (('"2001:db8:10::1/64"]}', '"2001:db8:10::1/64"], rpf: strict}'), ('"2001:db8:f1::1/64"]}', '"2001:db8:f1::1/64"], rpf: loose}'),
                     ("routes:", "routes:\n  - {to: 198.18.0.0/16, type: blackhole}\n  - {to: 198.19.0.0/16, type: prohibit}")):
        assert old in text
        text = text.replace(old, new)
    conftest.start_gateway(shared_world, shared_world.write("rpf.yaml", text))
    for host in ("h1", "h2", "h3"):
        shared_world.namespaces[host].ping("10.0.10.1" if host != "h3" else "10.0.20.1")
        shared_world.namespaces[host].ping("2001:db8:10::1" if host != "h3" else "2001:db8:20::1")
    assert shared_world.h1.ping("10.0.20.13")[1] and shared_world.h1.ping("2001:db8:20::13")[1]
    assert shared_world.h1.ping(INET4)[1] and shared_world.h1.ping(INET6)[1]
    return shared_world


def get(w, to, **options):
    return w.gw.json(f"route get {to} " + " ".join(f"{k.rstrip('_')} {v}" for k, v in options.items()))


@pytest.mark.parametrize("here,there", [("10.0.10.11", INET4), ("2001:db8:10::11", INET6)])
def test_the_member_of_the_group_is_the_one_that_packets_take(w, here, there):
    """Every connection's hash is worked out beforehand; then its first packet is sent, and seen at one of two routers."""
    sniffers = {u: w.namespaces[f"r{u[-1]}"].sniff("sw") for u in ("up1", "up2")}
    family = socket.AF_INET6 if ":" in here else socket.AF_INET
    said = {}
    try:
        for sport in range(20000, 20040):
            found = get(w, there, from_=here, iif="h1", ipproto="udp", sport=sport, dport=9)
            said[sport] = found["out"]["interface"]
            assert found["group"]["nexthop"] == found["out"]["nexthop"] and found["group"]["bucket"] < found["group"]["buckets"]
            with w.h1.socket(family, socket.SOCK_DGRAM) as s:
                s.bind((here, sport))
                s.sendto(b"route-get-%d!" % sport, (there, 9))
        seen = {u: b"".join(s.matching(b"route-get-", 0.5)) for u, s in sniffers.items()}
    finally:
        for s in sniffers.values():
            s.close()
    assert set(said.values()) == {"up1", "up2"}
    for sport, up in said.items():
        for u, bytes_seen in seen.items():
            assert (b"route-get-%d!" % sport in bytes_seen) == (u == up), f"{sport}: said {up}, seen at {u}"


@pytest.fixture
def inner(w):
    """The same switch with `ecmp-hash: inner`."""
    text = open(f"{w.directory}/rpf.yaml").read()
    w.gw.cli(["apply", w.write("inner.yaml", "settings: {ecmp-hash: inner}\n" + text)])
    yield w
    w.gw.cli(["apply", f"{w.directory}/rpf.yaml"])


def test_the_hash_of_what_is_inside_of_a_tunnel(inner):
    """It is called by its name; of what is no tunnel the member is told, of a tunnel it cannot be."""
    w = inner
    sniffers = {u: w.namespaces[f"r{u[-1]}"].sniff("sw") for u in ("up1", "up2")}
    try:
        for sport in range(20100, 20110):
            found = get(w, INET4, from_="10.0.10.11", iif="h1", ipproto="udp", sport=sport, dport=9)
            assert found["group"]["hash"] == "inner"
            with w.h1.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.bind(("10.0.10.11", sport))
                s.sendto(b"inner-%d!" % sport, (INET4, 9))
            assert sniffers[found["out"]["interface"]].matching(b"inner-%d!" % sport, 2, count=1)
    finally:
        for s in sniffers.values():
            s.close()
    for tunnel in ({"ipproto": "gre"}, {"ipproto": 4}, {"ipproto": "udp", "sport": 7, "dport": 4789}):
        found = get(w, INET4, from_="10.0.10.11", iif="h1", **tunnel)
        assert "inside of the tunnel" in found["group"]["needs"] and "out" not in found and "nexthop" not in found["group"]
    assert get(w, INET4, from_="10.0.10.11", iif="h1", ipproto="udp", sport=4789, dport=7)["out"]["interface"] in ("up1", "up2")


def test_a_flow_that_is_known_is_told(w):
    q = dict(from_="10.0.10.11", iif="h1", ipproto="udp", sport=21000, dport=9)
    before = get(w, INET4, **q)
    assert "flow" not in before and before["nat"]["source"] == {"action": "pool", "rule": "internet"}
    with w.h1.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("10.0.10.11", 21000))
        s.sendto(b"x", (INET4, 9))
    netlab.wait_for("its flow is there", lambda: any(f["forward"]["sport"] == 21000 for f in w.gw.json("flow list")))
    after = get(w, INET4, **q)
    assert after["flow"]["rule"] == "internet" and after["out"] == before["out"] and after["flow"]["nexthop"] == before["out"]["nexthop"]
    flow = next(f for f in w.gw.json("flow list") if f["forward"]["sport"] == 21000)
    q = dict(from_=INET4, iif="up1", ipproto="udp", sport=9)
    answer = get(w, flow["forward"]["to-src"], dport=flow["reply"]["dport"], **q)
    assert answer["flow"]["rule"] == "internet" and answer["out"]["port"] == "h1"
    assert get(w, flow["forward"]["to-src"], dport=1, **q)["drop"] == "nat_filtered"


# Source, destination; by h1's port, as UDP.
CASES = [
    ("10.0.10.11", "10.0.20.13"), ("10.0.10.11", "10.0.10.1"), ("10.0.10.11", "224.0.0.9"), ("10.0.10.11", "255.255.255.255"),
    ("127.0.0.1", "10.0.20.13"), ("240.0.0.1", "10.0.20.13"), ("224.0.0.1", "10.0.20.13"), ("0.0.0.7", "10.0.20.13"),
    ("0.0.0.0", "10.0.20.13"), ("0.0.0.0", "10.0.10.1"), ("10.0.20.13", "10.0.20.13"), ("10.0.10.11", "127.0.0.9"),
    ("10.0.10.11", "0.0.0.9"), ("10.0.10.11", "241.0.0.9"), ("10.0.10.1", "10.0.20.13"), ("10.0.10.255", "10.0.20.13"),
    ("10.0.20.13", INET4), ("192.0.2.77", "10.0.20.13"), ("10.0.10.11", "10.0.20.255"), ("10.0.10.11", "10.0.20.0"),
    ("10.0.10.11", "198.18.7.7"), ("10.0.10.11", "198.19.7.7"), ("198.18.7.7", "10.0.20.13"), ("10.0.10.11", "203.0.113.5"),
    ("10.0.10.11", "192.0.2.1"), ("10.0.10.11", "192.0.2.3"),
    ("2001:db8:10::11", "2001:db8:20::13"), ("2001:db8:10::11", "2001:db8:10::1"), ("2001:db8:20::13", "2001:db8:20::13"),
    ("::1", "2001:db8:20::13"), ("ff02::7", "2001:db8:20::13"), ("2001:db8:10::11", "::1"), ("2001:db8:10::11", "ff05::2"),
    ("10.0.10.11", "169.254.7.7"), ("169.254.7.7", "10.0.20.13"), ("169.254.7.7", "10.0.10.1"),
    ("2001:db8:10::11", "fe80::7"), ("fe80::7", "2001:db8:20::13"), ("fe80::7", "2001:db8:10::1"), ("fe80::7", "fe80::8"),
    ("2001:db8:77::1", "2001:db8:20::13"), ("2001:db8:20::77", "2001:db8:20::13"), ("::", "2001:db8:20::13"),
]


def agrees(w, src, dst):
    """The verdict that is said of a packet becomes of one: what was said."""
    mac = w.sw.mac("vlan10")
    net = IPv6(src=src, dst=dst, hlim=9) if ":" in src else IP(src=src, dst=dst, ttl=9)
    said = get(w, dst, from_=src, iif="h1", ipproto="udp", sport=7777, dport=9)

    def counters():
        port = next(p for p in w.gw.json("counters show")["ports"] if p["name"] == "h1")
        return {"forward": port["forwarded"], "host": port["to_host"], **{f"drop {k}": v for k, v in port["drops"].items()}}

    before = counters()
    w.h1.send("eth0", Ether(src=w.h1.mac("eth0"), dst=mac) / net / UDP(sport=7777, dport=9) / b"verdict")
    want = f"drop {said['drop']}" if said["verdict"] == "drop" else said["verdict"]
    try:
        netlab.wait_for("counted", lambda: counters().get(want, 0) > before.get(want, 0), timeout=2)
    except netlab.Failure:
        now = counters()
        raise AssertionError(f"said {want}, was {[k for k in now if now[k] > before.get(k, 0)]}") from None
    return said


@pytest.mark.parametrize("src,dst", CASES, ids=[f"{s}-{d}" for s, d in CASES])
def test_the_verdict_is_that_of_a_packet(w, src, dst):
    agrees(w, src, dst)


def test_link_local_addresses_have_a_reason_of_their_own(w):
    """RFC 3927 7: IPv4's are not forwarded, although the default route leads there; IPv6's are the host's."""
    said = agrees(w, "10.0.10.11", "169.254.7.7")
    assert said["drop"] == "route_link_local" and said["route"]["to"] == "0.0.0.0/0" and "link-local" in said["text"]
    assert agrees(w, "2001:db8:10::11", "fe80::7")["text"] == "fe80::7 is the host's to answer"


def test_directed_broadcast_that_the_interface_wants(w):
    """RFC 2644: dropped by itself; where the interface wants it, it goes to all of them."""
    assert agrees(w, "10.0.10.11", "10.0.20.255")["drop"] == "route_broadcast"
    text = open(f"{w.directory}/rpf.yaml").read()
    assert '"2001:db8:20::1/64"]}' in text
    w.gw.cli(["apply", w.write("wanted.yaml", text.replace('"2001:db8:20::1/64"]}', '"2001:db8:20::1/64"], directed-broadcast: true}'))])
    try:
        said = agrees(w, "10.0.10.11", "10.0.20.255")
        assert said["verdict"] == "forward" and said["text"] == "10.0.20.255 goes to all on vlan20, by its broadcast address"
        assert said["out"]["interface"] == "vlan20" and said["out"]["vlan"] == 20 and "neighbor" not in said["out"]
        assert agrees(w, "10.0.10.11", "10.0.20.0")["drop"] == "route_broadcast"  # the other end of the prefix is nobody's
    finally:
        w.gw.cli(["apply", f"{w.directory}/rpf.yaml"])
    assert agrees(w, "10.0.10.11", "10.0.20.255")["drop"] == "route_broadcast"


def test_destination_translated(w):
    """A port forward: the way is that to the server inside, whose port the station's MAC tells."""
    found = get(w, netlab.FORWARDED, from_=INET4, iif="up1", ipproto="tcp", sport=4000, dport=8080)
    assert found["nat"]["destination"] == {"action": "dnat", "rule": "web", "address": "10.0.10.11", "port": 80}
    assert found["out"]["port"] == "h1" and found["out"]["interface"] == "vlan10" and found["out"]["neighbor"]["state"] in ("resolved", "stale")
    assert found["reverse_path"] == {**found["reverse_path"], "mode": "loose", "verdict": "pass", "to": "0.0.0.0/0"}
    assert get(w, netlab.FORWARDED, from_=INET4, iif="up1", ipproto="tcp", sport=4000, dport=8081)["drop"] == "nat_filtered"


def connect(w, client, here, sport, to=(netlab.FORWARDED, 8080), host="h1", at="10.0.10.11", port=80):
    """The source that the server behind the forward sees, or another one on a port of a host."""
    with w.namespaces[host].socket() as server, w.namespaces[client].socket() as s:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((at, port))
        server.listen()
        server.settimeout(3)
        s.settimeout(3)
        s.bind((here, sport))
        s.connect(to)
        peer, address = server.accept()
        peer.close()
        return address[0]


def test_destination_in_a_range(w):
    """Each of a range's ports, which the tables have as blocks, and those beside it."""
    text = open(f"{w.directory}/rpf.yaml").read().replace(
        "\nnat:\n", '\nnat:\n  - {name: range, type: dnat, destination: 203.0.113.1, protocol: tcp, port: 1001-1010, to: "10.0.10.11:1003"}\n')
    w.gw.cli(["apply", w.write("range.yaml", text)])
    try:
        for port in range(1000, 1012):
            said = get(w, netlab.FORWARDED, from_=INET4, iif="up1", ipproto="tcp", sport=4000, dport=port)
            if port in (1000, 1011):
                assert said["drop"] == "nat_filtered"
                continue
            assert said["nat"]["destination"] == {"action": "dnat", "rule": "range", "address": "10.0.10.11", "port": port + 2}
            connect(w, "h2", "10.0.10.12", 3000 + port, (netlab.FORWARDED, port), port=port + 2)
    finally:
        w.gw.cli(["apply", f"{w.directory}/rpf.yaml"])


@pytest.mark.parametrize("client,here,iif", [("h2", "10.0.10.12", "vlan10"), ("h3", "10.0.20.13", "vlan20")], ids=["same VLAN", "another VLAN"])
def test_hairpin_to_a_port_forward(w, client, here, iif):
    """RFC 4787 REQ-9: from inside to an outside address that leads in again: the source becomes an outside one, by the rule that would
    have taken it outside; and so it does."""
    q = dict(from_=here, ipproto="tcp", sport=4001, dport=8080)
    said = get(w, netlab.FORWARDED, iif=iif, **q)
    assert said["verdict"] == "forward" and said["out"]["port"] == "h1"
    assert said["nat"] == {"destination": {"action": "dnat", "rule": "web", "address": "10.0.10.11", "port": 80},
                           "hairpin": said["nat"]["hairpin"], "source": {"action": "pool", "rule": "internet"}}
    assert said["nat"]["hairpin"] in ("up1", "up2")
    assert said["text"] == "203.0.113.1 (to 10.0.10.11) is a neighbour on vlan10 by route 10.0.10.0/24"
    text = w.gw.cli(f"route get {netlab.FORWARDED} iif {iif} " + " ".join(f"{k.rstrip('_')} {v}" for k, v in q.items())).stdout
    assert f"hairpin: its source becomes what it would be, left it by {said['nat']['hairpin']}" in text
    assert get(w, netlab.FORWARDED, **q)["nat"]["source"] == {"needs": "iif"}  # from outside it would be another matter
    assert "source: to tell it give iif" in w.gw.cli(f"route get {netlab.FORWARDED} from {here} ipproto tcp sport 4001 dport 8080").stdout
    assert ipaddress.ip_address(connect(w, client, here, 4001)) in ipaddress.ip_network("203.0.113.0/28")


def test_forward_to_the_sender_s_own_interface_without_a_rule_for_him(w):
    """Whom no rule would translate outside, but whose server is beside him: he is masqueraded there, or the answer would go past."""
    w.gw.cli(["apply", w.write("few.yaml", open(f"{w.directory}/rpf.yaml").read().replace("source: 10.0.0.0/16,", "source: 10.0.10.11/32,"))])
    try:
        said = {h: get(w, netlab.FORWARDED, from_=here, iif=iif, ipproto="tcp", sport=4002, dport=8080)["nat"]
                for h, here, iif in (("h2", "10.0.10.12", "vlan10"), ("h3", "10.0.20.13", "vlan20"))}
        assert said["h2"]["source"] == {"action": "masquerade", "rule": "web"} and "hairpin" not in said["h2"]
        assert "source" not in said["h3"] and "hairpin" not in said["h3"]
        assert connect(w, "h2", "10.0.10.12", 4002) == "10.0.10.1"
        assert connect(w, "h3", "10.0.20.13", 4002) == "10.0.20.13"
    finally:
        w.gw.cli(["apply", f"{w.directory}/rpf.yaml"])


STATIC = "203.0.113.25"
SPARED = """nat:
  - {name: stays, type: snat, source: 10.0.0.0/16, destination: 10.0.0.0/16, to: none}
  - {name: mail, type: static, inside: 10.0.20.13, outside: 203.0.113.25, out: [up1]}
"""


@pytest.fixture
def spared(w):
    """Beside a rule that spares what stays inside: h3 has an address outside of its own; of the others only h2 has the pool's."""
    text = open(f"{w.directory}/rpf.yaml").read().replace("\nnat:\n", "\n" + SPARED).replace("source: 10.0.0.0/16, out", "source: 10.0.10.12, out")
    w.gw.cli(["apply", w.write("spared.yaml", text)])
    yield w
    w.gw.cli(["apply", f"{w.directory}/rpf.yaml"])


def test_hairpin_to_a_static_and_from_it(spared):
    """RFC 4787 REQ-9 a, 1:1: what is said is what becomes of it, with real connections."""
    w, one = spared, {"action": "static", "rule": "mail", "address": STATIC}
    q = dict(ipproto="tcp", sport=4003)
    said = get(w, STATIC, from_="10.0.10.12", iif="vlan10", dport=80, **q)["nat"]
    assert said == {"destination": {**one, "address": "10.0.20.13"}, "hairpin": "up1", "source": {"action": "pool", "rule": "internet"}}
    assert ipaddress.ip_address(connect(w, "h2", "10.0.10.12", 4003, (STATIC, 80), "h3", "10.0.20.13")) in ipaddress.ip_network("203.0.113.0/28")
    said = get(w, STATIC, from_="10.0.20.13", iif="vlan20", dport=80, **q)["nat"]
    assert said["hairpin"] == "up1" and said["source"] == one
    assert connect(w, "h3", "10.0.20.13", 4004, (STATIC, 80), "h3", "10.0.20.13") == STATIC
    assert connect(w, "h3", "10.0.20.13", 4005, (netlab.FORWARDED, 8080)) == STATIC
    assert connect(w, "h3", "10.0.20.13", 4006, ("10.0.10.11", 80)) == "10.0.20.13"
    # Who has no rule keeps his address, but before a server of his own subnet, who would answer past the gateway.
    said = get(w, netlab.FORWARDED, from_="10.0.10.11", iif="vlan10", dport=8080, **q)["nat"]
    assert said["source"] == {"action": "masquerade", "rule": "web"} and "hairpin" not in said
    assert connect(w, "h1", "10.0.10.11", 4007) == "10.0.10.1"
    assert get(w, STATIC, from_="10.0.10.11", iif="vlan10", dport=80, **q)["nat"]["source"] == {"action": "none", "rule": "stays"}
    assert connect(w, "h1", "10.0.10.11", 4008, (STATIC, 80), "h3", "10.0.20.13") == "10.0.10.11"


def test_hairpin_to_a_mapping(w):
    """One inside reaches another by the outside address and port that it has, whatever the filtering is of those outside."""
    with w.h1.socket(kind=socket.SOCK_DGRAM) as server, w.h2.socket(kind=socket.SOCK_DGRAM) as client:
        server.bind(("10.0.10.11", 22000))
        client.bind(("10.0.10.12", 22001))
        server.settimeout(3)
        server.sendto(b"x", (INET4, 9))
        flow = netlab.wait_for("the mapping", lambda: [f for f in w.gw.json("flow list") if f["forward"]["sport"] == 22000])[0]
        there = (flow["forward"]["to-src"], flow["reply"]["dport"])
        q = dict(ipproto="udp", dport=there[1])
        assert get(w, there[0], from_=INET4, iif="up1", sport=10, **q)["drop"] == "nat_filtered"
        said = get(w, there[0], from_="10.0.10.12", iif="vlan10", sport=22001, **q)
        assert said["nat"]["destination"] == {"action": "mapping", "rule": "internet", "address": "10.0.10.11", "port": 22000}
        assert said["nat"]["hairpin"] == flow["out"] and said["nat"]["source"] == {"action": "pool", "rule": "internet"}
        client.sendto(b"hairpin", there)
        seen = server.recvfrom(100)
        assert seen[0] == b"hairpin" and ipaddress.ip_address(seen[1][0]) in ipaddress.ip_network("203.0.113.0/28")


def test_candidates_and_why_they_lost(w):
    for args in ("198.51.100.0/25 via 10.0.10.11 dev vlan10 metric 50 proto bgp", "198.51.100.0/25 via 10.0.10.12 dev vlan10 metric 70 proto bgp",
                 "198.51.100.0/25 via 10.0.20.13 dev vlan20 metric 5 proto ospf", "198.51.100.0/26 dev vlan20 via 10.0.20.99 proto bgp",
                 "198.51.0.0/16 via 10.0.20.13 dev vlan20 proto bgp"):
        w.sw.run(f"ip route add {args}")
    try:
        netlab.wait_for("all there", lambda: len(w.gw.json("route show longer 198.51.0.0/16")) == 5)
        found = get(w, "198.51.100.100")
        why = {(r["to"], r["metric"]): r["why"] for r in found["candidates"]}
        assert found["route"]["to"] == "198.51.100.0/25" and found["route"]["metric"] == 50
        assert why == {("198.51.100.0/25", 70): "its metric 70 is more than 50", ("198.51.100.0/25", 5): "its distance 110 is more than 20",
                       ("198.51.0.0/16", 0): "198.51.100.0/25 is longer", ("0.0.0.0/0", 0): "198.51.100.0/25 is longer"}
        text = w.gw.cli("route get 198.51.100.100").stdout
        assert "via 10.0.10.11 on vlan10 by route 198.51.100.0/25" in text and "its distance 110 is more than 20" in text
        assert get(w, "198.51.100.9")["route"]["to"] == "198.51.100.0/26"
    finally:
        for net in ("198.51.100.0/26", "198.51.0.0/16", *["198.51.100.0/25"] * 3):
            w.sw.run(f"ip route del {net}", check=False)
    netlab.wait_for("gone", lambda: not w.gw.json("route show longer 198.51.0.0/16"))


def test_recursion_is_followed(w):
    w.gw.cli("route add 198.51.7.0/24 via 10.0.10.12")
    found = get(w, "198.51.7.1")
    assert found["recursion"] == [{"gateway": "10.0.10.12", "to": "10.0.10.0/24", "protocol": "connected"}]
    assert found["out"]["neighbor"]["address"] == "10.0.10.12"
    assert "10.0.10.12 by 10.0.10.0/24 proto connected" in w.gw.cli("route get 198.51.7.1").stdout
    w.gw.cli("route delete 198.51.7.0/24")


def test_what_is_not_said_is_not_guessed(w):
    found = get(w, INET4)
    assert found["group"]["needs"] and "out" not in found and "hash of the connection chooses" in found["text"]
    assert "reverse_path" not in get(w, INET4, from_="10.0.20.13") and "needs" in get(w, INET4, from_="10.0.20.13")["group"]
    for args, words in (("10.0.0.1 from ::1", "not of one family"), ("10.0.0.1 sport 7", "`ipproto` is missing"), ("10.0.0.1 ipproto foo", "is not tcp"),
                        ("10.0.0.1 ipproto tcp sport 65536", "0..65535"), ("10.0.0.1 iif nowhere", "no port or interface"),
                        ("10.0.0.1 iif tor", "name the interface"), ("10.0.0.1 vrf red", "no VRF"), ("10.0.0", "is no address"),
                        ("10.0.0.1 from 7", "is no address")):
        out = w.gw.cli(f"route get {args}", check=False)
        assert out.returncode == 1 and words in out.stdout, args


def test_neighbor_that_fails(w):
    """The first packet asks; when nobody answers, the next one is dropped, and told so."""
    assert get(w, "10.0.20.200")["out"]["neighbor"]["state"] == "unresolved"
    w.h1.run("ping -n -q -c 1 -W 1 10.0.20.200", check=False)
    netlab.wait_for("failed", lambda: get(w, "10.0.20.200").get("drop") == "neighbor_failed", timeout=8)
