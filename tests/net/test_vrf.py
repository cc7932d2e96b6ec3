"""VRFs: the same addresses twice behind one switch, kernel tables of their own, and what leaks by an explicit route."""
import pytest

import netlab

CONFIG = """ports:
  r1: {mode: routed}
  r2: {mode: routed}
  b1: {mode: routed}
  b2: {mode: routed}
  s: {mode: routed}
vrfs:
  red: {table: 101}
  blue: {table: 102}
interfaces:
  r1: {port: r1, vrf: red, addresses: [10.0.1.1/24]}
  r2: {port: r2, vrf: red, addresses: [10.0.2.1/24]}
  b1: {port: b1, vrf: blue, addresses: [10.0.1.1/24]}
  b2: {port: b2, vrf: blue, addresses: [10.0.2.1/24]}
  s: {port: s, addresses: [10.0.9.1/24]}
"""
LEAK = """routes:
  - {to: 10.0.9.0/24, vrf: red, via: {interface: s}}
  - {to: 10.0.1.0/24, via: {interface: r1}}
"""
NET = "198.51.100.0/24"


@pytest.fixture
def w(world):
    """Red and blue have a network 1 and a network 2 each, of the same addresses."""
    sw = world.ns("sw")
    for name, addr in (("r1", "10.0.1"), ("r2", "10.0.2"), ("b1", "10.0.1"), ("b2", "10.0.2"), ("s", "10.0.9")):
        world.host(name, sw, name, addrs=[f"{addr}.5/24"], gw=[f"{addr}.1"])
    world.gw = world.start_switch(sw, CONFIG)
    world.gw.attached("r1", "r2", "b1", "b2", "s")
    return world


def arrived(w, by, src, dst="10.0.2.5"):
    """Who of the others sees the echo requests that a host sends?"""
    sniffers = {n: getattr(w, n).sniff("eth0") for n in ("r1", "r2", "b1", "b2", "s") if n != by}
    try:
        got = getattr(w, by).ping(dst, count=3)[1]
        want = bytes(map(int, src.split("."))) + bytes(map(int, dst.split(".")))
        return got, [n for n, s in sniffers.items() if s.matching(want, 0.1)]
    finally:
        for s in sniffers.values():
            s.close()


def test_overlapping_addresses_are_kept_apart(w):
    assert arrived(w, "r1", "10.0.1.5") == (3, ["r2"])
    assert arrived(w, "b1", "10.0.1.5") == (3, ["b2"])
    assert arrived(w, "s", "10.0.9.5") == (0, [])
    assert w.gw.json("route get 10.0.2.5 vrf blue")["route"]["nexthops"][0]["interface"] == "b2"
    assert w.gw.json("route get 10.0.2.5 vrf red")["route"]["nexthops"][0]["interface"] == "r2"
    assert "route" not in w.gw.json("route get 10.0.2.5")


def test_kernel_table_is_the_vrf_s(w):
    """A route that a daemon puts into table 102 is blue's alone."""
    w.sw.run(f"ip route add {NET} via 10.0.2.5 dev b2 table 102 proto bgp onlink")
    route = netlab.wait_for("the route is there", lambda: w.gw.json(f"route show {NET}"))
    assert [(r["vrf"], r["active"]) for r in route] == [("blue", True)]
    assert arrived(w, "b1", "10.0.1.5", "198.51.100.7")[1] == ["b2"]
    assert arrived(w, "r1", "10.0.1.5", "198.51.100.7")[1] == []
    assert len(w.gw.json("route show vrf blue protocol bgp")) == 1 and not w.gw.json("route show vrf red protocol bgp")


def test_leak_by_explicit_routes(w):
    """Red reaches the services of the default VRF, and these red's network 1; blue, with the same addresses, reaches nothing."""
    w.gw.cli(f"apply {w.write('leak.yaml', CONFIG + LEAK)}")
    assert arrived(w, "r1", "10.0.1.5", "10.0.9.5") == (3, ["s"])
    assert arrived(w, "b1", "10.0.1.5", "10.0.9.5") == (0, [])
    assert arrived(w, "s", "10.0.9.5", "10.0.1.5") == (3, ["r1"])
    w.gw.cli(f"apply {w.write('apart.yaml', CONFIG)}")
    assert arrived(w, "r1", "10.0.1.5", "10.0.9.5") == (0, [])
