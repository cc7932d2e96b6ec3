"""part_tcp.py: what containers feel: TCP throughput, latency of requests, connections a second; from container to container of one
VLAN, and from a container to a host outside, by sluice (tc, as such ports have it), by the Linux bridge and by ip_forward.

        a [eth0] ---- [pa] dut [pb] ---- [eth0] b          outside: [po] ---- [eth0] o (routed)

Offloads are as the kernel sets them up: on. Measured twice, by bench/tcp/tcp_line.c. On one CPU one thread is client and server: CPU
time, the packets' whole way included, which no scheduler has a hand in; rounds in which a neighbour was on the core are left out
(turns.py). And on the wall, as two programs feel it, client and server on two CPUs: left to the scheduler they meet on one in some
runs, and that decides more than the switch does. They go before whatever is not urgent there, as a quiet machine would let them.
Turns are tens of milliseconds; the ratio is the middle one of those of each turn, and who comes first changes from turn to turn.
"""
import os
import statistics
import subprocess

import goals
import kit
import session
import turns as by_turns
from gen import IP, TCP, Ether
from netlab import Lab, wait_for
from part_forward import linux_bridge

TURNS, ROUNDS = 24, 4
CLIENT, SERVER = kit.CPU, next(c for c in range(os.cpu_count()) if c != kit.CPU)
# What is counted for one, and how many make a round of a few milliseconds on one CPU, of some tens on two.
WORK = {"stream": ("64 KiB of a stream", 300, 1000), "ask": ("request and response", 500, 500), "connect": ("connection", 150, 200)}
ONE_CPU_PORT = 11113
GW, A, B, O = "10.0.0.1", "10.0.0.2", "10.0.0.3", "192.0.2.2"


class Net:
    """Two containers and a host outside; `make` joins them."""

    name = "sluice"

    def __init__(self, lab, prefix):
        self.join(lab, prefix)
        for target in (B, O):
            wait_for(f"{self.name}: {target} answers", lambda t=target: self.a.ping(t, count=1)[1])

    def join(self, lab, prefix):
        self.lab = lab
        self.dut = lab.ns(prefix + "dut")
        self.a = lab.host(prefix + "a", self.dut, "pa", addrs=(A + "/24",), gw=(GW,))
        self.b = lab.host(prefix + "b", self.dut, "pb", addrs=(B + "/24",), gw=(GW,))
        self.o = lab.host(prefix + "o", self.dut, "po", addrs=(O + "/30",), gw=("192.0.2.1",))
        self.make()

    def make(self):
        path = f"/tmp/{self.dut.full}.yaml"
        with open(path, "w", encoding="ascii") as f:
            f.write("ports:\n  pa: {mode: access, vlan: 10}\n  pb: {mode: access, vlan: 10}\n  po: {mode: routed}\n"
                    f"interfaces:\n  vlan10: {{vlan: 10, addresses: [{GW}/24]}}\n  po: {{port: po, addresses: [192.0.2.1/30]}}\n")  # fmt: skip
        self.switch = self.lab.switch(self.dut, path)
        self.switch.start()
        self.switch.attached("pa", "pb", "po")


class Kernel(Net):
    """A bridge for the containers, ip_forward to the outside."""

    name = "bridge, ip_forward"

    def make(self):
        linux_bridge(self.dut, "pa", "pb")
        self.dut.addr("br0", GW + "/24")
        self.dut.addr("po", "192.0.2.1/30")
        self.dut.sysctl("net.ipv4.ip_forward", 1)


def line(net, far, target, what, count, rounds, *cpu):
    """What tcp_line prints: a list for each round."""
    argv = ["chrt", "-f", "1", "taskset", "-c", CLIENT, f"{kit.OUT}/tcp_line", net.a.path, far.path, target, ONE_CPU_PORT, what, count, rounds, *cpu]
    done = subprocess.run(list(map(str, argv)), capture_output=True, text=True, timeout=60, check=False)
    kit.need(done.returncode == 0, f"{net.name}, {what} to {target}: {done.stderr}")
    return [list(map(float, row.split())) for row in done.stdout.splitlines()]


def one_cpu(turns, points, net, where, target, far):
    """ns of CPU time from end to end."""
    for what, (words, count, _) in WORK.items():
        rows = [[before, 0.0, cpu, after] for cpu, _, before, after in line(net, far, target, what, count, ROUNDS)]
        point = points.setdefault((f"{where}, one CPU: {words}", net.name), by_turns.Point("one CPU", ["cpu"]))
        point.rows += turns.noted("one CPU", rows)


