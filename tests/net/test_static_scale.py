"""Many static routes: how long a change takes, whole or of one route, and that sluiced stays responsive all the while. A change is in
force wholly, or not at all."""
import os
import re
import signal
import time

import pytest

import netlab
import talk

COUNT = int(os.environ.get("SLUICE_STATICS", "20000"))
BASE = """ports:
  up1: {mode: routed}
interfaces:
  up1: {port: up1, addresses: [192.0.2.1/24]}
"""


def net(i):
    a = 0x14000000 + i * 0x300
    return f"{a >> 24}.{a >> 16 & 255}.{a >> 8 & 255}.0/24"


def config(n, via=2):
    return BASE + "routes:\n" + "".join(f"  - {{to: {net(i)}, via: 192.0.2.{via + i % 3}}}\n" for i in range(n))


@pytest.fixture
def w(world):
    sw, r = world.ns("sw"), world.ns("r")
    world.veth(sw, "up1", r, "sw")
    r.addr("sw", *(f"192.0.2.{i}/24" for i in range(2, 9)))
    world.gw = world.start_switch(sw, BASE)
    world.gw.attached("up1")
    return world


def status(w):
    return w.gw.json("status")


class Asker:
    """Somebody who wants the status all the time: the longest that it took."""

    def __init__(self, w):
        self.w, self.slowest, self.n, self.stop = w, 0.0, 0, False
        self.thread = talk.Thread(self.run)

    def run(self):
        while not self.stop:
            begin = time.monotonic()
            status(self.w)
            self.slowest = max(self.slowest, time.monotonic() - begin)
            self.n += 1

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop = True
        self.thread.join()


def timed(w, *args):
    begin = time.monotonic()
    p = w.gw.cli(*args)
    return time.monotonic() - begin, p.stdout


def in_kernel(w):
    """Prefix -> gateway of what sluiced has put there."""
    out = w.sw.run("ip route show proto 83", timeout=60).stdout
    return dict(re.findall(r"^(\S+) via (\S+) ", out, re.M))


def no_long_turn(w, words):
    """10 ms of processor time is what is aimed at, and printed; a slow spell of a virtual machine makes some milliseconds more of the
    same work, so only several times that fails."""
    loop = status(w)["loop"]
    print(f"{words}; longest turn of the event loop {loop['cpu']['max_ms']:.1f} ms on the processor ({loop['cpu']['longest']}), "
          f"blocked {loop['blocked']['max_ms']:.1f} ms ({loop['blocked']['longest']})")
    assert loop["cpu"]["max_ms"] <= 30, loop


def test_no_turn_of_the_event_loop_is_long(w):
    path = w.write("many.yaml", config(COUNT))
    with Asker(w) as asker:
        whole, _ = timed(w, ["apply", path])
        one = min(timed(w, f"route add 10.{i}.0.0/16 via 192.0.2.7")[0] for i in range(5))
        gone, _ = timed(w, "route delete 10.0.0.0/16")
        moved, out = timed(w, ["apply", w.write("moved.yaml", config(COUNT, via=3))])
        nothing, _ = timed(w, ["diff", path])
        back, _ = timed(w, "rollback")
        empty, _ = timed(w, ["apply", w.write("none.yaml", BASE)])
    assert out.count("\n~ ") + out.startswith("~ ") >= COUNT, out[:200]
    no_long_turn(w, f"\n{COUNT} static routes: all at once {whole * 1000:.0f} ms, one more {one * 1000:.0f} ms, one less "
                 f"{gone * 1000:.0f} ms, all to other gateways {moved * 1000:.0f} ms, compared {nothing * 1000:.0f} ms, rolled back "
                 f"{back * 1000:.0f} ms, none any more {empty * 1000:.0f} ms; status asked {asker.n} times meanwhile, "
                 f"the slowest took {asker.slowest * 1000:.0f} ms")
    assert not in_kernel(w) and status(w)["routes"]["known"] < 20
