"""nat_model.py: what a NAT may do, in the simplest way: a dict of the ways that packets go, and one of who has which port outside.

The rules are those of topo.py: SNAT to pools and to an interface's address, with each kind of mapping and filtering, ports that are
shared out when none is left, and limits for a host; DNAT of ports, ranges and whole addresses, 1:1 of prefixes, each for both
families, and hosts inside that reach each other by their outside addresses. A way is kept for each direction of a connection, and
forever: nothing times out here. Every frame that leaves is compared with the one that the model makes, byte for byte, and its
checksums are verified (nat_packets.py); so are fragments, and ICMP errors, of which those that were spoilt must not leave.
"""
import collections

import bpf
from frames import D, GW10, T20, T30, U30, W1, W2, WAN, WAN2, A, B, mac_bytes, octets, tagged
from nat_packets import ACK, FIN, GRE, ICMP6, ICMP_, RST, SYN, TCP_, UDP_, Left, build, cut, error, frame_of, quoted, swap

STATIONS = {mac_bytes(s.mac): s for s in (A, B, D, T20, T30, U30, W1, W2)}
OUTSIDE = (W1, W2)
HOSTS = {a: s for s in (A, B, D, T20, T30, U30) for a in (s.ip4, s.ip6)}
INSIDE = ("10.0.", "2001:db8:10:", "2001:db8:20:", "2001:db8:30:")  # no address outside begins so
FAR, FAR6 = ("10.99.1.", "10.99.5."), ("2001:db8:99::",)


class Rule:
    """SNAT. `lets_in`: filtering, who may begin from outside: nobody, those who were `asked`, `all`; `wide`: endpoint-independent
    mapping; `shares`: ports, when there is none left; `sessions`, `ports`: how many a host may have."""

    def __init__(self, name, address, low=1024, high=65535, **more):
        self.name, self.address, self.low, self.high = name, address, low, high
        self.lets_in, self.wide = more.get("lets_in"), more.get("wide", True)
        self.shares, self.sessions, self.ports = more.get("shares"), more.get("sessions"), more.get("ports")


# Of D and T20: destination -> rule, and the station that the packet leaves to.
SNAT = {
    "10.99.1.": (Rule("pool", "198.18.0.1"), W1),
    "10.99.4.": (Rule("open", "198.18.4.1", lets_in="all"), W1),
    "10.99.6.": (Rule("semi", "198.18.4.2", lets_in="asked"), W1),
    "10.99.7.": (Rule("tiny", "198.18.7.1", 2000, 2003), W1),
    "10.99.8.": (Rule("symmetric", "198.18.4.3", 3000, 4999, wide=False), W1),
    "10.99.10.": (Rule("shared", "198.18.4.4", 2000, 2001, wide=False, shares=True), W1),
    "10.99.11.": (Rule("few", "198.18.4.5", sessions=3, ports=2), W1),
    "10.98.1.": (Rule("masq", WAN2.ip4), W2),
    "2001:db8:99::": (Rule("pool6", "2001:db8:5a::1"), W1),
    "2001:db8:98::": (Rule("masq6", WAN2.ip6), W2),
}
SNAT["10.99.5."] = SNAT["10.99.1."]
POOL, POOL6 = SNAT["10.99.1."][0], SNAT["2001:db8:99::"][0]
RULES = {r.address: r for r, _ in SNAT.values()}
LAN, LAN6 = Rule("lan", GW10.ip4), Rule("lan6", GW10.ip6)  # of A and B, who meet by an outside address
OWN = (WAN2.ip4, WAN2.ip6)
WHOLES, WHOLES6 = ("198.18.9.9", "198.18.9.10"), ("2001:db8:5a::9", "2001:db8:5a::a")  # of B, all of them
STATIC = {T30.ip4: "198.18.5.13", T30.ip6: "2001:db8:5b::d", U30.ip4: "198.18.5.15", U30.ip6: "2001:db8:5b::f"}
ONE_TO_ONE = (T30, U30)  # whose addresses these are
TAGS = {T20: 20, U30: 30}
PAYLOADS = (b"", b"odd", b"payload!", bytes(range(64)))


def remote_of(address):
    return address[: address.rindex(":" if ":" in address else ".") + 1]


