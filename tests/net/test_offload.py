"""Offloads: TSO, checksum offload and tags in the skb or in the data must not change one byte of what arrives."""
import subprocess

import pytest

import talk


@pytest.mark.parametrize("tag_offload", [True, False], ids=["tx-vlan-offload-on", "tx-vlan-offload-off"])
def test_tag_on_the_wire_between_two_switches(gateway, tag_offload):
    """The tag is pushed by one switch and popped by the other, and tcpdump sees it on the cable, in the skb or in the data."""
    gateway.sw.offload("tor", tx_vlan_offload=tag_offload)
    gateway.tor.offload("uplink", tx_vlan_offload=tag_offload)
    dump = gateway.tor.spawn("tcpdump -i uplink -e -n -c 2 -Q in icmp or vlan and icmp", stdout=subprocess.PIPE, text=True)
    while "listening on" not in dump.stdout.readline():
        assert dump.poll() is None
    try:
        assert gateway.h1.ping("10.0.10.14", count=5) == (5, 5)
        out = dump.communicate(timeout=10)[0]
    finally:
        gateway.sw.offload("tor", tx_vlan_offload=True)
        gateway.tor.offload("uplink", tx_vlan_offload=True)
    lines = [x for x in out.splitlines() if "ICMP" in x]
    assert lines and all("802.1Q" in x and "vlan 10," in x for x in lines), out


@pytest.mark.parametrize("tag_offload", [True, False], ids=["tx-vlan-offload-on", "tx-vlan-offload-off"])
def test_bulk_tcp_across_the_trunk_is_intact(gateway, tag_offload):
    gateway.sw.offload("tor", tx_vlan_offload=tag_offload)
    gateway.tor.offload("uplink", tx_vlan_offload=tag_offload)
    try:
        same, _ = talk.tcp_transfer(gateway.h1, gateway.h4, "10.0.10.14", size=64 << 20)
    finally:
        gateway.sw.offload("tor", tx_vlan_offload=True)
        gateway.tor.offload("uplink", tx_vlan_offload=True)
    assert same


PATHS = [("h1", "h2", "10.0.10.12"), ("h1", "h3", "10.0.20.13"), ("h1", "inet", "198.51.100.1"), ("h1", "h3", "2001:db8:20::13"),
         ("h1", "inet", "2001:db8:ffff::1")]


@pytest.mark.parametrize("a, b, address", PATHS, ids=["switched", "routed", "snat", "routed-v6", "upstream-v6"])
def test_bulk_tcp_is_intact_and_stays_in_large_packets(gateway, a, b, address):
    """Segmentation offload survives the switch: packets larger than the MTU come out of it whole."""
    receiver = getattr(gateway, b)
    iface = "eth0" if b != "inet" else None
    sniffers = [receiver.sniff(i) for i in ([iface] if iface else ["r1", "r2"])]
    try:
        same, _ = talk.tcp_transfer(getattr(gateway, a), receiver, address, size=32 << 20)
        largest = max(f.wire_len for s in sniffers for f in s.frames(0.1))
    finally:
        for s in sniffers:
            s.close()
    assert same
    assert largest > 3000, "segments were split on the way"


def test_bulk_tcp_with_all_offloads_off_is_intact(gateway):
    for n in (gateway.h2, gateway.h3):
        n.offload("eth0", tso=False, gso=False, gro=False, tx=False)
    try:
        same, _ = talk.tcp_transfer(gateway.h2, gateway.h3, "10.0.20.13", size=16 << 20)
    finally:
        for n in (gateway.h2, gateway.h3):
            n.offload("eth0", tx=True, tso=True, gso=True)
    assert same


def test_udp_with_checksum_offload_through_nat(gateway):
    with talk.UdpEcho(gateway.inet, 7000):
        payload = bytes(range(256)) * 4
        assert talk.udp_ask(gateway.h1, "198.51.100.1", 7000, payload) == payload
