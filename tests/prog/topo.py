"""topo.py: the switch under test: namespaces, ports, the configuration, the running daemon.

Two namespaces: the switch's own with the ports, and one with the ports' veth peers, where nothing answers. Some ports have native
XDP (`native`), so that XDP may send to them, and some have none, so that it must leave their frames to tc.
"""
import contextlib
import ctypes
import functools
import json
import os
import re
import signal
import socket
import struct
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import bpf
from frames import GATEWAYS, STATIONS, mac_bytes

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("SLUICE_BUILD", ROOT / "build"))
BPFFS = Path("/sys/fs/bpf")
CLONE_NEWNET = 0x40000000
ETH_P_ALL = 3
PACKET_AUXDATA, PACKET_IGNORE_OUTGOING = 8, 23
TP_STATUS_VLAN_VALID, TP_STATUS_VLAN_TPID_VALID = 1 << 4, 1 << 6
PORT_MODE_HOST = 5
FDB_F_STATIC, FDB_F_OWN = 1, 2
NEIGHBOR_F_FAILED = 2
DNAT_HEARD = (1024, 255)  # DNAT_MARK_HEARD, DNAT_PROTO_MARK
POOL_ADDR_F_USED, POOL_CLASSES, POOL_TRACES = 1, 3, 16
PORT_F_TAG_HIDDEN = 2
GATEWAY_MACS = {mac_bytes(g.mac) for g in GATEWAYS}
TPIDS = (b"\x81\x00", b"\x88\xa8")
TAG_BIT, DOT1AD_BIT = 1 << 31, 1 << 30  # of what --test-trace leaves in skb->cb[0]


@dataclass(frozen=True)
class Port:
    """A port as configured. `vlans`: how each VLAN leaves here: VLAN -> TPID, 0 for untagged."""

    name: str
    config: str
    native: bool
    vlans: dict
    mtu: int = 1500


Q, AD = 0x8100, 0x88A8
PORTS = {
    p.name: p
    for p in [
        Port("acc10", "{mode: access, vlan: 10, xdp: native}", True, {10: 0}),
        Port("acc10b", "{mode: access, vlan: 10, xdp: native}", True, {10: 0}),
        Port("acc10t", "{mode: access, vlan: 10, xdp: 'off'}", False, {10: 0}),
        Port("acc20", "{mode: access, vlan: 20, xdp: native}", True, {20: 0}),
        Port("trk", "{mode: trunk, vlans: [10, 20, 30], native: 30, xdp: native}", True, {10: Q, 20: Q, 30: 0}),
        Port("trk2", "{mode: trunk, vlans: [10, 20, 30, 50], xdp: native}", True, {10: Q, 20: Q, 30: Q, 50: Q}),
        Port("trkt", "{mode: trunk, vlans: [10, 20, 50], native: 50, xdp: 'off'}", False, {10: Q, 20: Q, 50: 0}),
        Port("sp", "{mode: trunk, vlans: [10, 40], protocol: 802.1ad, xdp: native}", True, {10: AD, 40: AD}),
        Port("cust", "{mode: access, vlan: 40, protocol: 802.1ad, xdp: native}", True, {40: 0}),
        Port("custq", "{mode: access, vlan: 40, xdp: native}", True, {40: 0}),
        Port("acc50", "{mode: access, vlan: 50, xdp: native}", True, {50: 0}),
        Port("lone", "{mode: access, vlan: 60, xdp: native}", True, {60: 0}),
        Port("wan", "{mode: routed, xdp: native}", True, {}),
        Port("wan2", "{mode: routed, xdp: native}", True, {}),
        Port("wan3", "{mode: routed, xdp: 'off'}", False, {}, 1400),
        Port("obs", "{mode: observe, xdp: native}", True, {}),
    ]
}
ROUTED_MACS = {g.name: g.mac for g in GATEWAYS if g.name in PORTS}

