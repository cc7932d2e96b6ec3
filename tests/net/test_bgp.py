"""A gateway with a real routing daemon, FRR or BIRD, configured by the very files of the how-tos (examples/frr, examples/bird):
a big table by BGP over both upstream routers, what the gateway announces, IPv6, IPv4 over IPv6 gateways (RFC 8950), and peers
that die. Times and losses are among what `make check` prints at its end."""
import os
import socket
import threading
import time

import pytest

import netlab
import routers
import talk

# FRR 8.4 gives the kernel some thousand routes a second: the whole number is for `make soak`.
DAILY = {"bird": 100000, "frr": 20000, "frr-objects": 20000}
COUNTS = DAILY
if "SLUICE_BGP_ROUTES" in os.environ:
    COUNTS = dict.fromkeys(DAILY, int(os.environ["SLUICE_BGP_ROUTES"]))
RFC8950 = "198.19.0.0/16"
PEER = """router id 192.0.2.{id};
log stderr all;
ipv4 table v8950;
protocol device {{}}
# zebra has the MACs of IPv6 gateways of IPv4 routes from these
protocol radv {{ interface "sw" {{ max ra interval 4; default lifetime 0; }}; }}
protocol bfd {{ interface "sw" {{ interval 100 ms; multiplier 3; }}; }}
# what the gateway announces leads back to it
protocol kernel {{ ipv4 {{ export where source = RTS_BGP; }}; }}
protocol kernel {{ ipv6 {{ export where source = RTS_BGP; }}; }}
protocol static many {{
	ipv4;
	include "{many}";
}}
protocol static one8950 {{ ipv4 {{ table v8950; }}; route {rfc8950} blackhole; }}
protocol static six {{ ipv6; route 2001:db8:ffff::/48 blackhole; route 2001:db8:5555::/48 blackhole; }}
template bgp to_gateway {{ local as 6450{n}; bfd on; connect delay time 1; connect retry time 2; error wait time 1, 2; }}
protocol bgp gw4 from to_gateway {{
	neighbor 192.0.2.{gw} as 64500;
	ipv4 {{ import all; export where source = RTS_STATIC; next hop self; }};
}}
protocol bgp gw6 from to_gateway {{
	neighbor 2001:db8:f{n}::1 as 64500;
	ipv4 {{ table v8950; import none; export all; next hop self; extended next hop on; }};
	ipv6 {{ import all; export where source = RTS_STATIC; next hop self; }};
}}
"""


def prefixes(count):
    """/24s from 20.0.0.0 on, and the network of the lab's internet host."""
    yield from (f"{20 + (i >> 16)}.{i >> 8 & 255}.{i & 255}.0/24" for i in range(count))
    yield f"{netlab.INET4}/32"


def gateways(w, addr):
    """The gateways by which the switch sends packets to the address now: those with a share."""
    r = w.gw.json(f"route get {addr}").get("route", {})
    return sorted(n["via"] for n in r.get("nexthops", []) if n.get("share", 1) > 0 and n["state"] == "resolved")


class Stream:
    """Numbered datagrams from h1 to the internet's host, many connections, 2000 a second: how many of them do not arrive?"""

    FLOWS, PERIOD = 64, 0.0005

    def __init__(self, w):
        self.w, self.end = w, threading.Event()
        self.sink = w.inet.socket(kind=socket.SOCK_DGRAM)
        self.sink.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE
        self.sink.bind((netlab.INET4, 7777))
        self.sink.setblocking(False)
        self.socks = [w.h1.socket(kind=socket.SOCK_DGRAM) for _ in range(self.FLOWS)]
        for s in self.socks:
            s.connect((netlab.INET4, 7777))

    def __enter__(self):
        self.thread = talk.Thread(self.send)
        time.sleep(0.2)
        return self

    def send(self):
        n, at = 0, time.monotonic()
        while not self.end.is_set():
            self.socks[n % self.FLOWS].send(n.to_bytes(4, "big"))
            n += 1
            at += self.PERIOD
            time.sleep(max(0, at - time.monotonic()))
        return n

    def __exit__(self, *exc):
        self.end.set()
        self.sent = self.thread.join()
        time.sleep(0.2)
        got = set()
        while True:
            try:
                got.add(self.sink.recv(16))
            except BlockingIOError:
                break
        self.lost = self.sent - len(got)
        for s in (*self.socks, self.sink):
            s.close()


