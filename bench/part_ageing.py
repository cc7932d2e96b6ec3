"""part_ageing.py: what a million connections cost sluiced while nothing happens to them, and how late those end whose time is over.

The connections are made through the switch's own program. CPU time is sluiced's own, so others on the machine do
not count; what they do to how late a connection ends, they do.
"""
import array
import mmap
import time

import bpf
import kit
import lab as labs
from netlab import wait_for
from gen import IP, REAL, UDP, Dot1Q, Ether, template

TABLE, SHORT, TIMEOUT, SECONDS, SETS = 1 << 20, 4096, 10, 30, 3  # the tables as by default, that of IPv4 full
PAIRS = TABLE - SETS * SHORT
RULE = '  - {{name: short, type: snat, source: 10.0.0.0/16, destination: 172.31.0.0/16, to: {pool}, timeouts: {{udp: 10s}}}}\n'


def share_of(pid):
    """Of a core, in %, over a while."""
    before, began = kit.cpu_ns(pid), time.monotonic()
    time.sleep(SECONDS)
    return 100 * (kit.cpu_ns(pid) - before) / 1e9 / (time.monotonic() - began)


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
    bench.run(REAL, lab.ifindex["in1"], n)
    return time.monotonic() - began


def open_sets(words, lab, bench, frame):
    """SETS times SHORT connections: [(entry, when its time is over)]"""
    got, there = [], words.live()
    for n in range(SETS):
        frame[UDP].dport = 2 + n
        opened = time.monotonic()
        open_pairs(lab, bench, frame, SHORT, daddr=(0, 0xFFFF))
        more = words.live()
        kit.need(len(more - there) == 2 * SHORT, f"{len(more - there)} entries of {SHORT} connections")
        got += [(i, opened + TIMEOUT) for i in more - there]
        there = more
    return got


def how_late(lab, bench, frame):
    """Waits for the ends of connections: [seconds after their time]."""
    words, late = Words(lab), []
    mine = open_sets(words, lab, bench, frame)
    while mine and time.monotonic() < mine[-1][1] + 20:
        now, left = time.monotonic(), []
        for i, over in mine:
            if words.view[i] & 3 == 2:
                left.append((i, over))
            else:
                late.append(now - over)
        mine = left
        time.sleep(0.005)
    kit.need(not mine, f"{len(mine)} entries do not end")
    words.close()
    return sorted(late)


def measure(report, lab, bench):
    inside = Ether(dst=labs.GW_MAC, src=labs.HOST_MAC) / Dot1Q(vlan=10)
    known = inside / IP(src="10.0.4.0", dst="172.16.0.1") / UDP(sport=1024, dport=443)
    short = inside / IP(src="10.0.4.0", dst="172.31.0.0") / UDP(sport=999, dport=1)
    pid = lab.switch.process.pid
    report.step(f"{SECONDS} s without connections")
    report.add("sluiced without connections", "% of a core", share_of(pid), "%")
    report.step(f"{PAIRS:,} connections")
    seconds = open_pairs(lab, bench, known, PAIRS, saddr=(10, 0x3FF), sport=(0, 0x3FF))
    kit.say(f"    made in {seconds:.1f} s")
    began = time.monotonic()
    wait_for("all are counted", lambda: lab.switch.json("flow count")["flows"] >= PAIRS, 120, 0.2)
    kit.say(f"    seen by sluiced after {time.monotonic() - began:.1f} s")
    time.sleep(2 * TIMEOUT)  # it looks at each pair twice while that is new, in a sixth of the time at most
    report.step(f"{SECONDS} s with them")
    report.add("sluiced with 1M connections", "% of a core", share_of(pid), "%")
    report.step("the time of some is over")
    late = how_late(lab, bench, short)
    report.add("end after the timeout", "median", 1000 * late[len(late) // 2], "ms")
    report.add("end after the timeout", "at most", 1000 * late[-1], "ms")


def run(report):
    old, labs.NAT = labs.NAT, labs.NAT.replace("nat:\n", "nat:\n" + RULE)
    try:
        lab = labs.DatapathLab("age", flows=TABLE, flows6=TABLE // 4)
    finally:
        labs.NAT = old
    try:
        with lab.generator() as bench:
            measure(report, lab, bench)
    finally:
        lab.close()
    kit.table("Ageing", ("what", "", "", "unit"), [(s, p, kit.round_up(report.median(s, p)), report.units[(s, p)]) for s, p in report.samples])
