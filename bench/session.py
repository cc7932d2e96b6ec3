"""session.py: one run of the benchmark: the names of what it makes, its end by whatever way, and how long it still takes.

Namespaces, switches and pins are called bench-PID-…, so two runs do not take each other's, and what is left of a run that was killed
is known by its process, which is no more. A run takes its own down through the labs' `close`; what an interruption in the middle of
that left over, `sweep` does.
"""
import contextlib
import glob
import os
import re
import signal
import subprocess
import sys
import time

PINS = "/sys/fs/bpf"


def name(what):
    """Of a lab, its namespaces and instances (32 characters are allowed), or a directory of pins."""
    return f"bench-{os.getpid()}-{what}"


def unwind_when_ended():
    """Ended from outside, or by hand, what was made is taken down all the same: by those who made it, on the way out. Who is in a
    hurry cannot interrupt that."""

    def end(number, _):
        for s in ENDS:
            signal.signal(s, signal.SIG_IGN)  # the commands that take things down inherit it: ^C goes to all of them
        sys.exit(128 + number)

    for s in ENDS:
        signal.signal(s, end)


ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _of_no_run(path):
    """Is this of our own run, or of one that is no more?"""
    pid = int(re.search(r"bench-(\d+)-", path)[1])
    return pid == os.getpid() or not os.path.exists(f"/proc/{pid}")


def _left(pattern):
    return [p for p in sorted(glob.glob(pattern)) if re.search(r"bench-\d+-", p) and _of_no_run(p)]


def _quietly(*argv):
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False, timeout=60).stdout


def sweep(sluiced, files=True):
    """Processes, switches, namespaces and pins of this run and of runs that were killed; what there was. `sluiced`: its path;
    `files`: configurations and logs as well."""
    spaces = _left("/run/netns/bench-*")
    for path in spaces:
        for pid in _quietly("ip", "netns", "pids", os.path.basename(path)).split():
            if int(pid) != os.getpid():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
    switches = _left(f"{PINS}/sluice/bench-*")
    for path in switches:
        instance = os.path.basename(path)
        home = ["nsenter", f"--net=/run/netns/{instance}", "--"] if f"/run/netns/{instance}" in spaces else []
        _quietly(*home, sluiced, "--destroy", "-i", instance)
    for path in spaces:
        _quietly("ip", "netns", "del", os.path.basename(path))
    pins = _left(f"{PINS}/bench-*") + _left(f"{PINS}/sluice/bench-*")
    for path in pins:
        _quietly("rm", "-rf", path)
    for path in _left("/tmp/bench-*") if files else ():
        _quietly("rm", "-rf", path)
    return [*spaces, *switches, *pins]


def clock(seconds):
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


class Progress:
    """What is done, and how long the rest takes: the parts' usual seconds, by how this run has gone so far."""

    def __init__(self, plan):
        self.plan, self.began, self.part = dict(plan), time.monotonic(), None
        # Of the parts that are done. At first the load tells.
        self.usual, self.spent = 1.0, min(2.0, max(1.0, os.getloadavg()[0] / os.cpu_count()))

    def start(self, part):
        self.part, self.part_began = part, time.monotonic()

    def done(self):
        self.usual += self.plan.pop(self.part)
        self.spent += time.monotonic() - self.part_began
        self.part = None

    def left(self):
        """Seconds."""
        pace = self.spent / self.usual
        gone = time.monotonic() - self.part_began if self.part else 0.0
        return sum(max(s * pace - gone, 0) if p == self.part else s * pace for p, s in self.plan.items())

    def words(self):
        return f"[{clock(time.monotonic() - self.began)}, about {clock(self.left())} left]"
