"""How long packets still go to a nexthop after the kernel has told that it is gone: link down, neighbour failure, route withdrawal.

The clock starts when rtnetlink says so (`ip -ts monitor` in the switch's namespace), and stops with the last packet that was sent to
the dead way: seen at its far end, or lost. Both families, with the flows of NAT (IPv4) and without any (IPv6)."""
import contextlib
import datetime
import os
import re
import signal
import socket
import struct
import time

import pytest

import netlab
import talk
from nlsocket import events_socket

pytestmark = pytest.mark.alone

LIMIT_S = 0.1
COUNT = int(os.environ.get("SLUICE_ROUTES", "100000"))  # `make soak`: a million
BEFORE = ["another link went down", "resync", *(["quiet"] if COUNT > 100000 else [])]
SO_TIMESTAMPNS, MARK, PORT = 35, b"failover", 7300
NET4, NET6 = "198.51.100.0/24", "2001:db8:ffff::/64"
WAYS = {4: (NET4, "192.0.2.2", "192.0.2.6", netlab.INET4), 6: (NET6, "2001:db8:f1::2", "2001:db8:f2::2", netlab.INET6)}


class Arrivals:
    """Who arrives at an interface, and when by the kernel's clock: {number: time}."""

    def __init__(self, ns, iface):
        self.at, self.stop = {}, False
        with ns.entered():
            self.s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.s.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.s.setsockopt(263, 23, 1)  # PACKET_IGNORE_OUTGOING
        self.s.setsockopt(socket.SOL_SOCKET, 33, 32 << 20)  # SO_RCVBUFFORCE
        self.s.bind((iface, 0))
        self.s.settimeout(0.1)
        self.thread = talk.Thread(self._run)

    def _run(self):
        while not self.stop:
            try:
                data, control, _, _ = self.s.recvmsg(256, 64)
            except OSError:  # nothing for a while, or the interface went down
                time.sleep(0.001)
                continue
            at = data.find(MARK)
            if at >= 0:
                (number,) = struct.unpack_from("!Q", data, at + len(MARK))
                (stamp,) = [struct.unpack("=qq", value) for _, kind, value in control if kind == SO_TIMESTAMPNS]
                self.at.setdefault(number, stamp[0] + stamp[1] / 1e9)

    def close(self):
        self.stop = True
        self.thread.join()
        self.s.close()


class Stream:
    """Numbered datagrams of 64 flows, one or two a millisecond, until stopped. Nobody reads them where they go, which is `sink` if
    they go to one target."""

    def __init__(self, ns, targets, sink):
        self.sent, self.stop = [], False
        family = talk.family_of(targets[0])
        self.sink = sink.socket(family, socket.SOCK_DGRAM)
        if len(targets) == 1:
            self.sink.bind((targets[0], PORT))
        self.socks = [ns.socket(family, socket.SOCK_DGRAM) for _ in range(64)]
        for i, s in enumerate(self.socks):
            s.bind(("", 30000 + i))
            s.connect((targets[i % len(targets)], PORT))
        self.thread = talk.Thread(self._run)

    def _run(self):
        while not self.stop:
            n = len(self.sent)
            self.sent.append(time.time())
            with contextlib.suppress(OSError):  # the ICMP error about an earlier one
                self.socks[n % 64].send(MARK + struct.pack("!Q", n))
            time.sleep(0.0005)

    def close(self):
        self.stop = True
        self.thread.join()
        for s in [*self.socks, self.sink]:
            s.close()


def told(words, pattern):
    """When `ip -ts monitor` first said something that matches."""
    for line in words.splitlines():
        m = re.match(r"\[([^]]+)\] ?(.*)", line)
        if m and re.search(pattern, m[2]):
            return datetime.datetime.fromisoformat(m[1]).timestamp()
    raise AssertionError(f"the kernel has not told of {pattern}:\n{words}")


