"""A way that fails: its traffic moves to the other, and back."""
import json
import socket
import struct

import netlab
import talk


def test_pulled_cable_moves_traffic_to_the_other_uplink(own_gateway):
    w = own_gateway
    with talk.UdpEcho(w.inet, 7000):
        for _ in range(8):
            assert talk.udp_ask(w.h1, netlab.INET4, 7000, b"before")
        # The far end of the cable goes down; r1 and the internet side would still send answers by r1.
        w.r1.run("ip link set sw down")
        netlab.answer_by(w.inet, 2)
        netlab.wait_for("the route has one way left", lambda: len(
            [n for r in w.gw.json("route show") if r["to"] == "0.0.0.0/0" and r.get("active", True)
             for n in r["nexthops"] if n["state"] == "resolved"]) == 1, timeout=5)
        with w.r2.sniff("sw") as s:
            for _ in range(16):
                assert talk.udp_ask(w.h1, netlab.INET4, 7000, b"after", timeout=2.0) == b"after"
            assert len([f for f in s.frames(0.2) if b"after" in f]) >= 16


def test_connection_survives_the_failure_of_its_uplink(own_gateway):
    w = own_gateway
    t = talk.tcp_server(w.inet, socket.AF_INET, 9000, talk.echo_words(2))
    with talk.tcp_connect(w.h1, netlab.INET4, 9000) as s:
        with w.r1.sniff("sw") as one:
            s.sendall(b"one.")
            assert s.recv(4) == b"one."
            uplink = 1 if one.matching(b"one.") else 2
        getattr(w, f"r{uplink}").run("ip link set sw down")
        netlab.answer_by(w.inet, 3 - uplink)
        s.sendall(b"two.")
        assert s.recv(4) == b"two."
    t.join()


def test_healed_uplink_is_used_again(own_gateway):
    w = own_gateway

    def live():
        return len([n for r in w.gw.json("route show") if r["to"] == "0.0.0.0/0" and r.get("active", True)
                    for n in r["nexthops"] if n["state"] == "resolved"])
    netlab.wait_for("both ways are resolved", lambda: live() == 2)
    w.r1.run("ip link set sw down")
    netlab.wait_for("one way is left", lambda: live() == 1)
    w.r1.run("ip link set sw up")
    w.r1.route("203.0.113.0/28", "192.0.2.1")
    netlab.wait_for("both ways are resolved again", lambda: live() == 2, timeout=20)
    with w.r1.sniff("sw") as one, talk.UdpEcho(w.inet, 7000):
        for _ in range(24):
            assert talk.udp_ask(w.h1, netlab.INET4, 7000, b"healed") == b"healed"
        assert [f for f in one.frames(0.2) if b"healed" in f]


def uplinks(w, ports, mark):
    """By which uplink each of the connections (UDP source ports of h1) leaves: {port: 1 or 2}."""
    by = {}
    with w.r1.sniff("sw") as one, w.r2.sniff("sw") as two:
        for port in ports:
            with w.h1.socket(kind=socket.SOCK_DGRAM) as s:
                s.bind(("", port))
                s.sendto(mark + b"%d." % port, (netlab.INET4, 7000))
        for n, sniffer in ((1, one), (2, two)):
            for f in sniffer.matching(mark, 0.5):
                at = f.index(mark) + len(mark)
                by[int(f[at:f.index(b".", at)])] = n
    return by


def test_drained_gateway_keeps_its_connections(own_gateway):
    """What NAT tracks stays where it is, what is new goes elsewhere; a restart of sluiced knows of it; undrain undoes it."""
    w = own_gateway
    old, new = range(20000, 20040), range(21000, 21040)
    before = uplinks(w, old, b"before")
    assert len(before) == 40 and set(before.values()) == {1, 2}
    assert w.gw.json("nexthop drain 192.0.2.2") == {"drained": 1}
    assert {n["via"]: n["state"] for n in w.gw.json("nexthop show") if n.get("via", "").startswith("192.")} == {
        "192.0.2.2": "drained", "192.0.2.6": "resolved"}
    assert uplinks(w, old, b"drained") == before
    assert set(uplinks(w, new, b"newones").values()) == {2}
    w.gw.stop()
    w.gw.start()
    assert uplinks(w, old, b"restart") == before
    assert set(uplinks(w, range(22000, 22030), b"newagain").values()) == {2}
    w.gw.cli("nexthop undrain 192.0.2.2")
    assert uplinks(w, old, b"undrained") == before
    assert set(uplinks(w, range(23000, 23040), b"newest").values()) == {1, 2}


