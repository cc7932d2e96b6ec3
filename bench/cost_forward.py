"""cost_forward.py: instructions per packet through namespaces: sluice beside the kernel's own forwarding, in the virtual machine.

The devices, jobs and topology are those of part_forward.py; they are set up here against a laboratory that only writes down which
commands would be run, and the virtual machine runs them.
"""
import contextlib
import re
import shlex

import kit
import netlab
import part_forward as pf
from gen import Ether, template

PACKETS = 16384
PINS = "/sys/fs/bpf/gen"
MODULES = ("bridge", "nf_tables", "nft_chain_nat", "nft_masq", "nf_flow_table_inet", "nft_flow_offload")
LINE = re.compile(r"^line (\S+) sent=(\d+) arrived=(\d+) least=(\d+)((?: frame=\w+)*)$", re.M)
BEGIN = f"""mkdir -p {PINS}
bpftool prog loadall /cost/gen_xdp.bpf.o {PINS}/progs pinmaps {PINS}/maps || exit 1
"""
WAIT = """n=0
until [ "$(sluice -i {i} port show 2>/dev/null | grep -c attached)" -ge {ports} ]; do
	n=$((n + 1)); [ $n -lt 300 ] && kill -0 $! 2>/dev/null || {{ cat /tmp/{i}.log; exit 1; }}; sleep 0.2
done
"""
KINDS = (pf.Device, pf.Sluice, pf.SluiceTc, pf.Bridge, pf.Forward, pf.Masquerade, pf.Flowtable)


class Ns(netlab.Ns):
    """A namespace of which is written down what would be run in it."""

    def run(self, argv, check=True, timeout=60):
        self.lab.text += shlex.join(self.argv(argv)) + " || exit 1\n"

    def link(self, iface):
        return {"ifindex": iface}

    @contextlib.contextmanager
    def entered(self):
        self.lab.inside = self
        yield


class Switch:
    def __init__(self, lab, ns, path):
        self.lab, self.ns, self.path, self.instance = lab, ns, path, ns.full

    def start(self):
        with open(self.path, "rb") as f:
            self.lab.files[f"{self.instance}.yaml"] = f.read()
        start = shlex.join(self.ns.argv(["sluiced", "-c", f"/cost/{self.instance}.yaml", "-i", self.instance]))
        self.lab.text += f"{start} >/tmp/{self.instance}.log 2>&1 &\n"

    def attached(self, *ports):
        self.lab.text += WAIT.format(i=self.instance, ports=len(ports))


class Script:
    """netlab.Lab for part_forward's devices, and their Bench: the text of a shell script."""

    pins = PINS

    def __init__(self, prefix):
        self.prefix, self.text, self.files, self.inside = prefix, "", {}, None

    def ns(self, name):
        n = Ns(self, name, f"{self.prefix}-{name}")
        self.text += f"ip netns add {n.full} || exit 1\n"
        n.run("ip link set lo up")
        return n

    host = netlab.Lab.host

    def veth(self, a, a_if, b, b_if, mtu=None):
        self.text += f"ip link add {a_if} netns {a.full} type veth peer name {b_if} netns {b.full} || exit 1\n"
        a.run(f"ip link set {a_if} up")
        b.run(f"ip link set {b_if} up")

    def switch(self, ns, path):
        return Switch(self, ns, path)

    def way_out(self, netdev):
        n = shlex.join(self.inside.argv(["ip", "-o", "link", "show", netdev]))
        self.text += f"i=$(printf %02x $({n} | cut -d: -f1))\n"
        update = ["bpftool", "map", "update", "pinned", f"{PINS}/maps/out", "key", "0", "0", "0", "0", "value", "hex"]
        self.text += shlex.join(self.inside.argv(update)) + " $i 0 0 0 0 0 0 0 || exit 1\n"


class Job:
    """`owner`: the job whose devices it uses: they differ by kind of work, not by number of flows."""

    small = False

    def __init__(self, job, owner, device):
        self.job, self.owner, self.device = job, owner, device
        words = re.sub(r"[^a-z0-9]+", "-", device.name.lower())
        self.id = f"line-{job.kind().lower()}{'-16k' if '16,384' in job.name else ''}-{words}"


def jobs():
    got, first = [], {}
    for job in pf.jobs():
        owner = first.setdefault(job.kind(), job)
        got += [Job(job, owner, d) for d in pf.DEVICES[job.kind()] if d in KINDS]
    return got


def _device(script, prefix, job, kind):
    """All that its constructor would run."""
    device = kind.__new__(kind)
    device.__init__(script, prefix, job, script)
    device.close()


def script(wanted):
    """(what the virtual machine runs, its files)."""
    s, made = Script("l"), {}
    for i, j in enumerate(wanted):
        key = (j.owner, j.device)
        if key not in made:
            made[key] = f"{i}"
            _device(s, f"{i}", j.owner, j.device)
            s.text += "sleep 2\n"
        order = j.job.sequence.order.tobytes()[: 8 * PACKETS]
        s.files.update({f"{j.id}.gen": bytes(template(j.job.frame, **j.job.vary)), f"{j.id}.warm": j.job.sequence.all().tobytes(), f"{j.id}.order": order})
        s.text += f"nsenter --net=/run/netns/l-{made[key]}-gen cost_line /cost {j.id} g0 {PACKETS} || exit 1\n"
    return BEGIN + s.text, s.files


def judge(report, wanted, out):
    """Instructions per packet by job, from end to end."""
    lines, got = {m[1]: m for m in LINE.finditer(out)}, {}
    for j in wanted:
        m = lines.get(j.id)
        kit.need(m, f"{j.id}: was not measured:\n{out[-2000:]}")
        sent, arrived = int(m[2]), int(m[3])
        kit.need(arrived >= 0.99 * sent, f"{j.id}: {arrived} of {sent} frames arrived")
        frames = [bytes.fromhex(f) for f in re.findall(r"frame=(\w+)", m[5])]
        kit.need(frames, f"{j.id}: no frame was seen")
        for raw in frames:
            p = Ether(raw + bytes(2))
            kit.need(j.device is pf.Device or j.job.check(p), f"{j.id}: {p.summary()} {raw.hex()}")
        report.packet(j.id, frames[-1] + bytes(2))
        report.add(j.id, "instructions", int(m[4]), "instructions")
        got[j.id] = int(m[4])
    return got


def show(got, base, report, wanted):
    for name in dict.fromkeys(j.job.name for j in wanted):
        ids = {j.device: j.id for j in wanted if j.job.name == name}
        bare, ours = (got.get(ids.get(d)) for d in (pf.Device, pf.Sluice))
        rows = []
        for i in ids.values():
            own = got[i] - bare if bare else 0
            rows.append((i, f"{got[i]:,}", f"{own:,}" if own else "", f"{own / (ours - bare):.2f}" if own and ours else "", *base(i)))
        kit.table(f"{name}: instructions per packet", ("job", "whole way", "without bare redirect", "× sluice, XDP", "before", "change"), rows)
