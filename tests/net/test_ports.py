"""Ports, their netdevs and the pinned instance: ids that last, what is not ours, what a restart may and may not change."""
import json
import os
import signal

import pytest

import netlab

CONFIG = """\
ports:
  e0: {mode: access, vlan: 10}
  e1: {mode: access, vlan: 10}
  "v[0-9]*": {mode: access, vlan: 10}
interfaces:
  gw: {vlan: 10, addresses: [10.0.10.1/24]}
"""


@pytest.fixture
def net(world):
    """Two hosts on VLAN 10."""
    sw = world.ns("sw")
    for i in range(2):
        world.host(f"h{i}", sw, f"e{i}", addrs=[f"10.0.10.1{i}/24"])
    world.swc = world.start_switch(sw, CONFIG)
    world.swc.attached("e0", "e1", "sw-gw")
    return world


def ids(w):
    return {p["name"]: p["id"] for p in w.swc.json("port show") if "id" in p}


def pin(w, name):
    return f"/sys/fs/bpf/sluice/{w.swc.instance}/{name}"


def refused_start(w):
    """sluiced does not start; what it says."""
    p = w.sw.run([f"{netlab.BUILD}/sluiced", "-c", w.swc.config, "-i", w.swc.instance], check=False, timeout=20)
    assert p.returncode != 0, p.stdout
    return p.stdout


def fdb(w):
    return w.swc.json("fdb show")


def test_ids_outlive_a_kill(net):
    before = ids(net)
    net.swc.stop(signal.SIGKILL)
    net.swc.start()
    net.swc.attached("e0", "e1", "sw-gw")
    assert ids(net) == before


def test_renamed_netdev_is_the_port_of_its_new_name(net):
    net.host("h2", net.sw, "v2", addrs=["10.0.10.12/24"])
    net.swc.attached("v2")
    for command in ("ip link set v2 down", "ip link set v2 name v3"):
        net.sw.run(command)
    net.swc.attached("v3")
    assert net.swc.port("v2") is None
    assert net.h0.ping("10.0.10.12") == (3, 3)
    assert not os.path.exists(pin(net, "links/tc-v2"))


def test_names_exchanged_while_nobody_looks(net):
    """The pinned links belong to netdevs, not to names."""
    net.swc.stop(signal.SIGKILL)
    for a, b in (("e0", "x"), ("e1", "e0"), ("x", "e1")):
        net.sw.run(f"ip link set {a} down")
        net.sw.run(f"ip link set {a} name {b}")
    net.swc.start()
    net.swc.attached("e0", "e1")
    index = {p["name"]: p["ifindex"] for p in net.swc.json("port show") if "ifindex" in p}
    assert index["e0"] == net.sw.link("e0")["ifindex"] and index["e1"] == net.sw.link("e1")["ifindex"]
    assert net.h0.ping("10.0.10.11") == (3, 3)
    netlab.counters_hold(net.swc)


def test_stations_of_a_port_that_is_gone_are_forgotten(net):
    assert net.h0.ping("10.0.10.11") == (3, 3)
    mac = net.h1.mac("eth0")
    assert mac in [x["mac"] for x in fdb(net)]
    net.sw.run("ip link del e1")
    netlab.wait_for("the station is forgotten", lambda: mac not in [x["mac"] for x in fdb(net)], timeout=3)


def test_station_ages_out(net):
    text = CONFIG + "settings: {fdb-ageing: 10}\n"
    net.swc.cli(["apply", net.write("short.yaml", text)])
    mac = "02:00:00:00:77:77"
    frame = bytes.fromhex("ffffffffffff" + mac.replace(":", "") + "88b5") + bytes(46)
    net.h0.send("eth0", frame)
    netlab.wait_for("the station is learned", lambda: mac in [x["mac"] for x in fdb(net)], timeout=3)
    netlab.wait_for("it ages out", lambda: mac not in [x["mac"] for x in fdb(net)], timeout=25)
    assert [x["type"] for x in fdb(net)].count("own") == 1


