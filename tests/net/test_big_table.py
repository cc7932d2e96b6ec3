"""A big table through rtnetlink: how long it takes, what it costs, whether sluiced stays responsive, and an overrun of its socket.
`make soak` runs it with a million routes."""
import os
import signal
import socket
import time

import pytest

import loop_turns
import netlab
import talk
from nlsocket import events_socket

pytestmark = pytest.mark.alone

COUNT = int(os.environ.get("SLUICE_ROUTES", "200000"))
BURST = 200000
CONFIG = """ports:
  up1: {mode: routed}
interfaces:
  up1: {port: up1, addresses: [192.0.2.1/24]}
tables: {routes4: 1048576}
"""


def net(i):
    a = 0x10000000 + i * 0x300
    return f"{a >> 24}.{a >> 16 & 255}.{a >> 8 & 255}.0/24"


@pytest.fixture
def w(world):
    sw, r = world.ns("sw"), world.ns("r")
    world.veth(sw, "up1", r, "sw")
    r.addr("sw", "192.0.2.2/24", "192.0.2.3/24")
    world.gw = world.start_switch(sw, CONFIG)
    world.gw.attached("up1")
    return world


def batch(w, verb, numbers, via="192.0.2.2"):
    tail = f" via {via} proto bgp\n"
    path = w.write("batch", "".join(f"route {verb} {net(i)}{tail}" for i in numbers))
    return w.sw.run(["ip", "-batch", path], timeout=600)


def status(w):
    return w.gw.json("status")


def anew(w):
    """As the fixture left it."""
    w.gw.destroy()
    for ns in (w.sw, w.r):
        ns.run("ip -loops 0 route flush proto bgp", check=False, timeout=300)
    w.r.run("ip link set sw up")
    w.gw.start()
    w.gw.attached("up1")


def settled(w, n):
    netlab.wait_for(f"{n} routes are in force", lambda: status(w)["routes"]["in_force"] >= n, timeout=120, every=0.2)


def count(w, words=""):
    return int(w.sw.run(["sh", "-c", f"{netlab.BUILD}/sluice -i {w.gw.instance} route show protocol bgp {words} | wc -l"], timeout=300).stdout)


def in_force(w):
    return {(r["to"], r["nexthops"][0]["via"]) for r in w.gw.json("route show protocol bgp") if r["active"]}


def kernel(w):
    return {(f[0] if "/" in f[0] else f[0] + "/32", f[2]) for f in map(
        str.split, w.sw.run("ip route show proto bgp", timeout=120).stdout.splitlines())}


def cpu_s(w):
    """Of the event loop's thread, in ns where `stat` counts ticks."""
    with open(f"/proc/{w.gw.process.pid}/schedstat") as f:
        return int(f.read().split()[0]) / 1e9


def pages_cost_what_they_show(w):
    """All routes are gone over for the first one, and not for each."""
    took, after, seen = [], "", []
    for _ in range(10):
        begin = cpu_s(w)
        page = w.gw.json(f"route show protocol bgp limit 50 {after}")
        took.append(cpu_s(w) - begin)
        seen += [r["to"] for r in page["routes"]]
        after = f"after {page['next']}"
    print(f"\npages of 50 out of {COUNT} routes: the first {took[0] * 1000:.0f} ms of sluiced's time, nine more "
          f"{sum(took[1:]) * 1000:.0f} ms")
    assert seen == [net(i) for i in range(500)]
    # Nine times as much if each went over all of them. Flows age meanwhile, whoever asks.
    assert sum(took[1:]) < 4 * took[0]


