"""harness.py: a row says what comes in and what must become of it; the harness derives what each hook must show, and looks.

XDP is the fast path: it answers XDP_PASS, with the bytes as they came and nothing counted, for whatever it leaves to tc. tc is
the complete path. So one outcome of a row is two expectations. Earlier packets of a row (`before`) take the way a real frame
takes: through XDP where the row is run for XDP, and through tc when XDP passed them.

The third hook, `wire`, is no test run: the frame is sent into the port's veth, and both programs do their work where they are
attached, tags taken out of the data by the kernel and all. What leaves is seen at the other ports' far ends. It is for rows whose
outcome the kernel's own stack has no part in.
"""
import struct
import time
from dataclasses import dataclass, field
from typing import Any, Callable

import bpf
from frames import GATEWAYS, difference, dump, octets, tagged
from topo import DOT1AD_BIT, PORTS, TAG_BIT, TPIDS, drop_names

HOOKS = ("xdp", "tc")
ARRIVAL_S, GRACE_S = 0.5, 0.002  # on the wire: for what must come, and for what must not
XDP_NAMES = ["XDP_ABORTED", "XDP_DROP", "XDP_PASS", "XDP_TX", "XDP_REDIRECT"]
TC_NAMES = {bpf.TC_ACT_UNSPEC: "TC_ACT_UNSPEC", 0: "TC_ACT_OK", 2: "TC_ACT_SHOT", 7: "TC_ACT_REDIRECT"}


# ---- outcomes


@dataclass
class Drop:
    """Dropped for a reason. `reply`: the frame of an ICMP error that leaves by the port the packet came in on (only tc sends).
    `by_tc`: XDP leaves the packet to tc, because it might have to be answered, or flooded."""

    reason: str
    reply: Any = None
    by_tc: bool = False


@dataclass
class Forward:
    """Out of one port. `frame`: bytes, a scapy packet, or a function that says what is wrong with the bytes it is given."""

    port: str
    frame: Any


@dataclass
class Flood:
    """To these ports, as these frames: port -> frame."""

    frames: dict


@dataclass
class Host:
    """To the host. `iface`: by the host port of a VLAN's interface, as this frame; None: up the stack of a routed port."""

    iface: str = None
    frame: Any = None


@dataclass
class Resolve:
    """The neighbour is not known: tc hands the packet to the kernel, rewritten but for the MACs."""

    frame: Any


@dataclass
class Pass:
    """Left to the kernel on the port it came in on, untouched."""


@dataclass
class Hold:
    """A fragment that waits for its datagram's first one: not counted, and nothing leaves."""


@dataclass
class Row:
    """One case. `before`: [(port, frame)] that must not be dropped, or functions of the
    switch. `expect`: an outcome, or a function of what was seen of the
    frames before. `setup`: called with the switch first. `after`: called with the switch and what was seen, may assert more."""

    name: str
    port: str
    frame: Any
    expect: Any
    before: list = field(default_factory=list)
    setup: Callable = None
    after: Callable = None
    gso: tuple = (0, 0)
    segments: int = 1
    only: tuple = ()  # the hooks, where not all that are fit for the outcome

    def hooks(self):
        if self.gso[0]:  # the stack's: neither XDP nor a wire ever sees one
            return ("tc",)
        if self.only:
            return self.only
        return HOOKS if isinstance(self.expect, (Host, Resolve, Pass, Hold)) else (*HOOKS, "wire")


def flooded(vlan, frame, but, priority=0):
    """port -> frame: what a frame (untagged) becomes on every member of its VLAN but one. The host of the VLAN's interface hears
    it as well. `priority`: PCP and DEI, in place (0xf000)."""
    frames = {
        p.name: tagged(frame, (vlan | priority, p.vlans[vlan])) if p.vlans[vlan] else octets(frame)
        for p in PORTS.values()
        if vlan in p.vlans
    }
    if any(g.name == f"vlan{vlan}" for g in GATEWAYS):
        frames[f"vlan{vlan}"] = octets(frame)
    frames.pop(but, None)
    return frames


