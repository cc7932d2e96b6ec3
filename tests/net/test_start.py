"""Where sluiced starts: hosts that lack something, netdevs that are not there yet, other instances beside it."""
import os

import netlab

CONFIG = """\
ports:
  a1: {mode: access, vlan: 10}
  a2: {mode: access, vlan: 10}
"""


def two_hosts(w):
    sw = w.ns("sw")
    for i in (1, 2):
        w.host(f"a{i}", sw, f"a{i}", addrs=[f"10.0.10.{i}/24"])
    return sw


def test_bpffs_that_is_not_mounted_is_mounted(world):
    """In a mount namespace of its own, without bpffs: sluiced mounts it, there alone."""
    sw = two_hosts(world)
    config = world.write("sw.yaml", CONFIG)
    log = os.path.join(world.directory, "sw.log")
    switch = world.switch(sw, config, log)
    with open(log, "wb") as f:
        switch.process = sw.spawn(["unshare", "-m", "sh", "-c", "while umount /sys/fs/bpf 2>/dev/null; do :; done; exec \"$@\"", "sh",
                                   f"{netlab.BUILD}/sluiced", "-c", config, "-i", switch.instance], stdout=f)
    switch.ready()
    switch.attached("a1", "a2")
    assert world.a1.ping("10.0.10.2") == (3, 3)
    assert not os.path.exists(f"/sys/fs/bpf/sluice/{switch.instance}"), "the host's own bpffs was not used"


def test_two_instances_side_by_side(world):
    """Two switches in one namespace know nothing of each other."""
    sw = two_hosts(world)
    for i in (3, 4):
        world.host(f"a{i}", sw, f"b{i}", addrs=[f"10.0.10.{i}/24"])
    one = world.start_switch(sw, CONFIG)
    other = netlab.Switch(sw, one.instance + "b", world.write("b.yaml", CONFIG.replace("a1", "b3").replace("a2", "b4")),
                          os.path.join(world.directory, "b.log")).start()
    one.attached("a1", "a2")
    other.attached("b3", "b4")
    assert world.a1.ping("10.0.10.2") == (3, 3)
    assert world.a3.ping("10.0.10.4") == (3, 3)
    assert world.a1.ping("10.0.10.3", count=2)[1] == 0


def test_switch_without_any_netdev_waits_for_them(world):
    switch = world.start_switch(world.ns("sw"), CONFIG)
    assert {switch.port(p)["state"] for p in ("a1", "a2")} == {"waiting"}
    for i in (1, 2):
        world.host(f"a{i}", world.sw, f"a{i}", addrs=[f"10.0.10.{i}/24"])
    switch.attached("a1", "a2")
    assert world.a1.ping("10.0.10.2") == (3, 3)


def test_first_packet_to_an_unresolved_neighbour_is_not_lost(world):
    """Held until the neighbour answers, and sent on: one datagram, sent once, arrives."""
    sw = world.ns("sw")
    world.host("a1", sw, "a1", addrs=["10.0.10.1/24"], gw=["10.0.10.254"])
    world.host("b1", sw, "b1", addrs=["10.0.20.1/24"], gw=["10.0.20.254"])
    switch = world.start_switch(sw, """\
ports:
  a1: {mode: access, vlan: 10}
  b1: {mode: access, vlan: 20}
interfaces:
  vlan10: {vlan: 10, addresses: [10.0.10.254/24]}
  vlan20: {vlan: 20, addresses: [10.0.20.254/24]}
""")
    switch.attached("a1", "b1")
    assert world.a1.ping("10.0.20.1", count=1) == (1, 1)
