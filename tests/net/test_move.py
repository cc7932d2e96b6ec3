"""A gateway's connections go on at another one: `sluice flow save` here, `sluice flow restore` there."""
import json
import re
import socket
import struct
import time

import pytest
from scapy.layers.inet import IP, TCP

import netlab
import talk

# The second gateway has the same rules and interfaces, and others before them: nothing has the same number there.
OTHERS = {1: "", 2: "\n  spare: {mode: access, vlan: 30}"}
OTHER_RULES = {1: "", 2: "\n  - {name: aaa, type: dnat, destination: 203.0.113.9, protocol: tcp, port: 99, to: 10.0.10.9}"}
CONFIG = """
tables: {{flows: 4096}}
ports:{others}
  lan: {{mode: access, vlan: 10}}
  wan: {{mode: routed}}
interfaces:
  vlan10: {{vlan: 10, mac: "02:00:00:00:10:01", addresses: [10.0.10.1/24, "2001:db8:10::1/64"]}}
  wan: {{port: wan, addresses: [192.0.2.1/24, "2001:db8:f::1/64"]}}
nat:{other_rules}
  - {{name: out, type: snat, source: 10.0.10.0/24, out: wan, to: 203.0.113.4/31, filtering: address-dependent, limit: {{sessions: 1000, ports: 500}}}}
  - {{name: out6, type: snat, source: "2001:db8:10::/64", out: wan, to: "2001:db8:f::40"}}
  - {{name: web, type: dnat, destination: 203.0.113.1, protocol: tcp, port: 8080, to: "10.0.10.11:80"}}
"""
INSIDE, OUTSIDE, VIP = "10.0.10.11", "192.0.2.9", "203.0.113.1"
INSIDE6, OUTSIDE6 = "2001:db8:10::11", "2001:db8:f::9"


def bridge(ns, *addrs):
    """The host stands on a bridge that leads to both gateways."""
    ns.run("ip link add br0 type bridge forward_delay 0")
    ns.run("ip link set br0 up")
    ns.addr("br0", *addrs)


class Pair:
    """in — (gw1 | gw2) — out: one of the gateways has its links up."""

    def __init__(self, world):
        self.world, self.gws = world, {}
        self.inside, self.outside = world.ns("in"), world.ns("out")
        bridge(self.inside, f"{INSIDE}/24", f"{INSIDE6}/64")
        bridge(self.outside, f"{OUTSIDE}/24", f"{OUTSIDE6}/64")
        for i in (1, 2):
            gw = world.ns(f"gw{i}")
            for side, ns in (("lan", self.inside), ("wan", self.outside)):
                world.veth(gw, side, ns, f"gw{i}")
                ns.run(f"ip link set gw{i} master br0")
                ns.run(f"ip link set gw{i} down")
            gw.run("ip link set wan address 02:00:00:00:f0:01")
            if i == 2:
                world.veth(gw, "spare", gw, "spare2")
            config = CONFIG.format(others=OTHERS[i], other_rules=OTHER_RULES[i])
            self.gws[i] = world.start_switch(gw, config, f"gw{i}")
            self.gws[i].attached("lan", "wan")
        self.inside.route("0.0.0.0/0", "10.0.10.1")
        self.inside.route("::/0", "2001:db8:10::1")
        self.outside.route("203.0.113.0/24", "192.0.2.1")

    def up(self, i):
        for ns in (self.inside, self.outside):
            ns.run(f"ip link set gw{i} up")
        netlab.wait_for(f"gateway {i} has its links", lambda: all(self.gws[i].port(p)["link"] == "up" for p in ("lan", "wan")))
        self.inside.run(f"ping -n -q -c 1 -W 5 {OUTSIDE}", check=False)

    def down(self, i):
        for ns in (self.inside, self.outside):
            ns.run(f"ip link set gw{i} down")

    def move(self, path):
        self.down(1)
        print(self.gws[1].cli(["flow", "save", path]).stdout.strip())
        p = self.gws[2].cli(["flow", "restore", path], check=False)
        print(p.stdout.strip())
        self.up(2)
        return p


