"""A way that fails: its traffic moves to the other, and back."""
import socket

import netlab
import talk


def test_pulled_cable_moves_traffic_to_the_other_uplink(own_gateway):
    w = own_gateway
    with talk.UdpEcho(w.inet, 7000):
        for _ in range(8):
            assert talk.udp_ask(w.h1, netlab.INET4, 7000, b"before")
        # The far end of the cable goes down; r1 and the internet side would still send answers by r1.
        w.r1.run("ip link set sw down")
        netlab.answer_by(w.inet, 2)
        netlab.wait_for("the route has one way left", lambda: len(
            [n for r in w.gw.json("route show") if r["to"] == "0.0.0.0/0" and r.get("active", True)
             for n in r["nexthops"] if n["state"] == "resolved"]) == 1, timeout=5)
        with w.r2.sniff("sw") as s:
            for _ in range(16):
                assert talk.udp_ask(w.h1, netlab.INET4, 7000, b"after", timeout=2.0) == b"after"
            assert len([f for f in s.frames(0.2) if b"after" in f]) >= 16


def test_connection_survives_the_failure_of_its_uplink(own_gateway):
    w = own_gateway
    t = talk.tcp_server(w.inet, socket.AF_INET, 9000, talk.echo_words(2))
    with talk.tcp_connect(w.h1, netlab.INET4, 9000) as s:
        with w.r1.sniff("sw") as one:
            s.sendall(b"one.")
            assert s.recv(4) == b"one."
            uplink = 1 if one.matching(b"one.") else 2
        getattr(w, f"r{uplink}").run("ip link set sw down")
        netlab.answer_by(w.inet, 3 - uplink)
        s.sendall(b"two.")
        assert s.recv(4) == b"two."
    t.join()


def test_healed_uplink_is_used_again(own_gateway):
    w = own_gateway

    def live():
        return len([n for r in w.gw.json("route show") if r["to"] == "0.0.0.0/0" and r.get("active", True)
                    for n in r["nexthops"] if n["state"] == "resolved"])
    netlab.wait_for("both ways are resolved", lambda: live() == 2)
    w.r1.run("ip link set sw down")
    netlab.wait_for("one way is left", lambda: live() == 1)
    w.r1.run("ip link set sw up")
    w.r1.route("203.0.113.0/28", "192.0.2.1")
    netlab.wait_for("both ways are resolved again", lambda: live() == 2, timeout=20)
    with w.r1.sniff("sw") as one, talk.UdpEcho(w.inet, 7000):
        for _ in range(24):
            assert talk.udp_ask(w.h1, netlab.INET4, 7000, b"healed") == b"healed"
        assert [f for f in one.frames(0.2) if b"healed" in f]
