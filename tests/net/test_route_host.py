"""The host's copies of static routes, where the kernel does not take them: another program's route stands there, or a gateway is onlink
behind another route. The switch goes by its own table in any case; a start never fails for it."""
import signal

import pytest

import netlab
from routers import UPLINKS

CONFIG = UPLINKS + """routes:
  - {to: 0.0.0.0/0, via: 192.0.2.2}
  - {to: '::/0', via: '2001:db8:f1::2'}
  - {to: 10.9.4.0/24, via: {address: 172.31.1.1, interface: up2, onlink: true}}
  - {to: 10.9.5.0/24, via: {address: 10.9.4.7, recursive: true}}
  - {to: '2001:db8:9::/48', via: {address: '2001:db8:ffff::1', interface: up2, onlink: true}}
  - {to: '2001:db8:a::/48', via: {address: '2001:db8:9::7', recursive: true}}
"""


@pytest.fixture
def w(world):
    sw, r = world.ns("sw"), world.ns("r")
    world.veth(sw, "up1", r, "sw1")
    world.veth(sw, "up2", r, "sw2")
    world.veth(sw, "mg", r, "mgmt")
    sw.addr("mg", "172.30.0.2/24", "2001:db8:30::2/64")
    r.addr("sw1", "192.0.2.2/24", "2001:db8:f1::2/64")
    r.addr("mgmt", "172.30.0.1/24", "2001:db8:30::1/64")
    world.start = lambda: setattr(world, "gw", world.start_switch(sw, CONFIG)) or world.gw.attached("up1", "up2")
    return world


def kernel(w, to):
    return [" ".join(line.split()) for line in w.sw.run(f"ip {'-6 ' if ':' in to else ''}route show {to}").stdout.splitlines()]


def conditions(w):
    return w.gw.json("status")["errors"]


def in_force(w, to):
    return [n["via"] for r in w.gw.json(f"route show {to}") if r["active"] for n in r["nexthops"]]


def test_another_program_s_route_of_the_same_metric(w):
    """ifupdown's default route of the management port: two starts, a change, and its end."""
    w.sw.run("ip route add default via 172.30.0.1 dev mg")
    w.sw.run("ip -6 route add default via 2001:db8:30::1 dev mg proto ra metric 1024")
    w.start()
    said = netlab.wait_for("both are told", lambda: len(c := conditions(w)) == 2 and c)
    assert all("another program has one with metric" in e for e in said) and any("0.0.0.0/0 in table 254" in e for e in said)
    assert all(w.gw.messages().count(e) == 1 for e in said)
    w.gw.stop()
    w.gw.start()
    assert in_force(w, "0.0.0.0/0") == ["192.0.2.2"] and in_force(w, "::/0") == ["2001:db8:f1::2"]
    assert sorted(conditions(w)) == sorted(said)
    w.sw.run("ip route add 10.77.0.0/16 via 172.30.0.1 dev mg proto static")
    w.gw.cli("route add 10.77.0.0/16 via 192.0.2.2")
    netlab.wait_for("a third is told", lambda: len(conditions(w)) == 3)
    assert in_force(w, "10.77.0.0/16") == ["192.0.2.2"]
    assert kernel(w, "10.77.0.0/16") == ["10.77.0.0/16 via 172.30.0.1 dev mg proto static"]
    w.sw.run("ip route del 10.77.0.0/16")
    netlab.wait_for("the host has it", lambda: kernel(w, "10.77.0.0/16") == ["10.77.0.0/16 via 192.0.2.2 dev up1 proto 83"])
    w.sw.run("ip route del default dev mg")
    w.sw.run("ip -6 route del default dev mg")
    netlab.wait_for("nothing is told", lambda: not conditions(w))
    assert kernel(w, "default")[0].startswith("default via 192.0.2.2 dev up1 proto 83")


def test_another_program_replaces_the_copy(w):
    w.start()
    w.sw.run("ip route replace 0.0.0.0/0 via 172.30.0.1 dev mg proto bgp")
    netlab.wait_for("it is told", lambda: any("0.0.0.0/0" in e for e in conditions(w)))
    assert in_force(w, "0.0.0.0/0") == ["192.0.2.2"]
    w.gw.stop()
    w.gw.start()
    assert in_force(w, "0.0.0.0/0") == ["192.0.2.2"] and len(conditions(w)) == 1
    w.gw.cli("route delete 0.0.0.0/0")
    netlab.wait_for("nobody wants it", lambda: not conditions(w))
    assert kernel(w, "default") == ["default via 172.30.0.1 dev mg proto bgp"]


