"""VRF devices of the kernel (netdevs of type vrf with the table of a VRF of sluice's): there the kernel keeps the host's part apart by
itself, and sluiced steps aside. Not every kernel has them: tests/kernels/run.sh runs this on those that do."""
import json
import socket

import pytest

import netlab
from test_vrf_host import AF, FAR, NEAR, PORTS, config, hosts

# The kernel looks into the table `local` before that of a VRF device: an IPv6 address of its own that it has outside of the device as
# well gets no answers in it. Everybody else's may overlap.
GATEWAY = {name: {4: "10.0.1.1", 6: six} for name, six in (("r1", "2001:db8:1::a"), ("b1", "2001:db8:1::1"), ("d1", "2001:db8:1::1"),
                                                           ("v1", "2001:db8:1::b"))}
CONFIG = config("{table: 102}", "{table: 103}", {name: at[6] for name, at in GATEWAY.items()})
SO_BINDTODEVICE = 25


def marked_tables(w):
    return sorted({r.get("table") for f in ("-4", "-6") for r in json.loads(w.sw.run(f"ip -j {f} rule show").stdout)
                   if r.get("protocol") == "83" and r.get("table") not in (None, "main")})


def connected(w, table, protocol):
    """Metrics of the connected prefixes in a table of the kernel's, by who put them there."""
    return [next((r.get("metric", 0) for r in json.loads(w.sw.run(f"ip -j {f} route show table {table}", check=False).stdout or "[]")
                  if r["dst"] == to and r.get("protocol") == protocol), None) for f, to in (("-4", "10.0.1.0/24"), ("-6", "2001:db8:1::/64"))]


def enslave(w, netdev, vrf, table):
    w.sw.run(f"ip link add {vrf}-dev type vrf table {table}")
    w.sw.run(f"ip link set {vrf}-dev up")
    w.sw.run(f"ip link set {netdev} master {vrf}-dev")


@pytest.fixture(scope="module")
def w(shared_world):
    w, sw = shared_world, shared_world.ns("sw")
    hosts(w, sw, GATEWAY)
    enslave(w, "r1", "red", 101)
    w.gw = w.start_switch(sw, CONFIG)
    w.gw.attached(*PORTS)
    return w


def pings(w, name, family, source):
    """In the end: a netdev that was put into a device was down for a moment, and its addresses are tried for duplicates."""
    def all_answered():
        return w.namespaces[name].ping(GATEWAY[name][family], source=source[family])[1] == 3
    netlab.wait_for(f"{name} pings the gateway from {source[family]}", all_answered, timeout=30)


def check(w):
    for name in PORTS:
        for family in (4, 6):
            for source in (NEAR, FAR):
                pings(w, name, family, source)


def test_it_steps_aside(w):
    """No rules, no mark and no connected prefix for the VRF whose netdev is in a device; for the others as ever."""
    netlab.wait_for("the rules", lambda: marked_tables(w) == ["102", "103"], timeout=30)
    assert connected(w, 101, "83") == [None, None] and connected(w, 102, "83") != [None, None]
    netlab.wait_for("the kernel's", lambda: connected(w, 101, "kernel") == [0, 256], timeout=30)
    assert "198.51.100.0/24 via 10.0.1.5" in w.sw.run("ip route show table 101").stdout
    check(w)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["tcp", "udp"])
def test_a_service_in_the_device(w, family, kind):
    """A socket that is bound to it is in the VRF, whatever the protocol."""
    with w.sw.socket(AF[family], kind) as server, w.r1.socket(AF[family], kind) as client:
        server.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, b"red-dev\0")
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.settimeout(5)
        client.settimeout(5)
        server.bind(("::" if family == 6 else "0.0.0.0", 9000))
        client.bind((FAR[family], 0))
        if kind == socket.SOCK_STREAM:
            server.listen(1)
            client.connect((GATEWAY["r1"][family], 9000))
            peer, address = server.accept()
            with peer:
                peer.sendall(b"hello")
                assert client.recv(100) == b"hello" and address[0] == FAR[family]
        else:
            client.sendto(b"?", (GATEWAY["r1"][family], 9000))
            got, address = server.recvfrom(100)
            server.sendto(b"hello", address)
            assert client.recvfrom(100)[:1] == (b"hello",) and address[0] == FAR[family]


def test_the_kernel_s_routes_of_the_device(w):
    """What a routing daemon puts into it is the VRF's."""
    w.sw.run("ip route add vrf red-dev 198.18.0.0/16 via 10.0.1.5")
    netlab.wait_for("the route", lambda: w.gw.json("route show vrf red longer 198.18.0.0/16"), timeout=30)
    got = w.gw.json("route get 198.18.7.7 vrf red")
    assert got["verdict"] == "forward" and got["out"]["interface"] == "r1"
    w.sw.run("ip route del vrf red-dev 198.18.0.0/16")
    netlab.wait_for("no route", lambda: not w.gw.json("route show vrf red longer 198.18.0.0/16"), timeout=30)


def test_into_a_device_and_out_again(w):
    """While it runs, a netdev of a VLAN's interface too."""
    enslave(w, "vlan10", "green", 103)
    netlab.wait_for("the rules are gone", lambda: marked_tables(w) == ["102"], timeout=30)
    netlab.wait_for("the kernel's", lambda: connected(w, 103, "kernel") == [0, 256] and connected(w, 103, "83") == [None, None], timeout=30)
    check(w)
    w.sw.run("ip link set vlan10 nomaster")
    netlab.wait_for("the rules are back", lambda: marked_tables(w) == ["102", "103"], timeout=30)
    netlab.wait_for("behind", lambda: next(iter(connected(w, "main", "kernel"))) is not None and connected(w, 103, "83") != [None, None], timeout=30)
    check(w)
    w.sw.run("ip link del green-dev")


def test_a_restart(w):
    w.gw.stop(9)
    w.gw.start()
    w.gw.attached(*PORTS)
    assert marked_tables(w) == ["102", "103"] and connected(w, 101, "kernel") == [0, 256]
    check(w)
