"""loop_turns.py: the turns of sluiced's event loop, none of which is to be long, on machines that stand still now and then."""
import os

import netlab

BOUND_MS = 10


class LongTurn(AssertionError):
    """A turn was beyond the bound."""


def loop(switch):
    return switch.json("status")["loop"]


def text(switch):
    now = loop(switch)
    return ", ".join(f"longest turn of the event loop {now[k]['max_ms']:.1f} ms {words} ({now[k]['longest']})"
                     for k, words in (("cpu", "on the processor"), ("blocked", "blocked")))


def none_is_long(switch):
    """In the daemon's life so far, in processor time: what a turn waits for the kernel depends on who else holds the kernel's locks
    on this machine."""
    now = loop(switch)
    if now["cpu"]["max_ms"] >= BOUND_MS:
        raise LongTurn(now)


def stolen_ms():
    """What the host says it took from this machine, of all processors."""
    with open("/proc/stat", encoding="ascii") as f:
        return 1000 * int(f.readline().split()[8]) // os.sysconf("SC_CLK_TCK")


def held(switch, work, anew, *args):
    """A guest's clocks of processor time go on while the host runs another one, so a stall of the machine looks like a long turn.
    What our code causes recurs: where `work` raises LongTurn, two more runs of the same are to be without, each behind `anew`, which
    begins a daemon's life as the first run found it: what its tables grow by, they grow by once."""
    beyond = 0
    for run in range(3):
        if run:
            anew(*args)
        stolen = stolen_ms()
        try:
            work(*args)
        except LongTurn as e:
            beyond += 1
            netlab.figure(f"run {run + 1} of {work.__name__}: {text(switch)}; stolen meanwhile {stolen_ms() - stolen} ms")
            if beyond == 2:
                raise LongTurn(f"twice in {run + 1} runs, the last time: {e}") from e
            continue
        if not beyond:
            return
        netlab.figure(f"run {run + 1} of {work.__name__}: {text(switch)}; stolen meanwhile {stolen_ms() - stolen} ms")
