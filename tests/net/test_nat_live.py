"""NAT while things change: configurations are applied under traffic, addresses move, and who writes the log does not keep up."""
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

import pytest
from scapy.layers.inet import IP
from scapy.layers.l2 import Ether

import netlab
import talk
from talk import heard, udp

OUT = "203.0.113.100"
CONFIG = """settings: {%s}
ports:
  p1: {mode: access, vlan: 10}
  p2: {mode: access, vlan: 10}
  wan: {mode: routed}
interfaces:
  lan: {vlan: 10, addresses: [10.0.0.1/24]}
  wan: {port: wan, addresses: [%s/24]}
nat:
  - {name: few, type: snat, source: 10.0.0.6/32, to: [203.0.113.10, 203.0.113.11], out: wan, ports: 2000-2999}
  - {name: rest, type: snat, source: 10.0.0.0/24, to: masquerade, out: wan}
"""


def config(settings="", up="203.0.113.1", more=""):
    return CONFIG % (settings, up) + more


def network(world):
    gw = world.ns("gw")
    world.host("h1", gw, "p1", addrs=["10.0.0.5/24"], gw=["10.0.0.1"])
    world.host("h2", gw, "p2", addrs=["10.0.0.6/24"], gw=["10.0.0.1"])
    world.host("out", gw, "wan", addrs=[f"{OUT}/24"])
    return gw


@pytest.fixture
def w(world):
    world.sw = world.start_switch(network(world), config())
    world.sw.attached("p1", "p2", "wan")
    assert world.h1.ping(OUT)[1] and world.h2.ping(OUT)[1]
    return world


def apply(w, text):
    w.sw.cli(f"apply {w.write('next.yaml', text)}")


class Ticker:
    """Asks a server outside by one UDP socket, every few milliseconds; all it was answered, and as whom it was seen."""

    def __init__(self, ns, port):
        self.s = ns.socket(kind=socket.SOCK_DGRAM)
        self.s.bind(("", port))
        self.s.connect((OUT, 7000))
        self.s.settimeout(0.3)
        self.asked = self.answered = 0
        self.end = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.end:
            self.asked += 1
            try:
                self.s.send(b"?")
                self.s.recv(10)
                self.answered += 1
            except OSError:
                pass
            time.sleep(0.002)

    def close(self):
        """What was answered, but later than anybody waits on a busy machine, is answered."""
        self.end = True
        self.thread.join(5)
        with contextlib.suppress(OSError):
            while self.answered < self.asked and self.s.recv(10):
                self.answered += 1
        self.s.close()


def test_fifty_configurations_during_a_transfer(w):
    """The epoch changes under traffic: nothing is lost, and nobody gets another outside port."""
    with talk.UdpEcho(w.out, 7000, bind=OUT) as echo:
        ticker = Ticker(w.h2, 6000)
        try:
            transfer = talk.Thread(talk.tcp_transfer, w.h1, w.out, OUT, 9000, 512 << 20)
            for n in range(50):
                apply(w, config(more=f"routes: [{{to: 10.{n}.0.0/16, via: {OUT}}}]\n"))
            same, peer = transfer.join(90)
        finally:
            ticker.close()
        assert same and peer[0] == "203.0.113.1"
        assert ticker.asked == ticker.answered > 100
        assert len(set(echo.peers)) == 1 and echo.peers[0][0] in ("203.0.113.10", "203.0.113.11")
    assert w.sw.json("counters show")["stats"]["flow_stale"] > 10, "flows were decided again"
    netlab.counters_hold(w.sw)