# ---- one packet


@dataclass
class Seen:
    """What became of one packet at one hook."""

    hook: str
    verdict: int
    data: bytes  # as the program left it
    frame: bytes  # the same as it would stand on the wire: with the tag that tc pushed
    egress: str  # tc: the port redirected to
    emitted: list  # [(port, frame)] that left during the run (clones)
    counters: dict  # port -> (rx, tx, forwarded, to_host, dropped), what was added
    drops: dict  # reason -> how many, of the ingress port

    def tx(self):
        return {port: c[1] for port, c in self.counters.items() if c[1]}

    def out(self):
        """Every frame that leaves: [(port, frame)]."""
        if self.hook == "tc" and self.verdict == bpf.TC_ACT_REDIRECT:
            return self.emitted + [(self.egress, self.frame)]
        if self.hook == "xdp" and self.verdict == bpf.XDP_REDIRECT:
            return self.emitted + [(next(iter(self.tx()), None), self.frame)]
        return self.emitted

    def words(self):
        name = {"xdp": dict(enumerate(XDP_NAMES)), "tc": TC_NAMES, "wire": {}}[self.hook].get(self.verdict, self.verdict)
        counted = {p: dict(zip(("rx", "tx", "forwarded", "to_host", "dropped"), c)) for p, c in self.counters.items() if any(c)}
        return f"{self.hook}: {name} egress {self.egress} drops {self.drops} counted {counted}\n" + "\n".join(
            f"out of {port}: {dump(frame)}" for port, frame in self.out()
        )


def _drops(switch, port):
    return list(switch.map("drop_counters").sum(switch.port_id[port])[: len(drop_names())])


def _minus(after, before):
    return {port: tuple(x - y for x, y in zip(after[port], before[port])) for port in after}


def send(switch, hook, port, frame, gso=(0, 0)):
    """One packet through one program."""
    frame, ifindex = octets(frame), switch.ifindex[port]
    switch.emitted()
    counters, drops = switch.counters(), _drops(switch, port)
    if hook == "xdp":
        run = bpf.run_xdp(switch.xdp, frame, ifindex)
        wire, egress = run.data, None
    else:
        run = bpf.run_tc(switch.tc, frame, ifindex, gso)
        wire, egress = _wire(run), switch.port_name.get(bpf.skb_cb(run)[1])
    added = _minus(switch.counters(), counters)
    dropped = {drop_names()[i]: n - drops[i] for i, n in enumerate(_drops(switch, port)) if n != drops[i]}
    return Seen(hook, run.retval, run.data, wire, egress, switch.emitted(), added, dropped)


def send_wire(switch, port, frame, leaving=1):
    """One packet into the veth of a port; waits until it is counted and `leaving` frames have come out."""
    frame = octets(frame)
    switch.emitted()
    counters, drops = switch.counters(), _drops(switch, port)
    switch.wire.send(port, frame)
    emitted, deadline = [], time.monotonic() + ARRIVAL_S
    while time.monotonic() < deadline:
        emitted += switch.emitted()
        if len(emitted) >= leaving and switch.counters()[port][0] > counters[port][0]:
            break
    time.sleep(GRACE_S)
    emitted += switch.emitted()
    added = _minus(switch.counters(), counters)
    dropped = {drop_names()[i]: n - drops[i] for i, n in enumerate(_drops(switch, port)) if n != drops[i]}
    return Seen("wire", None, frame, frame, None, emitted, added, dropped)


def _wire(run):
    """What tc left in the data, with the tag it left beside the data."""
    tag = bpf.skb_cb(run)[0]
    if not tag & TAG_BIT:
        return run.data
    tpid = 0x88A8 if tag & DOT1AD_BIT else 0x8100
    return run.data[:12] + struct.pack("!HH", tpid, tag & 0xFFFF) + run.data[12:]


