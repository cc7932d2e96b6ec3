"""The API under load: what is long is answered in pieces, and others do not wait for it."""
import http.client
import json
import socket

import pytest

import talk

pytestmark = pytest.mark.alone

STATIONS = 30000
CONFIG = """\
ports:
  e0: {mode: access, vlan: 10}
  e1: {mode: access, vlan: 10}
"""


class Connection(http.client.HTTPConnection):
    """HTTP on sluiced's socket; close() at the end."""

    def __init__(self, switch):
        super().__init__("sluice", timeout=60)
        self.path = f"/run/sluice/{switch.instance}/api.sock"

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)

    def ask(self, method, url, body=None):
        self.request(method, url, body)
        r = self.getresponse()
        return r.status, r.read()


def learn(w, count=STATIONS):
    for start in range(0, count, 1000):
        w.h0.send("eth0", *[bytes.fromhex("ffffffffffff") + b"\x02\x00" + i.to_bytes(4, "big") + b"\x88\xb5" + bytes(46)
                            for i in range(start, start + 1000)])


@pytest.fixture(scope="module")
def net(shared_world):
    w = shared_world
    sw = w.ns("sw")
    for i in range(2):
        w.host(f"h{i}", sw, f"e{i}")
    w.swc = w.start_switch(sw, CONFIG)
    w.swc.attached("e0", "e1")
    return w


def ask_while_asked(w, method, url):
    """The answer; small questions are asked while it is made."""
    small = Connection(w.swc)
    small.ask("GET", "/v1")
    thread = talk.Thread(lambda: Connection(w.swc).ask(method, url))
    while thread.is_alive():
        assert small.ask("GET", "/v1/flows/count")[0] == 200
    small.close()
    status, text = thread.join()
    assert status == 200
    return json.loads(text)


def longest_turn(w):
    """Of sluiced's event loop since its start, on the processor: what others take from it does not count. All of the stations in one
    turn would be 30 ms."""
    return w.swc.json("status")["loop"]["cpu"]


def test_stations_are_listed_in_pieces(net):
    learn(net)
    listed = ask_while_asked(net, "GET", "/v1/fdb")
    macs = {x["mac"] for x in listed}
    assert len(macs) == len(listed) >= STATIONS
    assert all(x["port"] in ("e0", "e1") and x["vlan"] == 10 for x in listed)
    assert longest_turn(net)["max_ms"] < 10, longest_turn(net)
    assert len(net.swc.json("fdb show")) >= STATIONS


def test_stations_are_forgotten_in_pieces(net):
    learn(net)
    net.h1.send("eth0", bytes.fromhex("ffffffffffff 020001000000 88b5") + bytes(46))
    answer = ask_while_asked(net, "POST", "/v1/fdb/flush?port=e0")
    assert answer["flushed"] >= STATIONS
    assert longest_turn(net)["max_ms"] < 10, longest_turn(net)
    left = [x for x in net.swc.json("fdb show") if x["mac"].startswith(("02:00:00", "02:00:01"))]
    assert [x["mac"] for x in left] == ["02:00:01:00:00:00"]


def test_flush_of_no_port_is_refused(net):
    p = net.swc.cli("fdb flush port nothing", check=False)
    assert p.returncode == 1 and "there is no port 'nothing'" in p.stdout


def test_client_that_goes_or_stops_reading_hurts_nobody(net):
    """One leaves in the middle of the list, one reads nothing at all while sluiced ends."""
    learn(net)
    pid = net.swc.process.pid
    for _ in range(20):
        c = Connection(net.swc)
        c.request("GET", "/v1/fdb")
        c.sock.recv(1000)
        c.close()
    stalled = Connection(net.swc)
    stalled.request("GET", "/v1/fdb")
    assert Connection(net.swc).ask("GET", "/v1/flows/count")[0] == 200
    process = net.swc.process
    assert process.pid == pid
    net.swc.stop()
    assert process.returncode == 0, net.swc.messages()
    stalled.close()
    net.swc.start()
    net.swc.attached("e0", "e1")


def test_neighbors_are_listed_whole(net):
    text = CONFIG + "interfaces:\n  gw: {vlan: 10, addresses: [10.10.0.1/16]}\nneighbors:\n" + "".join(
        f"  - {{address: 10.10.{i >> 8}.{i & 255}, mac: '02:00:00:00:{i >> 8:02x}:{i & 255:02x}', interface: gw}}\n"
        for i in range(2, 1000))
    net.swc.cli(["apply", net.write("many.yaml", text)])
    listed = [x["address"] for x in net.swc.json("neighbor show") if x["state"] == "static"]
    assert len(set(listed)) == len(listed) == 998


def test_words_that_are_no_text_are_refused_in_words(net):
    """What a query holds may be any bytes: the message about it is one line that JSON and a terminal can bear."""
    c = Connection(net.swc)
    status, text = c.ask("GET", "/v1/interfaces?name=%ff%1b%0a%e2%94%80")
    assert status == 404
    assert [x["text"] for x in json.loads(text)["errors"]] == ["there is no interface '???\u2500'"]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS", "TRACE", "HEAD"])
def test_method_that_is_not_for_this_api_is_refused_with_words(net, method):
    c = Connection(net.swc)
    status, text = c.ask(method, "/v1/ports", b"{}" if method in ("PUT", "PATCH") else None)
    assert status == 405
    assert method == "HEAD" or "GET, POST and DELETE" in json.loads(text)["errors"][0]["text"]
    assert method != "HEAD" or text == b""
    assert Connection(net.swc).ask("GET", "/v1/flows/count")[0] == 200