def test_masquerade_address_changes_under_traffic(w):
    """What was begun under the old address ends, what goes on begins anew under the new one; others do not notice."""
    with talk.UdpEcho(w.out, 7000, bind=OUT) as echo:
        moved, stays = Ticker(w.h1, 6000), Ticker(w.h2, 6000)
        try:
            netlab.wait_for("traffic", lambda: moved.answered > 20 and stays.answered > 20)
            # At an address that was had before, the port may not be given back yet, since it is as soon as the next pass is over.
            for up, ports in (("203.0.113.2", {6000}), ("203.0.113.3", {6000}), ("203.0.113.1", range(1024, 65536))):
                apply(w, config(up=up))
                before = moved.answered
                netlab.wait_for(
                    f"answers under {up}",
                    lambda: sum(a == up and port in ports for a, port in echo.peers[-50:]) > 5 and moved.answered > before,
                )
        finally:
            moved.close()
            stays.close()
        assert {p[0] for p in echo.peers} >= {"203.0.113.1", "203.0.113.2", "203.0.113.3"}
        assert len({p for p in echo.peers if p[0] in ("203.0.113.10", "203.0.113.11")}) == 1
        assert stays.asked == stays.answered
    netlab.counters_hold(w.sw)


def with_rule(rule, **more):
    return config(**more).replace("nat:\n", f"nat:\n  - {{{rule}}}\n")


def sends(s, to, far):
    """What is heard there of what is sent now."""
    while (got := heard(far)) is not None and got[0] != b"now":
        pass
    s.sendto(b"now", to)
    return heard(far)


def test_a_changed_static_rule_moves_its_flows(w):
    """Never two hosts on one address: who had it is another one at once, and its answers reach who has it now."""
    rule = "name: one, type: static, inside: 10.0.0.%d, outside: 203.0.113.%d, out: wan"
    apply(w, with_rule(rule % (5, 20)))
    with udp(w.h1, "10.0.0.5", 6000) as a, udp(w.h2, "10.0.0.6", 6000) as b, udp(w.out, OUT, 7000) as far:
        assert sends(a, (OUT, 7000), far)[1] == ("203.0.113.20", 6000)
        apply(w, with_rule(rule % (5, 21)))
        netlab.wait_for("its new address", lambda: sends(a, (OUT, 7000), far)[1] == ("203.0.113.21", 6000), 3)
        apply(w, with_rule(rule % (6, 21)))
        netlab.wait_for("the other host has it", lambda: (sends(b, (OUT, 7000), far) or (0, 0))[1] == ("203.0.113.21", 6000), 3)
        assert sends(far, ("203.0.113.21", 6000), b) and heard(a) is None
        assert sends(a, (OUT, 7000), far)[1][0] == "203.0.113.1"
    netlab.counters_hold(w.sw)


def test_a_changed_forward_moves_its_flows(w):
    """Its port, where it leads, and the interface's address that it is for: while both sides go on sending."""
    rule = "name: d, type: dnat, destination: %s, protocol: udp, port: %d, to: '10.0.0.%d:9000'"
    with udp(w.h1, "10.0.0.5", 9000) as a, udp(w.h2, "10.0.0.6", 9000) as b, udp(w.out, OUT, 7000) as far:
        apply(w, with_rule(rule % ("203.0.113.30", 8000, 5)))
        assert sends(far, ("203.0.113.30", 8000), a) and sends(a, (OUT, 7000), far)[1] == ("203.0.113.30", 8000)
        apply(w, with_rule(rule % ("203.0.113.30", 8000, 6)))
        netlab.wait_for("it leads elsewhere", lambda: sends(far, ("203.0.113.30", 8000), b), 3)
        apply(w, with_rule(rule % ("203.0.113.30", 8001, 6)))
        netlab.wait_for("the port is closed", lambda: not sends(far, ("203.0.113.30", 8000), b), 3)
        assert sends(far, ("203.0.113.30", 8001), b) and sends(b, (OUT, 7000), far)[1] == ("203.0.113.30", 8001)
        apply(w, with_rule(rule % ("wan", 8001, 6)))
        netlab.wait_for("the interface's address", lambda: sends(far, ("203.0.113.1", 8001), b), 3)
        assert sends(b, (OUT, 7000), far)[1] == ("203.0.113.1", 8001)
        apply(w, with_rule(rule % ("wan", 8001, 6), up="203.0.113.7"))
        netlab.wait_for("its new one", lambda: sends(b, (OUT, 7000), far) and sends(far, ("203.0.113.7", 8001), b), 3)
        assert sends(b, (OUT, 7000), far)[1] == ("203.0.113.7", 8001)
    netlab.counters_hold(w.sw)


