"""run.py [PART[,PART…]]: `make bench`: measures the parts named, or all, prints tables, writes build/bench/PART.json and plots.

Needs root, and real network namespaces. What a part leaves behind it takes down again, also when it fails or the run is ended from
outside; the other parts are measured all the same, and the exit code says that one was not.
"""
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback

import goals
import kit
import plot
import session

# What, and the seconds that it takes on two quiet cores: for the time that is left. All of them in ten minutes.
PARTS = {
    "datapath": ("ns per packet of the programs, by BPF_PROG_RUN", 75),
    "flows": ("new flows: cost of the first packet, flows a second", 75),
    "ageing": ("a million silent connections: CPU of sluiced, how late they end", 60),
    "instructions": ("instructions a packet, counted in a virtual machine, beside the kernel's own forwarding", 25),
    "forward": ("packets a second through namespaces, beside the kernel and Open vSwitch", 70),
    "tcp": ("throughput, latency and connections of TCP", 85),
    "tables": ("tables: build, memory, lookup; start with full tables; reload", 60),
    "change": ("packets lost during restart, program swap, new configuration", 40),
}
# What is counted does not care about neighbours, and who mostly waits has none to fear: these two go at the same time.
WAITS, COUNTS = "ageing", "instructions"


class Beside:
    """A part in a process of its own; what it says is said when it has ended."""

    def __init__(self, part):
        self.part, self.said = part, tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([sys.executable, __file__, part], stdout=self.said, stderr=subprocess.STDOUT)

    def wait(self):
        """Has it failed?"""
        code = self.process.wait()
        self.said.seek(0)
        kit.say(self.said.read())
        return code != 0

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()
        self.said.close()


def alone(part, progress):
    """Has it failed?"""
    report, failed = kit.Report(part, PARTS[part][0], progress), False
    try:
        importlib.import_module(f"part_{part}").run(report)
    except Exception:  # the other parts are still worth having
        traceback.print_exc()
        failed = True
    report.write()
    return failed


def measure(parts, progress):
    """(failed parts, seconds by part)"""
    failed, took, beside = [], {}, None
    try:
        for i, part in enumerate(parts):
            began = time.monotonic()
            progress.start(part)
            kit.say(f"\n=== {part}: {PARTS[part][0]} {progress.words()}")
            if part == WAITS and COUNTS in parts[i:]:
                beside = Beside(COUNTS)
            if beside.wait() if beside and part == COUNTS else alone(part, progress):
                failed.append(part)
            progress.done()
            took[part] = time.monotonic() - began
    finally:
        if beside:
            beside.close()
    return failed, took


def all_goals(parts):
    """As those parts have written them that were measured now."""
    facts = []
    for path in (os.path.join(kit.OUT, f"{part}.json") for part in parts):
        if os.path.exists(path):
            with open(path, encoding="utf-8") as f:
                facts.append(json.load(f)["facts"])
    goals.show(facts)


def plots(parts):
    """What has failed."""
    try:
        plot.run(parts)
    except (OSError, kit.Wrong) as e:
        kit.say(f"plots: {e}")
        return ["plots"]
    return []


def main(argv):
    parts = argv[0].split(",") if argv else list(PARTS)
    unknown = [p for p in parts if p not in PARTS]
    if unknown:
        sys.exit(f"bench: no part '{unknown[0]}': " + ", ".join(PARTS))
    if os.geteuid():
        sys.exit("bench: needs root: namespaces and BPF programs are made")
    session.unwind_when_ended()
    began, sluiced, failed = time.monotonic(), os.path.join(kit.BUILD, "sluiced"), parts
    m = kit.machine()
    kit.say(f"sluice {m['commit']} on {m['cpus']} × {m['cpu']}, Linux {m['kernel']}, load {m['load'][0]:.1f}")
    for path in session.sweep(sluiced):
        kit.say(f"left by a run that was killed, and taken away: {path}")
    try:
        failed, took = measure(parts, session.Progress((p, PARTS[p][1]) for p in parts))
        failed += plots(parts)
        all_goals(parts)
    except SystemExit:
        failed = []
        kit.say("\nbench: ended from outside; what it made is taken down, and what it had not finished writes no results")
        raise
    finally:
        session.sweep(sluiced, files=not failed)
    kit.say(f"\n{session.clock(time.monotonic() - began)} in all: " + ", ".join(f"{p} {s:.0f} s" for p, s in took.items()))
    kit.say(f"failed: {', '.join(failed)}" if failed else "no part failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