ROUTES = """
routes:
  - {to: 10.99.0.0/16, via: 192.0.2.254}
  - {to: 10.98.0.0/16, via: 198.51.100.254}
  - {to: 10.97.0.0/16, via: 203.0.113.254}
  - {to: 10.63.0.0/16, via: 10.0.20.13}
  - {to: 10.64.0.0/16, via: 192.0.2.99}
  - {to: 10.50.0.0/16, via: [192.0.2.254, 198.51.100.254]}
  - {to: 169.254.0.0/15, via: 192.0.2.254} # link-local addresses are not routed, whatever leads there
  - {to: 10.60.0.0/16, type: blackhole}
  - {to: 10.61.0.0/16, type: prohibit}
  - {to: 10.62.0.0/16, type: unreachable}
  - {to: 10.99.200.0/24, via: 198.51.100.254}
  - {to: 10.99.200.7/32, type: blackhole}
  - {to: "2001:db8:99::/48", via: "2001:db8:e1::fe"}
  - {to: "2001:db8:98::/48", via: "2001:db8:e2::fe"}
  - {to: "2001:db8:97::/48", via: "2001:db8:e3::fe"}
  - {to: "2001:db8:63::/48", via: "2001:db8:20::d"}
  - {to: "2001:db8:64::/48", via: "2001:db8:e1::99"}
  - {to: "2001:db8:50::/48", via: ["2001:db8:e1::fe", "2001:db8:e2::fe"]}
  - {to: "2001:db8:60::/48", type: blackhole}
  - {to: "2001:db8:61::/48", type: prohibit}
  - {to: "2001:db8:62::/48", type: unreachable}
  - {to: "2001:db8:99:200::/64", via: "2001:db8:e2::fe"}
  - {to: "2001:db8:99:200::7/128", type: blackhole}
"""

NAT = """
nat:
  - {name: open, type: snat, source: 10.0.20.0/24, destination: 10.99.4.0/24, out: [wan], to: 198.18.4.1, filtering: endpoint-independent}
  - {name: semi, type: snat, source: 10.0.20.0/24, destination: 10.99.6.0/24, out: [wan], to: 198.18.4.2, filtering: address-dependent}
  - {name: symmetric, type: snat, source: 10.0.20.0/24, destination: 10.99.8.0/24, out: [wan], to: 198.18.4.3,
     mapping: address-and-port-dependent, ports: 3000-4999}
  - {name: shared, type: snat, source: 10.0.20.0/24, destination: 10.99.10.0/24, out: [wan], to: 198.18.4.4, ports: 2000-2001,
     mapping: address-and-port-dependent, overload: true}
  - {name: crowd, type: snat, source: 10.0.20.0/24, destination: 10.99.12.0/24, out: [wan], to: 198.18.4.6, ports: 20000-20199,
     overload: true}
  - {name: few, type: snat, source: 10.0.20.0/24, destination: 10.99.11.0/24, out: [wan], to: 198.18.4.5, limit: {sessions: 3, ports: 2}}
  - {name: one, type: static, inside: 10.0.30.12/30, outside: 198.18.5.12/30, out: [wan]}
  - {name: one6, type: static, inside: "2001:db8:30::/64", outside: "2001:db8:5b::/64", out: [wan]}
  - {name: link6, type: static, inside: "2001:db8:30::77/128", outside: "2001:db8:e1::77/128", out: [wan]}
  - {name: several, type: snat, source: 10.0.20.0/24, destination: 10.99.14.0/24, out: [wan], to: 198.18.6.1-198.18.6.4}
  - {name: several6, type: snat, source: "2001:db8:20::/64", destination: "2001:db8:99:14::/64", out: [wan], to: "2001:db8:5a::11-2001:db8:5a::14"}
  - {name: exempt, type: snat, source: 10.0.20.0/24, destination: 10.99.9.0/24, to: none}
  - {name: tiny, type: snat, source: 10.0.20.0/24, destination: 10.99.7.0/24, out: [wan], to: 198.18.7.1, ports: 2000-2003}
  - {name: pool, type: snat, source: 10.0.20.0/24, out: [wan], to: 198.18.0.1}
  - {name: masq, type: snat, source: 10.0.20.0/24, out: [wan2], to: masquerade}
  - {name: pool6, type: snat, source: "2001:db8:20::/64", out: [wan], to: "2001:db8:5a::1"}
  - {name: masq6, type: snat, source: "2001:db8:20::/64", out: [wan2], to: masquerade}
  - {name: web, type: dnat, destination: 192.0.2.1, protocol: tcp, port: 8080, to: "10.0.10.10:80"}
  - {name: dns, type: dnat, destination: 192.0.2.1, protocol: udp, port: 5353, to: "10.0.10.10:53"}
  - {name: range, type: dnat, destination: 192.0.2.1, protocol: udp, port: 7000-7009, to: "10.0.10.10:17000"}
  - {name: metadata, type: dnat, destination: 169.254.169.254, protocol: tcp, port: 80, to: "10.0.10.10:8775"}
  - {name: whole, type: dnat, destination: 198.18.9.9, to: 10.0.10.11}
  - {name: every, type: dnat, destination: 198.18.9.8, protocol: [tcp, udp], port: 1-65535, to: 10.0.10.11}
  - {name: wide, type: dnat, destination: 198.18.9.7, protocol: udp, port: 1000-65533, to: "10.0.10.11:1002"}
  - {name: web-b, type: dnat, destination: 198.18.9.6, protocol: tcp, port: 80, to: "10.0.10.10:80"}
  - {name: whole-b, type: dnat, destination: 198.18.9.10, to: 10.0.10.11}
  - {name: whole6-b, type: dnat, destination: "2001:db8:5a::a", to: "2001:db8:10::b"}
  - {name: web6, type: dnat, destination: "2001:db8:e1::1", protocol: tcp, port: 8080, to: "[2001:db8:10::a]:80"}
  - {name: whole6, type: dnat, destination: "2001:db8:5a::9", to: "2001:db8:10::b"}
"""


