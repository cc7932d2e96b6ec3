"""`flow-accounting: false`: flows are found, translated and kept as ever, but nobody counts their packets (`settings`)."""
import contextlib
import json

import pytest

import topo
from frames import tcp
from harness import HOOKS, send
from test_fast import TALK, inward, outward



def flow(switch):
    """What is listed of the one flow: as JSON, and the cells of packets and bytes."""
    (one,) = json.loads(switch.cli("-j", "flow", "list", "tcp").stdout)
    titles, cells = (line.split() for line in switch.cli("flow", "list", "tcp").stdout.splitlines()[:2])
    return one, cells[-4:-2], titles[-5:-3]


def counts(one):
    return {way: (one[way].get("packets"), one[way].get("bytes")) for way in ("forward", "reply")}


@contextlib.contextmanager
def not_counting(switch):
    with switch.configured(topo.config(", flow-accounting: false")):
        yield
    switch.settle()


def talk(switch, hook):
    """A connection, and packets of it by the short way and the long one; what they became."""
    switch.forget()
    for port, frame in TALK:
        send(switch, "tc", port, frame)
    got = []
    for _ in range(2):
        switch.epoch()
        for _ in range(2):
            got += [send(switch, hook, "acc20", outward()), send(switch, hook, "wan", inward(tcp(5000, 4000, "A")))]
    return [(s.verdict, s.out(), s.counters, s.drops) for s in got]


@pytest.mark.parametrize("hook", HOOKS)
def test_nothing_is_counted_and_all_else_is_as_ever(switch, hook):
    counted = talk(switch, hook)
    one, cells, titles = flow(switch)
    assert titles == ["PACKETS", "BYTES"]
    assert all(n > 4 for way in counts(one).values() for n in way) and cells[0] == f"{one['forward']['packets']}/{one['reply']['packets']}"
    with not_counting(switch):
        assert [got[0] for got in talk(switch, hook)] == [got[0] for got in counted]
        silent, cells, _ = flow(switch)
        assert counts(silent) == {"forward": (None, None), "reply": (None, None)} and cells == ["-", "-"]
        assert silent["state"] == one["state"] == "established"
        assert silent["idle"] <= 1
        groups = json.loads(switch.cli("-j", "flow", "count", "by", "proto").stdout)["groups"]
        assert [sorted(g) for g in groups] == [["flows", "proto"]]
    # counted again from now on, and what came meanwhile is in no count
    assert counts(flow(switch)[0]) == {"forward": (0, 0), "reply": (0, 0)}
    send(switch, hook, "acc20", outward())
    assert counts(flow(switch)[0])["forward"] == (1, len(outward()))
