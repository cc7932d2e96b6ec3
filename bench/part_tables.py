"""part_tables.py: what tables cost: the FIB by bench/fib (build, changes, memory, lookups beside other structures), memory of an
entry of each table, the time sluiced needs to start with full tables and to take a new configuration.
"""
import ipaddress
import re
import signal
import subprocess
import time

import bpf
import kit
import lab as labs
from gen import REAL, IP, TCP, Dot1Q, Ether, flows, template

ROUNDS, ROUTES, PAIRS = 3, 500_000, 1 << 18
TABLES = ("flows4", "flows6", "nat_mappings", "nat_words", "nat_ways", "fdb", "neighbors", "nexthops", "fib", "nhg_buckets", "ports", "pool_ports")


def fib(report):
    done = subprocess.run([f"{kit.OUT}/fib_bench", f"{kit.OUT}/fib_bench.bpf.o"], capture_output=True, text=True, timeout=240, check=False)
    kit.need(done.returncode == 0, f"fib_bench: {done.stdout}{done.stderr}")
    report.facts["fib"] = done.stdout.splitlines()
    kit.say(done.stdout.rstrip())


def memory(lab):
    """Table -> bytes that the kernel has for it now."""
    got = {}
    for name in TABLES:
        try:
            fd = bpf.obj_get(f"{lab.pins}/maps/{name}")
        except OSError:
            continue
        with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as f:
            text = f.read()
        bpf.os.close(fd)
        got[name] = (int(re.search(r"memlock:\s*(\d+)", text)[1]), int(re.search(r"max_entries:\s*(\d+)", text)[1]))
    return got


def look(report, lab, bench, name, source):
    """A packet by the full tables: it goes out of one of the ways, its source is as it must be."""
    out = bench.once(REAL, lab.ifindex["in1"])
    p = Ether(out.data)
    there = out.retval == bpf.XDP_REDIRECT and p.dst.startswith("02:00:00:00:ee:0") and p[IP].ttl == 63 and p[IP].src.startswith(source)
    kit.need(there, f"{name}: verdict {out.retval}, {p.dst} {p.summary()}")
    report.packet(name, out.data)


def fill_flows(report, lab):
    """Connections by their first packets."""
    frame = Ether(dst=labs.GW_MAC, src=labs.HOST_MAC) / Dot1Q(vlan=10) / IP(src="10.0.4.0", dst="172.16.0.1")
    with lab.generator() as bench:
        bench.set(template(frame / TCP(sport=1024, dport=443, flags="A"), saddr=(10, 0x3FF), sport=(0, 0x3FF)))
        bench.order(flows(PAIRS).all())
        bench.run(REAL, lab.ifindex["in1"], PAIRS)
        look(report, lab, bench, f"one of {PAIRS:,} connections", "198.18.0.")


def one_route(report, lab, prefixes):
    """A packet into one of them, by the switch as it started last."""
    to = str(ipaddress.ip_address(labs.addresses_in(prefixes, 4, 1)[0]))
    with lab.generator() as bench:
        bench.set(template(Ether(dst=labs.GW_MAC, src=labs.HOST_MAC) / Dot1Q(vlan=10) / IP(src="10.0.4.1", dst=to) / TCP(sport=1024, dport=443)))
        bench.order(flows(1).order)
        look(report, lab, bench, f"by one of {len(prefixes):,} routes", "10.0.4.1")


def timed(report, name, do):
    began = time.monotonic()
    do()
    report.add(name, "seconds", time.monotonic() - began, "s")


def starts(report, lab, what):
    for _ in range(ROUNDS):
        lab.switch.stop(signal.SIGKILL)
        timed(report, f"start after kill -9, {what}", lab.switch.start)
        path = lab.path + ".new"
        with open(lab.path, encoding="ascii") as f:
            text = f.read()
        with open(path, "w", encoding="ascii") as f:
            f.write(text.replace("routes:\n", "routes:\n  - {to: 203.0.114.0/24, via: 192.0.2.2}\n"))
        timed(report, f"a route added by a new configuration, {what}", lambda: lab.switch.cli(["apply", path], timeout=60))
        timed(report, f"the old configuration again, {what}", lambda: lab.switch.cli(["apply", lab.path], timeout=60))


def run(report):
    report.step("FIB: build, changes, look-ups beside other structures")
    fib(report)
    lab = labs.DatapathLab("tb", flows=1 << 19)
    try:
        empty = memory(lab)
        starts(report, lab, "empty tables")
        report.step("tables are filled")
        fill_flows(report, lab)
        full = memory(lab)
        prefixes = labs.routes(4, ROUTES)
        kernel, both = labs.load_routes(lab, prefixes, 4)
        report.add(f"{ROUTES:,} routes from a routing daemon, in the kernel", "seconds", kernel, "s")
        report.add(f"{ROUTES:,} routes from a routing daemon, in the switch", "seconds", both, "s")
        report.step("start and reload with full tables")
        starts(report, lab, f"{ROUTES:,} routes, {PAIRS:,} connections")
        one_route(report, lab, prefixes)
        report.step("first start")
        lab.switch.destroy()
        timed(report, f"first start, {ROUTES:,} routes in the kernel", lab.switch.start)
        rows = []
        for name, (size, entries) in full.items():
            used = {"flows4": 2 * PAIRS}.get(name)
            grown = size - empty[name][0]
            each = grown / used if used and grown > 0 else size / entries
            report.facts.setdefault("memory", {})[name] = {"bytes": size, "entries": entries, "bytes_per_entry": each}
            rows.append((name, f"{entries:,}", f"{size / 2**20:.1f}", f"{each:.0f}", "taken as needed" if used and grown > 0 else "taken at once"))
        kit.table("Memory of tables", ("table", "entries", "MiB now", "bytes an entry", ""), rows)
    finally:
        lab.close()
    kit.table("Times of sluiced", ("what", "s"), [(s, report.cell(s, p)) for s, p in report.samples])
