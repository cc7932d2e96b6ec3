"""cost.py [ID…]: instructions per packet, to the instruction: `make bench-cost`. ID: the front of a job's name, as `xdp-snat`.

The programs that sluiced has pinned, for XDP and tc, run packet by packet in a virtual machine that counts instructions
(vm.py), by the same cases and generator as part_datapath.py. What else runs on this machine changes nothing; so two commits can be
compared by one run each. Instructions are not time: what waits for memory costs more than it counts here.
"""
import argparse
import os
import re
import sys

import cost_base
import cost_profile
import kit
import lab as labs
import part_datapath as pd
import vm
from gen import IP, TCP, flows, template

KERNEL = os.path.join(kit.ROOT, "build", "kernels", "6.1")
HOOKS = ("xdp", "tc")
PORTS = ["in1", "in2", "wan1", "wan2", "wan3", "wan4"]
MACS = {p: f"02:00:00:00:d0:{i:02x}" for i, p in enumerate(PORTS, 1)}
PACKETS, REPEATS = 1024, 5
VERDICT = {"xdp": 4, "tc": 7}  # *_REDIRECT
SIZES = [flows(1), flows(1024), flows(16384)]

LINK = """ip link add {p} address {mac} type veth peer name p-{p} address {peer} netns far
ip link set {p} up; nsenter --net=/run/netns/far ip link set p-{p} up
"""
START = """
sluiced -c /cost/{name}.yaml -i cost >/tmp/log 2>&1 &
n=0
until [ "$(sluice -i cost port show 2>/dev/null | grep -c attached)" -ge 8 ]; do
	n=$((n + 1)); [ $n -lt 300 ] || {{ cat /tmp/log; exit 1; }}; sleep 0.2
done
"""
CHANGE = "sluice -i cost apply /cost/{name}.yaml || exit 1\n"
MEASURE = "cost_guest /cost jobs-{name} /sys/fs/bpf/sluice/cost/progs || {{ cat /tmp/log; exit 1; }}\n"
LINE = re.compile(r"^job (\S+) before=(\w*) out=(\w*) verdict=(\d+) packets=(\d+) sum=(\d+) least=(\d+) middle=(\d+) most=(\d+)", re.M)


class Inside:
    """The switch in the virtual machine, as part_datapath.py asks for it."""

    macs = MACS


class Job:
    def __init__(self, switch, hook, case, size, fresh=False):
        self.switch, self.hook, self.case, self.size, self.fresh = switch, hook, case, size, fresh
        words = re.sub(r"[^a-z0-9]+", "-", case.name.lower()).strip("-")
        count = {1: "", 1024: "-1k", 16384: "-16k"}.get(len(size.values), "")
        self.id = f"{hook}-{words}{count}"

    def files(self):
        n = 1 if len(self.size.values) == 1 else PACKETS
        order = self.size.all() if self.fresh else self.size.order
        return {
            f"{self.id}.gen": bytes(template(self.case.frame, self.hook, **self.case.vary)),
            f"{self.id}.warm": self.size.all().tobytes(),
            f"{self.id}.order": order.tobytes()[: 8 * 4096],
        }, f"{self.id} {self.hook} {self.case.target} {self.case.port} {n} {1 if self.fresh else REPEATS}\n"


def first_packet(lab, hook):
    """Each packet a connection's first: mapping, port and both entries are made. The hooks share the tables: they go elsewhere."""
    way = pd.by_wan(lab)
    frame = pd.INSIDE / IP(src="10.0.4.0", dst="172.16.0.1") / TCP(sport=1024, dport=443 if hook == "xdp" else 444, flags="S")
    return pd.Case("SNAT, first packet", "in1", frame, {"saddr": (10, 0x3FF), "sport": (0, 0x3FF)}, [flows(4096)],
                   lambda o, b: way(o, b, src=pd.in_pool, sport=pd.any_port))  # fmt: skip


def jobs():
    lab, got = Inside(), []
    for hook in HOOKS:
        got += [Job("plain", hook, c, c.sizes[0]) for c in pd.switching(hook) + pd.routing(lab)]
    got += [Job("nat", hook, first_packet(lab, hook), flows(4096), fresh=True) for hook in HOOKS]
    for hook in HOOKS:
        for c in pd.translating(lab, SIZES):
            got += [Job("nat", hook, c, s) for s in c.sizes if len(s.values) <= 16384]
    return got


def built(name):
    """Of the build that B names; the benchmark's own parts of this tree's where that has none."""
    path = os.path.join(kit.BUILD, name)
    return path if os.path.exists(path) else os.path.join(kit.ROOT, "build", name)


