"""compare.py BUILD BUILD [REGEXP]: two builds of sluice against each other: `python3 bench/compare.py build build-old 'xdp: switch'`.

Both switches stand side by side, and each case is measured by turns; rounds in which a neighbour was on the core are left out. For
somebody who changes the packet path: cases with one flow, whose differences are instructions; or with as many as FLOWS says.
"""
import os
import re
import sys

import kit
import lab as labs
import netlab
import part_datapath as pd
import session
import turns as by_turns
from gen import REAL, Bench, flows, template
import bpf

ROUNDS = 6
FLOWS = flows(int(os.environ.get("FLOWS", "1")))


class Side:
    def __init__(self, build, name, nat):
        netlab.BUILD = os.path.abspath(build)
        self.build = build
        self.lab = labs.DatapathLab(name, flows=32768, nat=nat)

    def cases(self, hook, nat):
        got = pd.switching(hook) + (pd.translating(self.lab, [FLOWS]) if nat else pd.routing(self.lab))
        return [c for c in got if c.target == REAL]


def one(bench, turns, point, side, hook, case):
    ifindex = side.lab.ifindex[case.port]
    with side.lab.ns.entered(), kit.Quiet():
        prog = bpf.Prog(f"{side.lab.pins}/progs/{hook}")
        bench.target(REAL, prog)
        bench.set(template(case.frame, hook, **case.vary))
        pd.warm(bench, case, ifindex, FLOWS)
        bench.order(FLOWS.order)
        bench.run(REAL, ifindex, 1000)
        point.rows += turns.measure(bench, ifindex, [REAL], slices=1).rows
        out = bench.once(REAL, ifindex).retval
        prog.close()
    kit.need(out == (bpf.XDP_REDIRECT if hook == "xdp" else bpf.TC_ACT_REDIRECT), f"{side.build}: {case.name}: verdict {out}")


def compare(turns, builds, wanted, nat):
    sides = []
    try:
        for i, build in enumerate(builds):
            sides.append(Side(build, f"c{i}", nat))
        for hook in ("xdp", "tc"):
            bench = Bench(hook, session.name("cmp"))
            try:
                for pair in zip(*(s.cases(hook, nat) for s in sides)):
                    if not re.search(wanted, f"{hook}: {pair[0].name}"):
                        continue
                    points = [by_turns.Point(hook, [REAL]) for _ in pair]
                    for _ in range(ROUNDS):
                        for point, side, case in zip(points, sides, pair):
                            one(bench, turns, point, side, hook, case)
                    for point, side in zip(points, sides):
                        turns.add(point, {REAL: (f"{hook}: {pair[0].name}", side.build)})
            finally:
                bench.close()
    finally:
        for side in sides:
            side.lab.close()


def main(argv):
    if len(argv) not in (2, 3):
        sys.exit(__doc__)
    session.unwind_when_ended()
    report, turns = kit.Report("compare", "two builds"), by_turns.Turns()
    for nat in (True, False):
        compare(turns, argv[:2], argv[2] if len(argv) > 2 else "", nat)
    turns.finish(report)
    rows = []
    for series in dict.fromkeys(s for s, _ in report.samples if s != "generator"):
        before, after = (report.median(series, build) for build in argv[:2])
        busy = [by_turns.about(report, series, build)[-1] for build in argv[:2]]
        rows.append((series, report.cell(series, argv[0]), report.cell(series, argv[1]), f"{before - after:+.1f}", *busy))
    kit.table(f"ns, {FLOWS.name}, generator subtracted, changes of length included", ("case", *argv[:2], "difference", "left out", "left out"), rows)
    report.write()


if __name__ == "__main__":
    main(sys.argv[1:])