def test_filtering_that_changes_reaches_mappings(w):
    """A stranger who goes on sending is let in no more once the rule says so, and again when it is open."""
    rule = "name: open, type: snat, source: 10.0.0.5/32, to: 203.0.113.40, out: wan, filtering: %s"
    loose, strict = (with_rule(rule % f) for f in ("endpoint-independent", "address-and-port-dependent"))
    apply(w, loose)
    with udp(w.h1, "10.0.0.5", 6000) as a, udp(w.out, OUT, 7000) as far, udp(w.out, OUT, 7001) as stranger:
        where = sends(a, (OUT, 7000), far)[1]
        assert sends(stranger, where, a)
        apply(w, strict)
        netlab.wait_for("closed", lambda: not sends(stranger, where, a), 4)
        assert sends(far, where, a) and sends(a, (OUT, 7000), far)[1] == where, "whom it has asked is answered"
        apply(w, loose)
        netlab.wait_for("open", lambda: sends(stranger, where, a), 4)


TWO_UPLINKS = """ports:
  p1: {mode: access, vlan: 10}
  w1: {mode: routed}
  w2: {mode: routed}
interfaces:
  lan: {vlan: 10, addresses: [10.0.0.1/24]}
  w1: {port: w1, addresses: [192.0.2.1/30]}
  w2: {port: w2, addresses: [192.0.2.5/30]}
routes:
  - {to: 0.0.0.0/0, via: 192.0.2.2, distance: 5}
  - {to: 0.0.0.0/0, via: 192.0.2.6, distance: 50}
nat:
  - {name: both, type: snat, source: 10.0.0.6/32, to: 203.0.113.9, out: [w1, w2]}
  - {name: first, type: snat, source: 10.0.0.7/32, to: 203.0.113.10, out: w1}
  - {name: out, type: snat, source: 10.0.0.0/24, to: masquerade, out: [w1, w2]}
"""


def test_masquerade_outlives_an_uplink(world):
    """A flow in use gets the other uplink's address with its next packet; one of a pool keeps its own, as the kernel's does."""
    gw, out = world.ns("gw"), world.ns("out")
    h1 = world.host("h1", gw, "p1", addrs=["10.0.0.5/24", "10.0.0.6/24", "10.0.0.7/24"], gw=["10.0.0.1"])
    for n, (port, near, far) in enumerate((("w1", "192.0.2.1", "192.0.2.2/30"), ("w2", "192.0.2.5", "192.0.2.6/30"))):
        world.veth(gw, port, out, f"s{n}")
        out.addr(f"s{n}", far)
        out.run(f"ip route add 203.0.113.8/29 via {near} metric {n + 1}")
    out.run("ip link set lo up")
    out.addr("lo", "198.51.100.9/32")
    for name in ("all", "s0", "s1"):
        out.sysctl(f"net.ipv4.conf.{name}.rp_filter", 0)
    world.sw = world.start_switch(gw, TWO_UPLINKS)
    world.sw.attached("p1", "w1", "w2")
    h1 = world.namespaces["h1"]
    assert h1.ping("198.51.100.9")[1]
    with talk.UdpEcho(out, 7000, bind="198.51.100.9") as echo, contextlib.ExitStack() as stack:
        flows = [stack.enter_context(udp(h1, f"10.0.0.{n}", 6000)) for n in (5, 6, 7)]

        def seen_as():
            """Each asks once and is answered."""
            echo.peers.clear()
            for s in flows:
                s.sendto(b"?", ("198.51.100.9", 7000))
                if not heard(s):
                    return None
            return [p[0] for p in echo.peers]

        pools = ["203.0.113.9", "203.0.113.10"]
        netlab.wait_for("answers", lambda: seen_as() == ["192.0.2.1", *pools])
        out.run("ip link set s0 down")
        netlab.wait_for("answers by the other uplink", lambda: seen_as() == ["192.0.2.5", *pools], 4)
        moved = world.sw.json("counters show")["stats"]["flow_moved"]
        assert moved == 1
        out.run("ip link set s0 up")
        netlab.wait_for("and back", lambda: seen_as() == ["192.0.2.1", *pools], 4)
    netlab.counters_hold(world.sw)


