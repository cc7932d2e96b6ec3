"""kit.py: what all parts of the benchmark share: samples and their tables, the machine's description, plots.

A part measures, and tells a Report; the Report prints and writes build/bench/PART.json with every sample. Nothing here knows
what is measured.
"""
import json
import os
import platform
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, os.environ.get("B", "build"))
OUT = os.path.join(BUILD, "bench")
CPU = int(os.environ.get("CPU", os.cpu_count() - 1))  # on which packets are measured
sys.path[:0] = [os.path.join(ROOT, "tests", "net"), os.path.join(ROOT, "tests", "prog")]


class Wrong(Exception):
    """What came out was not what the work would have made: the number is worth nothing."""


def need(condition, words):
    if not condition:
        raise Wrong(words)


def say(text=""):
    print(text, flush=True)


def _command(*argv):
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=10, cwd=ROOT).stdout.strip()
    except OSError:
        return ""


def machine():
    """Where and of what this was measured."""
    cpu = ""
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as f:
        cpu = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), platform.machine())
    return {
        "cpu": cpu,
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "commit": _command("git", "-c", f"safe.directory={ROOT}", "describe", "--always", "--dirty"),
        "load": os.getloadavg(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def spread(samples):
    """(median, the median's distance to the quartiles): half of the samples lie within."""
    m = statistics.median(samples)
    return m, statistics.median(abs(s - m) for s in samples)


def ratio(samples, others):
    """The middle one of those of each round, whose samples were taken one after the other; where some were left out, that of the
    medians."""
    if len(samples) != len(others):
        return statistics.median(samples) / statistics.median(others)
    return statistics.median(a / b for a, b in zip(samples, others))


def round_up(value):
    """As many digits as mean something."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 1 else f"{value:.2f}"


def table(title, head, rows):
    """Rows of strings; the first column to the left, the others to the right."""
    rows = [[str(c) for c in r] for r in rows]
    widths = [max(len(r[i]) for r in [head, *rows]) for i in range(len(head))]

    def line(cells):
        return "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths)))

    say(f"\n{title}")
    say(line(head))
    say(line(["-" * w for w in widths]))
    for r in rows:
        say(line(r))


class Report:
    """One part's numbers. `add` keeps every sample under (series, point); `step` says what comes now, and how long all still takes
    (`progress`: session.Progress, or None)."""

    def __init__(self, part, about, progress=None):
        self.part, self.about, self.progress = part, about, progress
        self.samples, self.units, self.facts, self.seen = {}, {}, {}, {}
        self.began, self.steps = time.monotonic(), []

    def step(self, words):
        self._end_step()
        self.steps.append([words, time.monotonic()])
        say(f"  {self.progress.words() + ' ' if self.progress else ''}{words}")

    def _end_step(self):
        if self.steps:
            self.steps[-1][1] = round(time.monotonic() - self.steps[-1][1], 1)

    def add(self, series, point, sample, unit="ns"):
        self.samples.setdefault((series, str(point)), []).append(sample)
        self.units[(series, str(point))] = unit

    def median(self, series, point):
        got = self.samples.get((series, str(point)))
        return statistics.median(got) if got else None

    def cell(self, series, point):
        got = self.samples.get((series, str(point)))
        if not got:
            return "-"
        m, s = spread(got)
        return f"{round_up(m)} ±{round_up(s)}"

    def packet(self, name, frame):
        """A frame that came out, as scapy understands it: printed, and kept in the JSON."""
        from scapy.layers.l2 import Ether

        words = Ether(bytes(frame)).summary()
        self.seen[name] = {"summary": words, "hex": bytes(frame).hex()}
        say(f"    {name}: {words}")

    def write(self):
        os.makedirs(OUT, exist_ok=True)
        self._end_step()
        path = os.path.join(OUT, f"{self.part}.json")
        data = {
            "part": self.part,
            "about": self.about,
            "machine": machine(),
            "seconds": round(time.monotonic() - self.began, 1),
            "steps": [{"what": words, "seconds": seconds} for words, seconds in self.steps],
            "results": [
                {"series": k[0], "point": k[1], "unit": self.units[k], "median": spread(v)[0], "spread": spread(v)[1], "samples": v}
                for k, v in self.samples.items()
            ],
            "facts": self.facts,
            "packets": self.seen,
        }
        with open(path, "w", encoding="utf-8") as f:
            json.dump(data, f, indent=1)
            f.write("\n")
        say(f"\n{path.removeprefix(ROOT + '/')}: {len(self.samples)} results; {self.part} took {data['seconds']:.0f} s")


def cpu_ns(pid):
    """CPU time of a process, all of its threads."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as f:
            total += int(f.read().split()[0])
    return total


class Quiet:
    """While within, this thread stays on one CPU and goes before what is not urgent there, where that is allowed."""

    def __init__(self, cpu=None, urgent=True):
        self.cpu, self.urgent = CPU if cpu is None else cpu, urgent

    def __enter__(self):
        self.before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {self.cpu})
        if self.urgent:
            try:
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
            except PermissionError:
                self.urgent = False
        return self

    def __exit__(self, *exc):
        if self.urgent:
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.sched_setaffinity(0, self.before)
