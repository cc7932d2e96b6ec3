"""part_datapath.py: ns per packet of the very programs that sluiced has pinned, by BPF_PROG_RUN, for XDP and tc.

A generator (bench/bpf/gen.h) writes all headers anew and tail-calls the pinned program; the same generator tail-calling a
program that does nothing is subtracted, run by turns. A tail call was chosen over compiling the datapath into the generator
because so the very instructions that carry traffic are measured, on their own maps, as sluiced has set them up.

For every case one packet is looked at first: the generator's frame through the pinned program alone must come out as it does
through the generator, and be what the case says.

For work on the packet path: CASES=REGEXP measures the cases that match, EMPTY=1 leaves out the full tables.
"""
import os
import re
import struct
import time

import goals
import kit
import lab as labs
import turns as by_turns
from gen import (FLOOR, FRAME, IP, LOAD, LOOKUP, PACKED, REAL, SEQ, SWAP, TAGGING, TCP, UDP, Dot1Q, Ether, IPv6, Sequence, bare_frame, ether, flows,
                 template)  # fmt: skip
import bpf

SLICE = 50_000


TAG = {"xdp": 1, "tc": 1}  # Case.tags of what comes with a tag and leaves without, or the other way round


class Case:
    """`frame`: scapy; `vary`: see gen.template; `sizes`: sequences; `check(out, before)`: what is wrong with what came out, or
    None. `tags`: how often the target changes the frame's length, or in tc the tag: the generator undoes that, and what it costs
    it is subtracted as well. `connections`: the frames are packets of connections."""

    def __init__(self, name, port, frame, vary, sizes, check, *, tags=None, target=REAL, connections=False, to_reach=None):
        self.name, self.port, self.frame, self.vary, self.sizes, self.check = name, port, frame, vary, sizes, check
        self.tags, self.target, self.connections, self.to_reach = tags or {}, target, connections, to_reach or {}


def routed(out, before, smac, dmac, **changed):
    """A routed packet: MACs, TTL, checksums right, and the rest as it came but for what `changed` names."""
    a, b = ether(out), ether(before)
    if a.src != smac or not dmac(a.dst):
        return f"MACs {a.src} > {a.dst}"
    for x in (a, b):
        if Dot1Q in x:
            x[Ether].type = x[Dot1Q].type
            x[Ether].payload = x[Dot1Q].payload
    want = b[IPv6] if IPv6 in b else b[IP]
    got = a.getlayer(type(want))
    if got is None:
        return "no IP"
    if IPv6 in b:
        want.hlim -= 1
    else:
        want.ttl -= 1
        del want.chksum
    l4 = want.getlayer(TCP) or want.getlayer(UDP)
    del l4.chksum
    for key, value in changed.items():
        if key in ("src", "dst"):
            setattr(want, key, value(getattr(got, key)))
        else:
            setattr(l4, key, value(getattr(got.payload, key)))
    if bytes(want) != bytes(got)[: len(bytes(want))]:
        return f"{got.summary()} ({bytes(got).hex()}) is not {want.__class__(bytes(want)).summary()} ({bytes(want).hex()})"
    return None


def gateway(mac):
    return mac.startswith("02:00:00:00:ee:0")


def in_pool(value):
    kit.need(value.startswith("198.18.0."), f"{value} is not of the pool")
    return value


def any_port(value):
    kit.need(value >= 1024, f"port {value}")
    return value


INSIDE = Ether(dst=labs.GW_MAC, src=labs.HOST_MAC) / Dot1Q(vlan=10)
TCP_ACK = TCP(sport=1024, dport=443, flags="A", seq=1, ack=1)
CLIENTS = {"saddr": (10, 0x3FF), "sport": (0, 0x3FF)}  # 1024 addresses of 1024 ports
MANY, FORWARDS = 1 << 20, 10_000
ESTABLISHED = {flows(n).name: ns for n, ns in goals.ESTABLISHED.items()}


def by_wan(lab):
    """Routed by one of the ways out."""

    def check(out, before, **changed):
        return routed(out, before, lab.macs["wan" + ether(out).dst[-1]], gateway, **changed)

    return check


def to_wan(lab):
    return Ether(dst=lab.macs["wan1"], src="02:00:00:00:ee:01")