def script(wanted):
    links = "".join(LINK.format(p=p, mac=MACS[p], peer=m.replace(":d0:", ":fa:")) for p, m in MACS.items())
    text = "ip netns add far\n" + links
    for i, name in enumerate(dict.fromkeys(j.switch for j in wanted)):
        text += ((CHANGE if i else START) + MEASURE).format(name=name)
    return text


def small(config):
    """The switch of part_datapath.py with tables that are soon made."""
    return re.sub("(fdb|routes4|routes6): [0-9]{6,}", r"\1: 65536", config)


def files(wanted):
    got = {"nat.yaml": small(labs.config(262144, True)), "plain.yaml": small(labs.config(262144, False))}
    for hook in HOOKS:
        with open(built(f"bench/gen_{hook}.bpf.o"), "rb") as f:
            got[f"gen_{hook}.bpf.o"] = f.read()
    for j in wanted:
        more, line = j.files()
        got.update(more)
        got[f"jobs-{j.switch}"] = got.get(f"jobs-{j.switch}", "") + line
    return got


PROGRAMS = ("sluiced", "sluice", "bench/cost_guest", "bench/cost_symbols")


def profile(job):
    """Where the instructions of one job are executed."""
    counts = os.path.join(kit.OUT, "cost-profile")
    plugin = f"{built('bench/cost_plugin.so')},out={counts}"
    out = vm.run(KERNEL, files([job]), "export COST_PROFILE=1\n" + script([job]) + cost_profile.SCRIPT,
                 programs=[built(p) for p in PROGRAMS], plugin=plugin, seconds=900)  # fmt: skip
    cost_profile.show(job.id, out, counts)


def count(report, wanted):
    """Instructions per packet by job."""
    out = vm.run(KERNEL, files(wanted), script(wanted), programs=[built(p) for p in PROGRAMS])
    lines, got = {m[1]: m for m in LINE.finditer(out)}, {}
    for j in wanted:
        m = lines.get(j.id)
        kit.need(m, f"{j.id}: was not measured:\n{out[-2000:]}")
        before, after = bytes.fromhex(m[2]), bytes.fromhex(m[3])
        verdict, packets, total, least, middle, most = map(int, m.groups()[3:])
        kit.need(verdict == VERDICT[j.hook], f"{j.id}: verdict {verdict}")
        wrong = j.case.check(after, before)
        kit.need(not wrong, f"{j.id}: {wrong}")
        report.add(j.id, "instructions", middle if j.fresh else total / packets, "instructions")
        report.facts[j.id] = {"least": least, "middle": middle, "most": most}
        got[j.id] = report.median(j.id, "instructions")
    return got


def show(got, report):
    base = cost_base.load()["instructions"]
    rows = []
    for i, n in got.items():
        change = f"{100 * (n / base[i] - 1):+.1f} %" if i in base else ""
        rows.append((i, f"{n:,.1f}", report.facts[i]["least"], report.facts[i]["most"], f"{base[i]:,.1f}" if i in base else "-", change))
    kit.table("instructions per packet, generator subtracted", ("job", "instructions", "least", "most", "baseline", "change"), rows)


def parse(argv):
    p = argparse.ArgumentParser(prog="cost.py", description="Instructions per packet, counted in a virtual machine.")
    p.add_argument("ids", nargs="*", metavar="ID", help="jobs whose names begin so; all unless named")
    p.add_argument("--check", action="store_true", help="few jobs; fails where one needs more than %d %% above the baseline" % cost_base.LIMIT)
    p.add_argument("--profile", action="store_true", help="where the instructions of the first job named are executed")
    p.add_argument("--baseline", metavar="REASON", help="the counts become the baseline")
    return p.parse_args(argv)


def main(argv):
    args = parse(argv)
    wanted = [j for j in jobs() if not args.ids or any(j.id.startswith(a) for a in args.ids)]
    kit.need(wanted, f"no such job: {', '.join(j.id for j in jobs())}")
    if args.profile:
        profile(wanted[0])
        return 0
    if args.check:
        wanted = [j for j in wanted if len(j.size.values) == 1 or j.fresh]
    report = kit.Report("cost", "instructions per packet")
    report.facts["made_of"] = cost_base.made_of(KERNEL)
    got = count(report, wanted)
    show(got, report)
    report.write()
    if args.baseline is not None:
        cost_base.renew(got, KERNEL, args.baseline)
    return cost_base.check(got, KERNEL) if args.check else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except kit.Wrong as e:
        sys.exit(f"cost: {e}")
