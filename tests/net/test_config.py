"""Bad configurations: clear words with file, line and key; exit code not 0; the old state intact; traffic flows on."""
import re

import pytest

import netlab

GOOD = open(netlab.GATEWAY_YAML).read()


def changed(old, new):
    assert GOOD.count(old) == 1, old
    return GOOD.replace(old, new)


UP2 = 'up2: {port: up2, addresses: [192.0.2.5/30, "2001:db8:f2::1/64"]}'
BAD = {
    "two-native-vlans": (changed("tor: {mode: trunk, vlans: [10, 20]}", "tor: {mode: trunk, vlans: [10, 20], native: [10, 20]}"),
                         r"ports\.tor\.native"),
    "two-native-keys": (changed("tor: {mode: trunk, vlans: [10, 20]}", "tor: {mode: trunk, vlans: [10, 20], native: 10, native: 20}"),
                        r"ports\.tor\.native"),
    "vlan-4095": (changed("h2: {mode: access, vlan: 10}", "h2: {mode: access, vlan: 4095}"), r"ports\.h2\.vlan.*4095.*1\.\.4094"),
    "vlan-0": (changed("h2: {mode: access, vlan: 10}", "h2: {mode: access, vlan: 0}"), r"ports\.h2\.vlan.*1\.\.4094"),
    "overlapping-addresses": (changed("addresses: [10.0.20.1/24,", "addresses: [10.0.10.129/25,"), r"interfaces\.vlan20.*10\.0\.10"),
    "unreachable-nexthop": (changed("via: [192.0.2.2, 192.0.2.6]", "via: [192.0.2.2, 192.0.3.6]"), r"192\.0\.3\.6"),
    "unknown-key": (changed("up2: {mode: routed}", "up2: {mode: routed, colour: blue}"), r"ports\.up2.*colour"),
    "unknown-mode": (changed("up2: {mode: routed}", "up2: {mode: sideways}"), r"ports\.up2\.mode.*sideways"),
    "interface-of-no-port": (changed(UP2, UP2 + "\n  up3: {port: up3, addresses: [192.0.2.9/30]}"), r"interfaces\.up3"),
    "not-yaml": (GOOD + "\n  ]: {\n", r""),
    "snat-without-target": (changed(", to: 203.0.113.2-203.0.113.14}", "}"), r"nat"),
    "two-forwards-of-one-port": (GOOD + '  - {name: web2, type: dnat, destination: 203.0.113.1, protocol: tcp, port: 8080, to: "10.0.10.12:80"}\n',
                                 r"nat"),
}


def mapped(w):
    """(mappings, hosts that have them, ports held) by NAT's rules, as the last sweep found them."""
    nat = w.gw.json("nat show")
    return nat["mappings"]["total"], nat["mappings"]["hosts"], sum(p["ports_used"] for p in nat["pools"])


def settled(w):
    """What was said while nobody's traffic changes it: a sweep, which comes after a second or so, has seen all that there is. Of h1's
    pings there is one mapping however many there were, since they have the same identifier."""
    def done():
        held = {(f["proto"], f["forward"]["src"], f["forward"]["sport"]) for f in w.gw.json("flow list rule internet")}
        return mapped(w) == (len(held), len({h[1] for h in held}), len(held))
    outside(w)
    netlab.wait_for("all mappings are told", done, 70)  # what others have left ends after 60 s
    return shown(w)


def outside(w):
    return w.h1.ping(netlab.INET4, ident=77)


def shown(w):
    """Everything the running switch says about its configuration, without what traffic changes."""
    def still(x):
        if isinstance(x, dict):
            return {k: still(v) for k, v in x.items()
                    if k not in ("counters", "packets", "bytes", "age", "age_s", "age_ns", "idle_s", "state", "mac", "used_s")}
        return [still(i) for i in x] if isinstance(x, list) else x
    return {noun: still(w.gw.json(f"{noun} show")) for noun in ("port", "vlan", "interface", "route", "nat")}


def refused(w, text, pattern):
    """Applies a bad configuration; it must be refused with words, and nothing may have changed."""
    path = w.write("bad.yaml", text)
    before = settled(w)
    sent_before = w.h1.ping("10.0.20.13")
    p = w.gw.cli(["apply", path], check=False)
    assert p.returncode != 0, p.stdout
    assert re.search(re.escape(path) + r":\d+: ", p.stdout), f"no file and line: {p.stdout}"
    assert re.search(pattern, p.stdout), p.stdout
    assert shown(w) == before
    assert (sent_before, w.h1.ping("10.0.20.13"), outside(w)) == ((3, 3), (3, 3), (3, 3))


@pytest.mark.parametrize("name", BAD)
def test_bad_configuration_is_refused(gateway, name):
    refused(gateway, *BAD[name])


@pytest.mark.parametrize("name", BAD)
def test_check_says_the_same_without_a_daemon(gateway, name):
    path = gateway.write("bad.yaml", BAD[name][0])
    p = netlab.sh([f"{netlab.BUILD}/sluice", "check", path], check=False)
    assert p.returncode != 0 and re.search(re.escape(path) + r":\d+: ", p.stdout) and re.search(BAD[name][1], p.stdout), p.stdout


