"""The host's own answers in VRFs with the very same addresses: each leaves by the VRF that it was asked in."""
import json
import re
import socket

import pytest

import netlab
import talk

PORTS = ["r1", "b1", "d1", "v1"]


def config(blue, green, six):
    """Hosts r1, b1 and v1 in the VRFs red, blue and green, d1 in the default one: all with the same addresses, but for the gateway's IPv6
    one of each, and each with a route to what is behind its host."""
    return f"""ports:
  r1: {{mode: routed}}
  b1: {{mode: routed}}
  d1: {{mode: routed}}
  v1: {{mode: access, vlan: 10}}
vrfs:
  red: {{table: 101}}
  blue: {blue}
  green: {green}
interfaces:
  r1: {{port: r1, vrf: red, addresses: [10.0.1.1/24, "{six['r1']}/64"]}}
  b1: {{port: b1, vrf: blue, addresses: [10.0.1.1/24, "{six['b1']}/64"]}}
  d1: {{port: d1, addresses: [10.0.1.1/24, "{six['d1']}/64"]}}
  vlan10: {{vlan: 10, vrf: green, addresses: [10.0.1.1/24, "{six['v1']}/64"]}}
routes:
""" + "".join("  - {to: %s, via: '%s', vrf: %s}\n" % (to, via, vrf) for vrf in ("red", "blue", "default", "green")
              for to, via in (("198.51.100.0/24", "10.0.1.5"), ("2001:db8:77::/48", "2001:db8:1::5")))


def hosts(w, sw, gateway):
    """A host at each port; `gateway`: its gateway's addresses by family, of each."""
    for name in PORTS:
        h = w.host(name, sw, name, addrs=[f"{NEAR[4]}/24", f"{NEAR[6]}/64", f"{FAR[4]}/32", f"{FAR[6]}/128"], gw=list(gateway[name].values()))
        h.sysctl("net.ipv6.conf.all.forwarding", 0)


CONFIG = config("{table: [102, 112]}", "{table: 103, import: [{vrf: default, prefixes: [192.0.2.0/24]}]}", dict.fromkeys(PORTS, "2001:db8:1::1"))
SWAPPED = CONFIG.replace("r1: {port: r1, vrf: red,", "r1: {port: r1,").replace("d1: {port: d1,", "d1: {port: d1, vrf: red,")
# What each host has: a neighbour of the gateway, and somebody behind it.
NEAR, FAR = {4: "10.0.1.5", 6: "2001:db8:1::5"}, {4: "198.51.100.7", 6: "2001:db8:77::7"}
GATEWAY = {4: "10.0.1.1", 6: "2001:db8:1::1"}
AF = {4: socket.AF_INET, 6: socket.AF_INET6}
IP_PKTINFO = 8  # the socket module of Python 3.11 does not know it
SWITCHES = ("ipv4/fwmark_reflect", "ipv4/tcp_fwmark_accept", "ipv6/fwmark_reflect")


def rules(w):
    return [json.loads(w.sw.run(f"ip -j {f} rule show").stdout) for f in ("-4", "-6")]


def marked(w):
    return [r for family in rules(w) for r in family if "fwmark" in r]


def switches(w):
    return [w.sw.run(f"cat /proc/sys/net/{s}").stdout.strip() for s in SWITCHES]


@pytest.fixture(scope="module")
def net(shared_world):
    w, sw = shared_world, shared_world.ns("sw")
    hosts(w, sw, dict.fromkeys(PORTS, GATEWAY))
    w.before = (rules(w), switches(w))
    w.gw = w.start_switch(sw, CONFIG)
    w.gw.attached(*PORTS)
    return w


@pytest.fixture
def w(net):
    yield net
    net.gw.cli(["apply", net.write("again.yaml", CONFIG)])


