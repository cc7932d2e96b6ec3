"""The gateway as a router, with real programs: path MTU and fragments, MSS, reverse paths, traceroute's relatives, a scan."""
import contextlib
import ctypes
import os
import re
import socket
import struct
import subprocess
import threading
import time

import pytest

import conftest
import netlab
import talk

BEHIND = "10.77.0.1"  # on h3, by a route with an MTU of 1400
IP_MTU_DISCOVER, IP_PMTUDISC_DONT, TCP_MAXSEG, UDP_SEGMENT = 10, 0, 2, 103
BPF, SO_ATTACH_BPF = 321 if os.uname().machine == "x86_64" else 280, 50
IPV4 = b"\x08\x00"


def config():
    with open(netlab.GATEWAY_YAML) as f:
        text = f.read()
    for old, new in (
        ("192.0.2.6]}", "192.0.2.6], mtu: 1400}"),
        ('f2::2"]}', 'f2::2"], mtu: 1400}\n  - {to: 10.77.0.0/24, via: 10.0.20.13, mtu: 1400}'),
        ('"2001:db8:20::1/64"]}', '"2001:db8:20::1/64"], rpf: strict}'),
        ('"2001:db8:f1::1/64"]}', '"2001:db8:f1::1/64"], rpf: loose, mss: 1300}'),
        ('"2001:db8:f2::1/64"]}', '"2001:db8:f2::1/64"], rpf: loose, mss: clamp}'),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def router(shared_world):
    w = conftest.start_gateway(shared_world, config())
    w.h3.addr("lo", f"{BEHIND}/32")
    return w


def fragments(frames):
    return [f for f in frames if f[12:14] == IPV4 and struct.unpack_from("!H", f, 20)[0] & 0x3FFF]


# ---- path MTU, fragments


@pytest.mark.parametrize("target", [netlab.INET4, netlab.INET6], ids=["v4", "v6"])
def test_path_mtu_of_a_route_is_told(router, target):
    """RFC 1191, RFC 8201: the route's MTU, not the interface's; about a packet of a flow that is known as well."""
    assert router.h2.ping(target, size=1000) == (3, 3)
    try:
        out = router.h2.run(f"ping -n -c 2 -i 0.2 -W 1 -M do -s 1430 {target}", check=False).stdout
        assert re.search(r"mtu ?= ?1400", out), out
        assert "mtu 1400" in router.h2.run(f"ip route get {target}").stdout
    finally:
        router.h2.run("ip route flush cache")
        router.h2.run("ip -6 route flush cache")


@pytest.mark.parametrize("size", [1400, 4000, 20000])
def test_large_pings_are_cut(router, size):
    """The content is compared when it comes back; behind the NAT the fragments find their way too."""
    with router.r1.sniff("sw") as one, router.r2.sniff("sw") as two:
        assert router.h1.ping(netlab.INET4, size=size, cut=True) == (3, 3)
        seen = one.frames(0.2) + two.frames(0.2)
    assert fragments(seen) and max(f.wire_len for f in seen if f[12:14] == IPV4) <= 1414


def wrong_checksums(ns):
    return int(re.search(r"UdpInCsumErrors +(\d+)", ns.run("nstat -asz UdpInCsumErrors").stdout)[1])


def all_drops(switch):
    return {p["name"]: p.get("drops", {}) for p in switch.json("counters show")["ports"]}


def test_datagrams_without_df_are_cut(router):
    """From a veth that leaves checksums to the device: the receiver must find them whole."""
    payloads, wrong = [os.urandom(1460 - i) for i in range(10)], wrong_checksums(router.h3)
    with talk.UdpEcho(router.h3, 7100) as echo, router.h3.sniff("eth0") as s:
        with router.h1.socket(kind=socket.SOCK_DGRAM) as u:
            u.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
            for payload in payloads:
                u.sendto(payload, (BEHIND, 7100))
                assert u.recv(65535) == payload
        cut = fragments(s.frames(0.2))
    assert len(cut) == 20 and len(echo.peers) == 10
    assert wrong_checksums(router.h3) == wrong
    netlab.counters_hold(router.gw)


def test_datagrams_of_udp_gso_are_taken_apart_and_cut(router):
    """Many datagrams in one skb (UDP_SEGMENT) without DF, too large for the way out: each arrives, whole and by itself."""
    size, each, rounds = 1460, 30, 20
    payloads = [os.urandom(size) for _ in range(each * rounds - 1)] + [os.urandom(700)]
    wrong = wrong_checksums(router.h3)
    with router.h3.socket(kind=socket.SOCK_DGRAM) as sink, router.h1.socket(kind=socket.SOCK_DGRAM) as u:
        sink.bind((BEHIND, 7102))
        sink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        sink.settimeout(2)
        u.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
        u.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, size)
        for i in range(0, len(payloads), each):
            u.sendto(b"".join(payloads[i : i + each]), (BEHIND, 7102))
            # one that need not be cut overtakes those that are
            assert {sink.recv(65535) for _ in range(each)} == set(payloads[i : i + each])
    assert wrong_checksums(router.h3) == wrong
    netlab.counters_hold(router.gw)