def routes_come_and_go(w):
    """Routes come in, and go, while the whole table is asked for again and again."""
    begin = time.monotonic()
    t = talk.Thread(batch, w, "add", range(COUNT))
    shown, slowest, shows = 0, 0.0, 0
    while t.is_alive():
        shown = count(w)
        shows += 1
        ask = time.monotonic()
        w.gw.cli("status")
        slowest = max(slowest, time.monotonic() - ask)
    t.join()
    netlab.wait_for("all are in force", lambda: status(w)["routes"]["in_force"] >= COUNT, timeout=120, every=0.1)
    took = time.monotonic() - begin
    with open(f"/proc/{w.gw.process.pid}/status") as f:
        rss = next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))
    assert count(w, "active") == COUNT
    pages_cost_what_they_show(w)
    begin = time.monotonic()
    w.sw.run("ip -loops 0 route flush proto bgp", timeout=300)  # by itself ip gives up after 32 rounds, with a million routes
    netlab.wait_for("all are gone", lambda: status(w)["routes"]["in_force"] < 10, timeout=120, every=0.1)
    print(f"\n{COUNT} routes by netlink in {took:.1f} s ({COUNT / took:.0f} a second) beside {shows} listings (the last of {shown}); "
          f"gone in {time.monotonic() - begin:.1f} s; {rss // 1024} MiB; slowest status {slowest * 1000:.0f} ms; {loop_turns.text(w.gw)}")
    loop_turns.none_is_long(w.gw)


def test_no_turn_of_the_event_loop_is_long(w):
    loop_turns.held(w.gw, routes_come_and_go, anew, w)


def overrun(w):
    """The daemon stands still during a burst that its socket cannot hold; then its FIB is what the kernel has."""
    batch(w, "add", range(0, 50000))
    settled(w, 50000)
    with events_socket(w.gw.process.pid) as s:  # a page: a dozen of routes' events
        s.setsockopt(socket.SOL_SOCKET, 33, 4096)  # SO_RCVBUFFORCE
    before = status(w)["netlink_resyncs"]
    os.kill(w.gw.process.pid, signal.SIGSTOP)
    try:
        batch(w, "del", range(0, 25000))
        batch(w, "replace", range(25000, 50000), "192.0.2.3")
        batch(w, "add", range(50000, BURST))
    finally:
        os.kill(w.gw.process.pid, signal.SIGCONT)
    begin = time.monotonic()
    netlab.wait_for("it has noticed", lambda: status(w)["netlink_resyncs"] > before, timeout=60)
    netlab.wait_for("the last is in force", lambda: status(w)["routes"]["in_force"] >= BURST - 25000, timeout=60, every=0.1)
    print(f"\n{BURST} changes while sluiced stood still: in step again after {time.monotonic() - begin:.1f} s, "
          f"{loop_turns.text(w.gw)}")
    loop_turns.none_is_long(w.gw)
    want = kernel(w)
    assert len(want) == BURST - 25000
    netlab.wait_for("the FIB is what the kernel has", lambda: in_force(w) == want, timeout=30, every=1)
    assert w.gw.json(f"route get {net(7).replace('.0/24', '.9')}").get("route") is None


def test_overrun_of_the_netlink_socket(w):
    loop_turns.held(w.gw, overrun, anew, w)


def configuration_changes(w):
    """An interface comes, a VRF takes one over, a gateway's link goes: what that means for all the routes is worked out in slices."""
    more = CONFIG.replace("interfaces:\n", "interfaces:\n  vlan10: {vlan: 10, addresses: [10.0.10.1/24]}\n")
    vrf = more + "vrfs: {red: {table: 101}}\nroutes: [{to: 203.0.113.0/24, via: 192.0.2.2}]\n"
    batch(w, "add", range(COUNT))
    settled(w, COUNT)
    loop_turns.none_is_long(w.gw)
    for name, config in (("an interface more", more), ("a VRF and a static route more", vrf), ("as at first", CONFIG)):
        w.gw.cli(["apply", w.write("next.yaml", config)], timeout=60)
        settled(w, COUNT)
        print(f"\n{name}: {loop_turns.text(w.gw)}")
        loop_turns.none_is_long(w.gw)
    w.r.run("ip link set sw down")
    netlab.wait_for("none is in force", lambda: status(w)["routes"]["in_force"] < 100, timeout=60, every=0.2)
    w.r.run("ip link set sw up")
    netlab.wait_for("all are in force again", lambda: status(w)["routes"]["in_force"] >= COUNT, timeout=60, every=0.2)
    print(f"\na link down and up: {loop_turns.text(w.gw)}")
    loop_turns.none_is_long(w.gw)


def test_changes_of_the_configuration_beside_a_big_table(w):
    loop_turns.held(w.gw, configuration_changes, anew, w)