def travel(switch, hook, port, frame):
    """A packet as it really goes: XDP first (where the row is for XDP), tc when that passes it. None of them may be dropped."""
    seen = send_wire(switch, port, frame) if hook == "wire" else send(switch, hook, port, frame)
    if hook == "xdp" and seen.verdict == bpf.XDP_PASS:
        seen = send(switch, "tc", port, frame)
    assert not seen.drops, f"a packet before the row's own was dropped: {seen.words()}"
    return seen


# ---- what must be seen


def _frame_problems(what, expected, got):
    if callable(expected):
        words = expected(got)
        return [f"{what}: {words}\n{dump(got)}"] if words else []
    expected = octets(expected)
    return [] if expected == got else [f"{what}: other bytes\n{difference(expected, got)}"]


def _counted(seen, row, forwarded=0, to_host=0, dropped=0):
    """The ingress port's counters, exactly."""
    want, n = (forwarded, to_host, dropped), row.segments
    rx, _, *got = seen.counters[row.port]
    if (rx, *got) != (n, *(w * n for w in want)):
        return [f"{row.port} counted rx {rx}, (forwarded, to_host, dropped) {tuple(got)}; expected rx {n}, {want}"]
    return []


def _counted_nothing(seen, row):
    return [f"{row.port} counted {seen.counters[row.port]}"] if any(seen.counters[row.port]) or seen.drops else []


def _sent(seen, want):
    """Exactly these frames leave: [(port, frame)]."""
    problems, left = [], list(seen.out())
    for port, frame in want:
        here = next((x for x in left if x[0] == port), None)
        if here is None:
            problems.append(f"nothing left by {port}")
            continue
        left.remove(here)
        problems += _frame_problems(f"out of {port}", frame, here[1])
    problems += [f"left by {port}, and should not: {dump(frame)}" for port, frame in left]
    return problems


def _tx(seen, row, ports):
    want = {p: row.segments for p in ports}
    return [] if seen.tx() == want else [f"tx_packets grew by {seen.tx()}, expected {want}"]


def _verdict(seen, *want):
    return [] if seen.verdict in want else [f"verdict {seen.words().split(' egress')[0]}, expected {want}"]


def _whole_tag(frame):
    return frame[12:14] in TPIDS and len(frame) >= 18


def _passed_on(seen, row, _=None):
    """XDP left the frame to tc: unchanged, and as if it had never seen it."""
    problems = _verdict(seen, bpf.XDP_PASS) + _frame_problems("a passed frame", row.frame, seen.data) + _sent(seen, [])
    if any(any(c) for c in seen.counters.values()) or seen.drops:
        problems.append("XDP passed the frame and counted it: tc would count it again")
    return problems


def expect_xdp(seen, row, outcome):
    match outcome:
        case Drop(reason, None, False):
            return _verdict(seen, bpf.XDP_DROP) + _dropped(seen, row, reason) + _tx(seen, row, [])
        case Forward(port, frame) if port in PORTS and PORTS[port].native:
            return (
                _verdict(seen, bpf.XDP_REDIRECT)
                + _sent(seen, [(port, frame)])
                + _tx(seen, row, [port])
                + _counted(seen, row, forwarded=1)
            )
    return _passed_on(seen, row)


def _dropped(seen, row, reason):
    assert reason in drop_names(), f"{reason} is no drop reason"
    problems = [] if seen.drops == {reason: row.segments} else [f"dropped for {seen.drops}, expected {reason}"]
    return problems + _counted(seen, row, dropped=1)