def test_show_says_who_has_what(w):
    """Ports of each address, mappings, and who has most of them."""
    for ns, n in ((w.h1, 3), (w.h2, 20)):
        for i in range(n):
            with ns.socket(kind=socket.SOCK_DGRAM) as s:
                s.bind(("", 6000 + i))
                s.sendto(b"x", (OUT, 7000))
    # The pings that the fixture began with are mappings as well.
    netlab.wait_for("a pass has counted", lambda: [h["mappings"] for h in w.sw.json("nat show")["mappings"]["top"]] == [21, 4])
    shown = w.sw.json("nat show")
    assert [h["address"] for h in shown["mappings"]["top"]] == ["10.0.0.6", "10.0.0.5"]
    assert shown["mappings"]["total"] == 25 and shown["mappings"]["hosts"] == 2
    few = next(p for p in shown["pools"] if p["name"] == "pool:few")
    assert few["ports_each"] == 1000 and few["ports_total"] == 2000
    assert [(a["udp"], a["icmp"]) for a in few["by_address"]] == [(20, 1)], "paired: one address for one host"
    text = w.sw.cli("nat show").stdout
    assert re.search(r"10\.0\.0\.6 +default +21", text) and re.search(r"203\.0\.113\.1[01] +0 +20 +1 +1000", text)


def test_every_key_by_the_command_line(w):
    """What `nat add` takes is what `nat show` has, and what can be taken away again."""
    added = [
        ("snat full from 10.9.0.0/16 destination 192.0.2.0/24 protocol tcp,udp out wan to 203.0.113.20-203.0.113.21 ports 5000-6000 "
         "mapping address-and-port-dependent filtering address-and-port-dependent overload limit sessions=10,ports=5 "
         "timeouts tcp-established=2h,udp=2m on-delete keep",
         {"type": "snat", "source": "10.9.0.0/16", "destination": "192.0.2.0/24", "protocol": ["tcp", "udp"], "out": "wan",
          "to": "203.0.113.20-203.0.113.21", "ports": "5000-6000", "mapping": "address-and-port-dependent", "overload": True,
          "limit": {"sessions": 10, "ports": 5}, "timeouts": {"tcp-established": 7200, "udp": 120}, "on-delete": "keep"}),
        ("dnat web on wan protocol tcp port 8000-8010 to 10.0.0.5:80 timeouts tcp-transitory=60 on-delete keep",
         {"type": "dnat", "destination": "wan", "protocol": "tcp", "port": "8000-8010", "to": "10.0.0.5:80",
          "timeouts": {"tcp-transitory": 60}, "on-delete": "keep"}),
        ("static one inside 10.0.0.64/28 outside 203.0.113.64/28 out wan timeouts other=5m",
         {"type": "static", "inside": "10.0.0.64/28", "outside": "203.0.113.64/28", "out": "wan", "timeouts": {"other": 300}}),
    ]
    for line, keys in added:
        name = line.split()[1]
        w.sw.cli(f"nat add {line}")
        rule = next(r for r in w.sw.json("nat show")["rules"] if r["name"] == name)
        assert {k: v for k, v in rule.items() if k not in ("name", "id")} == keys
        shown = w.sw.cli("nat show").stdout
        for value in keys.values():
            if isinstance(value, str):
                assert value in shown
        w.sw.cli(f"nat delete {name}")
    w.sw.cli("nat add snat first from 10.0.0.6/32 to none before few")
    w.sw.cli("nat add snat second from 10.0.0.7/32 to none after first")
    w.sw.cli("nat add snat last from 10.0.0.8/32 to none")
    assert [r["name"] for r in w.sw.json("nat show")["rules"]] == ["first", "second", "few", "rest", "last"]
    assert w.sw.json(f"route get {OUT} from 10.0.0.6 iif lan ipproto udp sport 5 dport 6")["nat"]["source"]["rule"] == "first"
    for line, words in [("snat x to none before nobody", "nothing is called `nobody` in `nat`"),
                        ("snat x to none before few after rest", "one of them"),
                        ("static x inside 10.0.0.64/28 outside 203.0.113.64/27", "both are of one size"),
                        ("snat x to masquerade limit flows=3", "sessions, ports"),
                        ("snat x to masquerade timeouts udp=soon", "timeouts.udp"),
                        ("snat x to masquerade mapping any", "endpoint-independent address-and-port-dependent"),
                        ("dnat x on wan protocol tcp port 80 to 10.0.0.5 on-delete never", "end keep")]:
        got = w.sw.cli(f"nat add {line}", check=False)
        assert got.returncode and words in got.stdout, got.stdout