def switching(hook):
    """What tc does to a tag stands beside the data, where these runs do not show it."""

    def check(vlan_out):
        def switched(out, before):
            a, b = ether(out), ether(before)
            if vlan_out != (a[Dot1Q].vlan if Dot1Q in a else None) and hook == "xdp":
                return f"tag {a.summary()}"
            same = a.dst == b.dst and a.src == b.src and a[IP].build() == b[IP].build()
            return None if same else a.summary()

        return switched

    station = "02:00:00:00:10:0a"
    return [
        Case("floor: parse, redirect", "in1", INSIDE / IP(src="10.0.4.1", dst="172.16.0.1") / TCP_ACK, {}, [flows(1)],
             lambda o, b: None if o[-80:] == b[-80:] else "changed", target=FLOOR),
        Case("switch, access to trunk", "in2", Ether(dst=labs.HOST_MAC, src=station) / IP(src="10.0.0.10", dst="10.0.0.99") / TCP_ACK,
             {}, [flows(1)], check(10), tags=TAG, to_reach={"1 flows": 35}),
        Case("switch, trunk to access", "in1",
             Ether(dst=station, src=labs.HOST_MAC) / Dot1Q(vlan=10) / IP(src="10.0.0.99", dst="10.0.0.10") / TCP_ACK,
             {}, [flows(1)], check(None), tags=TAG, to_reach={"1 flows": 35}),
    ]  # fmt: skip


LOOK_UP = "one look-up in the kernel's hash, redirect"
PACKED_LINE = "one line a flow, beside its answers', redirect"


def yardsticks(sizes):
    """What a connection costs that is found in one hash of the kernel, and nothing else is done: beside SNAT and DNAT, in the same
    minute and the same memory. What it costs in a table such as cannot be. And a program of a few lines."""
    connection = INSIDE / IP(src="10.0.4.0", dst="172.16.0.1") / TCP_ACK
    return [
        Case("parse, swap MACs", "in1", connection, {}, [flows(1)], lambda o, b: None if o == b[6:12] + b[:6] + b[12:] else "not swapped",
             target=SWAP),
        Case(LOOK_UP, "in1", connection, CLIENTS, sizes, lambda o, b: None if o[-80:] == b[-80:] else "changed", target=LOOKUP),
        Case(PACKED_LINE, "in1", connection, CLIENTS, sizes, lambda o, b: None if o[-80:-56] == b[-80:-56] else "changed", target=PACKED),
    ]  # fmt: skip


LOAD_LINE = "one line out of 32 MiB, redirect"


def load_yardstick(dst4):
    """What a destination costs whose way stands somewhere in as much memory as a million routes take, at the very least: beside them."""
    return [Case(LOAD_LINE, "in1", INSIDE / IP(src="10.0.4.1", dst="0.0.0.0") / TCP_ACK, {"daddr": (0, 0xFFFFFFFF)},
                 [Sequence("1M random destinations", dst4)], lambda o, b: None if o[-80:] == b[-80:] else "changed", target=LOAD)]  # fmt: skip


FREE_S = 3  # until places of many connections that ended are given out again


def forget(lab):
    """No connection is there, as in a table that is fresh: beside many, also such that ended just now, one may have to stand in its
    second place."""
    many = lab.switch.json("flow count")["flows"] > 1024
    lab.switch.cli("flow flush all", timeout=120)
    time.sleep(FREE_S if many else 0)


def translating(lab, sizes, about=""):
    way = by_wan(lab)
    return [
        Case("SNAT + ECMP, established" + about, "in1", INSIDE / IP(src="10.0.4.0", dst="172.16.0.1") / TCP_ACK, CLIENTS, sizes,
             lambda o, b: way(o, b, src=in_pool, sport=any_port), tags=TAG, connections=True, to_reach=ESTABLISHED),
        Case("DNAT, established" + about, "wan1",
             to_wan(lab) / IP(src="100.64.0.1", dst=labs.VIP) / TCP(sport=1024, dport=8080, flags="A"), CLIENTS, sizes,
             lambda o, b: routed(o, b, labs.GW_MAC, "02:00:00:00:10:0a".__eq__, dst=lambda v: labs.SERVER, dport=lambda v: 80),
             connections=True, to_reach=ESTABLISHED),
        Case("route past NAT rules" + about, "in1", INSIDE / IP(src="10.0.4.1", dst="100.64.0.1") / TCP_ACK, {"daddr": (0, 0xFFFFF)},
             [flows(1), flows(MANY)], way, tags=TAG),
    ]  # fmt: skip


def uncounted(lab):
    """The first of them, in a switch that does not count the packets of flows."""
    return translating(lab, [flows(1)], ", without accounting")[:1]


