"""Floods, scans and full tables against 10000 connections that go on: none of them is lost, none changes its address or port, and
the tables come to rest again. Packets go through the pinned XDP program by the generator of bench/ (see bench/bpf/gen.h), so that two
million of them take seconds.
"""
import array
import json
import os
import random
import signal
import sys
import time

import pytest

pytestmark = pytest.mark.alone

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path[:0] = [os.path.join(ROOT, "bench"), os.path.join(ROOT, "tests", "prog")]
import bpf  # noqa: E402  (of tests/prog)
from gen import IP, REAL, TCP, UDP, Bench, Ether, template  # noqa: E402
from netlab import wait_for  # noqa: E402
from watch import Watch  # noqa: E402

KNOWN = 10_000  # established connections
FLOOD, CHUNK = 1 << 21, 1 << 17
TRANSITORY = 5
POOL, REMOTE, SECOND = "198.18.0.1", "172.16.0.1", "172.16.0.2"
GW_LAN, GW_WAN, HOST, FAR = ("02:00:00:00:10:01", "02:00:00:00:ee:01", "02:00:00:00:10:99", "02:00:00:00:ee:02")
CONFIG = """
settings: {{{log}hash-seed: 7, flow-timeouts: {{tcp-transitory: {transitory}s, udp: 600s}}}}
tables: {{flows: {flows}, flows6: {flows6}, half-open: {half}, fdb: 64, neighbors: 64, routes4: 64, routes6: 64}}
ports:
  lan: {{mode: access, vlan: 10, xdp: native}}
  wan: {{mode: routed, xdp: native}}
interfaces:
  vlan10: {{vlan: 10, mac: "02:00:00:00:10:01", addresses: [10.0.0.1/16]}}
  wan: {{port: wan, addresses: [192.0.2.1/30]}}
routes:
  - {{to: 172.16.0.0/12, via: 192.0.2.2}}
fdb:
  - {{mac: "02:00:00:00:10:99", vlan: 10, port: lan}}
neighbors:
  - {{address: 10.0.4.0, mac: "02:00:00:00:10:99", interface: vlan10}}
  - {{address: 10.0.5.0, mac: "02:00:00:00:10:99", interface: vlan10}}
  - {{address: 192.0.2.2, mac: "02:00:00:00:ee:02", interface: wan}}
nat:
  - {{name: out, type: snat, source: 10.0.0.0/16, destination: 172.16.0.0/12, out: wan, to: {pool}}}
"""


