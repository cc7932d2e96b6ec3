"""lab.py: the switch that is measured by BPF_PROG_RUN, and what it is filled with.

        in1 trunk 10, 20   in2 access 10          wan1..wan4 routed, a gateway behind each
              \\____________ sluice ________________/

All ports are veths with native XDP; nothing is sent through them. Flows are not written into tables from here: their first
packet goes through the switch's program, so that nothing depends on how the switch keeps them.
"""
import contextlib
import os
import random
import re
import signal
import socket
import struct
import time

import bpf
import kit
import session
from gen import REAL, Bench
from netlab import Lab, wait_for

GW_MAC, HOST_MAC = "02:00:00:00:10:01", "02:00:00:00:10:99"
INSIDE, INSIDE6 = "10.0.0.2", "2001:db8:10::2"
POOL = "198.18.0.0/27"  # 32 addresses of 64512 ports: a million mappings and room
OUTSIDE, OUTSIDE6 = "192.0.2", "2001:db8:e"
SERVER, VIP = "10.0.0.10", "203.0.113.1"
WANS = 4

CONFIG = """
settings: {{fdb-ageing: 1000000s, hash-seed: 7{settings}}}
tables: {{flows: {flows}, flows6: {flows6}, half-open: 4194304, fdb: 1048576, routes4: 2097152, routes6: 524288}}
ports:
  in1: {{mode: trunk, vlans: [10, 20], xdp: native}}
  in2: {{mode: access, vlan: 10, xdp: native}}
{wan_ports}
interfaces:
  vlan10: {{vlan: 10, mac: "02:00:00:00:10:01", addresses: [10.0.0.1/16, "2001:db8:10::1/64"]}}
  vlan20: {{vlan: 20, mac: "02:00:00:00:20:01", addresses: [10.1.0.1/16, "2001:db8:20::1/64"]}}
{wan_ifaces}
routes:
  - {{to: 172.16.0.0/12, via: [192.0.2.2, 192.0.2.6, 192.0.2.10, 192.0.2.14]}}
  - {{to: 100.64.0.0/10, via: 192.0.2.2}}
  - {{to: 10.64.0.0/10, via: 10.0.0.10}}
  - {{to: "2001:db8:aaaa::/48", via: "2001:db8:e1::2"}}
fdb:
  - {{mac: "02:00:00:00:10:99", vlan: 10, port: in1}}
  - {{mac: "02:00:00:00:10:0a", vlan: 10, port: in2}}
  - {{mac: "02:00:00:00:20:0a", vlan: 20, port: in1}}
neighbors:
  - {{address: 10.0.0.10, mac: "02:00:00:00:10:0a", interface: vlan10}}
  - {{address: 10.1.0.10, mac: "02:00:00:00:20:0a", interface: vlan20}}
{wan_neighbors}
"""
NAT = """
nat:
  - {{name: out, type: snat, source: 10.0.0.0/16, destination: 172.16.0.0/12, to: {pool}}}
  - {{name: web, type: dnat, destination: 203.0.113.1, protocol: tcp, port: 8080, to: "10.0.0.10:80"}}
"""
FORWARD = '  - {{name: f{i}, type: dnat, destination: 198.19.0.{a}, protocol: tcp, port: {b}, to: "10.0.0.10:80"}}\n'


SILENT = ", flow-accounting: false"


def config(flows, flows6, nat, settings=""):
    wans = range(1, WANS + 1)
    return (CONFIG + (NAT if nat else "")).format(
        flows=flows,
        flows6=flows6,
        settings=settings,
        pool=POOL,
        wan_ports="\n".join(f"  wan{i}: {{mode: routed, xdp: native}}" for i in wans),
        wan_ifaces="\n".join(f'  wan{i}: {{port: wan{i}, addresses: [192.0.2.{4 * i - 3}/30, "2001:db8:e{i}::1/64"]}}' for i in wans),
        wan_neighbors="\n".join(
            f'  - {{address: 192.0.2.{4 * i - 2}, mac: "02:00:00:00:ee:0{i}", interface: wan{i}}}\n'
            f'  - {{address: "2001:db8:e{i}::2", mac: "02:00:00:00:ee:0{i}", interface: wan{i}}}'
            for i in wans
        ),
    )


class DatapathLab:
    """A switch with pinned programs to be run; `close` takes it down."""

    def __init__(self, name="dp", flows=2097152, nat=True, flows6=None):
        self.lab = Lab(session.name(name))
        try:
            self._make((flows, flows6 or flows), nat)
        except BaseException:
            self.lab.close()
            raise

    def _make(self, flows, nat):
        self.ns, far = self.lab.ns("sw"), self.lab.ns("far")
        for port in ["in1", "in2"] + [f"wan{i}" for i in range(1, WANS + 1)]:
            self.lab.veth(self.ns, port, far, "p-" + port)
            far.offload("p-" + port, gro=True, tx=False, tx_vlan_offload=False)
        self.path, self.flows = f"/tmp/{self.lab.prefix}.yaml", flows
        self._write(nat)
        self.switch = self.lab.switch(self.ns, self.path)
        self.switch.destroy()  # what a run left that was killed
        self.switch.start()
        self.switch.attached("in1", "in2", "wan1", "wan4")
        self.ifindex = {p: self.ns.link(p)["ifindex"] for p in ["in1", "in2"] + [f"wan{i}" for i in range(1, WANS + 1)]}
        self.macs = {p: self.ns.link(p)["address"] for p in self.ifindex}
        self.pins = f"/sys/fs/bpf/sluice/{self.switch.instance}"

    def _write(self, nat, forwards=0, settings=""):
        with open(self.path, "w", encoding="ascii") as f:
            f.write(config(*self.flows, nat, settings))
            f.writelines(FORWARD.format(i=i, a=i >> 8, b=1 + (i & 255)) for i in range(forwards))

    def with_nat(self, forwards=0):
        """The rules, and with them other programs; and so many rules that forward ports which nobody asks for."""
        self._write(True, forwards)
        self.switch.cli(["apply", self.path], timeout=120)

    def without_accounting(self):
        """Programs that count no packets of flows."""
        self._write(True, settings=SILENT)
        self.switch.cli(["apply", self.path], timeout=120)

    @contextlib.contextmanager
    def generator(self, hook="xdp"):
        """A Bench whose target REAL is the program that the switch has pinned now; meanwhile this thread is in the switch's namespace."""
        bench = Bench(hook, session.name("gen"))
        try:
            real = bpf.Prog(f"{self.pins}/progs/{hook}")
            bench.target(REAL, real)
            with self.ns.entered():
                yield bench
            real.close()
        finally:
            bench.close()

    def close(self):
        """Routes of the kernel's go soonest with their links."""
        self.switch.stop(signal.SIGKILL)
        for port in self.ifindex:
            self.ns.run(f"ip link del {port}", check=False)
        self.lab.close()
        for path in (self.path, self.switch.log):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


