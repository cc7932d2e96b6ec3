"""A translated connection whose way out becomes another (bpf/flow.h: flow_moved): it never shows its inside address."""
import pytest

import topo
from frames import D, W1, W2, W3, WAN2, from_to, from_to6, octets, routed, tcp, udp
from harness import HOOKS, send, travel
from nat_frames import POOL, POOL6, in4, out4, out6

REMOTE, REMOTE6 = "10.98.1.90", "2001:db8:98::90"  # by wan2, where it is masqueraded


def routed_by(switch, *vias):
    """To the remote end by these."""
    return switch.configured(topo.config(routes="".join(f"  - {{to: '{to}', via: '{via}'}}\n" for to, via in vias)))


def moved(switch):
    return switch.control.show("counters", "show")["stats"]["flow_moved"]


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("layer", (udp, tcp))
def test_to_where_no_rule_translates(switch, hook, layer):
    """By `wan3`: the connection goes on as it was, with the address that it has; a new one leaves as the rules of `wan3` say, which are
    none. Back by `wan2` the answers come again."""
    switch.forget()
    first, masqueraded = octets(from_to(D, REMOTE, layer())), out4(W2, WAN2.ip4, REMOTE, layer())
    assert travel(switch, hook, "acc20", first).out() == [("wan2", masqueraded)]
    before = moved(switch)
    with routed_by(switch, (REMOTE + "/32", W3.ip4)):
        for _ in range(3):
            assert travel(switch, hook, "acc20", first).out() == [("wan3", out4(W3, WAN2.ip4, REMOTE, layer()))]
        new = octets(from_to(D, REMOTE, layer(sport=4001)))
        assert travel(switch, hook, "acc20", new).out() == [("wan3", routed(new, W3))]
    assert moved(switch) == before
    assert travel(switch, hook, "acc20", first).out() == [("wan2", masqueraded)]
    answer = in4(W2, REMOTE, WAN2.ip4, layer(5000, 4000) if layer is udp else tcp(5000, 4000, "SA"))
    assert [port for port, _ in travel(switch, hook, "wan2", answer).out()] == ["acc20"]


@pytest.mark.parametrize("hook", HOOKS)
def test_to_where_another_rule_translates(switch, hook):
    """By `wan`: its rule's pool gives the address from then on."""
    switch.forget()
    first, first6 = octets(from_to(D, REMOTE, udp())), octets(from_to6(D, REMOTE6, udp()))
    for frame in (first, first6):
        assert [port for port, _ in travel(switch, hook, "acc20", frame).out()] == ["wan2"]
    before = moved(switch)
    with routed_by(switch, (REMOTE + "/32", W1.ip4), (REMOTE6 + "/128", W1.ip6)):
        assert travel(switch, hook, "acc20", first).out() == [("wan", out4(W1, POOL, REMOTE, udp()))]
        assert travel(switch, hook, "acc20", first6).out() == [("wan", out6(W1, POOL6, REMOTE6, udp()))]
        assert moved(switch) == before + 2
        back = send(switch, "tc", "wan", in4(W1, REMOTE, POOL, udp(5000, 4000)))
        assert back.out() == [("acc20", out4(D, REMOTE, D.ip4, udp(5000, 4000)))]