class Flooded:
    """A switch with two ports, and the packets that come in by them."""

    def __init__(self, world, flows=1 << 17, half=1 << 16, pool=POOL, known=KNOWN, transitory=TRANSITORY, flows6=64, log=None):
        ns, far = world.ns("sw"), world.ns("far")
        for port in ("lan", "wan"):
            world.veth(ns, port, far, "p-" + port)
            far.offload("p-" + port, gro=True, tx=False)
        ns.run(f"ip link set wan address {GW_WAN}")
        self.ns, self.known, self.outside = ns, known, None
        log = f"nat-log: {{file: {log}}}, " if log else ""
        config = CONFIG.format(flows=flows, flows6=flows6, half=half, pool=pool, transitory=transitory, log=log)
        self.switch = world.start_switch(ns, config)
        self.switch.attached("lan", "wan")
        self.ifindex = {p: ns.link(p)["ifindex"] for p in ("lan", "wan")}
        self.pins = f"/sys/fs/bpf/sluice/{self.switch.instance}"
        self.bench = Bench("xdp", f"flood-{os.getpid()}")
        self.bench.target(REAL, bpf.Prog(f"{self.pins}/progs/xdp"))
        self.rng = random.Random(1)

    def close(self):
        self.bench.close()

    # ---- packets

    def run(self, port, frame, n, order=None, **vary):
        """n packets, the i-th of them varied by the order's i-th value (or by i); CPU ns a packet."""
        self.bench.set(template(frame, **vary))
        size = 1
        while size < n:
            size *= 2
        self.bench.order(order or array.array("Q", range(size)))
        with self.ns.entered():
            return self.bench.run(REAL, self.ifindex[port], n)

    def one(self, port, frame):
        """What one packet leaves as; None: it does not leave."""
        self.bench.set(template(frame))
        self.bench.order(array.array("Q", [0]))
        with self.ns.entered():
            out = self.bench.once(REAL, self.ifindex[port])
        return Ether(out.data) if out.retval == bpf.XDP_REDIRECT else None

    def out(self, flags, src="10.0.4.0", dst=REMOTE, **fields):
        """From inside."""
        return Ether(dst=GW_LAN, src=HOST) / IP(src=src, dst=dst) / TCP(**{"sport": 1024, "dport": 443, "flags": flags, **fields})

    def back(self, flags, src=REMOTE, dst=None, **fields):
        return Ether(dst=GW_WAN, src=FAR) / IP(src=src, dst=dst or self.outside) / TCP(**{"sport": 443, "dport": 1024, "flags": flags, **fields})

    def connections(self, port, frame, n=None):
        """The same packet of each of the known connections: they have a source port each, which they have outside as well."""
        self.run(port, frame, n or self.known, **{"sport" if port == "lan" else "dport": (0, 0x3FFF)})

    def establish(self):
        self.outside = self.one("lan", self.out("S"))[IP].src
        self.connections("lan", self.out("S"))
        self.connections("wan", self.back("SA"))
        self.connections("lan", self.out("A"))
        assert self.stat("flow_new") == self.known

    def go_on(self):
        """A packet each way on every known connection, all of which must be known, still and as they were."""
        hit, new, filtered = self.stat("flow_hit"), self.stat("flow_new"), self.drops("nat_filtered")
        self.connections("lan", self.out("A"))
        self.connections("wan", self.back("A"))
        assert self.stat("flow_hit") - hit == 2 * self.known, "all of them by their entries"
        assert self.stat("flow_new") == new and self.drops("nat_filtered") == filtered
        for port in self.rng.sample(range(1024, 1024 + self.known), 8):
            gone = self.one("lan", self.out("A", sport=port))
            assert (gone[IP].src, gone[TCP].sport) == (self.outside, port)

    def connects(self, src, sport=40000, tries=1):
        """Somebody else opens a connection, as a TCP that sends its SYN again; its outside port, None: it cannot."""
        for _ in range(tries):
            gone = self.one("lan", self.out("S", src=src, sport=sport, dst=SECOND))
            if not gone:
                continue
            port = gone[TCP].sport
            came = self.one("wan", self.back("SA", src=SECOND, dst=gone[IP].src, dport=port))
            if came and (came[IP].dst, came[TCP].dport) == (src, sport):
                assert self.one("lan", self.out("A", src=src, sport=sport, dst=SECOND))[TCP].sport == port
                return port
        return None

    def flood(self, total=FLOOD, between=lambda n: None):
        """SYNs, each from a random address and port to another; ns each."""
        spent = 0.0
        for n in range(0, total, CHUNK):
            order = array.array("Q", self.rng.randbytes(8 * CHUNK))
            spent += self.run("lan", self.out("S", src="10.0.128.0"), min(CHUNK, total), order, saddr=(0, 0x7FFF), sport=(15, 0x7FFF),
                              daddr=(30, 0xFFFFF), dport=(50, 0xFFF))  # fmt: skip
            between(n)
        return spent / (total / CHUNK)

    # ---- what the switch says

    def stat(self, name):
        return self.switch.json("counters show")["stats"][name]

    def drops(self, reason):
        return sum(p["drops"].get(reason, 0) for p in self.switch.json("counters show")["ports"] if p.get("drops"))

    def live(self):
        """Pairs, counted in the table itself."""
        words = bpf.Map(f"{self.pins}/maps/flow_words4")
        with bpf.mmap.mmap(words.fd, words.max_entries * 64) as memory:
            every = array.array("I", memory[:])
        words.close()
        return sum(w & 3 == 2 for i, w in enumerate(every) if i % 16 != 15) // 2

    def ports_used(self):
        return sum(p["ports_used"] for p in self.switch.json("nat show")["pools"])

    def drains(self, pairs, ports):
        """What the flood left ends within its timeout and a pass; its ports come back with a sweep, which takes a fiftieth of a CPU."""
        began = time.monotonic()
        wait_for("the flood's pairs are gone", lambda: self.live() <= pairs, TRANSITORY + 10)
        gone = time.monotonic()
        wait_for("the flood's ports are free", lambda: self.ports_used() <= ports, 60)
        print(f"pairs gone after {gone - began:.1f} s, ports {time.monotonic() - gone:.1f} s later")


