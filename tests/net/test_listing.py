"""Listings of the layer 3 nouns: filters as `ip route show` has them, and pages that lose nothing while routes come and go."""
import re

import pytest

import netlab

N = 500


@pytest.fixture(scope="module")
def w(gateway):
    """The example's gateway with some hundreds of kernel routes."""
    gateway.sw.run(["ip", "-batch", gateway.write("add", "".join(
        f"route add 100.{64 + i // 256}.{i % 256}.0/24 via 192.0.2.{2 if i % 2 else 6} proto bgp metric 20\n" for i in range(N)))])
    for r in ("unreachable 100.99.0.0/16 proto static", "100.64.0.0/10 via 10.0.10.77 proto ospf"):
        gateway.sw.run(f"ip route add {r}")
    gateway.sw.run("ip -6 route add 2001:db8:64::/48 via 2001:db8:f1::2 proto bgp")
    netlab.wait_for("the routes are known", lambda: gateway.gw.json("status")["routes"]["in_force"] > N + 2)
    yield gateway
    gateway.sw.run(["ip", "-batch", gateway.write("del", "".join(
        f"route del 100.{64 + i // 256}.{i % 256}.0/24\n" for i in range(N)))], check=False)
    for r in ("unreachable 100.99.0.0/16", "100.64.0.0/10"):
        gateway.sw.run(f"ip route del {r}")
    gateway.sw.run("ip -6 route del 2001:db8:64::/48")


def show(w, args):
    return w.gw.json(f"route show {args}")


@pytest.mark.parametrize("args,want", [
    ("100.64.3.0/24", {"100.64.3.0/24"}),
    ("exact 100.64.3.0/24", {"100.64.3.0/24"}),
    ("match 100.64.3.7", {"100.64.3.0/24", "100.64.0.0/10", "0.0.0.0/0"}),
    ("root 100.65.240.0/22", {f"100.65.{i}.0/24" for i in range(240, 244)}),
    ("longer 100.64.8.0/22 via 192.0.2.6", {"100.64.8.0/24", "100.64.10.0/24"}),
    ("root 100.64.8.0/22 dev up1", {"100.64.9.0/24", "100.64.11.0/24"}),
    ("type unreachable", {"100.99.0.0/16"}),
    ("protocol bgp family 6", {"2001:db8:64::/48"}),
    ("protocol ospf table 254", {"100.64.0.0/10"}),
    ("protocol ospf table 7", set()),
    ("default", {"0.0.0.0/0", "::/0"}),
    ("exact default family 6", {"::/0"}),
    ("root default type unreachable", {"100.99.0.0/16"}),
    ("match default family 4", {"0.0.0.0/0"}),
])
def test_filters(w, args, want):
    assert {r["to"] for r in show(w, args)} == want


def test_active_and_inactive_are_all(w):
    worse = "100.99.0.0/16 via 192.0.2.2 proto bgp metric 999"
    w.sw.run(f"ip route add {worse}")
    try:
        netlab.wait_for("a route that is not the best one", lambda: len(show(w, "exact 100.99.0.0/16")) == 2)
        every, active, inactive = show(w, ""), show(w, "active"), show(w, "inactive")
    finally:
        w.sw.run(f"ip route del {worse}")
    assert len(active) + len(inactive) == len(every) and active
    assert [(r["to"], r["metric"]) for r in inactive] == [("100.99.0.0/16", 999)]
    assert all(r["active"] for r in active) and not any(r["active"] for r in inactive)
    assert all(r["reason"] for r in inactive)


@pytest.mark.parametrize("args,word", [
    ("root 1.2.3.0/33", "no prefix"), ("root 10.0.0.0/8 match 10.0.0.0/8", "not two"), ("root default match default", "not two"), ("active inactive", "not both"),
    ("limit 100001", "100000"), ("after 0,10.0.0.0/8,5,254,0", "goes with `limit`"), ("limit 5 after 1,2,3", "no cursor"),
    ("limit 5 after 0,10.0.0.1/8,5,254,0", "no cursor"), ("limit 5 after 0,10.0.0.0/8,5,254,0,1", "no cursor"), ("vrf no", "no VRF"),
])
def test_what_makes_no_sense_is_refused_with_words(w, args, word):
    done = w.gw.cli(f"route show {args}", check=False)
    assert done.returncode == 1 and word in done.stdout


def pages(w, noun, args, limit, between=lambda n: None):
    """All pages: rows of each."""
    after, n = "", 0
    while True:
        page = w.gw.json(f"{noun} show {args} limit {limit} {after}")
        rows = page[f"{noun}s"]
        assert len(rows) <= limit
        yield rows
        if page["next"] is None:
            return
        assert len(rows) == limit
        after = f"after {page['next']}"
        between(n)
        n += 1