def test_static_station_enters_with_its_port(net):
    mac = "02:00:00:00:88:88"
    text = CONFIG + f'fdb:\n  - {{mac: "{mac}", vlan: 10, port: v5}}\n'
    net.swc.cli(["apply", net.write("static.yaml", text)])
    assert mac not in [x["mac"] for x in fdb(net)]
    net.host("h5", net.sw, "v5")
    net.swc.attached("v5")
    assert {"mac": mac, "vlan": 10, "port": "v5", "type": "static"} in [{k: x[k] for k in ("mac", "vlan", "port", "type")} for x in fdb(net)]


def test_promiscuity_is_given_back(net):
    assert "PROMISC" in net.sw.link("e1")["flags"]
    net.swc.cli(["apply", net.write("less.yaml", CONFIG.replace("  e1: {mode: access, vlan: 10}\n", ""))])
    assert "PROMISC" not in net.sw.link("e1")["flags"]
    assert net.h0.ping("10.0.10.11", count=2)[1] == 0


def test_netdev_of_somebody_else_is_not_taken_for_an_interface(net):
    net.sw.run("ip link add mine type veth peer name peer")
    text = CONFIG + "  mine: {vlan: 20, addresses: [10.0.20.1/24]}\n"
    p = net.swc.cli(["apply", net.write("mine.yaml", text)], check=False)
    assert p.returncode != 0 and "mine" in p.stdout and "exists" in p.stdout, p.stdout
    assert "10.0.20.1" not in net.sw.run("ip addr").stdout
    assert net.h0.ping("10.0.10.11") == (3, 3)


def test_address_of_somebody_else_stays(net):
    """A VIP, as keepalived sets one."""
    net.sw.run("ip addr add 10.0.10.100/24 dev gw")
    net.swc.cli(["apply", net.write("other.yaml", CONFIG.replace("10.0.10.1/24", "10.0.10.2/24"))])
    got = [a["local"] for a in json.loads(net.sw.run("ip -j -4 addr show dev gw").stdout)[0]["addr_info"]]
    assert sorted(got) == ["10.0.10.100", "10.0.10.2"]


def test_interface_made_anew_has_its_mac(net):
    mac = net.sw.mac("gw")
    net.sw.run("ip link del gw")
    netlab.wait_for("the pair is there again", lambda: "gw" in net.sw.links() and netlab.is_up("gw", net.sw))
    assert net.sw.mac("gw") == mac
    assert "10.0.10.1/24" in netlab.wait_for("its address", lambda: net.sw.run("ip addr show dev gw").stdout)


def test_xdp_of_somebody_else_is_left_alone(net):
    """The port works by tc, and says whose program is in the way. A program that hangs on no link of ours is a stranger, and
    the one at hand is our own."""
    net.sw.run(["bpftool", "net", "attach", "xdpgeneric", "pinned", pin(net, "progs/xdp"), "dev", "e0"])
    text = CONFIG.replace("e0: {mode: access, vlan: 10}", "e0: {mode: access, vlan: 10, xdp: native}")
    net.swc.cli(["apply", net.write("xdp.yaml", text)])
    port = net.swc.port("e0")
    assert port["xdp"] == "off" and "taken" in port["note"] and "sluice_xdp" in port["note"], port
    assert "xdpgeneric" in net.sw.run("ip link show dev e0").stdout
    assert net.swc.destroy().returncode == 0
    assert "xdpgeneric" in net.sw.run("ip link show dev e0").stdout


def test_size_of_a_used_table_is_not_changed_by_a_restart(net):
    assert net.h0.ping("10.0.10.11") == (3, 3)
    net.swc.stop(signal.SIGTERM)
    config = net.swc.config
    net.swc.config = net.write("size.yaml", CONFIG + "tables: {fdb: 1024}\n")
    said = refused_start(net)
    assert "tables.fdb" in said and "65536" in said and "1024" in said and "--destroy" in said, said
    assert net.h0.ping("10.0.10.11") == (3, 3), "the old state was touched"
    net.swc.config = config
    net.swc.start()
    net.swc.attached("e0", "e1")


def element(name, value=None):
    """The one element of a pinned array, as bytes; `value`: written."""
    key = ["pinned", name, "key", "0", "0", "0", "0"]
    if value is not None:
        netlab.sh(["bpftool", "map", "update", *key, "value", *map(str, value)])
    return bytes(int(x, 16) for x in json.loads(netlab.sh(["bpftool", "-j", "map", "lookup", *key]).stdout)["value"])


