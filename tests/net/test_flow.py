"""Connections listed, counted, ended and watched: what filters choose, at a size where nothing may be done in one go."""
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import time

import pytest

import netlab
import talk
from test_api import Connection

FLOWS = int(os.environ.get("SLUICE_FLOWS", "1000000"))
TURN_MS = 10
CONFIG = """ports:
  p1: {mode: access, vlan: 10}
  p2: {mode: access, vlan: 10}
  wan: {mode: routed}
interfaces:
  lan: {vlan: 10, addresses: [10.0.0.1/24, "fd00::1/64"]}
  wan: {port: wan, addresses: [203.0.113.1/24, "2001:db8::1/64"]}
nat:
  - {name: out, type: snat, source: 10.0.0.0/8, to: masquerade, out: [wan]}
  - {name: six, type: snat, source: "fd00::/64", to: masquerade, out: [wan]}
  - {name: web, type: dnat, destination: wan, protocol: tcp, port: 80, to: "10.0.0.5:8080"}
"""
OUT, OUT6 = "203.0.113.100", "2001:db8::100"


def make(world, config):
    gw = world.ns("gw")
    world.host("h1", gw, "p1", addrs=["10.0.0.5/24", "fd00::5/64"], gw=["10.0.0.1", "fd00::1"])
    world.host("h2", gw, "p2", addrs=["10.0.0.6/24"], gw=["10.0.0.1"])
    world.host("out", gw, "wan", addrs=[f"{OUT}/24", f"{OUT6}/64"])
    world.sw = world.start_switch(gw, config)
    world.sw.attached("p1", "p2", "wan")
    world.h1.ping("10.0.0.1")
    return world


def fill(w, n, *more):
    sw = w.sw
    ids = {i["name"]: str(i["id"]) for i in sw.json("interface show")}
    return w.gw.run([f"{netlab.BUILD}/tests/flow_fill", sw.instance, str(n), "1", ids["lan"], ids["wan"], *more], timeout=120).stdout


@pytest.fixture(scope="module")
def big(shared_world):
    w = make(shared_world, CONFIG + f"tables: {{flows: {max(FLOWS * 11 // 5, 65536)}}}\n")
    print("\n" + fill(w, FLOWS))
    return w
