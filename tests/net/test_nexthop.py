"""Nexthops by name, and their drain: what is only routed (IPv6 here, which no rule translates) stays with its bucket while it is used."""
import signal
import socket
import time

import netlab
import pytest

ISP1 = "2001:db8:f1::2"
FLOWS = range(20000, 20024)


def uplinks(w, ports, mark):
    """By which uplink each UDP source port of h1 leaves: {port: 1 or 2}."""
    by = {}
    with w.r1.sniff("sw") as one, w.r2.sniff("sw") as two:
        for port in ports:
            with w.h1.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
                s.bind(("", port))
                s.sendto(mark + b"%d." % port, (netlab.INET6, 7000))
        for n, sniffer, wait in ((1, one, 0.15), (2, two, 0.02)):
            for f in sniffer.matching(mark, wait):
                at = f.index(mark) + len(mark)
                by[int(f[at:f.index(b".", at)])] = n
    return by


def row(w):
    return next(n for n in w.gw.json("nexthop show") if n.get("via") == ISP1)


@pytest.fixture
def gw(gateway):
    """The switch; its configuration is afterwards what it was."""
    yield gateway.gw
    gateway.gw.cli(["apply", netlab.GATEWAY_YAML])


def test_routed_flows_stay_over_drain_and_restarts_until_they_are_idle(gateway, gw):
    w = gateway
    before = uplinks(w, FLOWS, b"before")
    assert set(before.values()) == {1, 2} and len(before) == len(FLOWS)
    assert w.gw.json(f"nexthop drain {ISP1}") == {"drained": 1}
    assert uplinks(w, FLOWS, b"drained") == before
    held = row(w)["buckets_in_use"]
    assert held >= 16
    for how in (signal.SIGTERM, signal.SIGKILL):
        w.gw.stop(how)
        w.gw.start()
        assert uplinks(w, FLOWS, b"restart%d" % how) == before
        assert row(w)["buckets_in_use"] == held and row(w)["state"] == "drained" and row(w)["drained_s"] >= 1
    gw.cli(["apply", w.write("idle.yaml", gw.cli("config show").stdout + "settings: {ecmp-idle-timer: 1s}\n")])
    busy = next(port for port, n in before.items() if n == 1)
    end = time.monotonic() + 5
    while row(w)["buckets_in_use"] > 1 and time.monotonic() < end:
        assert uplinks(w, [busy], b"busy") == {busy: 1}
    after = uplinks(w, FLOWS, b"after")
    assert after[busy] == 1
    moved = {port for port in FLOWS if after[port] != before[port]}
    assert moved and all(before[port] == 1 for port in moved) and len(moved) >= list(before.values()).count(1) - 3
    w.gw.cli(f"nexthop undrain {ISP1}")
    assert uplinks(w, FLOWS, b"undrained") == before
    assert "drained_s" not in row(w)


def test_group_changes_for_all_its_routes(gw):
    gw.cli("nexthop add isp1 via 192.0.2.2")
    gw.cli("nexthop add id isp2 via 192.0.2.6 dev up2")
    gw.cli("nexthop add both group isp1/isp2,3")
    for n in range(8):
        gw.cli(f"route add 10.{n + 1}.0.0/16 nhid both")
    assert gw.json("nexthop named both") == [{"name": "both", "type": "group", "routes": 8, "groups": 0, "group": [
        {"nexthop": "isp1", "weight": 1}, {"nexthop": "isp2", "weight": 3}]}]

    def vias():
        return {tuple((n["via"], n["weight"]) for n in r["nexthops"]) for r in gw.json("route show protocol static")
                if r["to"].endswith(".0.0/16")}
    assert vias() == {(("192.0.2.2", 1), ("192.0.2.6", 3))}
    assert [r.get("nexthop") for r in gw.json("route show 10.1.0.0/16")] == ["both"]
    text = gw.cli("route show 10.1.0.0/16").stdout
    assert "10.1.0.0/16 nhid both " in text and "nexthop nhid isp2 via 192.0.2.6 dev up2 weight 3" in text, text
    assert {n["name"]: n["via"] for n in gw.json("nexthop show") if "name" in n} == {"isp1": "192.0.2.2", "isp2": "192.0.2.6"}
    for words, said in (("nexthop delete both", "nexthop both is in use by 8 routes"),
                        ("nexthop delete isp1", "nexthop isp1 is in use by 1 group (both)"),
                        ("nexthop add both group isp1", "nexthop both exists already"),
                        ("nexthop replace both group isp1,257", "257 is not in 1..256"),
                        ("nexthop replace both group isp3", "no nexthop is called `isp3`"),
                        ("nexthop drain both", "'both' is a group: one of its members is wanted"),
                        ("route add 10.99.0.0/16 nhid nobody", "no nexthop is called `nobody`")):
        p = gw.cli(words, check=False)
        assert p.returncode == 1 and said in p.stdout, (words, p.stdout)
    assert gw.cli("nexthop replace both group isp2/isp1,2 --dry-run").returncode == 0
    assert vias() == {(("192.0.2.2", 1), ("192.0.2.6", 3))}
    change = gw.cli("nexthop replace both group isp2").stdout
    assert "~ nexthop both group isp1,(nexthop isp2 weight 3) -> isp2" in change, change
    assert vias() == {(("192.0.2.6", 1),)}
    assert gw.json("nexthop drain isp2") == {"drained": 1} and gw.json("nexthop undrain isp2") == {"undrained": 1}
    gw.stop(signal.SIGKILL)
    gw.start()
    assert vias() == {(("192.0.2.6", 1),)} and "both: {group: [isp2]}" in gw.cli("config show").stdout
    for n in range(8):
        gw.cli(f"route delete 10.{n + 1}.0.0/16")
    for name in ("both", "isp1", "isp2"):
        gw.cli(f"nexthop delete {name}")
    assert gw.json("nexthop named") == []