def pings(w, name, family, source):
    return w.namespaces[name].ping(GATEWAY[family], source=source[family])[1]


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("source", [NEAR, FAR], ids=["near", "far"])
def test_ping_of_the_gateway_in_each_vrf(w, family, source):
    """Every host gets its own answers, and nobody else's."""
    for name in PORTS:
        others = {n: w.namespaces[n].sniff("eth0") for n in PORTS if n != name}
        try:
            assert pings(w, name, family, source) == 3, name
            want = socket.inet_pton(AF[family], GATEWAY[family]) + socket.inet_pton(AF[family], source[family])
            assert {n: len([f for f in s.matching(want, 0.05) if f[12:14] != b"\x08\x06"]) for n, s in others.items()} == dict.fromkeys(others, 0)
        finally:
            for s in others.values():
                s.close()


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("source", [NEAR, FAR], ids=["near", "far"])
def test_tcp_to_the_gateway_in_each_vrf(w, family, source):
    """One listener of the host's; connections at once out of all VRFs, from the same address and port."""
    with w.sw.socket(AF[family]) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("::" if family == 6 else "0.0.0.0", 9000))
        server.listen(8)
        for name in PORTS:
            with w.namespaces[name].socket(AF[family]) as client:
                client.bind((source[family], 0))
                client.settimeout(5)
                client.connect((GATEWAY[family], 9000))
                peer, address = server.accept()
                with peer:
                    peer.settimeout(5)
                    assert address[0] == source[family]
                    for here, there in ((client, peer), (peer, client)):
                        t, got = talk.Thread(lambda a=here: a.sendall(bytes(200000))), 0
                        while got < 200000:
                            got += len(there.recv(65536))
                        t.join()


NETDEV = {**{n: n for n in PORTS}, "v1": "vlan10"}


def ask(w, name, family, source, port):
    """A question over UDP; the answer, or None."""
    with w.namespaces[name].socket(AF[family], socket.SOCK_DGRAM) as s:
        s.bind((source[family], 0))
        s.settimeout(1)
        s.sendto(name.encode(), (GATEWAY[family], port))
        try:
            return s.recv(100)
        except OSError:
            return None


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("source", [NEAR, FAR], ids=["near", "far"])
def test_udp_by_a_socket_for_each_vrf(w, family, source):
    """Bound to the interface's netdev: what it sends finds the VRF's routes, also what nobody has asked for."""
    for name in PORTS:
        with w.sw.socket(AF[family], socket.SOCK_DGRAM) as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, NETDEV[name].encode() + b"\0")
            server.bind(("::" if family == 6 else "0.0.0.0", 9002))
            server.settimeout(3)

            def answer(server=server):
                data, address = server.recvfrom(100)
                server.sendto(b"answer to " + data, address)
            t = talk.Thread(answer)
            assert ask(w, name, family, source, 9002) == b"answer to " + name.encode(), name
            t.join()
        assert w.sw.ping(source[family], source=NETDEV[name])[1] == 3, name


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("source", [NEAR, FAR], ids=["near", "far"])
def test_udp_by_one_socket_that_says_the_interface(w, family, source):
    """It hears of each datagram's interface and names that of the answer. Who does not, answers by the table main, to somebody else."""
    level, hear, info = (socket.IPPROTO_IP, IP_PKTINFO, IP_PKTINFO) if family == 4 else (socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, socket.IPV6_PKTINFO)
    with w.sw.socket(AF[family], socket.SOCK_DGRAM) as server:
        server.bind(("::" if family == 6 else "0.0.0.0", 9003))
        server.setsockopt(level, hear, 1)
        server.settimeout(3)

        def answer(tell):
            data, control, _, address = server.recvmsg(100, 200)
            server.sendmsg([b"answer to " + data], [(level, info, c[2]) for c in control if c[1] == info] if tell else [], 0, address)
        for tell in (True, False):
            for name in PORTS:
                t = talk.Thread(answer, tell)
                got = ask(w, name, family, source, 9003)
                t.join()
                assert got == (b"answer to " + name.encode() if tell or name == "d1" else None), (name, tell)


@pytest.mark.parametrize("family", [4, 6])
def test_nobody_listens(w, family):
    """The reset finds back as well."""
    for name in PORTS:
        with w.namespaces[name].socket(AF[family]) as client, pytest.raises(ConnectionRefusedError):
            client.settimeout(3)
            client.bind((FAR[family], 0))
            client.connect((GATEWAY[family], 9001))


def test_link_local_answers(w):
    """They have no VRF, but an interface."""
    for name in PORTS:
        h = w.namespaces[name]
        netdev = "vlan10" if name == "v1" else name
        there = re.search(r"fe80::[0-9a-f:]+", w.sw.run(f"ip -6 addr show dev {netdev} scope link").stdout)[0]
        assert h.ping(f"{there}%eth0")[1] == 3, name