def test_netdev_that_two_globs_match_is_refused(gateway):
    text = changed("  h2: {mode: access, vlan: 10}", '  "h?": {mode: access, vlan: 10}\n  "*2": {mode: access, vlan: 20}')
    path = gateway.write("bad.yaml", text)
    before = settled(gateway)
    p = gateway.gw.cli(["apply", path], check=False)
    if p.returncode != 0:  # seen when it is applied: the netdev exists
        assert "h2" in p.stdout and shown(gateway) == before
        return
    port = gateway.gw.port("h2")
    gateway.gw.cli(["apply", netlab.GATEWAY_YAML])
    gateway.gw.attached("h2")
    assert port["state"] == "refused" and "h?" in port["reason"] and "*2" in port["reason"], port


def test_more_routes_than_the_table_holds_are_refused(own_gateway):
    """The table is full: words, and not one of the new routes is left behind."""
    w = own_gateway
    many = "".join(f"  - {{to: 100.{i >> 8}.{i & 255}.0/24, via: 192.0.2.2}}\n" for i in range(2000))
    text = GOOD.replace("routes:\n", "routes:\n" + many) + "\ntables: {routes4: 1024}\n"
    before = shown(w)
    path = w.write("many.yaml", text)
    p = w.gw.cli(["apply", path], check=False)
    assert p.returncode != 0 and re.search(r"routes4|table", p.stdout), p.stdout
    assert shown(w) == before
    assert w.h1.ping(netlab.INET4) == (3, 3)


def test_tables_of_a_fixed_size_say_how_they_change(own_gateway):
    """Refused, with the commands; and those do it."""
    w = own_gateway
    path = w.write("sized.yaml", GOOD + "\ntables: {fdb: 1024, neighbors: 1024, routes4: 2048, routes6: 2048, half-open: 4096}\n")
    before = shown(w)
    p = w.gw.cli(["apply", path], check=False)
    assert p.returncode != 0 and shown(w) == before
    for key, was, size in (("fdb", 65536, 1024), ("neighbors", 65536, 1024), ("routes4", 1048576, 2048), ("routes6", 262144, 2048)):
        assert re.search(rf"sized.yaml:\d+: tables.{key}: is {was} as long as the tables are there; to make it {size}, write it into the "
                         rf"configuration file, stop sluiced, run `sluiced --destroy -i {w.gw.instance}`, which ends all connections, and "
                         "start sluiced again", p.stdout), p.stdout
    assert re.search(r"sized.yaml:\d+: tables.half-open: is half of `flows` while sluiced runs; to make it 4096, write it into the "
                     "configuration file and restart sluiced", p.stdout), p.stdout
    w.gw.stop()
    w.gw.ns.run([f"{netlab.BUILD}/sluiced", "--destroy", "-i", w.gw.instance])
    w.gw.config = path
    w.gw.start()
    w.gw.attached("h1")
    tables = w.gw.json("config show")["tables"]
    assert (tables["fdb"], tables["routes4"], tables["half-open"]) == (1024, 2048, 4096)
    w.h1.ping("10.0.10.1")
    assert w.h1.ping(netlab.INET4) == (3, 3)


def test_more_snat_rules_than_a_bank_holds_are_refused(gateway):
    many = "".join(f"  - {{name: r{i}, type: snat, source: 10.1.{i}.0/24, to: none}}\n" for i in range(256)) + \
           "".join(f"  - {{name: s{i}, type: snat, source: 10.2.{i}.0/24, to: none}}\n" for i in range(64))
    text = GOOD + many
    path = gateway.write("many.yaml", text)
    before = settled(gateway)
    p = gateway.gw.cli(["apply", path], check=False)
    assert p.returncode != 0 and "nat" in p.stdout and "256" in p.stdout, p.stdout
    assert shown(gateway) == before


def test_file_that_is_not_there(gateway):
    p = gateway.gw.cli(["apply", "/nonexistent/sluice.yaml"], check=False)
    assert p.returncode != 0 and "/nonexistent/sluice.yaml" in p.stdout


def test_sluiced_does_not_start_on_a_bad_file(world):
    ns = world.ns("sw")
    path = world.write("bad.yaml", "ports:\n  eth0: {mode: access, vlan: 4095}\n")
    p = ns.run([f"{netlab.BUILD}/sluiced", "-c", path, "-i", world.prefix], check=False, timeout=20)
    assert p.returncode != 0
    assert f"{path}:2: ports.eth0.vlan: " in p.stdout, p.stdout


def test_change_and_back(gateway):
    """A good change takes force at once, and so does its reversal."""
    assert gateway.h1.ping("10.0.10.12") == (3, 3)
    path = gateway.write("moved.yaml", changed("h2: {mode: access, vlan: 10}", "h2: {mode: access, vlan: 20}"))
    assert "h2" in gateway.gw.cli(["diff", path]).stdout
    gateway.gw.cli(["apply", path])
    assert gateway.h1.ping("10.0.10.12", count=2)[1] == 0
    gateway.gw.cli(["apply", netlab.GATEWAY_YAML])
    gateway.h1.run("ip neigh flush all")  # what failed meanwhile is asked for again
    assert gateway.h1.ping("10.0.10.12") == (3, 3)
