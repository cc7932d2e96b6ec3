"""Routes of all sources, in the tables and in traffic: who wins, what the kernel gets to know, gateways that fail, restarts."""
import os
import time

import netlab

TEST_NET = "198.51.100.0/24"


def routes(w, to, **match):
    return [r for r in w.gw.json("route show") if r["to"] == to and all(r.get(k) == v for k, v in match.items())]


def get(w, addr):
    return w.gw.json(f"route get {addr}")


def wait_route(w, to, **match):
    return netlab.wait_for(f"route {to} {match}", lambda: routes(w, to, **match))[0]


def nexthop(route, via):
    return next(n for n in route["nexthops"] if n.get("via") == via)


def test_static_routes_are_the_host_s_too(gateway):
    lines = gateway.sw.run("ip route show proto 83").stdout
    assert "default" in lines and "via 192.0.2.2 dev up1" in lines and "via 192.0.2.6 dev up2" in lines
    assert "2001:db8:f1::2" in gateway.sw.run("ip -6 route show proto 83").stdout


def test_kernel_route_comes_and_goes(gateway):
    w = gateway
    w.sw.run(f"ip route add {TEST_NET} via 192.0.2.2 proto bgp metric 20")
    try:
        r = wait_route(w, TEST_NET, active=True)
        assert r["protocol"] == "bgp" and r["distance"] == 20 and r["metric"] == 20
        assert [n["via"] for n in r["nexthops"]] == ["192.0.2.2"]
        assert get(w, "198.51.100.9")["route"]["to"] == TEST_NET
    finally:
        w.sw.run(f"ip route del {TEST_NET}")
    netlab.wait_for("the route is gone", lambda: not routes(w, TEST_NET))
    assert get(w, "198.51.100.9")["route"]["to"] == "0.0.0.0/0"


def test_route_for_one_tos_is_named_and_not_followed(gateway):
    w = gateway
    line = f"the kernel's route to {TEST_NET} tos 0x10 in table 254 is not followed"
    w.sw.run(f"ip route add {TEST_NET} tos 0x10 via 192.0.2.6")
    try:
        netlab.wait_for("it is counted", lambda: w.gw.json("status")["routes"]["left_out"] == 1)
        assert any(e.startswith(line) for e in w.gw.json("status")["errors"]) and not routes(w, TEST_NET)
        assert "1 not followed" in w.gw.cli("status").stdout
        with open(w.gw.log) as f:
            assert f.read().count(line) == 1
    finally:
        w.sw.run(f"ip route del {TEST_NET} tos 0x10")
    netlab.wait_for("it is not any more", lambda: not w.gw.json("status")["routes"]["left_out"])
    assert not any(line in e for e in w.gw.json("status")["errors"])


def test_route_for_one_tos_that_comes_and_goes_is_named_once(gateway):
    w = gateway
    seen = os.path.getsize(w.gw.log)
    w.sw.run(f"ip route add {TEST_NET} tos 0x10 via 192.0.2.6")
    try:
        for _ in range(20):
            w.sw.run(f"ip route add {TEST_NET} tos 0x08 via 192.0.2.6")
            netlab.wait_for("both are counted", lambda: w.gw.json("status")["routes"]["left_out"] == 2)
            w.sw.run(f"ip route del {TEST_NET} tos 0x08")
            netlab.wait_for("one is left", lambda: w.gw.json("status")["routes"]["left_out"] == 1)
    finally:
        w.sw.run(f"ip route del {TEST_NET} tos 0x10")
    netlab.wait_for("none is left", lambda: not w.gw.json("status")["routes"]["left_out"])
    with open(w.gw.log) as f:
        f.seek(seen)
        text = f.read()
    assert text.count("tos 0x08 in table 254 is not followed") == 1
    assert "more of the kernel's routes" not in text


