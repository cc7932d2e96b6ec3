"""flows_line.py: connections through namespaces, sluice beside nftables masquerade: what a new one costs, a packet of one that is
established, and its end, with 1, 10,000 and a million of them in the table; and the memory of one.

Part of part_flows.py. Topology, generator and accounting are those of part_forward.py: all on one CPU, CPU time, a bare redirect
subtracted. Connections are TCP handshakes with fresh ports; the answers come from the far side, so both know the ports that
they have chosen. Both keep a host's port where it is free, and here it always is.

conntrack's table is one for all namespaces: its limit and its buckets are raised for the while, to what its documentation asks for.
"""
import array
import contextlib
import os
import resource
import shutil
import time

import kit
import part_forward as pf
import session
import turns as by_turns
from gen import IP, TCP, Bench, Ether, flows, template
from netlab import Lab, wait_for

# A run of live frames waits for all other CPUs (26 ms) when it ends: so as many at once as ksoftirqd leaves nothing of.
ROUNDS, STEP, PACKETS, SLICE, TRIES = 5, 8192, 1 << 17, 1 << 15, 3
TURN, PAUSE_S = 512, 0.0005
LEAST = 0.9  # share of frames that must arrive; those that a veth had no room for cost nothing, and the others are asked for
SIZES = (1, 10_000, 1 << 20)
HOST, NEWCOMER = "10.0.0.2", "10.0.0.3"  # who has the connections; who opens new ones
SERVERS, OTHERS = "198.51.100.1", "203.0.113.1"
MASQUERADED = "192.0.2.1"
PORTS = {"sport": (0, 0x3FFF), "daddr": (14, 0x3F)}  # 16,384 ports to 64 servers
CONNTRACK = {"nf_conntrack_max": 1 << 21, "nf_conntrack_buckets": 1 << 20}


class NoJob:
    """For part_forward's devices."""

    name, ways = "SNAT", 1

    def kind(self):
        return self.name


class Switch(pf.Sluice):
    """Tables for the million."""

    def config(self):
        return (
            "tables: {flows: 1310720, half-open: 1310720}\n"
            f"ports: {{d0: {{mode: routed, xdp: {self.xdp}}}, d1: {{mode: routed, xdp: {self.xdp}}}}}\n"
            "interfaces: {d0: {port: d0, addresses: [10.0.0.1/24]}, d1: {port: d1, addresses: [192.0.2.1/30]}}\n"
            f"neighbors: [{{address: 192.0.2.2, mac: '{pf.S1}', interface: d1}}, {{address: {HOST}, mac: '{pf.G0}', interface: d0}}]\n"
            "routes: [{to: 198.51.100.0/24, via: 192.0.2.2}, {to: 203.0.113.0/24, via: 192.0.2.2}]\n"
            "nat: [{name: out, type: snat, out: [d1], to: masquerade}]\n"
        )

    def total(self):
        return self.switch.json("flow count")["flows"]

    def count(self):
        """(connections, those whose handshake is done)"""
        return self.total(), self.switch.json("flow count state established")["flows"]

    def flush(self, what="all"):
        """CPU ns of sluiced and of who asks it."""
        before, asked = kit.cpu_ns(self.switch.process.pid), children_ns()
        self.switch.cli(f"flow flush {what}", timeout=120)
        return kit.cpu_ns(self.switch.process.pid) - before + children_ns() - asked

    def forget_newcomer(self):
        self.flush(f"src {NEWCOMER}")

    def ports_free(self, connections):
        """A port is given out again some seconds after its last connection has ended; until then its host would get another. Mostly
        they have passed meanwhile."""
        left = min(connections, PORTS["sport"][1] + 1)
        wait_for(f"{self.name}: ports of {connections} connections", lambda: self.switch.json("nat show")["mappings"]["total"] <= left, 60)

    def memory(self, grown, n):
        """Held from the start; without the port's mapping, which the connections of one socket share."""
        return self.switch.json("flow tables")["flows"]["bytes_per_pair"]


class SwitchTc(Switch):
    name, xdp = pf.SluiceTc.name, "off"


class Masquerade(pf.Masquerade):
    def make(self):
        super().make()
        self.dut.run(f"ip neigh replace {HOST} lladdr {pf.G0} dev d0 nud permanent")
        self.dut.route("203.0.113.0/24", via="192.0.2.2")
        # Payloads that come again and again are out of the window.
        self.dut.sysctl("net.netfilter.nf_conntrack_tcp_be_liberal", 1)

    def total(self):
        return int(self.dut.run("conntrack -C").stdout.split()[-1])

    def count(self):
        n = self.total()
        listed = self.dut.run("conntrack -L -p tcp --state ESTABLISHED").stdout if n <= SIZES[1] else ""
        return n, listed.count("[ASSURED]") if listed else n

    def flush(self):
        before = children_ns()
        self.dut.run("conntrack -F", timeout=120)
        return children_ns() - before

    def memory(self, grown, n):
        return grown / n

    def forget_newcomer(self):
        self.dut.run(f"conntrack -D -s {NEWCOMER}", timeout=120)

    def ports_free(self, connections):
        """At once."""