# ---- the log


def many_sessions(w, n):
    """One inside port to n remote ones: as many sessions."""
    with w.h1.socket(kind=socket.SOCK_DGRAM) as s:
        s.bind(("", 6000))
        for port in range(10000, 10000 + n):
            s.sendto(b"x", (OUT, port))


def test_what_finds_the_ring_full_is_told(w, tmp_path):
    """sluiced stands still, and more begins than the ring holds: what is written and what is said to be lost are all there were."""
    log, n = tmp_path / "nat.json", 14000
    w.out.run("ip route add blackhole 203.0.113.1/32")
    w.h1.sysctl("net.ipv4.neigh.default.base_reachable_time_ms", 600000)
    apply(w, config(f"nat-log: {{file: {log}}}"))
    os.kill(w.sw.process.pid, signal.SIGSTOP)
    try:
        many_sessions(w, n)
    finally:
        os.kill(w.sw.process.pid, signal.SIGCONT)

    def lines():
        """The whole ones: the last may be under way."""
        return [json.loads(x) for x in log.read_text().split("\n")[:-1]] if log.exists() else []

    def told():
        seen = lines()
        return sum(e.get("natEvent") == 4 for e in seen) + sum(e.get("eventsLost", 0) for e in seen)

    netlab.wait_for("all are told", lambda: told() >= n, timeout=20)
    assert told() == n and any(e.get("eventsLost", 0) > 1000 for e in lines())
    assert w.sw.json("nat show")["log"]["untold"] == sum(e.get("eventsLost", 0) for e in lines())


class Logger:
    """Stands for the system's: the socket that /dev/log is, in a mount namespace of the daemon's own."""

    def __init__(self, path):
        self.path = path
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.s.bind(path)
        self.s.settimeout(5)

    def close(self):
        self.s.close()
        os.unlink(self.path)


def start_with_own_dev(world, gw, text, path):
    sw = world.switch(gw, world.write("gw.yaml", text), os.path.join(world.directory, "gw.log"))
    devices = "mknod -m 666 /dev/null c 1 3; mknod -m 666 /dev/urandom c 1 9; mknod -m 666 /dev/random c 1 8"
    command = f"mount -t tmpfs t /dev && {devices}; ln -s {path} /dev/log; exec {netlab.BUILD}/sluiced -c {sw.config} -i {sw.instance}"
    with open(sw.log, "ab") as log:
        sw.process = gw.spawn(["unshare", "-m", "--propagation", "private", "sh", "-c", command], stdout=log)
    sw.ready()
    return sw


