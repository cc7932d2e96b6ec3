"""netlab.py: a laboratory of network namespaces, with real sluiced processes in it.

Stands between the kernel (namespaces, veth pairs, packet sockets) and those who want a network to play with: the tests of
tests/net and scripts/demo. Namespaces are entered by nsenter and not by `ip netns exec`, which would hide the bpffs. A Lab
removes only what it made.
"""
import contextlib
import ctypes
import json
import os
import select
import shlex
import signal
import socket
import struct
import subprocess
import time

import echo  # beside this file

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("B", "build"))
os.environ["PATH"] += ":/usr/sbin:/sbin"
CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class Failure(Exception):
    """A command of the laboratory failed; the text says which and what it wrote."""


def _setns(fd):
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def sh(argv, check=True, timeout=60, text_in=None):
    """Runs a command (list or string), gives CompletedProcess with text in stdout (stderr appended to it)."""
    if isinstance(argv, str):
        argv = shlex.split(argv)
    try:
        p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout, input=text_in,
                           stdin=subprocess.DEVNULL if text_in is None else None, errors="replace")
    except subprocess.TimeoutExpired as e:
        raise Failure(f"{shlex.join(argv)}: no end after {timeout} s\n{e.stdout or ''}") from e
    if check and p.returncode:
        raise Failure(f"{shlex.join(argv)}: exit code {p.returncode}\n{p.stdout}")
    return p


def wait_for(what, condition, timeout=10.0, every=0.05):
    """Polls until the condition gives something true, and returns that. Failure names `what`."""
    end = time.monotonic() + timeout
    while True:
        got = condition()
        if got:
            return got
        if time.monotonic() > end:
            raise Failure(f"after {timeout} s still not: {what}")
        time.sleep(every)


FIGURES = []


def figure(text):
    """What a test has measured: printed where it stands, and again at the end of the run (conftest.py), where `make check` shows it."""
    print(f"\n{text}")
    FIGURES.append(text)


def is_up(iface, ns):
    return "state UP" in ns.run(f"ip -o link show dev {iface}", check=False).stdout


class Ns:
    """One network namespace. Commands, sockets and packets in it."""

    def __init__(self, lab, name, full):
        self.lab, self.name, self.full = lab, name, full
        self.path = f"/run/netns/{full}"

    def argv(self, argv):
        if isinstance(argv, str):
            argv = shlex.split(argv)
        return ["nsenter", f"--net={self.path}", "--", *argv]

    def run(self, argv, check=True, timeout=60):
        return sh(self.argv(argv), check, timeout)

    def spawn(self, argv, **kw):
        """A process in the background; ended with the Lab. Its output goes to kw["stdout"], or nowhere."""
        kw.setdefault("stdout", subprocess.DEVNULL)
        kw.setdefault("stderr", subprocess.STDOUT)
        kw.setdefault("stdin", subprocess.DEVNULL)
        p = subprocess.Popen(self.argv(argv), start_new_session=True, **kw)
        self.lab.processes.append(p)
        return p

    @contextlib.contextmanager
    def entered(self):
        """This thread stands in the namespace: sockets made here stay in it."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(self.path, os.O_RDONLY)
        try:
            _setns(there)
            yield
        finally:
            _setns(home)
            os.close(there)
            os.close(home)

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_STREAM, proto=0):
        with self.entered():
            s = socket.socket(family, kind, proto)
        s.settimeout(10)
        return s

    def sysctl(self, key, value):
        """A key that this kernel does not have is passed over."""
        path = "/proc/sys/" + key.replace(".", "/")
        self.run(["sh", "-c", f"[ ! -e {path} ] || echo {value} > {path}"])

    def addr(self, iface, *addrs):
        for a in addrs:
            self.run(f"ip addr add {a} dev {iface}" + (" nodad" if ":" in a else ""))

    def route(self, to, via=None, *, nexthops=(), dev=None, src=None):
        """One gateway, or several of equal weight. `src`: the address that speaks this way."""
        cmd = f"ip {'-6 ' if ':' in to else ''}route replace {to}" + (f" src {src}" if src else "")
        if nexthops:
            cmd += "".join(f" nexthop via {n}" for n in nexthops)
        elif via:
            cmd += f" via {via}"
        self.run(cmd + (f" dev {dev}" if dev else ""))

    def mac(self, iface):
        return self.link(iface)["address"]

    def link(self, iface):
        return json.loads(self.run(f"ip -j -s link show dev {iface}").stdout)[0]

    def links(self):
        return [x["ifname"] for x in json.loads(self.run("ip -j link show").stdout)]

    def offload(self, iface, **features):
        """ethtool -K: offload("eth0", tx=False, gro=True); underscores stand for dashes."""
        args = [w for k, v in features.items() for w in (k.replace("_", "-"), "on" if v else "off")]
        self.run(["ethtool", "-K", iface, *args])

    def as_a_wire(self, port, reach):
        """What leaves by the port goes through its netdev (for it has a qdisc), segment by segment, as over a wire. `reach`: a
        function that sends something out of it."""
        self.run(f"tc qdisc add dev {port} root pfifo")
        self.offload(port, tso=False, gso=False)

        def passes():
            before = self.link(port)["stats64"]["tx"]["packets"]
            reach()
            return self.link(port)["stats64"]["tx"]["packets"] > before
        wait_for(f"packets pass through {port}", passes)

    def send(self, iface, *frames):
        """Raw frames out of an interface, whole as given."""
        with self.entered():
            s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        with s:
            s.bind((iface, 0))
            for f in frames:
                s.send(bytes(f))

    def sniff(self, iface):
        return Sniffer(self, iface)

    def ping(self, target, count=3, interval=0.05, **options):
        """(sent, received) of echo requests. The first one may wait for ARP: no loss for that either. Options: echo.py."""
        try:
            return echo.ping(self, target, count, interval, **options)
        except OSError as e:
            raise Failure(f"{self.name} pings {target}: {e}") from e

    def iperf3_server(self, port=5201, address=None):
        p = self.spawn(["iperf3", "-s", "-p", str(port), *(["-B", address] if address else [])])
        wait_for(f"iperf3 listens in {self.name}", lambda: f":{port} " in self.run(f"ss -ltn sport = :{port}").stdout)
        return p

    def iperf3(self, target, seconds=1, port=5201, extra=""):
        """The JSON of a client's run."""
        p = self.run(f"iperf3 -J -c {target} -p {port} -t {seconds} --connect-timeout 3000 {extra}", check=False, timeout=seconds + 30)
        try:
            r = json.loads(p.stdout[p.stdout.index("{"):])
        except ValueError as e:
            raise Failure(f"iperf3 in {self.name} to {target}: {p.stdout}") from e
        if "error" in r:
            raise Failure(f"iperf3 in {self.name} to {target}: {r['error']}")
        return r