@contextlib.contextmanager
def vxlan(a, a_underlay, b, b_underlay, udp_checksum):
    """A tunnel between two hosts, whose packets are as long as the hosts' links allow; yields the address at b."""
    try:
        for n, ns, mine, peer in (1, a, a_underlay, b_underlay), (2, b, b_underlay, a_underlay):
            ns.run(f"ip link add name vx type vxlan id 7 local {mine} remote {peer} dstport 4789 {udp_checksum}")
            ns.run(f"ip addr add 10.7.0.{n}/24 dev vx")
            ns.run("ip link set vx mtu 1450 up")
        yield "10.7.0.2"
    finally:
        a.run("ip link del vx", check=False)
        b.run("ip link del vx", check=False)


@pytest.mark.parametrize("checksum", ["udpcsum", "noudpcsum"])
def test_datagrams_in_a_tunnel_are_taken_apart_and_cut(router, checksum):
    """Many datagrams in one skb, inside of VXLAN: the packets of the tunnel are too large for the way out and have no DF."""
    size, each, rounds = 1400, 30, 10
    payloads = [os.urandom(size) for _ in range(each * rounds)]
    wrong, before = wrong_checksums(router.h3), all_drops(router.gw)
    with vxlan(router.h1, "10.0.10.11", router.h3, BEHIND, checksum) as far:
        assert router.h1.ping(far) == (3, 3)
        with router.h3.socket(kind=socket.SOCK_DGRAM) as sink, router.h1.socket(kind=socket.SOCK_DGRAM) as u:
            sink.bind((far, 7103))
            sink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
            sink.settimeout(5)
            u.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, size)
            for i in range(0, len(payloads), each):
                u.sendto(b"".join(payloads[i : i + each]), (far, 7103))
                assert {sink.recv(65535) for _ in range(each)} == set(payloads[i : i + each])
    assert wrong_checksums(router.h3) == wrong and all_drops(router.gw) == before
    netlab.counters_hold(router.gw)


def socket_of_tc_index(ns, dev):
    """Receives what has a tc_index, which an skb keeps through a veth."""
    load_exit = struct.pack("<BBhiBBhi", 0x61, 0x10, 44, 0, 0x95, 0, 0, 0)  # r0 = ctx->tc_index; exit
    code, gpl = ctypes.create_string_buffer(load_exit), ctypes.create_string_buffer(b"GPL")
    attr = struct.pack("<IIQQ", 1, 2, ctypes.addressof(code), ctypes.addressof(gpl)).ljust(128, b"\0")  # BPF_PROG_TYPE_SOCKET_FILTER
    prog = ctypes.CDLL(None, use_errno=True).syscall(BPF, 5, attr, len(attr))
    assert prog >= 0, os.strerror(ctypes.get_errno())
    s = ns.socket(socket.AF_PACKET, socket.SOCK_RAW)
    s.setsockopt(socket.SOL_SOCKET, SO_ATTACH_BPF, prog)
    os.close(prog)
    s.bind((dev, 3))
    s.settimeout(0.2)
    return s