@pytest.fixture
def pair(world):
    p = Pair(world)
    p.up(1)
    return p


def serve_words(s, peer):
    while word := s.recv(4, socket.MSG_WAITALL):
        s.sendall(word)
    return peer


def say(s, word):
    s.sendall(word)
    assert s.recv(4, socket.MSG_WAITALL) == word


class UdpEcho:
    """Answers each datagram with the address and port that it came from."""

    def __init__(self, ns, family, port):
        self.s = ns.socket(family, socket.SOCK_DGRAM)
        self.s.bind(("", port))
        self.s.settimeout(None)
        self.thread = talk.Thread(self.serve)

    def serve(self):
        while True:
            data, peer = self.s.recvfrom(100)
            if data == b"end":
                return
            self.s.sendto(f"{peer[0]} {peer[1]}".encode(), peer)


def seen_as(s, to):
    for _ in range(5):
        s.sendto(b"?", to)
        s.settimeout(1)
        try:
            return s.recv(100).decode()
        except TimeoutError:
            pass
    raise netlab.Failure(f"no answer from {to}")


def test_connections_go_on(pair, tmp_path):
    """TCP and UDP through SNAT, TCP through DNAT, both families: the same outside addresses and ports, and no byte lost."""
    server = talk.tcp_server(pair.outside, socket.AF_INET, 9000, serve_words)
    server6 = talk.tcp_server(pair.outside, socket.AF_INET6, 9006, serve_words)
    web = talk.tcp_server(pair.inside, socket.AF_INET, 80, serve_words)
    UdpEcho(pair.outside, socket.AF_INET, 7000)
    UdpEcho(pair.outside, socket.AF_INET6, 7006)
    udp = [pair.inside.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(50)]
    udp6 = pair.inside.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    with talk.tcp_connect(pair.inside, OUTSIDE, 9000) as tcp, talk.tcp_connect(pair.outside, VIP, 8080) as in_tcp, \
            talk.tcp_connect(pair.inside, OUTSIDE6, 9006) as tcp6:
        for s in (tcp, in_tcp, tcp6):
            say(s, b"one.")
        before = [seen_as(s, (OUTSIDE, 7000)) for s in udp]
        before6 = seen_as(udp6, (OUTSIDE6, 7006))
        assert len(set(before)) == 50 and all(x.startswith("203.0.113.") for x in before) and before6.startswith("2001:db8:f::40 ")
        path = str(tmp_path / "flows.jsonl")
        p = pair.move(path)
        assert p.returncode == 0, p.stdout
        assert int(re.match(r"(\d+) flows", p.stdout)[1]) >= 54
        assert [seen_as(s, (OUTSIDE, 7000)) for s in udp] == before
        assert seen_as(udp6, (OUTSIDE6, 7006)) == before6
        for s in (tcp, in_tcp, tcp6):
            say(s, b"two.")
    for t, prefix in ((server, "203.0.113."), (server6, "2001:db8:f::40"), (web, OUTSIDE)):
        assert t.join()[0].startswith(prefix)
    shown = [f for f in pair.gws[2].json("flow list") if f["proto"] == "tcp" and f["forward"]["dport"] == 8080]
    assert shown[0]["rule"] == "web" and shown[0]["forward"]["packets"] > 3, shown
    again = pair.gws[2].cli(["flow", "restore", path], check=False)
    assert re.match(r"0 flows and 0 mappings restored, \d+ were there already\n$", again.stdout), again.stdout
    netlab.counters_hold(pair.gws[2])