def fail_over(w, family, fail, pattern, dead=1, lossy=False, targets=()):
    """Seconds from the kernel's word to the last packet for way `dead`, and from the command that was the cause; packets since.
    `targets`: where packets go, by that way alone."""
    with open(w.write("monitor", ""), "w+") as heard:
        monitor = w.sw.spawn(["stdbuf", "-oL", "ip", "-ts", "-o", "monitor", "link", "neigh", "route"], stdout=heard)
        time.sleep(0.3)
        arrivals = [Arrivals(w.r1, "sw"), Arrivals(w.r2, "sw")]
        stream = Stream(w.h1, targets or [WAYS[family][3]], w.inet)
        try:
            used = arrivals[dead - 1:dead] if targets else arrivals
            netlab.wait_for("the ways are used", lambda: all(len(a.at) > 200 for a in used))
            began = fail()
            time.sleep(2.0)
        finally:
            stream.close()
            time.sleep(0.3)
            for a in arrivals:
                a.close()
            monitor.kill()
            monitor.wait()
        heard.seek(0)
        since = told(heard.read(), pattern)
    arrived = [a.at for a in arrivals]
    late = [t for t in arrived[dead - 1].values() if t > min(began, since)]
    lost = [t for n, t in enumerate(stream.sent) if t > min(began, since) and n not in arrived[0] and n not in arrived[1]]
    assert sum(t > since + 1 for t in arrived[2 - dead].values()) > 500, "nothing goes by the way that is left"
    assert lossy or not lost, f"{len(lost)} packets lost"
    last = max(late + lost, default=began)
    return last - since, last - began, len(late) + len(lost)


def command(ns, words):
    """A function that runs it, and gives the time when it began."""
    def run():
        began = time.time()
        ns.run(words)
        return began
    return run


def report(what, family, seconds, since_cause, packets):
    print(f"{what}, IPv{family}: the last of {packets} packets {seconds * 1000:+.1f} ms after the kernel told, {since_cause * 1000:.1f} ms "
          "after the command was given")
    assert seconds < LIMIT_S and since_cause < LIMIT_S + 0.5


@pytest.mark.parametrize("family", [4, 6])
def test_link_down(own_gateway, family):
    w = own_gateway
    got = fail_over(w, family, command(w.r1, "ip link set sw down"), r"up1.*NO-CARRIER", lossy=True)
    report("link down", family, *got)


def mute(host, family):
    """It goes on forwarding, but answers no ARP, or no neighbour solicitation, any more."""
    if family == 4:
        host.run("ip link set sw arp off")
    else:
        host.run(["nft", "add table ip6 mute; add chain ip6 mute out { type filter hook output priority 0; }; "
                  "add rule ip6 mute out icmpv6 type nd-neighbor-advert drop"])


@pytest.mark.parametrize("family", [4, 6])
def test_neighbour_failure(own_gateway, family):
    """r1 answers no more; the kernel gives it up."""
    w, (_, gateway, _, _) = own_gateway, WAYS[family]

    def fail():
        mute(w.r1, family)
        return command(w.sw, f"ip neigh change {gateway} dev up1 nud failed")()
    report("neighbour failure", family, *fail_over(w, family, fail, rf"{gateway} dev up1.*FAILED"))


@pytest.mark.parametrize("family", [4, 6])
def test_neighbour_that_answers_no_probe(own_gateway, family):
    """The kernel gives it up by itself, after the probes that it sends."""
    w, (_, gateway, _, _) = own_gateway, WAYS[family]
    for key, value in (("ucast_solicit", 2), ("retrans_time_ms", 100)):
        w.sw.sysctl(f"net.ipv{family}.neigh.up1.{key}", value)

    def fail():
        mute(w.r1, family)
        return command(w.sw, f"ip neigh change {gateway} dev up1 nud probe")()
    report("no answer to probes", family, *fail_over(w, family, fail, rf"{gateway} dev up1.*FAILED"))


@pytest.mark.parametrize("family", [4, 6])
def test_withdrawn_nexthop(own_gateway, family):
    """A routing daemon's route loses one of its two ways."""
    w, (net, one, two, _) = own_gateway, WAYS[family]
    w.sw.run(f"ip route add {net} proto bgp nexthop via {one} nexthop via {two}")
    netlab.wait_for("the route is active", lambda: any(r["to"] == net and r["active"] for r in w.gw.json("route show")))
    got = fail_over(w, family, command(w.sw, f"ip route replace {net} proto bgp via {two}"), rf"^(Deleted )?{net} .*via {two}")
    report("withdrawal of one of two nexthops", family, *got)


@pytest.mark.parametrize("family", [4, 6])
def test_withdrawn_route(own_gateway, family):
    """A more specific route goes away; what is left leads elsewhere."""
    w, (_, one, two, target) = own_gateway, WAYS[family]
    wide = "198.51.96.0/19" if family == 4 else "2001:db8:ff00::/40"
    narrow = f"{target}/{32 if family == 4 else 128}"
    w.sw.run(f"ip route add {wide} proto bgp nexthop via {one} nexthop via {two}")
    netlab.wait_for("the wide route is active", lambda: any(r["to"] == wide and r["active"] for r in w.gw.json("route show")))

    def withdraw():
        w.sw.run(f"ip route add {narrow} proto bgp via {one}")
        netlab.wait_for("the narrow route is active", lambda: any(r["to"] == narrow and r["active"] for r in w.gw.json("route show")))
        time.sleep(0.5)
        w.sw.run(f"ip route replace {wide} proto bgp via {two}")
        time.sleep(0.5)
        return command(w.sw, f"ip route del {narrow} proto bgp")()
    report("withdrawal of a route", family, *fail_over(w, family, withdraw, rf"^Deleted {target} "))