@pytest.mark.parametrize("checksum", ["udpcsum", "noudpcsum"])
def test_single_segments_in_a_tunnel_are_cut(router, checksum):
    """Each in a packet of its own, as what is sent once more is, whose checksum the sender leaves to a device: none is lost. Nothing
    is noted in the skb when it leaves."""
    before, size = all_drops(router.gw), 1398
    with vxlan(router.h1, "10.0.10.11", router.h3, BEHIND, checksum) as far, router.h3.sniff("eth0") as s:
        server = talk.tcp_server(router.h3, socket.AF_INET, 9120, talk.echo_words(20, size))
        with talk.tcp_connect(router.h1, far, 9120) as c, socket_of_tc_index(router.h3, "eth0") as noted:
            c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            c.settimeout(3)
            for _ in range(20):
                payload, got = os.urandom(size), b""
                c.sendall(payload)
                while len(got) < size:
                    got += c.recv(size)
                assert got == payload
            with pytest.raises(TimeoutError):
                print(noted.recv(64).hex())
            server.join()
        cut = fragments(s.frames(0.1))
    assert len(cut) >= 40 and all_drops(router.gw) == before
    netlab.counters_hold(router.gw)


@contextlib.contextmanager
def without_path_mtu_discovery(ns):
    ns.sysctl("net.ipv4.ip_no_pmtu_disc", 1)
    try:
        yield
    finally:
        ns.sysctl("net.ipv4.ip_no_pmtu_disc", 0)


def test_tcp_without_df_gets_smaller_segments(router):
    """A host without path MTU discovery, whose segments come in by TSO: what leaves has segments that fit, and is whole."""
    router.sw.as_a_wire("h3", lambda: router.h1.ping("10.0.20.13", count=1))
    try:
        with without_path_mtu_discovery(router.h1), router.h3.sniff("eth0") as s:
            same, _ = talk.tcp_transfer(router.h1, router.h3, BEHIND, port=9100, size=1 << 20)
            seen = [f for f in s.frames(0.1) if f[12:14] == IPV4]
    finally:
        router.sw.offload("h3", tso=True, gso=True)
        router.sw.run("tc qdisc del dev h3 root")
    full = [f for f in seen if f.wire_len == 1414 and f[23] == 6 and not fragments([f])]
    assert same and max(f.wire_len for f in seen) <= 1414 and len(full) > 400, (same, len(seen), len(full))
    netlab.counters_hold(router.gw)


@contextlib.contextmanager
def busy_machine():
    hogs = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(4)]
    try:
        yield
    finally:
        for h in hogs:
            h.kill()
            h.wait()


def reassembly(ns):
    """(datagrams put together, those that were not) since the namespace was made."""
    out = ns.run("nstat -asz IpReasmOKs IpReasmFails").stdout
    return tuple(int(re.search(rf"{key} +(\d+)", out)[1]) for key in ("IpReasmOKs", "IpReasmFails"))


def test_no_fragment_is_lost_under_load(router):
    """Every datagram arrives as fragments that fit together, however fast they come."""
    count, before = 20000, reassembly(router.h3)
    with busy_machine(), router.h3.socket(kind=socket.SOCK_DGRAM) as sink, router.h1.socket(kind=socket.SOCK_DGRAM) as u:
        sink.bind((BEHIND, 7101))
        u.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
        payload = os.urandom(1460)
        for _ in range(count):
            u.sendto(payload, (BEHIND, 7101))
        netlab.wait_for("all are put together", lambda: reassembly(router.h3)[0] - before[0] >= count, timeout=5)
    assert reassembly(router.h3) == (before[0] + count, before[1])
    netlab.counters_hold(router.gw)


def test_many_transfers_without_df_under_load(router):
    """Cut into fragments of 64 KiB each, these stopped for the 30 s that the receiver keeps incomplete datagrams."""
    with busy_machine(), without_path_mtu_discovery(router.h1):
        start = time.monotonic()
        transfers = [talk.Thread(talk.tcp_transfer, router.h1, router.h3, BEHIND, 9110 + i, 16 << 20) for i in range(4)]
        assert all(t.join(100)[0] for t in transfers)
        took = time.monotonic() - start
    failed = reassembly(router.h3)[1]
    print(f"4 transfers of 16 MiB without DF, 4 busy loops beside them: {took:.1f} s, {failed} datagrams not reassembled")
    assert took < 25
    netlab.counters_hold(router.gw)