def test_nothing_leaves_by_another_vrf(w):
    """A source that its own VRF has no route to, but the default VRF has: the answer is nobody's; but where the VRF imports it."""
    w.d1.addr("eth0", "192.0.2.9/32")
    for name in ("r1", "v1"):
        w.namespaces[name].addr("eth0", "192.0.2.9/32")
    w.gw.cli("route add 192.0.2.0/24 via 10.0.1.5")
    try:
        with w.d1.sniff("eth0") as s:
            want = bytes([10, 0, 1, 1, 192, 0, 2, 9])
            w.r1.ping(GATEWAY[4], count=2, source="192.0.2.9")
            assert s.matching(want, 0.2) == []
            w.v1.ping(GATEWAY[4], count=2, source="192.0.2.9")
            assert len(s.matching(want, 0.2)) == 2
    finally:
        w.gw.cli("route delete 192.0.2.0/24")
        for name in ("d1", "r1", "v1"):
            w.namespaces[name].run("ip addr del 192.0.2.9/32 dev eth0")


@pytest.mark.parametrize("rp_filter", [1, 2])
def test_with_the_kernel_s_own_check_of_the_reverse_path(w, rp_filter):
    """It looks into the VRF's tables for sources that no other table has."""
    w.sw.sysctl("net.ipv4.conf.all.rp_filter", rp_filter)
    try:
        w.gw.cli("route delete 198.51.100.0/24")
        assert [pings(w, name, 4, FAR) for name in ("r1", "b1", "v1")] == [3, 3, 3]
    finally:
        w.sw.sysctl("net.ipv4.conf.all.rp_filter", 0)


def test_src_valid_mark_is_set_back(w):
    """Where sluiced has set it, in this life or before, and when the VRF, the interface or the switch goes; nowhere else."""
    def on():
        return [n for n in ("r1", "b1", "d1", "vlan10") if w.sw.run(f"cat /proc/sys/net/ipv4/conf/{n}/src_valid_mark", check=False).stdout.strip() == "1"]

    assert on() == ["r1", "b1", "vlan10"]
    w.gw.cli(["apply", w.write("other.yaml", SWAPPED)])
    assert on() == ["b1", "d1", "vlan10"]
    w.gw.stop(9)
    w.sw.sysctl("net.ipv4.conf.r1.src_valid_mark", 1)
    w.gw.start()
    w.gw.attached(*PORTS)
    w.gw.cli(["apply", w.write("again.yaml", CONFIG)])
    assert on() == ["r1", "b1", "vlan10"]
    w.gw.cli(["apply", w.write("less.yaml", "".join(x for x in CONFIG.splitlines(True) if not re.search("r1|b1|red|blue", x)))])
    assert on() == ["r1", "vlan10"]
    w.sw.sysctl("net.ipv4.conf.r1.src_valid_mark", 0)


def test_an_interface_changes_its_vrf(w):
    w.gw.cli(["apply", w.write("other.yaml", SWAPPED)])
    for name in PORTS:
        assert pings(w, name, 4, NEAR) == 3 and pings(w, name, 6, FAR) == 3, name


def test_an_interface_changes_its_vrf_between_two_lives(w):
    """The kernel's own routes of its prefixes are behind others only as long as it is in a VRF."""
    def metrics(dev):
        return [next(r.get("metric", 0) for r in json.loads(w.sw.run(f"ip -j {f} route show dev {dev} proto kernel").stdout) if r["dst"] == to)
                for f, to in (("-4", "10.0.1.0/24"), ("-6", "2001:db8:1::/64"))]

    for text, first, behind in ((SWAPPED, "r1", "d1"), (CONFIG, "d1", "r1")):
        w.gw.stop()
        with open(w.gw.config, "w") as f:
            f.write(text)
        w.gw.start()
        w.gw.attached(*PORTS)
        assert (metrics(first), metrics(behind)) == ([0, 256], [4000000000] * 2)
        assert pings(w, first, 4, NEAR) == 3 and pings(w, behind, 6, NEAR) == 3


def test_the_kernel_s_tables(w):
    have = w.sw.run("ip route show table 102 proto 83").stdout
    assert "10.0.1.0/24 dev b1" in have and "198.51.100.0/24 via 10.0.1.5 dev b1" in have
    assert "10.0.1.0/24" not in w.sw.run("ip route show table main proto 83").stdout
    found = [[(r.get("table", r.get("action")), r.get("dst")) for r in family if r.get("fwmark") == mark] for family in rules(w)
             for mark in sorted({r["fwmark"] for r in family if "fwmark" in r})]
    assert sorted([t for t, _ in x] for x in found) == sorted([
        ["101", "unreachable"], ["102", "112", "unreachable"], ["103", "main", "unreachable"],
        ["main", "101", "unreachable"], ["main", "102", "112", "unreachable"], ["main", "103", "main", "unreachable"]])
    assert all(r["protocol"] == "83" for r in marked(w)) and switches(w) == ["1"] * 3


