"""Routes that are known and not in force: for want of a nexthop, of room, or because another is better; and what the kernel gets."""
import pytest

import netlab
from routers import UPLINKS

CONFIG = UPLINKS + """tables: {routes4: 256}
routes:
  - {to: 10.1.0.0/16, via: [{address: 203.0.113.1, recursive: true}]}
  - {to: 10.2.0.0/16, via: 192.0.2.2, mtu: 1400}
  - {to: 10.3.0.0/16, via: 192.0.2.2, distance: 200}
  - {to: 10.4.0.0/16, via: {address: 203.0.113.9, interface: up2, onlink: true}}
  - {to: 10.5.0.0/16, via: '2001:db8:f1::2'}
  - {to: 10.6.0.0/16, type: unreachable}
  - {to: 10.7.0.0/16, type: prohibit}
  - {to: 10.8.0.0/16, via: [{address: 192.0.2.2, weight: 3}, {address: 198.51.100.2}], mtu: 1300}
  - {to: 10.9.0.0/16, via: [{address: 10.2.0.1, recursive: true}]}
"""


@pytest.fixture
def w(world):
    sw, r = world.ns("sw"), world.ns("r")
    world.veth(sw, "up1", r, "sw1")
    world.veth(sw, "up2", r, "sw2")
    r.addr("sw1", "192.0.2.2/24", "2001:db8:f1::2/64")
    r.addr("sw2", "198.51.100.2/24")
    world.gw = world.start_switch(sw, CONFIG)
    world.gw.attached("up1", "up2")
    return world


def route(w, to, **match):
    return next((r for r in w.gw.json(f"route show {to}") if all(r.get(k) == v for k, v in match.items())), None)


def kernel(w, to):
    return w.sw.run(f"ip route show {to}").stdout.strip()


def wait(w, to, **match):
    return netlab.wait_for(f"{to}: {match}", lambda: route(w, to, **match), timeout=15)


def test_a_route_without_a_way_is_kept_and_says_why(w):
    assert wait(w, "10.1.0.0/16", active=False)["reason"] == "no route leads to the gateway"
    assert kernel(w, "10.1.0.0/16") == ""
    assert w.gw.json("route get 10.1.0.1").get("route") is None
    w.sw.run("ip route add 203.0.113.0/24 via 198.51.100.2 proto bgp")
    r = wait(w, "10.1.0.0/16", active=True)
    assert [n["via"] for n in r["nexthops"]] == ["198.51.100.2"] and "reason" not in r
    netlab.wait_for("the kernel has it", lambda: kernel(w, "10.1.0.0/16") == "10.1.0.0/16 via 198.51.100.2 dev up2 proto 83")
    w.r.run("ip link set sw2 down")
    wait(w, "10.1.0.0/16", active=False)
    assert wait(w, "10.4.0.0/16", active=False)["reason"] == "the interface is down"
    assert wait(w, "10.8.0.0/16", active=True)["nexthops"]
    netlab.wait_for("the kernel has it no more", lambda: kernel(w, "10.1.0.0/16") == "")
    w.r.run("ip link set sw2 up")
    wait(w, "10.4.0.0/16", active=True)


NAMED = """  - {to: 0.0.0.0/0, via: [192.0.2.2, 198.51.100.2]}
  - {to: 10.10.0.0/16, nexthop: isp1}
  - {to: 10.11.0.0/16, via: 203.0.113.130}
nexthops:
  isp1: {address: 192.0.2.2}
""" + CONFIG[:CONFIG.index("tables")].replace("interfaces:", "  up9: {mode: routed}\ninterfaces:") + "  up9: {port: up9, addresses: [203.0.113.129/25]}\n"


def test_a_gateway_whose_link_is_down_is_seen_and_can_be_drained(w):
    """In its routes, in `nexthop show`, by its name; and says why, as do those of a port that there is not."""
    tail, head = NAMED.split("ports:")
    w.gw.cli(["apply", w.write("named.yaml", "ports:" + head + "tables: {routes4: 256}\nroutes:\n" + tail)])
    assert wait(w, "10.11.0.0/16", active=False)["reason"] == "the interface up9 is absent"
    w.gw.cli("route add 10.12.0.0/16 via 10.13.0.1 recursive")
    assert wait(w, "10.12.0.0/16", active=False)["reason"] == "no route leads to the gateway"
    w.r.run("ip link set sw1 down")
    assert wait(w, "10.10.0.0/16", active=False)["reason"] == "the interface is down"
    ways = {n["via"]: (n["state"], n["share"]) for n in wait(w, "0.0.0.0/0", active=True)["nexthops"]}
    assert ways["192.0.2.2"] == ("down", 0) and ways["198.51.100.2"][1] == 100
    assert "192.0.2.2" in {n.get("via") for n in w.gw.json("nexthop show state down")}
    assert [n["state"] for n in w.gw.json("nexthop get isp1")] == ["down"]
    w.gw.cli("nexthop drain isp1")
    w.r.run("ip link set sw1 up")
    wait(w, "10.10.0.0/16", active=True)
    assert "drained_s" in w.gw.json("nexthop get isp1")[0]
    assert w.gw.json("route show 10.10.0.0/16")[0]["nexthops"][0]["name"] == "isp1"