def test_tcp_with_df_finds_the_path_mtu(router):
    with router.h3.sniff("eth0") as s:
        same, _ = talk.tcp_transfer(router.h2, router.h3, BEHIND, port=9101, size=4 << 20)
        cut = fragments(s.frames(0.1))
    router.h2.run("ip route flush cache")
    assert same and not cut


# ---- MSS


@pytest.mark.parametrize("target", [netlab.INET4, netlab.INET6], ids=["v4", "v6"])
def test_mss_is_lowered_both_ways(router, target):
    """By number on one uplink, by the route's MTU (1400) on the other."""
    limits = {1300, 1360} if "." in target else {1300, 1340}
    for i in range(8):
        server = talk.tcp_server(router.inet, talk.family_of(target), 9200 + i, lambda s, _: s.getsockopt(socket.IPPROTO_TCP, TCP_MAXSEG))
        with router.inet.sniff("r1") as one, router.inet.sniff("r2") as two, talk.tcp_connect(router.h1, target, 9200 + i) as s:
            mine, theirs = s.getsockopt(socket.IPPROTO_TCP, TCP_MAXSEG), server.join()
            syns = [f for f in one.frames(0.1) + two.frames(0.1) if offered(f)]
        assert len(syns) == 1 and offered(syns[0]) in limits
        assert mine <= max(limits) and theirs <= max(limits)


def offered(frame):
    """The MSS of a SYN; 0: it is none, or has none as its first option."""
    at = 34 if frame[12:14] == IPV4 else 54
    proto = frame[23] if at == 34 else frame[20]
    if proto != 6 or frame[at + 13] & 0x12 != 2 or frame[at + 20] != 2:
        return 0
    return struct.unpack_from("!H", frame, at + 22)[0]


# ---- sources and destinations


def udp_frame(router, ns, src, dst):
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 36, 1, 0, 64, 17, 0, socket.inet_aton(src), socket.inet_aton(dst))
    total = sum(struct.unpack("!10H", ip))
    total = (total & 0xFFFF) + (total >> 16)
    ip = ip[:10] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + ip[12:]
    gateway = "vlan20" if ns is router.h3 else "vlan10"
    macs = bytes.fromhex((router.sw.mac(gateway) + ns.mac("eth0")).replace(":", ""))
    return macs + IPV4 + ip + struct.pack("!HHHH", 4000, 9, 16, 0) + b"forged!!"


@pytest.mark.parametrize("at, src, dst, reason", [
    ("h3", "10.0.10.50", "10.0.10.11", "urpf_other_way"),
    ("h3", "198.51.100.9", "10.0.10.11", "urpf_other_way"),
    ("h1", "10.0.20.1", "10.0.20.13", "route_own_source"),
    ("h1", "10.0.20.255", "10.0.20.13", "route_broadcast_source"),
    ("h1", "10.0.10.11", "10.0.20.255", "route_broadcast"),
])
def test_forged_packets_do_not_pass(router, at, src, dst, reason):
    ns, victim = getattr(router, at), router.h1 if at == "h3" else router.h3
    before = netlab.drops(router.gw, at).get(reason, 0)
    with victim.sniff("eth0") as s:
        ns.send("eth0", *[udp_frame(router, ns, src, dst)] * 5)
        assert s.matching(b"forged!!", wait=0.3) == []
    assert netlab.drops(router.gw, at)[reason] == before + 5


def test_interface_show_says_what_it_checks(router):
    shown = {i["name"]: (i["rpf"], i.get("mss")) for i in router.gw.json("interface show")}
    assert shown == {"vlan10": ("off", None), "vlan20": ("strict", None), "up1": ("loose", 1300), "up2": ("loose", "clamp")}
    assert "strict" in router.gw.cli("interface show").stdout


# ---- traceroute and its relatives: the switch is one hop


