"""Flows that sluiced puts into the table, while the data plane puts the same ones in: each is there once, whoever was first."""
import json
import re
import struct
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import bpf
from frames import D
from nat_packets import UDP_, build, frame_of

FLOWS, ROUNDS = 1200, 6
LIVE = 2
REFUSED = r"its mapping is not there|another flow has its place|it has another outside port already.*|port \d+ of \S+ is taken"


def frames():
    gateway = D.gateway.mac
    return [frame_of(D.mac, gateway, build((UDP_, D.ip4, 10000 + i, f"10.99.1.{1 + i % 200}", 53))) for i in range(FLOWS)]


def live(switch, name):
    table, n = switch.map(name), 0
    for i in range(table.max_entries):
        n += sum(w & 3 == LIVE for w in struct.unpack("=16I", table.lookup(i))[:15])
    return n


def held(switch):
    ports = switch.map("pool_ports")
    return sum(bin(int.from_bytes(ports.lookup(i)[128:], "little")).count("1") for i in switch._nat_ports)


@pytest.mark.parametrize("hook", ("xdp", "tc"))
def test_inserted_from_both_sides(switch, hook, tmp_path):
    all_frames, ifindex, path = frames(), switch.ifindex[D.port], str(tmp_path / "flows")

    def play(order):
        for f in order:
            if hook == "xdp":
                bpf.run_xdp(switch.xdp, f, ifindex)
            else:
                bpf.run_tc(switch.tc, f, ifindex)
    switch.forget()
    free = held(switch)
    play(all_frames)
    assert switch.cli("flow", "save", path).returncode == 0
    kinds = [next(iter(json.loads(x))) for x in open(path)]
    assert kinds.count("flow") == kinds.count("mapping") == FLOWS
    restored = 0
    for i in range(ROUNDS):
        switch.forget()
        with ThreadPoolExecutor() as pool:
            other = pool.submit(switch.cli, "-j", "flow", "restore", path)
            # The command reads the file before it sends a line: mostly the packets come when it has begun.
            end = time.monotonic() + (5 if i else 0)
            while held(switch) == free and time.monotonic() < end:
                pass
            play(all_frames[::-1] if i % 2 else all_frames[FLOWS // 2:] + all_frames[:FLOWS // 2])
            answer = json.loads(other.result().stdout)
        assert live(switch, "flow_words4") == 2 * FLOWS
        assert live(switch, "nat_words") == FLOWS == held(switch) - free
        # A port that one side has taken and not yet written down is another one's for the other.
        assert all(re.fullmatch(REFUSED, x["reason"]) for x in answer["refused"]), answer["refused"]
        restored += answer["restored"]["flows"]
        print(hook, answer["restored"], "there:", answer["there"], "refused:", len(answer["refused"]))
    switch.forget()
    print(f"{hook}: {restored} of {FLOWS * ROUNDS} flows were sluiced's")
    assert 0 < restored < FLOWS * ROUNDS
