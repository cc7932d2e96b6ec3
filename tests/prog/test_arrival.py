"""What layer 2 has said about a frame is remembered (bpf/known.h): frames that come again fare as the first one did, and what is
remembered holds for no other port and no other tag, under no other configuration, and for no longer than a second."""
import struct
import time
from dataclasses import replace

import pytest

import test_vlan
from frames import A, D, T10, tagged
from harness import HOOKS, Drop, Flood, Forward, Row, check, flooded, travel
from test_l2 import X, Y, fdb_key, l2, learned_port, port_says

AGAIN = 3  # the first is learned, the second found, the third known
NATIVE = 8  # in struct port
XY, TA = l2(X, Y), l2(T10, A)
Y_KNOWN, X_AGAIN, TA_AGAIN = [("trk2", tagged(l2(Y, X), 50))], [("acc50", XY)] * AGAIN, [("trk", tagged(TA, 10))] * AGAIN


def in_vlan_20(switch):
    port_says("acc50", NATIVE, "=H", 20)(switch)
    switch.epoch()


ROWS = [
    *[replace(r, before=[*r.before, *[(r.port, r.frame)] * (AGAIN - 1)], only=HOOKS) for r in test_vlan.ROWS if isinstance(r.expect, Forward)],
    Row("by another port: the station has moved", "trkt", XY, Forward("trk2", tagged(XY, 50)), before=[*Y_KNOWN, *X_AGAIN],
        after=learned_port(X, 50, "trkt")),
    Row("to another station", "acc50", l2(X, D), Flood(flooded(50, l2(X, D), "acc50")), before=[*Y_KNOWN, *X_AGAIN]),
    Row("with another tag", "trk", tagged(TA, 50), Drop("vlan_not_allowed"), before=TA_AGAIN),
    Row("without its tag", "trk", TA, Flood(flooded(30, TA, "trk")), before=TA_AGAIN),
    Row("under another configuration", "acc50", XY, Flood(flooded(20, XY, "acc50")),
        before=[*Y_KNOWN, *X_AGAIN, in_vlan_20]),
]  # fmt: skip


def test_row(switch, row, hook):
    check(switch, row, hook)


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("asked_for", [False, True], ids=["by itself", "answers alone"])
def test_a_station_that_goes_on_is_not_forgotten(switch, hook, asked_for):
    """Its time in the FDB is renewed within two seconds, also where somebody has just asked for it."""
    switch.forget()
    for _ in range(AGAIN):
        travel(switch, hook, "acc50", XY)
    frames = [*(Y_KNOWN if asked_for else []), ("acc50", XY)]

    def seen():
        return struct.unpack_from("=Q", switch.map("fdb").lookup(fdb_key(X, 50)), 8)[0]

    first, until = seen(), time.monotonic() + 2.3
    while seen() == first and time.monotonic() < until:
        for port, frame in frames:
            travel(switch, hook, port, frame)
        time.sleep(0.05)
    assert seen() > first
