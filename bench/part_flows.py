"""part_flows.py: new flows: what the first packet of a connection costs when both entries of its pair and a mapping with its port are
made, for each packet a new tuple, and how fast flows end.

By the pinned XDP program behind the generator, as in part_datapath.py. The tables fill up meanwhile, so the samples are taken from
an empty table to one of a million pairs. Then through namespaces, beside the kernel: flows_line.py.
"""
import array
import json
import time

import bpf
import flows_line
import kit
import lab as labs
from gen import BARE, IP, REAL, TCP, Dot1Q, Ether, template

STEP, TOTAL = 65536, 1 << 19


def installed(lab):
    return lab.switch.json("counters show")["stats"]["flow_new"]


def setting_up(report, lab, name, frame, vary, total):
    """`total` first packets in steps."""
    before = installed(lab)
    with lab.generator() as bench, kit.Quiet():
        bench.set(template(frame, **vary))
        bench.order(array.array("Q", range(total)))
        ifindex = lab.ifindex["in1"]
        out = bench.once(REAL, ifindex)
        kit.need(out.retval == bpf.XDP_REDIRECT, f"{name}: verdict {out.retval}")
        source = Ether(out.data)[IP].src
        kit.need(source.startswith("198.18.0."), f"{name}: source {source}")
        report.packet(name, out.data)
        at = 1
        while at < total:
            n = min(STEP, total - at)
            bench.gen.next = at
            alone = bench.run(BARE, ifindex, n)
            bench.gen.next = at
            both = bench.run(REAL, ifindex, n)
            report.add(name, "first packet", both - alone)
            at += n
    return installed(lab) - before, at


def flush(lab):
    """(pairs that ended, seconds): by sluiced, as its ageing does."""
    began = time.monotonic()
    ended = lab.switch.cli("-j flow flush all", timeout=120).stdout
    return json.loads(ended)["flushed"], time.monotonic() - began


def run(report):
    lab = labs.DatapathLab("nf")
    try:
        inside = Ether(dst=labs.GW_MAC, src=labs.HOST_MAC) / Dot1Q(vlan=10)
        new = inside / IP(src="10.0.4.0", dst="172.16.0.1") / TCP(sport=1024, dport=443, flags="S")
        known = inside / IP(src="10.0.4.0", dst="172.17.0.0") / TCP(sport=1024, dport=443, flags="S")
        kit.say("what came out:")
        for name, frame, vary in (
            ("SNAT, new source port each", new, {"saddr": (10, 0x3FF), "sport": (0, 0x3FF)}),
            ("SNAT, one source to new destinations", known, {"daddr": (0, 0xFFFFF)}),
        ):
            report.step(name)
            made, sent = setting_up(report, lab, name, frame, vary, TOTAL)
            kit.need(made == sent, f"{name}: {made} pairs made by {sent} packets")
        report.step("all flushed")
        ended, seconds = flush(lab)
        kit.need(ended == 2 * TOTAL, f"{ended} pairs ended of {2 * TOTAL}")
        report.add("all flushed", "a pair", seconds / ended * 1e9)
    finally:
        lab.close()
    rows = []
    for name, point in report.samples:
        m = report.median(name, point)
        rows.append((name, point, report.cell(name, point), f"{1e9 / m:,.0f}", 400 if point == "first packet" else ""))
    kit.table("New flows: ns, one core", ("what", "", "ns", "a second", "to reach ns"), rows)
    report.step("namespaces for the comparison with the kernel")
    flows_line.run(report)