class Frame(bytes):
    """A frame as it was on the wire: a tag that the kernel took off is back in its place. wire_len is its true length."""
    wire_len = 0


class Sniffer:
    """What comes in on an interface (what goes out of it is not seen), from the moment it is made."""
    SOL_PACKET, PACKET_AUXDATA, PACKET_IGNORE_OUTGOING = 263, 8, 23
    ETH_P_ALL = 3

    def __init__(self, ns, iface):
        with ns.entered():
            self.s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(self.ETH_P_ALL))
        self.s.setsockopt(self.SOL_PACKET, self.PACKET_AUXDATA, 1)
        self.s.setsockopt(self.SOL_PACKET, self.PACKET_IGNORE_OUTGOING, 1)
        self.s.setsockopt(socket.SOL_SOCKET, 33, 32 << 20)  # SO_RCVBUFFORCE
        self.s.bind((iface, 0))
        self.s.setblocking(False)

    def _one(self):
        data, aux, _, _ = self.s.recvmsg(2048, 256, socket.MSG_TRUNC)
        length = len(data)
        for level, kind, value in aux:
            if level == self.SOL_PACKET and kind == self.PACKET_AUXDATA:
                status, length, _, _, _, tci, tpid = struct.unpack("IIIHHHH", value[:20])
                if status & 0x10:  # TP_STATUS_VLAN_VALID
                    data = data[:12] + struct.pack("!HH", tpid if status & 0x40 else 0x8100, tci) + data[12:]
                    length += 4
        f = Frame(data)
        f.wire_len = length
        return f

    def frames(self, wait=0.3, until=None):
        """All frames up to now and for `wait` seconds more; ends early when `until(frame)` was true for one."""
        got, end = [], time.monotonic() + wait
        while True:
            left = end - time.monotonic()
            if not select.select([self.s], [], [], max(left, 0))[0]:
                if left <= 0:
                    return got
                continue
            f = self._one()
            got.append(f)
            if until and until(f):
                return got

    def matching(self, needle, wait=0.3, count=None):
        """Frames that contain the bytes; with `count`, does not wait for more once it has so many."""
        got, seen = [], 0

        def enough(f):
            nonlocal seen
            seen += needle in f
            return count is not None and seen >= count
        for f in self.frames(wait, enough):
            if needle in f:
                got.append(f)
        return got

    def close(self):
        self.s.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


READY_S = float(os.environ.get("READY_S", "30"))  # in an emulated machine the verifier takes its time