@pytest.mark.parametrize("target", [netlab.INET4, netlab.INET6], ids=["v4", "v6"])
@pytest.mark.parametrize("how", ["-I", "-U", "-T"])
def test_traceroute(router, target, how):
    out = router.h1.run(f"traceroute -n {how} -q 1 -w 1 -m 6 {target}", check=False, timeout=30).stdout
    hops = [m[1] for m in re.finditer(r"^ *\d+ +(\S+)", out, re.M)]
    assert len(hops) == 3 and hops[0] in ("10.0.10.1", "2001:db8:10::1") and hops[2] == target, out


@pytest.mark.parametrize("target", [netlab.INET4, netlab.INET6], ids=["v4", "v6"])
@pytest.mark.parametrize("how", ["", "--udp", "--tcp"])
def test_mtr(router, target, how):
    out = router.h1.run(f"mtr -n -r -c 1 -G 1 {how} {target}", timeout=60).stdout
    hops = re.findall(r"\d+\.\|-- +(\S+)", out)
    assert len(hops) == 3 and hops[0] in ("10.0.10.1", "2001:db8:10::1") and hops[2] == target, out


@pytest.mark.parametrize("target", [netlab.INET4, netlab.INET6], ids=["v4", "v6"])
def test_tracepath(router, target):
    """Hops and the path MTU."""
    try:
        out = router.h2.run(f"tracepath -n -m 5 {target}", timeout=60).stdout
    finally:
        router.h2.run("ip route flush cache")
        router.h2.run("ip -6 route flush cache")
    assert re.search(r"^ *1: +(10\.0\.10\.1|2001:db8:10::1) ", out, re.M), out
    assert re.search(rf"^ *3: +{target} ", out, re.M) and "pmtu 1400" in out and "hops 3" in out, out


# ---- a scan of a connected /16

SCANNED = """
ports:
  a1: {mode: access, vlan: 10}
  b1: {mode: access, vlan: 30}
interfaces:
  vlan10: {vlan: 10, addresses: [10.0.10.1/24]}
  vlan30: {vlan: 30, addresses: [10.30.0.1/16]}
"""


def test_scan_neither_fills_tables_nor_starves_hosts(world):
    """65534 addresses behind a connected /16, asked for as fast as they go, while a ping to one that is there goes on."""
    sw = world.ns("sw")
    host = world.host("user", sw, "a1", addrs=["10.0.10.11/24"], gw=["10.0.10.1"])
    scanner = host
    target = world.host("target", sw, "b1", addrs=["10.30.77.7/16"], gw=["10.30.0.1"])
    gw = world.start_switch(sw, SCANNED)
    gw.attached("a1", "b1")
    assert host.ping("10.30.77.7") == (3, 3)
    world_router = type("W", (), {"sw": sw, "h3": None})
    frame = udp_frame(world_router, scanner, "10.0.10.11", "10.30.0.0")
    before = netlab.drops(gw, "a1").get("neighbor_limited", 0)
    most, stop = 0, threading.Event()
    pings = talk.Thread(lambda: host.ping("10.30.77.7", count=100, interval=0.1))
    for high in range(256):
        frames = []
        for low in range(256):
            dst = socket.inet_aton(f"10.30.{high}.{low}")
            frames.append(checked(frame[:30] + dst + frame[34:]))
        host.send("eth0", *frames)
        if high % 16 == 0:
            most = max(most, len(sw.run("ip -4 neigh show").stdout.splitlines()))
        time.sleep(0.03)
    sent, received = pings.join(120)
    stop.set()
    most = max(most, len(sw.run("ip -4 neigh show").stdout.splitlines()))
    limited = netlab.drops(gw, "a1")["neighbor_limited"] - before
    assert (sent, received) == (100, 100)
    assert most <= 512 and limited > 60000, (most, limited)
    assert len(gw.json("neighbor show")) < 1024
    netlab.wait_for("failed neighbours are forgotten", lambda: len(gw.json("neighbor show")) <= 4, timeout=20, every=0.5)
    assert target.ping("10.0.10.11") == (3, 3)
    netlab.counters_hold(gw)


def checked(frame):
    """The frame with its IPv4 header checksum made anew."""
    ip = frame[14:24] + b"\0\0" + frame[26:34]
    total = sum(struct.unpack("!10H", ip))
    total = (total & 0xFFFF) + (total >> 16)
    return frame[:24] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + frame[26:]
