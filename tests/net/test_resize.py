"""The flow table changes its size while packets go on: no packet, no flow and no mapping is lost, whatever comes in between."""
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

    def __init__(self, ns, n=SERVERS):
        self.sockets = []
        for i in range(n):
            s = ns.socket(socket.AF_INET, socket.SOCK_DGRAM)
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
        s = self.ns.socket(socket.AF_INET, socket.SOCK_DGRAM)
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


def sized(text, flows):
    return text + f"\ntables: {{flows: {flows}}}\n"


def tables(gw):
    return gw.json("flow tables")


def settled(gw, flows, timeout=60):
    def done():
        t = tables(gw)
        assert not t["error"], t["error"]
        return t["resizing"] is None and t["flows"]["size"] == flows
    netlab.wait_for(f"the tables have room for {flows} flows", done, timeout)


@pytest.fixture
def sized_gateway(own_gateway):
    """The example's gateway, with a table for 12,000 flows, and its text."""
    w = own_gateway
    w.text = open(netlab.GATEWAY_YAML).read()
    resize(w, 12000)
    return w


def resize(w, flows, check=True):
    p = w.gw.cli(["apply", w.write("sized.yaml", sized(w.text, flows))], check=False)
    if check:
        assert p.returncode == 0, p.stdout
        settled(w.gw, flows)
    return p


def changed_by(gw, size):
    def there():
        return tables(gw)["resizing"] is None
    netlab.wait_for("the change of size has ended", there, 60)
    assert tables(gw)["flows"]["size"] == size


def test_ten_thousand_flows_under_load(sized_gateway):
    """Up and down, with 10,000 flows through SNAT that go on, new ones that begin, and TCP at full speed."""
    w = sized_gateway
    w.inet.iperf3_server()
    w.h1.ping(netlab.INET4)
    echo, flows = Echo(w.inet), Flows(w.h1, netlab.INET4, SOURCES)
    try:
        flows.round()
        assert flows.lost == 0 and tables(w.gw)["flows"]["pairs"] >= SOURCES * SERVERS
        before = len(flows.outside)
        iperf = w.h2.spawn(f"iperf3 -J -c {netlab.INET4} -t 120", stdout=-1, text=True)
        rounds = 0
        for size in (100000, 12500, 1048576, 12500, 30000):
            p = resize(w, size, check=False)
            assert p.returncode == 0, p.stdout
            while True:
                flows.round([flows.add() for _ in range(5)])
                flows.round()
                rounds += 1
                now = tables(w.gw)
                if now["resizing"] is None:
                    break
            assert not now["error"] and now["flows"]["size"] == size
            flows.round()
        assert iperf.poll() is None, "the TCP connection did not survive"
        os.killpg(iperf.pid, signal.SIGINT)
        report = netlab.json.loads(iperf.communicate(timeout=20)[0])
        print(f"{flows.sent} packets each way in {rounds} rounds, {len(flows.sockets)} mappings; lost {flows.lost}, moved {flows.moved}; "
              f"loop {w.gw.json('status')['loop_max_ms']} ms")
        assert flows.lost == 0 and flows.moved == 0
        assert len(flows.outside) == len(flows.sockets) > before
        idle = [i["sum"]["start"] for i in report["intervals"] if i["sum"]["seconds"] > 0.5 and i["sum"]["bytes"] == 0]
        assert not idle, f"no byte moved at {idle}"
    finally:
        flows.close()
        echo.close()
    netlab.counters_hold(w.gw)