def config(settings="", routes="", neighbors=""):
    """The configuration file's text. Lines of more settings, routes and neighbours may be added."""
    lines = [
        f"settings: {{icmp-rate: 1000000, hash-seed: 1{settings}}}",
        "tables: {flows: 131072, flows6: 131072, half-open: 4194304, fdb: 4096, neighbors: 4096, routes4: 4096, routes6: 4096}",
        "ports:",
    ]
    lines += [f"  {p.name}: {p.config}" for p in PORTS.values()]
    lines.append("interfaces:")
    for g in GATEWAYS:
        where = f"port: {g.name}" if g.name in PORTS else f"vlan: {g.name.removeprefix('vlan')}, mac: '{g.mac}'"
        # For the programs to have the stages; rows set what they need where they need it.
        more = {"vlan30": ", rpf: loose, mss: 65495, directed-broadcast: true", "wan2": ", directed-broadcast: true"}.get(g.name, "")
        lines.append(f"  {g.name}: {{{where}, addresses: [{g.ip4}/24, '{g.ip6}/64']{more}}}")
    lines.append("fdb:")
    lines += [
        f"  - {{mac: '{s.mac}', vlan: {s.gateway.name.removeprefix('vlan')}, port: {s.port}}}"
        for s in STATIONS
        if s.gateway.name not in PORTS
    ]
    lines.append("neighbors:")
    for s in STATIONS:
        lines += [f"  - {{address: '{ip}', mac: '{s.mac}', interface: {s.gateway.name}}}" for ip in (s.ip4, s.ip6)]
    return "\n".join(lines) + neighbors + ROUTES + routes + NAT


@functools.cache
def drop_names():
    """The drop reasons' names by number, read from the one table."""
    text = (ROOT / "include" / "sluice" / "drop.h").read_text(encoding="ascii")
    return re.findall(r'X\([A-Z0-9_]+, "([a-z0-9_]+)"', text)