def test_drain_names_what_it_does_not_know(own_gateway):
    for which, words in (("192.0.2.77", "no route has the gateway 192.0.2.77"), ("x", "neither the id of a nexthop nor the address")):
        p = own_gateway.gw.cli(["nexthop", "drain", which], check=False)
        assert p.returncode == 1 and words in p.stdout


def pairs(w):
    """The table of pairs: {id: (now, first, second)}, of those that lead somewhere."""
    path = f"/sys/fs/bpf/sluice/{w.gw.instance}/maps/nexthop_pairs"
    found = {}
    for e in json.loads(netlab.sh(["bpftool", "-j", "map", "dump", "pinned", path]).stdout):
        now, first, second, _ = struct.unpack("=IIII", bytes(int(x, 16) for x in e["value"]))
        if now:
            found[struct.unpack("=I", bytes(int(x, 16) for x in e["key"]))[0]] = (now, first, second)
    return found


def test_pair_of_kernel_routes_outlives_the_link(own_gateway):
    """Both ways of the routes of a routing daemon stay what they are while the cable of the first is out: nothing is written."""
    w = own_gateway

    def taken():
        return w.gw.json("route get 10.77.0.9")["out"]["interface"]

    def chosen():
        return [r["metric"] for r in w.gw.json("route show 10.77.0.0/16") if r.get("active", True)]
    w.sw.run("ip route add 10.77.0.0/16 via 192.0.2.2 metric 100 proto bgp")
    w.sw.run("ip route add 10.77.0.0/16 via 192.0.2.6 metric 200 proto bgp")
    netlab.wait_for("they have a pair", lambda: chosen() == [100] and len(pairs(w)) == 1)
    (pair, (now, first, second)), = pairs(w).items()
    assert now == first
    for _ in range(2):
        w.r1.run("ip link set sw down")
        netlab.wait_for("the second is in force", lambda: chosen() == [200])
        assert taken() == "up2"
        for n in range(4):  # other changes, with which unused pairs go
            w.sw.run(f"ip route replace 10.{80 + n}.0.0/16 via 192.0.2.6 proto bgp")
            netlab.wait_for("it is there", lambda: w.gw.json(f"route show 10.{80 + n}.0.0/16"))
            w.sw.run(f"ip route delete 10.{80 + n}.0.0/16 via 192.0.2.6 proto bgp")
            netlab.wait_for("it is gone", lambda: not w.gw.json(f"route show 10.{80 + n}.0.0/16"))
        assert pairs(w) == {pair: (second, first, second)}
        w.r1.run("ip link set sw up")
        netlab.wait_for("the first is in force again", lambda: chosen() == [100])
        assert pairs(w) == {pair: (first, first, second)}
        assert taken() == "up1"


def test_full_table_of_pairs_is_told_and_used_again(own_gateway):
    """More pairs of ways than there may be: status says how many prefixes have none, and when others give theirs up, these get it,
    without another change."""
    w = own_gateway

    def routes():
        return w.gw.json("status")["routes"]

    def change(verb, prefixes, ways):
        w.sw.run(["ip", "-batch", w.write("pairs", "".join(
            f"route {verb} 10.{100 + i // 60}.{i % 60}.0/24 via 10.9.{up}.{1 + (i // 60 if up == 1 else i % 60)} dev up{up} onlink "
            f"metric {up} proto bgp\n" for i in prefixes for up in ways))], timeout=60)
    change("add", range(4200), (1, 2))
    netlab.wait_for("all have been looked at", lambda: routes()["unpaired"] == 105, timeout=30)
    assert routes()["pairs"] == len(pairs(w)) == 4095
    assert "4095 pairs are all there is room for: 105 prefixes" in w.gw.cli("status").stdout
    change("delete", range(100), (2,))
    netlab.wait_for("those given up are used", lambda: routes()["unpaired"] == 5, timeout=15)
    change("delete", range(100, 200), (2,))
    netlab.wait_for("all have one", lambda: routes()["unpaired"] == 0, timeout=15)
    assert "second ways" not in w.gw.cli("status").stdout
