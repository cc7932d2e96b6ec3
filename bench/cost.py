"""cost.py [ID…]: instructions per packet, to the instruction: `make bench-cost`. ID: the front of a job's name, as `xdp-snat`.

What is counted: the programs by themselves (cost_prog.py), and packets through namespaces beside the kernel's own forwarding
(cost_forward.py), in a virtual machine whose clock counts instructions (vm.py). What else this machine does changes nothing, so two
commits can be compared by one run each. Instructions are not time: what waits for memory costs more than it counts here.
"""
import argparse
import os
import sys

import cost_base
import cost_forward
import cost_profile
import cost_prog
import kit
import vm

KERNEL = os.path.join(kit.ROOT, "build", "kernels", os.environ.get("COST_KERNEL", "6.1"))
PROGRAMS = ("sluiced", "sluice", "bench/cost_guest", "bench/cost_line", "bench/cost_symbols")
KINDS = (cost_prog, cost_forward)


def built(name):
    """Of the build that B names; the benchmark's own parts of this tree's where that has none."""
    path = os.path.join(kit.BUILD, name)
    return path if os.path.exists(path) else os.path.join(kit.ROOT, "build", name)


def boot(kind, wanted, *, before="", after="", **options):
    text, files = kind.script(wanted)
    for hook in ("xdp", "tc"):
        with open(built(f"bench/gen_{hook}.bpf.o"), "rb") as f:
            files[f"gen_{hook}.bpf.o"] = f.read()
    return vm.run(KERNEL, files, before + text + after, programs=[built(p) for p in PROGRAMS], modules=kind.MODULES, **options)


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
    chosen = choose(args)
    if args.profile:
        profile(chosen[0][1][0])
        return 0
    report, got = kit.Report("cost", "instructions per packet"), {}
    report.facts["made_of"] = cost_base.made_of(KERNEL)
    base = cost_base.Base()
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