def test_rfc3164_syslog(world, tmp_path):
    """Lines as syslog(3) has them; a logger that does not read costs lines and never the daemon's time; one that comes anew is found."""
    logger = Logger(str(tmp_path / "log"))
    world.sw = start_with_own_dev(world, network(world), config("nat-log: {syslog: true}"), logger.path)
    world.sw.attached("p1", "p2", "wan")

    def ask(port):
        with world.h1.socket(kind=socket.SOCK_DGRAM) as s:
            s.bind(("10.0.0.5", port))
            s.sendto(b"x", (OUT, 7000))

    def line_of(port):
        while True:
            m = re.fullmatch(r"<30>([A-Z][a-z]{2}) [ 123]\d \d\d:\d\d:\d\d sluiced\[(\d+)\]: nat (\{.*\})", logger.s.recv(2048).decode())
            assert m and int(m[2]) == world.sw.process.pid
            event = json.loads(m[3])
            if event["protocolIdentifier"] == 17 and event["sourceTransportPort"] == port:
                return event

    ask(6000)
    event = line_of(6000)
    assert event["natEvent"] == 4 and event["rule"] == "rest" and event["postNATSourceIPv4Address"] == "203.0.113.1"
    many_sessions(world, 3000)

    def told():
        log = world.sw.json("nat show")["log"]
        return log["written"] + log["lost"] + log["untold"]

    netlab.wait_for("all are told, so that none of them is in the next one's way", lambda: told() >= 3001)
    assert world.sw.json("nat show")["log"]["lost"] > 100
    began = time.monotonic()
    for _ in range(10):
        world.sw.json("status")
    assert time.monotonic() - began < 5
    logger.close()
    logger = Logger(logger.path)
    ask(6001)
    assert line_of(6001)["natEvent"] == 4
    logger.close()


EVENTS = """  - {name: tunnel, type: snat, source: 10.0.0.0/24, destination: 203.0.113.101/32, out: wan, to: 203.0.113.12, timeouts: {other: 1s}}
  - {name: one, type: snat, source: 10.0.0.6/32, out: wan, to: 203.0.113.10, ports: 2000-2000, timeouts: {udp: 1s}}
  - {name: quota, type: snat, source: 10.0.0.0/24, out: wan, to: 203.0.113.11, limit: {sessions: 2}, timeouts: {icmp: 1s, udp: 1s}}
  - {name: six, type: snat, source: "fd00::/64", out: wan, to: "2001:db8::10", timeouts: {udp: 1s}}
  - {name: web, type: dnat, destination: 203.0.113.1, protocol: udp, port: 8080, to: "10.0.0.6:81", timeouts: {udp: 1s}}
"""
SESSION = ("observationTimeMilliseconds", "natEvent", "protocolIdentifier", "source*Address", "sourceTransportPort", "destination*Address",
           "destinationTransportPort", "postNATSource*Address", "postNAPTSourceTransportPort", "postNATDestination*Address",
           "postNAPTDestinationTransportPort", "ingressVRFID", "vrf", "rule")
REFUSAL = tuple(k for k in SESSION if not k.startswith("post"))