def test_ports_stay_and_come_back(pair, tmp_path):
    """What was restored holds its port: nobody else gets it; and when its flow ends, it is free again."""
    UdpEcho(pair.outside, socket.AF_INET, 7000)
    s = pair.inside.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("", 5555))
    outside = seen_as(s, (OUTSIDE, 7000))
    assert outside.endswith(" 5555")
    assert pair.move(str(tmp_path / "f")).returncode == 0

    def held():
        pools = pair.gws[2].json("nat show")["pools"]
        return next(p["used"]["udp"] for p in pools if p["name"] == "pool:out")
    assert held() >= 1
    s.close()
    pair.gws[2].cli("flow flush all")
    # A mapping that came with its flows is held for two minutes; without them it would go in some seconds.
    t = pair.inside.socket(socket.AF_INET, socket.SOCK_DGRAM)
    t.bind(("", 5555))
    assert seen_as(t, (OUTSIDE, 7000)) == outside


def test_a_kept_connection_outlives_its_rule_after_the_move(pair, tmp_path):
    """`on-delete: keep` goes with the connection: where the rule is taken away, it stays, and knows that after a restart, too."""
    config = CONFIG.replace('to: "10.0.10.11:80"}', 'to: "10.0.10.11:80", on-delete: keep}')
    without = "\n".join(x for x in CONFIG.splitlines() if "name: web," not in x) + "\n"
    for i in (1, 2):
        pair.gws[i].cli(["apply", pair.world.write("keep.yaml", config.format(others=OTHERS[i], other_rules=OTHER_RULES[i]))])
    web = talk.tcp_server(pair.inside, socket.AF_INET, 80, serve_words)
    with talk.tcp_connect(pair.outside, VIP, 8080) as s:
        say(s, b"one.")
        assert pair.move(str(tmp_path / "f")).returncode == 0
        say(s, b"two.")
        gw = pair.gws[2]
        gw.cli(["apply", pair.world.write("without.yaml", without.format(others=OTHERS[2], other_rules=OTHER_RULES[2]))])
        for n in range(30):  # three seconds, several passes over the flows
            say(s, b"%4d" % n)
            time.sleep(0.1)
        gw.stop()
        gw.start()
        for n in range(20):
            say(s, b"%4d" % n)
            time.sleep(0.1)
    web.join()


def test_a_connection_that_has_outlived_its_rule_moves(pair, tmp_path):
    """`on-delete: keep`, and the rule is gone when the flows are saved: to a gateway that has the outside address, and to none else."""
    keep = CONFIG.replace('to: "10.0.10.11:80"}', 'to: "10.0.10.11:80", on-delete: keep}').replace("out: wan, to: 203.0.113.4/31,", "out: wan, to: 203.0.113.4/31, on-delete: keep,")
    gone = "\n".join(x.replace("name: out,", "name: anew,") for x in CONFIG.splitlines() if "name: web," not in x) + "\n"

    def use(i, name, text):
        pair.gws[i].cli(["apply", pair.world.write(f"{name}{i}.yaml", text.format(others=OTHERS[i], other_rules=OTHER_RULES[i]))])

    use(1, "keep", keep)
    for family, port, ns in ((socket.AF_INET, 80, pair.inside), (socket.AF_INET, 9000, pair.outside)):
        talk.tcp_server(ns, family, port, serve_words)
    with talk.tcp_connect(pair.outside, VIP, 8080) as to, talk.tcp_connect(pair.inside, OUTSIDE, 9000) as out:
        for s in (to, out):
            say(s, b"one.")
        use(1, "gone", gone)
        use(2, "gone", gone)
        assert pair.move(str(tmp_path / "f")).returncode == 0
        for n in range(12):  # several passes over the flows
            for s in (to, out):
                say(s, b"%4d" % n)
            time.sleep(0.1)
        use(2, "without", gone.replace("203.0.113.4/31", "203.0.113.6"))
        pair.gws[2].cli("flow flush all")
        refused = pair.gws[2].cli(["flow", "restore", str(tmp_path / "f")], check=False)
        assert "nobody here has 203.0.113." in refused.stdout


