"""The verifier is a user too: what it has to walk through stays far below its limit, so that older kernels take it as well."""
import os
import time

import pytest

import topo
from harness import HOOKS

LIMIT = 1_000_000 // 4


@pytest.mark.parametrize("hook", HOOKS)
def test_verified_instructions(switch, hook):
    count = getattr(switch, hook).verified_insns()
    assert 0 < count <= LIMIT


def test_programs_for_two_sizes_of_tables():
    """Those that know the tables twice are verified as well, for growing and for shrinking."""
    name = f"prog-sizes-{os.getpid()}"
    namespaces = topo.Namespaces(name)
    daemon = topo.Daemon(name, namespaces.path(name))
    try:
        namespaces.create()
        daemon.start()
        for flows in (262144, 65536):
            daemon.apply(topo.config().replace("flows: 131072, ", f"flows: {flows}, "))
            deadline = time.monotonic() + 200
            while (now := daemon.show("flow", "tables"))["resizing"] and time.monotonic() < deadline:
                time.sleep(0.2)
            assert now["error"] is None and now["resizing"] is None and now["flows"]["size"] == flows
            assert flows * 2.5 <= now["flows"]["slots"] < flows * 2.5 + 15, "the tables that are in force"
    finally:
        daemon.stop()
        namespaces.delete()