class Switch:
    """A sluiced in a namespace, and the CLI that speaks to it."""

    def __init__(self, ns, instance, config, log=None):
        self.ns, self.instance, self.config = ns, instance, config
        self.log = log or f"/tmp/{instance}.log"
        self.process = None
        ns.lab.switches.append(self)

    def start(self):
        with open(self.log, "ab") as log:
            self.process = self.ns.spawn([f"{BUILD}/sluiced", "-c", self.config, "-i", self.instance], stdout=log)
        self.ready()
        return self

    def ready(self, timeout=READY_S):
        def ask():
            if self.process.poll() is not None:
                raise Failure(f"sluiced ended with {self.process.returncode}:\n{self.messages()}")
            return self.cli("status", check=False).returncode == 0
        wait_for(f"sluiced of {self.instance} answers\n{self.messages()}", ask, timeout)

    def messages(self):
        with contextlib.suppress(FileNotFoundError), open(self.log, errors="replace") as f:
            return f.read()[-4000:]
        return ""

    def stop(self, how=signal.SIGTERM):
        """The process ends; the switch goes on."""
        if self.process and self.process.poll() is None:
            os.kill(self.process.pid, how)
            self.process.wait(20)
        self.process = None

    def cli(self, args, check=True, timeout=30):
        if isinstance(args, str):
            args = shlex.split(args)
        return self.ns.run([f"{BUILD}/sluice", "-i", self.instance, *args], check, timeout)

    def json(self, args):
        out = self.cli(["-j", *shlex.split(args)]).stdout
        try:
            return json.loads(out)
        except ValueError as e:
            raise Failure(f"sluice -j {args}: no JSON: {out}") from e

    def port(self, name):
        return next((p for p in self.json("port show") if p["name"] == name), None)

    def attached(self, *names):
        """Waits until the ports are attached."""
        for n in names:
            wait_for(f"port {n} is attached", lambda n=n: (self.port(n) or {}).get("state") == "attached")

    def destroy(self):
        """The switch is gone: pins, links, netdevs."""
        self.stop()
        return self.ns.run([f"{BUILD}/sluiced", "--destroy", "-i", self.instance], check=False, timeout=30)


class Lab:
    """Namespaces called PREFIX-NAME and what runs in them; close() takes everything down again."""

    def __init__(self, prefix, note=lambda name, inode: None):
        """`note` is told of each namespace: before it is made (inode None) and after."""
        self.prefix, self.note = prefix, note
        self.namespaces, self.processes, self.switches = {}, [], []

    def ns(self, name):
        full = f"{self.prefix}-{name}"
        self.note(full, None)
        sh(["ip", "netns", "add", full])
        n = self.namespaces[name] = Ns(self, name, full)
        self.note(full, os.stat(n.path).st_ino)
        # No waiting for duplicate address detection, no filter against the asymmetric paths of ECMP.
        n.run(["sh", "-c", "ip link set lo up; cd /proc/sys/net; for d in default all; do "
               "echo 0 > ipv6/conf/$d/accept_dad; echo 0 > ipv6/conf/$d/accept_ra; echo 0 > ipv4/conf/$d/rp_filter; done"])
        return n

    def veth(self, a, a_if, b, b_if, mtu=None):
        """A cable: interface a_if in namespace a, b_if in b, both up."""
        m = f" mtu {mtu}" if mtu else ""
        sh(f"ip link add {a_if} netns {a.full}{m} type veth peer name {b_if} netns {b.full}{m}")
        a.run(f"ip link set {a_if} up")
        b.run(f"ip link set {b_if} up")

    def host(self, name, switch, port, *, addrs=(), gw=(), mtu=None):
        """A namespace with `eth0` on a switch's port, its addresses and default gateways."""
        n = self.ns(name)
        self.veth(switch, port, n, "eth0", mtu)
        n.addr("eth0", *addrs)
        for g in gw:
            n.route("::/0" if ":" in g else "0.0.0.0/0", g)
        return n

    def router(self, name):
        n = self.ns(name)
        n.sysctl("net.ipv4.ip_forward", 1)
        n.sysctl("net.ipv6.conf.all.forwarding", 1)
        n.sysctl("net.ipv4.fib_multipath_hash_policy", 1)
        n.sysctl("net.ipv6.fib_multipath_hash_policy", 1)
        n.sysctl("net.ipv4.icmp_ratelimit", 0)
        n.sysctl("net.ipv6.icmp.ratelimit", 0)
        return n

    def switch(self, ns, config, log=None):
        return Switch(ns, f"{self.prefix}-{ns.name}", config, log)

    def __getattr__(self, name):
        try:
            return self.__dict__["namespaces"][name]
        except KeyError as e:
            raise AttributeError(name) from e

    def close(self):
        for p in self.processes:
            if p.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(p.pid, signal.SIGKILL)
            p.wait()
        for s in self.switches:
            with contextlib.suppress(Failure):
                s.destroy()
        for n in self.namespaces.values():
            sh(["ip", "netns", "del", n.full], check=False)
        self.namespaces, self.processes, self.switches = {}, [], []