def test_without_a_table_and_again(w):
    plain = CONFIG.replace("red: {table: 101}", "red: {}").replace("table: [102, 112]", "").replace("table: 103, ", "")
    w.gw.cli(["apply", w.write("plain.yaml", plain)])
    assert marked(w) == [] and switches(w) == w.before[1]
    assert "10.0.1.0/24" not in w.sw.run("ip route show table 101", check=False).stdout
    w.gw.cli(["apply", w.write("again.yaml", CONFIG)])
    assert pings(w, "b1", 4, FAR) == 3 and len(marked(w)) == 19


def test_what_others_have_set_stays(w):
    """A rule with the same kind of mark, and a switch that was on."""
    plain = CONFIG.replace("red: {table: 101}", "red: {}").replace("table: [102, 112]", "").replace("table: 103, ", "")
    w.gw.cli(["apply", w.write("plain.yaml", plain)])
    w.sw.sysctl("net.ipv4.fwmark_reflect", 1)
    w.sw.run("ip rule add fwmark 0x1000000/0xff000000 lookup 77 pref 5")
    try:
        w.gw.cli(["apply", w.write("again.yaml", CONFIG)])
        assert "0x1000000" not in {r["fwmark"] for r in marked(w) if r["priority"] != 5}
        assert pings(w, "r1", 4, FAR) == 3
        w.gw.cli(["apply", w.write("plain.yaml", plain)])
        assert [r["priority"] for r in marked(w)] == [5] and switches(w) == ["1", "0", "0"]
    finally:
        w.sw.run("ip rule del pref 5")
        w.sw.sysctl("net.ipv4.fwmark_reflect", 0)


def test_a_restart_and_the_end(w):
    """Another life has the same marks, and the rules of a VRF that went meanwhile go; with the instance all of it goes."""
    was = rules(w)
    w.gw.stop(9)
    assert pings(w, "r1", 4, FAR) == 3
    w.gw.start()
    assert rules(w) == was and pings(w, "b1", 6, FAR) == 3
    w.gw.stop()
    text = "".join(x for x in CONFIG.splitlines(True) if "red" not in x)
    with open(w.gw.config, "w") as f:
        f.write(text)
    w.gw.start()
    assert not [r for r in marked(w) if r.get("table") == "101"] and len(marked(w)) == 14 and pings(w, "b1", 4, FAR) == 3
    w.gw.destroy()
    assert (rules(w), switches(w)) == w.before
    with open(w.gw.config, "w") as f:
        f.write(CONFIG)
    w.gw.start()
    w.gw.attached(*PORTS)


def test_the_end_without_the_maps(w):
    """The layout of another version is not read: rules, switches and routes are known by what was saved, and nobody else's go."""
    w.gw.stop(9)
    w.sw.run("ip rule add fwmark 0x7000000/0xff000000 lookup 107 pref 1101 protocol 83")  # another instance's
    w.sw.run("ip route add 10.9.9.0/24 dev lo table 107 protocol 83")
    control = f"/sys/fs/bpf/sluice/{w.gw.instance}/maps/control"
    key = ["key", "0", "0", "0", "0"]
    value = json.loads(netlab.sh(["bpftool", "-j", "map", "lookup", "pinned", control, *key]).stdout)["value"]
    netlab.sh(["bpftool", "map", "update", "pinned", control, *key, "value", "99", *(str(int(x, 16)) for x in value[1:])])
    assert "1" in switches(w) and [r for r in marked(w) if r["priority"] == 1199]
    got = w.gw.destroy()
    assert got.returncode == 0 and "layout 99" in got.stdout, got
    left = rules(w)
    assert [r["table"] for r in marked(w)] == ["107"]
    left[0] = [r for r in left[0] if r.get("table") != "107"]
    assert (left, switches(w)) == w.before
    assert not w.sw.run("ip route show table 101").stdout and w.sw.run("ip route show table 107").stdout
    assert w.sw.run("cat /proc/sys/net/ipv4/conf/b1/src_valid_mark").stdout.strip() == "0"
    w.sw.run("ip rule del pref 1101")
    with open(w.gw.config, "w") as f:
        f.write(CONFIG)
    w.gw.start()
    w.gw.attached(*PORTS)
