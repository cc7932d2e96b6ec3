"""A cable is pulled: what was sent there is counted as lost, a station that moved is found again, others notice nothing."""
import pytest

import netlab
import talk

CONFIG = """\
ports:
  p1: {mode: access, vlan: 10}
  p2: {mode: access, vlan: 10}
  p3: {mode: access, vlan: 10}
interfaces:
  gw: {vlan: 10, addresses: [10.0.10.1/24]}
"""


@pytest.fixture
def net(world):
    """Three hosts on VLAN 10."""
    sw = world.ns("sw")
    for i in (1, 2, 3):
        world.host(f"h{i}", sw, f"p{i}", addrs=[f"10.0.10.1{i}/24"])
    world.swc = world.start_switch(sw, CONFIG)
    world.swc.attached("p1", "p2", "p3", "sw-gw")
    for i in (2, 3):
        assert world.h1.ping(f"10.0.10.1{i}") == (3, 3)
    return world


def port_of(w, mac):
    return next((x["port"] for x in w.swc.json("fdb show") if x["mac"] == mac), None)


def link_is(w, port, state):
    netlab.wait_for(f"the link of {port} is {state}", lambda: w.swc.port(port)["link"] == state, timeout=3)


def unicast(w, mac, text):
    """From h1 to a MAC, ten of them."""
    dst, src = (bytes.fromhex(m.replace(":", "")) for m in (mac, w.h1.mac("eth0")))
    w.h1.send("eth0", *[dst + src + bytes.fromhex("88b5") + text + bytes(46)] * 10)


def test_unicast_to_a_dead_port_is_no_forwarded_packet(net):
    """Without a station the frames are flooded; with a static one there is one place to go to, and it is dead."""
    mac = net.h2.mac("eth0")
    net.h2.run("ip link set eth0 down")
    netlab.wait_for("the station is forgotten", lambda: port_of(net, mac) is None, timeout=3)
    link_is(net, "p2", "down")
    net.swc.cli(f"fdb add {mac} vlan 10 port p2")
    unicast(net, mac, b"into the dark")
    netlab.wait_for("ten drops", lambda: netlab.drops(net.swc, "p1").get("egress_port_down", 0) == 10, timeout=3)
    netlab.counters_hold(net.swc)


def test_station_that_moved_and_is_quiet_is_reached(net):
    mac = net.h2.mac("eth0")
    net.h2.run("ip link set eth0 down")
    link_is(net, "p2", "down")
    with net.h3.sniff("eth0") as sniffer:
        unicast(net, mac, b"where are you")
        assert len(sniffer.matching(b"where are you", wait=2, count=10)) == 10
    netlab.counters_hold(net.swc)


def test_cable_that_is_plugged_in_again(net):
    for command in ("ip link set eth0 down", "ip link set eth0 up"):
        net.h2.run(command)
    link_is(net, "p2", "up")
    netlab.wait_for("h2 is reached", lambda: net.h1.ping("10.0.10.12", count=1) == (1, 1), timeout=5)
    assert net.h1.ping("10.0.10.12") == (3, 3)
    with net.h2.sniff("eth0") as sniffer:
        unicast(net, "02:00:00:00:99:99", b"a flood")
        assert len(sniffer.matching(b"a flood", wait=2, count=10)) == 10


def test_port_that_is_set_down_and_up(net):
    net.sw.run("ip link set p2 down")
    link_is(net, "p2", "down")
    assert net.h1.ping("10.0.10.12", count=1)[1] == 0
    assert "p2" in net.swc.cli("vlan show").stdout, "it is a member all the same"
    net.sw.run("ip link set p2 up")
    link_is(net, "p2", "up")
    netlab.wait_for("h2 is reached", lambda: net.h1.ping("10.0.10.12", count=1) == (1, 1), timeout=5)
    netlab.counters_hold(net.swc)


def test_interface_that_is_set_down_and_up(net):
    """The switch's end of its pair is a port like the others."""
    net.sw.run("ip link set gw down")
    link_is(net, "sw-gw", "down")
    assert net.h1.ping("10.0.10.12") == (3, 3)
    netlab.counters_hold(net.swc)
    net.sw.run("ip link set gw up")
    link_is(net, "sw-gw", "up")
    netlab.wait_for("the gateway answers", lambda: net.h1.ping("10.0.10.1", count=1) == (1, 1), timeout=5)


def test_others_lose_nothing_while_a_cable_comes_and_goes(net):
    ping = talk.Thread(net.h1.ping, "10.0.10.13", 1000, 0.003)
    flaps = 0
    while ping.is_alive():
        net.h2.run("ip link set eth0 down")
        net.h2.run("ip link set eth0 up")
        flaps += 1
    assert ping.join() == (1000, 1000)
    assert flaps >= 5
