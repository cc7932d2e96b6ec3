"""The flow table changes its size while packets go on: no packet, no flow and no mapping is lost, whatever comes in between."""
import contextlib
import os
import re
import resource
import select
import signal
import socket
import struct
import time

import pytest

import netlab
import talk

SOURCES, SERVERS = 2500, 4  # 10,000 flows
BASE_PORT = 7000


class Echo:
    """UDP servers that answer what they got and from which port."""

    def __init__(self, ns, n=SERVERS, family=socket.AF_INET):
        self.sockets = []
        for i in range(n):
            s = ns.socket(family, socket.SOCK_DGRAM)
            if family == socket.AF_INET6:
                s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            s.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE
            s.bind(("", BASE_PORT + i))
            s.setblocking(False)
            self.sockets.append(s)
        self.ended = False
        self.thread = talk.Thread(self.serve)

    def serve(self):
        while not self.ended:
            for s in select.select(self.sockets, [], [], 0.1)[0]:
                while True:
                    try:
                        data, peer = s.recvfrom(64)
                    except BlockingIOError:
                        break
                    s.sendto(data + struct.pack("!H", peer[1]), peer)

    def close(self):
        self.ended = True
        self.thread.join(5)
        for s in self.sockets:
            s.close()


class Flows:
    """Sockets inside, each with a flow to every server. round() sends on all flows and wants every answer; by the first one it
    knows which outside port a socket has."""

    def __init__(self, ns, address, sources):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 65536)), hard))
        self.ns, self.address, self.sockets, self.outside = ns, address, [], {}
        self.poll = select.epoll()
        self.by_fd = {}
        self.sent = self.lost = self.moved = self.serial = 0
        for _ in range(sources):
            self.add()

    def add(self):
        s = self.ns.socket(socket.AF_INET6 if ":" in self.address else socket.AF_INET, socket.SOCK_DGRAM)
        s.setblocking(False)
        self.sockets.append(s)
        self.by_fd[s.fileno()] = s
        self.poll.register(s, select.EPOLLIN)
        return s

    def _take(self, fd, waiting):
        s = self.by_fd[fd]
        while True:
            try:
                data = s.recv(64)
            except BlockingIOError:
                return
            serial, port = struct.unpack("!QH", data)
            waiting.discard(serial)
            if self.outside.setdefault(fd, port) != port:
                self.moved += 1

    def round(self, sockets=None, window=200, wait=3.0):
        waiting, todo = set(), [(s, i) for s in sockets or self.sockets for i in range(SERVERS)]
        end = time.monotonic() + wait
        while todo or waiting:
            while todo and len(waiting) < window:
                s, i = todo.pop()
                self.serial += 1
                waiting.add(self.serial)
                s.sendto(struct.pack("!Q", self.serial), (self.address, BASE_PORT + i))
                self.sent += 1
                end = time.monotonic() + wait
            for fd, _ in self.poll.poll(0.05, 256):
                self._take(fd, waiting)
            if time.monotonic() > end:
                self.lost += len(waiting)
                return

    def close(self):
        self.poll.close()
        for s in self.sockets:
            s.close()


@contextlib.contextmanager
def talking(w, sources):
    """Flows of so many sockets of h1, and who answers them."""
    with contextlib.closing(Echo(w.inet)), contextlib.closing(Flows(w.h1, netlab.INET4, sources)) as flows:
        yield flows


def sized(text, flows):
    return text + f"\ntables: {{flows: {flows}}}\n"


def tables(gw):
    return gw.json("flow tables")


def sizes_fit(shown):
    """What is said of a table is of one table, also while the next one is made."""
    for of, unit in (("flows", 331), ("flows6", 491)):
        t = shown[of]
        assert t["size"] * 2.5 <= t["slots"] < t["size"] * 2.5 + 15 and abs(t["bytes_per_pair"] - unit) < 3, shown
    assert abs(shown["mappings"]["bytes_per_mapping"] - 101) < 3, shown


def counted(gw, flows):
    netlab.wait_for(f"{flows} flows are in the table", lambda: tables(gw)["flows"]["pairs"] >= flows, 20)


def settled(gw, flows, timeout=60):
    def done():
        t = tables(gw)
        assert not t["error"], t["error"]
        return t["resizing"] is None and flows * 2.5 <= t["flows"]["slots"] < flows * 2.5 + 15
    netlab.wait_for(f"the tables have room for {flows} flows", done, timeout)


@pytest.fixture
def sized_gateway(gateway):
    """The example's gateway, with a table for 12,000 flows and none in it, and its text."""
    w = gateway
    w.text = open(netlab.GATEWAY_YAML).read()
    w.gw.cli("flow flush all")
    resize(w, 12000)
    for router in ("192.0.2.2", "192.0.2.6"):
        w.h1.ping(router)
    return w


