"""The example's gateway with real programs: routing, ECMP, NAT, ping and traceroute, both families."""
import ipaddress
import re

import pytest

import netlab
import talk

POOL = [str(ipaddress.ip_address("203.0.113.2") + i) for i in range(13)]


def hops(ns, target, how):
    """Addresses that traceroute shows, in order; '*' where nobody answered."""
    out = ns.run(f"traceroute -n {how} -q 1 -w 1 -m 6 {target}", check=False, timeout=30).stdout
    return [m[1] for m in re.finditer(r"^ *\d+ +(\S+)", out, re.M)]


def test_host_to_gateway_ping(gateway):
    assert gateway.h1.ping("10.0.10.1") == (3, 3)


def test_host_to_gateway_ping_v6(gateway):
    assert gateway.h1.ping("2001:db8:10::1") == (3, 3)


def test_host_to_the_other_vlans_gateway_address(gateway):
    assert gateway.h1.ping("10.0.20.1") == (3, 3)


def test_ping_across_the_trunk(gateway):
    assert gateway.h1.ping("10.0.10.14") == (3, 3)


@pytest.mark.parametrize("target", ["10.0.20.13", "2001:db8:20::13"], ids=["v4", "v6"])
def test_routed_between_vlans(gateway, target):
    assert gateway.h1.ping(target) == (3, 3)


def test_routed_between_vlans_over_the_trunk(gateway):
    """h4 and h5 stand behind the other switch: in by the trunk tagged 10, out by the same trunk tagged 20."""
    same, _ = talk.tcp_transfer(gateway.h4, gateway.h5, "10.0.20.15", size=8 << 20)
    assert same


def test_ttl_is_decremented_once(gateway):
    with gateway.h3.sniff("eth0") as s:
        gateway.h1.ping("10.0.20.13", count=1, ttl=33, pattern=bytes.fromhex("5a17c0de"))
        seen = s.matching(bytes.fromhex("5a17c0de5a17c0de"), count=1)
    assert [f[22] for f in seen[:1]] == [32]


def test_upstream_v6_is_routed_unchanged(gateway):
    same, peer = talk.tcp_transfer(gateway.h1, gateway.inet, netlab.INET6, size=4 << 20)
    assert (same, peer[0]) == (True, "2001:db8:10::11")


def test_snat_tcp_takes_an_address_of_the_pool(gateway):
    same, peer = talk.tcp_transfer(gateway.h1, gateway.inet, netlab.INET4, size=4 << 20)
    assert same
    assert peer[0] in POOL


def test_snat_udp_answers_come_back(gateway):
    with talk.UdpEcho(gateway.inet, 7001) as echo:
        assert talk.udp_ask(gateway.h3, netlab.INET4, 7001, b"who am I") == b"who am I"
    assert {p[0] for p in echo.peers} <= set(POOL)


def test_snat_ping(gateway):
    with gateway.inet.sniff("r1") as one, gateway.inet.sniff("r2") as two:
        assert gateway.h1.ping(netlab.INET4, pattern=bytes.fromhex("0dd0c0de")) == (3, 3)
        seen = [f for s in (one, two) for f in s.matching(bytes.fromhex("0dd0c0de0dd0c0de"))]
    assert len(seen) == 3
    assert {str(ipaddress.ip_address(f[26:30])) for f in seen} <= set(POOL)


def test_one_inner_host_keeps_one_outer_address(gateway):
    """RFC 4787 REQ-2: paired address pooling."""
    with talk.UdpEcho(gateway.inet, 7002) as echo:
        for _ in range(12):
            assert talk.udp_ask(gateway.h2, netlab.INET4, 7002, b"x")
    assert len({p[0] for p in echo.peers}) == 1


def test_no_untranslated_address_leaves(gateway):
    with gateway.r1.sniff("sw") as one, gateway.r2.sniff("sw") as two:
        with talk.UdpEcho(gateway.inet, 7003):
            for _ in range(8):
                assert talk.udp_ask(gateway.h1, netlab.INET4, 7003, b"y")
        gateway.h1.ping(netlab.INET4)
        seen = one.frames(0.2) + two.frames(0.2)
    inner = [f for f in seen if f[12:14] == b"\x08\x00" and f[26:28] == bytes([10, 0])]
    assert seen and not inner


def test_port_forward_tcp(gateway):
    same, peer = talk.tcp_transfer(gateway.inet, gateway.h1, netlab.FORWARDED, port=8080, listen=80, size=4 << 20)
    assert (same, peer[0]) == (True, netlab.INET4), "the client's own address is kept"


def test_port_that_is_not_forwarded(gateway):
    with pytest.raises(OSError):
        talk.tcp_connect(gateway.inet, netlab.FORWARDED, 8081).close()


def test_unasked_packets_from_outside_do_not_come_in(gateway):
    """A pool address without a mapping leads nowhere (RFC 4787, RFC 5382 REQ-4)."""
    with gateway.h1.sniff("eth0") as h1, gateway.h2.sniff("eth0") as h2:
        with gateway.inet.socket(kind=2) as s:
            for port in range(2000, 2050):
                s.sendto(b"unasked for", (POOL[0], port))
        assert h1.matching(b"unasked for") + h2.matching(b"unasked for") == []