def test_resets_before_and_after_the_move(pair, tmp_path):
    """A connection that was reset is so at the other gateway, too; one that goes on there can be reset by its own ends alone."""
    def abort(s):
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.close()

    def states(gw):
        return {f["forward"]["sport"]: f["state"] for f in gw.json("flow list") if f["proto"] == "tcp"}

    def serve(s, peer):
        try:
            return serve_words(s, peer)
        except ConnectionResetError:
            return "reset"

    servers = [talk.tcp_server(pair.outside, socket.AF_INET, port, serve) for port in (9000, 9001)]
    before, after = (talk.tcp_connect(pair.inside, OUTSIDE, port) for port in (9000, 9001))
    ports = [s.getsockname()[1] for s in (before, after)]
    for s in (before, after):
        say(s, b"one.")
    abort(before)
    netlab.wait_for("it is reset", lambda: states(pair.gws[1]) == {ports[0]: "reset", ports[1]: "established"})
    assert pair.move(str(tmp_path / "f")).returncode == 0
    assert states(pair.gws[2]) == {ports[0]: "reset", ports[1]: "established"}
    say(after, b"two.")
    peer = ("203.0.113.4", "203.0.113.5")
    outside = next(f["forward"].get("to-sport", ports[1]) for f in pair.gws[2].json("flow list") if f["forward"]["sport"] == ports[1])
    with pair.outside.entered():
        for to in peer:  # whoever guesses changes nothing
            raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
            segment = TCP(sport=9001, dport=outside, flags="R", seq=0x7F000000)
            raw.sendto(bytes(IP(bytes(IP(src=OUTSIDE, dst=to) / segment)))[20:], (to, 0))
            raw.close()
    say(after, b"thr.")
    assert states(pair.gws[2])[ports[1]] == "established"
    abort(after)
    netlab.wait_for("it is reset there", lambda: states(pair.gws[2])[ports[1]] == "reset")
    assert [t.join() for t in servers] == ["reset", "reset"]


def changed(lines, number, **members):
    """The line with other members, and the end's hash made to fit."""
    out = list(lines)
    if members:
        o = json.loads(out[number])
        next(iter(o.values())).update(members)
        out[number] = json.dumps(o)
    h = 0xcbf29ce484222325
    for b in "".join(x + "\n" for x in out[:-1]).encode():
        h = (h ^ b) * 0x100000001b3 & (1 << 64) - 1
    end = json.loads(out[-1])
    kinds = [next(iter(json.loads(x))) for x in out[1:-1]]
    end["end"].update(check=f"{h:016x}", mappings=kinds.count("mapping"), peers=kinds.count("peer"), flows=kinds.count("flow"))
    return out[:-1] + [json.dumps(end)]