def expect_tc(seen, row, outcome):
    match outcome:
        case Drop(reason, reply, _):
            replies = [] if reply is None else [(row.port, reply)]
            verdicts = (bpf.TC_ACT_SHOT,) if reply is None else (bpf.TC_ACT_SHOT, bpf.TC_ACT_REDIRECT)
            return _verdict(seen, *verdicts) + _dropped(seen, row, reason) + _sent(seen, replies)
        case Forward(port, frame):
            return (
                _verdict(seen, bpf.TC_ACT_REDIRECT)
                + _sent(seen, [(port, frame)])
                + _tx(seen, row, [port])
                + _counted(seen, row, forwarded=1)
            )
        case Flood(frames):
            return (
                _verdict(seen, bpf.TC_ACT_SHOT, bpf.TC_ACT_REDIRECT)
                + _sent(seen, list(frames.items()))
                + _tx(seen, row, list(frames))
                + _counted(seen, row, forwarded=1)
            )
        case Host(None, _):
            return (
                _verdict(seen, bpf.TC_ACT_OK)
                + _frame_problems("to the host", row.frame, seen.data)
                + _sent(seen, [])
                + _counted(seen, row, to_host=1)
            )
        case Host(iface, frame):
            return _verdict(seen, bpf.TC_ACT_REDIRECT) + _sent(seen, [(iface, frame)]) + _counted(seen, row, to_host=1)
        case Resolve(frame):
            return (
                _verdict(seen, bpf.TC_ACT_REDIRECT)
                + _frame_problems("to be resolved", _after_macs(frame), seen.frame[12:])
                + _counted(seen, row, forwarded=1)
            )
        case Hold():
            return _verdict(seen, bpf.TC_ACT_SHOT) + _sent(seen, []) + _tx(seen, row, []) + _counted_nothing(seen, row)
        case Pass():
            return (
                _verdict(seen, bpf.TC_ACT_OK, bpf.TC_ACT_UNSPEC)
                + _frame_problems("passed", row.frame, seen.data)
                + _sent(seen, [])
            )
    raise TypeError(f"{outcome} is no outcome")


def expect_wire(seen, row, outcome):
    match outcome:
        case Drop(reason, reply, _):
            return _dropped(seen, row, reason) + _sent(seen, [] if reply is None else [(row.port, reply)])
        case Forward(port, frame):
            return _sent(seen, [(port, frame)]) + _tx(seen, row, [port]) + _counted(seen, row, forwarded=1)
        case Flood(frames):
            return _sent(seen, list(frames.items())) + _tx(seen, row, list(frames)) + _counted(seen, row, forwarded=1)
    raise TypeError(f"{outcome} is not for the wire")


def _leaving(outcome):
    """How many frames an outcome sends."""
    match outcome:
        case Drop(_, reply, _):
            return 0 if reply is None else 1
        case Flood(frames):
            return len(frames)
    return 1


def _after_macs(frame):
    return frame if callable(frame) else octets(frame)[12:]


def _law(seen, row):
    rx, _, forwarded, to_host, dropped = seen.counters[row.port]
    return (
        []
        if rx == forwarded + to_host + dropped
        else [f"rx {rx} != forwarded {forwarded} + to_host {to_host} + dropped {dropped}"]
    )


def check(switch, row, hook):
    """Runs a row at a hook. Every row starts with nothing learned and no flow."""
    switch.forget()
    if row.setup:
        row.setup(switch)
    earlier = []
    for step in row.before:
        if callable(step):
            step(switch)
        else:
            earlier.append(travel(switch, hook, *step))
    frame = row.frame(earlier) if callable(row.frame) else row.frame
    row = Row(**{**row.__dict__, "frame": octets(frame)})
    outcome = row.expect(earlier) if callable(row.expect) else row.expect
    if hook == "wire":
        seen = send_wire(switch, row.port, row.frame, _leaving(outcome))
    else:
        seen = send(switch, hook, row.port, row.frame, row.gso)
    expected = {"xdp": expect_xdp, "tc": expect_tc, "wire": expect_wire}[hook]
    if hook == "xdp" and switch.tag_may_hide(row.port) and not _whole_tag(row.frame):
        expected = _passed_on
    problems = expected(seen, row, outcome) + _law(seen, row)
    if problems:
        raise AssertionError("\n".join([f"{row.name} at {hook}:", *problems, "in: " + dump(row.frame), "seen: " + seen.words()]))
    if row.after:
        row.after(switch, seen, earlier)
