"""cost.py [ID…]: instructions per packet, to the instruction: `make bench-cost`. ID: the front of a job's name, as `xdp-snat`.

What is counted: the programs by themselves (cost_prog.py), packets through namespaces beside the kernel's own forwarding
(cost_forward.py), and TCP between containers beside the kernel's bridge (cost_tcp.py), in a virtual machine whose clock counts instructions (vm.py). What else this machine does changes nothing, so two
commits can be compared by one run each. Instructions are not time: what waits for memory costs more than it counts here.
"""
import argparse
import os
import subprocess
import sys

import cost_base
import cost_forward
import cost_profile
import cost_prog
import cost_tcp
import kit
import session
import vm

KERNEL = os.path.join(kit.ROOT, "build", "kernels", os.environ.get("COST_KERNEL", "6.1"))
PROGRAMS = ("sluiced", "sluice", "bench/cost_guest", "bench/cost_line", "bench/cost_symbols", "bench/tcp_line")
KINDS = (cost_prog, cost_forward, cost_tcp)


def built(name):
    """Of the build that B names; the benchmark's own parts of this tree's where that has none."""
    path = os.path.join(kit.BUILD, name)
    return path if os.path.exists(path) else os.path.join(kit.ROOT, "build", name)


def build_of(revision):
    """The switch of another commit, built aside once."""
    done = subprocess.run(["git", "-C", kit.ROOT, "rev-parse", "--short", "--verify", revision + "^{commit}"], capture_output=True, text=True, check=False)
    kit.need(done.returncode == 0, f"no commit '{revision}'")
    there = os.path.join(kit.ROOT, "build", "against", done.stdout.strip())
    if not os.path.exists(f"{there}/build/sluice"):
        os.makedirs(there, exist_ok=True)
        tree = subprocess.run(["git", "-C", kit.ROOT, "archive", revision], stdout=subprocess.PIPE, check=True).stdout
        subprocess.run(["tar", "-x", "-C", there], input=tree, check=True)
        kit.say(f"building {revision} in {there.removeprefix(kit.ROOT + '/')}")
        subprocess.run(["make", "-s", "-C", there, "B=build", "all"], check=True, stdout=subprocess.DEVNULL)
    return f"{there}/build"


def boot(kind, wanted, *, before="", after="", switch=None, **options):
    """`switch`: of another build."""
    text, files = kind.script(wanted)
    programs = [f"{switch}/{p}" if switch and p in ("sluiced", "sluice") else built(p) for p in PROGRAMS]
    for hook in ("xdp", "tc"):
        with open(built(f"bench/gen_{hook}.bpf.o"), "rb") as f:
            files[f"gen_{hook}.bpf.o"] = f.read()
    return vm.run(KERNEL, files, before + text + after, programs=programs, modules=kind.MODULES, **options)


def profile(job):
    """Where the instructions of one job are executed."""
    counts = os.path.join(kit.OUT, "cost-profile")
    out = boot(cost_prog, [job], before=cost_profile.BEFORE, after=cost_profile.AFTER, plugin=f"{built('bench/cost_plugin.so')},out={counts}")
    cost_profile.show(job.id, out, counts)


def parse(argv):
    p = argparse.ArgumentParser(prog="cost.py", description="Instructions per packet, counted in a virtual machine.")
    p.add_argument("ids", nargs="*", metavar="ID", help="jobs whose names begin so; all unless named")
    p.add_argument("--check", action="store_true", help=f"few jobs; fails where one needs more than {cost_base.LIMIT} %% above the baseline")
    p.add_argument("--profile", action="store_true", help="where the instructions of a job are executed")
    p.add_argument("--against", metavar="REVISION", help="compares with that commit, built aside, in place of the baseline")
    p.add_argument("--baseline", metavar="REASON", help="the counts become the baseline")
    return p.parse_args(argv)


def choose(args):
    """(kind, jobs) by kind."""
    got = []
    for kind in KINDS[:1] if args.check or args.profile else KINDS:
        jobs = [j for j in kind.jobs() if not args.ids or any(j.id.startswith(a) for a in args.ids)]
        got.append((kind, [j for j in jobs if not args.check or j.small]))
    kit.need(any(jobs for _, jobs in got), "no such job; there are: " + ", ".join(j.id for k in KINDS for j in k.jobs()))
    return [(kind, jobs) for kind, jobs in got if jobs]


def main(argv):
    args = parse(argv)
    session.unwind_when_ended()
    chosen = choose(args)
    if args.profile:
        profile(chosen[0][1][0])
        return 0
    report, got = kit.Report("cost", "instructions per packet"), {}
    report.facts["made_of"] = cost_base.made_of(KERNEL)
    base = cost_base.Base()
    if args.against:
        # What parses and redirects alone is part of the benchmark, not of the switch.
        chosen = [(kind, [j for j in jobs if "-floor-" not in j.id]) for kind, jobs in chosen]
        switch, other = build_of(args.against), kit.Report("cost", "the same of another commit")
        base.counts = {i: n for kind, jobs in chosen for i, n in kind.judge(other, jobs, boot(kind, jobs, switch=switch)).items()}
        report.facts["against"] = {"revision": args.against, "instructions": base.counts}
    for kind, jobs in chosen:
        here = kind.judge(report, jobs, boot(kind, jobs))
        got.update(here)
        kind.show(got, lambda i: base.cells(i, got[i]), report, jobs)
    report.write()
    if args.baseline is not None:
        base.renew(got, report.facts["made_of"], args.baseline)
    return base.check(got, report.facts["made_of"]) if args.check else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except kit.Wrong as e:
        sys.exit(f"cost: {e}")
