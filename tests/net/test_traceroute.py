"""What traceroute, mtr and tracepath show where addresses are translated, and in VRFs: the switch is one hop, under the address of the
interface that was asked, and errors are limited. test_router.py has the same tools from inside, through SNAT."""
import re
import socket
import struct
import time

import pytest

import netlab

HOP = r"^ *\d+[.:?|-]* +(?:\|-- +)?(\S+)"


def hops(ns, command, timeout=60):
    out = ns.run(command, check=False, timeout=timeout).stdout
    return re.findall(HOP, re.sub(r"^(traceroute to|Start:|HOST:).*\n", "", out, flags=re.M), re.M), out


def of(found, *wanted):
    """Each hop is one of those it may be (there are two ways in)."""
    return len(found) == len(wanted) and all(f in w for f, w in zip(found, wanted))


ROUTERS, SWITCH, FORWARD = ("192.0.2.129", "192.0.2.133"), ("192.0.2.1", "192.0.2.5"), (netlab.FORWARDED,)


@pytest.fixture(scope="module")
def forwarded(gateway):
    """h1's port 80 is 203.0.113.1:8080 outside; somebody accepts there."""
    gateway.h1.spawn(["python3", "-m", "http.server", "80", "--bind", "10.0.10.11"])
    netlab.wait_for("h1 listens", lambda: ":80 " in gateway.h1.run("ss -ltn").stdout)
    return gateway


@pytest.mark.parametrize("command", [
    f"traceroute -n -T -p 8080 -q 1 -w 1 -m 6 {netlab.FORWARDED}",
    f"mtr -n -r -c 1 -G 1 --tcp -P 8080 -m 6 {netlab.FORWARDED}",
], ids=["traceroute", "mtr"])
def test_from_outside_to_a_forwarded_port(forwarded, command):
    """The far side is behind the NAT: a router outside, the switch under its outside address, and the address that was asked, whoever
    answers for it. No inside address is seen."""
    found, out = hops(forwarded.inet, command)
    assert of(found, ROUTERS, SWITCH, FORWARD), out
    assert "10.0.10" not in out


VRF_CONFIG = """ports:
  r1: {mode: routed}
  r2: {mode: routed}
  b1: {mode: routed}
  b2: {mode: routed}
vrfs:
  red: {}
  blue: {}
interfaces:
  r1: {port: r1, vrf: red, addresses: [10.0.1.1/24, "2001:db8:1::1/64"]}
  r2: {port: r2, vrf: red, addresses: [10.0.2.1/24, "2001:db8:2::1/64"], mtu: 1400}
  b1: {port: b1, vrf: blue, addresses: [10.0.1.77/24, "2001:db8:1::77/64"]}
  b2: {port: b2, vrf: blue, addresses: [10.0.2.77/24, "2001:db8:2::77/64"]}
"""


@pytest.fixture(scope="module")
def vrfs(shared_world):
    """Red and blue have networks of the same addresses; the switch is .1 in red and .77 in blue."""
    w = shared_world
    sw = w.ns("vsw")
    for name, net, gw in (("r1", 1, 1), ("r2", 2, 1), ("b1", 1, 77), ("b2", 2, 77)):
        w.host(name + "h", sw, name, addrs=[f"10.0.{net}.5/24", f"2001:db8:{net}::5/64"], gw=[f"10.0.{net}.{gw}", f"2001:db8:{net}::{gw}"])
    w.vrf_switch = w.start_switch(sw, VRF_CONFIG)
    w.vrf_switch.attached("r1", "r2", "b1", "b2")
    for h in (w.r1h, w.b1h):
        for target in ("10.0.2.5", "2001:db8:2::5"):
            netlab.wait_for(f"{h.name} reaches {target}", lambda h=h, target=target: h.ping(target) == (3, 3))
    return w


@pytest.mark.parametrize("target", ["10.0.2.5", "2001:db8:2::5"], ids=["v4", "v6"])
@pytest.mark.parametrize("vrf", ["red", "blue"])
@pytest.mark.parametrize("tool", ["traceroute -n -U -q 1 -w 1 -m 4", "mtr -n -r -c 1 -G 1 -m 4", "tracepath -n -m 4"],
                         ids=["traceroute", "mtr", "tracepath"])
def test_hop_of_a_vrf(vrfs, target, vrf, tool):
    """The error comes from the address of the interface in that VRF."""
    gateway = {"red": ("10.0.1.1", "2001:db8:1::1"), "blue": ("10.0.1.77", "2001:db8:1::77")}[vrf]
    host = vrfs.r1h if vrf == "red" else vrfs.b1h
    try:
        found, out = hops(host, f"{tool} {target}")
    finally:
        host.run("ip route flush cache")
        host.run("ip -6 route flush cache")
    found = [f for i, f in enumerate(found) if not i or f != found[i - 1]]  # tracepath asks twice where the MTU changed
    found = [f for f in found if "LOCALHOST" not in f]
    assert of(found, gateway, (target,)), out
    if tool.startswith("tracepath"):
        assert f"pmtu {1400 if vrf == 'red' else 1500}" in out


