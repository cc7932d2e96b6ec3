"""Neighbours: the kernel's are the switch's; packets to one that is not known yet wait for the answer, within bounds; one that does not
answer is reported; gateways are asked for before anybody needs them. And directed broadcasts, where an interface wants them."""
import socket
import struct
import time

import pytest

import netlab

CONFIG = """
ports:
  a1: {mode: access, vlan: 10}
  b1: {mode: access, vlan: 20}
  b2: {mode: access, vlan: 20}
  up1: {mode: routed}
interfaces:
  vlan10: {vlan: 10, addresses: [10.0.10.1/24, "2001:db8:10::1/64"]}
  vlan20: {vlan: 20, addresses: [10.0.20.1/24, "2001:db8:20::1/64"]%s}
  up1: {port: up1, addresses: [192.0.2.1/30, "2001:db8:f1::1/64"]}
routes:
  - {to: default, via: 192.0.2.2}
  - {to: "::/0", via: "2001:db8:f1::2"}
"""


@pytest.fixture(scope="module")
def net(shared_world):
    w = shared_world
    sw = w.ns("sw")
    w.host("a", sw, "a1", addrs=["10.0.10.11/24", "2001:db8:10::11/64"], gw=["10.0.10.1", "2001:db8:10::1"])
    w.host("b", sw, "b1", addrs=["10.0.20.12/24", "2001:db8:20::12/64"], gw=["10.0.20.1", "2001:db8:20::1"])
    w.host("c", sw, "b2", addrs=["10.0.20.13/24", "2001:db8:20::13/64"], gw=["10.0.20.1", "2001:db8:20::1"])
    w.host("r", sw, "up1", addrs=["192.0.2.2/30", "2001:db8:f1::2/64"])
    w.gw = w.start_switch(sw, CONFIG % "")
    w.gw.attached("a1", "b1", "b2", "up1")
    assert w.a.ping("10.0.10.1") == (3, 3) and w.a.ping("2001:db8:10::1") == (3, 3)
    return w


def unknown(w, address):
    """Nobody knows the station any more: not the kernel, not the switch."""
    w.sw.run(f"ip neigh del {address} dev vlan20", check=False)
    netlab.wait_for(f"{address} is forgotten", lambda: not [n for n in w.gw.json("neighbor show") if n["address"] == address])


def state(w, address):
    return next((n["state"] for n in w.gw.json("neighbor show") if n["address"] == address), None)


@pytest.mark.parametrize("address", ["10.0.20.12", "2001:db8:20::12"], ids=["v4", "v6"])
def test_what_the_kernel_knows_is_shown(net, address):
    assert net.a.ping(address) == (3, 3)
    shown = next(n for n in net.gw.json("neighbor show") if n["address"] == address)
    assert shown["mac"] == net.b.mac("eth0") and shown["interface"] == "vlan20"
    assert shown["mac"] in net.sw.run(f"ip neigh show {address} dev vlan20").stdout
    unknown(net, address)


@pytest.mark.parametrize("address, family", [("10.0.20.12", socket.AF_INET), ("2001:db8:20::12", socket.AF_INET6)], ids=["v4", "v6"])
def test_first_packets_wait_for_the_answer(net, address, family):
    """None of the first ten is lost, and their order stays."""
    unknown(net, address)
    with net.b.socket(family, socket.SOCK_DGRAM) as sink, net.a.socket(family, socket.SOCK_DGRAM) as s:
        sink.bind(("", 7500))
        for i in range(10):
            s.sendto(struct.pack("!I", i), (address, 7500))
        got = [struct.unpack("!I", sink.recv(100))[0] for _ in range(10)]
    assert got == list(range(10))
    netlab.counters_hold(net.gw)


def test_what_waits_is_bounded(net):
    """Of 5000 packets to one that never answers a second's worth is held at most (64, beside what the bucket had); the others are dropped
    with a reason. The sender is told, and so he is when he tries again at once (RFC 1812 5.2.7.1)."""
    before = netlab.drops(net.gw, "a1")
    with net.a.sniff("eth0") as sniffer, net.a.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for _ in range(5000):
            try:
                s.sendto(b"anybody?", ("10.0.20.99", 9))
            except OSError:  # the error about an earlier one
                pass
        netlab.wait_for("10.0.20.99 has failed", lambda: state(net, "10.0.20.99") == "failed", timeout=8)
        assert "Unreachable" in net.a.run("ping -n -c 1 -W 2 10.0.20.99", check=False).stdout
        told = [f for f in sniffer.frames(0.2) if f[12:14] == b"\x08\x00" and f[23] == 1 and f[34:36] == b"\x03\x01"]
    dropped = netlab.drops(net.gw, "a1")["neighbor_limited"] - before.get("neighbor_limited", 0)
    assert dropped >= 4500 and told and told[0][26:30] == socket.inet_aton("10.0.10.1")
    netlab.counters_hold(net.gw)


def test_a_stream_to_nobody_takes_no_first_packet_of_others(net):
    """A thousand packets a second to one that does not answer, and one packet each to a station that the kernel does not know."""
    for round_ in range(3):
        unknown(net, "10.0.20.13")
        unknown(net, f"10.0.20.{240 + round_}")
        with net.a.socket(socket.AF_INET, socket.SOCK_DGRAM) as s, net.c.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
            sink.bind(("", 7501))
            sink.settimeout(2)
            for i in range(600):
                try:
                    s.sendto(b"anybody?", (f"10.0.20.{240 + round_}", 9))
                except OSError:  # the error about an earlier one
                    pass
                if i == 599:
                    s.sendto(b"hello", ("10.0.20.13", 7501))
                time.sleep(0.0005)
            assert sink.recv(100) == b"hello"
        assert netlab.wait_for("it is being asked for, and fails", lambda r=round_: state(net, f"10.0.20.{240 + r}")) in ("incomplete", "failed")


