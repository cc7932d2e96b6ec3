"""turns.py: what a packet costs a target more than another, on a machine whose cores others use too.

Stands between gen.Bench, which runs targets by turns within one system call (bench/bpf/gen_target.h), and the parts that measure by
it. A turn is some hundred packets, tens of µs; a round is known work, the generator alone, and each target. Known work touches no
memory: when a neighbour comes to the other half of the core, or the core gets slower, or the machine stands still, it takes longer,
whatever is measured beside it. A round before and after which it took no more than SLACK of what it takes at its fastest is
undisturbed; the others are left out, and counted. Its fastest is known at the end: until then all rounds are kept.
"""
import itertools
import os
import resource
import statistics
import time
from operator import itemgetter

import kit
from gen import BARE, KNOWN

KNOWN_PACKETS, PACKETS, ROUNDS = 100, 500, 400
SLACK = 1.03
WANTED, LEAST = 200, 25  # undisturbed rounds; fewer than LEAST, and the LEAST quietest stand for them and are marked
MOST_S = 4.0  # for one point, as long as there is patience left


class Point:
    """All rounds of one: ns a packet of known work before, the generator alone, the targets, known work after."""

    def __init__(self, hook, targets):
        self.hook, self.targets, self.rows, self.stolen_ms, self.switches = hook, targets, [], 0, 0

    def quiet(self, fastest):
        return [row for row in self.rows if max(row[0], row[-1]) <= fastest * SLACK]

    def parted(self, fastest):
        """(rounds that count, those left out, are the first only the quietest of a busy time?)"""
        rows = sorted(self.rows, key=lambda row: max(row[0], row[-1]))
        n = len(self.quiet(fastest))
        return rows[: max(n, LEAST)], rows[max(n, LEAST) :], n < LEAST

    def more(self, rows, target):
        """ns that a packet costs the target more than the generator alone."""
        at = 2 + self.targets.index(target)
        return [row[at] - row[1] for row in rows]


def stolen_ms(cpu):
    """As far as the host tells."""
    with open("/proc/stat", encoding="ascii") as f:
        return next(10 * int(line.split()[8]) for line in f if line.startswith(f"cpu{cpu} "))


def preempted():
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw


def share(values, p):
    return sorted(values)[int(p * (len(values) - 1))]


class Turns:
    """One part's points. `patience`: seconds that all of them together may take longer than they would undisturbed."""

    def __init__(self, patience=40.0):
        self.patience, self.fastest, self.points = patience, {}, []

    def noted(self, hook, rows):
        """The rounds themselves; how fast known work was in them is remembered."""
        # Not the least of all: an odd one may be a clock that was set.
        self.fastest[hook] = min(self.fastest.get(hook, float("inf")), share([row[0] for row in rows], 0.01))
        return rows

    def _slice(self, bench, ifindex, targets, packets, rounds):
        turns = [(KNOWN, KNOWN_PACKETS, 0), (BARE, packets, KNOWN_PACKETS), *((t, packets, packets) for t in targets)]
        got = bench.turns(ifindex, turns, rounds)
        self.noted(bench.hook, got)
        return [[*row, after[0]] for row, after in zip(got, got[1:])]

    def measure(self, bench, ifindex, targets, *, packets=PACKETS, rounds=ROUNDS, slices=None):
        """A Point by the calling thread, which stays on its CPU. `slices`: as many, busy or not; else two, and more until WANTED rounds
        are undisturbed."""
        got, began, (cpu,) = Point(bench.hook, targets), time.monotonic(), os.sched_getaffinity(0)
        stolen, switches = stolen_ms(cpu), preempted()
        for done in itertools.count(1):
            got.rows += self._slice(bench, ifindex, targets, packets, rounds)
            late = time.monotonic() - began
            enough = len(got.quiet(self.fastest[bench.hook])) >= WANTED or late > MOST_S or late > self.patience
            if done >= (slices or 2) and (slices or enough):
                break
        self.patience -= late * max(done - 2, 0) / done if not slices else 0
        got.stolen_ms, got.switches = stolen_ms(cpu) - stolen, preempted() - switches
        return got

    def new(self, bench, ifindex, targets, packets, times):
        """A Point of packets that come once: each target gets the same packets of the generator's sequence, and none comes again."""
        got = Point(bench.hook, targets)
        for i in range(0, times, ROUNDS):
            got.rows += self._slice(bench, ifindex, targets, packets, min(ROUNDS, times - i))
        return got

    def add(self, point, names, less=0.0, unit="ns"):
        """To be reported. `names`: target -> (series, point); `less`: ns that are not the target's."""
        self.points.append((point, names, less, unit))

    def median(self, point, target):
        """At once, by what is known until now."""
        return statistics.median(point.more(point.parted(self.fastest[point.hook])[0], target))

    def finish(self, report):
        """All points, now that it is known how fast the core can be."""
        facts = report.facts.setdefault("turns", {"known work, ns": self.fastest, "points": {}})
        for point, names, less, unit in self.points:
            rows, out, busy = point.parted(self.fastest[point.hook])
            for target, (series, name) in names.items():
                ns = [x - less for x in point.more(rows, target)]
                for x in ns:
                    report.add(series, name, round(x, 2), unit)
                facts["points"][f"{series} | {name}"] = {
                    "rounds": len(point.rows), "left out": len(out), "busy": busy, "stolen ms": point.stolen_ms, "preempted": point.switches,
                    "tenth": share(ns, 0.1), "quartiles": [share(ns, 0.25), share(ns, 0.75)],
                    "disturbed": statistics.median(point.more(out, target)) - less if out else None,
                }  # fmt: skip
            for row in filter(itemgetter(1), rows):
                report.add("generator", next(iter(names.values()))[1], round(row[1], 2))
        self.points = []


def about(report, series, point):
    """Beside a number: its tenth, what it was while a neighbour was there, and how many rounds were left out for that."""
    got = report.facts.get("turns", {}).get("points", {}).get(f"{series} | {point}")
    if not got:
        return ("", "", "")
    left = f"{100 * got['left out'] / got['rounds']:.0f} %"
    return (kit.round_up(got["tenth"]), kit.round_up(got["disturbed"]), left + (" busy" if got["busy"] else ""))


ABOUT = ("tenth", "disturbed", "left out")