def dnat(t):
    """(inside address, port) that a packet to an outside address goes to by a rule; None: there is no such rule."""
    proto, _, _, dst, dport = t
    if dst in WHOLES + WHOLES6:
        return B.ip6 if ":" in dst else B.ip4, dport
    if (proto, dst, dport) in ((TCP_, WAN.ip4, 8080), (TCP_, "198.18.9.6", 80)):
        return A.ip4, 80
    if dst == WAN.ip4 and (proto, dport) == (UDP_, 5353):
        return A.ip4, 53
    if dst == WAN.ip4 and proto == UDP_ and 7000 <= dport <= 7009:
        return A.ip4, dport + 10000
    if dst == WAN.ip6 and (proto, dport) == (TCP_, 8080):
        return A.ip6, 80
    for inside, outside in STATIC.items():
        if dst == outside:
            return inside, dport
    return None


def twin(t):
    """(outside address, port) of another rule that leads to the same place inside; None: there is none."""
    proto, _, _, dst, dport = t
    for pair in (WHOLES, WHOLES6):
        if dst in pair:
            return pair[1 - pair.index(dst)], dport
    web = ((WAN.ip4, 8080), ("198.18.9.6", 80))
    return web[1 - web.index((dst, dport))] if proto == TCP_ and (dst, dport) in web else None


class Way:
    """How the packets of one direction go: `t` becomes `to`, from one station to another. `sent`, `left`: the last one, as it came in
    and as it left."""

    def __init__(self, t, to, source, target):
        self.t, self.to, self.source, self.target = t, to, source, target
        self.sent = self.left = None


