"""Whose address an ICMP error bears that leaves by an interface without one: an unnumbered link has a link-local address alone, which no
router behind it passes on (RFC 4291 2.5.6). RFC 1812 4.3.2.4, RFC 4443 2.2."""
import re

import pytest

import netlab

CONFIG = """
ports:
  a1: {mode: access, vlan: 10}
  up1: {mode: routed}
  up2: {mode: routed}
vrfs:
  bare: {}
interfaces:
  vlan10: {vlan: 10, addresses: [10.0.10.1/24, "2001:db8:10::1/64"]}
  up1: {port: up1, addresses: ["fe80::77/64"]}
  up2: {port: up2, vrf: bare}
routes:
  - {to: 10.0.10.0/24, vrf: bare, type: unreachable}
  - {to: "2001:db8:10::/64", vrf: bare, type: unreachable}
"""


@pytest.fixture(scope="module")
def net(shared_world):
    """Two routers whose links to the switch are unnumbered; what they send comes from an address of their own, two hops away."""
    w = shared_world
    sw = w.ns("sw")
    w.host("a", sw, "a1", addrs=["10.0.10.11/24", "2001:db8:10::11/64"], gw=["10.0.10.1", "2001:db8:10::1"])
    for name, port in (("r1", "up1"), ("r2", "up2")):
        w.host(name, sw, port)
    w.gw = w.start_switch(sw, CONFIG)
    w.gw.attached("a1", "up1", "up2")
    for r, port in ((w.r1, "up1"), (w.r2, "up2")):
        r.run("ip link set lo up")
        r.addr("lo", "172.30.0.9/32", "2001:db8:9::9/128")
        mac = sw.mac(port)
        r.run(f"ip neigh replace fe80::7 lladdr {mac} dev eth0")
        r.run("ip -6 route replace 2001:db8:10::/64 via fe80::7 dev eth0 src 2001:db8:9::9")
        r.run("ip route replace 10.0.10.0/24 via inet6 fe80::7 dev eth0 src 172.30.0.9")
        netlab.wait_for("no address is tentative", lambda r=r: "tentative" not in r.run("ip -6 addr show").stdout)
    return w


def told_by(r, to):
    """Who answers a packet that has one hop left, or comes too far; None: nobody."""
    m = re.search(r"From (\S+?) icmp_seq", r.run(f"ping -n -c 1 -W 1 -t 1 {to}", check=False).stdout)
    return m and m[1]


@pytest.mark.parametrize("to, own", [("10.0.10.11", "10.0.10.1"), ("2001:db8:10::11", "2001:db8:10::1")], ids=["v4", "v6"])
def test_another_interface_lends_its_address(net, to, own):
    netlab.wait_for(f"{own} answers", lambda: told_by(net.r1, to) == own, timeout=4)


@pytest.mark.parametrize("to, own", [("10.0.10.11", "10.255.0.1"), ("2001:db8:10::11", "2001:db8:255::1")], ids=["v4", "v6"])
def test_address_of_the_router_itself_comes_first(net, to, own):
    net.sw.run(f"ip addr add {own} dev lo")
    try:
        netlab.wait_for(f"{own} answers", lambda: told_by(net.r1, to) == own, timeout=4)
    finally:
        net.sw.run(f"ip addr del {own} dev lo")


def test_a_vrf_without_any_address(net):
    """IPv4 has an address for it (RFC 7600 4.8), IPv6 has none. That of another VRF is never taken."""
    assert told_by(net.r2, "10.0.10.11") == "192.0.0.8"
    assert told_by(net.r2, "2001:db8:10::11") is None