def place(r):
    net, length = r["to"].split("/")
    return tuple(int(b) for b in net.split(".")), int(length)


def test_pages_are_in_order_and_hold_everything_once(w):
    for limit in (1000, 100, 7):
        rows = [r for page in pages(w, "route", "family 4", limit) for r in page]
        assert [place(r) for r in rows] == sorted(place(r) for r in rows)
        want = sorted((r["to"], r["protocol"], r["metric"]) for r in show(w, "family 4"))
        assert sorted((r["to"], r["protocol"], r["metric"]) for r in rows) == want


def test_pages_stand_changes_in_between(w):
    """Routes before and behind the cursor come and go, the very route that the cursor names too: the others are shown once each."""
    def change(n):
        for i in (0, 1, 2 * n + 1, 40 * n + 39, 499 - n):  # 40n+39: the last of this page, as long as none before it has gone
            w.sw.run(f"ip route del 100.{64 + i // 256}.{i % 256}.0/24", check=False)
        w.sw.run(f"ip route replace 100.{64 + n // 4}.{n * 9 % 256}.128/25 via 192.0.2.2 proto bgp")
    try:
        before = {r["to"] for r in show(w, "protocol bgp family 4")}
        shown = [r["to"] for page in pages(w, "route", "protocol bgp family 4", 40, change) for r in page]
        after = {r["to"] for r in show(w, "protocol bgp family 4")}
        assert len(shown) == len(set(shown))
        assert (before & after) <= set(shown) and len(before & after) < len(before) - 20
    finally:
        for i in range(N):
            w.sw.run(f"ip route replace 100.{64 + i // 256}.{i % 256}.0/24 via 192.0.2.{2 if i % 2 else 6} proto bgp metric 20")
        for n in range(20):
            w.sw.run(f"ip route del 100.{64 + n // 4}.{n * 9 % 256}.128/25", check=False)


def test_a_page_for_people_says_where_to_go_on(w):
    out = w.gw.cli("route show protocol bgp family 4 limit 3").stdout.splitlines()
    assert len(out) == 4 and out[3].startswith("more: after 0,100.64.2.0/24,")
    out = w.gw.cli(f"route show protocol bgp family 4 limit 2 {out[3][6:]}").stdout.splitlines()
    assert [line.split()[1] for line in out[:2]] == ["100.64.3.0/24", "100.64.4.0/24"]


def test_neighbours_by_state_prefix_and_page(w):
    for host in ("h1", "h2", "h3"):
        w.sw.run(f"ping -c 1 -W 2 {'10.0.20.13' if host == 'h3' else '10.0.10.1' + host[1]}")
    w.sw.run("ping -c 1 -W 1 10.0.10.99", check=False)
    every = netlab.wait_for("three neighbours", lambda: [
        x for x in [w.gw.json("neighbor show")] if {"10.0.10.11", "10.0.10.12", "10.0.20.13"} <= {n["address"] for n in x}])[0]
    assert {n["address"] for n in w.gw.json("neighbor show 10.0.20.0/24 family 4")} >= {"10.0.20.13"}
    assert {n["interface"] for n in w.gw.json("neighbor show dev vlan10")} == {"vlan10"}
    assert [n["address"] for n in w.gw.json("neighbor show 10.0.10.11")] == ["10.0.10.11"]
    by_state = {state: w.gw.json(f"neighbor show state {state}") for state in ("reachable", "stale", "delay", "probe", "failed")}
    assert all(n["state"] == state for state, found in by_state.items() for n in found)
    assert {n["address"] for found in by_state.values() for n in found} >= {"10.0.10.11", "10.0.10.12", "10.0.20.13"}
    rows = [n["address"] for page in pages(w, "neighbor", "vrf default", 2) for n in page]
    assert len(rows) == len(set(rows)) and set(rows) >= {"10.0.10.11", "10.0.10.12", "10.0.20.13"} and len(every) >= 3


def test_nexthops_and_interfaces_by_filter_and_page(w):
    every = w.gw.json("nexthop show")
    assert [n["via"] for n in w.gw.json("nexthop show via 192.0.2.2")] == ["192.0.2.2"]
    resolved = w.gw.json("nexthop show state resolved")
    assert resolved and all(n["state"] == "resolved" for n in resolved)
    assert {n["interface"] for n in w.gw.json("nexthop show dev up2")} == {"up2"}
    assert [n["id"] for page in pages(w, "nexthop", "", 3) for n in page] == sorted(n["id"] for n in every)
    names = [i["name"] for i in w.gw.json("interface show")]
    assert names == sorted(names) and len(names) == 4
    assert [i["name"] for page in pages(w, "interface", "", 1) for i in page] == names
    assert [i["name"] for i in w.gw.json("interface show vlan 10")] == ["vlan10"]
    assert [i["name"] for i in w.gw.json("interface show state up vrf default")] == names
    assert w.gw.cli("interface show no", check=False).returncode == 1


