"""run.py [PART[,PART…]]: `make bench`: measures the parts named, or all, prints tables, writes build/bench/PART.json and plots.

Needs root, and real network namespaces. What a part leaves behind it takes down again, also when it fails; the other parts are
measured all the same, and the exit code says that one was not.
"""
import importlib
import os
import sys
import time
import traceback

import kit
import plot

PARTS = {
    "datapath": "ns per packet of the programs, by BPF_PROG_RUN",
    "flows": "new flows: cost of the first packet, flows a second",
    "ageing": "a million silent connections: CPU of sluiced, how late they end",
    "forward": "packets a second through namespaces, beside the kernel and Open vSwitch",
    "tcp": "throughput, latency and connections of TCP",
    "tables": "tables: build, memory, lookup; start with full tables; reload",
    "change": "packets lost during restart, program swap, new configuration",
}


def main(argv):
    parts = argv[0].split(",") if argv else list(PARTS)
    unknown = [p for p in parts if p not in PARTS]
    if unknown:
        sys.exit(f"bench: no part '{unknown[0]}': " + ", ".join(PARTS))
    if os.geteuid():
        sys.exit("bench: needs root: namespaces and BPF programs are made")
    kit.unwind_when_ended()
    began, failed = time.monotonic(), []
    m = kit.machine()
    kit.say(f"sluice {m['commit']} on {m['cpus']} × {m['cpu']}, Linux {m['kernel']}, load {m['load'][0]:.1f}")
    for part in parts:
        kit.say(f"\n=== {part}: {PARTS[part]}")
        report = kit.Report(part, PARTS[part])
        try:
            importlib.import_module(f"part_{part}").run(report)
        except Exception:  # the other parts are still worth having
            traceback.print_exc()
            failed.append(part)
        report.write()
    plot.run()
    kit.say(f"\n{time.monotonic() - began:.0f} s" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