@pytest.mark.parametrize("address", ["10.0.20.12", "2001:db8:20::12"], ids=["v4", "v6"])
@pytest.mark.parametrize("how", ["ip neigh del {0} dev vlan20", "ip neigh flush dev vlan20", "ip neigh change {0} dev vlan20 nud failed"],
                         ids=["del", "flush", "failed"])
def test_who_is_deleted_is_asked_again(net, address, how):
    """The kernel calls an entry failed before it deletes it; its station has not failed to answer."""
    assert net.a.ping(address) == (3, 3)
    net.sw.run(how.format(address))
    assert net.a.ping(address, count=5) == (5, 5)


def test_static_neighbour_that_is_deleted_is_asked(net):
    net.gw.cli(["neighbor", "add", "10.0.20.12", "mac", net.b.mac("eth0"), "interface", "vlan20"])
    assert net.a.ping("10.0.20.12") == (3, 3)
    net.gw.cli(["neighbor", "delete", "10.0.20.12", "interface", "vlan20"])
    assert net.a.ping("10.0.20.12", count=5) == (5, 5)


def counted(net):
    """(received, forwarded, dropped because nobody answered) of the sender's port."""
    c = next(p for p in net.gw.json("counters show")["ports"] if p["name"] == "a1")
    return c["rx_packets"], c["forwarded"], c.get("drops", {}).get("neighbor_failed", 0)


@pytest.mark.parametrize("address, code", [("10.0.20.98", b"\x03\x01"), ("2001:db8:20::98", b"\x01\x03")], ids=["v4", "v6"])
def test_each_packet_that_waited_is_answered(net, address, code):
    """RFC 4861 7.2.2, RFC 1812 5.2.7.1: nobody answers, and the sender of each of the ten packets that were held is told, with what he had
    sent in the error. They were sent at once, and none after."""
    v6 = ":" in address
    unknown(net, address)
    before = counted(net)
    with net.a.sniff("eth0") as sniffer, net.a.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM) as s:
        for i in range(10):
            s.sendto(b"anybody? %d" % i, (address, 9))
        told = [f[-1:] for f in sniffer.matching(b"anybody?", wait=4.5, count=20) if f[54 if v6 else 34:][:2] == code]
    assert sorted(told) == [b"%d" % i for i in range(10)]
    netlab.counters_hold(net.gw)
    received, forwarded, dropped = (x - y for x, y in zip(counted(net), before))
    assert (forwarded, dropped) == (0, 10) and received < 20, "each is counted once, as what became of it"


def test_absent_neighbour_of_ipv6_is_answered(net):
    """RFC 4443 3.1: address unreachable."""
    net.a.run("ping -n -c 4 -i 0.3 -W 1 2001:db8:20::99", check=False)
    netlab.wait_for("it has failed", lambda: state(net, "2001:db8:20::99") in ("failed", None), timeout=8)

    def told():
        return "Address unreachable" in net.a.run("ping -n -c 2 -i 0.5 -W 2 2001:db8:20::99", check=False).stdout
    netlab.wait_for("the sender is told", told, timeout=15)


@pytest.mark.parametrize("address", ["192.0.2.2", "2001:db8:f1::2"], ids=["v4", "v6"])
def test_gateway_is_kept_resolved(net, address):
    """Nobody sends anything: it is known all the same, and known again when the kernel has forgotten it."""
    def resolved():
        return any(n.get("via") == address and n["state"] == "resolved" for n in net.gw.json("nexthop show"))
    netlab.wait_for("it is resolved", resolved)
    net.sw.run(f"ip neigh del {address} dev up1")
    time.sleep(0.1)
    netlab.wait_for("it is resolved again", lambda: "lladdr" in net.sw.run(f"ip neigh show {address} dev up1").stdout and resolved(), timeout=5)


def test_station_that_is_replaced_is_found(net):
    """Another netdev with the same address and another MAC: it says so (gratuitous ARP) and is reached at once."""
    assert net.a.ping("10.0.20.13") == (3, 3)
    net.c.run("ip link set eth0 down")
    net.c.run("ip link set eth0 address 02:00:00:00:77:77")
    net.c.run("ip link set eth0 up")
    net.c.route("0.0.0.0/0", "10.0.20.1")
    net.c.ping("10.0.20.1", count=1)
    netlab.wait_for("its new MAC is known", lambda: any(
        n["address"] == "10.0.20.13" and n.get("mac") == "02:00:00:00:77:77" for n in net.gw.json("neighbor show")), timeout=10)
    assert net.a.ping("10.0.20.13") == (3, 3)


def test_directed_broadcast_is_a_key(net):
    """RFC 2644: not forwarded; with the key it is, to every station there; and not any more without."""
    def heard():
        with net.b.sniff("eth0") as one, net.c.sniff("eth0") as two, net.a.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            s.sendto(b"wake up", ("10.0.20.255", 9))
            frames = [x.matching(b"wake up", wait=0.3, count=1) for x in (one, two)]
        assert all(f[:6] == b"\xff" * 6 and f[22] == 63 for got in frames for f in got)
        return [len(got) for got in frames]
    assert heard() == [0, 0]
    net.gw.cli(["apply", net.write("with.yaml", CONFIG % ", directed-broadcast: true")])
    assert heard() == [1, 1]
    assert next(i for i in net.gw.json("interface show") if i["name"] == "vlan20")["directed_broadcast"]
    net.gw.cli(["apply", net.write("without.yaml", CONFIG % "")])
    assert heard() == [0, 0]
    assert netlab.drops(net.gw, "a1")["route_broadcast"] == 2
    netlab.counters_hold(net.gw)
