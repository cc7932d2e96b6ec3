"""run.py [PART[,PART…]]: `make bench`: measures the parts named, or all, prints tables, writes build/bench/PART.json and plots.

Needs root, and real network namespaces. What a part leaves behind it takes down again, also when it fails or the run is ended from
outside; the other parts are measured all the same, and the exit code says that one was not.
"""
import importlib
import os
import sys
import time
import traceback

import kit
import plot
import session

# What, and the seconds that it takes on two quiet cores: for the time that is left. All of them in ten minutes.
PARTS = {
    "datapath": ("ns per packet of the programs, by BPF_PROG_RUN", 110),
    "flows": ("new flows: cost of the first packet, flows a second", 75),
    "ageing": ("a million silent connections: CPU of sluiced, how late they end", 50),
    "forward": ("packets a second through namespaces, beside the kernel and Open vSwitch", 80),
    "tcp": ("throughput, latency and connections of TCP", 80),
    "tables": ("tables: build, memory, lookup; start with full tables; reload", 50),
    "change": ("packets lost during restart, program swap, new configuration", 40),
}


def measure(parts, progress):
    """(failed parts, seconds by part)"""
    failed, took = [], {}
    for part in parts:
        about, began = PARTS[part][0], time.monotonic()
        progress.start(part)
        kit.say(f"\n=== {part}: {about} {progress.words()}")
        report = kit.Report(part, about, progress)
        try:
            importlib.import_module(f"part_{part}").run(report)
        except Exception:  # the other parts are still worth having
            traceback.print_exc()
            failed.append(part)
        report.write()
        progress.done()
        took[part] = time.monotonic() - began
    return failed, took


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
        plot.run()
    except SystemExit:
        kit.say("\nbench: ended from outside; what it made is taken down, and what it had not finished writes no results")
        raise
    finally:
        session.sweep(sluiced, files=not failed)
    kit.say(f"\n{session.clock(time.monotonic() - began)} in all: " + ", ".join(f"{p} {s:.0f} s" for p, s in took.items()))
    kit.say(f"failed: {', '.join(failed)}" if failed else "no part failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