@pytest.mark.parametrize("how", ["-I", "-U"], ids=["icmp", "udp"])
def test_traceroute_through_the_nat(gateway, how):
    """The switch is the first hop, the router behind the NAT the second, the target the last: ICMP errors about translated
    packets are translated back (RFC 5508 REQ-3, RFC 792)."""
    got = hops(gateway.h1, netlab.INET4, how)
    assert got[:1] == ["10.0.10.1"]
    assert got[1:2] in (["192.0.2.2"], ["192.0.2.6"])
    assert got[2:] == [netlab.INET4]


@pytest.mark.parametrize("how", ["-I", "-U"], ids=["icmp", "udp"])
def test_traceroute_v6(gateway, how):
    got = hops(gateway.h1, netlab.INET6, "-6 " + how)
    assert got[:1] == ["2001:db8:10::1"]
    assert got[1:2] in (["2001:db8:f1::2"], ["2001:db8:f2::2"])
    assert got[2:] == [netlab.INET6]


def test_traceroute_between_vlans(gateway):
    assert hops(gateway.h1, "10.0.20.13", "-I") == ["10.0.10.1", "10.0.20.13"]


def test_traceroute_from_outside_through_the_port_forward(gateway):
    """The host behind the NAT shows under its outer address, never under its own."""
    got = hops(gateway.inet, netlab.FORWARDED, "-T -p 8080")
    assert got[-1:] == [netlab.FORWARDED]
    assert not [h for h in got if h.startswith("10.")]


def ways(gateway, family):
    """Packets of each nexthop of the default route."""
    to = "::/0" if family == 6 else "0.0.0.0/0"
    route = next(r for r in gateway.gw.json("route show") if r["to"] == to and r.get("active", True))
    return {n["via"]: n.get("packets", 0) for n in route["nexthops"]}


@pytest.mark.parametrize("target, family", [(netlab.INET4, 4), (netlab.INET6, 6)], ids=["v4", "v6"])
def test_ecmp_uses_both_ways_and_keeps_tcp_whole(gateway, target, family):
    before = ways(gateway, family)
    for i in range(24):
        same, _ = talk.tcp_transfer(gateway.h1, gateway.inet, target, port=9100 + i, size=100_000)
        assert same
    after = ways(gateway, family)
    used = {via: after[via] - before[via] for via in after}
    assert len(used) == 2
    assert min(used.values()) > 0.1 * sum(used.values()), used


def test_ecmp_keeps_one_flow_on_one_way(gateway):
    counts = []
    with gateway.r1.sniff("sw") as one, gateway.r2.sniff("sw") as two:
        with talk.UdpEcho(gateway.inet, 7005), gateway.h1.socket(kind=2) as s:
            s.connect((netlab.INET4, 7005))
            for _ in range(50):
                s.send(b"one and the same flow")
                s.recv(100)
        counts = [len([f for f in x.matching(b"one and the same flow") if f[30:34] == bytes([198, 51, 100, 1])])
                  for x in (one, two)]
    assert sorted(counts) == [0, 50]


def test_flows_tell_the_mapping(gateway):
    with talk.UdpEcho(gateway.inet, 7006) as echo:
        assert talk.udp_ask(gateway.h1, netlab.INET4, 7006, b"z")
        text = gateway.gw.cli("flow list").stdout
    assert echo.peers[0][0] in text and str(echo.peers[0][1]) in text and "10.0.10.11" in text


def test_mtu_of_the_way_is_told(gateway):
    """RFC 1191: a packet that is too large with DF set is answered by 'fragmentation needed' with the MTU."""
    for r in ("r1", "r2"):
        getattr(gateway, r).run("ip link set sw mtu 1400")
    gateway.sw.run("ip link set up1 mtu 1400")
    gateway.sw.run("ip link set up2 mtu 1400")
    try:
        def told():
            return "mtu = 1400" in gateway.h1.run(f"ping -n -c 1 -W 1 -M do -s 1450 {netlab.INET4}", check=False).stdout \
                or "mtu 1400" in gateway.h1.run(f"ip route get {netlab.INET4}").stdout
        netlab.wait_for("h1 learns the MTU", told, timeout=5)
    finally:
        for i in (1, 2):
            gateway.sw.run(f"ip link set up{i} mtu 1500")
            getattr(gateway, f"r{i}").run("ip link set sw mtu 1500")
        gateway.h1.run("ip route flush cache")


def test_route_get_says_where_a_packet_goes(gateway):
    text = gateway.gw.cli("route get 198.51.100.1").stdout
    assert "192.0.2.2" in text and "192.0.2.6" in text or "192.0.2.2" in text or "192.0.2.6" in text
    assert gateway.gw.cli("route get 10.0.20.13").stdout.count("vlan20")


def test_example_is_what_runs(gateway):
    """The file that started the switch differs in nothing from the running model."""
    assert gateway.gw.json(f"diff {netlab.GATEWAY_YAML}")["diff"] == []


def test_counters_add_up(gateway):
    netlab.counters_hold(gateway.gw)
    netlab.counters_hold(gateway.tor_switch)