def routing(lab, dst4=None, dst6=None):
    """`dst4`, `dst6`: destinations in full tables."""
    way = by_wan(lab)
    if dst4:
        n4, n6 = Sequence("1M random destinations", dst4), Sequence("1M random destinations", dst6)
        return [
            Case("route, 1M routes", "in1", INSIDE / IP(src="10.0.4.1", dst="0.0.0.0") / TCP_ACK, {"daddr": (0, 0xFFFFFFFF)}, [n4], way,
                 tags=TAG, to_reach={n4.name: 70}),
            Case("route, IPv6, 200k routes", "in1", INSIDE / IPv6(src=labs.INSIDE6, dst="::1") / TCP_ACK, {"dst_high6": True}, [n6], way,
                 tags=TAG),
        ]  # fmt: skip
    sizes, spread_ = [flows(1), flows(MANY)], {"daddr": (0, 0xFFFFF)}
    return [
        Case("route", "in1", INSIDE / IP(src="10.0.4.1", dst="100.64.0.1") / TCP_ACK, spread_, sizes, way, tags=TAG,
             to_reach={"1 flows": 50}),
        Case("route, VLAN to VLAN", "in1", INSIDE / IP(src="10.0.4.1", dst="10.1.0.10") / TCP_ACK, {}, sizes[:1],
             lambda o, b: routed(o, b, "02:00:00:00:20:01", "02:00:00:00:20:0a".__eq__), tags={"tc": 2}),
        Case("route, ECMP of 4", "wan1", to_wan(lab) / IP(src="100.64.0.1", dst="172.16.0.1") / TCP_ACK, spread_, sizes, way),
        Case("route, IPv6", "in1", INSIDE / IPv6(src=labs.INSIDE6, dst="2001:db8:aaaa::1") / TCP_ACK, spread_, sizes, way,
             tags=TAG),
    ]  # fmt: skip


def warm(bench, case, ifindex, size):
    """Every flow's first packet."""
    values, counts = size.all(), case.target == PACKED
    if counts:
        bench.lines()
    bench.order(values)
    bench.run(case.target, ifindex, len(values))
    if counts:
        used = bench.lines()
        kit.need(used == len(values), f"{case.name}: {size.name} use {used} lines")


def look(report, bench, case, lab, hook):
    """One packet, before it is measured."""
    ifindex = lab.ifindex[case.port]
    before = bare_frame(bench, ifindex)
    out = bench.once(case.target, ifindex)
    if case.target == REAL:
        prog = bpf.Prog(f"{lab.pins}/progs/{hook}")
        alone = bpf.run_xdp(prog, before, ifindex) if hook == "xdp" else bpf.run_tc(prog, before, ifindex)
        prog.close()
        kit.need((alone.retval, alone.data) == (out.retval, out.data), f"{case.name}: the program alone says {alone.retval} "
                 f"{alone.data.hex()}, behind the generator {out.retval} {out.data.hex()}")  # fmt: skip
    want = bpf.TC_ACT_REDIRECT if hook == "tc" else bpf.XDP_TX if case.target == SWAP else bpf.XDP_REDIRECT
    kit.need(out.retval == want, f"{case.name} at {hook}: verdict {out.retval}")
    data = out.data
    if hook == "xdp":
        changes = len(data) != len(before)
        kit.need(changes == bool(case.tags.get(hook)), f"{case.name}: {len(before)} bytes became {len(data)}, and its tags say {case.tags}")
    wrong = case.check(data, before)
    kit.need(not wrong, f"{case.name} at {hook}: {wrong}")
    report.packet(f"{hook} {case.name}", data)


def length_change(turns, bench, ifindex):
    """What the generator pays for giving a frame its old length: half of what the two changes of a round cost."""
    return max(turns.median(turns.measure(bench, ifindex, [TAGGING]), TAGGING) / 2, 0)


def measure(report, turns, lab, hook, table_of_cases):
    with lab.generator(hook) as bench, kit.Quiet():
        if hook == "xdp":
            bench.way_out(lab.ifindex["wan1"])
            if any(case.target in (LOAD, PACKED) for case in table_of_cases):
                bench.memory(lab.ifindex["wan1"])
        for case in table_of_cases:
            report.step(f"{hook}: {case.name}")
            ifindex = lab.ifindex[case.port]
            if case.connections:
                forget(lab)
            bench.set(template(case.frame, hook, **case.vary))
            changes = case.tags.get(hook, 0)
            less = changes * length_change(turns, bench, ifindex) if changes else 0.0
            for size in case.sizes:
                warm(bench, case, ifindex, size)
                bench.order(size.order)
                look(report, bench, case, lab, hook)
                bench.run(case.target, ifindex, SLICE)
                point = turns.measure(bench, ifindex, [case.target])
                turns.add(point, {case.target: (f"{hook}: {case.name}", size.name)}, less)


