"""cost_tcp.py: instructions for what TCP does between two containers, sluice beside the Linux bridge, in the virtual machine.

The networks are those of part_tcp.py, written down by cost_forward.Script; bench/tcp/tcp_line.c is client and server. There is one CPU,
and its clock counts instructions: so many are executed from end to end for 64 KiB of a stream, a request and its response, a
connection.
"""
import re

import kit
import part_tcp as pt
from cost_forward import Script

MODULES = ("bridge",)
COUNTS = {"stream": 64, "ask": 256, "connect": 128}
ROUNDS = 5
DEVICES = (pt.Net, pt.Kernel)
ROUND = re.compile(r"^[0-9.]+ ([0-9.]+) ", re.M)


class Job:
    small = False

    def __init__(self, what, device):
        self.what, self.device = what, device
        self.id = f"tcp-{what}-" + ("sluice" if device is pt.Net else "linux-bridge")


def jobs():
    return [Job(what, d) for what in COUNTS for d in DEVICES]


def script(wanted):
    """(what the virtual machine runs, its files)."""
    s, made = Script("t"), {}
    for j in wanted:
        if j.device not in made:
            net = made[j.device] = j.device.__new__(j.device)
            net.join(s, f"{len(made)}-")
            s.text += "sleep 2\n"
        net = made[j.device]
        s.text += f"echo begin {j.id}\n"
        s.text += f"tcp_line {net.a.path} {net.b.path} {pt.B} {pt.ONE_CPU_PORT} {j.what} {COUNTS[j.what]} {ROUNDS} || exit 1\necho end\n"
    return s.text, s.files


def judge(report, wanted, out):
    """Instructions by job: the least of its rounds, into which nothing else fell. tcp_line has compared what arrived."""
    got = {}
    for j in wanted:
        part = re.search(rf"^begin {j.id}$(.*?)^end$", out, re.M | re.S)
        rounds = ROUND.findall(part[1]) if part else []
        kit.need(len(rounds) == ROUNDS, f"{j.id}: was not measured:\n{out[-2000:]}")
        got[j.id] = min(map(float, rounds))
        report.add(j.id, "instructions", got[j.id], "instructions")
    return got


def show(got, base, report, wanted):
    rows = []
    for j in wanted:
        theirs = got.get(f"tcp-{j.what}-linux-bridge")
        rows.append((j.id, f"{got[j.id]:,.0f}", f"{got[j.id] / theirs:.2f}" if theirs else "", *base(j.id)))
    kit.table("TCP between containers: instructions from end to end", ("job", "instructions", "÷ bridge", "before", "change"), rows)