DEVICES = (pf.Device, Switch, SwitchTc, Masquerade)


def children_ns():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return int((used.ru_utime + used.ru_stime) * 1e9)


@contextlib.contextmanager
def room_in_conntrack():
    """Whoever ends the benchmark gives the host its settings back."""
    paths = {f"/proc/sys/net/netfilter/{k}": v for k, v in CONNTRACK.items()}
    before = {}
    try:
        for path, value in paths.items():
            with open(path, encoding="ascii") as f:
                before[path] = f.read()
            with open(path, "w", encoding="ascii") as f:
                f.write(str(value))
        yield
    finally:
        for path, value in before.items():
            with open(path, "w", encoding="ascii") as f:
                f.write(value)


# ---- frames: from the hosts inside, and the answers from outside


def outward(flags, host=HOST, to=SERVERS, sport=1024):
    return Ether(src=pf.G0, dst=pf.D0) / IP(src=host, dst=to) / TCP(sport=sport, dport=443, flags=flags, seq=0 if "S" in flags else 1, ack=int("A" in flags))


SYN_ACK = Ether(src=pf.S1, dst=pf.D1) / IP(src=SERVERS, dst=MASQUERADED) / TCP(sport=443, dport=1024, flags="SA", seq=0, ack=1)


class Line(pf.Line):
    """Frames of this part by part_forward's generator."""

    def __init__(self, bench):
        self.bench, self.received, self.turns = bench, bench.map("received"), by_turns.Turns()

    def load(self, frame, vary, order):
        self.bench.set(template(frame, **vary))
        self.bench.order(order)

    def send(self, device, n):
        """(ns a packet in undisturbed turns, packets that arrived)"""
        before, soft, point = self.received.sum(0)[0], pf.softirq_ns(), by_turns.Point("live", ["whole way"])
        with device.gen.entered(), kit.Quiet(pf.CPU):
            for k in slices(n):
                point.rows += self.turns.noted("live", self._slice(device.ifindex, k))
        late = (pf.softirq_ns() - soft) / n
        return self.turns.median(point, "whole way") + late, self.received.sum(0)[0] - before

    def answer(self, device, n):
        with device.sink.entered(), kit.Quiet(pf.CPU):
            for k in slices(n):
                self.bench.live(device.s1, k)
                time.sleep(PAUSE_S)

    def _slice(self, ifindex, n):
        """What ksoftirqd was left with is done before more comes: the veth's queue is short."""
        size = min(TURN, n)  # both are powers of two
        rows = self.bench.live_turns(ifindex, n // size, size)
        time.sleep(PAUSE_S)
        return [[known, 0.0, ns, after] for known, ns, after in rows]


def slices(n):
    return [SLICE] * (n // SLICE) + ([n % SLICE] if n % SLICE else [])


def sums_right(p):
    again = p.copy()
    del again[IP].chksum, again[TCP].chksum
    again = Ether(bytes(again))
    return (again[IP].chksum, again[TCP].chksum) == (p[IP].chksum, p[TCP].chksum)


def prove(report, line, device, what, flags, source):
    """What has arrived since the last look is what masquerading makes of it."""
    frames = line.sample()
    kit.need(frames, f"{device.name}: {what}: no frame was seen")
    for raw in frames if device.name != pf.Device.name else ():
        p = Ether(raw + bytes(2))
        good = (p.src, p.dst, p[IP].ttl, p[IP].src, str(p[TCP].flags)) == (pf.D1, pf.S1, 63, source, flags) and sums_right(p)
        kit.need(good, f"{device.name}: {what}: {p.summary()} {raw.hex()}")
    report.packet(f"{device.name}, {what}", frames[-1] + bytes(2))


def establish(line, device, first, last):
    """Connections number first to last - 1, by a handshake each."""
    # The generator's positions go round a power of two: what is sent once more is no new connection.
    values, n = array.array("Q", range(first, last)), 1
    while n < len(values):
        n *= 2
    values = (values * 2)[:n]
    for frame, vary, way in (
        (outward("S"), PORTS, line.send),
        (SYN_ACK, {"dport": (0, 0x3FFF), "saddr": (14, 0x3F)}, line.answer),
        (outward("A"), PORTS, line.send),
    ):
        line.load(frame, vary, values)
        way(device, len(values))


def all_there(device, n, more=0):
    """Are (nearly) all of n connections there, and no more than that and the new ones?"""
    got, done = device.count()
    return min(got, done) >= 0.98 * n and got <= n + more, f"{device.name}: {got} connections, {done} of them established, of {n}"


def there_are(line, device, first, n):
    """Connections first to n - 1 beside those that are there. On a busy machine frames are lost: then their handshakes come again."""
    for _ in range(TRIES):
        establish(line, device, first, n)
        good, words = all_there(device, n)
        if good:
            return
    kit.need(False, words)


def sent(report, line, devices, n, i, what, flags):
    """Yields (device, ns a packet, the bare redirect's taken off) for the devices by turns; `what` is proved in the first round."""
    bare = None
    for device in devices:
        line.sample()
        ns, arrived = line.send(device, n)
        kit.need(arrived >= LEAST * n, f"{device.name}: {arrived} of {n} packets arrived ({what})")
        if i == 0:
            prove(report, line, device, what, flags, MASQUERADED)
        bare = ns if bare is None else bare
        if device.name != pf.Device.name:
            yield device, (ns - bare) * n / arrived


def newcomers(report, line, devices, size, i):
    """A round of new connections, of ports that nobody had lately."""
    line.load(outward("S", NEWCOMER, OTHERS, 20000 + i * STEP), {"sport": (0, STEP - 1)}, array.array("Q", range(STEP)))
    for device, ns in sent(report, line, devices, STEP, i, f"first packet beside {size:,}", "S"):
        report.add(f"first packet of a connection, beside {size:,}", device.name, ns)
        # Among a million they take few places, and to find them takes long.
        if size < SIZES[-1]:
            device.forget_newcomer()
        elif i == ROUNDS - 1:
            kit.need(*all_there(device, size, ROUNDS * STEP))


def established(report, line, devices, size, i):
    """A round of packets of established connections."""
    line.load(outward("A"), PORTS, flows(size).order)
    for device, ns in sent(report, line, devices, PACKETS, i, f"established, {size:,}", "A"):
        report.add(f"packet of an established connection, of {size:,}", device.name, ns)


def slab_bytes():
    with open("/proc/meminfo", encoding="ascii") as f:
        return 1024 * next(int(line.split()[1]) for line in f if line.startswith("Slab:"))


def fill(report, line, devices, first, size):
    for device in devices:
        if device.name == pf.Device.name:
            continue
        report.step(f"{device.name}: {size:,} connections")
        before = slab_bytes()
        there_are(line, device, first, size)
        if size == SIZES[-1]:
            report.add("memory of a connection", device.name, device.memory(slab_bytes() - before, size - first), "bytes")


def end_all(report, devices, size):
    for device in devices[1:]:
        n = device.total()
        report.add(f"end of a connection, of {size:,}", device.name, device.flush() / n)


def measure(report, line, devices):
    for first, size in zip((0, *SIZES), SIZES):
        fill(report, line, devices, first, size)
        report.step(f"packets of {size:,} connections")
        for i in range(ROUNDS):
            established(report, line, devices, size, i)
        report.step(f"new connections beside {size:,}")
        for device in devices[1:]:
            device.ports_free(size)
        for i in range(ROUNDS):
            newcomers(report, line, devices, size, i)
    report.step(f"{SIZES[-1]:,} connections end")
    end_all(report, devices, SIZES[-1])


def run(report):
    lacking = [p for p in CONNTRACK if not os.path.exists(f"/proc/sys/net/netfilter/{p}")] + [t for t in ("conntrack", "nft") if not shutil.which(t)]
    if lacking:
        pf.not_here(report, Masquerade, f"no {lacking[0]} here; so connections through namespaces are compared with nothing")
        return
    report.facts["devices"] = [d.name for d in DEVICES[1:]]
    lab, devices, bench = Lab(session.name("fl")), [], Bench("xdp", session.name("fl"))
    try:
        with room_in_conntrack():
            for i, kind in enumerate(DEVICES):
                device = kind.__new__(kind)
                devices.append(device)
                device.__init__(lab, f"{i}", NoJob(), bench)
                device.s1 = device.sink.link("s1")["ifindex"]
                device.dut.offload("d1", gro=True)
            wait_for("links are up", lambda: all("state UP" in d.dut.run("ip -o link show d1").stdout for d in devices))
            measure(report, Line(bench), devices)
    finally:
        for device in devices:
            device.close()
        lab.close()
        bench.close()
    show(report)


def show(report):
    names, rows = report.facts["devices"], []
    for series in dict.fromkeys(s for s, p in report.samples if p in names):
        theirs, unit = report.median(series, names[-1]), report.units[(series, names[-1])]
        ratios = [f"{theirs / report.median(series, n):.1f}" for n in names[:-1]]
        rows.append((series, unit, *(report.cell(series, n) for n in names), *ratios))
    kit.table("Connections through namespaces, one CPU", ("what", "unit", *names, "nftables ÷ XDP", "÷ tc"), rows)