def test_routing_rules_of_others_are_named_and_not_followed(gateway):
    """As the kernel's answers by them are counted by the audit, which says nothing else of them."""
    w, line = gateway, "the kernel's routing rule 101 for IPv4 (to 100.70.0.0/16 lookup 77) is not followed"
    w.sw.run("ip route add 100.70.0.0/16 via 192.0.2.2 proto bgp")
    w.sw.run("ip route add default via 192.0.2.6 table 77")
    w.sw.run("ip rule add to 100.70.0.0/16 lookup 77 prio 101")
    w.sw.run("ip -6 rule add iif up1 fwmark 5 suppress_prefixlength 0 lookup main prio 102")
    w.sw.run("ip rule add prio 103 lookup main")
    try:
        netlab.wait_for("they are counted", lambda: w.gw.json("status")["routes"]["rules_left_out"] == 2)
        errors = w.gw.json("status")["errors"]
        assert any(e.startswith(line) for e in errors)
        assert any("rule 102 for IPv6 (iif up1 fwmark 0x5/0xffffffff and more, lookup 254)" in e for e in errors)
        assert "2 of other programs" in w.gw.cli("status").stdout
        with open(w.gw.log) as f:
            assert f.read().count(line) == 1
        assert wait_route(w, "100.70.0.0/16", active=True)["nexthops"][0]["via"] == "192.0.2.2"
        netlab.wait_for("the audit counts", lambda: w.gw.json("route audit").get("last", {}).get("by_rule"), timeout=15)
        assert "answered by another's rule" in w.gw.cli("route audit").stdout
        assert w.gw.json("route audit")["differences"] == 0
    finally:
        for rule in ("prio 101", "prio 103"):
            w.sw.run(f"ip rule del {rule}")
        w.sw.run("ip -6 rule del prio 102")
        w.sw.run("ip route del default table 77")
        w.sw.run("ip route del 100.70.0.0/16")
    netlab.wait_for("they are not any more", lambda: not w.gw.json("status")["routes"]["rules_left_out"])
    assert not any("routing rule" in e for e in w.gw.json("status")["errors"])


def test_distance_decides_before_metric(gateway):
    w = gateway
    w.sw.run(f"ip route add {TEST_NET} via 192.0.2.2 proto ospf metric 5")
    w.sw.run(f"ip route add {TEST_NET} via 192.0.2.6 proto bgp metric 500")
    try:
        assert wait_route(w, TEST_NET, active=True, protocol="bgp")["nexthops"][0]["via"] == "192.0.2.6"
        assert wait_route(w, TEST_NET, active=False, protocol="ospf")["reason"] == "another route is better"
        w.sw.run(f"ip route del {TEST_NET} metric 500")
        wait_route(w, TEST_NET, active=True, protocol="ospf")
    finally:
        w.sw.run(f"ip route flush {TEST_NET}")


def test_traffic_follows_a_kernel_route(gateway):
    """A host route to another host of the switch's own networks: h3's packets to it arrive at h1."""
    w = gateway
    w.sw.run("ip route add 198.51.100.1/32 via 10.0.10.11 proto static")
    try:
        wait_route(w, "198.51.100.1/32", active=True)
        with w.h1.sniff("eth0") as s:
            w.h3.run("ping -c 5 -i 0.2 -W 1 198.51.100.1", check=False)
            seen = [f for f in s.frames(0.3) if f[12:14] == b"\x08\x00" and f[30:34] == bytes([198, 51, 100, 1])]
        assert len(seen) >= 5
        assert nexthop(routes(w, "198.51.100.1/32")[0], "10.0.10.11")["packets"] >= 4
    finally:
        w.sw.run("ip route del 198.51.100.1/32")


def test_blackhole_of_the_kernel_drops_by_its_reason(gateway):
    w = gateway
    w.sw.run(f"ip route add blackhole {TEST_NET} proto bgp")
    try:
        wait_route(w, TEST_NET, active=True, type="blackhole")
        before = netlab.drops(w.gw, "h1").get("route_blackhole", 0)
        assert w.h1.ping("198.51.100.7", count=2)[1] == 0
        assert netlab.drops(w.gw, "h1")["route_blackhole"] == before + 2
    finally:
        w.sw.run(f"ip route del blackhole {TEST_NET}")