VERIFIED_INSNS = 216  # struct bpf_prog_info


def verified(report, lab):
    """Of the pinned programs; with NAT they are the largest."""
    for hook in ("xdp", "tc"):
        prog = bpf.Prog(f"{lab.pins}/progs/{hook}")
        (n,) = struct.unpack_from("=I", bpf.info(prog.fd), VERIFIED_INSNS)
        prog.close()
        report.add("verified instructions", hook, n, "instructions")
        goals.note(report, "verified instructions", hook, n, goals.VERIFIED, "")


def show(report, hooks_cases):
    rows = []
    for hook, table_of_cases in hooks_cases:
        for c in table_of_cases:
            for s in c.sizes:
                series, goal = f"{hook}: {c.name}", c.to_reach.get(s.name) if hook == "xdp" else None
                ns, look_up = report.median(series, s.name), report.median(f"xdp: {LOOK_UP}", s.name)
                about = goals.cells(ns, goal, len(s.values), look_up)
                rows.append((series, s.name, report.cell(series, s.name), *by_turns.about(report, series, s.name), *about))
                goals.note(report, series, s.name, ns, goal, here=goals.scaled(goal, len(s.values), look_up) if goal else None)
    kit.table(f"ns per packet, {FRAME}-byte frames, generator subtracted", ("case", "flows or destinations", "ns", *by_turns.ABOUT, *goals.HEAD), rows)
    there = ", ".join(f"{report.median(f'xdp: {LOOK_UP}', flows(n).name) or 0:.0f} with {n:,} (there {ns})" for n, ns in goals.THERE.items())
    swap = report.median("xdp: parse, swap MACs", flows(1).name) or 0
    kit.say(f"scaled: × the look-up here ÷ on the goals' machine, in ns: {there}; swapping MACs: {swap:.0f} (there {goals.SWAP_THERE})")


def fill(report, lab, families):
    """Full tables; the prefixes by family."""
    got = {}
    for family, n in families:
        got[family] = labs.routes(family, n)
        kernel, both = labs.load_routes(lab, got[family], family)
        report.facts[f"routes{family}"] = {"routes": n, "kernel_s": kernel, "mirrored_s": both}
        kit.say(f"    {n:,} IPv{family} routes: the kernel took {kernel:.1f} s, the switch had them after {both:.1f} s")
    return got


def run(report):
    kit.say("BPF_PROG_RUN of the pinned programs; what came out:")
    done, turns = [], by_turns.Turns()

    def at(lab, hook, table_of_cases):
        table_of_cases = [c for c in table_of_cases if re.search(os.environ.get("CASES", ""), f"{hook}: {c.name}")]
        done.append((hook, table_of_cases))
        measure(report, turns, lab, hook, table_of_cases)

    lab = labs.DatapathLab("dp", flows=131072, nat=True)
    try:
        verified(report, lab)
        for hook, sizes in (("xdp", [flows(1), flows(1024), flows(16384), flows(65536)]), ("tc", [flows(1), flows(16384)])):
            at(lab, hook, switching(hook) + (yardsticks([*sizes, flows(MANY)]) if hook == "xdp" else []) + translating(lab, sizes))
        lab.without_accounting()
        for hook in ("xdp", "tc"):
            at(lab, hook, uncounted(lab))
    finally:
        lab.close()
    lab = labs.DatapathLab("dr", flows=2097152, nat=False)
    try:
        for hook in ("xdp", "tc"):
            at(lab, hook, routing(lab))
        if not os.environ.get("EMPTY"):
            full_tables(report, lab, at)
    finally:
        lab.close()
    turns.finish(report)
    show(report, done)


def full_tables(report, lab, at):
    report.step("full tables")
    prefixes = fill(report, lab, [(4, 1_000_000), (6, 200_000)])
    dst4, dst6 = (labs.addresses_in(prefixes[f], f, SEQ) for f in (4, 6))
    for hook in ("xdp", "tc"):
        at(lab, hook, routing(lab, dst4, dst6) + (load_yardstick(dst4) if hook == "xdp" else []))
    report.step(f"NAT with {FORWARDS:,} rules into full tables")
    lab.with_nat(FORWARDS)
    rules = len(lab.switch.json("nat show")["rules"])
    kit.need(rules >= FORWARDS, f"the switch has {rules} rules")
    for hook, sizes in (("xdp", [flows(1), flows(16384), flows(100_000), flows(MANY), flows(MANY, 1.1)]), ("tc", [flows(MANY)])):
        at(lab, hook, translating(lab, sizes, ", full tables"))