# ---- beside a full table


def full_table(w):
    """By a third uplink, of which the switch has no port: what the kernel tells of it is looked at nevertheless."""
    w.sw.run("ip link add up3 type veth peer name r3")
    for name in ("up3", "r3"):
        w.sw.run(f"ip link set {name} up")
    w.sw.addr("up3", "172.30.0.1/24")
    lines = []
    for i in range(COUNT):
        via = "192.0.2.6" if i % 2 else "172.30.0.2"
        lines.append(f"route add {16 + (i >> 16)}.{i >> 8 & 255}.{i & 255}.0/24 via {via} proto bgp\n")
    w.sw.run(["ip", "-batch", w.write("many", "".join(lines))], timeout=600)
    netlab.wait_for("the table is in force", lambda: w.gw.json("status")["routes"]["in_force"] > COUNT // 2, timeout=300)


def resync_begins(w):
    """Something is lost on the socket of events, and all is dumped anew."""
    before = w.gw.json("status")["netlink_resyncs"]
    os.kill(w.gw.process.pid, signal.SIGSTOP)
    with events_socket(w.gw.process.pid) as s:
        s.setsockopt(socket.SOL_SOCKET, 33, 4096)
        w.sw.run(["sh", "-c", "for i in $(seq 50); do ip route add 198.18.$i.0/24 via 192.0.2.6; done"])
        s.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)
    os.kill(w.gw.process.pid, signal.SIGCONT)
    netlab.wait_for("the dump has begun", lambda: w.gw.json("status")["netlink_resyncs"] > before, every=0.001)


@pytest.mark.parametrize("what", BEFORE)
def test_beside_a_full_table(own_gateway, what):
    w = own_gateway
    full_table(w)

    def fail():
        if what == "another link went down":
            w.sw.run("ip link set r3 down")
            time.sleep(0.03)
        elif what == "resync":
            resync_begins(w)
        return command(w.r1, "ip link set sw down")()
    report(f"link down, {COUNT} routes, {what}", 4, *fail_over(w, 4, fail, r"up1.*NO-CARRIER", lossy=True))


# ---- routes that have another one behind them

FLOATING = 300000


def prefix_of(i, host=0):
    return f"{16 + (i >> 16)}.{i >> 8 & 255}.{i & 255}.{host}"


def floating_table(w):
    """FLOATING prefixes, each by r1, and behind that by r2: but the last one, behind which there is none."""
    lines = []
    for i in range(FLOATING):
        lines.append(f"route add {prefix_of(i)}/24 via 192.0.2.2 metric 100 proto bgp\n")
        if i < FLOATING - 1:
            lines.append(f"route add {prefix_of(i)}/24 via 192.0.2.6 metric 200 proto bgp\n")
    w.sw.run(["ip", "-batch", w.write("many", "".join(lines))], timeout=600)
    netlab.wait_for("the table is in force", lambda: w.gw.json("status")["routes"]["known"] > 2 * FLOATING - 1 and settled(w), timeout=300)


def settled(w):
    """All that was told has been chosen."""
    return all("problem" not in route_to(w, i) for i in (0, FLOATING // 2, FLOATING - 1))


def route_to(w, i):
    return w.gw.json(f"route get {prefix_of(i, 9)}")


def test_floating_routes(own_gateway):
    """A link goes down by which all routes go that have another one behind them: each is led by that at once."""
    w = own_gateway
    w.sw.run("ip route replace default via 192.0.2.6")
    floating_table(w)
    targets = [prefix_of(k * (FLOATING - 1) // 64, 9) for k in range(64)]
    for i in (0, FLOATING // 2, FLOATING - 1):
        assert route_to(w, i)["out"]["interface"] == "up1"
    got = fail_over(w, 4, command(w.r1, "ip link set sw down"), r"up1.*NO-CARRIER", lossy=True, targets=targets)
    report(f"link down, {FLOATING} routes with another one behind them", 4, *got)
    for i in (0, FLOATING // 2):
        assert route_to(w, i)["text"].endswith(f"via 192.0.2.6 on up2 by route {prefix_of(i)}/24")
    assert route_to(w, FLOATING - 1)["route"]["to"] == "0.0.0.0/0"
    assert settled(w)