def sh(*args, check=True, timeout=30):
    done = subprocess.run([str(a) for a in args], capture_output=True, text=True, timeout=timeout, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(map(str, args))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def setns(path):
    """The calling thread enters a network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(path, "rb") as f:
        if libc.setns(f.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {path}")


class Tap:
    """Everything received on the links of the current namespace, tags put back where they were on the wire."""

    def __init__(self):
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.sock.setsockopt(263, PACKET_AUXDATA, 1)
        self.sock.setsockopt(263, PACKET_IGNORE_OUTGOING, 1)
        self.sock.setblocking(False)

    def drain(self):
        """[(link, frame)] since the last time."""
        seen = []
        while True:
            try:
                frame, control, _, address = self.sock.recvmsg(65536, 256)
            except BlockingIOError:
                return seen
            seen.append((address[0], self._with_tag(frame, control)))

    @staticmethod
    def _with_tag(frame, control):
        for _, kind, data in control:
            if kind == PACKET_AUXDATA:
                status, _, _, _, _, tci, tpid = struct.unpack("=IIIHHHH", data[:20])
                if status & TP_STATUS_VLAN_VALID:
                    tpid = tpid if status & TP_STATUS_VLAN_TPID_VALID else Q
                    return frame[:12] + struct.pack("!HH", tpid, tci) + frame[12:]
        return frame


def _is_solicitation(frame):
    """ARP, a neighbour solicitation, or the report that goes before it (MLDv2), from an interface of the switch."""
    if frame[6:12] not in GATEWAY_MACS:
        return False
    if frame[:6] == b"\x33\x33\0\0\0\x16":
        return True
    if frame[12:14] in TPIDS:
        frame = frame[:12] + frame[16:]
    return frame[12:14] == b"\x08\x06" or (frame[12:14] == b"\x86\xdd" and frame[20] == 58 and frame[54] == 135)


class Wire:
    """The far end of the ports: frames sent here come in as from a cable, tags in the data."""

    def __init__(self):
        self._socks = {}
        for port in PORTS:
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            sock.bind(("p-" + port, 0))
            self._socks[port] = sock

    def socket(self, port):
        return self._socks[port]

    def send(self, port, frame):
        self._socks[port].send(frame)


class Namespaces:
    """The switch's namespace with its ports, and the peers'."""

    def __init__(self, name):
        self.name, self.peers = name, name + "-peers"

    def create(self):
        for ns in (self.name, self.peers):
            sh("ip", "netns", "add", ns)
            self._quiet(ns)
        for port in PORTS.values():
            self._veth(port)

    def path(self, ns):
        return f"/run/netns/{ns}"

    def _quiet(self, ns):
        """No link of the namespace shall say anything by itself."""
        off = ["autoconf", "accept_ra", "router_solicitations", "dad_transmits", "accept_dad"]
        lines = [f"net.ipv6.conf.{c}.{k}=0" for c in ("all", "default") for k in off]
        if ns == self.peers:
            lines += [f"net.ipv6.conf.{c}.disable_ipv6=1" for c in ("all", "default")]
        sh("nsenter", f"--net={self.path(ns)}", "sysctl", "-qw", *lines)
        sh("ip", "-n", ns, "link", "set", "lo", "up")

    def _veth(self, port):
        peer = "p-" + port.name
        sh(
            "ip",
            "-n",
            self.name,
            "link",
            "add",
            port.name,
            "mtu",
            port.mtu,
            "type",
            "veth",
            "peer",
            "name",
            peer,
            "mtu",
            port.mtu,
            "netns",
            self.peers,
        )
        if port.name in ROUTED_MACS:
            sh("ip", "-n", self.name, "link", "set", port.name, "address", ROUTED_MACS[port.name])
        sh("ip", "-n", self.name, "link", "set", port.name, "addrgenmode", "none", "up")
        sh("ip", "-n", self.peers, "link", "set", peer, "up")
        sh("nsenter", f"--net={self.path(self.peers)}", "ethtool", "-K", peer, "gro", "on", "tx", "off")

    def delete(self):
        for ns in (self.name, self.peers):
            sh("ip", "netns", "del", ns, check=False)


class Daemon:
    """sluiced, running in the switch's namespace."""

    def __init__(self, instance, netns):
        self.instance, self.process = instance, None
        self.dir = tempfile.TemporaryDirectory(prefix="sluice-prog-")
        base = Path(self.dir.name)
        self.socket, self.log, self.config = base / "api.sock", base / "log", base / "sluice.yaml"
        self.enter = ["nsenter", f"--net={netns}"]

    def start(self):
        self.config.write_text(config(), encoding="ascii")
        command = [BUILD / "sluiced", "-c", self.config, "-i", self.instance, "-s", self.socket, "--test-trace"]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([*self.enter, *map(str, command)], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self._wait_ready()

    def apply(self, text):
        """Another configuration; done when sluiced says so."""
        self.config.write_text(text, encoding="ascii")
        done = self.cli("apply", str(self.config))
        if done.returncode:
            raise RuntimeError(f"sluice apply: exit {done.returncode}\n{done.stdout}{done.stderr}")

    def words(self):
        return self.log.read_text(errors="replace")

    def _wait_ready(self, seconds=30):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"sluiced ended with {self.process.returncode}:\n{self.words()}")
            if self.socket.exists() and self.cli("status").returncode == 0:
                return
            time.sleep(0.1)
        raise RuntimeError(f"sluiced is not ready after {seconds} s:\n{self.words()}")

    def cli(self, *args):
        return subprocess.run(
            [*self.enter, str(BUILD / "sluice"), "-s", str(self.socket), "-i", self.instance, *args],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )

    def show(self, *args):
        done = self.cli("-j", *args)
        if done.returncode:
            raise RuntimeError(f"sluice {' '.join(args)}: exit {done.returncode}\n{done.stderr}")
        return json.loads(done.stdout)

    def stop(self):
        """Ends the daemon and takes the instance out of the kernel."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        sh(*self.enter, BUILD / "sluiced", "--destroy", "-i", self.instance, check=False)
        self.dir.cleanup()


class Switch:
    """The pinned programs and maps of the running switch, and what leaves it."""

    def __init__(self, namespaces, instance):
        self.ns = namespaces
        pins = BPFFS / "sluice" / instance
        self.xdp, self.tc = bpf.Prog(pins / "progs" / "xdp"), bpf.Prog(pins / "progs" / "tc")
        self._pins, self._maps, self._edits = pins, {}, []
        self.stopped = False  # sluiced is (SIGSTOP)
        setns(namespaces.path(namespaces.peers))
        self._peer_tap, self.wire = Tap(), Wire()
        setns(namespaces.path(namespaces.name))
        self._host_tap = Tap()
        self._read_ports()
        self._read_nat_ports()

    def reopen(self):
        """The programs that are loaded now: sluiced loads others where a configuration needs other stages."""
        for prog in (self.xdp, self.tc):
            prog.close()
        self.xdp, self.tc = bpf.Prog(self._pins / "progs" / "xdp"), bpf.Prog(self._pins / "progs" / "tc")

    @contextlib.contextmanager
    def configured(self, text):
        """Under another configuration; config() afterwards."""
        self.control.apply(text)
        self.reopen()
        try:
            yield self
        finally:
            self.control.apply(config())
            self.reopen()

    def map(self, name):
        if name not in self._maps:
            self._maps[name] = bpf.Map(self._pins / "maps" / name)
        return self._maps[name]

    def ring(self, name):
        return bpf.Ring(self._pins / "maps" / name)

    def _read_ports(self):
        """Port names, ids and ifindexes; a VLAN interface's host port goes by the interface's name, as its netdev does."""
        self.port_id, self.port_name, self.ifindex, self.port_flags = {}, {}, {}, {}
        ids = self.map("port_ids")
        for key in ids.keys():
            (port,) = struct.unpack("=I", ids.lookup(key)[:4].ljust(4, b"\0"))
            entry = self.map("ports").lookup(port)
            ifindex, mode, flags, _, _, iface = struct.unpack_from("=IBBHHH", entry)
            name = entry[16:32].split(b"\0")[0].decode()
            if mode == PORT_MODE_HOST:
                name = self.iface_name(iface)
            self.port_id[name], self.port_name[ifindex], self.ifindex[name], self.port_flags[name] = port, name, ifindex, flags

    def iface_name(self, iface):
        return self.map("ifaces").lookup(iface)[48:64].split(b"\0")[0].decode()

    def iface_id(self, name):
        return next(i for i in range(1, 1024) if self.iface_name(i) == name)

    def counters(self):
        """port -> (rx, tx, forwarded, to_host, dropped) packets."""
        table = self.map("port_counters")
        found = {}
        for name, port in self.port_id.items():
            rx, _, tx, _, forwarded, to_host, dropped, _ = table.sum(port)
            found[name] = (rx, tx, forwarded, to_host, dropped)
        return found

    def drops(self, port):
        """reason -> packets that came in by a port and were dropped."""
        counted = self.map("drop_counters").sum(self.port_id[port])
        return {name: n for name, n in zip(drop_names(), counted) if n}

    def bytes(self, port):
        """(received, sent) bytes of a port."""
        _, rx, _, tx, *_ = self.map("port_counters").sum(self.port_id[port])
        return rx, tx

    def emitted(self):
        """[(port, frame)] that arrived at the ports' peers and at the hosts' netdevs since the last time. But for what the kernel
        asks of neighbours by itself: sluiced has it resolve the gateways of routes."""
        frames = [(link.removeprefix("p-"), frame) for link, frame in self._peer_tap.drain()]
        frames += [(link, frame) for link, frame in self._host_tap.drain() if link.startswith("vlan")]
        return [(port, frame) for port, frame in frames if not _is_solicitation(frame)]

    def tag_may_hide(self, port):
        """XDP does not trust an untagged frame of this port."""
        return bool(self.port_flags[port] & PORT_F_TAG_HIDDEN)

    def settle(self, quiet_s=1.0, limit_s=20):
        """Waits until no port has counted anything for a while."""
        deadline, before, since = time.monotonic() + limit_s, None, time.monotonic()
        while time.monotonic() < deadline:
            now = self.counters()
            if now != before:
                before, since = now, time.monotonic()
            elif time.monotonic() - since >= quiet_s:
                return
            time.sleep(0.1)
        raise RuntimeError("the switch does not come to rest")

    def epoch(self):
        """As sluiced says that the configuration has changed."""
        control = bytearray(self.map("control").lookup(0))
        (epoch,) = struct.unpack_from("=I", control, 4)
        struct.pack_into("=I", control, 4, epoch + 1)
        self.map("control").update(0, bytes(control))

    def edit(self, name, key, value):
        """An element of a map written, or with None deleted, until the next forget()."""
        table = self.map(name)
        self._edits.append((name, key, table.lookup(key)))
        table.delete(key) if value is None else table.update(key, value)
        if name == "fdb":
            self.epoch()

    def forget(self):
        """Edits undone, nothing learned, no flow, every NAT port free, no neighbour that has not answered: sluiced keeps asking
        for the gateways, and a row must not depend on how long ago that was."""
        while self._edits:
            name, key, value = self._edits.pop()
            table = self.map(name)
            table.delete(key) if value is None else table.update(key, value)
        fdb = self.map("fdb")
        for key in fdb.keys():
            (flags,) = struct.unpack_from("=H", fdb.lookup(key), 2)
            if not flags & (FDB_F_STATIC | FDB_F_OWN):
                fdb.delete(key)
        self.epoch()
        neighbors = self.map("neighbors")
        for key in neighbors.keys():
            (flags,) = struct.unpack_from("=H", neighbors.lookup(key) or bytes(8), 6)
            if flags & NEIGHBOR_F_FAILED:
                neighbors.delete(key)
        for name in ("flow_words4", "flow_words6", "nat_words", "nat_ways"):
            self.map(name).zero()
        for name in ("nat_peers", "frag_datagrams"):
            table = self.map(name)
            for key in table.keys():
                table.delete(key)
        self._forget_heard()
        self._forget_ports()
        self._forget_used()
        self._forget_held()

    def _forget_heard(self):
        """Nobody has sent the gateway anything, of a protocol without ports."""
        table = self.map("dnat_rules")
        for key in table.keys():
            dport, _, proto = struct.unpack_from("!HHB", key, 16)
            if (dport, proto) == DNAT_HEARD:
                table.delete(key)

    def _forget_ports(self):
        """As the data plane gives ports back: the trace first. A pass of sluiced's that has seen them held lets those alone that a
        row takes anew."""
        table = self.map("pool_ports")
        memory, size = table.memory(), table.value_size
        for key, ports in self._nat_ports.items():
            held = memory[key * size : (key + 1) * size]
            if held == ports:
                continue
            at = table.max_entries - POOL_TRACES + key % POOL_TRACES
            given = int.from_bytes(held, "little") & ~int.from_bytes(ports, "little")
            trace = int.from_bytes(table.lookup(at), "little") | given
            table.update(at, trace.to_bytes(len(ports), "little"))
            table.update(key, ports)

    def _forget_used(self):
        """What hosts have of rules with limits only grows while sluiced counts (struct nat_used): taken away beneath it, a host would be
        told to have less than nothing. So it is sluiced that deletes, in the pass that finds no flow and no mapping of theirs; while it is
        stopped, they are told to have nothing."""
        tables = used, counted = [self.map(name) for name in ("nat_used", "nat_counted")]
        if self.stopped:
            for key in used.keys():
                counted.update(key, bytes(used.value_size) + used.lookup(key))
            return
        if not any(table.keys() for table in tables):
            return
        self.control.cli("flow", "flush", "all")  # a pass follows at once
        deadline = time.monotonic() + 20
        while any(table.keys() for table in tables):
            if time.monotonic() > deadline:
                raise RuntimeError("sluiced still counts what a host has of a rule with limits, and nothing is left")
            time.sleep(0.01)

    def _forget_held(self):
        """No fragment of an earlier test waits, to be counted in the midst of a later one."""
        used, slots = self.map("hold_used"), self.map("hold_slots")
        words = struct.unpack("=4Q", used.lookup(0)[-32:])
        for w, word in enumerate(words):
            for slot in (64 * w + bit for bit in range(64) if word >> bit & 1):
                slots.update(slot, bytes(len(slots.lookup(slot))))
        if any(words):  # the timer goes with it, and the next fragment makes another
            used.update(0, bytes(len(used.lookup(0))))

    def _read_nat_ports(self):
        """The ports held in each NAT address's bitmaps at the start."""
        addrs, ports = self.map("pool_addrs"), self.map("pool_ports")
        used = [i for i in range(addrs.max_entries) if struct.unpack_from("=I", addrs.lookup(i), 16)[0] & POOL_ADDR_F_USED]
        self._nat_ports = {i: ports.lookup(i) for first in used for i in range(first * POOL_CLASSES, (first + 1) * POOL_CLASSES)}
