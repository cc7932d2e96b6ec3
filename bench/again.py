"""again.py [RUNS]: does it repeat? The cases of part datapath with one flow, each run with everything loaded anew: on one CPU, on the
other, and with a loop that keeps the other one busy. Prints the median of each run, and how far the runs are apart.
"""
import contextlib
import os
import re
import subprocess
import sys

import kit
import lab as labs
import part_datapath as pd
import session
import turns as by_turns
from gen import REAL, flows

ONE = flows(1).name


@contextlib.contextmanager
def busy(cpu):
    with subprocess.Popen(["taskset", "-c", str(cpu), "sh", "-c", "while :; do :; done"]) as loop:
        try:
            yield
        finally:
            loop.kill()


def once():
    """ns of each case."""
    report, turns = kit.Report("again", "one flow"), by_turns.Turns()
    report.step, report.packet = (lambda words: None), (lambda name, frame: None)
    for nat in (True, False):
        lab = labs.DatapathLab("an" if nat else "ar", flows=131072, nat=nat)
        try:
            for hook in ("xdp", "tc"):
                cases = pd.switching(hook) + pd.translating(lab, [flows(1)]) if nat else pd.routing(lab)
                cases = [c for c in cases if c.target == REAL and re.search(os.environ.get("CASES", ""), f"{hook}: {c.name}")]
                for c in cases:
                    c.sizes = c.sizes[:1]
                pd.measure(report, turns, lab, hook, cases)
        finally:
            lab.close()
    turns.finish(report)
    left_out = sum(f["left out"] for f in report.facts["turns"]["points"].values())
    rounds = sum(f["rounds"] for f in report.facts["turns"]["points"].values())
    return {s: report.median(s, p) for s, p in report.samples if s != "generator"}, left_out / rounds


def main(argv):
    session.unwind_when_ended()
    here, runs = kit.CPU, []
    other = next(c for c in range(os.cpu_count()) if c != here)
    for i in range(int(argv[0]) if argv else 6):
        kit.CPU, loop = (here, other, here)[i % 3], i % 3 == 2
        with busy(other) if loop else contextlib.nullcontext():
            ns, left_out = once()
        runs.append((f"CPU {kit.CPU}" + (", other busy" if loop else ""), ns))
        kit.say(f"run {i + 1}, {runs[-1][0]}: load {os.getloadavg()[0]:.1f}, {100 * left_out:.0f} % of the rounds left out")
    rows = []
    for case in runs[0][1]:
        each = [ns[case] for _, ns in runs]
        rows.append((case, *map(kit.round_up, each), f"{100 * (max(each) / min(each) - 1):.1f} %"))
    kit.table("ns a packet, one flow, by run", ("case", *(name for name, _ in runs), "apart"), rows)


if __name__ == "__main__":
    main(sys.argv[1:])
