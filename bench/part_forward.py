"""part_forward.py: what a packet costs through namespaces: sluice, the kernel's own forwarding and Open vSwitch, the same job on the
same topology.

        gen [g0] ---- [d0] dut [d1] ---- [s1] sink          ECMP: [d2] ---- [s2] as well

A generator sends live frames (BPF_PROG_RUN, all headers written anew) out of g0; an XDP program counts what arrives at s1 and drops
it, and a tc program what passes XDP by. Everything runs on one CPU: the veths' receive work is done in the generator's own time, so the CPU time it takes, with
ksoftirqd's and that of Open vSwitch's process, is the cost of a packet from end to end. That of a bare XDP redirect in the place of
the device is subtracted. CPU time, not time on the wall: what else the machine does is not counted. Open vSwitch works in threads of its own: with AF_PACKET in
its main thread, whose CPU time is added; with AF_XDP in one that polls, whose time for packets, as it counts it, is added. All devices of a job stand side
by side, and are measured by turns.
"""
import contextlib
import os
import shutil
import struct
import subprocess
import time

import goals
import kit
import session
import turns as by_turns
from gen import IP, UDP, Bench, Ether, flows, template
from netlab import Failure, Lab, wait_for
from ovs import OpenVswitch

ROUNDS, ROUNDS_MOST, ROUNDS_OVS, PACKETS_OVS = 4, 24, 3, 32768
TURNS, TURN = 128, 512  # of a round; packets
G0, D0, S1, S2 = "02:00:00:00:00:0a", "02:00:00:00:00:d0", "02:00:00:00:00:51", "02:00:00:00:00:52"
D1, D2 = "02:00:00:00:00:d1", "02:00:00:00:00:d2"
SOURCE, TARGET = "10.0.0.2", "198.51.100.1"
CPU = kit.CPU


class Job:
    """What is to be done with a packet. `frame` and `vary` for the generator; `check` of what came out."""

    def __init__(self, name, frame, vary, sequence, check, *, ways=1, to_reach=None):
        self.name, self.frame, self.vary, self.sequence, self.check = name, frame, vary, sequence, check
        self.ways, self.to_reach = ways, to_reach

    def kind(self):
        return self.name.split(",")[0]


def l2_check(p):
    return (p.src, p.dst, p[IP].src, p[IP].ttl) == (G0, S1, SOURCE, 64)


def ip_sum_right(p):
    again = Ether(bytes(p))
    del again[IP].chksum, again[UDP].chksum
    again = Ether(bytes(again))
    return (again[IP].chksum, again[UDP].chksum) == (p[IP].chksum, p[UDP].chksum)


def route_check(p):
    return (p.src, p.dst) in ((D1, S1), (D2, S2)) and p[IP].ttl == 63 and p[IP].src == SOURCE and ip_sum_right(p)


def snat_check(p):
    return (p.src, p.dst, p[IP].ttl, p[IP].src) == (D1, S1, 63, "192.0.2.1") and ip_sum_right(p)


def jobs():
    l2 = Ether(src=G0, dst=S1) / IP(src=SOURCE, dst="10.0.0.3") / UDP(sport=1024, dport=53)
    l3 = Ether(src=G0, dst=D0) / IP(src=SOURCE, dst=TARGET) / UDP(sport=1024, dport=53)
    sports = {"sport": (0, 0x3FFF)}
    return [
        Job("switch", l2, {}, flows(1), l2_check),
        Job("route", l3, {}, flows(1), route_check, to_reach=60),
        Job("ECMP, 1,024 flows", l3, sports, flows(1024), route_check, ways=2, to_reach=65),
        Job("SNAT, 1 flow", l3, {}, flows(1), snat_check, to_reach=75),
        Job("SNAT, 16,384 flows", l3, sports, flows(16384), snat_check, to_reach=130),
    ]


# ---- devices: each makes d0, d1 (and d2) forward in its own namespace


