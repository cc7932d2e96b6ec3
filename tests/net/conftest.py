"""Fixtures of tests/net: fresh namespaces, real sluiced processes, always torn down."""
import itertools
import os
import signal
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
import leftovers  # noqa: E402  (of tests)
import netlab  # noqa: E402  (beside this file)

_number = itertools.count()


def pytest_configure(config):
    config.addinivalue_line("markers", "alone: judges how long something takes: not beside another test (scripts/check.sh)")
    # A test run that is ended by a signal must take its namespaces down as well.
    # SystemExit would count as one failed test, and the run would go on.
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("ended by SIGTERM", returncode=143))


def pytest_sessionstart(session):
    leftovers.remove(session.config, f"{netlab.BUILD}/sluiced")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Files are spread over processes (pytest-xdist): what was measured in one is told here."""
    netlab.FIGURES += getattr(node, "workeroutput", {}).get("figures", [])


def pytest_sessionfinish(session):
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["figures"] = netlab.FIGURES


def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line("")
    for text in netlab.FIGURES:
        terminalreporter.write_line(f"measured: {text}")


class World(netlab.Lab):
    """A Lab with a directory of its own for configurations and logs."""

    def __init__(self, directory):
        super().__init__(f"net-{os.getpid()}-{next(_number)}")
        self.directory = directory

    def write(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w") as f:
            f.write(text)
        return path

    def start_switch(self, ns, config, name=None):
        """Starts sluiced with a configuration given as a path, or as text."""
        if "\n" in config:
            config = self.write(f"{name or ns.name}.yaml", config)
        return self.switch(ns, config, os.path.join(self.directory, f"{ns.name}.log")).start()


def _world(tmp_path_factory):
    w = World(str(tmp_path_factory.mktemp("net")))
    try:
        yield w
    finally:
        w.close()


@pytest.fixture
def world(tmp_path_factory):
    """For one test."""
    yield from _world(tmp_path_factory)


@pytest.fixture(scope="module")
def shared_world(tmp_path_factory):
    """For all tests of a module."""
    yield from _world(tmp_path_factory)


def start_gateway(world, config=None):
    """The network of examples/gateway.yaml with both switches, as `world.gw` and `world.tor_switch`."""
    sw, tor = netlab.gateway_network(world)
    world.tor_switch = world.start_switch(tor, netlab.TOR_YAML)
    world.gw = world.start_switch(sw, config or netlab.GATEWAY_YAML)
    world.gw.attached("h1", "h2", "h3", "tor", "up1", "up2")
    world.tor_switch.attached("uplink", "h4", "h5")
    return world


@pytest.fixture(scope="module")
def gateway(shared_world):
    """The example's network, shared by the tests of a module: they leave it as they found it."""
    return start_gateway(shared_world)


@pytest.fixture
def own_gateway(world):
    """The example's network for a test that breaks things."""
    return start_gateway(world)
