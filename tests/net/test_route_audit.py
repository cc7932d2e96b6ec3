"""The audit of the routes: quiet where everything is right; what is wrong in the FIB's memory, or was not heard from the kernel, is
counted, named, and repaired."""
import contextlib
import mmap
import os
import signal
import struct
import sys

import pytest

import netlab
from nlsocket import events_socket

sys.path.insert(0, os.path.join(netlab.ROOT, "tests/prog"))
import bpf  # noqa: E402  (beside this directory)

NET, NET6 = "198.51.100.0/24", "2001:db8:77::/48"
FIB_DIRECT4, NODE = 16, 1 << 31


def audit(w):
    return w.gw.json("route audit")


def rounds(w, n=1):
    """Waits for so many rounds that begin after now."""
    have = audit(w)
    until = have["rounds"] + n + (have["state"] == "running")
    netlab.wait_for("a round of the audit", lambda: audit(w)["rounds"] >= until, timeout=30 * n)
    return audit(w)


@contextlib.contextmanager
def fib_words(w):
    """The data plane's memory of the FIB, as words."""
    fd = bpf.obj_get(f"/sys/fs/bpf/sluice/{w.gw.instance}/maps/fib")
    size = struct.unpack_from("=6I", bpf.info(fd))[4] * 64
    with mmap.mmap(fd, size) as m, memoryview(m) as view, view.cast("I") as words:
        yield words
    os.close(fd)


@pytest.fixture(scope="module")
def w(gateway):
    """The example's gateway with kernel routes of several kinds."""
    for r in (f"{NET} via 192.0.2.2 proto bgp metric 20", f"{NET6} via 2001:db8:f1::2 proto bgp",
              "203.0.112.0/22 proto bgp nexthop via 192.0.2.2 weight 3 nexthop via 192.0.2.6",
              "blackhole 192.0.3.0/24 proto bgp", "10.0.10.128/25 via 10.0.10.12 proto static",
              "198.51.96.0/20 via 192.0.2.6 proto ospf metric 5", "198.51.96.0/20 via 192.0.2.2 proto bgp metric 500"):
        gateway.sw.run(f"ip {'-6 ' if ':' in r else ''}route add {r}")
    gateway.sw.run("ip nexthop add id 77 via 192.0.2.6 dev up2")
    gateway.sw.run("ip route add 198.51.101.0/24 nhid 77 proto bgp")
    netlab.wait_for("the routes are known", lambda: sum(r["active"] for r in gateway.gw.json("route show protocol bgp")) == 6)
    yield gateway
    for command in ("ip nexthop flush", "ip route flush proto bgp", "ip -6 route flush proto bgp"):
        gateway.sw.run(command)


def test_nothing_differs_where_all_is_well(w):
    a = rounds(w, 2)
    assert a["differences"] == 0 and a["found"] == []
    assert a["last"]["routes"] > 20 and a["last"]["samples"] > 3 * a["last"]["routes"] and a["last"]["asked"] >= 1
    out = w.gw.cli("route audit").stdout
    assert f"last round   {a['last']['routes']} routes" in out and "differences  0, 0 of them repaired" in out


@pytest.mark.parametrize("word", ["top", "node"])
def test_a_wrong_word_in_the_fib_is_found_named_and_repaired(w, word):
    before, fib = audit(w), w.gw.json("route get 198.51.100.7")["fib"]
    with fib_words(w) as words:
        at = FIB_DIRECT4 * 16 + (198 << 8 | 51)
        assert words[at] & NODE
        if word == "node":  # somewhere in the block behind it stands the route's result
            block = (words[at] & (1 << 29) - 1) * 16
            at = next(i for i in range(block, block + 17 * 16) if words[i] == fib)
        words[at] = 4711
    netlab.wait_for("it is repaired", lambda: audit(w)["repaired"] > before["repaired"], timeout=30)
    a = audit(w)
    assert a["differences"] - before["differences"] == a["repaired"] - before["repaired"]
    found = a["found"][-1]
    assert found["between"] == "fib and rib" and found["repaired"] and found["vrf"] == "default"
    assert found["prefix"] in (NET, "198.51.96.0/20", "198.51.101.0/24", "0.0.0.0/0") and "4711" in found["fib"]
    assert f"route audit: route {found['prefix']}, VRF default" in w.gw.messages()
    assert w.gw.json("route get 198.51.100.7")["fib"] == fib
    assert w.gw.json("status")["routes"]["audit_differences"] == a["differences"]
    assert "nexthop 4711, which there is not" in w.gw.cli("route audit").stdout
    assert rounds(w, 2)["differences"] == a["differences"]