class Device:
    """The topology with nothing in it yet."""

    name, tools = "bare redirect", ()
    peer = False  # somebody else's, who may be impossible here

    def __init__(self, lab, prefix, job, bench):
        self.lab, self.job, self.bench = lab, job, bench
        self.gen, self.dut, self.sink = lab.ns(prefix + "-gen"), lab.ns(prefix + "-dut"), lab.ns(prefix + "-sink")
        self.prefix = prefix
        lab.veth(self.gen, "g0", self.dut, "d0")
        self.gen.run(f"ip link set g0 address {G0}")
        self.dut.run(f"ip link set d0 address {D0}")
        for i, (d, s) in enumerate(((D1, S1), (D2, S2))[: job.ways], 1):
            lab.veth(self.dut, f"d{i}", self.sink, f"s{i}")
            self.dut.run(f"ip link set d{i} address {d}")
            self.sink.run(f"ip link set s{i} address {s}")
            self.sink.run(f"ip link set s{i} xdpdrv pinned {bench.pins}/progs/gen_receive")
            self.sink.run(f"tc qdisc add dev s{i} clsact")
            self.sink.run(f"tc filter add dev s{i} ingress bpf direct-action object-pinned {bench.pins}/progs/gen_receive_peer")
            self.dut.addr(f"d{i}", f"192.0.2.{4 * i - 3}/30") if job.kind() != "switch" else None
        # Frames from XDP are taken where the receiving side has GRO (or XDP) switched on, after the link is up.
        self.gen.offload("g0", gro=True)
        self.dut.offload("d0", gro=True)
        self.ifindex = self.gen.link("g0")["ifindex"]
        self.make()

    def make(self):
        with self.dut.entered():
            self.bench.way_out(self.dut.link("d1")["ifindex"])
        self.dut.run(f"ip link set d0 xdpdrv pinned {self.bench.pins}/progs/gen_redirect")

    def cpu_ns(self):
        """CPU time of helpers of this device outside of the generator's own time."""
        return 0

    def awake(self):
        """While it is measured."""
        return contextlib.nullcontext()

    def close(self):
        pass


def linux_bridge(ns, *links):
    ns.run("ip link add br0 type bridge")
    ns.run("ip link set br0 up")
    for link in links:
        ns.run(f"ip link set {link} master br0")


class Bridge(Device):
    name, peer = "Linux bridge", True

    def make(self):
        linux_bridge(self.dut, "d0", "d1")
        self.dut.run(f"bridge fdb replace {S1} dev d1 master static")


class Forward(Device):
    name, peer = "ip_forward", True

    def make(self):
        self.dut.addr("d0", "10.0.0.1/24")
        for key in ("net.ipv4.ip_forward", "net.ipv4.fib_multipath_hash_policy"):
            self.dut.sysctl(key, 1)
        vias = []
        for i, mac in enumerate((S1, S2)[: self.job.ways], 1):
            self.dut.run(f"ip neigh replace 192.0.2.{4 * i - 2} lladdr {mac} dev d{i} nud permanent")
            vias.append(f"192.0.2.{4 * i - 2}")
        self.dut.route("198.51.100.0/24", nexthops=vias)


class Masquerade(Forward):
    name, tools = "nftables masquerade", ("nft",)
    flowtable = ""
    offload = ""

    def make(self):
        super().make()
        self.dut.run(["nft", f"table ip t {{\n{self.flowtable}\nchain f {{ type filter hook forward priority 0; {self.offload} }}\n"
                      "chain p { type nat hook postrouting priority 100; oifname d1 masquerade; }\n}"])  # fmt: skip


class Flowtable(Masquerade):
    name = "nftables masquerade, flowtable"
    flowtable = "flowtable ft { hook ingress priority 0; devices = { d0, d1 }; }"
    offload = "ip protocol udp flow add @ft;"


def kernel_has_flowtable():
    if not shutil.which("nft"):
        return False
    done = subprocess.run(["nft", "--check", "table ip t { flowtable ft { hook ingress priority 0; devices = { lo }; }\n}"],
                          capture_output=True, text=True, check=False)  # fmt: skip
    return done.returncode == 0