class Gateway:
    """The example's network; both upstream routers are BIRDs with the big table, the gateway runs what `start` starts."""

    def __init__(self, w, start, kind, count):
        self.w, self.kind, self.count = w, kind, count
        self.slow = max(1, count / DAILY[kind])  # what a routing daemon takes for a larger table than every day's
        nets = list(prefixes(count))
        self.last = nets[-2].replace(".0/24", ".9")
        many = w.write("many.conf", "".join(f"route {p} blackhole;\n" for p in nets))
        for r in (w.r1, w.r2):
            # what leads back to the gateway must come by BGP
            for to in ("203.0.113.0/28", "2001:db8:10::/64", "2001:db8:20::/64"):
                r.run(f"ip {'-6 ' if ':' in to else ''}route del {to}")
        self.peers = {n: routers.Bird(getattr(w, f"r{n}"), w.directory, w.write(f"r{n}.conf", PEER.format(
            n=n, id=4 * n - 2, gw=4 * n - 3, many=many, rfc8950=RFC8950))) for n in (1, 2)}
        begin = time.monotonic()
        self.daemon = start()
        self.healed()
        netlab.wait_for("the whole table is in force", lambda: w.gw.json("status")["routes"]["in_force"] >= count, timeout=60 * self.slow)
        netlab.figure(f"{kind}: {count} routes by two peers in force "
                      f"{time.monotonic() - begin:.1f} s after the daemon's start")

    def healed(self):
        """Both peers are in use again, and watched again, and stay so: sessions may flap once when they begin."""
        def steady():
            for _ in range(4):
                if self.daemon.bfd_sessions() != 4 or any(
                        gateways(self.w, a) != ["192.0.2.2", "192.0.2.6"] for a in (self.last, netlab.INET4)):
                    return False
                time.sleep(0.3)
            return True
        netlab.wait_for("both peers are in use, all BFD sessions up", steady, timeout=90 * self.slow)

    def leaves(self, what, happens, gateway, heal):
        """Traffic flows while something happens to one peer: the time until the last route has left it, and what was lost."""
        w = self.w
        with Stream(w) as s:
            begin = time.monotonic()
            happens()
            netlab.wait_for(f"{what}: first", lambda: gateways(w, netlab.INET4) == [gateway], timeout=20 * self.slow, every=0.005)
            first = time.monotonic() - begin
            netlab.wait_for(f"{what}: last", lambda: gateways(w, self.last) == [gateway] and gateways(w, "20.0.0.9") == [gateway],
                            timeout=30 * self.slow, every=0.02)
            last = time.monotonic() - begin
        netlab.figure(f"{self.kind}, {what}: traffic moved after {first * 1000:.0f} ms, the table after {last * 1000:.0f} ms; "
                      f"{s.lost} of {s.sent} packets lost")
        heal()
        return s


def start_bird(w):
    b = routers.Bird(w.sw, w.directory, os.path.join(netlab.ROOT, "examples/bird/bird.conf"))
    b.established("r1", "r2", "r1_6", "r2_6")
    return b


def start_frr(w, objects=False):
    path = os.path.join(netlab.ROOT, "examples/frr/frr.conf")
    if objects:
        with open(path) as f:
            path = w.write("frr.conf", f.read().replace("no zebra nexthop kernel enable\n", "zebra nexthop-group keep 1\n"))
    f = routers.Frr(w.sw, path)
    w.closing.append(f)
    f.established("192.0.2.2", "192.0.2.6", "2001:db8:f1::2", "2001:db8:f2::2")
    return f


START = {"bird": start_bird, "frr": start_frr, "frr-objects": lambda w: start_frr(w, True)}


@pytest.fixture(scope="module", params=START)
def g(request, gateway):
    w = gateway
    w.closing = []
    gw = None
    try:
        gw = Gateway(w, lambda: START[request.param](w), request.param, COUNTS[request.param])
        yield gw
    finally:
        for c in w.closing:
            c.close()
        if gw and isinstance(gw.daemon, routers.Bird):
            gw.daemon.kill()
        for peer in gw.peers.values() if gw else ():
            peer.kill()
        for r in ("r1", "r2"):
            getattr(w, r).run("ip route flush proto bird", check=False)
            getattr(w, r).run("ip -6 route flush proto bird", check=False)
            for to, via in (("203.0.113.0/28", "192.0.2.1" if r == "r1" else "192.0.2.5"),
                            ("2001:db8:10::/64", f"2001:db8:f{r[1]}::1"), ("2001:db8:20::/64", f"2001:db8:f{r[1]}::1")):
                getattr(w, r).route(to, via)
        w.sw.run("ip route flush proto bgp", check=False)
        w.sw.run("ip route flush proto bird", check=False)
        w.sw.run("ip -6 route flush proto bgp", check=False)
        w.sw.run("ip -6 route flush proto bird", check=False)