def resize(w, flows, check=True):
    p = w.gw.cli(["apply", w.write("sized.yaml", sized(w.text, flows))], check=False)
    if check:
        assert p.returncode == 0, p.stdout
        settled(w.gw, flows)
    return p


def drops(gw):
    return {p["name"]: p["drops"] for p in gw.json("counters show")["ports"] if p.get("drops")}


def test_ten_thousand_flows_under_load(sized_gateway):
    """Up and down, with 10,000 flows through SNAT that go on, new ones that begin, and TCP at full speed."""
    w = sized_gateway
    w.inet.iperf3_server()
    with talking(w, SOURCES) as flows:
        flows.round()
        assert flows.lost == 0
        counted(w.gw, SOURCES * SERVERS)
        before = len(flows.outside)
        iperf = w.h2.spawn(f"iperf3 -J -c {netlab.INET4} -t 120", stdout=-1, text=True)
        rounds = shown_resizing = 0
        for size in (100000, 12500, 1048576, 12500, 30000):
            p = resize(w, size, check=False)
            assert p.returncode == 0, p.stdout
            while True:
                now = tables(w.gw)
                sizes_fit(now)
                if now["resizing"] is None:
                    break
                assert now["resizing"]["flows"] == size
                shown_resizing += 1
                flows.round([flows.add() for _ in range(5)])
                flows.round()
                rounds += 1
            assert not now["error"] and now["flows"]["size"] == size
            flows.round()
        assert iperf.poll() is None, "the TCP connection did not survive"
        os.killpg(iperf.pid, signal.SIGINT)
        report = netlab.json.loads(iperf.communicate(timeout=20)[0])
        loop = w.gw.json("status")["loop"]["cpu"]
        print(f"{flows.sent} packets each way in {rounds} rounds, {len(flows.sockets)} mappings; lost {flows.lost}, moved {flows.moved}; {loop}")
        assert loop["max_ms"] < 10, loop
        assert flows.lost == 0 and flows.moved == 0 and shown_resizing
        assert len(flows.outside) == len(flows.sockets) > before
        idle = [i["sum"]["start"] for i in report["intervals"] if i["sum"]["seconds"] > 0.5 and i["sum"]["bytes"] == 0]
        assert not idle, f"no byte moved at {idle}"
    netlab.counters_hold(w.gw)


def ask(gw):
    """As `flow tables`, without a process for it: some steps last for milliseconds."""
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(f"/run/sluice/{gw.instance}/api.sock")
        s.sendall(b"GET /v1/flows/tables HTTP/1.1\r\nHost: sluice\r\nConnection: close\r\n\r\n")
        got = b""
        while chunk := s.recv(65536):
            got += chunk
    return netlab.json.loads(got.partition(b"\r\n\r\n")[2])


def wait_for_step(gw, step):
    """True: it is in this step; False: it came to its end before one saw it."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        now = (ask(gw)["resizing"] or {}).get("step")
        if now == step:
            return True
        if now is None:
            return False
    raise netlab.Failure(f"no step {step} within 30 s")


FLOODER = """
import random, socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
src, dst = socket.inet_aton(sys.argv[1]), socket.inet_aton(sys.argv[2])
n = 0
while True:
    sport, dport, low = random.randrange(1, 65536), random.randrange(1, 65536), random.randrange(1, 255)
    there = dst[:3] + bytes([low])
    tcp = bytearray(struct.pack("!HHIIBBHHH", sport, dport, 1, 0, 0x50, 2, 8192, 0, 0))
    words = struct.unpack("!16H", src + there + struct.pack("!HH", 6, 20) + bytes(tcp))
    total = sum(words)
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    struct.pack_into("!H", tcp, 16, ~total & 0xFFFF)
    try:
        s.sendto(struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, src, there) + bytes(tcp), (socket.inet_ntoa(there), 0))
    except OSError:
        pass