def test_what_does_not_fit_is_refused_one_by_one(pair, tmp_path):
    UdpEcho(pair.outside, socket.AF_INET, 7000)
    socks = [pair.inside.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(8)]
    for s in socks:
        seen_as(s, (OUTSIDE, 7000))
    pair.down(1)
    path = str(tmp_path / "f")
    pair.gws[1].cli(["flow", "save", path])
    lines = open(path).read().splitlines()
    kinds = [next(iter(json.loads(x))) for x in lines]
    ours = {x["mapping"]["sport"]: i for i, x in enumerate(map(json.loads, lines)) if "mapping" in x and x["mapping"]["proto"] == 17}
    flows = {x["flow"]["sport"]: i for i, x in enumerate(map(json.loads, lines)) if "flow" in x and x["flow"]["proto"] == 17}
    ports = [s.getsockname()[1] for s in socks]
    first = json.loads(lines[ours[ports[0]]])["mapping"]
    for where, members in ((ours[ports[1]], {"rule": "gone"}), (ours[ports[2]], {"pool": "gone"}), (ours[ports[3]], {"out": "eth9"}),
                           (ours[ports[4]], {"to-src": "203.0.113.77"}), (flows[ports[5]], {"idle-ms": 400000, "reply-idle-ms": 400000}),
                           (flows[ports[6]], {"vrf": "blue"})):
        lines = changed(lines, where, **members)
    # Another host's mapping with the first one's outside port: whichever comes second is refused.
    double = {"mapping": first | {"src": "10.0.10.99"}}
    lines = changed(lines[:ours[ports[0]] + 1] + [json.dumps(double)] + lines[ours[ports[0]] + 1:], 0)
    with open(path, "w") as f:
        f.write("\n".join(lines) + "\n")
    p = pair.gws[2].cli(["-j", "flow", "restore", path], check=False)
    assert p.returncode == 1, p.stdout
    answer = json.loads(p.stdout)
    reasons = sorted(x["reason"] for x in answer["refused"])
    taken = f"port {first['to-sport']} of {first['to-src']} is taken"
    assert reasons == sorted(["there is no rule 'gone'", "there is no pool 'gone'", "there is no interface 'eth9'",
                              "203.0.113.77 is no address of pool 'pool:out'", "its time is over", "there is no VRF 'blue'", taken]
                             + ["its mapping is not there"] * 8), answer
    assert answer["restored"]["flows"] == kinds.count("flow") - 6 and answer["restored"]["mappings"] == kinds.count("mapping") - 4
    # Two go on as they were, the others are given a mapping anew.
    pair.up(2)
    for s in socks:
        assert seen_as(s, (OUTSIDE, 7000)).startswith("203.0.113.")
    assert seen_as(socks[0], (OUTSIDE, 7000)) == f"{first['to-src']} {first['to-sport']}"


def test_flags_that_do_not_fit_the_addresses_are_refused(pair, tmp_path):
    """A translation that no flag names would be done all the same, and only in part be undone."""
    UdpEcho(pair.outside, socket.AF_INET, 7000)
    with pair.inside.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        seen_as(s, (OUTSIDE, 7000))
    path = str(tmp_path / "f")
    pair.gws[1].cli(["flow", "save", path])
    lines = open(path).read().splitlines()
    (at,) = (i for i, x in enumerate(map(json.loads, lines)) if x.get("flow", {}).get("dport") == 7000)
    flow = json.loads(lines[at])["flow"]
    assert flow["flags"] == ["snat"]
    host, was = f"{OUTSIDE} port 7000", f"{INSIDE} port {flow['sport']}"
    for members, why in (({"to-dst": "192.0.2.10"}, f"{host} becomes 192.0.2.10 port 7000 without the flag 'dnat'"),
                         ({"to-dport": 7001}, f"{host} becomes {OUTSIDE} port 7001 without the flag 'dnat'"),
                         ({"flags": ["dnat"]}, f"{was} becomes {flow['to-src']} port {flow['to-sport']} without the flag 'snat'")):
        with open(path, "w") as f:
            f.write("\n".join(changed(lines, at, **members)) + "\n")
        answer = json.loads(pair.gws[2].cli(["-j", "flow", "restore", path], check=False).stdout)
        assert why in [x["reason"] for x in answer.get("refused", ())], (members, answer)
    assert pair.gws[2].json("flow list udp and dport 7000") == []


BAD = [
    ("", "is empty"),
    ("hello\n", "1: is no JSON"),
    ("{}\n", "1: is none of"),
    ('{"flow":{}}\n', "1: flow.proto: is missing"),
    ('{"header":{"version":3,"saved":1}}\n', "1: header.version: 3: this sluice reads versions 1 to 2"),
    ('{"header":{"version":1,"saved":1}}\n', "1: is cut off: its end is missing"),
    ('{"header":{"version":1,"saved":1}}\n{"header":{"version":1,"saved":1}}\n', "2: is out of order"),
    ('{"header":{"version":1,"saved":1}}\n{"end":{"mappings":0,"peers":0,"flows":0,"check":"0000000000000000"}}\n',
     "2: end.check: the file was changed, or is damaged"),
    ('{"header":{"version":1,"saved":1,"x":1}}\n', "1: header: has members that nobody knows"),
    ("x" * 100000, "1: the line has more than 2047 bytes"),
    ("\0" * 1000, "1: is no JSON"),
]