GATEWAY_YAML = os.path.join(ROOT, "examples/gateway.yaml")
TOR_YAML = os.path.join(ROOT, "examples/tor.yaml")
INET4, INET6 = "198.51.100.1", "2001:db8:ffff::1"
FORWARDED = "203.0.113.1"  # its port 8080 is h1's port 80


def gateway_network(lab):
    """What examples/gateway.yaml and examples/tor.yaml describe, without the switches themselves:

        h1 h2 (VLAN 10)  h3 (VLAN 20)                     r1
                \\ | /                            up1 ____/  \\____
        h4 ____ tor ======= trunk ======= sw ____/               inet 198.51.100.1, 2001:db8:ffff::1
        h5 ____/    VLAN 10, 20               \\____       ____/
        (VLAN 10, 20)                         up2   \\ r2 /
    """
    sw, tor = lab.ns("sw"), lab.ns("tor")
    for name, at, vlan, n in (("h1", sw, 10, 11), ("h2", sw, 10, 12), ("h3", sw, 20, 13), ("h4", tor, 10, 14), ("h5", tor, 20, 15)):
        lab.host(name, at, name, addrs=(f"10.0.{vlan}.{n}/24", f"2001:db8:{vlan}::{n}/64"), gw=(f"10.0.{vlan}.1", f"2001:db8:{vlan}::1"))
    lab.veth(sw, "tor", tor, "uplink")
    inet = lab.ns("inet")
    inet.addr("lo", f"{INET4}/32", f"{INET6}/128")
    for i in (1, 2):
        r = lab.router(f"r{i}")
        lab.veth(sw, f"up{i}", r, "sw")
        lab.veth(r, "inet", inet, f"r{i}")
        r.addr("sw", f"192.0.2.{4 * i - 2}/30", f"2001:db8:f{i}::2/64")
        r.addr("inet", f"192.0.2.{4 * i + 125}/30", f"2001:db8:e{i}::1/64")
        inet.addr(f"r{i}", f"192.0.2.{4 * i + 126}/30", f"2001:db8:e{i}::2/64")
        r.route(f"{INET4}/32", f"192.0.2.{4 * i + 126}")
        r.route(f"{INET6}/128", f"2001:db8:e{i}::2")
        r.route("203.0.113.0/28", f"192.0.2.{4 * i - 3}")
        for vlan in (10, 20):
            r.route(f"2001:db8:{vlan}::/64", f"2001:db8:f{i}::1")
    inet.sysctl("net.ipv4.fib_multipath_hash_policy", 1)
    inet.sysctl("net.ipv6.fib_multipath_hash_policy", 1)
    answer_by(inet, 1, 2)
    return sw, tor


def nat_network(lab, more=()):
    """Two hosts inside and one outside (`h1`, `h2`, `out`, which has `more` addresses besides) at the ports p1, p2 and wan of a gateway,
    whose namespace it returns; it is 10.0.0.1, fd00::1, 203.0.113.1 and 2001:db8::1."""
    gw = lab.ns("gw")
    lab.host("h1", gw, "p1", addrs=["10.0.0.5/24", "fd00::5/64"], gw=["10.0.0.1", "fd00::1"])
    lab.host("h2", gw, "p2", addrs=["10.0.0.6/24"], gw=["10.0.0.1"])
    lab.host("out", gw, "wan", addrs=["203.0.113.100/24", *more, "2001:db8::100/64"])
    return gw


def nat_config(rules, more="", ports=("p1", "p2")):
    """Its configuration with these rules, and lines of `more` besides; `ports`: those of them inside that are the switch's."""
    inside = "".join(f"  {p}: {{mode: access, vlan: 10}}\n" for p in ports)
    return f"""{more}ports:
{inside}  wan: {{mode: routed}}
interfaces:
  lan: {{vlan: 10, addresses: [10.0.0.1/24, "fd00::1/64"]}}
  wan: {{port: wan, addresses: [203.0.113.1/24, "2001:db8::1/64"]}}
nat:
{rules}"""


def answer_by(inet, *routers, prefixes=("203.0.113.0/28", "192.0.2.0/29", "2001:db8:10::/64", "2001:db8:20::/64")):
    """The internet's way back: by these of the routers 1 and 2."""
    for p in prefixes:
        inet.route(p, nexthops=[f"2001:db8:e{i}::1" if ":" in p else f"192.0.2.{4 * i + 125}" for i in routers],
                   src=INET6 if ":" in p else INET4)


def drops(switch, port):
    """{reason: packets} of one port."""
    return next((p.get("drops", {}) for p in switch.json("counters show")["ports"] if p["name"] == port), {})


def counters_hold(switch):
    """received = forwarded + to the host + dropped, on every port. A packet that is under way at the moment of reading is
    counted half, hence the second look."""
    wait_for("the law of counters holds", lambda: switch.cli("counters show --check", check=False).returncode == 0, timeout=5)
