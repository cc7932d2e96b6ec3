"""The API under load: what is long is answered in pieces, and others do not wait for it."""
import http.client
import json
import re
import socket
import urllib.parse

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


def in_words(status, text):
    """A refusal is JSON, and each of its errors a line of text; nothing is the switch's own failure."""
    if status < 400:
        return
    errors = json.loads(text)["errors"]
    assert status < 500 and errors and all(x["text"].isprintable() and x["message"] for x in errors), (status, text)


def endpoints(c, *methods):
    return [(e["method"], e["path"], e["help"]) for e in json.loads(c.ask("GET", "/v1")[1])["endpoints"] if e["method"] in methods]


@pytest.mark.parametrize("query", ["routes?family=5", "neighbors?family=5", "neighbors?address=10.0.0.1&to=10.0.0.0/8"])
def test_query_that_nothing_can_answer_to_is_refused(net, query):
    c = Connection(net.swc)
    status, text = c.ask("GET", "/v1/" + query)
    c.close()
    assert status == 400, text


HOSTILE_WORDS = {"bytes": b"\xff\x1b\n\xe2\x94", "zero": b"\0", "digits": b"9" * 400, "negative": b"-1", "deep": b"(" * 3000, "long": b"A" * 5000}


@pytest.mark.parametrize("words", HOSTILE_WORDS.values(), ids=HOSTILE_WORDS)
def test_hostile_queries_are_answered_in_words(net, words):
    c = Connection(net.swc)
    # of /v1/flows/watch what is understood has no end
    asked = [(method, path, name) for method, path, words_of_help in endpoints(c, "GET") if path != "/v1/flows/watch"
             for name in sorted(set(re.findall(r"\?([a-z-]+)=", words_of_help)))]
    assert len({path for _, path, _ in asked}) > 5, asked
    for method, path, name in asked:
        in_words(*c.ask(method, f"{path}?{name}={urllib.parse.quote_from_bytes(words)}"))
    in_words(*c.ask("GET", "/v1/" + urllib.parse.quote_from_bytes(words)))


HOSTILE_BODIES = {
    "empty": b"", "bytes": b'{"name": "\xff"}', "zeros": bytes(100), "surrogate": b'{"name": "\\ud800"}', "zero": b'{"name": "a\\u0000b"}',
    "escape": b'{"name": "\\u001b[31m"}', "escape key": b'{"\\u001b[31m": 1}', "huge": b'{"id": 99999999999999999999}', "infinite": b'{"mtu": 1e400}',
    "deep": b"[" * 100000, "deep objects": b'{"a":' * 5000, "twice": b'{"name": "a", "name": "b"}', "list": b'{"name": []}', "scalar": b"1",
    "yaml bytes": b"ports: [\xff]", "yaml escape": b'ports: {"\x1b[31m": {mode: access}}', "yaml itself": b"&a [*a]", "yaml deep": b"- " * 5000,
    "long": b'{"name": "' + b"k" * 70000 + b'"}'}  # fmt: skip


@pytest.mark.parametrize("body", HOSTILE_BODIES.values(), ids=HOSTILE_BODIES)
def test_hostile_bodies_are_refused_in_words(net, body):
    c = Connection(net.swc)
    before = c.ask("GET", "/v1/config")
    changes = endpoints(c, "POST", "DELETE")
    assert len(changes) > 20, changes
    for method, path, _ in changes:
        if "config" in path and path.rsplit("/", 1)[1] not in ("config", "diff", "check"):
            continue  # takes no body
        status, text = c.ask(method, path, body)
        in_words(status, text)
        assert status >= 400 or path.endswith(("/restore", "/flush")) or not body, (method, path, text)
    assert c.ask("GET", "/v1/config") == before


@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS", "TRACE", "HEAD"])
def test_method_that_is_not_for_this_api_is_refused_with_words(net, method):
    c = Connection(net.swc)
    status, text = c.ask(method, "/v1/ports", b"{}" if method in ("PUT", "PATCH") else None)
    assert status == 405
    assert method == "HEAD" or "GET, POST and DELETE" in json.loads(text)["errors"][0]["text"]
    assert method != "HEAD" or text == b""
    assert Connection(net.swc).ask("GET", "/v1/flows/count")[0] == 200
