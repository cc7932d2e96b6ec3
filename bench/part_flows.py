"""part_flows.py: new flows: what the first packet of a connection costs when both entries of its pair and a mapping with its port are
made, for each packet a new tuple, and how fast flows end.

By the pinned XDP program behind the generator, by turns as in part_datapath.py. The tables fill up meanwhile, so the samples are
taken from an empty table to one of a million pairs. Beside it, by turns, the least that two entries cost in tables of the kernel's. Then through namespaces, beside the kernel: flows_line.py.
"""
import array
import json
import time

import bpf
import flows_line
import goals
import kit
import lab as labs
import part_datapath as pd
import turns as by_turns
from gen import FIRST_LRU, FIRST_PLAIN, IP, REAL, TCP, Dot1Q, Ether, flows, template

TURN, TOTAL = 128, 1 << 19  # packets
SCALE = 65536  # flows with which a look-up scales the goal: the most that is known of the machine it was set on
YARDSTICKS = {FIRST_PLAIN: "two insertions into the kernel's hash, redirect", FIRST_LRU: "two insertions into the kernel's LRU hash, redirect"}


def installed(lab):
    return lab.switch.json("counters show")["stats"]["flow_new"]


def look(report, lab, bench, name):
    """The first packet of all."""
    out = bench.once(REAL, lab.ifindex["in1"])
    kit.need(out.retval == bpf.XDP_REDIRECT, f"{name}: verdict {out.retval}")
    source = Ether(out.data)[IP].src
    kit.need(source.startswith("198.18.0."), f"{name}: source {source}")
    report.packet(name, out.data)


def look_at_yardstick(lab, bench, target, name):
    """A packet that went out has put its pair in: it cannot a second time."""
    verdicts = []
    for _ in range(2):
        bench.gen.next = 0
        verdicts.append(bench.once(target, lab.ifindex["in1"]).retval)
    kit.need(verdicts == [bpf.XDP_REDIRECT, bpf.XDP_DROP], f"{name}: verdicts {verdicts}")


def setting_up(report, turns, lab, name, frame, vary, total, yardsticks):
    """First packets from an empty table on, by turns with the generator alone and the yardsticks, which get the same packets. Pairs
    made, and packets."""
    before, ifindex = installed(lab), lab.ifindex["in1"]
    with lab.generator() as bench, kit.Quiet():
        if yardsticks:
            bench.first_packets(ifindex)
        bench.set(template(frame, **vary))
        bench.order(array.array("Q", range(total)))
        look(report, lab, bench, name)
        for target, what in yardsticks.items():
            look_at_yardstick(lab, bench, target, what)
        bench.gen.next, times = 1, (total - 1) // TURN
        point = turns.new(bench, ifindex, [REAL, *yardsticks], TURN, times)
        turns.add(point, {target: (what, "first packet") for target, what in {REAL: name, **yardsticks}.items()})
    return installed(lab) - before, 1 + times * TURN


def flush(lab):
    """(pairs that ended, seconds): by sluiced, as its ageing does."""
    began = time.monotonic()
    ended = lab.switch.cli("-j flow flush all", timeout=120).stdout
    return json.loads(ended)["flushed"], time.monotonic() - began


def show(report):
    look_up, rows = report.median(f"xdp: {pd.LOOK_UP}", flows(SCALE).name), []
    for series, point in report.samples:
        if series == "generator":
            continue
        ns, ours = report.median(series, point), point == "first packet" and series not in YARDSTICKS.values()
        about = goals.cells(ns, goals.FIRST_PACKET if ours else None, SCALE, look_up)
        rows.append((series, point, report.cell(series, point), f"{1e9 / ns:,.0f}", *about))
        if ours:
            here = goals.scaled(goals.FIRST_PACKET, SCALE, look_up)
            goals.note(report, series, point, ns, goals.FIRST_PACKET, here=here)
            many = here and goals.NEW_FLOWS * goals.FIRST_PACKET / here
            goals.note(report, series, "new flows", 1e9 / ns, goals.NEW_FLOWS, "/s", here=many, least=True)
    kit.table("New flows: ns, one core", ("what", "", "ns", "a second", *goals.HEAD), rows)
    kit.say(f"scaled: × the look-up here with {SCALE:,} flows, {look_up:.0f} ns, ÷ on the goals' machine, {goals.THERE[SCALE]} ns")


def run(report):
    lab = labs.DatapathLab("nf")
    try:
        inside = Ether(dst=labs.GW_MAC, src=labs.HOST_MAC) / Dot1Q(vlan=10)
        new = inside / IP(src="10.0.4.0", dst="172.16.0.1") / TCP(sport=1024, dport=443, flags="S")
        known = inside / IP(src="10.0.4.0", dst="172.17.0.0") / TCP(sport=1024, dport=443, flags="S")
        kit.say("what came out:")
        turns, pairs = by_turns.Turns(), 0
        for name, frame, vary, yardsticks in (
            ("SNAT, new source port each", new, {"saddr": (10, 0x3FF), "sport": (0, 0x3FF)}, YARDSTICKS),
            ("SNAT, one source to new destinations", known, {"daddr": (0, 0xFFFFF)}, {}),
        ):
            report.step(name)
            made, packets = setting_up(report, turns, lab, name, frame, vary, TOTAL, yardsticks)
            kit.need(made == packets, f"{name}: {made} pairs made by {packets} packets")
            pairs += made
        pd.measure(report, turns, lab, "xdp", pd.yardsticks([flows(SCALE)])[1:])
        turns.finish(report)
        report.step("all flushed")
        ended, seconds = flush(lab)
        kit.need(ended == pairs, f"{ended} pairs ended of {pairs}")
        report.add("all flushed", "a pair", seconds / ended * 1e9)
    finally:
        lab.close()
    show(report)
    report.step("namespaces for the comparison with the kernel")
    flows_line.run(report)