def test_throw(w):
    """The kernel's look-up ends in this table, which is the only one of the VRF: no route, and not the next shorter one's."""
    w.sw.run("ip route add throw 10.2.4.0/24 proto static")
    w.sw.run("ip -6 route add throw 2001:db8:77::/48 proto static")
    assert wait(w, "10.2.4.0/24", active=True)["type"] == "throw"
    got = w.gw.json("route get 10.2.4.1")
    assert got["drop"] == "route_none" and got["text"] == "10.2.4.1 has no route behind throw 10.2.4.0/24"
    assert w.gw.json("route get 10.2.5.1")["route"]["to"] == "10.2.0.0/16"
    assert [r["to"] for r in w.gw.json("route show type throw")] == ["10.2.4.0/24", "2001:db8:77::/48"]
    assert "throw 10.2.4.0/24" in w.gw.cli("route show type throw").stdout
    for to, via, says in (("10.2.4.1", "192.0.2.1", "Net Unreachable"), ("2001:db8:77::1", "2001:db8:f1::1", "No route"),
                          ("10.6.0.1", "192.0.2.1", "Host Unreachable")):
        w.r.run(f"ip route add {to} via {via}")
        netlab.wait_for(says, lambda to=to, says=says: says in w.r.run(f"ping -c1 -W1 {to}", check=False).stdout)
    rounds = w.gw.json("route audit")["rounds"]
    netlab.wait_for("the audit is content", lambda: w.gw.json("route audit")["rounds"] > rounds, timeout=20)
    assert w.gw.json("route audit")["differences"] == 0
    w.sw.run("ip route del throw 10.2.4.0/24")
    netlab.wait_for("it is gone", lambda: w.gw.json("route get 10.2.4.1").get("route", {}).get("to") == "10.2.0.0/16")


def test_throw_where_the_vrf_has_another_table(w):
    """What is shorter in the same table does not count, what the next one says does: as the kernel answers, which the audit asks."""
    tail = CONFIG.split("tables:")[0].replace("interfaces:", "vrfs: {blue: {table: [100, 101]}}\ninterfaces:")
    w.gw.cli(["apply", w.write("blue.yaml", tail.replace("{port: up2,", "{port: up2, vrf: blue,") + "tables: {routes4: 256}\n")])
    w.r.addr("sw2", "198.51.100.3/24", "198.51.100.4/24")
    for table, to in ((100, "10.0.0.0/8 via 198.51.100.2 dev up2"), (100, "throw 10.24.0.0/16"), (101, "default via 198.51.100.3 dev up2")):
        w.sw.run(f"ip route add {to} table {table} proto static")

    def via(addr):
        return w.gw.json(f"route get {addr} vrf blue")["text"]
    netlab.wait_for("the next table decides", lambda: via("10.24.0.1") == "10.24.0.1 via 198.51.100.3 on up2 by route 10.24.0.0/16")
    assert via("10.25.0.1") == "10.25.0.1 via 198.51.100.2 on up2 by route 10.0.0.0/8"
    assert [n["via"] for n in route(w, "10.24.0.0/16", type="throw")["nexthops"]] == ["198.51.100.3"]
    w.sw.run("ip route add 10.24.0.0/14 via 198.51.100.4 dev up2 table 101 proto static")
    netlab.wait_for("a longer one there", lambda: via("10.24.0.1") == "10.24.0.1 via 198.51.100.4 on up2 by route 10.24.0.0/16")
    w.sw.run("ip route flush table 101")
    netlab.wait_for("nothing is left", lambda: w.gw.json("route get 10.24.0.1 vrf blue").get("drop") == "route_none")
    assert w.gw.json("route audit")["differences"] == 0


def test_what_the_kernel_gets_of_static_routes(w):
    for to, want in (("10.2.0.0/16", "via 192.0.2.2 dev up1 proto 83 mtu 1400"),
                     ("10.4.0.0/16", "via 203.0.113.9 dev up2 proto 83 onlink"),
                     ("10.5.0.0/16", "via inet6 2001:db8:f1::2 dev up1 proto 83"),
                     ("10.9.0.0/16", "via 192.0.2.2 dev up1 proto 83")):
        netlab.wait_for(f"{to} in the kernel", lambda to=to, want=want: kernel(w, to) == f"{to} {want}")
        assert route(w, to)["active"], to
    assert kernel(w, "10.6.0.0/16") == "unreachable 10.6.0.0/16 proto 83"
    assert kernel(w, "10.7.0.0/16") == "prohibit 10.7.0.0/16 proto 83"
    lines = [" ".join(line.split()) for line in kernel(w, "10.8.0.0/16").splitlines()]
    assert lines == ["10.8.0.0/16 proto 83 mtu 1300", "nexthop via 192.0.2.2 dev up1 weight 3",
                     "nexthop via 198.51.100.2 dev up2 weight 1"]
    assert w.gw.json("route get 10.5.0.1")["route"]["nexthops"][0]["via"] == "2001:db8:f1::2"