def two_cpus(report, net, where, target, far):
    for what, (words, _, count) in WORK.items():
        got = line(net, far, target, what, count, ROUNDS, SERVER)
        cpu, wall, _, _, *trips = map(statistics.median, zip(*got))
        report.add(f"{where}: {words}, CPU time", net.name, cpu / 1000, "µs of CPU")
        if what == "stream":
            report.add(f"{where}: throughput", net.name, 65536 * 8 / wall, "Gbit/s")
        elif what == "connect":
            report.add(f"{where}: connections", net.name, 1e9 / wall, "/s")
        for p, ns in zip(("p50", "p99", "p99.9"), trips):
            report.add(f"{where}: {words}, {p}", net.name, ns / 1000, "µs")


def look(report, net, where, target, far):
    """A segment as it comes to the far side: switched as it was sent, or routed. Its checksum is left to whom it is for."""

    def is_ours(frame):
        p = Ether(bytes(frame))
        return TCP in p and p[IP].src == A and p[TCP].dport == ONE_CPU_PORT

    outside, sniffer = far is net.o, far.sniff("eth0")
    line(net, far, target, "connect", 3, 1)
    frames = [bytes(f) for f in sniffer.frames(0.5, until=is_ours) if is_ours(f)]
    sniffer.close()
    kit.need(frames, f"{net.name}, {where}: no segment was seen")
    p = Ether(frames[-1])
    before = net.dut.mac("po") if outside else net.a.mac("eth0")
    kit.need((p.src, p[IP].ttl, p[IP].dst) == (before, 63 if outside else 64, target), f"{net.name}, {where}: {p.src} {p[IP].ttl} {p.summary()}")
    report.packet(f"{net.name}, {where}", frames[-1])


def counted(net):
    """sluice has had the packets: its counters say so, and they add up."""
    ports = {p["name"]: p for p in net.switch.json("counters show")["ports"]}
    kit.need(ports["pa"]["forwarded"] > 10000, f"sluice forwarded only {ports['pa']['forwarded']} packets of pa")
    wait_for("the counters add up", lambda: net.switch.cli("counters show --check", check=False).returncode == 0, 5)


def measure(report, nets):
    turns, points = by_turns.Turns(), {}
    for i in range(TURNS):
        if i % 6 == 0:
            report.step(f"turn {i + 1} of {TURNS}")
        for where, target, far in (("container to container", B, "b"), ("container to outside", O, "o")):
            for kind in (one_cpu, two_cpus):
                for net in nets[:: -1 if i % 2 else 1]:
                    kind(*((turns, points) if kind is one_cpu else (report,)), net, where, target, getattr(net, far))
    for (series, name), point in points.items():
        point.rows = [[before, 0.0, cpu / 1000, after] for before, _, cpu, after in point.rows]
        turns.add(point, {"cpu": (series, name)}, unit="µs of CPU")
    turns.finish(report)


def note_goals(report):
    """Of the bridge's."""
    for what, least in (("throughput", True), ("request and response, p99", False)):
        series = f"container to container: {what}"
        ours, theirs = (report.median(series, n.name) for n in (Net, Kernel))
        ratio = kit.ratio(*(report.samples[(series, n.name)] for n in (Net, Kernel)))
        goals.note(report, f"TCP, {series}", "beside the bridge", ours, theirs, report.units[(series, Net.name)], least=least,
                   ratio=1 / ratio if least else ratio)  # fmt: skip
    series = f"container to container, one CPU: {WORK['stream'][0]}"
    goals.note(report, f"TCP, {series}", "beside the bridge", report.median(series, Net.name), report.median(series, Kernel.name), "µs of CPU")


def run(report):
    lab = Lab(session.name("tcp"))
    try:
        nets = [Net(lab, "s-"), Kernel(lab, "k-")]
        kit.say("what came out:")
        for net in nets:
            look(report, net, "container to container", B, net.b)
            look(report, net, "container to outside", O, net.o)
        measure(report, nets)
        counted(nets[0])
    finally:
        lab.close()
    note_goals(report)
    rows = []
    for series in dict.fromkeys(s for s, _ in report.samples):
        unit, ratio = report.units[(series, Net.name)], kit.ratio(report.samples[(series, Net.name)], report.samples[(series, Kernel.name)])
        rows.append((series, unit, report.cell(series, Net.name), report.cell(series, Kernel.name), f"{ratio:.2f}"))
    kit.table("TCP", ("what", "unit", Net.name, Kernel.name, "ratio"), rows)