def test_recursive_over_onlink(w):
    w.start()
    for to, via in (("10.9.5.0/24", "172.31.1.1"), ("2001:db8:a::/48", "2001:db8:ffff::1")):
        assert in_force(w, to) == [via]
        line = netlab.wait_for(f"{to} in the kernel", lambda to=to: kernel(w, to))[0]
        assert f"via {via} dev up2" in line and "onlink" in line
    w.sw.run("ip route add 10.8.0.0/16 via 172.31.1.9 dev up2 onlink proto bgp")
    w.gw.cli("route add 10.7.0.0/16 via 10.8.0.1 recursive")
    netlab.wait_for("over a kernel route", lambda: kernel(w, "10.7.0.0/16") == ["10.7.0.0/16 via 172.31.1.9 dev up2 proto 83 onlink"])
    assert conditions(w) == []


OTHER = """ports:
  mg: {mode: routed}
interfaces:
  mg: {port: mg, addresses: [172.30.0.2/24]}
routes:
  - {to: 10.60.0.0/16, via: 172.30.0.1}
  - {to: 10.61.0.0/16, type: blackhole}
  - {to: '2001:db8:61::/48', type: blackhole}
  - {to: 10.62.0.0/16, via: 172.30.0.1}
"""


def test_two_instances_keep_their_hands_off_each_other_s_routes(w):
    """Starts, changes, a kill and the end of one in the other's network namespace; of its own it takes away what is left."""
    w.start()
    other = netlab.Switch(w.sw, f"{w.prefix}-other", w.write("other.yaml", OTHER), w.gw.log + ".other").start()
    own = ("10.60.0.0/16", "10.61.0.0/16", "2001:db8:61::/48", "10.62.0.0/16")
    netlab.wait_for("both have theirs", lambda: all(kernel(w, to) for to in (*own, "default", "10.9.5.0/24")))
    before = {to: kernel(w, to) for to in own}
    w.gw.cli("route add 10.70.0.0/16 via 192.0.2.2")
    w.gw.cli("route add 10.71.0.0/16 via 192.0.2.2")
    w.gw.cli("route add 10.61.0.0/16 via 192.0.2.2")  # the other's place
    netlab.wait_for("it is told", lambda: any("10.61.0.0/16" in c for c in conditions(w)))
    w.gw.cli("route delete 10.71.0.0/16")
    assert {to: kernel(w, to) for to in own} == before
    w.gw.stop(signal.SIGKILL)
    w.gw.start()
    assert {to: kernel(w, to) for to in own} == before
    w.gw.cli("route delete 10.70.0.0/16")
    netlab.wait_for("one that the killed life made goes", lambda: not kernel(w, "10.70.0.0/16"))
    assert {to: kernel(w, to) for to in own} == before
    other.cli("route delete 10.61.0.0/16")
    netlab.wait_for("its place is free", lambda: "192.0.2.2" in str(kernel(w, "10.61.0.0/16")))
    assert w.gw.destroy().returncode == 0
    assert not kernel(w, "default") and not kernel(w, "10.61.0.0/16")
    assert {to: kernel(w, to) for to in own if to != "10.61.0.0/16"} == {to: before[to] for to in own if to != "10.61.0.0/16"}


def test_a_start_that_fails_leaves_nothing_behind(w):
    """There is no room for the last routes: neither the others nor the addresses stay."""
    def links():
        return {x: w.sw.run(f"ip -o addr show dev {x} scope global").stdout for x in w.sw.links()}
    before = links()
    many = "".join(f"  - {{to: 10.{100 + i // 128}.{i % 128}.0/24, type: blackhole}}\n" for i in range(252))
    with pytest.raises(netlab.Failure, match="the table of IPv4 routes is full"):
        w.start_switch(w.sw, CONFIG + many + "tables: {routes4: 256}\n")
    assert w.sw.run("ip route show proto 83").stdout + w.sw.run("ip -6 route show proto 83").stdout == ""
    assert links() == before