def test_dead_gateway_leaves_its_group(gateway):
    """RFC 2992: the other member takes all; without other members senders are told (RFC 1812 5.2.7.1)."""
    w = gateway
    w.sw.run(f"ip route add {TEST_NET} proto static nexthop via 10.0.10.11 nexthop via 10.0.10.77")
    try:
        netlab.wait_for("10.0.10.77 has no share", lambda: [
            r for r in routes(w, TEST_NET, active=True) if nexthop(r, "10.0.10.77").get("share") == 0
            and nexthop(r, "10.0.10.77")["state"] == "failed" and nexthop(r, "10.0.10.11")["share"] == 100], timeout=15)
        time.sleep(4)  # the kernel's entry is forgotten meanwhile: the gateway must not come back by that
        assert nexthop(routes(w, TEST_NET)[0], "10.0.10.77")["share"] == 0
        w.h1.addr("eth0", "10.0.10.77/24")
        netlab.wait_for("10.0.10.77 has its share", lambda: nexthop(routes(w, TEST_NET)[0], "10.0.10.77")["share"] == 50,
                        timeout=15)
    finally:
        w.h1.run("ip addr del 10.0.10.77/24 dev eth0", check=False)
        w.sw.run(f"ip route del {TEST_NET}")


def test_absent_neighbour_is_answered_unreachable(gateway):
    out = gateway.h3.run("ping -c 6 -i 0.7 -W 1 10.0.10.99", check=False).stdout
    assert "Destination Host Unreachable" in out
    assert [n for n in gateway.gw.json("neighbor show") if n["address"] == "10.0.10.99"]


def test_restart_keeps_ids_and_choices(own_gateway):
    w = own_gateway
    w.sw.run(f"ip route add {TEST_NET} via 192.0.2.2 proto bgp")
    wait_route(w, TEST_NET, active=True)

    def ids():
        return sorted((r["to"], n["interface"], n.get("via", ""), n["id"]) for r in w.gw.json("route show")
                      if r["active"] for n in r["nexthops"])
    before, fib = ids(), [get(w, a)["fib"] for a in ("8.8.8.8", "198.51.100.1", "10.0.10.11", "2001:db8::1")]
    w.sw.run(f"ip route add {TEST_NET} tos 0x10 via 192.0.2.6")
    w.sw.run("ip rule add to 100.70.0.0/16 lookup 77 prio 101")
    w.gw.stop()
    said = os.path.getsize(w.gw.log)
    w.gw.start()
    assert ids() == before

    def named():
        with open(w.gw.log) as f:
            f.seek(said)
            return f.read().count("is not followed")
    netlab.wait_for("what is not followed is named", lambda: named() == 2)
    assert [get(w, a)["fib"] for a in ("8.8.8.8", "198.51.100.1", "10.0.10.11", "2001:db8::1")] == fib


def test_deleted_host_route_is_put_back(gateway):
    gateway.sw.run("ip route del default proto 83")
    netlab.wait_for("the default route is the host's again",
                    lambda: "192.0.2.6" in gateway.sw.run("ip route show proto 83").stdout)


def test_thousands_of_kernel_routes(gateway):
    w = gateway
    count = 20000
    nets = [f"100.{64 + i // 256}.{i % 256}.0/24" for i in range(count)]
    path = w.write("batch", "".join(f"route add {n} via 192.0.2.2 proto bgp\n" for n in nets))
    w.sw.run(["ip", "-batch", path])
    try:
        netlab.wait_for("all of them are active", lambda: sum(
            r["active"] and r["protocol"] == "bgp" for r in w.gw.json("route show")) == count, timeout=20, every=0.5)
        for n in (nets[0], nets[777], nets[-1]):
            assert get(w, n.replace(".0/24", ".9"))["route"]["to"] == n
    finally:
        w.sw.run(["ip", "-batch", w.write("batch", "".join(f"route del {n}\n" for n in nets))])
    netlab.wait_for("none is left", lambda: not any(r["protocol"] == "bgp" for r in w.gw.json("route show")), timeout=20, every=0.5)
    assert get(w, "100.64.0.9")["route"]["to"] == "0.0.0.0/0"
