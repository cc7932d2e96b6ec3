"""cost_prog.py: instructions per packet of the programs that sluiced has pinned, for XDP and tc, packet by packet.

The cases, the generator and what must come out are those of part_datapath.py; bench/cost/cost_guest.c counts in the virtual machine.
"""
import re

import kit
import lab as labs
import part_datapath as pd
from gen import IP, TCP, flows, template

MODULES = ()
HOOKS = ("xdp", "tc")
PORTS = ["in1", "in2", "wan1", "wan2", "wan3", "wan4"]
MACS = {p: f"02:00:00:00:d0:{i:02x}" for i, p in enumerate(PORTS, 1)}
PACKETS, REPEATS = 1024, 5
VERDICT = {"xdp": 4, "tc": 7}  # *_REDIRECT
SIZES = [flows(1), flows(1024), flows(16384)]
FEW = flows(16)  # for one flow: the middle of some, lest one that stands in its second place of the flow table speaks for all

LINK = """ip link add {p} address {mac} type veth peer name p-{p} address {peer} netns far
ip link set {p} up; nsenter --net=/run/netns/far ip link set p-{p} up
"""
START = """
sluiced -c /cost/{name}.yaml -i cost >/tmp/log 2>&1 &
n=0
until [ "$(sluice -i cost port show 2>/dev/null | grep -c attached)" -ge 8 ]; do
	n=$((n + 1)); [ $n -lt 300 ] && kill -0 $! 2>/dev/null || {{ cat /tmp/log; exit 1; }}; sleep 0.2
done
"""
CHANGE = "sluice -i cost apply /cost/{name}.yaml || exit 1\n"
MEASURE = "cost_guest /cost jobs-{name} /sys/fs/bpf/sluice/cost/progs || {{ cat /tmp/log; exit 1; }}\n"
LINE = re.compile(r"^job (\S+) before=(\w*) out=(\w*) verdict=(\d+) packets=(\d+) sum=(\d+) least=(\d+) middle=(\d+) most=(\d+)", re.M)


class Inside:
    """The switch in the virtual machine, as part_datapath.py asks for it."""

    macs = MACS


class Job:
    """`fresh`: every packet is the first of its flow."""

    def __init__(self, switch, hook, case, size, fresh=False):
        self.switch, self.hook, self.case, self.fresh = switch, hook, case, fresh
        self.small = fresh or len(size.values) == 1
        self.size = FEW if len(size.values) == 1 else size
        words = re.sub(r"[^a-z0-9]+", "-", case.name.lower()).strip("-")
        self.id = f"{hook}-{words}" + {1024: "-1k", 16384: "-16k"}.get(len(size.values), "")

    def files(self):
        n, values = (len(FEW.values), FEW.all()) if self.size is FEW else (PACKETS, self.size.all())
        order = values if self.size is FEW or self.fresh else self.size.order
        return {
            f"{self.id}.gen": bytes(template(self.case.frame, self.hook, **self.case.vary)),
            f"{self.id}.warm": values.tobytes(),
            f"{self.id}.order": order.tobytes()[: 8 * 4096],
        }, f"{self.id} {self.hook} {self.case.target} {self.case.port} {n} {1 if self.fresh else REPEATS}\n"

    def number(self, total, packets, middle):
        """What stands for the job."""
        return middle if self.small else total / packets


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
    got += [Job("silent", hook, c, c.sizes[0]) for hook in HOOKS for c in pd.uncounted(lab)]
    return got


def script(wanted):
    """(what the virtual machine runs, its files)."""
    links = "".join(LINK.format(p=p, mac=MACS[p], peer=m.replace(":d0:", ":fa:")) for p, m in MACS.items())
    text = "ip netns add far\n" + links
    for i, name in enumerate(dict.fromkeys(j.switch for j in wanted)):
        text += ((CHANGE if i else START) + MEASURE).format(name=name)
    return text, files(wanted)


def small(config):
    """The switch of part_datapath.py with tables that are soon made."""
    return re.sub("(fdb|routes4|routes6): [0-9]{6,}", r"\1: 65536", config)


def files(wanted):
    switches = {"nat": (True,), "plain": (False,), "silent": (True, labs.SILENT)}
    got = {f"{name}.yaml": small(labs.config(131072, 131072, *how)) for name, how in switches.items()}
    for j in wanted:
        more, line = j.files()
        got.update(more)
        got[f"jobs-{j.switch}"] = got.get(f"jobs-{j.switch}", "") + line
    return got


def judge(report, wanted, out):
    """Instructions per packet by job."""
    lines, got = {m[1]: m for m in LINE.finditer(out)}, {}
    for j in wanted:
        m = lines.get(j.id)
        kit.need(m, f"{j.id}: was not measured:\n{out[-2000:]}")
        before, after = bytes.fromhex(m[2]), bytes.fromhex(m[3])
        verdict, packets, total, least, middle, most = map(int, m.groups()[3:])
        kit.need(verdict == VERDICT[j.hook], f"{j.id}: verdict {verdict}")
        wrong = j.case.check(after, before)
        kit.need(not wrong, f"{j.id}: {wrong}")
        report.add(j.id, "instructions", j.number(total, packets, middle), "instructions")
        report.facts[j.id] = {"least": least, "middle": middle, "most": most}
        got[j.id] = report.median(j.id, "instructions")
    return got


def show(got, base, report, wanted):
    rows = []
    for i in (j.id for j in wanted):
        m = report.facts[i]
        rows.append((i, f"{got[i]:,.1f}", m["least"], m["most"], *base(i)))
    kit.table("instructions per packet, generator subtracted", ("job", "instructions", "least", "most", "before", "change"), rows)