@pytest.fixture
def flooded(world):
    made = []

    def make(**options):
        made.append(Flooded(world, **options))
        return made[-1]

    yield make
    for f in made:
        f.close()


@pytest.mark.parametrize("pool", [POOL, f"{POOL}-198.18.0.64"], ids=["one address", "64 addresses"])
def test_syn_flood(flooded, pool):
    """Two million SYNs from random addresses and ports; everybody else's connections go on, and new ones are made."""
    f = flooded(pool=pool)
    f.establish()
    most = opened = hosts = 0

    def between(n):
        nonlocal most, opened, hosts
        f.go_on()
        hosts += 1
        opened += f.connects("10.0.5.0", 20000 + hosts, tries=3) is not None
        most = max(most, f.live())

    each = f.flood(FLOOD if pool == POOL else FLOOD // 4, between)
    gave_way, refused = f.stat("flow_gave_way"), f.stat("flow_full")
    print(f"{each:.0f} ns a SYN, at most {most} pairs, {gave_way} gave way, {refused} refused, {opened} of {hosts} opened")
    assert opened == hosts
    assert most <= KNOWN + hosts + (1 << 16), "unanswered pairs take no more than their share"
    assert gave_way > FLOOD / 8
    f.go_on()
    if pool == POOL:
        f.drains(KNOWN + hosts, KNOWN + hosts)
        f.go_on()


def test_one_way_udp_keeps_its_port(flooded):
    """Nobody answers syslog or sFlow, and a flood needs their places. Those in use stay as they are, by the same entries; who sent one
    packet gives way."""
    f = flooded(half=1 << 14)
    frame = Ether(dst=GW_LAN, src=HOST) / IP(src="10.0.5.0", dst=SECOND) / UDP(sport=4096, dport=514)
    once = Ether(dst=GW_LAN, src=HOST) / IP(src="10.0.5.0", dst=SECOND) / UDP(sport=8192, dport=514)
    senders = 512

    def send():
        before = f.stat("flow_new")
        f.run("lan", frame, senders, sport=(0, senders - 1))
        return f.stat("flow_new") - before

    def known(frame):
        sport = frame[UDP].sport
        flows = f.switch.json(f"flow list udp and sport {sport}-{sport + senders - 1}")
        return {x["forward"]["sport"]: x["forward"].get("to-sport", 0) for x in flows}

    assert send() == senders
    f.run("lan", once, senders, sport=(0, senders - 1))
    time.sleep(2.1)
    assert send() == 0
    before = known(frame)
    assert len(before) == senders and len(known(once)) == senders
    remade = 0

    def between(n):
        nonlocal remade
        remade += send()

    f.flood(1 << 19, between)
    gave_way = f.stat("flow_gave_way")
    print(f"{remade} of {senders} flows in use made anew, {len(known(once))} of the others left, {gave_way} gave way")
    assert gave_way > 1 << 18 and len(known(once)) < senders // 8
    assert remade == 0 and known(frame) == before


def test_watchers_hear_of_who_gave_way(flooded):
    """By their number, all of them, whatever the watcher has asked for."""
    f = flooded(half=1 << 10)
    with Watch(f.switch, "icmp") as watch:
        for _ in range(2):
            f.flood(CHUNK)
            wait_for("all that gave way are told", lambda: sum(e["flows"] for e in watch.events) == f.stat("flow_gave_way"), 20)
    assert f.stat("flow_gave_way") > CHUNK and {e["event"] for e in watch.events} == {"gave-way"}


def ends_of(events, key):
    """Those that have begun and not ended, in order; how many ended, and how many of those have no beginning. Nothing ends twice."""
    open_now, ended, orphans = set(), set(), 0
    for begins, session in (key(e) for e in events):
        if begins:
            assert session not in open_now, "one whose former end is missing"
            open_now.add(session)
        else:
            assert session in open_now or session not in ended, "it ended twice"
            orphans += session not in open_now
            open_now.discard(session)
            ended.add(session)
    return open_now, len(ended), orphans


def test_the_watcher_who_saw_one_begin_sees_it_give_way(flooded):
    """One by one, the others by their number; the sum is what gave way."""
    f = flooded(half=1 << 8, transitory=240)  # none ends by its time
    with Watch(f.switch, "tcp") as watch:

        def kinds(*wanted):
            return sum((e["event"], e.get("reason")) in wanted for e in list(watch.events))

        f.run("lan", f.out("S"), 200, sport=(0, 0xFF))
        wait_for("all are new", lambda: kinds(("new", None)) == 200, 10)
        f.flood(CHUNK)

        def all_told():
            gave_way = sum(e["flows"] for e in list(watch.events) if e["event"] == "gave-way") + kinds(("end", "gave-way"))
            return gave_way == f.stat("flow_gave_way")

        wait_for("all that gave way are told", all_told, 20)
    flows = [e for e in watch.events if e["event"] in ("new", "end")]
    waiting, ended, orphans = ends_of(flows, lambda e: (e["event"] == "new", tuple(e["forward"][k] for k in ("src", "sport", "dst", "dport"))))
    assert not orphans and not kinds(("missed", None)) and ended >= 200 and len(waiting) <= 1 << 8
    assert all(e["reason"] == "gave-way" and e["forward"]["packets"] == 1 and e["in"] == "vlan10" for e in flows if e["event"] == "end")


def test_rfc8158_no_beginning_in_the_log_is_without_its_end(flooded, tmp_path):
    """More sessions that stand in the log give way at once than the ring has room for: each has its end there all the same, and what
    began and is not there is counted."""
    log = tmp_path / "nat.json"
    f = flooded(half=1 << 14, transitory=2, log=log, pool="198.18.0.0/24")
    logged = ("sourceIPv4Address", "sourceTransportPort", "destinationIPv4Address", "destinationTransportPort")

    def written(kind):
        return log.read_bytes().count(b'"natEvent":%d' % kind)

    for n in range(3):
        f.run("lan", f.out("S", src=f"10.0.5.{n}"), 4000, sport=(0, 0xFFF))
        wait_for("all are written", lambda: written(4) == 4000 * (n + 1), 10)
    f.flood(CHUNK // 4)
    wait_for("none is left", lambda: f.live() == 0, 10)
    wait_for("all have ended", lambda: written(5) >= written(4), 10)
    events = [json.loads(line) for line in log.read_text().split("\n")[:-1]]
    sessions = [e for e in events if "natEvent" in e]
    waiting, ended, orphans = ends_of(sessions, lambda e: (e["natEvent"] == 4, tuple(e[k] for k in logged)))
    worst, lost = f.switch.json("status")["loop"], f.stat("nat_events_lost")
    print(f"{written(4)} sessions written, {lost} lost, {orphans} ends of those; {worst}")
    assert not waiting and ended - orphans == written(4) > 12000 and lost > CHUNK // 16
    assert written(4) + lost == f.stat("flow_new") and 0 < sum(e.get("eventsLost", 0) for e in events) <= lost


def test_rfc8158_a_killed_sluiced_takes_no_end_along(flooded, tmp_path):
    """Sessions that stand in the log and give way while no sluiced runs and the ring is full; and others that end while it is killed,
    again and again: the next one writes their ends."""
    log = tmp_path / "nat.json"
    f = flooded(half=1 << 14, transitory=2, pool="198.18.0.0/24", log=log)

    def lines():
        """Whole ones, and at most one that was cut off for each time that sluiced is killed."""
        cut = 0
        for line in log.read_text().split("\n")[:-1]:
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                assert line.count("observationTime") <= 1, f"two lines in one: {line}"
                cut += 1
        assert cut <= 3

    def sessions(kind):
        logged = ("sourceIPv4Address", "sourceTransportPort", "destinationIPv4Address", "destinationTransportPort", "postNAPTSourceTransportPort")
        return {tuple(e[k] for k in logged) for e in lines() if e.get("natEvent") == kind}

    def killed():
        f.switch.stop(signal.SIGKILL)

    def written(kind):
        return log.read_bytes().count(b'"natEvent":%d' % kind)

    for n in range(3):
        f.run("lan", f.out("S", src=f"10.0.5.{n}"), 4000, sport=(0, 0xFFF))
        wait_for("all are written", lambda: written(4) == 4000 * (n + 1), 10)
    killed()
    f.flood(CHUNK // 4)
    lost = f.switch.start().json("counters show")["stats"]["nat_events_lost"]
    ended = written(5)
    while written(5) < ended + 3000:
        time.sleep(0.002)
    for _ in range(2):
        killed()
        f.switch.start()
        time.sleep(random.random() / 20)
    wait_for("none is left", lambda: f.live() == 0, 10)
    wait_for("as many have ended", lambda: written(5) >= written(4), 10)
    wait_for("all have ended", lambda: not (sessions(4) - sessions(5)), 10, 0.3)
    print(f"{len(sessions(4))} sessions, {written(5)} ends, {lost} events lost while nobody read them")
    assert lost > CHUNK // 16


def test_a_thousand_addresses_are_swept_in_slices(flooded):
    """What the loop says of itself while it goes over the ports of 1024 addresses."""
    f = flooded(pool="198.18.0.0/22")
    f.run("lan", f.out("S", src="10.0.128.0"), 1 << 16, saddr=(0, 0x7FFF), sport=(15, 1))
    wait_for("a sweep has come to its end", lambda: f.switch.json("flow tables")["mappings"]["mappings"] > 60000, 10)
    loop = f.switch.json("status")["loop"]
    print(loop)
    assert loop["cpu"]["max_ms"] < 5.5, loop  # a slice is two milliseconds
    for _ in range(5):
        f.switch.json("nat show")
    loop = f.switch.json("status")["loop"]
    assert loop["cpu"]["over_10ms"] == 0, loop


def test_port_scan(flooded):
    """A host inside scans 64000 ports of another, from ports of its own, and is told by a RST (where its port is its own outside as well). It uses
    up the ports of the pool's one address, and everybody else connects all the same."""
    f = flooded(transitory=240)  # on a busy machine the scan takes longer than a short one
    f.establish()
    answered = 0
    for port in range(1, 64001, 4000):
        scan = array.array("Q", [*range(port, port + 4000)] + [0] * 96)
        both = {"sport": (0, 0xFFFF), "dport": (0, 0xFFFF)}
        f.run("lan", f.out("S", src="10.0.5.0", sport=1024, dst=SECOND), 4000, scan, **both)
        before = f.stat("flow_stale")
        f.run("wan", f.back("RA", src=SECOND, dport=1024), 4000, scan, **both)
        answered += f.stat("flow_stale") - before
        f.go_on()
        assert f.connects("10.0.4.0", 20000 + port // 4, tries=3), f"after {port} ports"
    print(f"{answered} answers passed, {f.stat('flow_gave_way')} gave way")
    assert answered > 10000
    assert f.stat("flow_gave_way") > 4000


def test_full_table(flooded):
    """A table full of established connections refuses the newcomer, counted, and loses none of them; one that is full of what nobody
    has answered makes room."""
    # Each newcomer takes a mapping before his flow is refused, and there is room for those of IPv6's flows as well: so it is the flow
    # table that is full, and says so.
    f = flooded(flows=2048, flows6=8192, half=1024, known=1024, transitory=240)
    f.establish()
    full = f.drops("flow_full")
    f.flood(CHUNK, lambda _: f.go_on())
    most = f.live()
    print(f"{most} pairs under a flood, {f.drops('flow_full') - full} refused, {f.stat('flow_gave_way')} gave way")
    assert f.known + 256 < most < 2560
    time.sleep(0.2)
    assert f.connects("10.0.5.0", 30001, tries=3)
    f.go_on()
    for _ in range(20):  # as TCPs that send their SYNs again: what nobody has answered gives way to them
        f.connections("lan", f.out("S"), 4096)
        f.connections("wan", f.back("SA"), 4096)
        f.connections("lan", f.out("A"), 4096)
        f.connections("wan", f.back("A"), 4096)
        time.sleep(0.15)
    hit = f.stat("flow_hit")
    f.connections("wan", f.back("A"), 4096)
    hit, full, gave_way = f.stat("flow_hit") - hit, f.drops("flow_full"), f.stat("flow_gave_way")
    mappings = f.drops("nat_full")
    f.run("lan", f.out("S", src="10.0.5.0", dst=SECOND), 4096, sport=(0, 0xFFF))
    full = f.drops("flow_full") - full
    print(f"{hit} established, then {full} of 4096 refused, {f.stat('flow_gave_way') - gave_way} gave way")
    assert hit > 2000 and full > 4000 and f.drops("nat_full") == mappings
    f.go_on()
    # 512 of them are closed by both sides: before their time is over they give way, too.
    order = array.array("Q", range(512, 1024))
    for port, frame in (("lan", f.out("FA")), ("wan", f.back("FA"))):
        f.run(port, frame, 512, order, **{"sport" if port == "lan" else "dport": (0, 0x3FFF)})
    f.known = 512
    live = f.live()
    wait_for("closed connections have made room", lambda: f.live() <= live - 500, 30)
    time.sleep(1.5)  # what sluiced ended rests for a second
    assert f.connects("10.0.5.0", 30002, tries=3)
    f.go_on()


def test_blind_resets(flooded):
    """RFC 7857 2.2, RFC 5961 3: RSTs of who does not know where the connection is change nothing; the right one closes it, and it is
    open again when its owner goes on."""
    f = flooded(known=256)
    f.establish()
    f.connections("lan", f.out("A", seq=70_000, ack=500_000))
    f.connections("wan", f.back("A", seq=500_000, ack=70_000))

    def states():
        every = [flow["state"] for flow in f.switch.json("flow list")]
        return {s: every.count(s) for s in set(every)}

    assert states() == {"established": 256}
    seqs = [s for s in (f.rng.getrandbits(32) for _ in range(200)) if not 400_000 < s < 2_000_000]
    for seq in seqs:
        f.connections("wan", f.back("R", seq=seq))
        f.connections("lan", f.out("R", seq=(seq + 70_000 - 500_000) % (1 << 32)))
    assert f.stat("flow_rst_ignored") == 2 * 256 * len(seqs)
    assert states() == {"established": 256}
    f.connections("wan", f.back("R", seq=500_000), 128)
    f.connections("lan", f.out("RA", seq=70_000, ack=500_000), 64)
    assert states() == {"established": 128, "reset": 128}
    time.sleep(2.2)
    f.connections("lan", f.out("A", seq=70_000, ack=500_000), 32)
    f.connections("wan", f.back("A", seq=500_000, ack=70_000), 32)
    assert states() == {"established": 160, "reset": 96}
