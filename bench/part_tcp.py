"""part_tcp.py: what containers feel: TCP throughput, latency of requests, connections a second; from container to container of one
VLAN, and from a container to a host outside, by sluice (tc, as such ports have it), by the Linux bridge and by ip_forward.

        a [eth0] ---- [pa] dut [pb] ---- [eth0] b          outside: [po] ---- [eth0] o (routed)

Offloads are as the kernel sets them up: on. Measured twice. By bench/tcp/tcp_line.c, in which one thread is client and server: CPU
time on one CPU, the packets' whole way included, which no scheduler and no neighbour on the machine has a hand in. And on the wall,
as two programs feel it, client and server on two CPUs: left to the scheduler they meet on one in some runs, and that decides more
than the switch does. There ratios within one round count, and who comes first changes from round to round.
"""
import os
import re
import subprocess
import time

import kit
import session
from gen import IP, TCP, Ether
from netlab import Lab, wait_for
from part_forward import linux_bridge

ROUNDS, SECONDS = 4, 1
CLIENT, SERVER = os.cpu_count() - 1, 0  # CPUs
ONE_CPU = {"stream": (1000, "64 KiB of a stream"), "ask": (3000, "request and response"), "connect": (1000, "connection")}
ONE_CPU_PORT = 11113
GW, A, B, O = "10.0.0.1", "10.0.0.2", "10.0.0.3", "192.0.2.2"


class Net:
    """Two containers and a host outside; `make` joins them."""

    name = "sluice"

    def __init__(self, lab, prefix):
        self.join(lab, prefix)
        self.serve()

    def join(self, lab, prefix):
        self.lab = lab
        self.dut = lab.ns(prefix + "dut")
        self.a = lab.host(prefix + "a", self.dut, "pa", addrs=(A + "/24",), gw=(GW,))
        self.b = lab.host(prefix + "b", self.dut, "pb", addrs=(B + "/24",), gw=(GW,))
        self.o = lab.host(prefix + "o", self.dut, "po", addrs=(O + "/30",), gw=("192.0.2.1",))
        self.make()

    def serve(self):
        for n in (self.b, self.o):
            n.iperf3_server()
            n.spawn(["taskset", "-c", str(SERVER), "sockperf", "server", "--tcp", "-i", "0.0.0.0", "-p", "11111"])
            n.spawn(["taskset", "-c", str(SERVER), "/usr/bin/python3", "-c", ACCEPT])
        for target in (B, O):
            wait_for(f"{self.name}: {target} answers", lambda t=target: self.a.ping(t, count=1)[1])
            wait_for(f"{self.name}: servers at {target}", lambda t=target: connects(self.a, t, 0.05))

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


# Takes connections and closes them.
ACCEPT = """
import socket
s = socket.create_server(("0.0.0.0", 11112), backlog=4096)
while True:
    c, _ = s.accept()
    c.close()
"""

# Opens connections one after the other for so long; each is there when the other side's end of file has come.
CONNECT = """
import socket, sys, time
end, n = time.monotonic() + float(sys.argv[2]), 0
while time.monotonic() < end:
    with socket.create_connection((sys.argv[1], 11112), timeout=10) as s:
        n += not s.recv(1)
print(n)
"""


def connects(ns, target, seconds):
    done = ns.run(["taskset", "-c", str(CLIENT), "/usr/bin/python3", "-c", CONNECT, target, str(seconds)], check=False)
    return int(done.stdout) if done.returncode == 0 and done.stdout.strip().isdigit() else 0


def latency(ns, target):
    """Round trip in µs: {"p50": ..., "p99": ..., "p99.9": ...}. sockperf gives half of a round trip."""
    out = ns.run(f"taskset -c {CLIENT} sockperf ping-pong --tcp -i {target} -p 11111 -t {SECONDS:.0f} -m 64").stdout
    found = {p: re.search(rf"percentile {n} *= *([0-9.]+)", out) for p, n in (("p50", "50.000"), ("p99", "99.000"), ("p99.9", "99.900"))}
    kit.need(all(found.values()), f"sockperf to {target}: {out[-500:]}")
    return {p: 2 * float(m[1]) for p, m in found.items()}


def one_cpu(report, net, where, target, far):
    """ns of CPU time from end to end."""
    for what, (count, words) in ONE_CPU.items():
        argv = ["taskset", "-c", str(CLIENT), f"{kit.OUT}/tcp_line", net.a.path, far.path, target, str(ONE_CPU_PORT), what, str(count), "3"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        kit.need(done.returncode == 0, f"{net.name}, {what} to {target}: {done.stderr}")
        for line in done.stdout.splitlines():
            report.add(f"{where}, one CPU: {words}", net.name, float(line.split()[0]) / 1000, "µs of CPU")


def once(report, net, where, target):
    got = net.a.iperf3(target, SECONDS, extra=f"-A {CLIENT},{SERVER}")
    sent, received = got["end"]["sum_sent"]["bytes"], got["end"]["sum_received"]["bytes"]
    kit.need(received > 0.9 * sent, f"{net.name}: {received} of {sent} bytes came to {target}")
    report.add(f"{where}: throughput", net.name, got["end"]["sum_received"]["bits_per_second"] / 1e9, "Gbit/s")
    for p, us in latency(net.a, target).items():
        report.add(f"{where}: request and response, {p}", net.name, us, "µs")
    n = connects(net.a, target, SECONDS)
    kit.need(n, f"{net.name}: no connection to {target}")
    report.add(f"{where}: connections", net.name, n / SECONDS, "/s")


def look(report, net, where, target, far):
    """A segment as it comes to the far side: switched as it was sent, or routed. Its checksum is left to whom it is for."""

    def is_ours(frame):
        p = Ether(bytes(frame))
        return TCP in p and p[IP].src == A and p[TCP].dport == 11112

    outside, sniffer = far is net.o, far.sniff("eth0")
    kit.need(connects(net.a, target, 0.05), f"{net.name}: no connection to {target}")
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


def run(report):
    lab = Lab(session.name("tcp"))
    try:
        nets = [Net(lab, "s-"), Kernel(lab, "k-")]
        kit.say("what came out:")
        for net in nets:
            look(report, net, "container to container", B, net.b)
            look(report, net, "container to outside", O, net.o)
        for i in range(ROUNDS):
            report.step(f"round {i + 1} of {ROUNDS}")
            for where, target, far in (("container to container", B, "b"), ("container to outside", O, "o")):
                for net in nets[:: -1 if i % 2 else 1]:
                    one_cpu(report, net, where, target, getattr(net, far))
                    once(report, net, where, target)
                    time.sleep(0.1)
        counted(nets[0])
    finally:
        lab.close()
    rows = []
    for series in dict.fromkeys(s for s, _ in report.samples):
        unit, ratio = report.units[(series, Net.name)], kit.ratio(report.samples[(series, Net.name)], report.samples[(series, Kernel.name)])
        rows.append((series, unit, report.cell(series, Net.name), report.cell(series, Kernel.name), f"{ratio:.2f}"))
    kit.table("TCP", ("what", "unit", Net.name, Kernel.name, "ratio"), rows)
