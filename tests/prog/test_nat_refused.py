"""A first packet whose pair finds no place: the mapping that was made for it goes at once, with its port."""
import array
import mmap
from contextlib import contextmanager

import pytest

from frames import D, from_to, from_to6, octets, udp
from harness import send, travel
from nat_frames import FAR, FAR6
from test_flow_insert import held, live
from test_nat_conformance import mapped

FREE, BUSY = (0, 3), 1
OTHER = "10.99.5.7"


@contextmanager
def full(switch, family):
    """No slot of the flow table is free."""
    table = switch.map(f"flow_words{family}")
    with mmap.mmap(table.fd, table.max_entries * 64) as memory:
        before = memory[:]
        words = array.array("I", before)
        memory[:] = array.array("I", (BUSY if i % 16 != 15 and w & 3 in FREE else w for i, w in enumerate(words))).tobytes()
        try:
            yield
        finally:
            memory[:] = before


@pytest.mark.parametrize("hook", ("xdp", "tc"))
@pytest.mark.parametrize("family, frame", [(4, from_to(D, FAR, udp(sport=4100))), (6, from_to6(D, FAR6, udp(sport=4100)))])
def test_no_place_for_the_pair(switch, hook, family, frame):
    switch.forget()
    free = held(switch)
    with full(switch, family):
        for _ in range(3):
            assert send(switch, hook, "acc20", frame).drops == {"flow_full": 1}
            assert (live(switch, "nat_words"), held(switch)) == (0, free)
    travel(switch, hook, "acc20", octets(frame))
    assert (live(switch, "nat_words"), held(switch)) == (1, free + 1)


@pytest.mark.parametrize("hook", ("xdp", "tc"))
def test_a_mapping_in_use_stays(switch, hook):
    switch.forget()
    free = held(switch)
    first = mapped(travel(switch, hook, "acc20", octets(from_to(D, FAR, udp(sport=4100)))))
    with full(switch, 4):
        assert send(switch, hook, "acc20", from_to(D, OTHER, udp(sport=4100))).drops == {"flow_full": 1}
        assert (live(switch, "nat_words"), held(switch)) == (1, free + 1)
    assert mapped(travel(switch, hook, "acc20", octets(from_to(D, OTHER, udp(sport=4100))))) == first