# ---- tables of the Internet's size: lengths spread as in the public table, prefixes in allocations (as bench/fib has them)

SHARES4 = {24: 60, 23: 10, 22: 11, 21: 5, 20: 4, 19: 3, 18: 2, 17: 1, 16: 4}
SHARES6 = {48: 57, 44: 12, 40: 11, 36: 5, 32: 15}


def routes(family, n, seed=1):
    """n prefixes as (network, length); without those that the switch's own configuration uses."""
    rng = random.Random(seed)
    shares, bits = (SHARES4, 32) if family == 4 else (SHARES6, 128)
    lengths, weights = list(shares), list(shares.values())
    blocks = max(n // 28, 16) if family == 4 else max(n // 10, 16)
    if family == 4:
        own = {10, 127, 100, 172, 192, 198, 203}
        blocks = rng.sample([i for i in range(1 << 8, 224 << 8) if i >> 8 not in own], min(blocks, 50000))
        blocks = [b << 16 for b in blocks]
    else:
        blocks = [(0x2400_0000 + b) << 96 for b in rng.sample(range(1 << 24), blocks)]
    got, shift = set(), 0 if family == 4 else 80
    while len(got) < n:
        more = n - len(got)
        for length, block in zip(rng.choices(lengths, weights, k=more), rng.choices(blocks, k=more)):
            got.add(((block | rng.getrandbits(16) << shift) >> (bits - length) << (bits - length), length))
    return sorted(got)


RTM_NEWROUTE, CREATE = 24, 0x401  # NLM_F_REQUEST | NLM_F_CREATE
RTA_DST, RTA_GATEWAY = 1, 5


def _route_message(family, net, length, gateway):
    size = 4 if family == 4 else 16
    attributes = b"".join(struct.pack("=HH", size + 4, kind) + value for kind, value in ((RTA_DST, net.to_bytes(size, "big")), (RTA_GATEWAY, gateway)))
    head = struct.pack("=8BI", socket.AF_INET if family == 4 else socket.AF_INET6, length, 0, 0, 254, 3, 0, 1, 0)
    return struct.pack("=IHHII", 16 + len(head) + len(attributes), RTM_NEWROUTE, CREATE, 0, 0) + head + attributes


def kernel_routes(ns, family):
    """How many the kernel has, as it counts them itself: a list of a million takes seconds."""
    with ns.entered(), open(f"/proc/thread-self/net/{'fib_triestat' if family == 4 else 'rt6_stats'}", encoding="ascii") as f:
        text = f.read()
    return sum(map(int, re.findall(r"Prefixes:\s+(\d+)", text))) if family == 4 else int(text.split()[3], 16)


def load_routes(lab, prefixes, family):
    """Into the kernel, by four gateways, as a routing daemon would; sluiced mirrors them. Returns seconds until the kernel had them,
    and until the switch had: events come in order, so the last one tells."""
    gateways = [f"192.0.2.{4 * i + 2}" if family == 4 else f"2001:db8:e{i + 1}::2" for i in range(WANS)]
    inet = socket.AF_INET if family == 4 else socket.AF_INET6
    gateways = [socket.inet_pton(inet, g) for g in gateways]
    messages = [_route_message(family, net, length, gateways[i % WANS]) for i, (net, length) in enumerate(prefixes)]
    with lab.ns.entered():
        s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    began = time.monotonic()
    with s:
        for i in range(0, len(messages), 1000):
            s.send(b"".join(messages[i : i + 1000]))
    kernel = time.monotonic() - began
    net, length = prefixes[-1]
    last = socket.inet_ntop(inet, net.to_bytes(4 if family == 4 else 16, "big"))

    def mirrored():
        got = lab.switch.json(f"route get {last}")
        return got.get("fib") and got["route"]["to"] == f"{last}/{length}"

    wait_for(f"{len(prefixes)} IPv{family} routes in the FIB", mirrored, 120, 0.05)
    both = time.monotonic() - began
    there = kernel_routes(lab.ns, family)
    kit.need(there >= len(prefixes), f"the kernel has {there} of {len(prefixes)} routes")
    return kernel, both


def addresses_in(prefixes, family, count, seed=2):
    """Random destinations, each in a random route: values for gen.py (IPv4: the address; IPv6: its upper half)."""
    rng = random.Random(seed)
    got = []
    for net, length in rng.choices(prefixes, k=count):
        if family == 4:
            got.append(net | rng.getrandbits(32 - length) if length < 32 else net)
        else:
            got.append(net >> 64 | (rng.getrandbits(64 - length) if length < 64 else 0))
    return got