class Model:
    """The NAT as the hosts on both sides of it see it."""

    def __init__(self, rng, switch, hook):
        self.rng, self.switch, self.hook = rng, switch, hook
        self.ways = {}  # tuple as it comes in -> Way
        self.mappings = {}  # (proto, inside, port, rule[, remote, its port]) -> (address, port)
        self.owner = {}  # (proto, address, port) -> the key above
        self.asked = set()  # (proto, address, port, whom it has sent to)
        self.sessions = collections.Counter()  # (host, rule's name)
        self.ident = 0
        self.crowd = rng.choice(list(SNAT))  # where many go, so that limits are reached, and ports run out

    # ---- one packet

    def run(self, station, packet):
        """From a station, by its port, to its gateway; what leaves, or None."""
        frame = frame_of(station.mac, station.gateway.mac, packet)
        frame = octets(tagged(frame, TAGS[station])) if station in TAGS else frame
        ifindex = self.switch.ifindex[station.port]
        run, redirected = None, bpf.XDP_REDIRECT
        if self.hook == "xdp":
            run = bpf.run_xdp(self.switch.xdp, frame, ifindex)
        if run is None or run.retval == bpf.XDP_PASS:
            run, redirected = bpf.run_tc(self.switch.tc, frame, ifindex), bpf.TC_ACT_REDIRECT
        if run.retval != redirected:
            return None
        left = Left(run.data)
        target = STATIONS.get(left.dmac)
        if target is station and left.quote is not None and left.src in (station.gateway.ip4, station.gateway.ip6):
            return None  # a refusal that the switch tells the sender
        assert target, f"to {left.dmac.hex(':')}"
        if target in OUTSIDE:
            quote = Left(b"\0" * 14 + left.quote).t if left.quote and self._is_whole(left.quote) else ()
            for address in (left.src, left.dst, *[x for x in quote if isinstance(x, str)]):
                assert not address.startswith(INSIDE), f"{address} leaves"
        return left

    @staticmethod
    def _is_whole(quote):
        return len(quote) == (40 + int.from_bytes(quote[4:6]) if quote[0] >> 4 == 6 else int.from_bytes(quote[2:4]))

    def same(self, left, way, packet):
        want = frame_of(way.target.gateway.mac, way.target.mac, packet)[14:]
        assert left.dmac == mac_bytes(way.target.mac), f"{way.t} leaves to {STATIONS[left.dmac].ip4}"
        assert left.packet == want, f"{way.t}: left as {left.t}\n{left.packet.hex(' ')}, expected {way.to}\n{want.hex(' ')}"

    # ---- what a first packet may become

    def mapped(self, t, rule):
        """The key of the mapping that a source has."""
        key = t[:3] + (rule.name,)
        return key if rule.wide else key + t[3:]

    def exhausted(self, t, rule):
        return sum(1 for p, a, _ in self.owner if (p, a) == (t[0], rule.address)) == rule.high - rule.low + 1

    def limited(self, t, rule):
        """The host has as much of the rule as it may have: of sessions, or of ports, and this would be one more."""
        if rule.sessions and self.sessions[t[1], rule.name] >= rule.sessions:
            return True
        if not rule.ports or self.mapped(t, rule) in self.mappings:
            return False
        return sum(1 for k in self.mappings if k[1] == t[1] and k[3] == rule.name) >= rule.ports

    def may_refuse(self, t, rule, to):
        """A source without a mapping may be refused: no port is left, nor, where they are shared, one that would tell it apart."""
        if self.mapped(t, rule) in self.mappings or not self.exhausted(t, rule):
            return False
        every = ((t[0], rule.address, port, *to) for port in range(rule.low, rule.high + 1))
        return not rule.shares or all(swap(out) in self.ways for out in every)

    def take(self, t, rule, where):
        """A source is seen outside as this address and port."""
        key = self.mapped(t, rule)
        address, port = where
        assert address == rule.address and rule.low <= port <= rule.high, f"{t} has {where}"
        if rule.shares and key not in self.mappings and self.exhausted(t, rule):
            return
        assert self.mappings.setdefault(key, where) == where, f"{key} had {self.mappings[key]}, now {where}"
        assert self.owner.setdefault((t[0], *where), key) == key, f"{where} is {self.owner[(t[0], *where)]}'s, and {key} has it"

    def plan(self, t, source):
        """Of a first packet: the SNAT rule or None; its destination inside or outside, and the station there. None: it goes nowhere."""
        proto, src, _, dst, dport = t
        to, key = dnat(t), self.owner.get((proto, dst, dport))
        if source in (D, T20, *ONE_TO_ONE):
            six, one = ":" in src, source in ONE_TO_ONE
            if to or key:  # as if it had left
                inside = to or key[1:3]
                return None if one else POOL6 if six else POOL, inside, HOSTS[inside[0]]
            rule, station = (None, W1) if one else SNAT[remote_of(dst)]
            return rule, (dst, dport), station
        if source in (A, B):  # who have no rule; the server of their subnet must not see them
            rule = None if dst in STATIC.values() else LAN6 if ":" in src else LAN
            return rule, to, HOSTS[to[0]]
        if to:
            return None, to, HOSTS[to[0]]
        lets_in = key and proto in (TCP_, UDP_) and RULES[dst].lets_in
        if lets_in == "all" or (lets_in == "asked" and (proto, dst, dport, src) in self.asked):
            return None, key[1:3], HOSTS[key[1]]
        return None

    @staticmethod
    def may_open(t, flags, rule, mapped):
        """TCP: a SYN, and an ACK of a connection that was lost, but to a mapping; echo: a request. 1:1 takes all, as long as nothing
        else has a part."""
        if rule is None and not mapped and (t[3] in STATIC.values() or dnat(t) is None):
            return True
        if t[0] == TCP_:
            return flags == SYN or (flags == ACK and not mapped)
        return t[0] not in (ICMP_, ICMP6) or t[2] != 0

    def first(self, t, source, flags, payload):
        packet = build(t, flags, payload)
        left = self.run(source, packet)
        plan = self.plan(t, source)
        mapped = dnat(t) is None and (t[0], t[3], t[4]) in self.owner
        if plan is None or not self.may_open(t, flags, plan[0], mapped):
            assert left is None, f"{t} is let in, as {left.t or left.packet.hex()}"
            return
        rule, to, target = plan
        outside = (STATIC.get(t[1], t[1]), t[2])
        if rule:
            key = self.mapped(t, rule)
            if self.limited(t, rule):
                assert left is None, f"{t} is more than {t[1]} may have"
                return
            if left is None and self.may_refuse(t, rule, to):
                return
            outside = self.mappings.get(key) or (left and left.t[1:3])
        out = outside and (t[0], *outside, *to)
        if out and swap(out) in self.ways:  # another connection would be answered by the same packets
            led = dnat(t) is not None or mapped
            if rule or t[0] == GRE or not led:
                assert left is None, f"{t} leaves as {left.t}, whose answers are those of {self.ways[swap(out)].t}"
                return
            assert left is not None, f"{t} is refused, and could have another port"
            out = self.apart(t, out, left.t)
        assert left is not None, f"{t} is refused"
        if rule:
            self.take(t, rule, outside)
            self.asked.add((t[0], *outside, to[0]))
            self.sessions[t[1], rule.name] += 1
        way, back = Way(t, out, source, target), Way(swap(out), swap(t), target, source)
        assert t not in self.ways and back.t not in self.ways
        self.same(left, way, build(out, flags, payload, 63))
        way.sent, way.left = packet, left.packet
        self.ways[way.t], self.ways[back.t] = way, back

    def apart(self, t, out, left):
        """What a packet leaves as that would leave as another connection's, but for the port of the sender, whom no pool translates."""
        out = (*out[:2], left[2], *out[3:])
        assert swap(out) not in self.ways, f"{t} leaves as {left}, whose answers are those of {self.ways[swap(out)].t}"
        assert out[2] >= 1 and (t[0] in (ICMP_, ICMP6) or (out[2] < 1024) == (t[2] < 1024)), f"{t} leaves by port {out[2]}"
        return out

    def again(self, way, flags, payload):
        """Another packet of a connection, either way: it leaves as the others did."""
        way.sent = build(way.t, flags, payload)
        left = self.run(way.source, way.sent)
        assert left is not None, f"{way.t} was open, and is lost"
        self.same(left, way, build(way.to, flags, payload, 63))
        way.left = left.packet

    def send(self, t, source, flags=ACK, payload=b"payload"):
        way = self.ways.get(t)
        return self.again(way, flags, payload) if way else self.first(t, source, flags, payload)

    # ---- what happens

    def flags_of(self, t):
        """TCP's; None: UDP without a checksum, which IPv4 may have."""
        if t[0] == TCP_:
            return self.rng.choice((SYN, SYN, ACK, FIN | ACK, RST))
        return self.rng.choice((ACK, None)) if t[0] == UDP_ and ":" not in t[1] else ACK

    def offer(self, proto, source, src, sport, dst, dport):
        """A packet that may be a connection's first one. `proto`: of IPv4."""
        if ":" in src and proto == ICMP_:
            proto = ICMP6
        if proto in (ICMP_, ICMP6):
            dport = 0
        if proto == GRE:
            sport = dport = 0
        t = (proto, src, sport, dst, dport)
        self.send(t, source, self.flags_of(t), self.rng.choice(PAYLOADS))

    def outward(self):
        """From inside to the Internet."""
        rng, source = self.rng, self.rng.choice((D, D, D, T20, T20, T20, T30, T30, U30))
        remote = self.crowd if rng.random() < 0.4 else rng.choice(list(SNAT))
        remote = (remote if source not in ONE_TO_ONE else rng.choice(FAR + FAR6)) + str(rng.randint(1, 3))
        src = source.ip6 if ":" in remote else source.ip4
        proto = rng.choice((TCP_, UDP_, ICMP_) if source not in ONE_TO_ONE else (TCP_, UDP_, ICMP_, GRE))
        self.offer(proto, source, src, rng.choice((4000, 4001, 4002, 53, 2000, 65535, 3000)), remote, rng.choice((80, 4000)))

    def beside(self):
        """Who has come to a host by one rule comes to the same port by another, from the same port."""
        came = [t for t in self.ways if twin(t) and not t[1].startswith(INSIDE)]
        if came:
            t = self.rng.choice(came)
            self.offer(t[0], W1, t[1], t[2], *twin(t))

    def inward(self):
        """From outside to what is forwarded, and to what is not."""
        rng = self.rng
        if rng.random() < 0.2:
            return self.beside()
        if rng.random() < 0.3:
            dst = rng.choice((WAN.ip6, *WHOLES6, STATIC[T30.ip6], "2001:db8:5a::1"))
            src = rng.choice(FAR6) + str(rng.randint(1, 3))
        else:
            dst = rng.choice((WAN.ip4, WAN.ip4, *WHOLES, STATIC[T30.ip4], "198.18.0.1", "198.18.9.6"))
            src = rng.choice(FAR) + str(rng.randint(1, 3))
        protos = (TCP_, UDP_, ICMP_, GRE) if dst in (*WHOLES, *WHOLES6, *STATIC.values()) else (TCP_, UDP_)
        dport = 80 if dst == "198.18.9.6" else rng.choice((8080, 5353, 7000, 7005, 7009, 7010, 4000))
        self.offer(rng.choice(protos), W1, src, rng.choice((80, 4000)), dst, dport)

    def stranger(self):
        """To a port outside that somebody may have, from whom nobody has asked."""
        rng = self.rng
        have = [k for k in self.owner if k[0] in (TCP_, UDP_) and k[1] not in (GW10.ip4, GW10.ip6)]
        proto, address, port = rng.choice(have or [(UDP_, "198.18.4.1", 4000)])
        remote = ("2001:db8:99::7:" if ":" in address else rng.choice(("10.99.5.", "10.99.6."))) + str(rng.randint(1, 3))
        if address not in OWN:
            self.offer(proto, W1, remote, rng.randint(1, 9), address, port)

    def hairpin(self):
        """From inside to another inside, or to oneself, by an address that is outside."""
        rng = self.rng
        source, six = rng.choice((D, T20, A, *ONE_TO_ONE)), rng.random() < 0.25
        src, wholes = (source.ip6, WHOLES6) if six else (source.ip4, WHOLES)
        statics = [a for a in STATIC.values() if (":" in a) == six]
        have = [k for k in self.owner if k[0] in (TCP_, UDP_) and k[1].startswith("2001:db8:5a:" if six else "198.18.")]
        protos = (TCP_, UDP_, ICMP_, GRE) if source in ONE_TO_ONE else (TCP_, UDP_, ICMP_)
        proto, dst, dport = rng.choice(protos), rng.choice((*wholes, *statics)), rng.choice((80, 4000))
        if source is not A and rng.random() < 0.5:
            proto, dst, dport = rng.choice([(TCP_, WAN.ip6 if six else WAN.ip4, 8080), *have])
        sport = rng.choice((4000, 4001, 4002))
        if self.owner.get((proto, dst, dport), ())[1:3] != (src, sport):  # nobody talks to himself
            self.offer(proto, source, src, sport, dst, dport)

    def follow(self):
        if self.ways:
            way = self.rng.choice(list(self.ways.values()))
            self.again(way, self.flags_of(way.t), self.rng.choice(PAYLOADS))

    def pieces(self):
        """A datagram of a connection in fragments, one after the other: each leaves as it came, and whole it is as the others were."""
        ways = [w for w in self.ways.values() if w.t[0] in (UDP_, ICMP_, ICMP6)]
        if not ways:
            return
        way, size = self.rng.choice(ways), self.rng.choice((8, 24, 64, 120))
        payload = self.rng.randbytes(self.rng.choice((25, 120, 201)))
        self.ident += 1
        for part, want in zip(*(cut(build(t, ACK, payload, ttl), size, self.ident) for t, ttl in ((way.t, 64), (way.to, 63)))):
            left = self.run(way.source, part)
            assert left is not None, f"a fragment of {way.t} is lost: {part.hex(' ')}"
            self.same(left, way, want)

    def complain(self):
        """An ICMP error about a packet that left, by who got it or a router on the way: it reaches who sent, and shows him his own
        packet; where it leaves by a translated source, its own is translated as well."""
        seen = [w for w in self.ways.values() if w.left and w.t[0] != GRE]
        if not seen:
            return
        way = self.rng.choice(seen)
        six = ":" in way.t[1]
        teller = way.to[3]
        if way.target in OUTSIDE and self.rng.random() < 0.5:
            teller = "2001:db8:99::5:5" if six else "10.99.5.55"
        kinds = ((1, 4, 0), (3, 0, 0), (2, 0, 1280)) if six else ((3, 1, 0), (3, 3, 0), (11, 0, 0), (3, 4, 1300))
        head, at = self.rng.choice(kinds), 40 if six else 20
        size = self.rng.choice((at + 8, at + 9, at + 16, at + 18, at + 19, at + 24, 2000))
        told = error(teller, way.to[1], head, quoted(way.left, size))
        if self.rng.random() < 0.2:  # a bit of what is neither its type nor whose packet it quotes
            spoilt = bytearray(told)
            spoilt[at + self.rng.choice((1, 2, 3, 5, 6, 7, 8 + (7 if six else 4)))] ^= 1 << self.rng.randrange(8)
            assert self.run(way.target, bytes(spoilt)) is None, f"an error about {way.to} leaves, with a checksum that is wrong"
        got = self.run(way.target, told)
        assert got is not None, f"an error about {way.to} is lost"
        if way.t[3] != way.to[3]:
            teller = way.t[3]
        assert got.dmac == mac_bytes(way.source.mac), f"an error about {way.to} goes to {STATIONS[got.dmac].ip4}"
        want = error(teller, way.t[1], head, quoted(way.sent, size), 63)
        assert got.packet == want, f"an error about {way.to}: {got.packet.hex(' ')}, expected {want.hex(' ')}"

    def step(self):
        what = self.rng.random()
        for share, happens in STEPS:
            if what < share:
                return happens(self)
        return self.switch.epoch()


STEPS = (
    (0.34, Model.outward),
    (0.46, Model.inward),
    (0.54, Model.hairpin),
    (0.74, Model.follow),
    (0.83, Model.stranger),
    (0.93, Model.complain),
    (0.98, Model.pieces),
)