LIMITED = """settings: {icmp-rate: 50}
ports:
  a1: {mode: access, vlan: 10}
interfaces:
  vlan10: {vlan: 10, addresses: [10.0.10.1/24, "2001:db8:10::1/64"]}
"""


@pytest.mark.parametrize("family", [4, 6])
def test_errors_are_limited(world, family):
    """RFC 1812 4.3.2.8, RFC 4443 2.4 f: at 50 a second, a thousand packets without a route in about half a second are answered by no more
    than that, and what was not answered is counted."""
    sw = world.ns("sw")
    host = world.host("h", sw, "a1", addrs=["10.0.10.11/24", "2001:db8:10::11/64"], gw=["10.0.10.1", "2001:db8:10::1"])
    gw = world.start_switch(sw, LIMITED)
    gw.attached("a1")
    assert host.ping("10.0.10.1") == (3, 3) and host.ping("2001:db8:10::1") == (3, 3)
    target, af = ("172.31.0.1", socket.AF_INET) if family == 4 else ("2001:db8:dead::1", socket.AF_INET6)
    with host.sniff("eth0") as s, host.socket(af, socket.SOCK_DGRAM) as u:
        start = time.monotonic()
        for i in range(1000):
            try:
                u.sendto(struct.pack("!I", i), (target, 9))
            except OSError:  # the error about an earlier one
                pass
            time.sleep(0.0005)
        took = time.monotonic() - start
        frames = s.frames(0.3)
    at, kind = (34, 3) if family == 4 else (54, 1)
    errors = [f for f in frames if (f[23] == 1 if family == 4 else f[20] == 58) and f[at] == kind]
    sent = netlab.drops(gw, "a1")["route_none"]
    print(f"{sent} packets without a route in {took:.2f} s: {len(errors)} errors")
    assert sent >= 900 and 50 * took * 0.5 <= len(errors) <= 50 * took + 6
    netlab.counters_hold(gw)


def test_error_quotes_what_its_sender_sent(forwarded):
    """RFC 5508 REQ-5: about a packet that was translated, the sender inside finds his own addresses and ports in the quote."""
    w = forwarded
    with w.h2.sniff("eth0") as s, w.h2.socket(kind=socket.SOCK_DGRAM) as u:
        u.bind(("", 40404))
        u.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 2)
        u.sendto(b"who quotes me", (netlab.INET4, 33434))
        errors = [f for f in s.frames(0.5) if f[12:14] == b"\x08\x00" and f[23] == 1 and f[34] == 11]
    assert len(errors) == 1
    quote = errors[0][42:]
    assert quote[12:20] == socket.inet_aton("10.0.10.12") + socket.inet_aton(netlab.INET4)
    assert struct.unpack_from("!HH", quote, 20) == (40404, 33434) and quote[28:41] == b"who quotes me"


MAPPED = """ports:
  in: {mode: routed}
  out: {mode: routed}
interfaces:
  in: {port: in, addresses: [10.0.0.1/24, "fd00:1::1/64"]}
  out: {port: out, addresses: [203.0.113.1/24, "2001:db8:f::1/64"]}
nat:
  - {name: four, type: static, inside: 10.0.0.7, outside: 203.0.113.7, out: out}
  - {name: six, type: static, inside: "fd00:1::7", outside: "2001:db8:f::7", out: out}
"""


@pytest.fixture(scope="module")
def mapped(shared_world):
    w, gw = shared_world, shared_world.ns("mgw")
    w.host("mi", gw, "in", addrs=["10.0.0.7/24", "fd00:1::7/64"], gw=["10.0.0.1", "fd00:1::1"])
    w.host("mo", gw, "out", addrs=["203.0.113.100/24", "2001:db8:f::100/64"])
    w.mapped = w.start_switch(gw, MAPPED)
    w.mapped.attached("in", "out")
    w.mo.ping("203.0.113.7")
    return w


TOOLS = {"traceroute -I": "traceroute -n -I -q 1 -w 1 -m 5 {}", "traceroute -U": "traceroute -n -U -q 1 -w 1 -m 5 {}",
         "mtr": "mtr -n -r -c 1 -G 1 -m 5 {}", "mtr --udp": "mtr -n -r -c 1 -G 1 -m 5 --udp {}", "tracepath": "tracepath -n -m 5 {}"}


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("target, switch", [("203.0.113.7", "203.0.113.1"), ("2001:db8:f::7", "2001:db8:f::1")], ids=["v4", "v6"])
def test_hop_before_a_host_that_is_mapped_one_to_one(mapped, target, switch, tool):
    """From outside: the switch is one hop, and the host the next, under the address that was asked."""
    found, out = hops(mapped.mo, TOOLS[tool].format(target))
    shown = list(dict.fromkeys(f for f in found if f != "[LOCALHOST]"))
    assert shown == [switch, target] and "10.0.0.7" not in out and "fd00:1" not in out, out
