"""leftovers.py: what test runs that were killed have left on the machine, found by the process number in its name.

Called by the conftest.py of tests/net and tests/prog before their first test. The names are those of namespaces and instances alike:
net-PID-NUMBER-NAME, prog-PID, prog-PID-peers. One whose process lives is not touched.
"""
import contextlib
import os
import re
import shutil
import signal
import subprocess

NETNS, RUN, PINS = "/run/netns", "/run/sluice", "/sys/fs/bpf/sluice"
NAME = re.compile(r"(?:net-(?=\d+-\d+-.)|prog-(?=\d+(?:-peers)?$))(\d+)(?:-.*)?")


def _names():
    found = set()
    for directory in (NETNS, RUN, PINS):
        with contextlib.suppress(FileNotFoundError):
            found.update(os.listdir(directory))
    return sorted(n for n in found if (m := NAME.fullmatch(n)) and not os.path.exists(f"/proc/{m[1]}"))


def _run(*argv):
    with contextlib.suppress(subprocess.TimeoutExpired):
        return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False).stdout
    return ""


def _remove(name, sluiced):
    """The instance by sluiced itself where its namespace is: anywhere else it would look for its netdevs among others' of the same name."""
    if os.path.exists(f"{NETNS}/{name}"):
        _run("nsenter", f"--net={NETNS}/{name}", sluiced, "--destroy", "--stop", "-i", name)
        for pid in _run("ip", "netns", "pids", name).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        _run("ip", "netns", "del", name)
    for directory in (RUN, PINS):
        shutil.rmtree(f"{directory}/{name}", ignore_errors=True)


def remove(config, sluiced):
    """Not by pytest-xdist's workers: by who starts them."""
    if hasattr(config, "workerinput") or os.geteuid():
        return
    for name in _names():
        print(f"left over by a run that was killed: {name}")
        _remove(name, sluiced)