def test_rfc8158_every_event(world, tmp_path):
    """Begin and end of sessions of both families and from both sides, ports or addresses that are exhausted, a limit that is reached: of
    each every field, with what the packets bore; the same line goes to the file and to the logger."""
    logger, file = Logger(str(tmp_path / "log")), tmp_path / "nat.json"
    gw = netlab.nat_network(world, more=["203.0.113.101/24"])
    world.sw = start_with_own_dev(world, gw, netlab.nat_config(EVENTS, f"settings: {{nat-log: {{syslog: true, file: {file}}}}}\n"), logger.path)
    world.sw.attached("p1", "p2", "wan")
    h1, h2, out, out6 = world.h1, world.h2, world.out, "2001:db8::100"
    with udp(h2, "10.0.0.6", 80) as asks, udp(h2, "10.0.0.6", 81) as server, udp(h2, "10.0.0.6", 3000) as late, udp(h1, "fd00::5", 5300) as six, \
            udp(h1, "10.0.0.5", 5300) as second, udp(h1, "10.0.0.5", 5400) as third, udp(out, OUT, 7000) as far, udp(out, out6, 7000) as far6:
        assert h1.ping(OUT, count=1) == (1, 1)
        asks.sendto(b"x", (OUT, 7000))
        assert heard(far) == (b"x", ("203.0.113.10", 2000))
        late.sendto(b"x", (OUT, 7001))
        six.sendto(b"x", (out6, 7000))
        assert heard(far6)[1][0] == "2001:db8::10"
        second.sendto(b"x", (OUT, 7000))
        third.sendto(b"x", (OUT, 7000))
        far.sendto(b"in", ("203.0.113.1", 8080))
        assert heard(server) == (b"in", (OUT, 7000))
        time.sleep(0.2)  # of what is exhausted ten are told in a second
        for h, src in ((h1, "10.0.0.5"), (h2, "10.0.0.6")):  # to one place, by one address
            h.send("eth0", bytes(Ether(src=h.link("eth0")["address"], dst=gw.link("lan")["address"]) / IP(src=src, dst="203.0.113.101", proto=47) / bytes(8)))
    logged = []
    logger.s.settimeout(0.05)

    def is_whole():  # the socket holds ten lines
        while got := heard(logger.s):
            logged.append(got[0].decode().split(": nat ", 1)[1])
        return file.read_text().count('"natEvent":5') == 6

    netlab.wait_for("every session's end", is_whole, timeout=5)
    is_whole()
    lines = file.read_text().splitlines()
    assert logged == lines
    events = [json.loads(line) for line in lines]

    def line_of(kind, rule, *ends):
        """(from, its port, to, its port): as it came, and as it left."""
        family = 6 if ":" in ends[0][0] else 4
        names = [k.replace("*", f"IPv{family}") for k in (SESSION if len(ends) == 2 else REFUSAL)]
        found = [e for e in events if (e["natEvent"], e["rule"]) == (kind, rule) and [e[n] for n in names[3:3 + 4 * len(ends)]] == sum(map(list, ends), [])]
        assert len(found) == 1, (kind, rule, ends, events)
        extra = {"natQuotaExceededEvent": 3} if kind == 13 else {}
        pool = {"natPoolID"} if "natPoolID" in found[0] else set()
        assert set(found[0]) == {*names, *extra} | pool and extra.items() <= found[0].items()
        assert bool(pool) == (kind != 13 and rule != "web")
        assert found[0]["vrf"] == "default" and abs(found[0]["observationTimeMilliseconds"] / 1000 - time.time()) < 60
        return found[0]

    ident = next(e for e in events if e["protocolIdentifier"] == 1)
    sessions = [
        ("quota", 1, ("10.0.0.5", ident["sourceTransportPort"], OUT, 0), ("203.0.113.11", ident["postNAPTSourceTransportPort"], OUT, 0)),
        ("one", 17, ("10.0.0.6", 80, OUT, 7000), ("203.0.113.10", 2000, OUT, 7000)),
        ("quota", 17, ("10.0.0.5", 5300, OUT, 7000), ("203.0.113.11", 5300, OUT, 7000)),
        ("six", 17, ("fd00::5", 5300, out6, 7000), ("2001:db8::10", 5300, out6, 7000)),
        ("web", 17, (OUT, 7000, "203.0.113.1", 8080), (OUT, 7000, "10.0.0.6", 81)),
        ("tunnel", 47, ("10.0.0.5", 0, "203.0.113.101", 0), ("203.0.113.12", 0, "203.0.113.101", 0)),
    ]
    for rule, proto, came, left in sessions:
        begin, end = line_of(4, rule, came, left), line_of(5, rule, came, left)
        assert begin["protocolIdentifier"] == end["protocolIdentifier"] == proto
        assert begin["observationTimeMilliseconds"] < end["observationTimeMilliseconds"]
    assert line_of(12, "one", ("10.0.0.6", 3000, OUT, 7001))["protocolIdentifier"] == 17
    assert line_of(13, "quota", ("10.0.0.5", 5400, OUT, 7000))["protocolIdentifier"] == 17
    assert line_of(3, "tunnel", ("10.0.0.6", 0, "203.0.113.101", 0))["protocolIdentifier"] == 47
    assert len(events) == 2 * len(sessions) + 3
    logger.close()


