"""The uplinks with native XDP: the fast path carries the same traffic, with the same words said about it.

veth plays a network card here: its peers have GRO on (else a redirect into it is dropped) and checksum offload off (as frames
on a wire have whole checksums).
"""
import signal

import pytest

import conftest
import netlab
import talk


@pytest.fixture(scope="module")
def xdp(shared_world):
    w = shared_world
    text = open(netlab.GATEWAY_YAML).read()
    for i in (1, 2):
        assert f"up{i}: {{mode: routed}}" in text
        text = text.replace(f"up{i}: {{mode: routed}}", f"up{i}: {{mode: routed, xdp: native}}")
    conftest.start_gateway(w, w.write("xdp.yaml", text))
    for i in (1, 2):
        r = getattr(w, f"r{i}")
        r.offload("sw", gro=True, tx=False)
        w.sw.offload(f"up{i}", gro=True)
    return w


def passed_in_xdp(w):
    return sum(p["xdp"] for p in w.gw.json("counters show")["ports"])


def test_uplinks_say_native(xdp):
    assert [xdp.gw.port(f"up{i}")["xdp"] for i in (1, 2)] == ["native", "native"]


def test_ping_out_through_snat(xdp):
    assert xdp.h1.ping(netlab.INET4, count=10) == (10, 10)


def test_tcp_out_through_snat_is_intact(xdp):
    same, _ = talk.tcp_transfer(xdp.h1, xdp.inet, netlab.INET4, size=16 << 20)
    assert same


def test_tcp_in_through_the_port_forward_is_intact(xdp):
    same, _ = talk.tcp_transfer(xdp.inet, xdp.h1, netlab.FORWARDED, port=8080, listen=80, size=16 << 20)
    assert same


def test_tcp_v6_both_ways_is_intact(xdp):
    assert talk.tcp_transfer(xdp.h1, xdp.inet, netlab.INET6, size=8 << 20)[0]
    assert talk.tcp_transfer(xdp.inet, xdp.h1, "2001:db8:10::11", size=8 << 20)[0]


def test_uplink_to_uplink_is_forwarded_in_xdp(xdp):
    """r1 to r2 through the switch: between two cards the fast path finishes the packet itself."""
    xdp.r1.route("192.0.2.4/30", "192.0.2.1")
    xdp.r2.route("192.0.2.0/30", "192.0.2.5")
    xdp.r1.ping("192.0.2.6")
    before = passed_in_xdp(xdp)
    assert xdp.r1.ping("192.0.2.6", count=50, interval=0.01) == (50, 50)
    assert passed_in_xdp(xdp) - before >= 100, "requests and replies"


def test_tcp_from_uplink_to_uplink_is_intact(xdp):
    xdp.r1.route("192.0.2.4/30", "192.0.2.1")
    xdp.r2.route("192.0.2.0/30", "192.0.2.5")
    same, _ = talk.tcp_transfer(xdp.r1, xdp.r2, "192.0.2.6", size=16 << 20)
    assert same


def test_frame_that_ends_inside_its_tag(xdp):
    """Seen by XDP alone: behind it the kernel drops such a frame by itself."""
    before = netlab.drops(xdp.gw, "up1").get("parse_vlan_short", 0)
    mac = bytes.fromhex(xdp.sw.mac("up1").replace(":", ""))
    xdp.r1.send("sw", *[mac + bytes.fromhex("020000000201 8100 00")] * 5)
    netlab.wait_for("the drops are counted", lambda: netlab.drops(xdp.gw, "up1").get("parse_vlan_short", 0) == before + 5, timeout=2)


def test_traceroute_sees_the_switch(xdp):
    out = xdp.r1.run("traceroute -n -I -q 1 -w 1 -m 4 192.0.2.6", check=False).stdout
    assert " 192.0.2.1 " in out, out


def test_counters_add_up(xdp):
    netlab.counters_hold(xdp.gw)


def test_kills_lose_nothing_between_uplinks(xdp):
    """kill -9 and restart while packets pass in XDP: the attachment stays, the program is swapped in place."""
    xdp.r1.route("192.0.2.4/30", "192.0.2.1")
    xdp.r2.route("192.0.2.0/30", "192.0.2.5")
    xdp.r1.ping("192.0.2.6")
    before = passed_in_xdp(xdp)
    ping = talk.Thread(xdp.r1.ping, "192.0.2.6", 2000, 0.002)
    kills = 0
    while ping.is_alive():
        xdp.gw.stop(signal.SIGKILL)
        xdp.gw.start()
        kills += 1
    assert ping.join() == (2000, 2000)
    assert kills >= 3
    assert passed_in_xdp(xdp) - before > 2000, "most of them in XDP: while sluiced starts, tc may do some"