def test_tables_of_another_layout_are_refused(net):
    net.swc.stop(signal.SIGTERM)
    control = pin(net, "maps/control")
    old = element(control)
    element(control, bytes([99]) + old[1:])
    said = refused_start(net)
    assert "layout 99" in said and "--destroy" in said, said
    assert net.h0.ping("10.0.10.11") == (3, 3)
    element(control, old)
    net.swc.start()


def test_flows_of_the_former_layout_stay_where_they_are(net):
    """Layout 7 knew no near buckets: its keys stand in two places, and are looked for there as long as the table has its size."""
    table, control = pin(net, "maps/flow_table"), pin(net, "maps/control")
    near = slice(112, 120)  # struct flow_table: near4, near6
    net.swc.stop(signal.SIGTERM)
    now, version = element(table), element(control)
    assert any(now[near]), "a default table has near buckets"
    element(table, now[:112] + bytes(8) + now[120:])
    element(control, bytes([7]) + version[1:])
    net.swc.start()
    net.swc.attached("e0", "e1", "sw-gw")
    assert element(control)[0] == version[0] == 8 and not any(element(table)[near])
    assert net.h0.ping("10.0.10.11") == (3, 3)
    net.swc.destroy()
    net.swc.start()
    net.swc.attached("e0", "e1", "sw-gw")
    assert element(table)[near] == now[near]


DROPS_HASH = slice(104, 112)  # struct control: reserved[0]


def with_an_element_for_each_reason(net):
    """The map of drops as former versions had it."""
    path = pin(net, "maps/drop_counters")
    os.unlink(path)
    spec = ["type", "percpu_array", "key", "4", "value", "8", "entries", str(1024 * 128), "name", "drop_counters"]
    netlab.sh(["bpftool", "map", "create", path, *spec])


def test_drops_of_a_former_layout_are_counted_anew_and_all_else_stays(net):
    tagged = bytes.fromhex("ffffffffffff" + net.h1.mac("eth0").replace(":", "") + "81000014") + bytes(60)
    for _ in range(3):
        net.h1.send("eth0", tagged)
    netlab.wait_for("they are dropped", lambda: netlab.drops(net.swc, "e1").get("vlan_tagged_on_access", 0) >= 3)
    assert net.h0.ping("10.0.10.11") == (3, 3), "what is learned must come of the test itself"
    learned = net.swc.json("counters show")["stats"]["fdb_learned"]
    assert learned > 0
    net.swc.stop(signal.SIGTERM)
    control = pin(net, "maps/control")
    old = element(control)
    with_an_element_for_each_reason(net)
    assert "drop_counters was made by a version with another layout" in refused_start(net), "its reasons are ours, and its layout is not"
    former = bytes(b ^ 0xFF for b in old[DROPS_HASH])
    element(control, old[: DROPS_HASH.start] + former + old[DROPS_HASH.stop :])
    net.swc.start()
    net.swc.attached("e0", "e1", "sw-gw")
    assert element(control)[DROPS_HASH] == old[DROPS_HASH]
    assert netlab.drops(net.swc, "e1").get("vlan_tagged_on_access", 0) == 0
    netlab.counters_hold(net.swc)
    assert net.swc.json("counters show")["stats"]["fdb_learned"] >= learned, "all is new"
    net.h1.send("eth0", tagged)
    netlab.wait_for("it is dropped", lambda: netlab.drops(net.swc, "e1").get("vlan_tagged_on_access", 0) == 1)


def test_the_kernel_knows_the_maps_by_their_names(net):
    """As `bpftool map` shows them: the first 15 characters. So do versions that look for a map by its name."""
    for name in os.listdir(pin(net, "maps")):
        known = json.loads(netlab.sh(["bpftool", "-j", "map", "show", "pinned", pin(net, f"maps/{name}")]).stdout)["name"]
        assert known == name[:15]