"""


@contextlib.contextmanager
def flooding(ns, source):
    p = ns.spawn(["/usr/bin/python3", "-c", FLOODER, source, netlab.INET4])
    try:
        yield p
    finally:
        os.killpg(p.pid, signal.SIGKILL)
        p.wait()


def test_a_flood_meanwhile(sized_gateway):
    """SYNs from random ports to random addresses while the tables change their size, up and down: flows that go on lose nothing, pairs
    that wait take no more than their share, and all tables agree afterwards."""
    w = sized_gateway

    def bounded(size):
        """docs/flow-table.md: who waits has the places of `half_open`, half of the table's size in whole lines of eight, and no more but
        the few whose note another CPU overwrote in the same instant."""
        os.killpg(flooder.pid, signal.SIGSTOP)
        time.sleep(0.1)  # what it has sent is through
        states = {g["state"]: g["flows"] for g in w.gw.json("flow count by state")["groups"]}
        os.killpg(flooder.pid, signal.SIGCONT)
        answered = states.pop("established", 0) + states.pop("replied", 0) + states.pop("closing", 0)
        assert answered >= 1000 and sum(states.values()) <= (size // 2 + 7) // 8 * 8 + size // 1000, (answered, states)

    own = netlab.json.loads(w.h2.run("ip -j -4 addr show dev eth0").stdout)[0]["addr_info"][0]
    with talking(w, 250) as flows, contextlib.ExitStack() as flood:
        flows.round()
        counted(w.gw, 1000)
        flooder = flood.enter_context(flooding(w.h2, own["local"]))
        netlab.wait_for("who waits has filled his places", lambda: w.gw.json("counters show")["stats"]["flow_gave_way"] > 5000, 60)
        for size in (60000, 90000, 60000):  # half of the former one, what rests, and those that go on fit into the next
            assert resize(w, size, check=False).returncode == 0
            while tables(w.gw)["resizing"]:
                flows.round()
            settled(w.gw, size)
            bounded(size)
            flows.round()
        # Not even a tenth of those that wait goes in beside those that are answered: they give way, and are counted.
        gave_way = w.gw.json("counters show")["stats"]["flow_gave_way"]
        before = tables(w.gw)["flows"]["pairs"]
        p = resize(w, 5000, check=False)
        assert p.returncode == 0, p.stdout
        while tables(w.gw)["resizing"]:
            flows.round()
        settled(w.gw, 5000)
        bounded(5000)
        flows.round()
        now = tables(w.gw)
        print(f"{before} pairs, {now['flows']['pairs']} after it, {now['gave_way']} gave way for it; {flows.sent} packets each way")
        assert before - now["gave_way"] < 5000 < before
        assert w.gw.json("counters show")["stats"]["flow_gave_way"] - gave_way >= now["gave_way"]
        assert flooder.poll() is None
        assert (flows.lost, flows.moved) == (0, 0), drops(w.gw)
    w.gw.cli("flow flush all")
    netlab.wait_for("no port is held", lambda: sum(p["ports_used"] for p in w.gw.json("nat show")["pools"]) == 0, 60)
    netlab.counters_hold(w.gw)


def request(gw, what):
    """(status, body) of a GET, without a process for it."""
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(f"/run/sluice/{gw.instance}/api.sock")
        s.sendall(f"GET {what} HTTP/1.1\r\nHost: sluice\r\nConnection: close\r\n\r\n".encode())
        got = b""
        while chunk := s.recv(65536):
            got += chunk
    return int(got.split()[1]), got.partition(b"\r\n\r\n")[2]


def test_no_save_in_the_midst(sized_gateway, tmp_path):
    """A save would hold the change up for as long as its reader takes: it is refused, and the command waits until it is taken."""
    w = sized_gateway
    refused = False
    for size in (400000, 12000) * 5:
        resize(w, size, check=False)
        if wait_for_step(w.gw, "wait" if size > 12000 else "copy"):
            status, body = request(w.gw, "/v1/flows/save")
            if status == 409:
                refused = True
                assert b"the tables are changing their size: try again in some seconds" in body
                saved = w.gw.cli(["flow", "save", str(tmp_path / "f")])
                assert re.search(r"\d+ flows, \d+ mappings", saved.stdout), saved.stdout
        settled(w.gw, size)
        if refused:
            return
    raise netlab.Failure("no change of size lasted long enough to be met")


def test_killed_in_the_midst(sized_gateway):
    """kill -9 in every step of a change of size, and a new start: the tables are the old or the new ones, and whole."""
    w = sized_gateway
    killed, size = [], 300000
    with talking(w, 500) as flows:
        flows.round()
        for step in ("make", "wait", "copy", "leave", "settle"):
            size = 360000 - size
            assert resize(w, size, check=False).returncode == 0
            met = wait_for_step(w.gw, step)
            w.gw.stop(signal.SIGKILL)
            killed += [step] if met else []
            flows.round([flows.add() for _ in range(20)])
            flows.round()
            w.gw.start()
            flows.round()
            counted(w.gw, len(flows.sockets) * SERVERS)
            settled(w.gw, size)
            flows.round()
            assert (flows.lost, flows.moved) == (0, 0), f"killed in step {step}: {drops(w.gw)}"
        print(f"killed in {killed}; {flows.sent} packets each way, {len(flows.sockets)} mappings")
        assert {"make", "wait"} < set(killed), killed
    pins = os.listdir(f"/sys/fs/bpf/sluice/{w.gw.instance}/maps")
    assert "flows4" in pins and not [x for x in pins if re.search(":next|-new", x)], pins


def test_shrinking_below_what_is_in_use_is_refused(sized_gateway):
    w = sized_gateway
    with talking(w, 50) as flows:
        flows.round()
        counted(w.gw, 200)
        p = resize(w, 150, check=False)
        assert p.returncode != 0 and re.search(r"sized.yaml:\d+: tables.flows: 150 is too small: there are 20\d IPv4 flows", p.stdout), p.stdout
        assert tables(w.gw)["flows"]["size"] == 12000 and tables(w.gw)["resizing"] is None
        resize(w, 400)
        flows.round()
        assert (flows.lost, flows.moved) == (0, 0)


def test_the_tables_of_ipv6(sized_gateway):
    """`flows6` alone, and both at once: connections of both families go on, and what one has asked for only is changed."""
    w = sized_gateway
    six = contextlib.closing(Flows(w.h1, netlab.INET6, 20))
    rule = "  - {name: six, type: snat, source: '2001:db8:10::/64', to: '2001:db8:20::f0', out: [up1, up2]}\n"
    text, w.text = w.text, w.text.replace("nat:\n", "nat:\n" + rule)
    assert text != w.text
    with contextlib.closing(Echo(w.inet, family=socket.AF_INET6)), six as flows6, talking(w, 20) as flows:
        flows6.round()  # the routers are asked for at most 64 times a second
        flows6.lost = 0
        for size, size6 in ((12000, 9000), (12000, 300), (20000, 5000)):
            four = tables(w.gw)["flows"]
            text = w.text + f"\ntables: {{flows: {size}, flows6: {size6}}}\n"
            w.gw.cli(["apply", w.write("six.yaml", text)])
            while tables(w.gw)["resizing"]:
                flows.round()
                flows6.round()
            now = tables(w.gw)
            assert (now["flows"]["size"], now["flows6"]["size"], now["error"]) == (size, size6, None), now
            assert now["flows"]["slots"] == four["slots"] or size == 20000
            assert size6 * 2.5 <= now["flows6"]["slots"] < size6 * 2.5 + 15, now
            flows.round()
            flows6.round()
        assert (flows.lost, flows.moved, flows6.lost, flows6.moved) == (0, 0, 0, 0), drops(w.gw)
        assert tables(w.gw)["flows6"]["pairs"] >= 20 * SERVERS


def test_another_change_meanwhile(sized_gateway):
    """A change of size under way gives way to another size, and to a change of what the programs must be able to do."""
    w = sized_gateway
    with talking(w, 100) as flows:
        flows.round()
        for step in ("make", "wait", "copy", "leave"):
            resize(w, 400000, check=False)
            wait_for_step(w.gw, step)
            text, w.text = w.text, w.text.replace("up1: {port: up1,", "up1: {port: up1, mss: 1300,")
            assert text != w.text
            resize(w, 20000, check=False)
            flows.round()
            settled(w.gw, 20000)
            assert (flows.lost, flows.moved) == (0, 0), f"{step}: {drops(w.gw)}"
            w.text = text
            resize(w, 12000)
            flows.round()
            assert (flows.lost, flows.moved) == (0, 0), f"after {step}: {drops(w.gw)}"


def test_ends_with_the_daemon(sized_gateway):
    """SIGTERM in the midst of it."""
    w = sized_gateway
    with talking(w, 100) as flows:
        flows.round()
        for size, step in ((400000, "make"), (12000, "wait"), (400000, "leave"), (12000, "copy")):
            resize(w, size, check=False)
            wait_for_step(w.gw, step)
            w.gw.stop(signal.SIGTERM)
            flows.round()
            w.gw.start()
            settled(w.gw, size)
            flows.round()
        assert (flows.lost, flows.moved) == (0, 0)


def test_packets_are_counted_whole(sized_gateway):
    """What a flow has counted is what was sent, whichever table it was counted in."""
    w = sized_gateway
    with talking(w, 1) as flows:
        for size in (400000, 12000):
            resize(w, size, check=False)
            while tables(w.gw)["resizing"]:
                flows.round()
        shown = [f for f in w.gw.json("flow list") if f["proto"] == "udp" and BASE_PORT <= f["forward"]["dport"] < BASE_PORT + SERVERS]
        assert len(shown) == SERVERS and flows.lost == 0
        for f in shown:
            assert f["forward"]["packets"] == f["reply"]["packets"] == flows.sent / SERVERS, f