def test_pool_and_networks_are_announced(g):
    """What the gateway translates to is reachable because it announced it: pings are answered to an address of the pool."""
    w = g.w
    for r in (w.r1, w.r2):
        out = netlab.wait_for("the pool is a route of the peer", lambda r=r: (
            lambda o: o if "203.0.113.2/31" in o or "203.0.113.2" in o else "")(r.run("ip route show proto bird").stdout), timeout=20)
        assert "203.0.113.1 " in out and "10.0.10.0/24" not in out
        assert "2001:db8:10::/64" in r.run("ip -6 route show proto bird").stdout
    for to in (netlab.INET4, netlab.INET6):  # a session may flap once more, and the way back is one of BGP's routes
        netlab.wait_for(f"all pings to {to} are answered", lambda to=to: w.h1.ping(to, count=5)[1] == 5, timeout=20)


def test_ipv6_routes_have_both_ways(g):
    netlab.wait_for("IPv6 by both", lambda: len(gateways(g.w, "2001:db8:5555::1")) == 2)


def test_ipv4_routes_with_ipv6_gateways(g):
    """RFC 8950: the packet is IPv4, the neighbour is found by ND; by zebra without nexthop objects from router advertisements, and then
    called 169.254.0.1."""
    w = g.w

    def two_of_six():
        via = gateways(w, "198.19.0.1")
        return via == ["169.254.0.1"] * 2 if g.kind == "frr" else len(via) == 2 and all(":" in v for v in via)
    netlab.wait_for("by two IPv6 gateways", two_of_six, timeout=20)
    with w.r1.sniff("sw") as one, w.r2.sniff("sw") as two:
        for _ in range(16):
            w.h1.run("ping -n -q -c 1 -W 0.05 198.19.0.1", check=False)
        dst = bytes([198, 19, 0, 1])
        assert len([f for s in (one, two) for f in s.frames(0.3) if f[12:14] == b"\x08\x00" and f[30:34] == dst]) == 16


def test_killed_peer_loses_nothing(g):
    """kill -9 of the peer's daemon: the session ends, the router goes on forwarding."""
    peer = g.peers[1]
    config = f"{g.w.directory}/r1.conf"

    def heal():
        g.peers[1] = routers.Bird(g.w.r1, g.w.directory, config)
        g.healed()
    s = g.leaves("the peer's daemon is killed", peer.kill, "192.0.2.6", heal)
    assert s.lost == 0


def test_pulled_cable(g):
    w = g.w

    def heal():
        if g.kind == "frr-objects":  # zebra takes what it still keeps for being in the kernel, which has dropped it: docs/how-to-frr.md
            time.sleep(3)
        w.r1.run("ip link set sw up")
        w.r1.addr("sw", "2001:db8:f1::2/64")
        g.healed()
    s = g.leaves("the cable is pulled", lambda: w.r1.run("ip link set sw down"), "192.0.2.6", heal)
    assert s.lost < s.sent / 4 and s.lost < 400, "more than 200 ms of one way's packets"


def test_silent_peer_is_noticed_by_bfd(g):
    """The link is up and ARP is answered, but no IP passes: BFD tells in 300 ms (RFC 5880), BGP alone would take minutes."""
    w = g.w

    def silence():
        w.r1.run("nft add table netdev t")
        w.r1.run("nft add chain netdev t in { type filter hook ingress device sw priority 0 ; policy accept ; }")
        w.r1.run("nft add rule netdev t in meta protocol ip drop")

    def heal():
        w.r1.run("nft delete table netdev t")
        g.healed()
    s = g.leaves("the peer falls silent", silence, "192.0.2.6", heal)
    assert 0 < s.lost < 2500, "more than 2.5 s of one way's packets"