def test_half_made_instance_is_made_anew(net):
    """What a crash in the middle of the first start leaves: maps without the word that says they are whole."""
    net.swc.stop(signal.SIGKILL)
    control = pin(net, "maps/control")
    netlab.sh(["bpftool", "map", "update", "pinned", control, "key", "0", "0", "0", "0", "value", *["0"] * 136])
    os.unlink(pin(net, "maps/ports"))
    net.swc.start()
    net.swc.attached("e0", "e1", "sw-gw")
    assert net.h0.ping("10.0.10.11") == (3, 3)
    netlab.counters_hold(net.swc)


def test_instance_of_another_namespace_is_refused(net):
    net.swc.stop(signal.SIGTERM)
    other = net.ns("other")
    p = other.run([f"{netlab.BUILD}/sluiced", "-c", net.swc.config, "-i", net.swc.instance], check=False, timeout=20)
    assert p.returncode != 0 and "network namespace" in p.stdout, p.stdout
    net.swc.start()
    assert net.h0.ping("10.0.10.11") == (3, 3)


def test_netdev_that_comes_back_from_another_namespace_is_no_longer_promiscuous_when_it_leaves(net):
    """It was made promiscuous as a port, went away with that, and is one port again."""
    other = net.ns("other")
    net.sw.run(f"ip link set e1 netns {other.full}")
    netlab.wait_for("e1 waits", lambda: net.swc.port("e1")["state"] == "waiting", timeout=3)
    other.run(f"ip link set e1 netns {net.sw.full}")
    net.swc.attached("e1")
    net.swc.cli(["apply", net.write("less.yaml", CONFIG.replace("  e1: {mode: access, vlan: 10}\n", ""))])
    assert "PROMISC" not in net.sw.link("e1")["flags"]


def test_promiscuity_of_somebody_else_stays(net):
    """Set before the netdev was a port, so it is not the switch's to take away."""
    net.host("h2", net.sw, "x2")
    net.sw.run("ip link set x2 promisc on")
    text = CONFIG.replace("  e1: {mode: access, vlan: 10}\n", "  x2: {mode: access, vlan: 10}\n")
    net.swc.cli(["apply", net.write("x2.yaml", text)])
    net.swc.attached("x2")
    net.sw.run("ip link del e0")
    net.swc.cli(["apply", net.write("less.yaml", text.replace("  x2: {mode: access, vlan: 10}\n", ""))])
    assert "PROMISC" in net.sw.link("x2")["flags"]


def arrives(net, ns, iface, mac):
    """A unicast frame from h1 to the station `mac` behind e0, seen at the other end of e0."""
    frame = bytes.fromhex(mac.replace(":", "")) + net.h1.mac_bytes + b"\x88\xb5" + b"here is a frame".ljust(46)
    with ns.sniff(iface) as tap:
        net.h1.send("eth0", frame)
        return tap.matching(b"here is a frame", wait=2, count=1)


def test_unicast_reaches_the_peer_wherever_it_is(net):
    """Into another namespace a packet is handed past the netdev's queue; where there is a qdisc, or the peer is here, it is not."""
    mac = net.h0.mac("eth0")
    net.h1.mac_bytes = bytes.fromhex(net.h1.mac("eth0").replace(":", ""))
    net.h0.ping("10.0.10.11", count=1)

    def counted_by_the_queue(frames=20):
        """How many packets e0's queue counted while so many frames passed: all of ours or none, and now and then what a host sends
        to all (ND, MLD), which goes through the queue."""
        before = net.sw.link("e0")["stats64"]["tx"]["packets"]
        assert all(arrives(net, net.h0, "eth0", mac) for _ in range(frames))
        return net.sw.link("e0")["stats64"]["tx"]["packets"] - before

    assert counted_by_the_queue() < 10
    net.sw.run("tc qdisc add dev e0 root pfifo")
    netlab.wait_for("frames go through the queue", lambda: counted_by_the_queue(5) >= 5)
    assert counted_by_the_queue() >= 20
    net.sw.run("tc qdisc del dev e0 root")
    netlab.wait_for("frames go past it again", lambda: counted_by_the_queue(5) < 5)
    assert counted_by_the_queue() < 10

    net.h0.run(f"ip link set eth0 netns {net.sw.full}")
    net.sw.run("ip link set eth0 up")
    net.swc.cli(f"fdb add {mac} vlan 10 port e0")
    netlab.wait_for("frames reach the peer here", lambda: arrives(net, net.sw, "eth0", mac))