VRFS = """ports:
  r1: {mode: routed}
  b1: {mode: routed}
vrfs:
  red: {table: 101, import: [{vrf: blue, prefixes: 203.0.113.0/24}]}
  blue: {table: [102, 112]}
interfaces:
  r1: {port: r1, vrf: red, addresses: [10.0.1.1/24, "2001:db8:1::1/64"]}
  b1: {port: b1, vrf: blue, addresses: [10.0.1.1/24, "2001:db8:1::1/64"]}
routes:
  - {to: 198.18.0.0/15, via: 10.0.1.7, vrf: red}
"""


@pytest.fixture
def vrfs(world):
    """Two VRFs of the same addresses, each with kernel routes for the same prefixes, by other gateways."""
    sw = world.ns("sw")
    for name in ("r1", "b1"):
        world.host(name, sw, name, addrs=["10.0.1.5/24"])
    world.gw = world.start_switch(sw, VRFS)
    world.gw.attached("r1", "b1")
    for i in range(24):  # so many that the kernel is asked about some of each in every round
        for table, netdev in ((101, "r1"), (102, "b1"), (112, "b1")):
            sw.run(f"ip route add 198.51.{i}.0/24 via 10.0.1.{table - 96} dev {netdev} table {table} proto bgp")
            sw.run(f"ip -6 route add 2001:db8:77:{i}::/64 via 2001:db8:1::{table} dev {netdev} table {table} proto bgp")
    sw.run("ip route add 203.0.113.0/24 via 10.0.1.9 dev b1 table 112 proto bgp")
    sw.run("ip route add 198.51.0.0/16 via 10.0.1.9 dev b1 table 112 proto bgp")
    netlab.wait_for("the routes are known", lambda: len(world.gw.json("route show protocol bgp active")) >= 98)
    return world


def test_other_vrfs_are_compared_with_the_kernel_s_tables(vrfs):
    w = vrfs
    a = rounds(w, 3)
    assert a["differences"] == 0 and a["last"]["asked"] >= 4
    unheard(w, "ip route flush table 101 proto bgp")
    netlab.wait_for("the audit has found it", lambda: audit(w)["differences"] > 0, timeout=200)
    found = audit(w)["found"][0]
    assert found["between"] == "kernel and rib" and found["vrf"] == "red" and found["rib"] == f"route {found['prefix']} of the kernel"
    netlab.wait_for("the routes are gone", lambda: not [r for r in w.gw.json("route show vrf red table 101") if r["to"].startswith("198.51")])
    assert len(w.gw.json("route show vrf blue table 102 protocol bgp")) == 48
    assert "VRF red: the kernel has no" in w.gw.messages()


def unheard(w, command):
    """The kernel's word of the change is taken away before sluiced reads it."""
    s = events_socket(w.gw.process.pid)
    os.kill(w.gw.process.pid, signal.SIGSTOP)
    try:
        w.sw.run(command)
        with contextlib.suppress(BlockingIOError):
            while s.recv(65536):
                pass
    finally:
        os.kill(w.gw.process.pid, signal.SIGCONT)
        s.close()


@pytest.mark.parametrize("what", ["deleted", "changed"])
def test_a_change_of_the_kernel_that_was_not_heard_is_found(own_gateway, what):
    w = own_gateway
    w.sw.run(f"ip route add {NET} via 192.0.2.2 proto bgp")
    netlab.wait_for("the route is in force", lambda: w.gw.json(f"route show {NET}"))
    assert rounds(w)["differences"] == 0
    unheard(w, f"ip route del {NET}" if what == "deleted" else f"ip route replace {NET} via 192.0.2.6 proto bgp")
    route = w.gw.json(f"route show {NET}")
    assert route and route[0]["nexthops"][0]["via"] == "192.0.2.2"
    netlab.wait_for("the audit has found it", lambda: audit(w)["differences"] > 0, timeout=200)
    found = audit(w)["found"][0]
    assert found["between"] == "kernel and rib" and found["prefix"] == NET
    if what == "deleted":
        netlab.wait_for("the route is gone", lambda: not w.gw.json(f"route show {NET}"))
    else:
        netlab.wait_for("the route is as the kernel has it",
                        lambda: w.gw.json(f"route show {NET}")[0]["nexthops"][0]["via"] == "192.0.2.6")
    netlab.wait_for("it counts as repaired", lambda: audit(w)["repaired"] == 1, timeout=30)