def test_get_is_one_of_each_noun(w):
    """`get` of every noun: that one alone, and exit code 1 when it is not there."""
    w.sw.run("ping -c 1 -W 2 10.0.10.11")
    nexthop = w.gw.json("nexthop show via 192.0.2.2")[0]
    assert [i["name"] for i in w.gw.json("interface get vlan20")] == ["vlan20"]
    assert [v["name"] for v in w.gw.json("vrf get default")] == [v["name"] for v in w.gw.json("vrf show default")] == ["default"]
    assert [n["id"] for n in w.gw.json(f"nexthop get {nexthop['id']}")] == [n["id"] for n in w.gw.json("nexthop get 192.0.2.2")] == [nexthop["id"]]
    assert [(n["address"], n["interface"]) for n in w.gw.json("neighbor get 10.0.10.11")] == [("10.0.10.11", "vlan10")]
    for missing in ("interface get vlan99", "vrf get red", "vrf show red", "nexthop get 192.0.2.99", "nexthop get 9999", "neighbor get 10.0.10.250",
                    "neighbor get 10.0.10.0/24", "neighbor get 10.0.10.11 dev vlan20", "nexthop get x"):
        assert w.gw.cli(missing, check=False).returncode == 1, missing
    assert w.gw.cli("interface get", check=False).returncode == 2


def test_route_shows_distance_metric_mtu_and_the_kernels_protocols(w):
    try:
        for name, number in (("boot", 3), ("static", 4), ("ospf", 188), ("keepalived", 18), ("200", 200)):
            w.sw.run(f"ip route add 100.100.{number}.0/24 via 192.0.2.2 proto {number} metric 7")
            shown = netlab.wait_for(name, lambda n=number: w.gw.cli(f"route show 100.100.{n}.0/24").stdout.startswith("* ") and
                                    w.gw.cli(f"route show 100.100.{n}.0/24").stdout)
            distance = 110 if name == "ospf" else 10
            assert f"proto {name} [{distance}/7]" in shown, shown
            assert f"100.100.{number}.0/24" in {r["to"] for r in w.gw.json(f"route show protocol {name}")}
        assert "100.100.188.0/24" in {r["to"] for r in w.gw.json("route show protocol 188")}
        p = w.gw.cli("route show protocol 256", check=False)
        assert p.returncode == 1 and "a number up to 255" in p.stdout
        w.gw.cli("route add 100.101.0.0/16 via 192.0.2.2 distance 5 metric 9 mtu 1400")
        assert "proto static [5/9] mtu 1400" in w.gw.cli("route show 100.101.0.0/16").stdout
        p = w.gw.cli("route show protocol foo", check=False)
        assert p.returncode == 1 and all(word in p.stdout for word in ("bgp", "ospf", "connected", "boot")), p.stdout
    finally:
        w.gw.cli("route delete 100.101.0.0/16 metric 9", check=False)
        for number in (3, 4, 188, 18, 200):
            w.sw.run(f"ip route del 100.100.{number}.0/24", check=False)


def test_down_is_not_unresolved(w):
    """A gateway that no route leads to is unresolved; one whose interface is down is down."""
    w.gw.cli("vrf add red")
    w.gw.cli("route add 100.102.0.0/16 via 100.103.0.1 recursive vrf red")
    try:
        assert "via 100.103.0.1 (unresolved)" in w.gw.cli("route show 100.102.0.0/16").stdout
        w.r1.run("ip link set sw down")
        netlab.wait_for("down", lambda: "(down)" in w.gw.cli("route show via 192.0.2.2 inactive").stdout +
                        w.gw.cli("route show 0.0.0.0/0").stdout)
    finally:
        w.r1.run("ip link set sw up")
        w.gw.cli("route delete 100.102.0.0/16 vrf red")
        w.gw.cli("vrf delete red")


def test_the_words_of_iproute2_do(w):
    assert w.gw.json("route list 100.64.3.0/24")[0]["to"] == "100.64.3.0/24" and "root" in w.gw.cli("help route list").stdout
    w.gw.cli("neighbor add 10.0.10.77 lladdr 02:00:00:00:00:77 dev vlan10")
    assert "lladdr" in w.gw.cli("help neighbor add").stdout
    assert w.gw.json("neighbor get 10.0.10.77")[0]["mac"] == "02:00:00:00:00:77"
    w.gw.cli("neighbor delete 10.0.10.77 dev vlan10")


def test_status_tells_of_the_loop_and_flow_show_is_flow_list(w):
    assert re.search(r"^event loop +\d+ turns, the longest \d+\.\d ms on the processor", w.gw.cli("status").stdout, re.M)
    assert w.gw.cli("flow show").returncode == 0
    assert w.gw.json("flow show") == w.gw.json("flow list") == []