def test_a_floating_route_is_not_the_host_s_while_it_waits(w):
    """Distance decides before metric, and the kernel knows no distance: else its own packets would go by the route that waits."""
    netlab.wait_for("it is the kernel's", lambda: kernel(w, "10.3.0.0/16") == "10.3.0.0/16 via 192.0.2.2 dev up1 proto 83")
    w.sw.run("ip route add 10.3.0.0/16 via 198.51.100.2 proto bgp metric 20")
    assert wait(w, "10.3.0.0/16", protocol="static", active=False)["reason"] == "another route is better"
    netlab.wait_for("the kernel has the other alone", lambda: kernel(w, "10.3.0.0/16") ==
                    "10.3.0.0/16 via 198.51.100.2 dev up2 proto bgp metric 20")
    w.sw.run("ip route del 10.3.0.0/16 proto bgp")
    wait(w, "10.3.0.0/16", protocol="static", active=True)
    netlab.wait_for("it is back", lambda: kernel(w, "10.3.0.0/16") == "10.3.0.0/16 via 192.0.2.2 dev up1 proto 83")


def test_a_full_table_refuses_by_name_counts_and_goes_on(w):
    def batch(verb, numbers):
        w.sw.run(["ip", "-batch", w.write("batch", "".join(f"route {verb} 100.64.{i}.0/24 via 192.0.2.2 proto bgp\n" for i in numbers))])

    def status():
        return w.gw.json("status")
    batch("add", range(250))
    batch("add", range(250, 256))
    w.sw.run(["ip", "-batch", w.write("more", "".join(f"route add 100.65.{i}.0/24 via 192.0.2.2 proto bgp\n" for i in range(50)))])
    netlab.wait_for("some are refused", lambda: status()["routes"]["refused"] > 40)
    s = netlab.wait_for("it is told", lambda: [x for x in [status()] if x["errors"]])[0]
    refused = {r["to"] for r in w.gw.json("route show inactive") if r["reason"] == "the table of routes is full"}
    assert len(refused) == s["routes"]["refused"]
    word = next(e for e in s["errors"] if "the table of IPv4 routes is full" in e)
    assert word.split()[1].rstrip(":") in refused and f"({len(refused)} routes" in word and word in w.gw.messages()
    # the others are in force, IPv6 and changes go on
    assert w.gw.json("route get 100.64.3.9")["route"]["to"] == "100.64.3.0/24"
    w.sw.run("ip -6 route add 2001:db8:99::/48 via 2001:db8:f1::2 proto bgp")
    wait(w, "2001:db8:99::/48", active=True)
    w.sw.run("ip route replace 100.64.3.0/24 via 198.51.100.2 proto bgp")
    netlab.wait_for("it is changed", lambda: route(w, "100.64.3.0/24")["nexthops"][0]["via"] == "198.51.100.2")
    # room: those that waited come in
    batch("del", range(10, len(refused) + 15))
    netlab.wait_for("none is refused", lambda: status()["routes"]["refused"] == 0 and not status()["errors"], timeout=20)
    assert all(route(w, to)["active"] for to in refused)
    netlab.wait_for("the audit is content", lambda: w.gw.json("route audit")["rounds"] >= 2, timeout=20)
    assert w.gw.json("route audit")["differences"] == 0


@pytest.mark.parametrize("order", [(5, 200), (200, 5)])
def test_static_routes_of_two_distances(w, order):
    """Both are kept, the smaller distance is in force, the other takes over when its link fails and gives way when it is back."""
    way = {5: "192.0.2.2", 200: "198.51.100.2"}
    for distance in order:
        w.gw.cli(f"route add 10.20.0.0/16 via {way[distance]} distance {distance}")
    assert len(w.gw.json("route show 10.20.0.0/16")) == 2
    wait(w, "10.20.0.0/16", distance=5, active=True)
    assert not route(w, "10.20.0.0/16", distance=200)["active"]
    w.r.run("ip link set sw1 down")
    wait(w, "10.20.0.0/16", distance=200, active=True)
    w.r.run("ip link set sw1 up")
    wait(w, "10.20.0.0/16", distance=5, active=True)
    w.gw.cli("route delete 10.20.0.0/16 distance 5")
    wait(w, "10.20.0.0/16", distance=200, active=True)
    assert len(w.gw.json("route show 10.20.0.0/16")) == 1
