"""conftest.py: the switch, made once for all rows; and at the end, what the verifier had to do."""
import contextlib
import os
import signal
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import leftovers  # noqa: E402
import topo  # noqa: E402

_insns = {}


def pytest_configure():
    # A run that is ended by a signal takes its namespaces and its switch down as well.
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("ended by SIGTERM", returncode=143))


def pytest_sessionstart(session):
    leftovers.remove(session.config, str(topo.BUILD / "sluiced"))


@pytest.fixture(scope="session")
def switch():
    name = f"prog-{os.getpid()}"
    namespaces = topo.Namespaces(name)
    daemon = topo.Daemon(name, namespaces.path(name))
    with contextlib.ExitStack() as undo:
        undo.callback(namespaces.delete)
        namespaces.create()
        undo.callback(daemon.stop)
        daemon.start()
        home = open(f"/proc/{os.getpid()}/ns/net", "rb")
        undo.callback(lambda: topo.setns(f"/proc/self/fd/{home.fileno()}"))
        made = topo.Switch(namespaces, name)
        made.daemon, made.cli, made.control = daemon.process, daemon.cli, daemon
        made.settle()
        _insns.update(xdp=made.xdp.verified_insns(), tc=made.tc.verified_insns())
        yield made


def pytest_terminal_summary(terminalreporter):
    for name, count in _insns.items():
        terminalreporter.write_line(f"verified instructions, {name}: {count} (limit here 250000, the kernel's 1000000)")


def pytest_generate_tests(metafunc):
    """A test that takes `row` and `hook` is run for every row of its module's ROWS, at both hooks."""
    if "row" in metafunc.fixturenames:
        rows = metafunc.module.ROWS
        names = [r.name for r in rows]
        doubled = {n for n in names if names.count(n) > 1}
        assert not doubled, f"rows of one name: {doubled}"
        cases = [pytest.param(r, h, id=f"{r.name}-{h}".replace(" ", "_")) for r in rows for h in r.hooks()]
        metafunc.parametrize("row, hook", cases)