def test_a_log_that_nobody_takes_is_shown(world, tmp_path):
    """Without a logger `status` says so before the first line is lost; what the file has is not lost, and a logger that comes is found."""
    path, file = tmp_path / "log", tmp_path / "nat.json"
    world.sw = start_with_own_dev(world, network(world), config(f"nat-log: {{syslog: true, file: {file}}}"), path)
    world.sw.attached("p1", "p2", "wan")

    def shown():
        return world.sw.json("nat show")["log"]

    errors = world.sw.json("status")["errors"]
    assert len(errors) == 1 and "/dev/log: No such file or directory" in errors[0], errors
    with world.h1.socket(kind=socket.SOCK_DGRAM) as s:
        s.bind(("10.0.0.5", 6000))
        s.sendto(b"x", (OUT, 7000))
    netlab.wait_for("the line is in the file", lambda: shown()["written"] > 0)
    log = shown()
    assert log["lost"] == log["file_lost"] == 0 and log["syslog_lost"] == log["written"] and len(log["errors"]) == 1, log
    text = world.sw.cli("nat show").stdout
    assert f"log: {file} and syslog" in text and "/dev/log: No such file or directory" in text, text
    logger = Logger(str(path))
    netlab.wait_for("the logger is found", lambda: world.sw.json("status")["errors"] == [] == shown()["errors"])
    logger.close()


@pytest.mark.parametrize("end", ['{"natEv', "{}\n"], ids=["cut", "whole"])
def test_what_follows_a_line_that_was_cut_off_has_its_own(world, tmp_path, end):
    """A file as a sluiced leaves it that is killed while it writes, and one that is whole."""
    log = tmp_path / "nat.json"
    log.write_text("{}\n" + end)
    world.sw = world.start_switch(network(world), config(f"nat-log: {{file: {log}}}"))
    world.sw.attached("p1", "p2", "wan")
    many_sessions(world, 2)
    netlab.wait_for("both are told", lambda: log.read_text().count('"natEvent":4') == 2)
    lines = log.read_text().splitlines()
    assert lines[:2] == ["{}", end.strip()] and len(lines) == 4, lines
    assert all(json.loads(line)["natEvent"] == 4 for line in lines[2:])


def test_a_disk_that_was_full_cuts_no_other_line_than_its_last(world, tmp_path):
    log, ballast = tmp_path / "disk" / "nat.json", tmp_path / "disk" / "ballast"
    log.parent.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "t", log.parent], check=True)
    try:
        ballast.write_bytes(bytes(56 << 10))
        world.sw = world.start_switch(network(world), config(f"nat-log: {{file: {log}}}"))
        world.sw.attached("p1", "p2", "wan")
        many_sessions(world, 40)
        netlab.wait_for("it is full", lambda: world.sw.json("nat show")["log"]["lost"] > 0)
        assert not log.read_text().endswith("\n"), "no line was cut off"
        before = log.read_text()
        ballast.unlink()
        many_sessions(world, 60)
        netlab.wait_for("lines are written again", lambda: log.read_text()[len(before) :].endswith("\n"))
        added = log.read_text()[len(before) :]
        assert added.startswith("\n"), added
        assert all("observationTimeMilliseconds" in json.loads(line) for line in added.splitlines()[1:])
    finally:
        subprocess.run(["umount", "-l", log.parent], check=True)


def test_a_log_on_a_full_disk_is_shown(world):
    """Lines that the buffer took and the disk did not are lost, not written."""
    world.sw = world.start_switch(network(world), config("nat-log: {file: /dev/full}"))
    world.sw.attached("p1", "p2", "wan")
    with world.h1.socket(kind=socket.SOCK_DGRAM) as s:
        s.sendto(b"x", (OUT, 7000))
    netlab.wait_for("it is lost", lambda: world.sw.json("nat show")["log"]["lost"] > 0)
    log = world.sw.json("nat show")["log"]
    assert log["written"] == 0 and log["file_lost"] == log["lost"], log
    assert any("/dev/full: No space left on device" in e for e in world.sw.json("status")["errors"])