def test_hostile_files_change_nothing(pair, tmp_path):
    UdpEcho(pair.outside, socket.AF_INET, 7000)
    s = pair.inside.socket(socket.AF_INET, socket.SOCK_DGRAM)
    seen_as(s, (OUTSIDE, 7000))
    path = str(tmp_path / "f")
    pair.gws[1].cli(["flow", "save", path])
    good = open(path).read()
    at = good.index('"age-ms":') + len('"age-ms":')
    flipped = good[:at] + "1" + good[at:]
    half = good[:len(good) // 2]
    for text, why in BAD + [(flipped, "end.check"), (half, "cut off|no JSON"), (good + good, "something behind the end")]:
        with open(path, "w") as f:
            f.write(text)
        p = pair.gws[2].cli(["flow", "restore", path], check=False)
        assert p.returncode == 1 and re.search(f"{re.escape(path)}.*({why})", p.stdout), (text[:80], p.stdout)
    p = pair.gws[2].cli(["flow", "restore", "/nowhere"], check=False)
    assert p.returncode == 1 and "No such file" in p.stdout
    assert pair.gws[2].json("flow list") == []
    p = pair.gws[2].ns.run(["curl", "-s", "--unix-socket", f"/run/sluice/{pair.gws[2].instance}/api.sock", "-d", half,
                            "http://sluice/v1/flows/restore?line=7&source=f"])
    assert re.search(r"f:\d+: ", json.loads(p.stdout)["errors"][0]["text"]), p.stdout
    assert pair.gws[2].json("flow list") == []


def test_a_table_that_is_too_small(pair, tmp_path):
    """What there is room for is taken over, the rest is refused with words, the first hundred of them."""
    path, small = str(tmp_path / "f"), pair.gws[2]
    with pair.inside.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind((INSIDE, 5000))

        def have_begun():
            for i in range(900):  # more than a busy CPU may take of a burst
                s.sendto(b"x", (OUTSIDE, 7000 + i))
            return pair.gws[1].json("flow count proto udp and sport 5000")["flows"] >= 900

        netlab.wait_for("all have begun", have_begun)
    pair.gws[1].cli(["flow", "save", path])
    with open(path) as f:
        saved = f.read().count('{"flow":')
    assert saved >= 900
    with open(small.config) as f:
        text = f.read()
    small.cli(["apply", pair.world.write("small.yaml", text.replace("flows: 4096", "flows: 256"))])
    netlab.wait_for("the table is small", lambda: small.json("flow tables")["flows"]["size"] == 256)
    p = small.cli(["flow", "restore", path], check=False)
    flows, refused = map(int, re.search(r"(\d+) flows and .* mappings restored, (\d+) refused", p.stdout).groups())
    assert p.returncode == 1 and flows + refused == saved and 256 <= flows < 650, p.stdout[-200:]
    assert small.json("flow count")["flows"] == flows
    named = re.findall(rf"^{path}:\d+: (.* flow, .*): the flow table is full$", p.stdout, re.M)
    ours = [x for x in named if x.startswith(f"udp flow, {INSIDE} port 5000 to ")]
    assert len(named) == 100 and len(named) - len(ours) <= saved - 900, set(named) - set(ours)  # a flow of another test may be there
    assert f"{refused - 100} more were refused: -j names each" in p.stdout
    answer = json.loads(small.cli(["-j", "flow", "restore", path], check=False).stdout)
    assert len(answer["refused"]) == refused and {x["reason"] for x in answer["refused"]} == {"the flow table is full"}
    netlab.counters_hold(small)
