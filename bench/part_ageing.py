"""part_ageing.py: what a million connections cost sluiced while nothing happens to them, and how late those end whose time is over.

The connections are made through the switch's own program. CPU time is sluiced's own (/proc/PID/stat), so others on the machine do
not count; what they do to how late a connection ends, they do.
"""
import array
import mmap
import os
import time

import bpf
import kit
import lab as labs
from netlab import wait_for
from gen import IP, REAL, UDP, Bench, Dot1Q, Ether, template

TABLE, SHORT, TIMEOUT, SECONDS, ROUNDS = 1 << 20, 4096, 10, 30, 3  # the tables as by default, that of IPv4 full
PAIRS = TABLE - SHORT
RULE = '  - {{name: short, type: snat, source: 10.0.0.0/16, destination: 172.31.0.0/16, to: {pool}, timeouts: {{udp: 10s}}}}\n'


def cpu_s(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def share_of(pid):
    """Of a core, in %, over a while."""
    before, began = cpu_s(pid), time.monotonic()
    time.sleep(SECONDS)
    return 100 * (cpu_s(pid) - before) / (time.monotonic() - began)


class Words:
    """The words of the table's slots, as they are."""

    def __init__(self, lab):
        self.map = bpf.Map(f"{lab.pins}/maps/flow_words4")
        self.mem = mmap.mmap(self.map.fd, self.map.max_entries * 64, prot=mmap.PROT_READ)
        self.view = memoryview(self.mem).cast("I")

    def live(self):
        return {i for i, w in enumerate(self.view) if w & 3 == 2 and i % 16 != 15}

    def close(self):
        self.view.release()
        self.mem.close()
        self.map.close()


def open_pairs(lab, bench, frame, n, **vary):
    """n new connections; how far apart in time the first and the last are."""
    bench.set(template(frame, **vary))
    bench.order(array.array("Q", range(1 << (n - 1).bit_length())))
    began = time.monotonic()
    with lab.ns.entered():
        bench.run(REAL, lab.ifindex["in1"], n)
    return time.monotonic() - began


def how_late(lab, bench, frame, port):
    """Opens SHORT connections and waits for their ends: [seconds after their time]."""
    words = Words(lab)
    before = words.live()
    frame = frame.copy()
    frame[UDP].dport = port
    opened = time.monotonic()
    open_pairs(lab, bench, frame, SHORT, daddr=(0, 0xFFFF))
    mine = list(words.live() - before)
    kit.need(len(mine) == 2 * SHORT, f"{len(mine)} entries of {SHORT} connections")
    late = []
    while mine and time.monotonic() < opened + TIMEOUT + 20:
        now, left = time.monotonic(), []
        for i in mine:
            if words.view[i] & 3 == 2:
                left.append(i)
            else:
                late.append(now - opened - TIMEOUT)
        mine = left
        time.sleep(0.005)
    kit.need(not mine, f"{len(mine)} entries do not end")
    words.close()
    return late


def run(report):
    old, labs.NAT = labs.NAT, labs.NAT.replace("nat:\n", "nat:\n" + RULE)
    try:
        lab = labs.DatapathLab("bench-age", flows=TABLE, flows6=TABLE // 4)
    finally:
        labs.NAT = old
    bench = None
    try:
        bench = Bench("xdp", "bench-age")
        real = bpf.Prog(f"{lab.pins}/progs/xdp")
        bench.target(REAL, real)
        inside = Ether(dst=labs.GW_MAC, src=labs.HOST_MAC) / Dot1Q(vlan=10)
        known = inside / IP(src="10.0.4.0", dst="172.16.0.1") / UDP(sport=1024, dport=443)
        short = inside / IP(src="10.0.4.0", dst="172.31.0.0") / UDP(sport=999, dport=1)
        pid = lab.switch.process.pid
        idle = share_of(pid)
        seconds = open_pairs(lab, bench, known, PAIRS, saddr=(10, 0x3FF), sport=(0, 0x3FF))
        kit.say(f"{PAIRS} connections in {seconds:.1f} s")
        began = time.monotonic()
        wait_for("all are counted", lambda: lab.switch.json("flow count")["flows"] >= PAIRS, 120, 0.2)
        kit.say(f"seen by sluiced after {time.monotonic() - began:.1f} s")
        time.sleep(2 * TIMEOUT)
        share = share_of(pid)
        report.add("sluiced without connections", "% of a core", idle)
        report.add("sluiced with 1M connections", "% of a core", share)
        late = sorted(x for n in range(ROUNDS) for x in how_late(lab, bench, short, 2 + n))
        report.add("end after the timeout", "median ms", 1000 * late[len(late) // 2])
        report.add("end after the timeout", "at most ms", 1000 * late[-1])
        kit.table("Ageing", ("what", ""), [("CPU of sluiced without connections, % of a core", f"{idle:.2f}"),
                                           ("CPU of sluiced with 1M, % of a core", f"{share:.2f}"),
                                           ("late, median ms", f"{1000 * late[len(late) // 2]:.0f}"),
                                           ("late, at most ms", f"{1000 * late[-1]:.0f}")])  # fmt: skip
        real.close()
    finally:
        if bench:
            bench.close()
        lab.close()