class Sluice(Device):
    name, xdp = "sluice, XDP", "native"

    def config(self):
        kind, ways = self.job.kind(), range(1, self.job.ways + 1)
        if kind == "switch":
            text = "".join(f"  {d}: {{mode: access, vlan: 10, xdp: {self.xdp}}}\n" for d in ("d0", "d1"))
            text = f"ports:\n{text}fdb: [{{mac: '{S1}', vlan: 10, port: d1}}]\n"
        else:
            ports = ["d0"] + [f"d{i}" for i in ways]
            text = "ports:\n" + "".join(f"  {d}: {{mode: routed, xdp: {self.xdp}}}\n" for d in ports)
            text += "interfaces:\n  d0: {port: d0, addresses: [10.0.0.1/24]}\n"
            text += "".join(f"  d{i}: {{port: d{i}, addresses: [192.0.2.{4 * i - 3}/30]}}\n" for i in ways)
            text += "neighbors:\n"
            text += "".join(f"  - {{address: 192.0.2.{4 * i - 2}, mac: '{(S1, S2)[i - 1]}', interface: d{i}}}\n" for i in ways)
            text += f"routes: [{{to: 198.51.100.0/24, via: [{', '.join(f'192.0.2.{4 * i - 2}' for i in ways)}]}}]\n"
        if kind == "SNAT":
            text += "nat: [{name: out, type: snat, out: [d1], to: masquerade}]\n"
        return text

    def make(self):
        self.path = f"/tmp/{self.dut.full}.yaml"
        with open(self.path, "w", encoding="ascii") as f:
            f.write(self.config())
        self.switch = self.lab.switch(self.dut, self.path)
        self.switch.start()
        self.switch.attached("d0", "d1")

    def close(self):
        os.unlink(self.path)


class SluiceTc(Sluice):
    name, xdp = "sluice, tc", "off"


class Ovs(Device):
    name, kind, burst, pause = "Open vSwitch, AF_PACKET", "system", 4096, 0.001
    peer, tools = True, ("ovs-vswitchd", "ovsdb-server", "ovsdb-tool", "ovs-vsctl", "ovs-ofctl", "ovs-appctl")

    def make(self):
        self.ovs = OpenVswitch(self.dut, self.kind, CPU)
        self.ovs.ports(*["d0", "d1", "d2"][: self.job.ways + 1])
        kind, out = self.job.kind(), f"dec_ttl,mod_dl_src:{D1},mod_dl_dst:{S1},output:2"
        if kind == "switch":
            self.ovs.flows("actions=NORMAL")
            self.sink.send("s1", bytes(Ether(src=S1, dst="ff:ff:ff:ff:ff:ff", type=0x88B5) / bytes(60)))
        elif kind == "route":
            self.ovs.flows("ip,in_port=1,actions=" + out)
        elif kind == "ECMP":
            self.ovs._tool("ovs-ofctl", "-O", "OpenFlow15", "add-group", "br0",
                           f"group_id=1,type=select,selection_method=dp_hash,bucket=actions={out},"
                           f"bucket=actions=dec_ttl,mod_dl_src:{D2},mod_dl_dst:{S2},output:3")  # fmt: skip
            self.ovs.flows("ip,in_port=1,actions=group:1")
        else:
            self.ovs.flows("ip,in_port=1,actions=ct(commit,zone=1,nat(src=192.0.2.1),table=1)", f"table=1,ip,actions={out}")

    def cpu_ns(self):
        return self.ovs.cpu_ns()

    @contextlib.contextmanager
    def awake(self):
        self.ovs.urgent(True)
        try:
            yield
        finally:
            self.ovs.urgent(False)

    def close(self):
        if hasattr(self, "ovs"):
            self.ovs.close()


class OvsXdp(Ovs):
    name, kind, burst, pause = "Open vSwitch, AF_XDP", "afxdp", 1024, 0.004


DEVICES = {
    "switch": (Device, Sluice, SluiceTc, Bridge, Ovs, OvsXdp),
    "route": (Device, Sluice, SluiceTc, Forward, Ovs, OvsXdp),
    "ECMP": (Device, Sluice, SluiceTc, Forward, Ovs, OvsXdp),
    "SNAT": (Device, Sluice, SluiceTc, Masquerade, Flowtable, Ovs, OvsXdp),
}


# ---- measuring


def ksoftirqd_ns():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm", encoding="ascii", errors="replace") as f:
                if f.read().strip() == f"ksoftirqd/{CPU}":
                    return f"/proc/{pid}/schedstat"
        except OSError:
            continue
    return None


KSOFTIRQD = ksoftirqd_ns()


def softirq_ns():
    if not KSOFTIRQD:
        return 0
    with open(KSOFTIRQD, encoding="ascii") as f:
        return int(f.read().split()[0])


