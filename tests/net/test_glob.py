"""Ports named by a glob: they join when the netdev appears, and leave with it."""
import signal

import pytest

import netlab

CONFIG = """\
ports:
  "vnet*": {mode: access, vlan: 10}
  t1: {mode: trunk, vlans: [10]}
"""


@pytest.fixture(scope="module")
def net(shared_world):
    w = shared_world
    w.swc = w.start_switch(w.ns("sw"), CONFIG)
    w.host("p0", w.sw, "vnet0", addrs=["10.0.10.10/24"])
    w.swc.attached("vnet0")
    return w


def test_glob_without_a_netdev_waits(net):
    assert net.swc.port("t1")["state"] == "waiting"


def test_port_attaches_when_the_netdev_appears(net):
    net.host("p1", net.sw, "vnet1", addrs=["10.0.10.11/24"])
    net.swc.attached("vnet1")
    assert net.p0.ping("10.0.10.11") == (3, 3)


def test_port_detaches_when_the_netdev_is_gone(net):
    net.host("p2", net.sw, "vnet2", addrs=["10.0.10.12/24"])
    net.swc.attached("vnet2")
    net.sw.run("ip link del vnet2")
    netlab.wait_for("vnet2 is gone", lambda: net.swc.port("vnet2") is None)


def test_netdev_that_comes_back_works_again(net):
    net.host("p3", net.sw, "vnet3", addrs=["10.0.10.13/24"])
    net.swc.attached("vnet3")
    assert net.p0.ping("10.0.10.13") == (3, 3)
    net.sw.run("ip link del vnet3")
    netlab.wait_for("vnet3 is gone", lambda: net.swc.port("vnet3") is None)
    net.veth(net.sw, "vnet3", net.p3, "eth0")
    net.p3.addr("eth0", "10.0.10.13/24")
    net.swc.attached("vnet3")
    net.p0.run("ip neigh flush all")  # the new netdev has another MAC
    assert net.p0.ping("10.0.10.13") == (3, 3)


def test_netdev_whose_name_is_no_text_is_shown(net):
    """The kernel takes any bytes for a name, JSON does not: it is a port like others, and what is no text in it is a question mark."""
    before = len(net.swc.json("port show"))
    net.sw.run(["ip", "link", "add", b"vnet\xff6", "type", "veth", "peer", "name", "far6"])
    net.sw.run(["ip", "link", "set", b"vnet\xff6", "up"])
    net.sw.run("ip link set far6 up")
    net.swc.attached("vnet?6")
    net.sw.send("far6", bytes.fromhex("ffffffffffff 020000000066 88b5") + bytes(46))
    netlab.wait_for("its station is learned", lambda: any(x.get("port") == "vnet?6" for x in net.swc.json("fdb show")))
    assert "vnet?6" in [p["name"] for p in net.swc.json("counters show")["ports"]]
    assert "vnet?6" in str(net.swc.json("vlan show"))
    net.sw.run("ip link del far6")
    netlab.wait_for("it is gone", lambda: len(net.swc.json("port show")) == before)


def test_netdev_that_no_glob_matches_stays_untouched(net):
    net.host("p4", net.sw, "other0", addrs=["10.0.10.14/24"])
    assert net.swc.port("other0") is None
    assert net.p0.ping("10.0.10.14", count=2)[1] == 0


def test_netdev_that_appears_in_the_daemons_absence(net):
    """kill -9, a new netdev, start again: it is found."""
    net.swc.stop(signal.SIGKILL)
    net.host("p5", net.sw, "vnet5", addrs=["10.0.10.15/24"])
    net.swc.start()
    net.swc.attached("vnet5")
    assert net.p0.ping("10.0.10.15") == (3, 3)