class Line:
    """The generator and receiver of one bench, for whatever device is to be measured."""

    def __init__(self, bench, job):
        self.bench, self.received = bench, bench.map("received")
        bench.set(template(job.frame, **job.vary))
        bench.order(job.sequence.order)

    def _bursts(self, device, n):
        """A device in a process of its own is kept busy, and asked what a packet costs it, not how many it loses."""
        spent = 0
        for _ in range(n // device.burst):
            spent += self.bench.live(device.ifindex, device.burst)
            time.sleep(device.pause)
        return spent

    def turns(self, device):
        """(rounds as turns.Point has them, packets sent, arrived): nothing of a packet is left to do when the next turn begins."""
        with device.gen.entered(), kit.Quiet(CPU):
            before, soft = self.received.sum(0)[0], softirq_ns()
            rows = self.bench.live_turns(device.ifindex, TURNS, TURN)
            time.sleep(0.01)
            late = softirq_ns() - soft
        kit.need(late < 0.1 * sum(row[1] for row in rows) * TURN, f"{device.name}: ksoftirqd did {late} ns of the work")
        return rows, TURNS * TURN + 1, self.received.sum(0)[0] - before

    def apart(self, device):
        """Of a device that works beside: (ns of CPU a packet that arrived, packets sent, arrived)."""
        with device.gen.entered(), kit.Quiet(CPU, urgent=False), device.awake():
            before, cpu, soft = self.received.sum(0)[0], device.cpu_ns(), softirq_ns()
            spent = self._bursts(device, PACKETS_OVS)
            time.sleep(0.01)
            arrived = self.received.sum(0)[0] - before
            spent += softirq_ns() - soft
            device_ns = device.cpu_ns() - cpu
        return (spent / PACKETS_OVS + device_ns / arrived if arrived else None), PACKETS_OVS, arrived

    def sample(self):
        """The last frames that arrived, of those that were kept."""
        table, got = self.bench.map("samples"), []
        for i in range(table.max_entries):
            raw = table.lookup(i)
            (length,) = struct.unpack_from("=I", raw)
            if length:
                got.append(raw[4:100])
            table.update(i, bytes(len(raw)))
        return got


def prove(report, line, device, job):
    """The device does the job: (nearly) all frames arrive, and they are what the job makes of them."""
    line.sample()
    for _ in range(2):
        _, sent, arrived = (line.apart if isinstance(device, Ovs) else line.turns)(device)
    kit.need(arrived > sent * (0.01 if isinstance(device, Ovs) else 0.95), f"{job.name}: {device.name}: {arrived} of {sent} frames arrived")
    frames = line.sample()
    kit.need(frames, f"{job.name}: {device.name}: no frame was seen")
    for raw in frames:
        p = Ether(raw + bytes(2))
        kit.need(device.name == Device.name or job.check(p), f"{job.name}: {device.name}: {p.summary()} {raw.hex()}")
    report.packet(f"{job.name}: {device.name}", frames[-1] + bytes(2))


def in_rounds(report, turns, line, devices, job):
    """Point by device, of those that work in the generator's time; the others' samples are added."""
    points, began = {d: by_turns.Point("live", ["whole way"]) for d in devices if not isinstance(d, Ovs)}, time.monotonic()
    for i in range(ROUNDS_MOST):
        for device in devices:
            if device in points:
                rows, sent, arrived = line.turns(device)
                points[device].rows += turns.noted("live", [[before, 0.0, ns, after] for before, ns, after in rows])
            elif i < ROUNDS_OVS:
                ns, sent, arrived = line.apart(device)
                kit.need(ns, f"{job.name}: {device.name}: nothing arrived")
                report.add(job.name, device.name + WHOLE, ns)
            else:
                continue
            report.add(job.name, device.name + " (lost)", 100 * (sent - arrived) / sent, "%")
        enough = all(len(p.quiet(turns.fastest["live"])) >= by_turns.WANTED for p in points.values())
        if i + 1 >= ROUNDS and (enough or time.monotonic() - began > turns.patience):
            break
    turns.patience -= (time.monotonic() - began) * (i + 1 - ROUNDS) / (i + 1)
    return points


WHOLE = " (whole way)"


def one_job(report, turns, line, devices, job):
    report.step(f"{job.name}; what came out:")
    for device in devices:
        prove(report, line, device, job)
    points = in_rounds(report, turns, line, devices, job)
    bare = turns.median(points[devices[0]], "whole way")
    for device, point in points.items():
        turns.add(point, {"whole way": (job.name, device.name + WHOLE)})
        if device is not devices[0]:
            turns.add(point, {"whole way": (job.name, device.name)}, bare)
    for device in devices:
        for ns in report.samples.get((job.name, device.name + WHOLE), []):
            report.add(job.name, device.name, ns - bare)
    turns.finish(report)


def not_here(report, kind, why):
    """A peer that cannot be measured: said now and in the JSON."""
    report.facts.setdefault("not measured", {})[kind.name] = why
    kit.say(f"    NOT MEASURED: {kind.name}: {why}")


def set_up(report, devices, kind, *where):
    """A device that stands in its namespaces, one more of `devices`; or a peer that cannot."""
    lacking = [t for t in kind.tools if not shutil.which(t)]
    if lacking:
        not_here(report, kind, f"{lacking[0]} is not installed")
        return
    device = kind.__new__(kind)
    devices.append(device)
    try:
        device.__init__(*where)
    except (Failure, RuntimeError, subprocess.CalledProcessError) as e:
        if not kind.peer:
            raise
        devices.remove(device)
        device.close()
        not_here(report, kind, str(e))


def same_kind(report, turns, bench, some):
    """Jobs that differ by their number of flows alone, by the same devices."""
    report.step(f"{some[0].kind()}: namespaces")
    lab, devices = Lab(session.name("fw")), []
    try:
        for i, kind in enumerate(DEVICES[some[0].kind()]):
            set_up(report, devices, kind, lab, f"{i}", some[0], bench)
        wait_for("links are up", lambda: all("state UP" in d.dut.run("ip -o link show d1").stdout for d in devices))
        for job in some:
            one_job(report, turns, Line(bench, job), devices, job)
            show(report, job)
            note_goals(report, job)
    finally:
        for device in devices:
            device.close()
        lab.close()


def show(report, job):
    ours, rows = report.median(job.name, Sluice.name), []
    for kind in DEVICES[job.kind()]:
        ns = report.median(job.name, kind.name)
        if ns is None and kind is not Device:
            continue
        rows.append((kind.name, report.cell(job.name, kind.name + WHOLE), report.cell(job.name, kind.name),
                     f"{ns / ours:.2f}" if ns and ours else "", kit.round_up(report.median(job.name, kind.name + " (lost)")) + " %",
                     (job.to_reach or "") if kind is Sluice else ""))  # fmt: skip
    kit.table(f"{job.name}: ns of CPU a packet", ("device", "whole way", "without bare redirect", "× sluice", "lost", "to reach"), rows)


# What the kernel does of the same, and how many times as much it may cost at least.
TIMES = {Bridge: 5, Forward: 4.5, Masquerade: 6}


def note_goals(report, job):
    ours, bare = report.median(job.name, Sluice.name), report.median(job.name, Device.name + WHOLE)
    where = f"through veth: {job.name}"
    if job.to_reach:
        goals.note(report, where, Sluice.name, ours, job.to_reach, here=job.to_reach * bare / goals.REDIRECT_THERE)
    for kind, times in TIMES.items():
        theirs = report.median(job.name, kind.name)
        if theirs:
            goals.note(report, where, f"{kind.name} ÷ {times}", ours, theirs / times)
    theirs = [ns for ns in (report.median(job.name, k.name) for k in (Ovs, OvsXdp)) if ns]
    if theirs:
        goals.note(report, where, "cheaper than Open vSwitch", ours, min(theirs))


def run(report):
    if not kernel_has_flowtable():
        DEVICES["SNAT"] = tuple(d for d in DEVICES["SNAT"] if d is not Flowtable)
        not_here(report, Flowtable, "this kernel has no nftables flowtable")
    turns = by_turns.Turns(30.0)
    for kind in DEVICES:
        bench = Bench("xdp", session.name("fw"))
        try:
            same_kind(report, turns, bench, [j for j in jobs() if j.kind() == kind])
        finally:
            bench.close()
